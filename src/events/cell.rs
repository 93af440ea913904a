//! A register: a part of a state that is written as a whole and keeps the greatest stamp.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ids::Digest;
use super::record::Fact;
use super::stamp::Stamp;
use super::vec_map::VecMap;

/// What decides between two writes of one register: the stamp, and between equal stamps (two
/// upgrades of one credential made in two regions) the digest of the body.
///
/// The digest differs even for equal contents, since every body starts with a nonce. So two marks
/// are equal only if they are of one event, and the order is total.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mark {
    /// The stamp.
    pub stamp: Stamp,
    /// The digest of the event's body.
    pub digest: Digest,
}

impl Mark {
    /// The mark a fact writes with.
    pub const fn of(fact: &Fact) -> Self {
        Self { stamp: fact.stamp, digest: fact.digest }
    }
}

/// A value and the mark it was written with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell<T> {
    /// What decides against rivals.
    pub mark: Mark,
    /// What was written.
    pub value: T,
}

/// What became of an event in the fold. Every one of them is normal; only the first changes the
/// state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It prevails.
    Prevailed,
    /// A rival write with a greater stamp stands.
    Lost,
    /// It was there already.
    Known,
    /// It says nothing here: the user is erased, the body blanked or of a newer version.
    Ignored,
}

impl Effect {
    /// The stronger of two effects of one event on two registers.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Prevailed, _) | (_, Self::Prevailed) => Self::Prevailed,
            (Self::Lost, _) | (_, Self::Lost) => Self::Lost,
            (Self::Known, _) | (_, Self::Known) => Self::Known,
            (Self::Ignored, Self::Ignored) => Self::Ignored,
        }
    }
}

impl<T> Cell<T> {
    /// Writes `value` if its mark is greater than the one that stands.
    pub fn offer(cell: &mut Option<Self>, mark: Mark, value: T) -> Effect {
        match cell {
            Some(standing) if standing.mark == mark => Effect::Known,
            Some(standing) if standing.mark > mark => Effect::Lost,
            _ => {
                *cell = Some(Self { mark, value });
                Effect::Prevailed
            }
        }
    }

    /// The same for a register that is one of a map's.
    pub fn offer_in<K: Ord>(
        map: &mut impl Registers<K, Self>,
        key: K,
        mark: Mark,
        value: T,
    ) -> Effect {
        match map.standing(&key) {
            Some(standing) if standing.mark == mark => Effect::Known,
            Some(standing) if standing.mark > mark => Effect::Lost,
            _ => {
                map.put(key, Self { mark, value });
                Effect::Prevailed
            }
        }
    }
}

/// A map of registers.
pub trait Registers<K, V> {
    /// What stands in a register.
    fn standing(&self, key: &K) -> Option<&V>;

    /// Writes a register.
    fn put(&mut self, key: K, value: V);
}

impl<K: Ord, V> Registers<K, V> for BTreeMap<K, V> {
    fn standing(&self, key: &K) -> Option<&V> {
        self.get(key)
    }

    fn put(&mut self, key: K, value: V) {
        self.insert(key, value);
    }
}

impl<K: Ord, V> Registers<K, V> for VecMap<K, V> {
    fn standing(&self, key: &K) -> Option<&V> {
        self.get(key)
    }

    fn put(&mut self, key: K, value: V) {
        self.insert(key, value);
    }
}
