//! The packed form of an export: its segments, cut into blocks of one MiB, each compressed by
//! itself (layout: `mod.rs`). So it is written in one go, read at any place, and what is damaged is
//! one block. Readers see the segments as if they lay there unpacked.

use std::path::Path;
use std::sync::Arc;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::events::codec;
use crate::events::ids::Digest;
use crate::files::FileHandle;

use super::error::{Fault, LogError};
use super::frame::Fields;

/// The version of this form that this program writes.
const VERSION: u16 = 1;

/// What a packed export starts with.
const MAGIC: [u8; 8] = *b"JCASPACK";

/// Bytes of the file's head.
pub(super) const HEAD_BYTES: usize = 16;

/// The first bytes of a block: what is looked for behind damage.
pub(super) const BLOCK_MAGIC: [u8; 8] = [0xec, 0x42, b'J', b'C', b'A', b'S', 0x0d, 0x0a];

/// The first bytes of the end.
pub(super) const END_MAGIC: [u8; 8] = [0xec, 0x45, b'J', b'C', b'A', b'S', 0x0d, 0x0a];

/// Bytes of a block's head.
pub(super) const BLOCK_HEAD_BYTES: usize = 60;

/// Bytes of the end.
pub(super) const END_BYTES: usize = 48;

/// Bytes of a segment in a block; the last one of a segment has fewer. No block unpacks to more.
pub(super) const BLOCK_BYTES: u32 = 1024 * 1024;

/// Most segments: more than any disk holds.
pub(super) const SEGMENTS_MAX: u32 = 65_536;

/// Longest packed block: what cannot be compressed grows by little.
const PACKED_BYTES_MAX: u32 = BLOCK_BYTES + BLOCK_BYTES / 64;

/// The head of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockHead {
    /// The segment its bytes are of.
    pub(super) segment: u32,
    /// Where they start in that segment.
    pub(super) offset: u32,
    /// How many they are.
    pub(super) len: u32,
    /// How many they are packed.
    pub(super) packed_len: u32,
    /// The digest of the packed bytes.
    pub(super) digest: Digest,
}

/// The file's head.
pub(super) fn encode_head() -> [u8; HEAD_BYTES] {
    let mut out = [0; HEAD_BYTES];
    let fields = MAGIC.into_iter().chain(VERSION.to_le_bytes()).chain([0; 2]);
    out.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
    let crc = crc32c::crc32c(out.get(..12).unwrap_or_default()).to_le_bytes();
    out.iter_mut().skip(12).zip(crc).for_each(|(to, from)| *to = from);
    out
}

/// Whether a file is a packed export. One of a newer version or with a damaged head is refused.
pub(super) fn is_packed(file: &dyn FileHandle, path: &Path) -> Result<bool, LogError> {
    let len = file.len().map_err(LogError::io("measure", path))?;
    let mut bytes = [0; HEAD_BYTES];
    if len < HEAD_BYTES as u64 {
        return Ok(false);
    }
    file.read_exact_at(&mut bytes, 0).map_err(LogError::io("read the head of", path))?;
    if !bytes.starts_with(&MAGIC) {
        return Ok(false);
    }
    let (content, crc) = bytes.split_at(12);
    if crc != crc32c::crc32c(content).to_le_bytes() {
        let reason = "it does not match its checksum";
        return Err(LogError::Head { path: path.to_owned(), offset: 0, reason });
    }
    let version = Fields(content.get(8..).unwrap_or_default()).u16().unwrap_or_default();
    if version > VERSION {
        return Err(LogError::Newer { path: path.to_owned(), version, known: VERSION });
    }
    Ok(true)
}

impl BlockHead {
    /// The head as bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(BLOCK_HEAD_BYTES);
        out.extend_from_slice(&BLOCK_MAGIC);
        for number in [self.segment, self.offset, self.len, self.packed_len] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.digest.0);
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        out
    }

    /// Reads a head. One with lengths that no block has is none.
    pub(super) fn parse(bytes: &[u8; BLOCK_HEAD_BYTES]) -> Option<Self> {
        let mut fields = Fields(checked(bytes, &BLOCK_MAGIC)?);
        let head = Self {
            segment: fields.u32()?,
            offset: fields.u32()?,
            len: fields.u32()?,
            packed_len: fields.u32()?,
            digest: Digest(fields.take()?),
        };
        let possible = (1..=BLOCK_BYTES).contains(&head.len)
            && (1..=PACKED_BYTES_MAX).contains(&head.packed_len)
            && head.offset.is_multiple_of(BLOCK_BYTES)
            && (1..=SEGMENTS_MAX).contains(&head.segment);
        possible.then_some(head)
    }

    /// Unpacks a block's bytes, which must be those that were packed. It takes no more room than
    /// the head says, whatever the bytes would grow to.
    pub(super) fn unpack(&self, packed: &[u8]) -> Result<Vec<u8>, Fault> {
        if codec::digest(packed) != self.digest {
            return Err(Fault::BlockDigest);
        }
        let mut out = vec![0; self.len as usize];
        let mut unpacking = Decompress::new(false);
        let status = unpacking.decompress(packed, &mut out, FlushDecompress::Finish);
        let whole = matches!(status, Ok(Status::StreamEnd))
            && unpacking.total_out() == u64::from(self.len)
            && unpacking.total_in() == packed.len() as u64;
        if whole { Ok(out) } else { Err(Fault::BlockContent) }
    }
}

/// What stands between the magic and the checksum, if both are right.
fn checked<'a>(bytes: &'a [u8], magic: &[u8]) -> Option<&'a [u8]> {
    let (content, crc) = bytes.split_last_chunk::<4>()?;
    let fields = content.strip_prefix(magic)?;
    (crc32c::crc32c(content) == u32::from_le_bytes(*crc)).then_some(fields)
}

/// The end of a packed export: nothing is missing before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    /// How many blocks there are.
    pub(super) blocks: u32,
    /// The digest over all their heads: each one's with what came before.
    pub(super) digest: Digest,
}

impl End {
    /// The end of nothing.
    pub(super) const EMPTY: Self = Self { blocks: 0, digest: Digest::ZERO };

    /// Takes a block's head in.
    pub(super) fn add(&mut self, head: &BlockHead) {
        self.blocks = self.blocks.saturating_add(1);
        self.digest = codec::digest(&[&self.digest.0[..], &head.encode()].concat());
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = END_MAGIC.to_vec();
        out.extend_from_slice(&self.blocks.to_le_bytes());
        out.extend_from_slice(&self.digest.0);
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        out
    }

    /// Reads an end.
    pub(super) fn parse(bytes: &[u8; END_BYTES]) -> Option<Self> {
        let mut fields = Fields(checked(bytes, &END_MAGIC)?);
        Some(Self { blocks: fields.u32()?, digest: Digest(fields.take()?) })
    }
}

/// Writes a packed export, from its start to its end.
pub(super) struct Packer<'a> {
    file: Arc<dyn FileHandle>,
    path: &'a Path,
    /// The file's length.
    at: u64,
    segment: u32,
    /// Where what waits starts in its segment.
    offset: u32,
    waiting: Vec<u8>,
    packing: Compress,
    packed: Vec<u8>,
    end: End,
}

impl<'a> Packer<'a> {
    /// Begins with the file's head and the first segment.
    pub(super) fn new(file: Arc<dyn FileHandle>, path: &'a Path) -> Result<Self, LogError> {
        file.write_all_at(&encode_head(), 0).map_err(LogError::io("write", path))?;
        let packing = Compress::new(Compression::fast(), false);
        let (waiting, packed, end) = (Vec::new(), Vec::new(), End::EMPTY);
        let (at, segment, offset) = (HEAD_BYTES as u64, 1, 0);
        Ok(Self { file, path, at, segment, offset, waiting, packing, packed, end })
    }

    /// Appends bytes to the segment.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        self.waiting.extend_from_slice(bytes);
        while self.waiting.len() >= BLOCK_BYTES as usize {
            let rest = self.waiting.split_off(BLOCK_BYTES as usize);
            self.block()?;
            self.waiting = rest;
        }
        Ok(())
    }

    /// Goes on with another segment.
    pub(super) fn next_segment(&mut self) -> Result<(), LogError> {
        self.block()?;
        self.segment = self.segment.saturating_add(1);
        self.offset = 0;
        Ok(())
    }

    /// Writes what waits as a block.
    fn block(&mut self) -> Result<(), LogError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.pack().map_err(LogError::io("pack", self.path))?;
        let (len, packed_len) = (self.waiting.len(), self.packed.len());
        let head = BlockHead {
            segment: self.segment,
            offset: self.offset,
            // Both are bounded by the block's length.
            len: u32::try_from(len).unwrap_or(u32::MAX),
            packed_len: u32::try_from(packed_len).unwrap_or(u32::MAX),
            digest: codec::digest(&self.packed),
        };
        self.put(&head.encode())?;
        let packed = std::mem::take(&mut self.packed);
        self.put(&packed)?;
        self.packed = packed;
        self.end.add(&head);
        self.offset = self.offset.saturating_add(head.len);
        self.waiting.clear();
        Ok(())
    }

    /// Packs what waits.
    fn pack(&mut self) -> std::io::Result<()> {
        self.packing.reset();
        self.packed.clear();
        loop {
            self.packed.reserve(PACKED_BYTES_MAX as usize);
            let done = usize::try_from(self.packing.total_in()).unwrap_or(usize::MAX);
            let rest = self.waiting.get(done..).unwrap_or_default();
            let packed = self.packing.compress_vec(rest, &mut self.packed, FlushCompress::Finish);
            if packed.map_err(std::io::Error::other)? == Status::StreamEnd {
                return Ok(());
            }
        }
    }

    /// Writes the end and waits until all is durable. Returns the file's length and its digest.
    pub(super) fn finish(mut self) -> Result<(u64, Digest), LogError> {
        self.block()?;
        let end = self.end.encode();
        self.put(&end)?;
        self.file.sync_data().map_err(LogError::io("sync", self.path))?;
        Ok((self.at, self.end.digest))
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        self.file.write_all_at(bytes, self.at).map_err(LogError::io("write", self.path))?;
        self.at = self.at.saturating_add(bytes.len() as u64);
        Ok(())
    }
}
