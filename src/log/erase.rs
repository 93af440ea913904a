//! The erase list: which bodies are blanked for ever.
//!
//! An entry is durable before its body is touched, and every opening of the log blanks what the
//! list names once more. So a crash between leaves a record whose body is either whole and still
//! to be blanked, or no body at all, and never one that cannot be read.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::events::codec;
use crate::events::ids::DeploymentId;
use crate::events::record::LogPosition;
use crate::events::stamp::{EventRef, Incarnation, Origin};
use crate::files::{FileHandle, Files};

use super::error::{Fault, LogError};
use super::frame::{Body, Fields};
use super::segments::create;

const MAGIC: [u8; 8] = *b"JCASERA\0";
const VERSION: u16 = 1;
const HEAD_BYTES: usize = 32;
const ENTRY_BYTES: usize = 100;
const NAME_BYTES: usize = 32;

/// What was erased, for looking up.
#[derive(Debug, Clone, Default)]
pub(super) struct Erased {
    by_position: HashMap<LogPosition, EventRef>,
    barred: HashSet<EventRef>,
}

impl Erased {
    /// Whether this event's body may never be stored again.
    pub(super) fn is_barred(&self, reference: &EventRef) -> bool {
        self.barred.contains(reference)
    }

    /// Whether the list names this event at this position.
    pub(super) fn names(&self, position: LogPosition, reference: &EventRef) -> bool {
        self.by_position.get(&position) == Some(reference)
    }

    /// Every entry, in log order.
    pub(super) fn entries(&self) -> Vec<(LogPosition, EventRef)> {
        let mut entries: Vec<_> = self.by_position.iter().map(|(at, of)| (*at, *of)).collect();
        entries.sort_unstable_by_key(|(position, _)| *position);
        entries
    }

    /// Takes entries in.
    pub(super) fn add(&mut self, entries: &[(LogPosition, EventRef)]) {
        self.by_position.extend(entries.iter().copied());
        self.barred.extend(entries.iter().map(|(_, reference)| *reference));
    }

    /// The body a reader may see. A record in the list has none, whatever lies there still. What
    /// does not match its checksum is damage otherwise.
    pub(super) fn settle<'a>(
        &self,
        position: LogPosition,
        header: &[u8],
        body: Body<'a>,
    ) -> Result<Option<&'a [u8]>, Fault> {
        // A cut or restored log may hold another record at a position of the list.
        let is_named = || match self.by_position.get(&position) {
            Some(named) => codec::decode_header(header).is_ok_and(|h| h.reference() == *named),
            None => false,
        };
        match body {
            Body::Blank => Ok(None),
            _ if is_named() => Ok(None),
            Body::Whole(bytes) => Ok(Some(bytes)),
            Body::Broken => Err(Fault::BodyChecksum),
        }
    }
}

/// The list's file, open for appending.
pub(super) struct EraseList {
    path: PathBuf,
    file: Arc<dyn FileHandle>,
    entries: u32,
    broken: bool,
}

/// The list's file in a log's folder.
pub(super) fn path_in(folder: &Path) -> PathBuf {
    folder.join("erase.list")
}

impl EraseList {
    /// Opens a log's erase list, or makes an empty one. A torn end is cut: it was not durable, so
    /// nothing it names was blanked.
    pub(super) fn open(
        files: &dyn Files,
        folder: &Path,
        deployment: DeploymentId,
    ) -> Result<(Self, Erased), LogError> {
        let path = path_in(folder);
        let there = files.list(folder).map_err(LogError::io("list", folder))?.contains(&path);
        if !there {
            let file = create(files, &path, &encode_head(deployment))?;
            return Ok((Self { path, file, entries: 0, broken: false }, Erased::default()));
        }
        let file = files.open(&path, false).map_err(LogError::io("open", &path))?;
        let (erased, entries) = read(file.as_ref(), &path, deployment)?;
        let list = Self { path, file, entries, broken: false };
        // In any case, since this syncs: a killed process may have left entries in memory only.
        list.cut()?;
        Ok((list, erased))
    }

    /// Makes entries durable.
    pub(super) fn append(&mut self, entries: &[(LogPosition, EventRef)]) -> Result<(), LogError> {
        if self.broken {
            return Err(LogError::EraseListBroken);
        }
        let mut bytes = Vec::with_capacity(entries.len().saturating_mul(ENTRY_BYTES));
        for (position, reference) in entries {
            push_entry(&mut bytes, *position, reference, self.entries);
        }
        if let Err(source) = self.file.write_all_at(&bytes, self.end()) {
            self.broken = self.cut().is_err();
            return Err(LogError::io("write", &self.path)(source));
        }
        // After a failed sync nobody knows what the file holds; the next opening finds out.
        self.broken = true;
        self.file.sync_data().map_err(LogError::io("sync", &self.path))?;
        self.broken = false;
        self.entries =
            self.entries.saturating_add(u32::try_from(entries.len()).unwrap_or(u32::MAX));
        Ok(())
    }

    fn end(&self) -> u64 {
        entry_offset(self.entries)
    }

    fn cut(&self) -> Result<(), LogError> {
        self.file.set_len(self.end()).map_err(LogError::io("cut", &self.path))?;
        self.file.sync_data().map_err(LogError::io("sync", &self.path))
    }
}

/// Reads the erase list of a folder without changing anything. None there is an empty one.
pub(super) fn read_only(
    files: &dyn Files,
    folder: &Path,
    deployment: DeploymentId,
) -> Result<Erased, LogError> {
    let path = path_in(folder);
    if !files.list(folder).map_err(LogError::io("list", folder))?.contains(&path) {
        return Ok(Erased::default());
    }
    let file = files.open_read(&path).map_err(LogError::io("open", &path))?;
    read(file.as_ref(), &path, deployment).map(|(erased, _)| erased)
}

fn read(
    file: &dyn FileHandle,
    path: &Path,
    deployment: DeploymentId,
) -> Result<(Erased, u32), LogError> {
    let len = file.len().map_err(LogError::io("measure", path))?;
    let mut bytes = vec![0_u8; usize::try_from(len).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut bytes, 0).map_err(LogError::io("read", path))?;
    let (head, rest) = bytes.split_at_checked(HEAD_BYTES).ok_or_else(|| LogError::Head {
        path: path.to_owned(),
        offset: 0,
        reason: "the file is shorter than a head",
    })?;
    check_head(head, path, deployment)?;
    let mut taken = Vec::new();
    let mut fault = None;
    for (index, chunk) in (0_u32..).zip(rest.chunks(ENTRY_BYTES)) {
        match (take_entry(chunk), fault) {
            (Some((entry, _)), None) => taken.push(entry),
            (None, None) => fault = Some(index),
            // A later entry that names the missing one as durable: it was, so this is damage.
            (Some((_, durable)), Some(first)) if durable > first => {
                return Err(LogError::Damage {
                    path: path.to_owned(),
                    segment: 0,
                    offset: entry_offset(first),
                    fault: Fault::EraseEntry,
                });
            }
            (_, Some(_)) => {}
        }
    }
    let mut erased = Erased::default();
    erased.add(&taken);
    Ok((erased, u32::try_from(taken.len()).unwrap_or(u32::MAX)))
}

fn entry_offset(index: u32) -> u64 {
    (HEAD_BYTES as u64).saturating_add(u64::from(index).saturating_mul(ENTRY_BYTES as u64))
}

fn encode_head(deployment: DeploymentId) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_BYTES);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&deployment.0);
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

fn check_head(head: &[u8], path: &Path, expected: DeploymentId) -> Result<(), LogError> {
    let wrong = |reason| LogError::Head { path: path.to_owned(), offset: 0, reason };
    let (content, crc) =
        head.split_last_chunk::<4>().ok_or_else(|| wrong("the file is shorter than a head"))?;
    if !content.starts_with(&MAGIC) {
        return Err(wrong("it does not start as an erase list does"));
    }
    if crc32c::crc32c(content) != u32::from_le_bytes(*crc) {
        return Err(wrong("it does not match its checksum"));
    }
    let mut fields = Fields(content.get(MAGIC.len()..).unwrap_or_default());
    let version = fields.u16().unwrap_or_default();
    if version > VERSION {
        return Err(LogError::Newer { path: path.to_owned(), version, known: VERSION });
    }
    let found = fields.u16().and_then(|_| fields.take()).map(DeploymentId);
    let found = found.ok_or_else(|| wrong("the file is shorter than a head"))?;
    if found != expected {
        return Err(LogError::Foreign { path: path.to_owned(), found, expected });
    }
    Ok(())
}

fn push_entry(out: &mut Vec<u8>, position: LogPosition, reference: &EventRef, durable: u32) {
    let start = out.len();
    let Origin { region, node, incarnation } = &reference.origin;
    for name in [region.as_str(), node.as_str()] {
        // A name is at most 32 bytes (`events::ids`).
        out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(name.as_bytes());
        out.resize(out.len() + NAME_BYTES.saturating_sub(name.len()), 0);
    }
    out.extend_from_slice(&incarnation.counter.to_le_bytes());
    out.extend_from_slice(&incarnation.tag.to_le_bytes());
    out.extend_from_slice(&reference.sequence.to_le_bytes());
    out.extend_from_slice(&position.to_bits().to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&durable.to_le_bytes());
    let crc = crc32c::crc32c(out.get(start..).unwrap_or_default());
    out.extend_from_slice(&crc.to_le_bytes());
}

/// An entry and how many before it were durable when it was written.
fn take_entry(bytes: &[u8]) -> Option<((LogPosition, EventRef), u32)> {
    let (content, crc) = bytes.split_last_chunk::<4>().filter(|_| bytes.len() == ENTRY_BYTES)?;
    if crc32c::crc32c(content) != u32::from_le_bytes(*crc) {
        return None;
    }
    let mut fields = Fields(content);
    let (region, node) =
        (take_name(&mut fields)?.parse().ok()?, take_name(&mut fields)?.parse().ok()?);
    let incarnation = Incarnation { counter: fields.u32()?, tag: fields.u32()? };
    let origin = Origin { region, node, incarnation };
    let reference = EventRef { origin, sequence: fields.u64()? };
    let position = LogPosition::from_bits(fields.u64()?);
    fields.u16()?;
    Some(((position, reference), fields.u32()?))
}

fn take_name<'a>(fields: &mut Fields<'a>) -> Option<&'a str> {
    let [len] = fields.take::<1>()?;
    std::str::from_utf8(fields.slice(NAME_BYTES)?.get(..usize::from(len))?).ok()
}
