//! The one thread that writes: takes what waits, writes once, syncs once, answers all.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::events::record::LogPosition;
use crate::events::stamp::{Origin, Revision};
use crate::files::FileHandle;

use super::batch::{Append, AppendError, AppendRefused, BatchError, Committed, Placed, Urgency};
use super::error::LogError;
use super::gate::Waiting;
use super::group::{Built, Ground, Group};
use super::head::{FileKind, encode};
use super::lock;
use super::open::Shared;
use super::segments::{CreateError, create, segment_path};
use super::space::LogStatus;
use super::status::{Counters, LogSnapshot};

/// Called once, from the writer's thread, when the log cannot be written any more. The process
/// should end.
pub type OnFatal = Box<dyn Fn(&LogError) + Send + Sync>;

/// The last segment, open for writing.
pub(super) struct Tail {
    pub(super) file: Arc<dyn FileHandle>,
    pub(super) path: PathBuf,
    /// The durable end: the next group starts here.
    pub(super) end: LogPosition,
    /// Of everything in the log.
    pub(super) greatest_revision: Revision,
}

/// The way to the writer's thread. Cheap to clone; when the last clone is gone the thread writes
/// what waits and ends.
#[derive(Clone)]
pub struct LogWriter {
    shared: Arc<Shared>,
    ending: Arc<Ending>,
}

/// Ends the thread when nobody can append any more.
struct Ending {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        // No join: the last clone may be dropped by a `done` on the very thread.
        self.shared.gate.close();
    }
}

impl LogWriter {
    /// Starts the thread.
    pub(super) fn start(
        shared: &Arc<Shared>,
        tail: Tail,
        origin: Origin,
        on_fatal: OnFatal,
    ) -> Result<Self, LogError> {
        let shared = Arc::clone(shared);
        let gone = StopOnExit(Arc::clone(&shared));
        let worker =
            Worker { shared: Arc::clone(&shared), tail, origin, on_fatal, spare: Vec::new() };
        let run = move || {
            let _gone = gone;
            worker.run();
        };
        let thread = std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(run)
            .map_err(LogError::io("start a writer for", &shared.folder))?;
        let thread = Mutex::new(Some(thread));
        let ending = Arc::new(Ending { shared: Arc::clone(&shared), thread });
        Ok(Self { shared, ending })
    }

    /// Gives a batch to the writer, or gets it back at once. `done` is called in the order of
    /// appends.
    pub fn append(&self, append: Append) -> Result<(), AppendRefused> {
        self.append_when(append, Urgency::AtOnce)
    }

    /// The same for what need not be durable at once.
    pub fn append_when(&self, append: Append, urgency: Urgency) -> Result<(), AppendRefused> {
        self.shared.gate.admit(append, urgency)
    }

    /// Whether appends are taken.
    pub fn status(&self) -> LogStatus {
        self.shared.gate.state().status
    }

    /// Takes nothing that writes from now on: the log is for reading only.
    pub fn forbid(&self) {
        self.shared.gate.forbid();
    }

    /// The epoch that appends must name.
    pub fn epoch(&self) -> u64 {
        self.shared.gate.state().epoch
    }

    /// How the log is.
    pub fn snapshot(&self) -> LogSnapshot {
        self.shared.snapshot()
    }

    /// Everything before is durable. Readers never see past it.
    pub fn durable(&self) -> LogPosition {
        self.shared.durable.get()
    }

    /// Everything before was answered: every `done` was called.
    pub fn delivered(&self) -> LogPosition {
        self.shared.delivered.get()
    }

    /// Calls `listener` from now on whenever more is durable. It runs on the writer's thread: it
    /// must be quick, must not block and must not panic.
    pub fn on_durable(&self, listener: impl Fn() + Send + Sync + 'static) {
        let listeners = self.shared.listeners.write();
        listeners.unwrap_or_else(PoisonError::into_inner).push(Box::new(listener));
    }

    /// Takes no more; what waits is still written. Does not wait.
    pub fn shut(&self) {
        self.shared.gate.close();
    }

    /// Takes no more, writes what waits and returns when that is answered. Never call it from a
    /// `done`.
    pub fn close(&self) {
        self.shared.gate.close();
        let thread = lock(&self.ending.thread).take();
        // A thread that panicked has stopped the gate; there is nothing to add to that.
        let _ = thread.map(JoinHandle::join);
    }
}

/// Leaves nobody waiting, however the thread ends.
struct StopOnExit(Arc<Shared>);

impl Drop for StopOnExit {
    fn drop(&mut self) {
        drop(self.0.gate.stop());
    }
}

/// A failed write.
enum Failure {
    /// The log is as it was before.
    Returned(LogError),
    /// What is on the disk is not known.
    Fatal(LogError),
}

struct Worker {
    shared: Arc<Shared>,
    tail: Tail,
    origin: Origin,
    on_fatal: OnFatal,
    /// The last group's buffer.
    spare: Vec<u8>,
}

type Outcomes = Vec<Result<Vec<Placed>, BatchError>>;

impl Worker {
    fn run(mut self) {
        let bytes_max = self.shared.options.group_bytes;
        while let Some(taken) = self.shared.gate.take(bytes_max) {
            let flow = match self.write(&taken) {
                Ok(outcomes) => self.deliver(taken, outcomes),
                Err(Failure::Returned(error)) => self.fail(taken, error),
                Err(Failure::Fatal(error)) => self.stop(taken, error),
            };
            if flow.is_break() {
                break;
            }
        }
    }

    /// Makes a group durable.
    fn write(&mut self, taken: &[Waiting]) -> Result<Outcomes, Failure> {
        let writes = taken.iter().any(|waiting| !waiting.batch.is_empty());
        if writes && self.tail.end.offset() >= self.shared.options.segment_bytes {
            self.roll()?;
        }
        let built = self.build(taken).map_err(Failure::Returned)?;
        if built.records > 0 {
            self.put(&built)?;
            let counters = &self.shared.counters;
            Counters::add(&counters.groups, 1);
            Counters::add(&counters.records, usize::try_from(built.records).unwrap_or(0));
            Counters::add(&counters.bytes, built.bytes.len());
        }
        self.tail.end = built.end;
        self.tail.greatest_revision = self.tail.greatest_revision.max(built.greatest);
        built.staged.merge_into(&mut lock(&self.shared.vector));
        self.shared.durable.set(built.end);
        self.shared.tell_listeners();
        self.spare = built.bytes;
        Ok(built.outcomes)
    }

    fn build(&mut self, taken: &[Waiting]) -> Result<Built, LogError> {
        let spare = std::mem::take(&mut self.spare);
        let durable = lock(&self.shared.vector);
        let erased = self.shared.erased();
        let ground = Ground {
            deployment: self.shared.options.deployment,
            origin: self.origin,
            start: self.tail.end,
            durable: &durable,
            erased: &erased,
        };
        let mut group = Group::new(ground, spare);
        for waiting in taken {
            group.add(&waiting.batch).map_err(LogError::Encode)?;
        }
        Ok(group.finish())
    }

    /// One write and one sync; a write that fails is undone.
    fn put(&self, built: &Built) -> Result<(), Failure> {
        let Tail { file, path, end, .. } = &self.tail;
        let start = u64::from(end.offset());
        if let Err(source) = file.write_all_at(&built.bytes, start) {
            let error = LogError::io("write", path)(source);
            // Synced too, so that a failed group does not come back after a loss of power.
            file.set_len(start).map_err(LogError::io("cut", path)).map_err(Failure::Fatal)?;
            file.sync_data().map_err(LogError::io("sync", path)).map_err(Failure::Fatal)?;
            return Err(Failure::Returned(error));
        }
        Counters::add(&self.shared.counters.syncs, 1);
        file.sync_data().map_err(LogError::io("sync", path)).map_err(Failure::Fatal)
    }

    /// Goes on in a new segment.
    fn roll(&mut self) -> Result<(), Failure> {
        let number = self.tail.end.segment().saturating_add(1);
        let path = segment_path(&self.shared.folder, number);
        let head = encode(
            FileKind::Segment,
            self.shared.options.deployment,
            number,
            self.tail.end.offset(),
            self.tail.greatest_revision,
            &lock(&self.shared.vector),
        );
        let file =
            create(self.shared.files.as_ref(), &path, &head).map_err(|error| match error {
                CreateError::Absent(error) => Failure::Returned(error),
                CreateError::Unsynced(error) => Failure::Fatal(error),
            })?;
        let end = LogPosition::new(number, u32::try_from(head.len()).unwrap_or(u32::MAX));
        self.tail = Tail { file, path, end, greatest_revision: self.tail.greatest_revision };
        Ok(())
    }

    fn deliver(&self, taken: Vec<Waiting>, outcomes: Outcomes) -> ControlFlow<()> {
        let durable = self.tail.end;
        let counters = &self.shared.counters;
        for (waiting, outcome) in taken.into_iter().zip(outcomes) {
            let counter =
                if outcome.is_ok() { &counters.batches } else { &counters.refused_batches };
            Counters::add(counter, 1);
            let committed = outcome.map(|placed| Committed { placed, durable });
            (waiting.done)(committed.map_err(AppendError::Refused));
        }
        self.shared.delivered.set(durable);
        ControlFlow::Continue(())
    }

    /// Fails a group and everything behind it, in order; the log goes on.
    fn fail(&self, taken: Vec<Waiting>, error: LogError) -> ControlFlow<()> {
        self.shared.counters.failed(&error);
        let (epoch, waiting) = self.shared.gate.raise_epoch(error.is_full());
        let source = Arc::new(error);
        for each in taken.into_iter().chain(waiting) {
            (each.done)(Err(AppendError::Failed { epoch, source: Arc::clone(&source) }));
        }
        ControlFlow::Continue(())
    }

    /// Fails everything for good.
    fn stop(&self, taken: Vec<Waiting>, error: LogError) -> ControlFlow<()> {
        self.shared.counters.failed(&error);
        let waiting = self.shared.gate.stop();
        (self.on_fatal)(&error);
        let source = Arc::new(error);
        for each in taken.into_iter().chain(waiting) {
            (each.done)(Err(AppendError::Stopped(Arc::clone(&source))));
        }
        ControlFlow::Break(())
    }
}
