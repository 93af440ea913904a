//! What became durable elsewhere comes to the actors: facts of other origins, in log order.
//!
//! The inbox puts a run's facts to everyone they touch, on the writer's thread, before the log says
//! that it has delivered them. So a barrier sent after that stands behind them, and a checkpoint
//! never claims more than the state holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix::Message;

use crate::events::event::Event;
use crate::events::ids::UserId;
use crate::events::record::{Fact, LogPosition, Subject};

/// Told once, when everybody has what they were sent: when the last clone is gone.
pub struct Absorbed(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Absorbed {
    /// Calls `told` when the last clone is gone.
    pub fn new(told: impl FnOnce() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self(Some(Box::new(told))))
    }
}

impl Drop for Absorbed {
    fn drop(&mut self) {
        if let Some(told) = self.0.take() {
            told();
        }
    }
}

/// Facts for one user, oldest first, with their places in the log.
pub type OfUser = (UserId, Vec<(Fact, LogPosition)>);

/// Facts for the users of one shard.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Absorb {
    /// The users.
    pub users: Vec<OfUser>,
    /// Let go when they are in the store.
    pub absorbed: Arc<Absorbed>,
}

/// Facts about companies and the deployment.
#[derive(Message)]
#[rtype(result = "()")]
pub struct AbsorbRegistry {
    /// The facts, oldest first.
    pub facts: Vec<(Fact, LogPosition)>,
    /// Let go when they are in the store.
    pub absorbed: Arc<Absorbed>,
}

/// Facts sorted by whom they are for.
#[derive(Debug, Default)]
pub struct Sorted {
    /// By user.
    pub users: BTreeMap<UserId, Vec<(Fact, LogPosition)>>,
    /// For the registry.
    pub registry: Vec<(Fact, LogPosition)>,
}

impl Sorted {
    /// Sorts facts that were appended together.
    pub fn of(facts: impl IntoIterator<Item = (Fact, LogPosition)>) -> Self {
        let mut sorted = Self::default();
        for (fact, position) in facts {
            let users = match fact.subject {
                Subject::User(user) => vec![user],
                Subject::Pair(_) => {
                    fact.event.as_ref().map(Event::touched_users).unwrap_or_default()
                }
                Subject::Company(_) | Subject::Deployment => {
                    sorted.registry.push((fact, position));
                    continue;
                }
                // A newer version's: kept in the log, not folded.
                Subject::Other(_) => continue,
            };
            for user in users {
                sorted.users.entry(user).or_default().push((fact.clone(), position));
            }
        }
        sorted
    }
}
