//! The index of a segment that takes no further record: a file beside it that says under which keys
//! its records are to be found. Whoever makes it names the keys; here they are numbers.
//!
//! It is for speed alone. It holds nothing that is not in the segment, names by digest the segment
//! it was made of, and is not looked at where it is damaged, of another segment, or not there
//! (layout: `mod.rs`).

use std::path::{Path, PathBuf};

use crate::events::codec;
use crate::events::ids::Digest;
use crate::events::record::{Header, LogPosition, Record};
use crate::files::Files;
use crate::files::unfinished::{Unfinished, remove_leftovers};

use super::error::LogError;
use super::frame::Fields;
use super::reader::LogReader;

/// The version of the layout.
const VERSION: u16 = 1;

const MAGIC: [u8; 8] = *b"JCASIDX\0";

/// Bytes before the entries.
const HEAD_BYTES: usize = 56;

/// Bytes of an entry.
const ENTRY_BYTES: usize = 8;

/// What a record is found by.
pub type Key = u32;

/// How the keys of records are made.
#[derive(Clone, Copy)]
pub struct Keys {
    /// Changes whenever the keys of a record do: an index of another version is not looked at.
    pub version: u16,
    /// Adds the keys of a record.
    pub of: fn(&Header, &Record, &mut Vec<Key>),
}

/// The index of a segment.
pub struct Index(Vec<u8>);

impl Index {
    /// Where the records with one of these keys start, in their order.
    pub fn offsets(&self, keys: &[Key]) -> Vec<u32> {
        let (entries, _) = self.0.as_chunks::<ENTRY_BYTES>();
        let mut found = Vec::new();
        for key in keys {
            let from = entries.partition_point(|it| parts(*it).0 < *key);
            let of_key = entries.iter().skip(from).map(|it| parts(*it));
            found.extend(of_key.take_while(|(of, _)| of == key).map(|(_, offset)| offset));
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// An entry's key and its record's offset.
fn parts(entry: [u8; ENTRY_BYTES]) -> (Key, u32) {
    let bits = u64::from_le_bytes(entry);
    let low = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(u32::MAX);
    (low(bits >> 32), low(bits))
}

/// The file name of a segment's index.
fn index_path(segment: &Path) -> PathBuf {
    segment.with_extension("idx")
}

impl LogReader {
    /// The index of a segment, if there is one and it is this segment's.
    pub fn index(&self, segment: u32, keys: &Keys) -> Option<Index> {
        let path = index_path(&self.path_in_folder(segment)?);
        let of = self.digest_of(segment).ok()??;
        let file = self.files().open_read(&path).ok()?;
        let len = file.len().ok().filter(|len| u32::try_from(*len).is_ok())?;
        let mut bytes = vec![0; usize::try_from(len).ok()?];
        file.read_exact_at(&mut bytes, 0).ok()?;
        let (head, entries) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        if *head != encode_head(keys.version, &of, entries) {
            return None;
        }
        bytes.drain(..HEAD_BYTES);
        Some(Index(bytes))
    }

    /// Makes the index of a segment that takes no further record, and says whether it was made: it
    /// is not where a good one is, and the last segment has none.
    pub fn make_index(&self, segment: u32, keys: &Keys) -> Result<bool, LogError> {
        let Some(path) = self.path_in_folder(segment) else { return Ok(false) };
        let Some(of) = self.digest_of(segment)? else { return Ok(false) };
        if self.index(segment, keys).is_some() {
            return Ok(false);
        }
        let (mut entries, mut found) = (Vec::new(), Vec::new());
        let (from, to) = (LogPosition::new(segment, 0), LogPosition::new(segment + 1, 0));
        for stored in self.scan(from, Some(to)) {
            let stored = stored?;
            let header = codec::decode_header(&stored.record.header)
                .map_err(|source| LogError::Header { position: stored.position, source })?;
            found.clear();
            (keys.of)(&header, &stored.record, &mut found);
            let offset = u64::from(stored.position.offset());
            entries.extend(found.iter().map(|key| (u64::from(*key) << 32) | offset));
        }
        entries.sort_unstable();
        let entries: Vec<u8> = entries.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        let head = encode_head(keys.version, &of, &entries);
        put(self.files().as_ref(), &index_path(&path), &[&head[..], &entries].concat())?;
        Ok(true)
    }

    /// What tells a segment from every other one: the digest of what its end says, which is where
    /// the chains of all origins stand behind it, and of what its head says. None for the last one.
    fn digest_of(&self, segment: u32) -> Result<Option<Digest>, LogError> {
        let (first, last) = self.segments();
        if segment < first || segment >= last {
            return Ok(None);
        }
        let (head, next) = (self.head_bytes(segment)?, self.head_bytes(segment + 1)?);
        Ok(Some(codec::digest(&[head, next].concat())))
    }
}

fn encode_head(keys_version: u16, of: &Digest, entries: &[u8]) -> [u8; HEAD_BYTES] {
    let count = u32::try_from(entries.len() / ENTRY_BYTES).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(HEAD_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&keys_version.to_le_bytes());
    bytes.extend_from_slice(&count.to_le_bytes());
    bytes.extend_from_slice(&of.0);
    bytes.extend_from_slice(&crc32c::crc32c(entries).to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    Fields(&bytes).take().unwrap_or([0; HEAD_BYTES])
}

/// Writes an index beside its segment. It is not synced: a torn one is not looked at.
fn put(files: &dyn Files, path: &Path, bytes: &[u8]) -> Result<(), LogError> {
    remove_leftovers(path);
    let unborn = Unfinished::path_beside(path);
    let file = files.open(&unborn, true).map_err(LogError::io("create", &unborn))?;
    let _known = Unfinished::known(unborn.clone());
    let written = file
        .write_all_at(bytes, 0)
        .map_err(LogError::io("write", &unborn))
        .and_then(|()| files.rename(&unborn, path).map_err(LogError::io("rename", &unborn)));
    if written.is_err() {
        // A leftover does no harm; the error is the one that matters.
        let _ = files.remove(&unborn);
    }
    written
}
