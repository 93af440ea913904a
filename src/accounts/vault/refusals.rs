//! What the KMS refused the key keeper, so that it is not asked for the same again and again: only
//! an operator changes that, and nobody waits for the keeper.
//!
//! A region that refuses is left alone for a while, each time twice as long; a branch key that did
//! not open, for long. So the keeper comes to the keys behind it, and a region that refuses
//! everything costs a few calls an hour.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::events::ids::{BranchKeyId, RegionId};

/// How long a region that refuses is left alone at most.
const REGION_MAX: Duration = Duration::from_mins(15);

/// How long a branch key that did not open is left alone, unless another opens meanwhile.
const KEY: Duration = Duration::from_hours(1);

/// What was refused, and until when nothing is asked.
pub(super) struct Refusals {
    first: Duration,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    wraps: BTreeMap<RegionId, Pause>,
    opens: Option<Pause>,
    keys: BTreeMap<BranchKeyId, Duration>,
}

#[derive(Clone, Copy)]
struct Pause {
    long: Duration,
    until: Duration,
}

impl Pause {
    /// The pause after this one, from now on.
    fn after(before: Option<Self>, first: Duration, now: Duration) -> Self {
        let long = before.map_or(first, |pause| pause.long.saturating_mul(2)).min(REGION_MAX);
        Self { long, until: now + long }
    }
}

impl Refusals {
    /// Nothing was refused; the first pause is this long.
    pub(super) fn new(first: Duration) -> Self {
        Self { first, inside: Mutex::default() }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a region is to be asked to wrap.
    pub(super) fn may_wrap(&self, region: RegionId, now: Duration) -> bool {
        self.inside().wraps.get(&region).is_none_or(|pause| pause.until <= now)
    }

    /// Whether this region is to be asked to open a branch key.
    pub(super) fn may_open(&self, id: BranchKeyId, now: Duration) -> bool {
        let inside = self.inside();
        inside.opens.is_none_or(|pause| pause.until <= now)
            && inside.keys.get(&id).is_none_or(|until| *until <= now)
    }

    /// A region refused to wrap.
    pub(super) fn wrap_refused(&self, region: RegionId, now: Duration) {
        let mut inside = self.inside();
        let pause = Pause::after(inside.wraps.get(&region).copied(), self.first, now);
        inside.wraps.insert(region, pause);
    }

    /// A region wrapped.
    pub(super) fn wrapped(&self, region: RegionId) {
        self.inside().wraps.remove(&region);
    }

    /// This region refused to open a branch key.
    pub(super) fn open_refused(&self, id: BranchKeyId, now: Duration) {
        let mut inside = self.inside();
        inside.opens = Some(Pause::after(inside.opens, self.first, now));
        inside.keys.insert(id, now + KEY);
    }

    /// This region opened a branch key: it may open the others too.
    pub(super) fn opened(&self) {
        let mut inside = self.inside();
        inside.opens = None;
        inside.keys.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: BranchKeyId = BranchKeyId([1; 16]);
    const TWO: BranchKeyId = BranchKeyId([2; 16]);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_region_that_refuses_is_asked_a_few_times_an_hour() {
        let (refusals, us): (_, RegionId) = (Refusals::new(at(1)), "us".parse().unwrap());
        let mut asked = Vec::new();
        for second in 0..7200 {
            if refusals.may_wrap(us, at(second)) {
                asked.push(second);
                refusals.wrap_refused(us, at(second));
            }
        }
        assert_eq!(asked[..5], [0, 1, 3, 7, 15]);
        assert_eq!(asked.iter().filter(|second| **second >= 3600).count(), 4);
        assert!(refusals.may_wrap("eu".parse().unwrap(), at(0)) && refusals.may_open(ONE, at(0)));
        refusals.wrapped(us);
        assert!(refusals.may_wrap(us, at(0)));
    }

    #[test]
    fn a_key_that_does_not_open_does_not_keep_the_others_waiting() {
        let refusals = Refusals::new(at(1));
        refusals.open_refused(ONE, at(0));
        assert!(!refusals.may_open(TWO, at(0)) && refusals.may_open(TWO, at(1)));
        assert!(!refusals.may_open(ONE, at(3599)) && refusals.may_open(ONE, at(3600)));
        refusals.open_refused(ONE, at(1));
        refusals.opened();
        assert!(refusals.may_open(ONE, at(1)) && refusals.may_open(TWO, at(1)));
    }
}
