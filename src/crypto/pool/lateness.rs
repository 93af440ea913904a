//! How much later than estimated jobs end just now: on a machine that others use too, with several
//! bcrypts side by side, or on a slower one.
//!
//! It is the worst of lately, and half as much every few seconds: who leaves time for it leaves
//! enough.

use std::time::{Duration, Instant};

use super::job::Outcome;

/// What was seen counts half after this long.
const HALF_LIFE: Duration = Duration::from_secs(5);

/// No more than this: what was later still was a machine that stood still.
const LATEST: Duration = Duration::from_secs(5);

/// What was seen lately.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lateness {
    seen: Option<(Duration, Instant)>,
}

impl Lateness {
    /// What it is now.
    pub(super) fn at(self, now: Instant) -> Duration {
        let Some((seen, at)) = self.seen else { return Duration::ZERO };
        let halvings = now.saturating_duration_since(at).as_secs() / HALF_LIFE.as_secs();
        let halvings = u32::try_from(halvings).unwrap_or(u32::MAX);
        seen / 1_u32.checked_shl(halvings).unwrap_or(u32::MAX)
    }

    /// A job ended so long after it was begun, whose work was estimated at so many microseconds.
    pub(super) fn learn(&mut self, now: Instant, took: Duration, work: u32, outcome: &Outcome) {
        // Of others only a part of the work was done, or more.
        if !matches!(outcome, Outcome::Mismatched | Outcome::Hashed(_)) {
            return;
        }
        let late = took.saturating_sub(Duration::from_micros(work.into())).min(LATEST);
        if late > self.at(now) {
            self.seen = Some((late, now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRONG: Outcome = Outcome::Mismatched;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn it_is_the_worst_of_lately_and_halves() {
        let (mut lateness, now) = (Lateness::default(), Instant::now());
        assert_eq!(lateness.at(now), Duration::ZERO);
        lateness.learn(now, ms(100), 60_000, &WRONG);
        lateness.learn(now, ms(50), 60_000, &WRONG);
        assert_eq!(lateness.at(now), ms(40));
        assert_eq!(lateness.at(now + HALF_LIFE), ms(20));
        lateness.learn(now + HALF_LIFE, ms(90), 60_000, &WRONG);
        assert_eq!(lateness.at(now + HALF_LIFE), ms(30));
        assert_eq!(lateness.at(now + HALF_LIFE * 5), ms(30) / 16);
        assert_eq!(lateness.at(now + HALF_LIFE * 1000), Duration::ZERO);
    }

    #[test]
    fn what_says_nothing_is_passed_over_and_what_stood_still_is_bounded() {
        let (mut lateness, now) = (Lateness::default(), Instant::now());
        lateness.learn(now, ms(900), 4, &Outcome::BudgetExhausted { tried: 1 });
        assert_eq!(lateness.at(now), Duration::ZERO);
        lateness.learn(now, Duration::MAX, 60_000, &WRONG);
        assert_eq!(lateness.at(now), LATEST);
    }
}
