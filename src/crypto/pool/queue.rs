//! The scheduler of the pool: which job is next, and who is told to come back later.
//!
//! ```text
//!           +--> logins:     a fair line --+
//! push -----|                              |--> take: logins first
//!           +--> background: a fair line --+
//!           |
//!           +--> refused: the line is full for this share, or the wait would be too long
//! ```
//!
//! A line holds a bounded number of jobs, of which one share may take no more than are left free:
//! a single one half of the line, two a third each. So there is always room for one more share,
//! whatever the others do.
//!
//! It is a plain value: no threads, no locks, no clock. What runs the jobs is the executor.

use std::time::Duration;

use super::gain;
use super::line::Line;
use super::{PoolConfig, Priority, Share};

/// No caller is told to stay away longer than this.
pub(super) const MAX_RETRY_AFTER: Duration = Duration::from_mins(1);

/// Everything that waits.
pub(super) struct Queue<T> {
    config: PoolConfig,
    logins: Line<(u64, T)>,
    background: Line<(u64, T)>,
    running: usize,
    running_work: u64,
    pace: Pace,
}

/// A job whose turn has come, to be settled when it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    priority: Priority,
    share: Share,
    estimate: u64,
    charged: u64,
}

impl<T> Queue<T> {
    pub(super) fn new(config: PoolConfig) -> Self {
        let (logins, background, pace) = (Line::default(), Line::default(), Pace::default());
        Self { config, logins, background, running: 0, running_work: 0, pace }
    }

    /// Jobs that wait.
    pub(super) const fn waiting(&self) -> usize {
        self.logins.waiting() + self.background.waiting()
    }

    /// Shares that have jobs waiting; one that has both logins and background work counts twice.
    pub(super) fn shares(&self) -> usize {
        self.logins.shares() + self.background.shares()
    }

    /// Jobs that run.
    pub(super) const fn running(&self) -> usize {
        self.running
    }

    /// How long it takes until all logins that wait are begun.
    pub(super) fn backlog(&self) -> Duration {
        self.begun_after(self.logins.work())
    }

    /// Puts a job in line whose work is estimated, in the units of `relative_cost`. The refusal is
    /// how long what waits before it takes.
    pub(super) fn push(
        &mut self,
        share: Share,
        priority: Priority,
        estimate: u64,
        job: T,
    ) -> Result<(), Duration> {
        let wait = self.wait(share, priority);
        let room = self.config.queue.get();
        let line = self.line(priority);
        let full = line.waiting_of(share) >= room.saturating_sub(line.waiting());
        if full || (priority == Priority::Login && wait > self.config.max_wait) {
            return Err(wait.min(MAX_RETRY_AFTER));
        }
        let work = self.pace.work(estimate);
        self.line(priority).push(share, work, (estimate, job));
        Ok(())
    }

    /// How long a job put in line now would wait until it is begun.
    pub(super) fn wait(&self, share: Share, priority: Priority) -> Duration {
        let before = match priority {
            Priority::Login => self.logins.work_before(share),
            Priority::Background => {
                self.logins.work().saturating_add(self.background.work_before(share))
            }
        };
        self.begun_after(before)
    }

    /// The job whose turn it is.
    pub(super) fn take(&mut self) -> Option<(Turn, T)> {
        let (priority, taken) = match self.logins.take() {
            Some(taken) => (Priority::Login, taken),
            None => (Priority::Background, self.background.take()?),
        };
        let (share, charged, (estimate, job)) = taken;
        self.running += 1;
        self.running_work = self.running_work.saturating_add(charged);
        Some((Turn { priority, share, estimate, charged }, job))
    }

    /// A job is done, and took so long.
    pub(super) fn done(&mut self, turn: Turn, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.pace.learn(turn.estimate, took);
        self.end(turn, took);
    }

    /// A job whose turn came was not run.
    pub(super) fn skipped(&mut self, turn: Turn) {
        self.end(turn, 0);
    }

    /// Takes all that wait out of line.
    pub(super) fn clear(&mut self) {
        self.logins.clear();
        self.background.clear();
    }

    fn end(&mut self, turn: Turn, took: u64) {
        self.running = self.running.saturating_sub(1);
        self.running_work = self.running_work.saturating_sub(turn.charged);
        self.line(turn.priority).settle(turn.share, turn.charged, took);
    }

    const fn line(&mut self, priority: Priority) -> &mut Line<(u64, T)> {
        match priority {
            Priority::Login => &mut self.logins,
            Priority::Background => &mut self.background,
        }
    }

    /// When a job is begun that has so much work before it. When everything is taken, it waits for
    /// the first that runs to end, too: about as long as the pool takes for one.
    fn begun_after(&self, before: u64) -> Duration {
        let threads = self.config.threads.get();
        if before == 0 && self.running < threads.saturating_mul(self.config.lanes.get()) {
            return Duration::ZERO;
        }
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let one = self.running_work / count(self.running.max(1));
        let tenths = count(threads).saturating_mul(gain::tenths(self.config.lanes.get()).into());
        Duration::from_micros(before.saturating_add(one).saturating_mul(10) / tenths)
    }
}

/// How long jobs take beside what was estimated, learnt from those that were done. All of it is as
/// with a thread to themselves; what several lanes gain, `gain` knows.
///
/// Sums of estimates and of times, in which the newest job weighs most. The sums begin with a job
/// that took as long as estimated and never forget it, so that jobs of no account move them little.
#[derive(Default)]
struct Pace {
    estimated: u64,
    took: u64,
}

/// What is assumed before anything was measured, in microseconds: half a bcrypt at cost 10.
const FIRST_GUESS: u64 = 30_000;

/// How much of the sums the next job replaces: 1/8, so that they follow a change within a few
/// dozen.
const FORGET: u64 = 8;

/// How far the machine may be from the one that estimates were made on, either way.
const PACE_MAX: u64 = 50;

impl Pace {
    fn learn(&mut self, estimate: u64, took: u64) {
        let (fewest, most) = (estimate / PACE_MAX, estimate.saturating_mul(PACE_MAX));
        self.estimated = (self.estimated - self.estimated / FORGET).saturating_add(estimate);
        let took = took.clamp(fewest, most);
        self.took = (self.took - self.took / FORGET).saturating_add(took);
    }

    /// What a job with this estimate will take, in microseconds; at least one.
    fn work(&self, estimate: u64) -> u64 {
        let took = u128::from(self.took.saturating_add(FIRST_GUESS));
        let estimated = u128::from(self.estimated.saturating_add(FIRST_GUESS));
        let work = u128::from(estimate) * took / estimated;
        u64::try_from(work).unwrap_or(u64::MAX).max(1)
    }
}

#[cfg(test)]
#[path = "queue_test.rs"]
mod tests;
