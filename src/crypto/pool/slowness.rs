//! How much slower hashing is just now than it was estimated, on a machine that others use too or
//! with several bcrypts side by side.
//!
//! It rises at once and falls within some ten jobs: who leaves time for hashing leaves enough.

use std::time::Duration;

use super::job::Outcome;

/// As fast as estimated, in thousandths.
const AS_ESTIMATED: u32 = 1000;

/// No slower than this, in thousandths: what took longer was a machine that stood still.
const SLOWEST: u32 = 4000;

/// How much of it a job that took less takes away: an eighth.
const FALL: u32 = 8;

/// Jobs whose work is estimated at less say nothing, in microseconds.
const LEAST_TELLING_WORK: u32 = 5000;

/// What was seen lately.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slowness(u32);

impl Default for Slowness {
    fn default() -> Self {
        Self(AS_ESTIMATED)
    }
}

impl Slowness {
    /// In thousandths: 1000 is as estimated, or faster.
    pub(super) const fn thousandths(self) -> u32 {
        self.0
    }

    /// A job ended so long after it was begun, whose work was estimated at so many microseconds.
    pub(super) fn learn(&mut self, took: Duration, work: u32, outcome: &Outcome) {
        // Of others only a part of the work was done.
        let whole = matches!(outcome, Outcome::Mismatched | Outcome::Hashed(_));
        if !whole || work < LEAST_TELLING_WORK {
            return;
        }
        let seen = took.as_micros().saturating_mul(AS_ESTIMATED.into()) / u128::from(work);
        let seen = u32::try_from(seen).unwrap_or(SLOWEST).clamp(AS_ESTIMATED, SLOWEST);
        self.0 = seen.max(self.0 - self.0 / FALL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learnt(jobs: &[(u64, u32, Outcome)]) -> u32 {
        let mut slowness = Slowness::default();
        for (took_ms, work_ms, outcome) in jobs {
            slowness.learn(Duration::from_millis(*took_ms), work_ms * 1000, outcome);
        }
        slowness.thousandths()
    }

    const WRONG: Outcome = Outcome::Mismatched;

    #[test]
    fn it_rises_at_once_and_falls_slowly() {
        assert_eq!(learnt(&[]), 1000);
        assert_eq!(learnt(&[(90, 60, WRONG)]), 1500);
        assert_eq!(learnt(&[(180, 60, WRONG), (60, 60, WRONG)]), 2625);
        let mut jobs = vec![(180, 60, WRONG)];
        jobs.extend((0..10).map(|_| (30, 60, WRONG)));
        assert_eq!(learnt(&jobs), 1000);
    }

    #[test]
    fn what_says_nothing_is_passed_over_and_what_stood_still_is_bounded() {
        assert_eq!(learnt(&[(900, 4, WRONG)]), 1000);
        assert_eq!(learnt(&[(900, 60, Outcome::BudgetExhausted { tried: 1 })]), 1000);
        assert_eq!(learnt(&[(u64::MAX / 1000, 60, WRONG)]), 4000);
    }
}
