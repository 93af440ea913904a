//! Frames: how a record and a commit lie in a segment. Pure bytes, no file (layout: `mod.rs`).

use crate::events::codec::{BODY_BYTES_MAX, HEADER_BYTES_MAX};
use crate::events::ids::DeploymentId;
use crate::events::record::LogPosition;

use super::error::Fault;

/// The first bytes of a record frame.
pub(super) const RECORD_TAG: [u8; 2] = [0xec, 0x52];

/// The first bytes of a seal frame.
pub(super) const SEAL_TAG: [u8; 2] = [0xec, 0x53];

/// Bytes of a seal frame before the seal.
pub(super) const SEAL_HEAD_BYTES: usize = 8;

/// Longest seal, in bytes.
pub(super) const SEAL_BYTES_MAX: usize = 1024;

/// The first bytes of a commit frame: what a resync looks for.
pub(super) const COMMIT_MAGIC: [u8; 8] = [0xec, 0x43, b'J', b'C', b'A', b'S', 0x0d, 0x0a];

/// Bytes of a record frame before the header.
pub(super) const RECORD_HEAD_BYTES: usize = 16;

/// Bytes of a commit frame.
pub(super) const COMMIT_BYTES: u32 = 36;

/// Longest frame, in bytes.
pub(super) const FRAME_BYTES_MAX: usize = RECORD_HEAD_BYTES + HEADER_BYTES_MAX + 1 + BODY_BYTES_MAX;

/// The mark in front of a body.
const MARK_BODY: u8 = b'B';

/// The mark of a blanked record; the body's bytes, if it has any, are zero.
pub(super) const MARK_BLANK: u8 = 0;

/// Takes little-endian fields from the front of some bytes.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    pub(super) fn slice(&mut self, len: usize) -> Option<&'a [u8]> {
        let (field, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(field)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}

/// What a commit frame says about the records before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cover {
    pub(super) crc: u32,
    pub(super) records: u32,
}

impl Cover {
    /// Adds a record by its frame's head and header.
    pub(super) fn add(&mut self, head_and_header: &[u8]) {
        self.crc = crc32c::crc32c_append(self.crc, head_and_header);
        self.records = self.records.saturating_add(1);
    }

    /// Adds a seal by its whole frame.
    pub(super) fn add_seal(&mut self, frame: &[u8]) {
        self.crc = crc32c::crc32c_append(self.crc, frame);
    }
}

/// The fixed start of a record frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecordHead {
    pub(super) header_len: usize,
    pub(super) body_len: usize,
    pub(super) body_crc: u32,
    header_crc: u32,
}

impl RecordHead {
    /// Reads the start of a record frame whose tag was seen.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        let mut fields = Fields(bytes);
        let mut read = || {
            fields.take::<2>()?;
            Some(Self {
                header_len: fields.u16()?.into(),
                body_len: usize::try_from(fields.u32()?).ok()?,
                body_crc: fields.u32()?,
                header_crc: fields.u32()?,
            })
        };
        let head = read().ok_or(Fault::Truncated)?;
        let possible = (1..=HEADER_BYTES_MAX).contains(&head.header_len);
        if possible && head.body_len <= BODY_BYTES_MAX { Ok(head) } else { Err(Fault::Lengths) }
    }

    /// Bytes from the frame's start to its mark.
    pub(super) const fn mark_at(&self) -> usize {
        RECORD_HEAD_BYTES + self.header_len
    }

    /// Bytes of the whole frame.
    pub(super) const fn frame_len(&self) -> usize {
        self.mark_at() + 1 + self.body_len
    }

    /// Takes a whole frame apart and checks it.
    pub(super) fn split<'a>(&self, frame: &'a [u8]) -> Result<RecordParts<'a>, Fault> {
        let (covered, rest) = frame.split_at_checked(self.mark_at()).ok_or(Fault::Truncated)?;
        let (mark, body) = rest.split_first().ok_or(Fault::Truncated)?;
        let (fixed, with_crc) = covered.split_at_checked(12).ok_or(Fault::Truncated)?;
        let header = with_crc.get(4..).ok_or(Fault::Truncated)?;
        let crc = crc32c::crc32c_append(crc32c::crc32c(fixed), header);
        if crc != self.header_crc {
            return Err(Fault::HeaderChecksum);
        }
        let body = match *mark {
            MARK_BODY if crc32c::crc32c(body) == self.body_crc => Body::Whole(body),
            MARK_BLANK if body.iter().all(|b| *b == 0) => Body::Blank,
            _ => Body::Broken,
        };
        Ok(RecordParts { covered, header, body })
    }
}

/// A record frame taken apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecordParts<'a> {
    /// What a commit frame covers.
    pub(super) covered: &'a [u8],
    pub(super) header: &'a [u8],
    pub(super) body: Body<'a>,
}

/// What is where a body belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body<'a> {
    /// The body as it was written.
    Whole(&'a [u8]),
    /// Zeros: it was blanked.
    Blank,
    /// Something else: half blanked if the erase list says so, damage if not.
    Broken,
}

/// Appends a record frame.
pub(super) fn push_record(
    out: &mut Vec<u8>,
    cover: &mut Cover,
    header: &[u8],
    body: Option<&[u8]>,
) -> Result<(), Fault> {
    let header_len = u16::try_from(header.len()).map_err(|_| Fault::Lengths)?;
    let bytes = body.unwrap_or_default();
    let body_len = u32::try_from(bytes.len()).map_err(|_| Fault::Lengths)?;
    if header.is_empty() || header.len() > HEADER_BYTES_MAX || bytes.len() > BODY_BYTES_MAX {
        return Err(Fault::Lengths);
    }
    let start = out.len();
    out.extend_from_slice(&RECORD_TAG);
    out.extend_from_slice(&header_len.to_le_bytes());
    out.extend_from_slice(&body_len.to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(bytes).to_le_bytes());
    let fixed = crc32c::crc32c(out.get(start..).unwrap_or_default());
    out.extend_from_slice(&crc32c::crc32c_append(fixed, header).to_le_bytes());
    out.extend_from_slice(header);
    cover.add(out.get(start..).unwrap_or_default());
    out.push(if body.is_some() { MARK_BODY } else { MARK_BLANK });
    out.extend_from_slice(bytes);
    Ok(())
}

/// Appends a seal frame.
pub(super) fn push_seal(out: &mut Vec<u8>, cover: &mut Cover, seal: &[u8]) -> Result<(), Fault> {
    let len = u16::try_from(seal.len()).map_err(|_| Fault::Lengths)?;
    if seal.is_empty() || seal.len() > SEAL_BYTES_MAX {
        return Err(Fault::Lengths);
    }
    let start = out.len();
    out.extend_from_slice(&SEAL_TAG);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&seal_crc(len, seal).to_le_bytes());
    out.extend_from_slice(seal);
    cover.add_seal(out.get(start..).unwrap_or_default());
    Ok(())
}

/// The length of the seal in the frame that starts with these bytes.
pub(super) fn seal_len(head: &[u8]) -> Result<usize, Fault> {
    let mut fields = Fields(head.get(2..).unwrap_or_default());
    let len = usize::from(fields.u16().ok_or(Fault::Truncated)?);
    if (1..=SEAL_BYTES_MAX).contains(&len) { Ok(len) } else { Err(Fault::Lengths) }
}

/// The seal in a whole frame.
pub(super) fn parse_seal(frame: &[u8]) -> Result<&[u8], Fault> {
    let mut fields = Fields(frame.get(2..).unwrap_or_default());
    let (len, crc) = fields.u16().zip(fields.u32()).ok_or(Fault::Truncated)?;
    let seal = fields.0;
    if crc == seal_crc(len, seal) { Ok(seal) } else { Err(Fault::HeaderChecksum) }
}

fn seal_crc(len: u16, seal: &[u8]) -> u32 {
    let fixed = crc32c::crc32c_append(crc32c::crc32c(&SEAL_TAG), &len.to_le_bytes());
    crc32c::crc32c_append(fixed, seal)
}

/// A commit frame's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Commit {
    /// Where its batch starts: everything before is durable.
    pub(super) previous: LogPosition,
    /// Where the frame ends.
    pub(super) end: LogPosition,
    pub(super) cover: Cover,
}

impl Commit {
    /// Appends the frame.
    pub(super) fn push(&self, deployment: DeploymentId, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&COMMIT_MAGIC);
        out.extend_from_slice(&self.previous.to_bits().to_le_bytes());
        out.extend_from_slice(&self.end.to_bits().to_le_bytes());
        out.extend_from_slice(&self.cover.records.to_le_bytes());
        out.extend_from_slice(&self.cover.crc.to_le_bytes());
        let crc = commit_crc(deployment, out.get(start..).unwrap_or_default());
        out.extend_from_slice(&crc.to_le_bytes());
    }

    /// Reads the frame that ends at `end`.
    pub(super) fn parse(
        bytes: &[u8],
        deployment: DeploymentId,
        end: LogPosition,
    ) -> Result<Self, Fault> {
        let (content, crc) = bytes
            .split_last_chunk::<4>()
            .filter(|_| bytes.len() == COMMIT_BYTES as usize)
            .ok_or(Fault::Truncated)?;
        if u32::from_le_bytes(*crc) != commit_crc(deployment, content) {
            return Err(Fault::CommitChecksum);
        }
        let mut fields = Fields(content);
        let mut read = || {
            fields.take::<8>().filter(|magic| *magic == COMMIT_MAGIC)?;
            let previous = LogPosition::from_bits(fields.u64()?);
            let end = LogPosition::from_bits(fields.u64()?);
            let records = fields.u32()?;
            Some(Self { previous, end, cover: Cover { crc: fields.u32()?, records } })
        };
        let commit = read().ok_or(Fault::NoFrame)?;
        if commit.end == end { Ok(commit) } else { Err(Fault::CommitPlace) }
    }
}

fn commit_crc(deployment: DeploymentId, content: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&deployment.0), content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::ids::Digest;
    use crate::events::stamp::{Incarnation, Origin, Revision};
    use crate::log::chain::{ChainEnd, Vector};
    use crate::log::head::{FileKind, encode};

    /// Version 1 is read for ever: these bytes never change.
    #[test]
    fn the_layout_of_version_1_stays_as_it_is() {
        let deployment = DeploymentId([7; 16]);
        let mut bytes = Vec::new();
        let mut cover = Cover::default();
        push_record(&mut bytes, &mut cover, b"header", Some(b"body")).unwrap();
        push_record(&mut bytes, &mut cover, b"h", None).unwrap();
        let (previous, end) = (LogPosition::new(2, 64), LogPosition::new(2, 145));
        Commit { previous, end, cover }.push(deployment, &mut bytes);
        assert_eq!(bytes.len(), 145 - 64);
        assert_eq!(hex::encode(&bytes), FRAMES);
        let incarnation = Incarnation { counter: 1, tag: 9 };
        let (region, node) = ("eu".parse().unwrap(), "n1".parse().unwrap());
        let last = ChainEnd { sequence: 5, head: Digest([4; 32]) };
        let vector = Vector::from([(Origin { region, node, incarnation }, last)]);
        let revision = Revision::from_unix_ms(1);
        let head = encode(FileKind::Segment, deployment, 2, 99, revision, &vector);
        assert_eq!(hex::encode(&head), HEAD);
    }

    const FRAMES: &str = "\
        ec5206000400000050c93f26463d593868656164657242626f6479ec52010000000000000000006878a7\
        8d6800ec434a4341530d0a4000000002000000910000000200000002000000e8b95680b902107c";
    const HEAD: &str = "\
        4a4341534c4f470001000100070707070707070707070707070707070200000063000000000001000000\
        0000360000000100000065c659d400000000f6ba51d3026575026e310100000009000000050000000000\
        00000404040404040404040404040404040404040404040404040404040404040404";

    #[test]
    fn lengths_that_no_record_has_are_refused() {
        let (mut out, mut cover) = (Vec::new(), Cover::default());
        let long = vec![0; BODY_BYTES_MAX + 1];
        for (header, body) in [(&b""[..], &b""[..]), (&long[..1025], b""), (b"h", &long)] {
            let pushed = push_record(&mut out, &mut cover, header, Some(body));
            assert_eq!(pushed, Err(Fault::Lengths));
        }
        assert_eq!((out.len(), cover), (0, Cover::default()));
    }
}
