//! Writes selected records to one file: segments of a log of their own, packed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::events::codec;
use crate::events::ids::{DeploymentId, Digest};
use crate::events::record::{Header, LogPosition, Record};
use crate::events::stamp::{EventRef, Origin, Revision};
use crate::files::unfinished::{Unfinished, remove_leftovers};
use crate::files::{FileHandle, Files};

use super::chain::{ChainEnd, Vector};
use super::error::LogError;
use super::frame::{COMMIT_BYTES, Commit, Cover, push_record, push_seal};
use super::head::{FileKind, encode};
use super::pack::Packer;
use super::reader::{Entry, LogReader, StoredRecord};
use super::segments::Found;

/// About how many bytes lie between two commit frames of an export: several batches are in a block,
/// so that a damaged one takes little with it.
const BATCH_BYTES: usize = 256 * 1024;

/// From this length on, in bytes, a segment of an export takes no further batch.
const SEGMENT_BYTES: u32 = 1024 * 1024 * 1024;

/// What an export holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct ExportReport {
    /// Records written.
    pub records: u64,
    /// Of these, how many without a body.
    pub blanked: u64,
    /// The file's length.
    pub bytes: u64,
    /// How long it is unpacked.
    pub unpacked_bytes: u64,
    /// The digest over all of it: two files with the same one hold the same.
    pub digest: Digest,
}

/// Chooses among records.
pub type Choose<'a> = &'a mut dyn FnMut(&Header, &Record) -> bool;

/// Writes the records of `reader` between two positions that `select` takes to the file `path`,
/// with the bodies that `keep_body` wants, packed. Replaces a file of that name once all is
/// durable.
pub fn export(
    files: &Arc<dyn Files>,
    path: &Path,
    reader: &LogReader,
    (from, to): (LogPosition, Option<LogPosition>),
    select: Choose<'_>,
    keep_body: Choose<'_>,
) -> Result<ExportReport, LogError> {
    remove_leftovers(path);
    let unborn = Unfinished::path_beside(path);
    if let Err(source) = files.remove(&unborn)
        && source.kind() != std::io::ErrorKind::NotFound
    {
        return Err(LogError::io("remove", &unborn)(source));
    }
    let file = files.open(&unborn, true).map_err(LogError::io("create", &unborn))?;
    let _known = Unfinished::known(unborn.clone());
    let written = write(file, &unborn, (reader, from, to), SEGMENT_BYTES, select, keep_body);
    let report = match written {
        Ok(report) => report,
        Err(error) => {
            // A leftover does no harm; the error above is the one that matters.
            let _ = files.remove(&unborn);
            return Err(error);
        }
    };
    files.rename(&unborn, path).map_err(LogError::io("rename", &unborn))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    files.sync_folder(folder).map_err(LogError::io("sync", folder))?;
    Ok(report)
}

/// Writes it into a new file.
pub(super) fn write(
    file: Arc<dyn FileHandle>,
    path: &Path,
    (reader, from, to): (&LogReader, LogPosition, Option<LogPosition>),
    segment_bytes: u32,
    select: Choose<'_>,
    keep_body: Choose<'_>,
) -> Result<ExportReport, LogError> {
    let mut sink = Sink::new(Packer::new(file, path)?, path, reader, segment_bytes);
    for entry in reader.entries(from, to) {
        match entry? {
            Entry::Record(stored) => sink.take(&stored, select, keep_body)?,
            Entry::Seal { seal, next } => sink.seal(&seal, next)?,
        }
    }
    sink.finish()
}

/// Whether an export ends as it was meant to.
pub(super) fn is_finished(found: &Found, deployment: DeploymentId) -> Result<bool, LogError> {
    if found.segments.in_packed().is_some_and(|packed| !packed.is_finished()) {
        return Ok(false);
    }
    let (file, path) = (found.segments.open(found.last)?, found.segments.path(found.last));
    let len = file.len().map_err(LogError::io("measure", &path))?;
    let Some(start) = len.checked_sub(u64::from(COMMIT_BYTES)) else { return Ok(false) };
    let mut bytes = [0; COMMIT_BYTES as usize];
    file.read_exact_at(&mut bytes, start).map_err(LogError::io("read", &path))?;
    let end = LogPosition::new(found.last, u32::try_from(len).unwrap_or(u32::MAX));
    let last = Commit::parse(&bytes, deployment, end);
    Ok(last.is_ok_and(|commit| commit.cover.records == 0))
}

/// The file in the making.
struct Sink<'a> {
    packer: Packer<'a>,
    path: &'a Path,
    reader: &'a LogReader,
    /// From this length on a segment takes no further batch.
    segment_bytes: u32,
    segment: u32,
    /// Where the buffer starts in its segment.
    start: u64,
    buffer: Vec<u8>,
    /// Where the batch starts within the buffer: behind the head in the first one.
    batch_at: usize,
    cover: Cover,
    /// The last record, if it is the last one that was met.
    last: Option<EventRef>,
    /// The number and the header of each origin's last record.
    ends: BTreeMap<Origin, (u64, Box<[u8]>)>,
    greatest: Revision,
    report: ExportReport,
}

impl<'a> Sink<'a> {
    fn new(packer: Packer<'a>, path: &'a Path, reader: &'a LogReader, segment_bytes: u32) -> Self {
        let mut sink = Self {
            packer,
            path,
            reader,
            segment_bytes,
            segment: 1,
            start: 0,
            buffer: Vec::new(),
            batch_at: 0,
            cover: Cover::default(),
            last: None,
            ends: BTreeMap::new(),
            greatest: Revision::ZERO,
            report: ExportReport {
                records: 0,
                blanked: 0,
                bytes: 0,
                unpacked_bytes: 0,
                digest: Digest::ZERO,
            },
        };
        sink.begin_segment(0);
        sink
    }

    fn take(
        &mut self,
        stored: &StoredRecord,
        select: Choose<'_>,
        keep_body: Choose<'_>,
    ) -> Result<(), LogError> {
        let StoredRecord { position, record, .. } = stored;
        let header = codec::decode_header(&record.header)
            .map_err(|source| LogError::Header { position: *position, source })?;
        self.last = None;
        if !select(&header, record) {
            return Ok(());
        }
        // Only now, so that a seal is in the batch of the record it is over.
        if self.buffer.len() >= BATCH_BYTES {
            self.flush()?;
            self.next_segment()?;
        }
        let body = record.body.as_deref().filter(|_| keep_body(&header, record));
        push_record(&mut self.buffer, &mut self.cover, &record.header, body)
            .map_err(|fault| super::record_at::damage(self.path, *position, fault))?;
        self.report.records += 1;
        self.report.blanked += u64::from(body.is_none());
        self.last = Some(header.reference());
        self.ends.insert(header.origin, (header.sequence, record.header.clone()));
        self.greatest = self.greatest.max(header.revision);
        Ok(())
    }

    /// Takes the seal over a record that was taken.
    fn seal(&mut self, seal: &[u8], position: LogPosition) -> Result<(), LogError> {
        let over =
            codec::decode_seal(seal).map_err(|source| LogError::Header { position, source })?;
        let over = EventRef { origin: over.origin, sequence: over.sequence };
        if self.last != Some(over) {
            return Ok(());
        }
        push_seal(&mut self.buffer, &mut self.cover, seal)
            .map_err(|fault| super::record_at::damage(self.path, position, fault))
    }

    /// Begins a segment with its head.
    fn begin_segment(&mut self, previous_end: u32) {
        let end = |(sequence, header): &(u64, Box<[u8]>)| {
            let (sequence, head) = (*sequence, codec::digest(header));
            ChainEnd { sequence, head }
        };
        let vector: Vector = self.ends.iter().map(|(origin, last)| (*origin, end(last))).collect();
        let (kind, deployment) = (FileKind::Export, self.reader.deployment());
        self.buffer = encode(kind, deployment, self.segment, previous_end, self.greatest, &vector);
        self.batch_at = self.buffer.len();
        self.start = 0;
    }

    /// Goes on in another segment if this one is long enough. Nothing waits to be written.
    fn next_segment(&mut self) -> Result<(), LogError> {
        let end = self.here().offset();
        if end < self.segment_bytes {
            return Ok(());
        }
        self.packer.next_segment()?;
        self.segment = self.segment.saturating_add(1);
        self.begin_segment(end);
        Ok(())
    }

    /// The place behind what is in the buffer.
    fn here(&self) -> LogPosition {
        self.place(self.buffer.len())
    }

    /// A place in the buffer as one in the log. A segment is bounded far below 32 bits.
    fn place(&self, len: usize) -> LogPosition {
        let offset = self.start.saturating_add(len as u64);
        LogPosition::new(self.segment, u32::try_from(offset).unwrap_or(u32::MAX))
    }

    /// Writes the batch with its commit frame.
    fn flush(&mut self) -> Result<(), LogError> {
        if self.cover.records > 0 {
            let previous = self.place(self.batch_at);
            let end = self.place(self.buffer.len().saturating_add(COMMIT_BYTES as usize));
            let commit = Commit { previous, end, cover: self.cover };
            commit.push(self.reader.deployment(), &mut self.buffer);
        }
        self.write()
    }

    fn write(&mut self) -> Result<(), LogError> {
        self.packer.write(&self.buffer)?;
        let bytes = self.buffer.len() as u64;
        self.report.unpacked_bytes = self.report.unpacked_bytes.saturating_add(bytes);
        self.start = self.start.saturating_add(bytes);
        self.buffer.clear();
        self.batch_at = 0;
        self.cover = Cover::default();
        Ok(())
    }

    /// Writes what is left, and a commit frame over nothing: the end. It says of every batch that
    /// it was whole, and a file that was cut does not have it.
    fn finish(mut self) -> Result<ExportReport, LogError> {
        self.flush()?;
        let (previous, end) = (self.here(), self.place(COMMIT_BYTES as usize));
        let commit = Commit { previous, end, cover: Cover::default() };
        commit.push(self.reader.deployment(), &mut self.buffer);
        self.write()?;
        let (bytes, digest) = self.packer.finish()?;
        Ok(ExportReport { bytes, digest, ..self.report })
    }
}
