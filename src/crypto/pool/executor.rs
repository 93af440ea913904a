//! The executor of the pool: the threads that run the jobs whose turn it is, one at a time each.
//!
//! Whose turn it is, it asks the scheduler (`queue`); it must never reorder what it is given.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{io, thread};

use tokio::sync::oneshot;

use super::job::{Failure, Job, Outcome};
use super::queue::{Queue, Turn};
use super::{Overloaded, PoolConfig, PoolSnapshot, Priority, Share};

/// The threads, and what they share with those who ask.
pub(super) struct Executor {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// A job in the queue, and where its outcome goes.
struct Waiting {
    job: Job,
    reply: oneshot::Sender<Outcome>,
}

struct Shared {
    config: PoolConfig,
    /// [`Job::run`], except in tests that need one to fail or to wait.
    compute: fn(Job) -> Outcome,
    state: Mutex<State>,
    /// Signalled when a job is queued and when the pool closes.
    changed: Condvar,
}

struct State {
    queue: Queue<Waiting>,
    closed: bool,
    done: u64,
    failed: u64,
    skipped: u64,
    rejected: u64,
}

impl Executor {
    /// Starts the threads.
    pub(super) fn start(config: PoolConfig, compute: fn(Job) -> Outcome) -> io::Result<Self> {
        let executor = Self::without_threads(config, compute);
        for number in 0..config.threads.get() {
            let shared = Arc::clone(&executor.shared);
            let builder = thread::Builder::new().name(format!("hash-{number}"));
            // When one cannot be started, dropping the pool ends those that were.
            let handle = builder.spawn(move || shared.work())?;
            lock(&executor.threads).push(handle);
        }
        Ok(executor)
    }

    /// What is queued stays queued.
    pub(super) fn without_threads(config: PoolConfig, compute: fn(Job) -> Outcome) -> Self {
        Self { shared: Arc::new(Shared::new(config, compute)), threads: Mutex::default() }
    }

    /// Queues a job.
    pub(super) fn submit(
        &self,
        share: Share,
        priority: Priority,
        job: Job,
    ) -> Result<oneshot::Receiver<Outcome>, Overloaded> {
        let (reply, receiver) = oneshot::channel();
        let estimate = u64::from(job.relative_cost());
        let mut state = self.shared.state();
        let state = &mut *state;
        let pushed = if state.closed {
            Err(state.queue.wait(share, priority))
        } else {
            state.queue.push(share, priority, estimate, Waiting { job, reply })
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
    fn new(config: PoolConfig, compute: fn(Job) -> Outcome) -> Self {
        let queue = Queue::new(config);
        let state = State { queue, closed: false, done: 0, failed: 0, skipped: 0, rejected: 0 };
        Self { config, compute, state: Mutex::new(state), changed: Condvar::new() }
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

    /// One thread's life: until the pool closes.
    fn work(&self) {
        while let Some((turn, Waiting { job, reply })) = self.next() {
            let started = Instant::now();
            // A job only reads what it owns, so nothing is left half done for others to see.
            let outcome = catch_unwind(AssertUnwindSafe(|| (self.compute)(job)))
                .unwrap_or(Outcome::Failed(Failure::Panicked));
            self.state().finish(turn, started.elapsed(), &outcome);
            // Whoever asked may have gone away meanwhile.
            let _ = reply.send(outcome);
        }
    }

    /// Waits for the next job that somebody still waits for; none when the pool closes.
    fn next(&self) -> Option<(Turn, Waiting)> {
        let mut state = self.state();
        loop {
            if state.closed {
                return None;
            }
            match state.queue.take() {
                Some((turn, abandoned)) if abandoned.reply.is_closed() => {
                    state.skipped += 1;
                    state.queue.skipped(turn);
                }
                Some(taken) => return Some(taken),
                None => {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

impl State {
    fn finish(&mut self, turn: Turn, took: Duration, outcome: &Outcome) {
        self.queue.done(turn, took);
        self.done += 1;
        self.failed += u64::from(matches!(outcome, Outcome::Failed(_)));
    }
}

/// Locks, also after a panic: under these locks are counters and queues, whole at every step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
