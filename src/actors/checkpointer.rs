//! Checkpoints: from time to time the state is made durable and the start has less to fold.
//!
//! It runs on a thread of its own, since sled's flush blocks. The same thread carries erasures out,
//! which may put other trees in the place of those it takes checkpoints of.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::clock::NodeClock;
use crate::events::record::LogPosition;
use crate::log::Log;
use crate::state::checkpoint::{Checkpoint, Generation};
use crate::state::error::StateError;
use crate::state::folder::StateFolder;
use crate::state::store::Store;
use crate::state::trees::{SledTrees, Trees};

use super::eraser::Eraser;
use super::house::House;
use super::journal::chain;

/// How often what was asked with an idempotency key is looked through for what is too old: it
/// reads all of it.
const FORGET_EVERY: Duration = Duration::from_hours(1);

/// How often is looked whether a checkpoint is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How a running node's checkpoints are taken.
pub struct Checkpoints<T: Trees = SledTrees> {
    /// The state.
    pub store: Arc<Store>,
    /// Where it lies.
    pub folder: StateFolder<T>,
    /// Which of its trees.
    pub generation: Generation,
    /// The log it is folded from.
    pub log: Arc<Log>,
    /// What time it is.
    pub clock: NodeClock,
}

impl<T: Trees> Checkpoints<T> {
    /// Takes a checkpoint. `settle` waits until every actor has put into the store what the log
    /// delivered before, and says whether they have: if not, nothing is done. Returns the position
    /// below which all is applied.
    pub fn take(&self, settle: impl FnOnce() -> bool) -> Result<Option<LogPosition>, StateError> {
        // Read before asking: whatever was delivered to the actors by now is in the store once
        // each of them has answered.
        let applied_below = self.log.delivered();
        if !settle() {
            return Ok(None);
        }
        let checkpoint = Checkpoint {
            deployment: self.log.reader().deployment(),
            generation: self.generation,
            applied_below,
            greatest: self.clock.last(),
        };
        self.folder.take_checkpoint(&*self.store.kv(), &checkpoint)?;
        Ok(Some(applied_below))
    }
}

/// What the checkpoint thread works with.
pub struct CheckpointParts {
    /// How they are taken.
    pub checkpoints: Checkpoints,
    /// The actors that write the state.
    pub house: House,
    /// A checkpoint is due after so long, if anything was written.
    pub every: Duration,
    /// Or after so many events.
    pub every_events: u64,
    /// What carries erasures out.
    pub eraser: Eraser,
}

/// The running thread. Stopping it takes a last checkpoint.
pub struct Checkpointer {
    stop: Sender<()>,
    thread: JoinHandle<Result<(), StateError>>,
}

impl Checkpointer {
    /// Starts the thread.
    pub fn start(parts: CheckpointParts) -> std::io::Result<Self> {
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new()
            .name("checkpoint".to_owned())
            .spawn(move || run(parts, &stopped))?;
        Ok(Self { stop, thread })
    }

    /// Takes a last checkpoint and ends the thread.
    pub fn finish(self) -> Result<(), StateError> {
        drop(self.stop);
        self.thread.join().unwrap_or(Ok(()))
    }
}

fn run(mut parts: CheckpointParts, stopped: &Receiver<()>) -> Result<(), StateError> {
    let (clock, log) = (parts.checkpoints.clock.clone(), Arc::clone(&parts.checkpoints.log));
    let stopping = || !matches!(stopped.try_recv(), Err(TryRecvError::Empty));
    // What was too old at the start is gone already.
    let now = clock.wall().monotonic();
    let mut last = Taken { at: now, below: LogPosition::START, events: 0, forgot: now };
    loop {
        match stopped.recv_timeout(LOOK_EVERY) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return take(&parts, &mut last),
        }
        if let Err(error) = parts.eraser.look(&mut parts.checkpoints, &stopping) {
            tracing::error!(error = %chain(&error), "an erasure is not carried out yet");
        }
        let now = clock.wall().monotonic();
        let events = log.snapshot().records.saturating_sub(last.events);
        if now.saturating_sub(last.at) < parts.every && events < parts.every_events {
            continue;
        }
        if let Err(error) = take(&parts, &mut last) {
            tracing::error!(error = %chain(&error), "no checkpoint could be taken; it is retried");
        }
    }
}

struct Taken {
    at: Duration,
    below: LogPosition,
    events: u64,
    /// When repeats that are too old were last forgotten.
    forgot: Duration,
}

fn take(parts: &CheckpointParts, last: &mut Taken) -> Result<(), StateError> {
    let Checkpoints { clock, log, .. } = &parts.checkpoints;
    let snapshot = log.snapshot();
    last.at = clock.wall().monotonic();
    if snapshot.delivered == last.below {
        return Ok(());
    }
    if last.at.saturating_sub(last.forgot) >= FORGET_EVERY {
        parts.checkpoints.store.forget_repeats(clock.last())?;
        last.forgot = last.at;
    }
    let settle = || matches!(wait_for(parts.house.settle()), Some(Ok(())));
    if let Some(below) = parts.checkpoints.take(settle)? {
        (last.below, last.events) = (below, snapshot.records);
        tracing::debug!(%below, "checkpoint");
    } else {
        tracing::debug!("the actors are busy or gone: the checkpoint waits");
    }
    Ok(())
}

/// Waits for an actor from this thread, which has no runtime of its own.
pub(super) fn wait_for<F: Future>(answer: F) -> Option<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().ok()?;
    Some(runtime.block_on(answer))
}
