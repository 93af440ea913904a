//! A log's folder, opened: its end is found, a torn tail cut and the erase list redone.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use crate::events::ids::{DeploymentId, NodeId, RegionId};
use crate::events::record::LogPosition;
use crate::events::stamp::{EventRef, Origin, Revision};
use crate::files::{FileHandle, Files};

use super::chain::{ChainEnd, Vector, last_life};
use super::erase::{EraseList, Erased};
use super::error::{Fault, LogError};
use super::gate::Gate;
use super::head::{FileKind, SegmentHead, encode};
use super::lock;
use super::reader::LogReader;
use super::segments::{Segments, create, range, segment_path};
use super::status::{Counters, LogSnapshot, Mark};
use super::tail::Ending;
use super::writer::{LogWriter, OnFatal, Tail};

/// Longest bound of a segment: positions are 32-bit offsets, and the last group goes over it.
const SEGMENT_BYTES_MAX: u32 = 2 * 1024 * 1024 * 1024;

/// Longest queue and group: with the longest segment they stay within 32 bits even if all records
/// are four times as long as they are counted.
const BUFFER_BYTES_MAX: usize = 128 * 1024 * 1024;

/// What a log is opened with.
#[derive(Clone)]
pub struct LogOptions {
    /// Whose log it must be.
    pub deployment: DeploymentId,
    /// From this length on, in bytes, a segment takes no further group; at most 2 GiB.
    pub segment_bytes: u32,
    /// How full the device may be, in percent, before the status warns.
    pub warn_percent: u8,
    /// How full the device may be, in percent, before appends are refused.
    pub stop_percent: u8,
    /// Most appends that wait.
    pub queue_appends: usize,
    /// Most bytes that wait; also the longest append. At most 128 MiB.
    pub queue_bytes: usize,
    /// About how many bytes are written at once; at most 128 MiB.
    pub group_bytes: usize,
    /// Time since some start; it never goes back. Only the looks at the device are timed by it.
    pub clock: Arc<dyn Fn() -> Duration + Send + Sync>,
}

impl LogOptions {
    /// The usual bounds.
    pub fn new(deployment: DeploymentId, clock: Arc<dyn Fn() -> Duration + Send + Sync>) -> Self {
        Self {
            deployment,
            segment_bytes: 64 * 1024 * 1024,
            warn_percent: 80,
            stop_percent: 95,
            queue_appends: 8192,
            queue_bytes: 64 * 1024 * 1024,
            group_bytes: 4 * 1024 * 1024,
            clock,
        }
    }
}

/// What was found when a log was opened.
#[derive(Debug, Clone)]
pub struct Opened {
    /// Every origin's last event.
    pub vector: Vector,
    /// The greatest revision in the log.
    pub greatest_revision: Revision,
    /// How many bytes of a torn tail were cut.
    pub cut_bytes: u64,
    /// Where the log ends.
    pub end: LogPosition,
    /// How many bodies an interrupted erasure had left and were blanked now.
    pub blanked: u64,
}

impl Opened {
    /// The newest life of a node that the log knows, and its end.
    pub fn last_life(&self, region: RegionId, node: NodeId) -> Option<(Origin, ChainEnd)> {
        last_life(&self.vector, region, node)
    }
}

/// An open log. One process at a time may have it open for writing (the app holds a lock).
pub struct Log {
    pub(super) shared: Arc<Shared>,
    pub(super) erase_list: Mutex<EraseList>,
    tail: Mutex<Option<Tail>>,
}

/// Is told that more is durable.
pub(super) type Listener = Box<dyn Fn() + Send + Sync>;

/// What the log, its writer and its readers have in common.
pub(super) struct Shared {
    pub(super) files: Arc<dyn Files>,
    pub(super) folder: PathBuf,
    pub(super) options: LogOptions,
    pub(super) segments: Arc<Segments>,
    pub(super) erased: Arc<RwLock<Erased>>,
    pub(super) durable: Arc<Mark>,
    pub(super) delivered: Mark,
    /// Every origin's last durable event.
    pub(super) vector: Mutex<Vector>,
    pub(super) gate: Gate,
    /// Called whenever more is durable, on the writer's thread.
    pub(super) listeners: RwLock<Vec<Listener>>,
    pub(super) counters: Counters,
}

impl Shared {
    pub(super) fn tell_listeners(&self) {
        let listeners = self.listeners.read().unwrap_or_else(PoisonError::into_inner);
        listeners.iter().for_each(|tell| tell());
    }

    pub(super) fn erased(&self) -> RwLockReadGuard<'_, Erased> {
        self.erased.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn snapshot(&self) -> LogSnapshot {
        let load = |counter: &std::sync::atomic::AtomicU64| {
            counter.load(std::sync::atomic::Ordering::Relaxed)
        };
        let (gate, counters) = (self.gate.state(), &self.counters);
        LogSnapshot {
            status: gate.status,
            epoch: gate.epoch,
            groups: load(&counters.groups),
            batches: load(&counters.batches),
            records: load(&counters.records),
            bytes: load(&counters.bytes),
            syncs: load(&counters.syncs),
            failures: load(&counters.failures),
            refused_batches: load(&counters.refused_batches),
            last_error: counters.last_error(),
            queue_appends: gate.appends,
            queue_bytes: gate.bytes,
            durable: self.durable.get(),
            delivered: self.delivered.get(),
        }
    }
}

impl Log {
    /// Opens the log in a folder, making both where they are not there.
    pub fn open(
        files: Arc<dyn Files>,
        folder: &Path,
        mut options: LogOptions,
    ) -> Result<(Self, Opened), LogError> {
        options.segment_bytes = options.segment_bytes.min(SEGMENT_BYTES_MAX);
        options.queue_bytes = options.queue_bytes.min(BUFFER_BYTES_MAX);
        options.group_bytes = options.group_bytes.min(BUFFER_BYTES_MAX);
        files.create_folder(folder).map_err(LogError::io("create", folder))?;
        let deployment = options.deployment;
        let last = match range(files.as_ref(), folder)? {
            Some((1, last)) => last,
            Some(_) => return Err(LogError::Missing { folder: folder.to_owned(), number: 1 }),
            None => create_first(files.as_ref(), folder, deployment)?,
        };
        let (tail, head) = open_segment(files.as_ref(), folder, deployment, last)?;
        check_before(files.as_ref(), folder, &head)?;
        let (erase_list, erased) = EraseList::open(files.as_ref(), folder, deployment)?;
        let ending = Ending::find(&tail.file, &tail.path, &head, &erased)?;
        if let Some(damage) = ending.damage(&tail.path, last) {
            return Err(damage);
        }
        let cut_bytes = cut(files.as_ref(), folder, &tail, &ending)?;
        let end = LogPosition::new(last, ending.durable);
        let tail = Tail { end, greatest_revision: ending.greatest_revision, ..tail };
        let log = Self {
            shared: Arc::new(shared(files, folder, options, erased, end, ending.vector.clone())),
            erase_list: Mutex::new(erase_list),
            tail: Mutex::new(Some(tail)),
        };
        let blanked = log.redo_erasures()?;
        let Ending { vector, greatest_revision, .. } = ending;
        Ok((log, Opened { vector, greatest_revision, cut_bytes, end, blanked }))
    }

    /// Starts the one writer; `origin` is this life. `on_fatal` is called at most once.
    pub fn start_writer(&self, origin: Origin, on_fatal: OnFatal) -> Result<LogWriter, LogError> {
        let tail = lock(&self.tail).take().ok_or(LogError::WriterRunning)?;
        LogWriter::start(&self.shared, tail, origin, on_fatal)
    }

    /// A reader that sees what is durable, also what becomes so later.
    pub fn reader(&self) -> LogReader {
        LogReader::live(&self.shared)
    }

    /// Every origin's last durable event.
    pub fn vector(&self) -> Vector {
        lock(&self.shared.vector).clone()
    }

    /// An origin's last durable event.
    pub fn chain_end(&self, origin: &Origin) -> Option<ChainEnd> {
        lock(&self.shared.vector).get(origin).copied()
    }

    /// Everything before is durable.
    pub fn durable(&self) -> LogPosition {
        self.shared.durable.get()
    }

    /// Everything before was answered.
    pub fn delivered(&self) -> LogPosition {
        self.shared.delivered.get()
    }

    /// How the log is.
    pub fn snapshot(&self) -> LogSnapshot {
        self.shared.snapshot()
    }

    /// Whether this event's body was erased and may never come back.
    pub fn is_barred(&self, reference: &EventRef) -> bool {
        self.shared.erased().is_barred(reference)
    }
}

fn shared(
    files: Arc<dyn Files>,
    folder: &Path,
    options: LogOptions,
    erased: Erased,
    end: LogPosition,
    vector: Vector,
) -> Shared {
    let (durable, delivered) = (Arc::new(Mark::default()), Mark::default());
    durable.set(end);
    delivered.set(end);
    Shared {
        segments: Arc::new(Segments::in_folder(Arc::clone(&files), folder.to_owned())),
        gate: Gate::new(Arc::clone(&files), folder.to_owned(), options.clone()),
        files,
        folder: folder.to_owned(),
        options,
        erased: Arc::new(RwLock::new(erased)),
        durable,
        delivered,
        vector: Mutex::new(vector),
        counters: Counters::default(),
        listeners: RwLock::default(),
    }
}

fn create_first(
    files: &dyn Files,
    folder: &Path,
    deployment: DeploymentId,
) -> Result<u32, LogError> {
    let (kind, revision) = (FileKind::Segment, Revision::ZERO);
    let head = encode(kind, deployment, 1, 0, revision, &Vector::new());
    create(files, &segment_path(folder, 1), &head)?;
    Ok(1)
}

/// Opens a segment for writing; its end is not known yet.
fn open_segment(
    files: &dyn Files,
    folder: &Path,
    deployment: DeploymentId,
    number: u32,
) -> Result<(Tail, SegmentHead), LogError> {
    let path = segment_path(folder, number);
    let file: Arc<dyn FileHandle> =
        files.open(&path, false).map_err(LogError::io("open", &path))?;
    let head = SegmentHead::read(file.as_ref(), &path)?;
    head.expect(&path, deployment, number)?;
    let end = LogPosition::new(number, head.len());
    Ok((Tail { file, path, end, greatest_revision: head.greatest_revision }, head))
}

/// The segment before the last must be as long as it was when the last one was made. Those before
/// it are looked at when they are read.
fn check_before(files: &dyn Files, folder: &Path, head: &SegmentHead) -> Result<(), LogError> {
    let before = head.segment.saturating_sub(1);
    if before == 0 {
        return Ok(());
    }
    let path = segment_path(folder, before);
    let file = match files.open_read(&path) {
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => {
            return Err(LogError::Missing { folder: folder.to_owned(), number: before });
        }
        opened => opened.map_err(LogError::io("open", &path))?,
    };
    let len = file.len().map_err(LogError::io("measure", &path))?;
    if len < u64::from(head.previous_end) {
        return Err(LogError::Damage { path, segment: before, offset: len, fault: Fault::Short });
    }
    Ok(())
}

/// Cuts what was never durable. Syncs in any case: what a killed process wrote may be whole and
/// still in memory only, and from here on it counts as durable.
fn cut(files: &dyn Files, folder: &Path, tail: &Tail, ending: &Ending) -> Result<u64, LogError> {
    let durable = u64::from(ending.durable);
    let extra = ending.file_len.saturating_sub(durable);
    if extra > 0 {
        tail.file.set_len(durable).map_err(LogError::io("cut", &tail.path))?;
    }
    tail.file.sync_data().map_err(LogError::io("sync", &tail.path))?;
    files.sync_folder(folder).map_err(LogError::io("sync", folder))?;
    Ok(extra)
}
