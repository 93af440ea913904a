//! The end of a log: what is durable in its last segment, and whether what follows is torn or
//! damaged. Only looks; cutting is for `Log::open`.

use std::path::Path;
use std::sync::Arc;

use crate::events::codec;
use crate::events::record::LogPosition;
use crate::events::stamp::{Origin, Revision};
use crate::files::FileHandle;

use super::chain::{ChainEnd, Vector};
use super::cursor::{Cursor, Frame, Halt};
use super::erase::Erased;
use super::error::{Fault, LogError};
use super::head::SegmentHead;

/// What the last segment holds.
pub(super) struct Ending {
    /// Where the last valid commit frame ends.
    pub(super) durable: u32,
    /// The file's length.
    pub(super) file_len: u64,
    /// Where the first thing lies that cannot be taken, and what is wrong with it.
    pub(super) fault: Option<(u32, Fault)>,
    /// The farthest place that a later valid commit frame names as durable: then it is damage.
    pub(super) named: Option<u32>,
    /// Every origin's last event, these of the records up to `durable`.
    pub(super) vector: Vector,
    /// The greatest revision up to `durable`.
    pub(super) greatest_revision: Revision,
}

/// Ends and revision of the batch that no commit frame has followed yet.
#[derive(Default)]
struct Pending {
    /// The last header of each origin; digested once, since only the last one counts.
    last: std::collections::BTreeMap<Origin, (u64, Box<[u8]>)>,
    greatest: Revision,
}

impl Ending {
    /// Goes through a segment to its end.
    pub(super) fn find(
        file: &Arc<dyn FileHandle>,
        path: &Path,
        head: &SegmentHead,
        erased: &Erased,
    ) -> Result<Self, LogError> {
        Self::find_from(head.len(), file, path, head, erased)
    }

    /// The same from where a commit frame ends on: the vector is then only of what follows.
    pub(super) fn find_from(
        first: u32,
        file: &Arc<dyn FileHandle>,
        path: &Path,
        head: &SegmentHead,
        erased: &Erased,
    ) -> Result<Self, LogError> {
        let file_len = file.len().map_err(LogError::io("measure", path))?;
        let end = u32::try_from(file_len).unwrap_or(u32::MAX);
        let mut cursor =
            Cursor::new(Arc::clone(file), head.deployment, head.segment, first, end, true);
        let mut ending = Self {
            durable: first,
            file_len,
            fault: None,
            named: None,
            vector: head.read_vector(file.as_ref(), path)?,
            greatest_revision: head.greatest_revision,
        };
        ending.follow(&mut cursor, path, erased)?;
        if ending.fault.is_some() {
            ending.look_beyond(cursor).map_err(LogError::io("read", path))?;
        }
        Ok(ending)
    }

    /// Takes frames until one cannot be taken, or the file ends.
    fn follow(
        &mut self,
        cursor: &mut Cursor,
        path: &Path,
        erased: &Erased,
    ) -> Result<(), LogError> {
        let mut pending = Pending::default();
        let mut committed = std::collections::BTreeMap::new();
        loop {
            let offset = cursor.offset();
            let in_batch = cursor.in_batch();
            match cursor.next() {
                Ok(Some(Frame::Record { position, header, body, .. })) => {
                    if erased.settle(position, header, body).is_err() {
                        self.fault = Some((offset, Fault::BodyChecksum));
                        break;
                    }
                    pending.take(position, header)?;
                }
                Ok(Some(Frame::Seal { .. })) => {}
                Ok(Some(Frame::Commit(commit))) => {
                    self.durable = commit.end.offset();
                    self.greatest_revision = self.greatest_revision.max(pending.greatest);
                    committed.append(&mut pending.last);
                }
                Ok(None) => {
                    self.fault = in_batch.then_some((offset, Fault::NoCommit));
                    break;
                }
                Err(Halt::Fault(fault)) => {
                    self.fault = Some((offset, fault));
                    break;
                }
                Err(Halt::Io(source)) => return Err(LogError::io("read", path)(source)),
            }
        }
        let end = |(sequence, header): (u64, Box<[u8]>)| ChainEnd {
            sequence,
            head: codec::digest(&header),
        };
        self.vector.extend(committed.into_iter().map(|(origin, last)| (origin, end(last))));
        Ok(())
    }

    /// Looks for commit frames after the fault that name more as durable.
    fn look_beyond(&mut self, mut cursor: Cursor) -> std::io::Result<()> {
        while let Some(commit) = cursor.resync()? {
            let named = commit.previous.offset();
            if named > self.durable {
                self.named = self.named.max(Some(named));
            }
        }
        Ok(())
    }

    /// The damage, if there is any.
    pub(super) fn damage(&self, path: &Path, segment: u32) -> Option<LogError> {
        let (offset, fault) = self.fault?;
        self.named?;
        Some(LogError::Damage { path: path.to_owned(), segment, offset: offset.into(), fault })
    }
}

impl Pending {
    fn take(&mut self, position: LogPosition, bytes: &[u8]) -> Result<(), LogError> {
        let header =
            codec::decode_header(bytes).map_err(|source| LogError::Header { position, source })?;
        self.greatest = self.greatest.max(header.revision);
        self.last.insert(header.origin, (header.sequence, bytes.into()));
        Ok(())
    }
}
