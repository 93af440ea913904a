//! The executor of the pool: threads that run several jobs side by side each.
//!
//! ```text
//! thread:  take those whose turn it is --> begin --> lanes.step() --> resume or answer --+
//!                ^                                                                       |
//!                +-----------------------------------------------------------------------+
//! ```
//!
//! One bcrypt leaves most of a core idle, so a thread computes several at a time (`bcrypt_lanes`).
//! A job joins between two steps, some tens of microseconds apart, and leaves when it is done. It
//! goes to the thread with the fewest, and to one that waits before all: a job alone has a core of
//! its own, and lanes fill only as far as jobs wait.
//!
//! Whose turn it is, it asks the scheduler (`queue`); it must never reorder what it is given.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{io, thread};

use tokio::sync::oneshot;

use super::bench::{Bench, Guest};
use super::course::Step;
use super::job::{Failure, Job, Outcome};
use super::lateness::Lateness;
use super::queue::{Queue, Turn};
use super::{Computed, Overloaded, PoolConfig, PoolSnapshot, Priority, Share};

/// How a job begins: [`super::course::begin`], except in tests that need one to fail or to wait.
pub(super) type Begin = fn(Job) -> Step;

/// The threads, and what they share with those who ask.
pub(super) struct Executor {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// A job in the queue, and where its outcome goes.
struct Waiting {
    job: Job,
    reply: oneshot::Sender<Computed>,
    since: Instant,
}

struct Shared {
    config: PoolConfig,
    begin: Begin,
    state: Mutex<State>,
    /// Signalled when a job is queued and when the pool closes.
    changed: Condvar,
}

struct State {
    queue: Queue<Waiting>,
    closed: bool,
    /// Threads that have nothing to do. What is queued is theirs first.
    idle: usize,
    /// How many lanes each thread has in use, as it said last. One that is beginning a job, which
    /// may take a while, has none free.
    busy: Vec<usize>,
    lateness: Lateness,
    done: u64,
    failed: u64,
    skipped: u64,
    rejected: u64,
}

impl Waiting {
    fn begin(self, turn: Turn, now: Instant) -> (Guest, Job) {
        let Self { job, reply, since } = self;
        let (work, took) = (job.work(), Duration::ZERO);
        let waited = now.saturating_duration_since(since);
        (Guest { turn, reply, work, waited, begun: now, took }, job)
    }
}

impl Executor {
    /// Starts the threads.
    pub(super) fn start(config: PoolConfig, begin: Begin) -> io::Result<Self> {
        let executor = Self::without_threads(config, begin);
        for number in 0..config.threads.get() {
            let shared = Arc::clone(&executor.shared);
            let builder = thread::Builder::new().name(format!("hash-{number}"));
            // When one cannot be started, dropping the pool ends those that were.
            let handle = builder.spawn(move || shared.work(number))?;
            lock(&executor.threads).push(handle);
        }
        Ok(executor)
    }

    /// What is queued stays queued.
    pub(super) fn without_threads(config: PoolConfig, begin: Begin) -> Self {
        Self { shared: Arc::new(Shared::new(config, begin)), threads: Mutex::default() }
    }

    /// Queues a job.
    pub(super) fn submit(
        &self,
        share: Share,
        priority: Priority,
        job: Job,
    ) -> Result<oneshot::Receiver<Computed>, Overloaded> {
        let (reply, receiver) = oneshot::channel();
        let estimate = u64::from(job.relative_cost());
        let mut state = self.shared.state();
        let state = &mut *state;
        let pushed = if state.closed {
            Err(state.queue.wait(share, priority))
        } else {
            state.queue.push(
                share,
                priority,
                estimate,
                Waiting { job, reply, since: Instant::now() },
            )
        };
        if let Err(retry_after) = pushed {
            state.rejected += 1;
            return Err(Overloaded { retry_after });
        }
        self.shared.changed.notify_one();
        Ok(receiver)
    }

    /// What is going on.
    pub(super) fn snapshot(&self) -> PoolSnapshot {
        let state = self.shared.state();
        PoolSnapshot {
            threads: self.shared.config.threads.get(),
            lanes: self.shared.config.lanes.get(),
            capacity: self.shared.config.queue.get(),
            queued: state.queue.waiting(),
            shares: state.queue.shares(),
            running: state.queue.running(),
            done: state.done,
            failed: state.failed,
            skipped: state.skipped,
            rejected: state.rejected,
            backlog: state.queue.backlog(),
            max_wait: self.shared.config.max_wait,
        }
    }

    /// Drops what waits and blocks until what runs is done.
    pub(super) fn shutdown(&self) {
        self.shared.close();
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            // A thread catches its jobs' panics, so there is nothing to learn from its end.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn new(config: PoolConfig, begin: Begin) -> Self {
        let state = State {
            queue: Queue::new(config),
            closed: false,
            idle: 0,
            busy: vec![0; config.threads.get()],
            lateness: Lateness::default(),
            done: 0,
            failed: 0,
            skipped: 0,
            rejected: 0,
        };
        Self { config, begin, state: Mutex::new(state), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.queue.clear();
        drop(state);
        self.changed.notify_all();
    }

    /// One thread's life: until the pool closes and its own jobs are done.
    fn work(&self, thread: usize) {
        let mut bench = Bench::default();
        loop {
            while let Some((turn, waiting)) = self.next(thread, bench.busy()) {
                let started = Instant::now();
                let (mut guest, job) = waiting.begin(turn, started);
                // A job only reads what it owns, so nothing is left half done for others to see.
                let step = catch_unwind(AssertUnwindSafe(|| (self.begin)(job)))
                    .unwrap_or(Step::Done(Outcome::Failed(Failure::Panicked)));
                guest.took = started.elapsed();
                if let Some((guest, outcome)) = bench.seat(guest, step) {
                    self.answer(guest, outcome);
                }
            }
            if bench.busy() == 0 {
                return;
            }
            bench.step(|guest, outcome| self.answer(guest, outcome));
        }
    }

    fn answer(&self, guest: Guest, outcome: Outcome) {
        let lateness = self.state().finish(&guest, &outcome);
        // Whoever asked may have gone away meanwhile.
        let _ = guest.reply.send(Computed { outcome, waited: guest.waited, lateness });
    }

    /// The next job for a thread that has so many under way. One that has none waits for it; none
    /// comes then only when the pool closes.
    fn next(&self, thread: usize, busy: usize) -> Option<(Turn, Waiting)> {
        let mut state = self.state();
        state.says(thread, busy);
        loop {
            if state.closed || busy >= self.config.lanes.get() {
                return None;
            }
            if busy > 0 && !state.may_join(busy) {
                return None;
            }
            match state.queue.take() {
                Some((turn, abandoned)) if abandoned.reply.is_closed() => {
                    state.skipped += 1;
                    state.queue.skipped(turn);
                }
                Some(taken) => {
                    state.says(thread, usize::MAX);
                    return Some(taken);
                }
                None if busy > 0 => return None,
                None => {
                    state.idle += 1;
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                    state.idle -= 1;
                }
            }
        }
    }
}

impl State {
    fn says(&mut self, thread: usize, lanes: usize) {
        if let Some(busy) = self.busy.get_mut(thread) {
            *busy = lanes;
        }
    }

    /// Whether a thread with so many lanes in use may take one more: not what an idle thread is
    /// waking up for, and not what is better off with one that has fewer.
    fn may_join(&self, busy: usize) -> bool {
        self.queue.waiting() > self.idle && self.busy.iter().all(|other| busy <= *other)
    }

    /// Settles a job, and says how late those before it were.
    fn finish(&mut self, guest: &Guest, outcome: &Outcome) -> Duration {
        let now = Instant::now();
        let before = self.lateness.at(now);
        let took = now.saturating_duration_since(guest.begun);
        self.lateness.learn(now, took, guest.work, outcome);
        self.queue.done(guest.turn, guest.took);
        self.done += 1;
        self.failed += u64::from(matches!(outcome, Outcome::Failed(_)));
        before
    }
}

/// Locks, also after a panic: under these locks are counters and queues, whole at every step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
