//! The hash pool: the threads on which password hashes are computed, and nothing else is.
//!
//! A bcrypt takes tens of milliseconds of a core. So it never runs in an actor or on an HTTP
//! thread, and what waits for it is bounded: who would wait too long is told so at once, with the
//! time after which asking again makes sense.
//!
//! ```text
//! try_submit(Share, Priority, Job) --> queue --> executor: thread 1..n --> Computed
//!        |                        (whose turn)                        (a oneshot channel)
//!        +--> Overloaded { retry_after }
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `job` | what is computed |
//! | `line` `queue` | the scheduler: fair between shares, logins first, bounded |
//! | `executor` `bench` | the threads, and the jobs each has under way |
//! | `course` | what is computed next for a job |
//! | `lateness` | how much later than estimated jobs end just now |
//! | `gain` | what several lanes gain |
//!
//! Jobs are data, not closures, so that a thread runs several bcrypts side by side without a caller
//! knowing. The pool must never know whose password it holds: it hands back the caller's
//! own tag, and tells shares apart by a number that means nothing to it.

mod bench;
mod course;
mod executor;
mod gain;
mod job;
mod lateness;
mod line;
mod queue;

use std::num::NonZeroUsize;
use std::time::Duration;
use std::{fmt, io};

use serde::Serialize;
use thiserror::Error;
use tokio::sync::oneshot;

use self::executor::Executor;
pub use self::job::{Budget, Candidate, CandidateHash, Failure, Job, Outcome};

/// How a pool is built.
#[derive(Clone, Copy, Debug)]
pub struct PoolConfig {
    /// Threads that compute; one a core is what helps.
    pub threads: NonZeroUsize,
    /// Jobs that one thread may have under way, at most [`bcrypt_lanes::LANES`].
    pub lanes: NonZeroUsize,
    /// Logins that may wait, beside those that run; and as many background jobs.
    pub queue: NonZeroUsize,
    /// A login that would wait longer than this is refused.
    pub max_wait: Duration,
}

/// Who a job is for, as far as the pool may know: jobs of one number share what they are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(u64);

impl Share {
    /// The share with this number, which means nothing here.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
}

/// How urgent a job is. Background jobs are begun when no login waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// A person is waiting.
    Login,
    /// Nobody is.
    Background,
}

/// The job would wait too long, its share has too many waiting, or the pool is shutting down;
/// nothing was queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the hash pool is overloaded")]
pub struct Overloaded {
    /// When what stands before it in line will probably have been begun; at most 60 s.
    pub retry_after: Duration,
}

/// What became of a job, and how the pool did.
#[derive(Debug)]
pub struct Computed {
    /// What became of it.
    pub outcome: Outcome,
    /// How long it waited until it was begun.
    pub waited: Duration,
    /// How much longer than estimated jobs took lately. Of those before this one.
    pub lateness: Duration,
}

/// What a pool is doing and has done since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PoolSnapshot {
    /// Threads that compute.
    pub threads: usize,
    /// Jobs that each of them may have under way.
    pub lanes: usize,
    /// Logins that may wait.
    pub capacity: usize,
    /// Jobs that wait.
    pub queued: usize,
    /// Shares that they are of.
    pub shares: usize,
    /// Jobs that are being computed.
    pub running: usize,
    /// Jobs that ended with an outcome, failures included.
    pub done: u64,
    /// Jobs that failed; each is a bug or a lack of randomness.
    pub failed: u64,
    /// Jobs that nobody waited for any more when their turn came.
    pub skipped: u64,
    /// Jobs that were refused.
    pub rejected: u64,
    /// How long it takes until all logins that wait are begun.
    pub backlog: Duration,
    /// The longest a login may have to wait.
    pub max_wait: Duration,
}

/// The pool. Dropping it shuts it down, with [`HashPool::shutdown`].
pub struct HashPool {
    executor: Executor,
}

impl HashPool {
    /// Starts the threads.
    pub fn start(config: PoolConfig) -> io::Result<Self> {
        Ok(Self { executor: Executor::start(config, course::begin)? })
    }

    /// Queues a job and returns at once. Dropping the receiver gives the job up, if it has not
    /// started. The receiver errs when the pool shuts down first.
    pub fn try_submit(
        &self,
        share: Share,
        priority: Priority,
        job: Job,
    ) -> Result<oneshot::Receiver<Computed>, Overloaded> {
        self.executor.submit(share, priority, job)
    }

    /// What the pool is doing and has done.
    pub fn snapshot(&self) -> PoolSnapshot {
        self.executor.snapshot()
    }

    /// Takes no more jobs, drops those that wait, and blocks until those that run are done (about a
    /// second at the greatest cost).
    pub fn shutdown(&self) {
        self.executor.shutdown();
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

#[cfg(test)]
#[path = "pool_test.rs"]
mod tests;
