//! A fold of everything, as a node or a replay keeps it.

use std::collections::BTreeMap;

use jcas::events::cell::Effect;
use jcas::events::codec;
use jcas::events::evolve::evolve;
use jcas::events::ids::{Digest, UserId};
use jcas::events::record::{Fact, Subject};
use jcas::events::registry::RegistryState;
use jcas::events::state::UserState;
use jcas::events::state_hash::StateHasher;

/// All states.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct World {
    pub(crate) users: BTreeMap<UserId, UserState>,
    pub(crate) registry: RegistryState,
}

impl World {
    /// What these facts fold to, in this order.
    pub(crate) fn of<'f>(facts: impl IntoIterator<Item = &'f Fact>) -> Self {
        let mut world = Self::default();
        for fact in facts {
            world.fold(fact);
        }
        world
    }

    /// Folds one fact into everything it touches.
    pub(crate) fn fold(&mut self, fact: &Fact) -> Effect {
        let of_users = touched(fact).into_iter().map(|user| {
            let state = self.users.entry(user).or_default();
            evolve(state, user, fact)
        });
        let effect = of_users.fold(Effect::Ignored, Effect::and);
        self.registry.evolve(fact).and(effect)
    }

    /// The users' states as sled keeps them.
    pub(crate) fn bytes(&self) -> BTreeMap<UserId, Vec<u8>> {
        let known = self.users.iter().filter(|(_, state)| !state.is_empty());
        known.map(|(user, state)| (*user, codec::encode_user(state).unwrap())).collect()
    }

    /// The state hash.
    pub(crate) fn hash(&self) -> Digest {
        let mut hasher = StateHasher::default();
        self.users.iter().for_each(|(user, state)| hasher.user(*user, state));
        self.registry.feed(&mut hasher);
        hasher.finish()
    }
}

/// Every user a fact touches.
pub(crate) fn touched(fact: &Fact) -> Vec<UserId> {
    let mut users = match fact.subject {
        Subject::User(user) => vec![user],
        Subject::Pair(pair) => vec![pair.users().0, pair.users().1],
        Subject::Company(_) | Subject::Deployment | Subject::Other(_) => Vec::new(),
    };
    users.extend(fact.event.iter().flat_map(jcas::events::event::Event::touched_users));
    users.sort_unstable();
    users.dedup();
    users
}
