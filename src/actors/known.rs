//! States that a shard has read lately, as they are on disk.
//!
//! A call reads its user, and often a command for the same user follows at once: without this, each
//! would decode the row anew. Only the shard writes its users and only the shard puts them here,
//! after the store and before anybody is answered. So whoever finds a user here has what the shard
//! itself would say, and need not ask it: most reads never stand in its line.

use std::sync::Arc;

use quick_cache::sync::Cache;

use crate::events::ids::UserId;
use crate::events::state::UserState;
use crate::state::error::StateError;
use crate::state::store::Store;

use super::failure::Unavailable;
use super::shard::unreadable;

/// The states of a bounded number of users. One shard keeps them, everybody reads them.
pub struct Known {
    states: Cache<UserId, Arc<UserState>>,
}

impl Known {
    /// Keeps at most `users_max`.
    pub fn new(users_max: usize) -> Self {
        Self { states: Cache::new(users_max) }
    }

    /// A user's state, where it is kept.
    pub(super) fn get(&self, user: UserId) -> Option<Arc<UserState>> {
        self.states.get(&user)
    }

    /// A user's state, from memory or from the store; the empty one where nothing is known of it.
    pub(super) fn load(&self, store: &Store, user: UserId) -> Result<Arc<UserState>, Unavailable> {
        self.read(store, user).map_err(|error| unreadable(user, &error))
    }

    /// The same, for whoever cannot do without.
    pub(super) fn read(&self, store: &Store, user: UserId) -> Result<Arc<UserState>, StateError> {
        if let Some(state) = self.get(user) {
            return Ok(state);
        }
        match store.user(user)? {
            Some(state) => {
                let state = Arc::new(state);
                self.keep(user, &state);
                Ok(state)
            }
            // Not kept: whoever asks for ids that do not exist must not push out those that do.
            None => Ok(Arc::default()),
        }
    }

    /// The store holds this state of a user now.
    pub(super) fn keep(&self, user: UserId, state: &Arc<UserState>) {
        self.states.insert(user, Arc::clone(state));
    }

    /// What the store holds is not known any more. The shard keeps nothing from then on, and
    /// whoever asks it hears so.
    pub(super) fn forget(&self) {
        self.states.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{Disk, Files};
    use crate::state::sled_kv::{CACHE_BYTES_DEFAULT, SledKv};

    fn store(folder: &std::path::Path) -> Store {
        let files: Arc<dyn Files> = Arc::new(Disk);
        Store::new(Arc::new(SledKv::open(&files, folder, CACHE_BYTES_DEFAULT).unwrap()))
    }

    fn user(number: u8) -> UserId {
        UserId::new(1, [number; 10])
    }

    #[test]
    fn what_is_kept_is_given_out_until_it_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let (store, known) = (store(folder.path()), Known::new(8));
        let kept = Arc::new(UserState { credential_floor: None, ..UserState::default() });
        known.keep(user(1), &kept);
        assert!(Arc::ptr_eq(&known.load(&store, user(1)).unwrap(), &kept));
        assert!(Arc::ptr_eq(&known.get(user(1)).unwrap(), &kept));
        known.forget();
        assert!(known.get(user(1)).is_none());
        assert!(!Arc::ptr_eq(&known.load(&store, user(1)).unwrap(), &kept));
    }

    #[test]
    fn users_that_do_not_exist_are_not_kept_and_there_are_never_more_than_the_bound() {
        let folder = tempfile::tempdir().unwrap();
        let (store, known) = (store(folder.path()), Known::new(8));
        for number in 0..100 {
            assert!(known.load(&store, user(number)).unwrap().is_empty());
        }
        assert_eq!(known.states.len(), 0);
        for number in 0..100 {
            known.keep(user(number), &Arc::default());
        }
        assert!(known.states.len() <= 8, "{} are kept", known.states.len());
    }
}
