//! A segment's head: whose it is, what lies before it, and every origin's end there, so that
//! opening a log reads its last segment only (layout: `mod.rs`).

use std::path::Path;

use crate::events::ids::{DeploymentId, Digest};
use crate::events::stamp::{Incarnation, Origin, Revision};
use crate::files::FileHandle;

use super::chain::{ChainEnd, Vector};
use super::error::LogError;
use super::frame::Fields;

/// The format version this program writes.
pub(super) const VERSION: u16 = 1;

const MAGIC: [u8; 8] = *b"JCASLOG\0";

/// Bytes of the part that every version has.
const FIXED_BYTES: u32 = 64;

/// Longest vector, in bytes: half a million lives.
const VECTOR_BYTES_MAX: u32 = 64 * 1024 * 1024;

/// What a file of this format is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileKind {
    /// A segment of a log.
    Segment,
    /// Selected records of a log.
    Export,
}

/// A segment's head without its vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHead {
    pub(super) kind: FileKind,
    pub(super) deployment: DeploymentId,
    /// The segment's number.
    pub(super) segment: u32,
    /// Where the frames of the segment before end.
    pub(super) previous_end: u32,
    /// The greatest revision of all records before this segment.
    pub(super) greatest_revision: Revision,
    vector_bytes: u32,
    vector_entries: u32,
    vector_crc: u32,
}

/// A new segment's head, as bytes.
pub(super) fn encode(
    kind: FileKind,
    deployment: DeploymentId,
    segment: u32,
    previous_end: u32,
    greatest_revision: Revision,
    vector: &Vector,
) -> Vec<u8> {
    let mut entries = Vec::with_capacity(vector.len().saturating_mul(96));
    for (origin, end) in vector {
        push_entry(&mut entries, origin, end);
    }
    let mut out = Vec::with_capacity(entries.len().saturating_add(FIXED_BYTES as usize));
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    let kind: u16 = if kind == FileKind::Segment { 1 } else { 2 };
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&deployment.0);
    out.extend_from_slice(&segment.to_le_bytes());
    out.extend_from_slice(&previous_end.to_le_bytes());
    out.extend_from_slice(&greatest_revision.to_bits().to_le_bytes());
    // Lengths over u32 are refused when the head is read; half a million lives never come.
    out.extend_from_slice(&u32::try_from(entries.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&u32::try_from(vector.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(&entries).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&entries);
    out
}

fn push_entry(out: &mut Vec<u8>, origin: &Origin, end: &ChainEnd) {
    push_name(out, origin.region.as_str());
    push_name(out, origin.node.as_str());
    out.extend_from_slice(&origin.incarnation.counter.to_le_bytes());
    out.extend_from_slice(&origin.incarnation.tag.to_le_bytes());
    out.extend_from_slice(&end.sequence.to_le_bytes());
    out.extend_from_slice(&end.head.0);
}

/// A name is at most 32 bytes (`events::ids`), so its length fits.
fn push_name(out: &mut Vec<u8>, name: &str) {
    out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(name.as_bytes());
}

fn take_name<T: std::str::FromStr>(fields: &mut Fields<'_>) -> Option<T> {
    let [len] = fields.take::<1>()?;
    let bytes = fields.slice(len.into())?;
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

fn take_entry(fields: &mut Fields<'_>) -> Option<(Origin, ChainEnd)> {
    let (region, node) = (take_name(fields)?, take_name(fields)?);
    let incarnation = Incarnation { counter: fields.u32()?, tag: fields.u32()? };
    let end = ChainEnd { sequence: fields.u64()?, head: Digest(fields.take()?) };
    Some((Origin { region, node, incarnation }, end))
}

impl SegmentHead {
    /// Reads and checks the fixed part of a file's head.
    pub(super) fn read(file: &dyn FileHandle, path: &Path) -> Result<Self, LogError> {
        let wrong = |reason| LogError::Head { path: path.to_owned(), offset: 0, reason };
        let len = file.len().map_err(LogError::io("measure", path))?;
        if len < u64::from(FIXED_BYTES) {
            return Err(wrong("the file is shorter than a head"));
        }
        let mut bytes = [0_u8; FIXED_BYTES as usize];
        file.read_exact_at(&mut bytes, 0).map_err(LogError::io("read the head of", path))?;
        let (content, crc) = bytes.split_at(bytes.len() - 4);
        if !content.starts_with(&MAGIC) {
            return Err(wrong("it does not start as a log file does: is it a log at all?"));
        }
        if crc != crc32c::crc32c(content).to_le_bytes() {
            return Err(wrong("it does not match its checksum"));
        }
        let mut fields = Fields(content.get(MAGIC.len()..).unwrap_or_default());
        let version = fields.u16().unwrap_or_default();
        if version > VERSION {
            return Err(LogError::Newer { path: path.to_owned(), version, known: VERSION });
        }
        let head = Self::take(&mut fields).ok_or_else(|| wrong("it is no known kind of file"))?;
        if head.vector_bytes > VECTOR_BYTES_MAX || u64::from(head.len()) > len {
            return Err(wrong("its vector goes on beyond the end"));
        }
        Ok(head)
    }

    fn take(fields: &mut Fields<'_>) -> Option<Self> {
        let kind = match fields.u16()? {
            1 => FileKind::Segment,
            2 => FileKind::Export,
            _ => return None,
        };
        Some(Self {
            kind,
            deployment: DeploymentId(fields.take()?),
            segment: fields.u32()?,
            previous_end: fields.u32()?,
            greatest_revision: Revision::from_bits(fields.u64()?),
            vector_bytes: fields.u32()?,
            vector_entries: fields.u32()?,
            vector_crc: fields.u32()?,
        })
    }

    /// Where the first frame lies, in bytes from the file's start.
    pub(super) const fn len(&self) -> u32 {
        FIXED_BYTES.saturating_add(self.vector_bytes)
    }

    /// Refuses a head of another deployment or another segment than the file's name says.
    pub(super) fn expect(
        &self,
        path: &Path,
        deployment: DeploymentId,
        segment: u32,
    ) -> Result<(), LogError> {
        if self.deployment != deployment {
            let (found, expected) = (self.deployment, deployment);
            return Err(LogError::Foreign { path: path.to_owned(), found, expected });
        }
        if self.segment != segment {
            let reason = "it names another segment than the file's name";
            return Err(LogError::Head { path: path.to_owned(), offset: 28, reason });
        }
        Ok(())
    }

    /// Reads and checks the vector: every origin's end before this segment.
    pub(super) fn read_vector(
        &self,
        file: &dyn FileHandle,
        path: &Path,
    ) -> Result<Vector, LogError> {
        let offset = u64::from(FIXED_BYTES);
        let wrong = |reason| LogError::Head { path: path.to_owned(), offset, reason };
        let len =
            usize::try_from(self.vector_bytes).map_err(|_| wrong("its vector is too long"))?;
        let mut bytes = vec![0_u8; len];
        file.read_exact_at(&mut bytes, offset).map_err(LogError::io("read the head of", path))?;
        if crc32c::crc32c(&bytes) != self.vector_crc {
            return Err(wrong("its vector does not match its checksum"));
        }
        let mut fields = Fields(&bytes);
        let mut vector = Vector::new();
        for _ in 0..self.vector_entries {
            let (origin, end) =
                take_entry(&mut fields).ok_or_else(|| wrong("its vector cannot be read"))?;
            vector.insert(origin, end);
        }
        Ok(vector)
    }
}
