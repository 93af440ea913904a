//! The queue in front of the writer: what is let in, in which epoch, and how much of it.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::files::Files;

use super::batch::{Append, AppendRefused, Batch, Done, Refusal, Urgency};
use super::lock;
use super::open::LogOptions;
use super::space::{LogStatus, SpaceGuard};

/// How long what may be gathered waits for others: four milliseconds at most, in steps, and no
/// longer than to the first step in which none comes.
const GATHER_STEPS: usize = 8;
const GATHER_STEP: Duration = Duration::from_micros(500);

/// An append that was let in.
pub(super) struct Waiting {
    pub(super) batch: Batch,
    pub(super) done: Done,
    bytes: usize,
    urgency: Urgency,
}

/// The queue and what decides whether something may join it.
pub(super) struct Gate {
    files: Arc<dyn Files>,
    folder: PathBuf,
    options: LogOptions,
    inner: Mutex<Inner>,
    ready: Condvar,
}

struct Inner {
    waiting: VecDeque<Waiting>,
    /// How many of them are to be written at once.
    urgent: usize,
    /// How many appends the last group was. After a single one there is nothing to gather, it
    /// seems.
    last_group: usize,
    bytes: usize,
    epoch: u64,
    /// Whether the epoch began because there was no room.
    disk_full: bool,
    space: SpaceGuard,
    /// No more is let in; what waits is still written.
    closed: bool,
    /// The writer is gone for good.
    stopped: bool,
}

/// How the queue is.
pub(super) struct GateState {
    pub(super) status: LogStatus,
    pub(super) epoch: u64,
    pub(super) appends: usize,
    pub(super) bytes: usize,
}

impl Waiting {
    fn is_urgent(&self) -> bool {
        self.urgency == Urgency::AtOnce
    }
}

impl Inner {
    /// Whether what waits is to be written without waiting for more.
    const fn is_time(&self, bytes_max: usize) -> bool {
        let full = self.bytes >= bytes_max;
        self.urgent > 0 || full || self.last_group < 2 || self.closed || self.stopped
    }
}

impl Gate {
    pub(super) fn new(files: Arc<dyn Files>, folder: PathBuf, options: LogOptions) -> Self {
        let inner = Inner {
            waiting: VecDeque::new(),
            urgent: 0,
            last_group: 0,
            bytes: 0,
            epoch: 0,
            disk_full: false,
            space: SpaceGuard::new(options.warn_percent, options.stop_percent),
            closed: false,
            stopped: false,
        };
        Self { files, folder, options, inner: Mutex::new(inner), ready: Condvar::new() }
    }

    /// Lets an append in, or hands it back.
    pub(super) fn admit(&self, append: Append, urgency: Urgency) -> Result<(), AppendRefused> {
        let bytes = append.batch.bytes_about();
        let mut inner = lock(&self.inner);
        if let Err(reason) = self.check(&mut inner, &append, bytes) {
            return Err(AppendRefused { reason, append });
        }
        let Append { epoch: _, batch, done } = append;
        inner.bytes = inner.bytes.saturating_add(bytes);
        inner.urgent += usize::from(urgency == Urgency::AtOnce);
        inner.waiting.push_back(Waiting { batch, done, bytes, urgency });
        // A writer that gathers looks at the time by itself.
        let stir = inner.waiting.len() == 1 || inner.is_time(self.options.group_bytes);
        drop(inner);
        if stir {
            self.ready.notify_one();
        }
        Ok(())
    }

    fn check(&self, inner: &mut Inner, append: &Append, bytes: usize) -> Result<(), Refusal> {
        if inner.stopped || inner.closed {
            return Err(Refusal::Stopped);
        }
        if append.epoch != inner.epoch {
            let Inner { epoch, disk_full, .. } = *inner;
            return Err(Refusal::Stale { epoch, disk_full });
        }
        let max = self.options.queue_bytes;
        if bytes > max {
            return Err(Refusal::TooLarge { bytes, max });
        }
        let full = inner.bytes.saturating_add(bytes) > max;
        if full || inner.waiting.len() >= self.options.queue_appends {
            return Err(Refusal::Busy);
        }
        // What writes nothing needs no space.
        if append.batch.is_empty() {
            return Ok(());
        }
        self.look_at_space(inner);
        match inner.space.status() {
            LogStatus::ReadOnly { reason } => Err(Refusal::ReadOnly(reason)),
            _ => Ok(()),
        }
    }

    /// Looks at the device when it is time: on attempts to append and on questions about the
    /// status, so that no thread of its own is needed for it.
    fn look_at_space(&self, inner: &mut Inner) {
        let now = (self.options.clock)();
        if inner.space.is_due(now) {
            inner.space.observe(now, self.files.space(&self.folder).ok());
        }
    }

    /// Takes what waits, up to about `bytes_max`, in order; waits for something. None when the
    /// gate was closed and nothing is left.
    pub(super) fn take(&self, bytes_max: usize) -> Option<Vec<Waiting>> {
        let mut inner = lock(&self.inner);
        while inner.waiting.is_empty() {
            if inner.closed || inner.stopped {
                return None;
            }
            inner = self.ready.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        for _ in 0..GATHER_STEPS {
            let before = inner.waiting.len();
            let gathers = |inner: &mut Inner| !inner.is_time(bytes_max);
            let gathered = self.ready.wait_timeout_while(inner, GATHER_STEP, gathers);
            inner = gathered.unwrap_or_else(PoisonError::into_inner).0;
            if inner.is_time(bytes_max) || inner.waiting.len() == before {
                break;
            }
        }
        let mut taken = Vec::with_capacity(inner.waiting.len());
        let mut bytes = 0_usize;
        while let Some(next) = inner.waiting.pop_front() {
            bytes = bytes.saturating_add(next.bytes);
            if bytes > bytes_max && !taken.is_empty() {
                inner.waiting.push_front(next);
                break;
            }
            inner.bytes = inner.bytes.saturating_sub(next.bytes);
            inner.urgent = inner.urgent.saturating_sub(usize::from(next.is_urgent()));
            taken.push(next);
        }
        inner.last_group = taken.len();
        Some(taken)
    }

    /// Raises the epoch and hands out everything that waits: it was decided on what failed.
    pub(super) fn raise_epoch(&self, disk_full: bool) -> (u64, VecDeque<Waiting>) {
        let mut inner = lock(&self.inner);
        if disk_full {
            inner.space.filled((self.options.clock)());
        }
        inner.epoch = inner.epoch.saturating_add(1);
        inner.disk_full = disk_full;
        (inner.bytes, inner.urgent) = (0, 0);
        (inner.epoch, std::mem::take(&mut inner.waiting))
    }

    /// Lets nothing in any more, for ever, and hands out what waits.
    pub(super) fn stop(&self) -> VecDeque<Waiting> {
        let mut inner = lock(&self.inner);
        inner.stopped = true;
        (inner.bytes, inner.urgent) = (0, 0);
        self.ready.notify_all();
        std::mem::take(&mut inner.waiting)
    }

    /// Lets nothing in any more; what waits is still written.
    pub(super) fn close(&self) {
        lock(&self.inner).closed = true;
        self.ready.notify_all();
    }

    /// Lets nothing in any more that writes.
    pub(super) fn forbid(&self) {
        lock(&self.inner).space.forbid();
    }

    /// How the queue is now.
    pub(super) fn state(&self) -> GateState {
        let mut inner = lock(&self.inner);
        self.look_at_space(&mut inner);
        let status = if inner.stopped { LogStatus::Stopped } else { inner.space.status() };
        let (appends, bytes) = (inner.waiting.len(), inner.bytes);
        GateState { status, epoch: inner.epoch, appends, bytes }
    }
}
