//! States of a shard's users that were read lately, as they are on disk.
//!
//! A call reads its user, and often a command for the same user follows at once: without this, each
//! would decode the row anew. Only the shard writes its users, and it puts what it wrote here after
//! the store and before anybody is answered. So whoever finds a user here has what the shard itself
//! would say. Whoever finds none reads the store and leaves here what was there, unless the shard
//! has written meanwhile: no old state is put beside a new one. Nobody stands in the shard's line
//! to read.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    writes: Mutex<Writes>,
}

/// What the shard has put here. Users share a count: that a state is not kept, though its own user
/// was not written, does no harm.
struct Writes {
    counts: [u64; COUNTS],
    /// The shard cannot follow its log any more.
    forgotten: bool,
}

/// Counts of writes, each of some users.
const COUNTS: usize = 64;

/// A moment in what the shard writes of a user.
struct Moment(u64);

impl Known {
    /// Keeps at most `users_max`.
    pub fn new(users_max: usize) -> Self {
        let writes = Mutex::new(Writes { counts: [0; COUNTS], forgotten: false });
        Self { states: Cache::new(users_max), writes }
    }

    /// A user's state for anybody, from memory or from the store; the empty one where nothing is
    /// known of it. None where the shard has to be asked, since it cannot follow its log.
    pub(super) fn look(
        &self,
        store: &Store,
        user: UserId,
    ) -> Option<Result<Arc<UserState>, Unavailable>> {
        if let Some(state) = self.get(user) {
            return Some(Ok(state));
        }
        let moment = self.moment(user)?;
        let read = store.user(user).map_err(|error| unreadable(user, &error));
        Some(read.map(|state| match state {
            Some(state) => {
                let state = Arc::new(state);
                self.keep_unless_written(user, &state, &moment);
                state
            }
            None => Arc::default(),
        }))
    }

    /// The moment before a user is read from the store. None when nothing is told any more.
    fn moment(&self, user: UserId) -> Option<Moment> {
        let writes = self.writes();
        (!writes.forgotten).then(|| Moment(writes.count(user)))
    }

    /// The store held this state of a user at a moment.
    fn keep_unless_written(&self, user: UserId, state: &Arc<UserState>, moment: &Moment) {
        let writes = self.writes();
        if !writes.forgotten && writes.count(user) == moment.0 {
            self.states.insert(user, Arc::clone(state));
        }
    }

    fn writes(&self) -> MutexGuard<'_, Writes> {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// The store holds this state of a user now. For the shard alone.
    pub(super) fn keep(&self, user: UserId, state: &Arc<UserState>) {
        let mut writes = self.writes();
        if let Some(count) = writes.counts.get_mut(place(user)) {
            *count += 1;
        }
        self.states.insert(user, Arc::clone(state));
    }

    /// What the store holds is not known any more. The shard keeps nothing from then on, and
    /// whoever asks it hears so.
    pub(super) fn forget(&self) {
        let mut writes = self.writes();
        writes.forgotten = true;
        self.states.clear();
    }
}

impl Writes {
    fn count(&self, user: UserId) -> u64 {
        self.counts.get(place(user)).copied().unwrap_or_default()
    }
}

/// Which count is a user's.
fn place(user: UserId) -> usize {
    user.as_bytes().last().map_or(0, |byte| usize::from(*byte) % COUNTS)
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
    fn what_was_read_before_a_write_is_not_kept_beside_it() {
        let known = Known::new(8);
        let (old, new) = (Arc::new(UserState::default()), Arc::new(UserState::default()));
        let before = known.moment(user(1)).unwrap();
        known.keep(user(1), &new);
        known.keep_unless_written(user(1), &old, &before);
        assert!(Arc::ptr_eq(&known.get(user(1)).unwrap(), &new));
        let after = known.moment(user(2)).unwrap();
        known.keep_unless_written(user(2), &old, &after);
        assert!(Arc::ptr_eq(&known.get(user(2)).unwrap(), &old), "nothing was written meanwhile");
        known.forget();
        known.keep_unless_written(user(2), &old, &after);
        assert!(known.get(user(2)).is_none() && known.moment(user(2)).is_none());
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
