//! The hash pool: the threads on which password hashes are computed, and nothing else is.
//!
//! A bcrypt takes tens of milliseconds of a core. So it never runs in an actor or on an HTTP
//! thread, and what waits for it is bounded: when the queue is full, the answer is no, at once,
//! with the time after which asking again makes sense.
//!
//! ```text
//! try_submit(Job) --> queue (bounded) --> thread 1..n --> Computed, by a oneshot channel
//!        |
//!        +--> Overloaded { retry_after }, when the queue is full
//! ```
//!
//! Jobs are data, not closures, so that a thread can later run several bcrypts side by side without
//! a caller knowing. The pool must never know whose password it holds: it hands back the caller's
//! own tag.

mod job;

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{fmt, io, thread};

use serde::Serialize;
use thiserror::Error;
use tokio::sync::oneshot;

pub use self::job::{Budget, Candidate, CandidateHash, Failure, Job, Outcome};

/// What a job is assumed to take until one has been measured: a bcrypt at cost 10.
const FIRST_GUESS: Duration = Duration::from_millis(60);

/// How much one measured job moves the mean: 1/8, so that it follows a change within a few dozen.
const MEAN_WEIGHT: u32 = 8;

/// Jobs whose work is estimated at less say nothing about how fast hashing is, in microseconds.
const LEAST_TELLING_WORK: u32 = 5000;

/// Slowness, in thousandths, where hashing takes what was estimated.
const AS_ESTIMATED: u32 = 1000;

/// No caller is told to stay away longer than this.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(1);

/// How a pool is built.
#[derive(Clone, Copy, Debug)]
pub struct PoolConfig {
    /// Threads that compute; one a core is what helps.
    pub threads: NonZeroUsize,
    /// Jobs that may wait, beside those that run.
    pub queue: NonZeroUsize,
}

/// The queue is full, or the pool is shutting down; nothing was queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the hash pool is overloaded")]
pub struct Overloaded {
    /// When the jobs that wait now will probably be done: their number times the mean time a job
    /// took lately, over the threads; at most 60 s.
    pub retry_after: Duration,
}

/// What became of a job, and how long it had to wait for its turn.
#[derive(Debug)]
pub struct Computed {
    /// What became of it.
    pub outcome: Outcome,
    /// How long it was in the queue.
    pub waited: Duration,
    /// How much slower hashing was lately than the estimates of `relative_cost`, in thousandths:
    /// 1000 is as estimated. Of the jobs before this one.
    pub slowness: u32,
}

/// What a pool is doing and has done since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PoolSnapshot {
    /// Threads that compute.
    pub threads: usize,
    /// Jobs that may wait.
    pub capacity: usize,
    /// Jobs that wait.
    pub queued: usize,
    /// Jobs that are being computed.
    pub running: usize,
    /// Jobs that ended with an outcome, failures included.
    pub done: u64,
    /// Jobs that failed; each is a bug or a lack of randomness.
    pub failed: u64,
    /// Jobs that nobody waited for any more when their turn came.
    pub skipped: u64,
    /// Jobs that found the queue full.
    pub rejected: u64,
    /// The mean time a job took lately, in microseconds.
    pub mean_job_micros: u64,
}

/// The pool. Dropping it shuts it down, with [`HashPool::shutdown`].
pub struct HashPool {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl HashPool {
    /// Starts the threads.
    pub fn start(config: PoolConfig) -> io::Result<Self> {
        Self::start_with(config, Job::run)
    }

    fn start_with(config: PoolConfig, compute: fn(Job) -> Outcome) -> io::Result<Self> {
        let shared = Arc::new(Shared::new(config, compute));
        let pool = Self { shared: Arc::clone(&shared), threads: Mutex::default() };
        for number in 0..config.threads.get() {
            let shared = Arc::clone(&shared);
            let builder = thread::Builder::new().name(format!("hash-{number}"));
            // When one cannot be started, dropping `pool` ends those that were.
            let handle = builder.spawn(move || shared.work())?;
            lock(&pool.threads).push(handle);
        }
        Ok(pool)
    }

    /// Queues a job and returns at once. Dropping the receiver gives the job up, if it has not
    /// started. The receiver errs when the pool shuts down first.
    pub fn try_submit(&self, job: Job) -> Result<oneshot::Receiver<Computed>, Overloaded> {
        let (reply, receiver) = oneshot::channel();
        self.shared.push(Waiting { job, reply, since: Instant::now() })?;
        Ok(receiver)
    }

    /// What the pool is doing and has done.
    pub fn snapshot(&self) -> PoolSnapshot {
        self.shared.state().snapshot(self.shared.config)
    }

    /// Takes no more jobs, drops those that wait, and blocks until those that run are done (about a
    /// second at the greatest cost).
    pub fn shutdown(&self) {
        self.shared.close();
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            // A thread catches its jobs' panics, so there is nothing to learn from its end.
            let _ = thread.join();
        }
    }
}

impl Drop for HashPool {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl fmt::Debug for HashPool {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("HashPool").field(&self.snapshot()).finish()
    }
}

/// A job in the queue, and where its outcome goes.
struct Waiting {
    job: Job,
    reply: oneshot::Sender<Computed>,
    since: Instant,
}

struct Shared {
    config: PoolConfig,
    /// [`Job::run`], except in tests that need one to fail.
    compute: fn(Job) -> Outcome,
    state: Mutex<State>,
    /// Signalled when a job is queued and when the pool closes.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Waiting>,
    closed: bool,
    running: usize,
    done: u64,
    failed: u64,
    skipped: u64,
    rejected: u64,
    mean: Option<Duration>,
    slowness: Option<u32>,
}

impl Shared {
    fn new(config: PoolConfig, compute: fn(Job) -> Outcome) -> Self {
        Self { config, compute, state: Mutex::default(), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn push(&self, waiting: Waiting) -> Result<(), Overloaded> {
        let mut state = self.state();
        if state.closed || state.queue.len() >= self.config.queue.get() {
            state.rejected += 1;
            return Err(Overloaded { retry_after: state.wait(self.config.threads) });
        }
        state.queue.push_back(waiting);
        drop(state);
        self.changed.notify_one();
        Ok(())
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
        while let Some(waiting) = self.next() {
            let Waiting { job, reply, since } = waiting;
            let started = Instant::now();
            let waited = started.saturating_duration_since(since);
            let work = job.work();
            // A job only reads what it owns, so nothing is left half done for others to see.
            let outcome = catch_unwind(AssertUnwindSafe(|| (self.compute)(job)))
                .unwrap_or(Outcome::Failed(Failure::Panicked));
            let slowness = self.state().finish(started.elapsed(), work, &outcome);
            // Whoever asked may have gone away meanwhile.
            let _ = reply.send(Computed { outcome, waited, slowness });
        }
    }

    /// Waits for the next job that somebody still waits for; none when the pool closes.
    fn next(&self) -> Option<Waiting> {
        let mut state = self.state();
        loop {
            if state.closed {
                return None;
            }
            match state.queue.pop_front() {
                Some(abandoned) if abandoned.reply.is_closed() => state.skipped += 1,
                Some(waiting) => {
                    state.running += 1;
                    return Some(waiting);
                }
                None => {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

impl State {
    /// Counts a job, and says how slow hashing was before it.
    fn finish(&mut self, took: Duration, work: u32, outcome: &Outcome) -> u32 {
        self.running -= 1;
        self.done += 1;
        self.failed += u64::from(matches!(outcome, Outcome::Failed(_)));
        let mean = self.mean.unwrap_or(took);
        self.mean = Some((mean * (MEAN_WEIGHT - 1) + took) / MEAN_WEIGHT);
        let lately = self.slowness.unwrap_or(AS_ESTIMATED);
        // Of these all the work was done that had been estimated.
        let whole = matches!(outcome, Outcome::Mismatched | Outcome::Hashed(_));
        if whole && work >= LEAST_TELLING_WORK {
            let took = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
            let now = (u64::from(took) * u64::from(AS_ESTIMATED) / u64::from(work))
                .min(u64::from(u32::MAX / MEAN_WEIGHT));
            let now = u32::try_from(now).unwrap_or(AS_ESTIMATED);
            let before = self.slowness.unwrap_or(now);
            self.slowness = Some((before / MEAN_WEIGHT) * (MEAN_WEIGHT - 1) + now / MEAN_WEIGHT);
        }
        lately
    }

    fn wait(&self, threads: NonZeroUsize) -> Duration {
        let jobs = self.queue.len() + self.running;
        // At least one, for the job that asks.
        let rounds = u32::try_from(jobs.div_ceil(threads.get()).max(1)).unwrap_or(u32::MAX);
        self.mean.unwrap_or(FIRST_GUESS).saturating_mul(rounds).min(MAX_RETRY_AFTER)
    }

    fn snapshot(&self, config: PoolConfig) -> PoolSnapshot {
        PoolSnapshot {
            threads: config.threads.get(),
            capacity: config.queue.get(),
            queued: self.queue.len(),
            running: self.running,
            done: self.done,
            failed: self.failed,
            skipped: self.skipped,
            rejected: self.rejected,
            mean_job_micros: self
                .mean
                .map_or(0, |mean| u64::try_from(mean.as_micros()).unwrap_or(u64::MAX)),
        }
    }
}

/// Locks, also after a panic: under these locks are counters and queues, whole at every step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "pool_test.rs"]
mod tests;
