//! One count of failures in a row, and how long it makes the next attempt wait.

use std::time::Duration;

use crate::accounts::bounded::Weigh;

/// When attempts under way are worth asking after: they end within about this time.
const UNDER_WAY_WAIT: Duration = Duration::from_secs(1);

/// What failures lead to.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// Failures in a row without a delay.
    pub free: u32,
    /// The delay after the first one more; each further failure doubles it ...
    pub first_delay: Duration,
    /// ... up to this.
    pub longest_delay: Duration,
    /// Attempts that may be under way at once where none failed lately. Each is a guess whose end
    /// is not known yet.
    pub at_once: u32,
    /// The pause after the greatest number of failures in a row. Failures this old count no more.
    pub pause: Duration,
}

impl Schedule {
    /// How long after the last of so many failures the next attempt may be made.
    fn delay(&self, failures: u32, limit: u32) -> Duration {
        if failures >= limit {
            return self.pause;
        }
        let Some(doublings) = failures.checked_sub(self.free) else { return Duration::ZERO };
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        self.first_delay.saturating_mul(factor).min(self.longest_delay).min(self.pause)
    }
}

/// Failures in a row, and attempts whose end is not known yet.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Count {
    failures: u32,
    under_way: u32,
    last: Duration,
    /// When the last failure counts no more. Kept here so that an entry can be weighed alone.
    forgotten: Duration,
}

impl Count {
    /// Failures that still count.
    pub(super) const fn failures(&self, now: Duration) -> u32 {
        if now.as_nanos() >= self.forgotten.as_nanos() { 0 } else { self.failures }
    }

    /// How long the next attempt has to wait, of a count that allows `limit` failures in a row.
    /// None: it may be made.
    pub(super) fn wait(&self, now: Duration, schedule: &Schedule, limit: u32) -> Option<Duration> {
        let failures = self.failures(now);
        let free_from = self.last.saturating_add(schedule.delay(failures, limit));
        if failures > 0 && free_from > now {
            return Some(free_from.saturating_sub(now));
        }
        // With failures behind it, what is under way may fail as well: together they get as far as
        // one after another would get without a delay.
        let at_once = match failures {
            0 => schedule.at_once.min(limit),
            _ => schedule.free.min(limit).saturating_sub(failures).max(1),
        };
        (self.under_way >= at_once).then_some(UNDER_WAY_WAIT)
    }

    /// As [`Self::wait`], of a count without growing delays.
    pub(super) fn stopped(&self, now: Duration, limit: u32) -> Option<Duration> {
        if self.failures(now) >= limit {
            return Some(self.forgotten.saturating_sub(now));
        }
        (self.failures(now) + self.under_way >= limit).then_some(UNDER_WAY_WAIT)
    }

    /// An attempt begins.
    pub(super) const fn begin(&mut self) {
        self.under_way = self.under_way.saturating_add(1);
    }

    /// An attempt ended without telling anything.
    pub(super) const fn undo(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// An attempt failed.
    pub(super) fn fail(&mut self, now: Duration, schedule: &Schedule) {
        self.undo();
        self.failures = self.failures(now).saturating_add(1);
        self.last = now;
        self.forgotten = now.saturating_add(schedule.pause);
    }

    /// An attempt was right: what failed before counts no more.
    pub(super) const fn succeed(&mut self) {
        self.undo();
        self.forgive();
    }

    /// Takes over what failed in another count.
    pub(super) fn absorb(&mut self, now: Duration, other: &Self) {
        self.failures = self.failures(now).saturating_add(other.failures(now));
        self.last = self.last.max(other.last);
        self.forgotten = self.forgotten.max(other.forgotten);
    }

    /// What failed before counts no more.
    pub(super) const fn forgive(&mut self) {
        self.failures = 0;
        self.last = Duration::ZERO;
        self.forgotten = Duration::ZERO;
    }
}

impl Weigh for Count {
    fn weight(&self, now: Duration) -> u64 {
        // Attempts under way must be found again when they end.
        if self.under_way > 0 {
            return u64::MAX;
        }
        let age = now.saturating_sub(self.last).as_secs().min(u64::from(u32::MAX));
        match self.failures(now) {
            0 => 0,
            // More failures weigh more, and of as many the younger.
            failures => (u64::from(failures) << 32) + u64::from(u32::MAX) - age,
        }
    }
}
