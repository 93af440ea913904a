//! A table with a bound, whose least entry gives way: what counters of attempts are kept in.
//!
//! At the bound a hand goes round the places. It looks at the next few entries and drops the one
//! that weighs least, so a new entry, which weighs little, mostly drops another like it. What an
//! attacker wants dropped is the count of many failures at one account: for that every entry near
//! it has to weigh as much, and where it lies he does not know. He would have to fail as often at
//! nearly every place of the table as he did at the one. The oldest giving way instead would cost
//! one failure a place.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// Entries looked at for the one that gives way: each more makes it dearer to have a heavy entry
/// dropped, and costs a look.
const LOOKED_AT: usize = 16;

/// How much an entry is worth keeping.
pub(super) trait Weigh {
    /// Zero: nothing is lost without it. Else the greater stays.
    fn weight(&self, now: Duration) -> u64;
}

/// The table.
#[derive(Debug)]
pub(super) struct Table<K, V> {
    /// Where each key's entry is. The hasher is keyed at random, so nobody finds colliding keys.
    places: HashMap<K, usize>,
    entries: Vec<(K, V)>,
    hand: usize,
    capacity: usize,
}

impl<K: Copy + Eq + Hash, V: Default + Weigh> Table<K, V> {
    /// A table of at most so many entries, at least one.
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self { places: HashMap::new(), entries: Vec::new(), hand: 0, capacity }
    }

    /// How many entries there are.
    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    /// An entry.
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(*self.places.get(key)?).map(|(_, entry)| entry)
    }

    /// An entry, to change it.
    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(*self.places.get(key)?).map(|(_, entry)| entry)
    }

    /// Changes an entry, which is made if there is none. One that weighs nothing then is dropped.
    pub(super) fn update<R>(
        &mut self,
        now: Duration,
        key: K,
        change: impl FnOnce(&mut V) -> R,
    ) -> R {
        if let Some(entry) = self.get_mut(&key) {
            let changed = change(entry);
            if entry.weight(now) == 0 {
                self.remove(&key);
            }
            return changed;
        }
        let mut entry = V::default();
        let changed = change(&mut entry);
        if entry.weight(now) > 0 {
            self.insert(now, key, entry);
        }
        changed
    }

    /// Drops an entry.
    pub(super) fn remove(&mut self, key: &K) {
        let Some(place) = self.places.remove(key) else { return };
        self.entries.swap_remove(place);
        if let Some((moved, _)) = self.entries.get(place) {
            self.places.insert(*moved, place);
        }
    }

    fn insert(&mut self, now: Duration, key: K, entry: V) {
        if self.entries.len() < self.capacity {
            self.places.insert(key, self.entries.len());
            self.entries.push((key, entry));
            return;
        }
        let place = self.least(now);
        if let Some(given_way) = self.entries.get_mut(place) {
            self.places.remove(&given_way.0);
            *given_way = (key, entry);
            self.places.insert(key, place);
        }
    }

    /// The place of the least of the next few entries.
    fn least(&mut self, now: Duration) -> usize {
        let count = self.entries.len().max(1);
        let next = (0..LOOKED_AT.min(count)).map(|step| (self.hand + step) % count);
        let weight = |place: &usize| self.entries.get(*place).map(|(_, it)| it.weight(now));
        let least = next.min_by_key(weight).unwrap_or_default();
        self.hand = (self.hand + LOOKED_AT) % count;
        least
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, Eq)]
    struct Worth(u64);

    impl Weigh for Worth {
        fn weight(&self, _: Duration) -> u64 {
            self.0
        }
    }

    const NOW: Duration = Duration::ZERO;

    fn put(table: &mut Table<u32, Worth>, key: u32, worth: u64) {
        table.update(NOW, key, |entry| entry.0 = worth);
    }

    #[test]
    fn an_entry_is_found_changed_and_dropped_when_it_weighs_nothing() {
        let mut table = Table::new(10);
        for key in 0..5 {
            put(&mut table, key, 7);
        }
        put(&mut table, 0, 0);
        put(&mut table, 9, 0);
        table.remove(&2);
        assert_eq!(table.len(), 3);
        for key in [1, 3, 4] {
            assert_eq!(table.get(&key), Some(&Worth(7)), "{key}");
        }
        for key in [0, 2, 9] {
            assert_eq!(table.get(&key), None, "{key}");
        }
    }

    #[test]
    fn light_entries_never_push_out_a_heavy_one() {
        let mut table = Table::new(100);
        put(&mut table, 1_000_000, 6);
        for key in 0..100_000 {
            put(&mut table, key, 1);
        }
        assert_eq!(table.len(), 100);
        assert_eq!(table.get(&1_000_000), Some(&Worth(6)));
        assert_eq!(table.places.len(), table.entries.len());
    }

    #[test]
    fn a_heavy_entry_gives_way_only_where_nearly_all_weigh_as_much() {
        let mut table = Table::new(1000);
        put(&mut table, 1_000_000, 6);
        let mut spent = 0_u64;
        for key in 0.. {
            put(&mut table, key, 7);
            spent += 7;
            if table.get(&1_000_000).is_none() {
                break;
            }
        }
        assert!(spent > 7 * 900, "{spent} failures were enough");
    }
}
