//! Goes through the frames of one segment, in order, with large reads, and checks each of them.

use std::io;
use std::sync::Arc;

use crate::events::ids::DeploymentId;
use crate::events::record::LogPosition;
use crate::files::FileHandle;

use super::error::Fault;
use super::frame::{
    Body, COMMIT_BYTES, COMMIT_MAGIC, Commit, Cover, FRAME_BYTES_MAX, RECORD_HEAD_BYTES,
    RECORD_TAG, RecordHead, SEAL_HEAD_BYTES, SEAL_TAG, parse_seal, seal_len,
};

/// How much is read at once, in bytes: more than the longest frame.
const READ_BYTES: usize = 1024 * 1024;
const _: () = assert!(READ_BYTES > 2 * FRAME_BYTES_MAX);

/// Why a cursor does not go on.
#[derive(Debug)]
pub(super) enum Halt {
    /// The file could not be read.
    Io(io::Error),
    /// There is no proper frame here.
    Fault(Fault),
}

impl From<Fault> for Halt {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// One frame.
#[derive(Debug)]
pub(super) enum Frame<'a> {
    /// A record. It counts only when a commit frame follows.
    Record { position: LogPosition, next: LogPosition, header: &'a [u8], body: Body<'a> },
    /// A seal over the record before it. It counts only when a commit frame follows.
    Seal { next: LogPosition, seal: &'a [u8] },
    /// The records since the commit frame before are durable.
    Commit(Commit),
}

/// A place in a segment, always at the start of a frame.
pub(super) struct Cursor {
    file: Arc<dyn FileHandle>,
    deployment: DeploymentId,
    segment: u32,
    /// Where the next frame starts, and where the last one must end.
    at: u64,
    end: u64,
    /// What was read, and where that starts in the file.
    buffer: Vec<u8>,
    buffer_at: u64,
    cover: Cover,
    batch_at: u64,
    /// Whether `batch_at` is known to be the start of a batch: a reader may start within one.
    aligned: bool,
}

impl Cursor {
    /// A cursor over the frames between two offsets. `aligned` says that `at` is the start of a
    /// batch, so that the first commit frame can be checked against its records.
    pub(super) fn new(
        file: Arc<dyn FileHandle>,
        deployment: DeploymentId,
        segment: u32,
        at: u32,
        end: u32,
        aligned: bool,
    ) -> Self {
        let at = u64::from(at);
        let buffer = Vec::with_capacity(READ_BYTES);
        let (cover, buffer_at, batch_at) = (Cover::default(), at, at);
        let end = u64::from(end);
        Self { file, deployment, segment, at, end, buffer, buffer_at, cover, batch_at, aligned }
    }

    /// Where the next frame starts.
    pub(super) fn offset(&self) -> u32 {
        clamp(self.at)
    }

    /// Whether records were passed that no commit frame has followed yet.
    pub(super) const fn in_batch(&self) -> bool {
        self.cover.records > 0
    }

    /// The next frame; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Frame<'_>>, Halt> {
        if self.at >= self.end {
            return Ok(None);
        }
        let tag = self.peek(2)?;
        if tag == RECORD_TAG {
            return self.record().map(Some);
        }
        if tag == SEAL_TAG {
            return self.seal().map(Some);
        }
        if COMMIT_MAGIC.starts_with(tag) {
            return self.commit().map(|commit| Some(Frame::Commit(commit)));
        }
        Err(Fault::NoFrame.into())
    }

    fn record(&mut self) -> Result<Frame<'_>, Halt> {
        let head = RecordHead::parse(self.peek(RECORD_HEAD_BYTES)?)?;
        let len = head.frame_len();
        let start = self.at;
        let mut cover = self.cover;
        // The bytes are lent to the caller, so the cursor moves on first and looks behind itself.
        self.peek(len)?;
        self.at = start.saturating_add(len as u64);
        let frame = behind(&self.buffer, self.buffer_at, start, len)?;
        let parts = match head.split(frame) {
            Ok(parts) => parts,
            Err(fault) => {
                self.at = start;
                return Err(fault.into());
            }
        };
        cover.add(parts.covered);
        self.cover = cover;
        let position = LogPosition::new(self.segment, clamp(start));
        let next = LogPosition::new(self.segment, clamp(self.at));
        Ok(Frame::Record { position, next, header: parts.header, body: parts.body })
    }

    fn seal(&mut self) -> Result<Frame<'_>, Halt> {
        let len = SEAL_HEAD_BYTES + seal_len(self.peek(SEAL_HEAD_BYTES)?)?;
        let start = self.at;
        self.peek(len)?;
        let frame = behind(&self.buffer, self.buffer_at, start, len)?;
        let seal = parse_seal(frame)?;
        self.cover.add_seal(frame);
        self.at = start.saturating_add(len as u64);
        Ok(Frame::Seal { next: LogPosition::new(self.segment, clamp(self.at)), seal })
    }

    fn commit(&mut self) -> Result<Commit, Halt> {
        let after = self.at.saturating_add(u64::from(COMMIT_BYTES));
        let (deployment, end) = (self.deployment, LogPosition::new(self.segment, clamp(after)));
        let commit = Commit::parse(self.peek(COMMIT_BYTES as usize)?, deployment, end)?;
        let batch = LogPosition::new(self.segment, clamp(self.batch_at));
        if self.aligned && commit.previous != batch {
            return Err(Fault::CommitPrevious.into());
        }
        if commit.previous == batch && commit.cover != self.cover {
            return Err(Fault::CommitCover.into());
        }
        self.go_to(after);
        Ok(commit)
    }

    /// Goes on behind a commit frame, at the start of a batch.
    fn go_to(&mut self, at: u64) {
        self.at = at;
        self.batch_at = at;
        self.cover = Cover::default();
        self.aligned = true;
    }

    /// The next `len` bytes, without passing them.
    fn peek(&mut self, len: usize) -> Result<&[u8], Halt> {
        if self.at.saturating_add(len as u64) > self.end {
            return Err(Fault::Truncated.into());
        }
        if behind(&self.buffer, self.buffer_at, self.at, len).is_err() {
            self.fill().map_err(Halt::Io)?;
        }
        Ok(behind(&self.buffer, self.buffer_at, self.at, len)?)
    }

    /// Reads on, keeping what was read and not passed.
    fn fill(&mut self) -> io::Result<()> {
        let passed = usize::try_from(self.at.saturating_sub(self.buffer_at)).unwrap_or(usize::MAX);
        self.buffer.drain(..passed.min(self.buffer.len()));
        self.buffer_at = self.at;
        let have = self.buffer.len();
        let left = self.end.saturating_sub(self.at);
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(READ_BYTES);
        if want <= have {
            return Ok(());
        }
        self.buffer.resize(want, 0);
        let (_, free) = self.buffer.split_at_mut(have);
        let read = self.file.read_exact_at(free, self.at.saturating_add(have as u64));
        if read.is_err() {
            self.buffer.truncate(have);
        }
        read
    }

    /// Finds the next valid commit frame at or after the cursor, whatever lies between, and passes
    /// it. The cursor stays where it is if there is none.
    pub(super) fn resync(&mut self) -> io::Result<Option<Commit>> {
        let mut at = self.at;
        while let Some(found) = self.find_magic(at)? {
            let after = found.saturating_add(u64::from(COMMIT_BYTES));
            let mut bytes = [0_u8; COMMIT_BYTES as usize];
            if after <= self.end {
                self.file.read_exact_at(&mut bytes, found)?;
                let end = LogPosition::new(self.segment, clamp(after));
                if let Ok(commit) = Commit::parse(&bytes, self.deployment, end) {
                    self.buffer.clear();
                    self.buffer_at = after;
                    self.go_to(after);
                    return Ok(Some(commit));
                }
            }
            at = found.saturating_add(1);
        }
        Ok(None)
    }

    /// The next place from `at` on where a commit frame could start.
    fn find_magic(&self, mut at: u64) -> io::Result<Option<u64>> {
        let magic = COMMIT_MAGIC.len();
        let mut chunk = Vec::new();
        loop {
            let left = usize::try_from(self.end.saturating_sub(at)).unwrap_or(usize::MAX);
            if left < magic {
                return Ok(None);
            }
            chunk.resize(left.min(READ_BYTES), 0);
            self.file.read_exact_at(&mut chunk, at)?;
            if let Some(found) = chunk.windows(magic).position(|bytes| bytes == COMMIT_MAGIC) {
                return Ok(Some(at.saturating_add(found as u64)));
            }
            // The magic may lie across the edge of two chunks.
            at = at.saturating_add((chunk.len() - magic + 1) as u64);
        }
    }
}

/// `len` bytes at file offset `at` of a buffer that starts at `buffer_at`.
fn behind(buffer: &[u8], buffer_at: u64, at: u64, len: usize) -> Result<&[u8], Fault> {
    let start = usize::try_from(at.saturating_sub(buffer_at)).unwrap_or(usize::MAX);
    buffer.get(start..start.saturating_add(len)).ok_or(Fault::Truncated)
}

/// Offsets fit in 32 bits: `segments` are bounded far below and files beyond are not read.
fn clamp(offset: u64) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}
