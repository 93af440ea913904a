//! How properties are held: a fixed seed, arrivals in any order, and what to say when one fails.

use std::fmt::Debug;

use jcas::events::record::Fact;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

/// Says in which order facts arrive, and which arrive twice.
pub(crate) fn arrivals() -> impl Strategy<Value = Arrival> {
    any::<u64>().prop_map(Arrival)
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival(pub(crate) u64);

impl Arrival {
    fn next(&mut self) -> usize {
        // SplitMix64 (Steele, Lea, Flood, 2014).
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 33).unwrap()
    }

    /// True about once in `n` times.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.next().is_multiple_of(n)
    }

    /// The same facts in another order, about a third of them twice.
    pub(crate) fn of(mut self, facts: &[Fact]) -> Vec<&Fact> {
        let mut arriving: Vec<&Fact> = facts.iter().collect();
        let twice: Vec<&Fact> = facts.iter().filter(|_| self.one_in(3)).collect();
        arriving.extend(twice);
        for last in (1..arriving.len()).rev() {
            arriving.swap(last, self.next() % (last + 1));
        }
        arriving
    }
}

/// The seed of a run: fixed, so that a run can be repeated, or as the environment says.
pub(crate) fn config(cases: u32) -> Config {
    let asked = Config::default();
    let seed = match asked.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => 20_190_521,
    };
    let cases = std::env::var_os("PROPTEST_CASES").map_or(cases, |_| asked.cases);
    Config { cases, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..asked }
}

/// Holds a property for this many cases, or for as many as the environment says.
#[track_caller]
pub(crate) fn holds<S: Strategy<Value: Debug>>(
    cases: u32,
    strategy: &S,
    property: impl Fn(S::Value) -> Result<(), TestCaseError>,
) {
    let config = config(cases);
    let seed = config.rng_seed;
    if let Err(failure) = TestRunner::new(config).run(strategy, property) {
        panic!("run with PROPTEST_RNG_SEED={seed} to see it again: {failure}");
    }
}
