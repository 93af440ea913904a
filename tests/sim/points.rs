//! Hard situations that a run came into. The default run must have come into every one of these, or
//! it holds less than it says.

use std::collections::BTreeMap;

/// A hard situation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Point {
    /// A write lost against a rival one made elsewhere.
    Conflict,
    /// Two users of different regions claim one identity.
    RivalClaims,
    /// A password was upgraded while another region changed it.
    UpgradeLost,
    /// A run came before what it follows.
    Gap,
    /// Something was fetched.
    Fetched,
    /// Something was fetched of a node that had not recorded it.
    FetchedOfThird,
    /// A run came that was here already.
    Duplicate,
    /// A node was sent what it had recorded itself.
    Echo,
    /// A run waited for time to catch up.
    Held,
    /// A node's clock was far ahead of the others'.
    LyingClock,
    /// A clock stood still.
    FrozenClock,
    /// A clock was set back.
    ClockBack,
    /// A message was lost after the broker had accepted it.
    LostAfterConfirm,
    /// A message was refused.
    Refused,
    /// A message was accepted and nobody heard of it.
    TimedOut,
    /// A message was delivered twice.
    Repeated,
    /// A message was altered on its way.
    Altered,
    /// A run was made up by somebody without its region's key.
    Forged,
    /// A message of another deployment came.
    Foreign,
    /// Two nodes did not hear each other.
    Partition,
    /// A queue vanished with all that was in it.
    QueueVanished,
    /// The power went while a node was writing.
    PowerWhileWriting,
    /// The power went while a node was starting.
    PowerWhileStarting,
    /// A machine lost power.
    PowerLost,
    /// A process was killed and its machine stayed on.
    Killed,
    /// A node was stopped as it should be.
    Stopped,
    /// A node went on with an old copy of its disk.
    Restored,
    /// Events that nobody else had were gone with a disk.
    Destroyed,
    /// A restored node was given back what it had recorded itself.
    GivenBack,
    /// The whole state was folded anew.
    Rebuilt,
    /// A checkpoint was taken.
    Checkpoint,
    /// A crash kept a user's row and lost an index entry of the same event.
    RowWithoutEntry,
    /// A crash kept an index entry and lost the row of the same event.
    EntryWithoutRow,
    /// A fact of elsewhere came in while a command of the same user was on its way to the disk.
    AbsorbedInFlight,
    /// A node refused to write with a clock that was ahead of the others'.
    ClockUnsafe,
    /// A user was erased.
    Erased,
    /// Of linked users one was erased and another was not.
    ErasedOfLinked,
    /// What was left of an erased user was blanked in a node's log.
    Blanked,
    /// A company was refused what it wanted of another's user.
    PolicyDenied,
    /// Two users were linked in the end.
    Linked,
    /// The system linked two users.
    LinkedByItself,
    /// Two users were taken apart in the end.
    Severed,
    /// State hashes of two nodes with equal vectors were compared by the nodes.
    Compared,
}

impl Point {
    /// Every situation.
    pub(crate) const ALL: [Self; 43] = [
        Self::Conflict,
        Self::RivalClaims,
        Self::UpgradeLost,
        Self::Gap,
        Self::Fetched,
        Self::FetchedOfThird,
        Self::Duplicate,
        Self::Echo,
        Self::Held,
        Self::LyingClock,
        Self::FrozenClock,
        Self::ClockBack,
        Self::LostAfterConfirm,
        Self::Refused,
        Self::TimedOut,
        Self::Repeated,
        Self::Altered,
        Self::Forged,
        Self::Foreign,
        Self::Partition,
        Self::QueueVanished,
        Self::PowerWhileWriting,
        Self::PowerWhileStarting,
        Self::PowerLost,
        Self::Killed,
        Self::Stopped,
        Self::Restored,
        Self::Destroyed,
        Self::GivenBack,
        Self::Rebuilt,
        Self::Checkpoint,
        Self::RowWithoutEntry,
        Self::EntryWithoutRow,
        Self::AbsorbedInFlight,
        Self::ClockUnsafe,
        Self::Erased,
        Self::ErasedOfLinked,
        Self::Blanked,
        Self::PolicyDenied,
        Self::Linked,
        Self::LinkedByItself,
        Self::Severed,
        Self::Compared,
    ];
}

/// How often each came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Points(BTreeMap<Point, u64>);

impl Points {
    /// Counts one.
    pub(crate) fn hit(&mut self, point: Point) {
        *self.0.entry(point).or_default() += 1;
    }

    /// Counts several.
    pub(crate) fn hits(&mut self, point: Point, times: u64) {
        if times > 0 {
            *self.0.entry(point).or_default() += times;
        }
    }

    /// How often one came.
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
