//! Where a run was hit. The default run must hit every one of these, or it holds less than it says.

use std::collections::BTreeMap;

/// A place where something went wrong on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Point {
    /// The power went while a group was being written: a part of it is there.
    AppendWrite,
    /// The power went at the sync of a group.
    AppendSync,
    /// The device refused a sync.
    SyncFailed,
    /// A write was reported as failed after all of it was written.
    LateError,
    /// A write found the disk full.
    DiskFull,
    /// A disk that was full had space again, and the same life wrote on.
    FullDiskEnded,
    /// The power went while a new segment was made.
    Roll,
    /// A crash kept a user's row and lost an index entry of the same event.
    RowWithoutEntry,
    /// A crash kept an index entry and lost the row of the same event.
    EntryWithoutRow,
    /// The trees took a part of an event and failed.
    InsertFailed,
    /// A checkpoint was under way and its trees were not flushed.
    BeforeFlush,
    /// The trees were flushed and the checkpoint's file was not begun.
    BetweenFlushAndFile,
    /// The checkpoint's file was being written.
    CheckpointFile,
    /// The checkpoint's file was being put in its place.
    CheckpointReplaced,
    /// The erase list was being written.
    BlankList,
    /// Bodies were being blanked.
    BlankBodies,
    /// A log was being opened.
    RecoveryOfLog,
    /// The log was being folded into the state.
    RecoveryOfState,
    /// The first checkpoint of a life was being taken.
    RecoveryCheckpoint,
    /// A new life was being recorded.
    NewLife,
    /// The machine lost power.
    PowerLost,
    /// The process was killed and the machine stayed on.
    Killed,
    /// The node was stopped as it should be.
    Stopped,
    /// A command in line failed with an append.
    FailedBehind,
    /// A command was decided in an epoch that had ended.
    Stale,
    /// The log's queue was full.
    QueueFull,
    /// A command was refused because of what others in line before it would do.
    RefusedBehind,
    /// Two commands wanted one identity at once.
    IdentityAwaited,
    /// The whole state was folded anew.
    Rebuilt,
    /// Other trees took the place of those in use.
    Exchanged,
    /// Something went wrong while other trees were to take the place of those in use.
    ExchangeFailed,
    /// A node at rest was seen to write.
    Probed,
}

impl Point {
    /// Every point.
    pub(crate) const ALL: [Self; 32] = [
        Self::AppendWrite,
        Self::AppendSync,
        Self::SyncFailed,
        Self::LateError,
        Self::DiskFull,
        Self::FullDiskEnded,
        Self::Roll,
        Self::RowWithoutEntry,
        Self::EntryWithoutRow,
        Self::InsertFailed,
        Self::BeforeFlush,
        Self::BetweenFlushAndFile,
        Self::CheckpointFile,
        Self::CheckpointReplaced,
        Self::BlankList,
        Self::BlankBodies,
        Self::RecoveryOfLog,
        Self::RecoveryOfState,
        Self::RecoveryCheckpoint,
        Self::NewLife,
        Self::PowerLost,
        Self::Killed,
        Self::Stopped,
        Self::FailedBehind,
        Self::Stale,
        Self::QueueFull,
        Self::RefusedBehind,
        Self::IdentityAwaited,
        Self::Rebuilt,
        Self::Exchanged,
        Self::ExchangeFailed,
        Self::Probed,
    ];
}

/// How often each was hit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Points(BTreeMap<Point, u64>);

impl Points {
    /// Counts a hit.
    pub(crate) fn hit(&mut self, point: Point) {
        *self.0.entry(point).or_default() += 1;
    }

    /// How often a point was hit.
    pub(crate) fn of(&self, point: Point) -> u64 {
        self.0.get(&point).copied().unwrap_or_default()
    }

    /// Adds another run's.
    pub(crate) fn add(&mut self, other: &Self) {
        for (point, hits) in &other.0 {
            *self.0.entry(*point).or_default() += hits;
        }
    }
}
