//! Reads a packed export: each of its segments as a file that lies there unpacked. One block is
//! unpacked at a time, so that reading takes the same room whatever the file grows to.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::events::record::LogPosition;
use crate::files::FileHandle;

use super::error::{Fault, LogError};
use super::lock;
use super::pack::{
    BLOCK_BYTES, BLOCK_HEAD_BYTES, BLOCK_MAGIC, BlockHead, END_BYTES, END_MAGIC, End, HEAD_BYTES,
};

/// How much is read at once when a block's head is looked for, in bytes.
const SEARCH_BYTES: u64 = 1024 * 1024;

/// Something that is wrong with a packed export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub(super) struct BadBlock {
    /// What of the log cannot be read for it, from where on.
    pub(super) position: LogPosition,
    /// Bytes from the file's start.
    pub(super) at: u64,
    /// What is wrong there.
    pub(super) fault: Fault,
}

/// A block and where its packed bytes start.
#[derive(Debug, Clone, Copy)]
struct Block {
    at: u64,
    head: BlockHead,
}

/// By segment, and by the offset there.
type Place = (u32, u32);

/// A packed export, open for reading.
pub(super) struct Packed {
    file: Arc<dyn FileHandle>,
    path: PathBuf,
    blocks: BTreeMap<Place, Block>,
    /// Whether the end is there, and right.
    is_finished: bool,
    /// What is wrong with heads and end, and, where reading goes on behind it, with blocks.
    wrong: Mutex<Vec<BadBlock>>,
    /// Whether what is damaged reads as zeros.
    goes_on: AtomicBool,
    /// The block that was read last.
    last: Mutex<Option<(Place, Arc<Vec<u8>>)>>,
}

/// The heads of an export while they are gone through.
struct Walk {
    blocks: BTreeMap<Place, Block>,
    wrong: Vec<BadBlock>,
    end: End,
    /// Where the next block's bytes must start in the log.
    next: Place,
    is_finished: bool,
}

impl Packed {
    /// Goes through the heads of all blocks. What is wrong with them is kept.
    pub(super) fn open(file: Arc<dyn FileHandle>, path: &Path) -> Result<Self, LogError> {
        let (blocks, wrong, end) = (BTreeMap::new(), Vec::new(), End::EMPTY);
        let mut walk = Walk { blocks, wrong, end, next: (1, 0), is_finished: false };
        walk.run(file.as_ref()).map_err(LogError::io("read", path))?;
        let Walk { blocks, wrong, is_finished, .. } = walk;
        let (wrong, goes_on, last) = (Mutex::new(wrong), AtomicBool::new(false), Mutex::new(None));
        Ok(Self { file, path: path.to_owned(), blocks, is_finished, wrong, goes_on, last })
    }

    /// Whether it ends as it was meant to.
    pub(super) const fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// Whether not even its first block is there.
    pub(super) fn is_without_blocks(&self) -> bool {
        self.blocks.is_empty()
    }

    /// The number of its last segment.
    pub(super) fn last_segment(&self) -> u32 {
        self.blocks.last_key_value().map_or(1, |((segment, _), _)| *segment)
    }

    /// Refuses what is wrong with heads or end.
    pub(super) fn expect_sound(&self) -> Result<(), LogError> {
        match lock(&self.wrong).first() {
            Some(bad) => Err(bad.at_path(&self.path)),
            None => Ok(()),
        }
    }

    /// From now on what is damaged reads as zeros and is kept to be told.
    pub(super) fn go_on_behind_damage(&self) {
        self.goes_on.store(true, Ordering::Relaxed);
    }

    /// What was found wrong since the last time.
    pub(super) fn take_wrong(&self) -> Vec<BadBlock> {
        std::mem::take(&mut *lock(&self.wrong))
    }

    /// A segment, as if it lay there unpacked.
    pub(super) fn segment(self: &Arc<Self>, number: u32) -> Arc<dyn FileHandle> {
        let of = self.blocks.range((number, 0)..=(number, u32::MAX)).next_back();
        let len = of.map_or(0, |((_, offset), block)| {
            u64::from(*offset).saturating_add(block.head.len.into())
        });
        Arc::new(PackedSegment { packed: Arc::clone(self), number, len })
    }

    /// The block at a place, unpacked.
    fn block(&self, place: Place) -> io::Result<Arc<Vec<u8>>> {
        if let Some((of, bytes)) = &*lock(&self.last)
            && *of == place
        {
            return Ok(Arc::clone(bytes));
        }
        let bytes = Arc::new(self.unpack(place)?);
        *lock(&self.last) = Some((place, Arc::clone(&bytes)));
        Ok(bytes)
    }

    fn unpack(&self, place: Place) -> io::Result<Vec<u8>> {
        let position = LogPosition::new(place.0, place.1);
        let goes_on = self.goes_on.load(Ordering::Relaxed);
        let Some(Block { at, head }) = self.blocks.get(&place) else {
            // Its head is damaged, which is known already.
            let known = lock(&self.wrong).first().map_or(0, |bad| bad.at);
            let bad = BadBlock { position, at: known, fault: Fault::BlockHead };
            let zeros = || vec![0; BLOCK_BYTES as usize];
            return if goes_on { Ok(zeros()) } else { Err(io::Error::other(bad)) };
        };
        let mut packed = vec![0; head.packed_len as usize];
        self.file.read_exact_at(&mut packed, *at)?;
        head.unpack(&packed).or_else(|fault| {
            let bad = BadBlock { position, at: *at, fault };
            if !goes_on {
                return Err(io::Error::other(bad));
            }
            lock(&self.wrong).push(bad);
            Ok(vec![0; head.len as usize])
        })
    }
}

impl BadBlock {
    /// As an error.
    pub(super) fn at_path(&self, path: &Path) -> LogError {
        let (segment, offset, fault) = (self.position.segment(), self.at, self.fault);
        LogError::Damage { path: path.to_owned(), segment, offset, fault }
    }
}

impl Walk {
    fn run(&mut self, file: &dyn FileHandle) -> io::Result<()> {
        let len = file.len()?;
        let (mut at, mut is_lost) = (HEAD_BYTES as u64, false);
        while at < len && !self.is_finished {
            if let Some(next) = self.step(file, at, len)? {
                (at, is_lost) = (next, false);
                continue;
            }
            // Where nothing can be read behind it, it was cut.
            let Some(next) = find(file, at.saturating_add(1), len)? else { return Ok(()) };
            if !is_lost {
                self.note(at, Fault::BlockHead);
            }
            (at, is_lost) = (next, true);
        }
        self.is_finished &= at >= len;
        Ok(())
    }

    fn note(&mut self, at: u64, fault: Fault) {
        let position = LogPosition::new(self.next.0, self.next.1);
        self.wrong.push(BadBlock { position, at, fault });
    }

    /// Takes the block or the end at a place. Returns where it ends; none where neither is whole.
    fn step(&mut self, file: &dyn FileHandle, at: u64, len: u64) -> io::Result<Option<u64>> {
        let left = len.saturating_sub(at);
        let mut bytes = [0; BLOCK_HEAD_BYTES];
        if left >= BLOCK_HEAD_BYTES as u64 {
            file.read_exact_at(&mut bytes, at)?;
            if let Some(head) = BlockHead::parse(&bytes) {
                let start = at.saturating_add(BLOCK_HEAD_BYTES as u64);
                let end = start.saturating_add(head.packed_len.into());
                if end > len {
                    return Ok(None);
                }
                self.take(Block { at: start, head }, at);
                return Ok(Some(end));
            }
        }
        let mut bytes = [0; END_BYTES];
        if left < END_BYTES as u64 {
            return Ok(None);
        }
        file.read_exact_at(&mut bytes, at)?;
        let Some(end) = End::parse(&bytes) else { return Ok(None) };
        if end != self.end && self.wrong.is_empty() {
            self.note(at, Fault::End);
        }
        self.is_finished = true;
        Ok(Some(at.saturating_add(END_BYTES as u64)))
    }

    /// Takes a block whose head lies at `at`.
    fn take(&mut self, block: Block, at: u64) {
        let head = block.head;
        let place = (head.segment, head.offset);
        let opens_segment = place == (self.next.0.saturating_add(1), 0) && self.next.1 > 0;
        if place != self.next && !opens_segment {
            // Something is missing; where that is known already, this only shows how much.
            if self.wrong.is_empty() {
                self.note(at, Fault::BlockPlace);
            }
            let is_too_far = head.segment > self.next.0.saturating_add(1);
            if place < self.next || is_too_far {
                return;
            }
        }
        self.end.add(&head);
        self.blocks.insert(place, block);
        self.next = if head.len == BLOCK_BYTES {
            (head.segment, head.offset.saturating_add(BLOCK_BYTES))
        } else {
            // A block that is not full is its segment's last.
            (head.segment.saturating_add(1), 0)
        };
    }
}

/// The next place where a block or the end could start.
fn find(file: &dyn FileHandle, mut at: u64, len: u64) -> io::Result<Option<u64>> {
    let magic = BLOCK_MAGIC.len() as u64;
    let mut bytes = Vec::new();
    while at.saturating_add(magic) <= len {
        let part = len.saturating_sub(at).min(SEARCH_BYTES);
        bytes.resize(usize::try_from(part).unwrap_or(0), 0);
        file.read_exact_at(&mut bytes, at)?;
        let is_start = |it: &[u8]| it == BLOCK_MAGIC || it == END_MAGIC;
        if let Some(found) = bytes.windows(BLOCK_MAGIC.len()).position(is_start) {
            return Ok(Some(at.saturating_add(found as u64)));
        }
        // The magic may lie across the edge of two parts.
        at = at.saturating_add(part.saturating_sub(magic).saturating_add(1));
    }
    Ok(None)
}

/// A segment of a packed export.
struct PackedSegment {
    packed: Arc<Packed>,
    number: u32,
    len: u64,
}

impl FileHandle for PackedSegment {
    fn write_all_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        if offset.saturating_add(bytes.len() as u64) > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut offset = usize::try_from(offset).map_err(io::Error::other)?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let within = offset % BLOCK_BYTES as usize;
            let place = u32::try_from(offset - within).map_err(io::Error::other)?;
            let block = self.packed.block((self.number, place))?;
            let have = block.get(within..).unwrap_or_default();
            let part = have.len().min(rest.len());
            if part == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let (now, later) = rest.split_at_mut(part);
            now.copy_from_slice(have.get(..part).unwrap_or_default());
            offset = offset.saturating_add(part);
            rest = later;
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.len)
    }
}
