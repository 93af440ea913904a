//! What a log holds, in numbers.

use std::collections::BTreeMap;

use crate::events::cell::Effect;
use crate::events::event::EventKind;
use crate::events::ids::CompanyId;
use crate::events::record::Fact;
use crate::events::stamp::{Origin, Revision};

use super::fold::{Became, Onlooker};
use super::history::Met;
use super::memory::MemoryState;

/// Counts by a key that mostly is the same as the time before.
#[derive(Debug, Clone)]
pub struct Tally<K> {
    counts: BTreeMap<K, u64>,
    last: Option<(K, u64)>,
}

impl<K: Ord + Clone> Tally<K> {
    fn add(&mut self, key: K) {
        match &mut self.last {
            Some((last, count)) if *last == key => *count += 1,
            last => {
                if let Some((key, count)) = last.replace((key, 1)) {
                    *self.counts.entry(key).or_default() += count;
                }
            }
        }
    }

    /// The keys and how often each came.
    pub fn counts(&self) -> BTreeMap<K, u64> {
        let mut counts = self.counts.clone();
        if let Some((key, count)) = &self.last {
            *counts.entry(key.clone()).or_default() += count;
        }
        counts
    }
}

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self { counts: BTreeMap::new(), last: None }
    }
}

/// The events of a log, counted while they are folded.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// All of them.
    pub events: u64,
    /// Those that changed the state when they were folded.
    pub prevailed: u64,
    /// Those that lost against a rival write with a greater stamp.
    pub lost: u64,
    /// Those that said what was known.
    pub known: u64,
    /// Those that said nothing: the user is erased, the body blanked or of a newer version.
    pub ignored: u64,
    /// Those of lives that were cut off, and what rests on them.
    pub distrusted: u64,
    /// Those without a body.
    pub blanked: u64,
    /// By kind.
    pub by_kind: Tally<EventKind>,
    /// By the life that recorded them.
    pub by_origin: Tally<Origin>,
    /// By the company that asked; none for operators and the system.
    pub by_company: Tally<Option<CompanyId>>,
    /// The first and the last revision.
    pub between: Option<(Revision, Revision)>,
}

impl Onlooker for Summary {
    fn folded(&mut self, met: &Met, _: &Fact, became: Became) {
        let header = &met.header;
        self.events += 1;
        self.blanked += u64::from(met.stored.record.body.is_none());
        let counter = match became {
            Became::Folded(Effect::Prevailed) => &mut self.prevailed,
            Became::Folded(Effect::Lost) => &mut self.lost,
            Became::Folded(Effect::Known) => &mut self.known,
            Became::Folded(Effect::Ignored) => &mut self.ignored,
            Became::Distrusted => &mut self.distrusted,
        };
        *counter += 1;
        self.by_kind.add(header.kind);
        self.by_origin.add(header.origin);
        self.by_company.add(header.cause.company);
        let at = header.revision;
        let (first, last) = self.between.unwrap_or((at, at));
        self.between = Some((first.min(at), last.max(at)));
    }
}

/// How many users a state has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Users {
    /// Anything is known of.
    pub known: u64,
    /// Registered and not erased.
    pub live: u64,
    /// Erased.
    pub erased: u64,
}

impl Users {
    /// Counts them.
    pub fn of(state: &MemoryState) -> Self {
        let mut users = Self::default();
        for (_, user) in state.users() {
            users.known += 1;
            users.live += u64::from(user.is_live());
            users.erased += u64::from(user.erased.is_some());
        }
        users
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_counts_keys_that_come_and_go() {
        let mut tally = Tally::default();
        for key in [1, 1, 2, 1, 3, 3] {
            tally.add(key);
        }
        assert_eq!(tally.counts(), BTreeMap::from([(1, 3), (2, 1), (3, 2)]));
        assert_eq!(tally.counts(), BTreeMap::from([(1, 3), (2, 1), (3, 2)]), "again");
    }
}
