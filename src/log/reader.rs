//! Reads a log, beside its writer or without one: from a folder, one segment or an export.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use crate::events::ids::DeploymentId;
use crate::events::record::{LogPosition, Record};
use crate::events::stamp::{EventRef, Origin, Revision};
use crate::files::Files;

use super::chain::Vector;
use super::cursor::{Cursor, Frame, Halt};
use super::erase::Erased;
use super::error::{Fault, LogError};
use super::export::is_finished;
use super::head::{FileKind, SegmentHead};
use super::open::Shared;
use super::record_at::{RecordAt, damage};
use super::segments::{Found, Segments};
use super::status::Mark;
use super::tail::Ending;

/// Reads records by position. Cheap to clone; clones share open files.
#[derive(Clone)]
pub struct LogReader {
    segments: Arc<Segments>,
    erased: Arc<RwLock<Erased>>,
    deployment: DeploymentId,
    first: u32,
    end: End,
}

/// Where reading ends.
#[derive(Clone)]
enum End {
    /// At what is durable at the moment.
    Durable(Arc<Mark>),
    /// At what was found when the files were opened.
    Fixed(LogPosition),
}

/// A record and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// Where it starts.
    pub position: LogPosition,
    /// Where the next scan goes on behind it.
    pub next: LogPosition,
    /// The record; without a body when that was blanked.
    pub record: Record,
}

impl LogReader {
    pub(super) fn live(shared: &Arc<Shared>) -> Self {
        Self {
            segments: Arc::clone(&shared.segments),
            erased: Arc::clone(&shared.erased),
            deployment: shared.options.deployment,
            first: 1,
            end: End::Durable(Arc::clone(&shared.durable)),
        }
    }

    /// Opens a log's folder, one of its segments or an export, for reading only. A torn tail is not
    /// seen and not touched. A damaged last segment opens: the scan reports the damage. An export
    /// must be whole.
    pub fn open_path(files: &Arc<dyn Files>, path: &Path) -> Result<Self, LogError> {
        let found = Found::at(files, path)?;
        let (file, path) = (found.segments.open(found.last)?, found.segments.path(found.last));
        if let Some(packed) = found.segments.in_packed() {
            packed.expect_sound()?;
            if !packed.is_finished() {
                return Err(LogError::Unfinished { path });
            }
        }
        let head = SegmentHead::read(file.as_ref(), &path)?;
        head.expect(&path, head.deployment, found.last)?;
        if head.kind == FileKind::Export && !is_finished(&found, head.deployment)? {
            return Err(LogError::Unfinished { path });
        }
        let erased = found.erased(head.deployment)?;
        let ending = Ending::find(&file, &path, &head, &erased)?;
        let end = ending.named.unwrap_or(ending.durable);
        Ok(Self {
            segments: Arc::new(found.segments),
            erased: Arc::new(RwLock::new(erased)),
            deployment: head.deployment,
            first: found.first,
            end: End::Fixed(LogPosition::new(head.segment, end)),
        })
    }

    /// The same log as it is now, if a file or its length has changed; `known` is what was seen
    /// then. Begins where the last reader ended.
    pub fn opened_again(
        &self,
        files: &Arc<dyn Files>,
        path: &Path,
        known: &mut Option<(u32, u64)>,
    ) -> Result<Option<Self>, LogError> {
        let found = Found::at(files, path)?;
        let (file, segment) = (found.segments.open(found.last)?, found.segments.path(found.last));
        let now = (found.last, file.len().map_err(LogError::io("measure", &segment))?);
        if known.replace(now) == Some(now) {
            return Ok(None);
        }
        let end = self.end();
        if found.last != end.segment() {
            return Self::open_path(files, path).map(Some);
        }
        let head = SegmentHead::read(file.as_ref(), &segment)?;
        head.expect(&segment, self.deployment, found.last)?;
        let erased = found.erased(head.deployment)?;
        let from = end.offset().max(head.len());
        let ending = Ending::find_from(from, &file, &segment, &head, &erased)?;
        let end = LogPosition::new(found.last, ending.named.unwrap_or(ending.durable));
        Ok(Some(Self {
            segments: Arc::new(found.segments),
            erased: Arc::new(RwLock::new(erased)),
            deployment: self.deployment,
            first: found.first,
            end: End::Fixed(end),
        }))
    }

    /// The numbers of the first segment and of the last one.
    pub fn segments(&self) -> (u32, u32) {
        (self.first, self.end().segment())
    }

    /// Whose log it is.
    pub const fn deployment(&self) -> DeploymentId {
        self.deployment
    }

    /// Where reading ends now.
    pub fn end(&self) -> LogPosition {
        match &self.end {
            End::Durable(mark) => mark.get(),
            End::Fixed(end) => *end,
        }
    }

    /// All records from `from` (0, or the start or the end of a record's or commit's frame) to
    /// `to`, or to the end. After an error the scan is over.
    pub fn scan(&self, from: LogPosition, to: Option<LogPosition>) -> Scan {
        let end = self.end();
        let to = to.map_or(end, |to| to.min(end));
        let from = from.max(LogPosition::new(self.first, 0));
        Scan { reader: self.clone(), at: from, to, cursor: None, over: false }
    }

    /// The same with the seals between the records.
    pub fn entries(&self, from: LogPosition, to: Option<LogPosition>) -> Entries {
        Entries(self.scan(from, to))
    }

    /// The record at a position.
    pub fn read_at(&self, position: LogPosition) -> Result<Record, LogError> {
        self.stored_at(position).map(|stored| stored.record)
    }

    /// The record at a position, with where it ends.
    pub fn stored_at(&self, position: LogPosition) -> Result<StoredRecord, LogError> {
        let end = self.end();
        if position >= end || position.segment() < self.first {
            return Err(LogError::Beyond { position, end });
        }
        let path = self.segments.path(position.segment());
        let file = self.segments.open(position.segment())?;
        let len = if position.segment() == end.segment() {
            u64::from(end.offset())
        } else {
            file.len().map_err(LogError::io("measure", &path))?
        };
        let record = RecordAt::load(file.as_ref(), &path, position, len)?;
        let wrong = |fault| damage(&path, position, fault);
        let (header, body) = record.parts().map_err(wrong)?;
        let erased = self.erased.read().unwrap_or_else(PoisonError::into_inner);
        let body = erased.settle(position, header, body).map_err(wrong)?;
        let next = LogPosition::new(position.segment(), record.end());
        let record = Record { header: header.into(), body: body.map(Into::into) };
        Ok(StoredRecord { position, next, record })
    }

    /// The greatest revision of all records before a segment.
    pub fn greatest_before(&self, segment: u32) -> Result<Revision, LogError> {
        self.head(segment).map(|head| head.greatest_revision)
    }

    /// The bytes of a segment's head with its vector.
    pub(super) fn head_bytes(&self, segment: u32) -> Result<Vec<u8>, LogError> {
        let head = self.head(segment)?;
        let mut bytes = vec![0; head.len() as usize];
        let path = self.segments.path(segment);
        let read = self.segments.open(segment)?.read_exact_at(&mut bytes, 0);
        read.map_err(LogError::io("read the head of", &path))?;
        Ok(bytes)
    }

    /// The file of a segment of a log's folder; none of an export or a segment alone.
    pub(super) fn path_in_folder(&self, segment: u32) -> Option<PathBuf> {
        self.segments.in_log_folder().then(|| self.segments.path(segment))
    }

    pub(super) fn files(&self) -> &Arc<dyn Files> {
        &self.segments.files
    }

    /// Where to start a scan for an event: the start of the segment that holds it if any does. It
    /// reads a few heads and no records.
    pub fn near(&self, reference: &EventRef) -> Result<LogPosition, LogError> {
        let (mut low, mut high) = (self.first, self.end().segment());
        // The event is not before `low`, and not in a segment after `high`.
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            let before = self.vector_before(middle)?;
            let held = before.get(&reference.origin).map_or(0, |end| end.sequence);
            if held >= reference.sequence {
                high = middle - 1;
            } else {
                low = middle;
            }
        }
        Ok(LogPosition::new(low, 0))
    }

    /// Where to start a scan for what a reader has not had: the start of the last segment before
    /// which it has had everything. It reads a few heads and no records.
    pub fn place_of(&self, had: impl Fn(&Origin, u64) -> bool) -> Result<LogPosition, LogError> {
        let (mut low, mut high) = (self.first, self.end().segment());
        // Everything before `low` was had, and not everything before a segment after `high`.
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            let before = self.vector_before(middle)?;
            if before.iter().all(|(origin, end)| had(origin, end.sequence)) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        Ok(LogPosition::new(low, 0))
    }

    /// Every origin's end before a segment.
    fn vector_before(&self, segment: u32) -> Result<Vector, LogError> {
        let (file, path) = (self.segments.open(segment)?, self.segments.path(segment));
        self.head(segment)?.read_vector(file.as_ref(), &path)
    }

    fn head(&self, segment: u32) -> Result<SegmentHead, LogError> {
        let path = self.segments.path(segment);
        let head = SegmentHead::read(self.segments.open(segment)?.as_ref(), &path)?;
        head.expect(&path, self.deployment, segment)?;
        Ok(head)
    }

    /// Where the frames of a segment end, and how it is known.
    fn end_of(&self, segment: u32, to: LogPosition) -> Result<u32, LogError> {
        if segment == to.segment() {
            return Ok(to.offset());
        }
        self.head(segment.saturating_add(1)).map(|after| after.previous_end)
    }
}

/// The records of a log between two positions, in log order.
pub struct Scan {
    reader: LogReader,
    at: LogPosition,
    to: LogPosition,
    cursor: Option<Cursor>,
    over: bool,
}

/// A record or a seal of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A record.
    Record(StoredRecord),
    /// A seal over the last record of its origin before it.
    Seal {
        /// Its bytes.
        seal: Box<[u8]>,
        /// Where the next scan goes on behind it.
        next: LogPosition,
    },
}

/// The records and seals of a log between two positions, in log order.
pub struct Entries(Scan);

impl Iterator for Entries {
    type Item = Result<Entry, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.entry()
    }
}

impl Scan {
    fn entry(&mut self) -> Option<Result<Entry, LogError>> {
        if self.over {
            return None;
        }
        let next = self.advance().transpose();
        self.over = !matches!(next, Some(Ok(_)));
        next
    }

    fn advance(&mut self) -> Result<Option<Entry>, LogError> {
        loop {
            let Some(cursor) = &mut self.cursor else {
                if self.at >= self.to {
                    return Ok(None);
                }
                self.cursor = Some(self.open()?);
                continue;
            };
            let at = cursor.offset();
            let halt = match cursor.next() {
                Ok(Some(Frame::Record { position, next, header, body })) => {
                    let erased = self.reader.erased.read().unwrap_or_else(PoisonError::into_inner);
                    match erased.settle(position, header, body) {
                        Ok(body) => {
                            let record =
                                Record { header: header.into(), body: body.map(Into::into) };
                            let stored = StoredRecord { position, next, record };
                            return Ok(Some(Entry::Record(stored)));
                        }
                        Err(fault) => Halt::Fault(fault),
                    }
                }
                Ok(Some(Frame::Seal { seal, next })) => {
                    return Ok(Some(Entry::Seal { seal: seal.into(), next }));
                }
                Ok(Some(Frame::Commit(_))) => continue,
                Ok(None) => {
                    self.cursor = None;
                    self.at = LogPosition::new(self.at.segment().saturating_add(1), 0);
                    continue;
                }
                Err(halt) => halt,
            };
            return Err(self.error(at, halt));
        }
    }

    /// A cursor over what is wanted of the segment at hand.
    fn open(&self) -> Result<Cursor, LogError> {
        let (reader, segment) = (&self.reader, self.at.segment());
        let file = reader.segments.open(segment)?;
        let head = reader.head(segment)?;
        let end = reader.end_of(segment, self.to)?;
        let path = reader.segments.path(segment);
        let len = file.len().map_err(LogError::io("measure", &path))?;
        if len < u64::from(end) {
            return Err(LogError::Damage { path, segment, offset: len, fault: Fault::Short });
        }
        let from = self.at.offset().max(head.len());
        let aligned = from == head.len();
        Ok(Cursor::new(file, reader.deployment, segment, from, end, aligned))
    }

    fn error(&self, offset: u32, halt: Halt) -> LogError {
        let path = self.reader.segments.path(self.at.segment());
        match halt {
            Halt::Io(source) => LogError::io("read", &path)(source),
            Halt::Fault(fault) => damage(&path, LogPosition::new(self.at.segment(), offset), fault),
        }
    }
}

impl Iterator for Scan {
    type Item = Result<StoredRecord, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.entry()? {
                Ok(Entry::Record(stored)) => return Some(Ok(stored)),
                Ok(Entry::Seal { .. }) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
