//! Writes selected records to one file, which is read like a segment.

use std::path::Path;
use std::sync::Arc;

use crate::events::codec;
use crate::events::ids::DeploymentId;
use crate::events::record::{Header, LogPosition, Record};
use crate::events::stamp::{EventRef, Revision};
use crate::files::unfinished::{Unfinished, remove_leftovers};
use crate::files::{FileHandle, Files};

use super::chain::Vector;
use super::error::LogError;
use super::frame::{COMMIT_BYTES, Commit, Cover, FRAME_BYTES_MAX, push_record, push_seal};
use super::head::{FileKind, encode};
use super::reader::{Entry, LogReader, StoredRecord};

/// About how many bytes lie between two commit frames of an export.
const BATCH_BYTES: usize = 1024 * 1024;

/// Longest export, in bytes: positions are 32-bit offsets.
const EXPORT_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024 - 1;

/// What an export holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct ExportReport {
    /// Records written.
    pub records: u64,
    /// Of these, how many without a body.
    pub blanked: u64,
    /// The file's length.
    pub bytes: u64,
}

/// Chooses among records.
pub type Choose<'a> = &'a mut dyn FnMut(&Header, &Record) -> bool;

/// Writes the records of `reader` between two positions that `select` takes to the file `path`,
/// with the bodies that `keep_body` wants. Replaces a file of that name once all is durable. A
/// file holds 4 GiB at most.
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
    let mut sink = Sink::new(file, &unborn, reader);
    let written = reader
        .entries(from, to)
        .try_for_each(|entry| match entry? {
            Entry::Record(stored) => sink.take(&stored, select, keep_body),
            Entry::Seal { seal, next } => sink.seal(&seal, next),
        })
        .and_then(|()| sink.finish());
    if let Err(error) = written {
        // A leftover does no harm; the error above is the one that matters.
        let _ = files.remove(&unborn);
        return Err(error);
    }
    files.rename(&unborn, path).map_err(LogError::io("rename", &unborn))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    files.sync_folder(folder).map_err(LogError::io("sync", folder))?;
    Ok(sink.report)
}

/// Whether an export ends as it was meant to.
pub(super) fn is_finished(
    file: &dyn FileHandle,
    path: &Path,
    deployment: DeploymentId,
) -> Result<bool, LogError> {
    let len = file.len().map_err(LogError::io("measure", path))?;
    let Some(start) = len.checked_sub(u64::from(COMMIT_BYTES)) else { return Ok(false) };
    let mut bytes = [0; COMMIT_BYTES as usize];
    file.read_exact_at(&mut bytes, start).map_err(LogError::io("read", path))?;
    let end = LogPosition::new(1, u32::try_from(len).unwrap_or(u32::MAX));
    let last = Commit::parse(&bytes, deployment, end);
    Ok(last.is_ok_and(|commit| commit.cover.records == 0))
}

/// The file in the making.
struct Sink<'a> {
    file: Arc<dyn FileHandle>,
    path: &'a Path,
    reader: &'a LogReader,
    buffer: Vec<u8>,
    /// Where the batch starts within the buffer: behind the head in the first one.
    batch_at: usize,
    cover: Cover,
    /// The last record, if it is the last one that was met.
    last: Option<EventRef>,
    report: ExportReport,
}

impl<'a> Sink<'a> {
    fn new(file: Arc<dyn FileHandle>, path: &'a Path, reader: &'a LogReader) -> Self {
        let (kind, deployment) = (FileKind::Export, reader.deployment());
        let buffer = encode(kind, deployment, 1, 0, Revision::ZERO, &Vector::new());
        let batch_at = buffer.len();
        let (cover, report) = (Cover::default(), ExportReport::default());
        Self { file, path, reader, buffer, batch_at, cover, last: None, report }
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
        }
        let body = record.body.as_deref().filter(|_| keep_body(&header, record));
        push_record(&mut self.buffer, &mut self.cover, &record.header, body)
            .map_err(|fault| super::record_at::damage(self.path, *position, fault))?;
        self.report.records += 1;
        self.report.blanked += u64::from(body.is_none());
        self.last = Some(header.reference());
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

    /// Writes the batch with its commit frame.
    fn flush(&mut self) -> Result<(), LogError> {
        let start = self.report.bytes;
        if self.cover.records > 0 {
            let at = |len: usize| {
                let offset = start.saturating_add(len as u64);
                LogPosition::new(1, u32::try_from(offset).unwrap_or(u32::MAX))
            };
            let (previous, end) =
                (at(self.batch_at), at(self.buffer.len() + COMMIT_BYTES as usize));
            let commit = Commit { previous, end, cover: self.cover };
            commit.push(self.reader.deployment(), &mut self.buffer);
        }
        let end = start.saturating_add(self.buffer.len() as u64);
        if end.saturating_add(2 * FRAME_BYTES_MAX as u64) > EXPORT_BYTES_MAX {
            return Err(LogError::ExportTooLong { path: self.path.to_owned() });
        }
        self.file.write_all_at(&self.buffer, start).map_err(LogError::io("write", self.path))?;
        self.report.bytes = end;
        self.buffer.clear();
        self.batch_at = 0;
        self.cover = Cover::default();
        Ok(())
    }

    /// Writes what is left, and a commit frame over nothing: the end. It says of every batch that
    /// it was whole, and a file that was cut does not have it.
    fn finish(&mut self) -> Result<(), LogError> {
        self.flush()?;
        let start = self.report.bytes;
        let at = |offset: u64| LogPosition::new(1, u32::try_from(offset).unwrap_or(u32::MAX));
        let end = start.saturating_add(u64::from(COMMIT_BYTES));
        let commit = Commit { previous: at(start), end: at(end), cover: Cover::default() };
        commit.push(self.reader.deployment(), &mut self.buffer);
        self.file.write_all_at(&self.buffer, start).map_err(LogError::io("write", self.path))?;
        self.report.bytes = end;
        self.file.sync_data().map_err(LogError::io("sync", self.path))
    }
}
