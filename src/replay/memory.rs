//! A state that is held in memory.

use std::collections::HashMap;

use crate::events::cell::Effect;
use crate::events::evolve::evolve;
use crate::events::ids::{Digest, UserId};
use crate::events::record::Fact;
use crate::events::registry::RegistryState;
use crate::events::state::UserState;
use crate::events::state_hash::StateHasher;

/// What a set of events folds to.
#[derive(Debug, Default)]
pub struct MemoryState {
    /// Boxed, so that a map that grows does not move what is in it.
    users: HashMap<UserId, Box<UserState>>,
    /// Companies, keys, lives, distrust.
    pub registry: RegistryState,
}

impl MemoryState {
    /// Folds one event into a user.
    pub(super) fn fold_user(&mut self, user: UserId, fact: &Fact) -> Effect {
        evolve(self.users.entry(user).or_default(), user, fact)
    }

    /// A user's state, to be changed.
    pub(super) fn user_mut(&mut self, user: UserId) -> &mut UserState {
        self.users.entry(user).or_default()
    }

    /// A user's state, if anything was ever said of it.
    pub fn user(&self, user: UserId) -> Option<&UserState> {
        self.users.get(&user).map(|state| &**state)
    }

    /// The users anything is known of, in no order.
    pub fn users(&self) -> impl Iterator<Item = (&UserId, &UserState)> {
        let users = self.users.iter().map(|(user, state)| (user, &**state));
        users.filter(|(_, state)| !state.is_empty())
    }

    /// The state hash: the running node's, if that holds the same events.
    pub fn state_hash(&self) -> Digest {
        let mut users: Vec<_> = self.users.iter().collect();
        users.sort_unstable_by_key(|(user, _)| **user);
        let mut hasher = StateHasher::default();
        for (user, state) in users {
            hasher.user(*user, state);
        }
        self.registry.feed(&mut hasher);
        hasher.finish()
    }
}
