//! What was asked with an idempotency key, and where the log holds what came of it.
//!
//! An entry is written with the command's place in the history, by a running node and by replay
//! alike. It names no company, key or person: a keyed digest, a user's id, positions. Entries that
//! are too old to be asked for are taken away at checkpoints.

use crate::events::event::REPEATS_KEPT_MS;
use crate::events::ids::{KeyedDigest, UserId};
use crate::events::record::LogPosition;
use crate::events::stamp::Revision;

use super::error::StateError;
use super::kv::Tree;
use super::layout;
use super::store::Store;

/// What a command with an idempotency key recorded of one user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeat {
    /// The digest of the key.
    pub key: KeyedDigest,
    /// The revision of the command's events.
    pub revision: Revision,
    /// The user.
    pub user: UserId,
    /// Where its first event lies in the log.
    pub first: LogPosition,
    /// Where its last one lies.
    pub last: LogPosition,
}

impl Store {
    /// Notes what a command recorded.
    pub(super) fn keep_repeat(&self, repeat: &Repeat) -> Result<(), StateError> {
        let Repeat { key, revision, user, first, last } = *repeat;
        let at = layout::repeat_key(key, revision, user, first);
        self.kv().insert(Tree::Repeats, &at, &layout::position_bytes(last))
    }

    /// What was recorded under a key, the oldest first.
    pub fn repeats(&self, key: KeyedDigest) -> Result<Vec<Repeat>, StateError> {
        let pairs = self.kv().scan(Tree::Repeats, &key.0);
        let read = pairs.map(|pair| {
            let (at, last) = pair?;
            let (revision, user, first) = layout::repeat(&at)?;
            let last = layout::position(Tree::Repeats, &last)?;
            Ok(Repeat { key, revision, user, first, last })
        });
        read.collect()
    }

    /// Takes away what is too old to be asked for at a revision. Time is the revisions' own, so
    /// that it does not matter when this is done.
    pub fn forget_repeats(&self, now: Revision) -> Result<u64, StateError> {
        let oldest = now.unix_ms().saturating_sub(REPEATS_KEPT_MS);
        let mut forgotten = 0;
        for pair in self.kv().scan(Tree::Repeats, &[]) {
            let (at, _) = pair?;
            if layout::repeat(&at)?.0.unix_ms() < oldest {
                self.kv().remove(Tree::Repeats, &at)?;
                forgotten += 1;
            }
        }
        Ok(forgotten)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::events::record::Fact;
    use crate::state::fixtures::{fact, key_created, registered, user};
    use crate::state::lossy_kv::LossyKv;

    const KEY: KeyedDigest = KeyedDigest([5; 16]);

    fn store() -> Store {
        Store::new(Arc::new(LossyKv::default()))
    }

    /// The two events of a command with a key, at this time.
    fn command(number: u64, key: KeyedDigest) -> [(Fact, LogPosition); 2] {
        let (first, at) = fact(user(1), number, key_created(1));
        let first = Fact { idempotency: Some(key), ..first };
        let (last, then) = fact(user(1), number, registered());
        let last = Fact { idempotency: Some(key), ..last };
        [(first, at), (last, LogPosition::from_bits(then.to_bits() + 1))]
    }

    fn fold(store: &Store, command: &[(Fact, LogPosition)]) {
        store.fold(user(1), command.iter().map(|(fact, at)| (fact, *at))).unwrap();
    }

    fn repeat(number: u64) -> Repeat {
        let (first, last) = (LogPosition::from_bits(number), LogPosition::from_bits(number + 1));
        let revision = Revision::from_unix_ms(number);
        Repeat { key: KEY, revision, user: user(1), first, last }
    }

    #[test]
    fn a_command_with_a_key_is_found_by_it_however_often_it_is_folded() {
        let store = store();
        for _ in 0..2 {
            fold(&store, &command(7, KEY));
        }
        fold(&store, &command(70, KeyedDigest([6; 16])));
        assert_eq!(store.repeats(KEY).unwrap(), [repeat(7)]);
        assert_eq!(store.repeats(KeyedDigest([4; 16])).unwrap(), []);
    }

    #[test]
    fn the_oldest_comes_first_in_whatever_order_they_are_folded() {
        let store = store();
        fold(&store, &command(900, KEY));
        fold(&store, &command(30, KEY));
        assert_eq!(store.repeats(KEY).unwrap(), [repeat(30), repeat(900)]);
    }

    #[test]
    fn what_is_older_than_a_day_is_forgotten_and_nothing_else() {
        let store = store();
        for number in [10, 11, REPEATS_KEPT_MS] {
            fold(&store, &command(number, KEY));
        }
        assert_eq!(store.forget_repeats(Revision::from_unix_ms(5)).unwrap(), 0);
        let now = Revision::from_unix_ms(REPEATS_KEPT_MS + 11);
        assert_eq!(store.forget_repeats(now).unwrap(), 1);
        assert_eq!(store.repeats(KEY).unwrap(), [repeat(11), repeat(REPEATS_KEPT_MS)]);
    }
}
