//! Reads one record where it lies.

use std::path::Path;

use crate::events::record::LogPosition;
use crate::files::FileHandle;

use super::error::{Fault, LogError};
use super::frame::{Body, RECORD_HEAD_BYTES, RECORD_TAG, RecordHead};

/// One record's frame in memory.
pub(super) struct RecordAt {
    head: RecordHead,
    frame: Vec<u8>,
    position: LogPosition,
}

impl RecordAt {
    /// Reads and checks the frame at a position below `end` (bytes of its segment).
    pub(super) fn load(
        file: &dyn FileHandle,
        path: &Path,
        position: LogPosition,
        end: u64,
    ) -> Result<Self, LogError> {
        let wrong = |fault| damage(path, position, fault);
        let start = u64::from(position.offset());
        let left = usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX);
        let mut frame = vec![0_u8; RECORD_HEAD_BYTES];
        if left < RECORD_HEAD_BYTES {
            return Err(wrong(Fault::Truncated));
        }
        file.read_exact_at(&mut frame, start).map_err(LogError::io("read", path))?;
        if !frame.starts_with(&RECORD_TAG) {
            return Err(wrong(Fault::NoFrame));
        }
        let head = RecordHead::parse(&frame).map_err(wrong)?;
        if left < head.frame_len() {
            return Err(wrong(Fault::Truncated));
        }
        frame.resize(head.frame_len(), 0);
        let (_, rest) = frame.split_at_mut(RECORD_HEAD_BYTES);
        file.read_exact_at(rest, start.saturating_add(RECORD_HEAD_BYTES as u64))
            .map_err(LogError::io("read", path))?;
        let record = Self { head, frame, position };
        record.parts().map_err(wrong)?;
        Ok(record)
    }

    /// The header's bytes and what is where the body belongs.
    pub(super) fn parts(&self) -> Result<(&[u8], Body<'_>), Fault> {
        self.head.split(&self.frame).map(|parts| (parts.header, parts.body))
    }

    /// Where the frame ends, in bytes from the segment's start.
    pub(super) fn end(&self) -> u32 {
        let len = u32::try_from(self.frame.len()).unwrap_or(u32::MAX);
        self.position.offset().saturating_add(len)
    }

    /// Where mark and body lie, and how many bytes they are: what blanking zeroes.
    pub(super) fn erasable(&self) -> (u64, usize) {
        let at = u64::from(self.position.offset()).saturating_add(self.head.mark_at() as u64);
        (at, self.head.body_len.saturating_add(1))
    }
}

/// The error for a fault at a position.
pub(super) fn damage(path: &Path, position: LogPosition, fault: Fault) -> LogError {
    let (segment, offset) = (position.segment(), u64::from(position.offset()));
    LogError::Damage { path: path.to_owned(), segment, offset, fault }
}
