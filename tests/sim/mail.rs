//! What waits for the engines of a node.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jcas::actors::absorb::{Absorb, AbsorbRegistry, Absorbed, OfUser, Sorted};
use jcas::actors::journal::Outcome;
use jcas::actors::shard;

use crate::life::{SHARDS, shard_of};

/// What comes to an engine.
pub(crate) enum Mail {
    Logged(Outcome),
    Absorb(Absorb),
    Registry(AbsorbRegistry),
}

/// What waits for an engine.
#[derive(Clone, Default)]
pub(crate) struct Mailbox(Arc<Mutex<VecDeque<Mail>>>);

impl Mailbox {
    /// What waits.
    pub(crate) fn lock(&self) -> MutexGuard<'_, VecDeque<Mail>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the log tells the engine.
    pub(crate) fn notify(&self) -> shard::Notify {
        let mailbox = self.clone();
        Arc::new(move |outcome| mailbox.lock().push_back(Mail::Logged(outcome)))
    }
}

/// Puts facts to everyone they touch, as the house does.
pub(crate) fn absorb(mailboxes: &[Mailbox], sorted: Sorted, absorbed: &Arc<Absorbed>) {
    let mut of_shards: BTreeMap<usize, Vec<OfUser>> = BTreeMap::new();
    for of_user in sorted.users {
        of_shards.entry(shard_of(of_user.0)).or_default().push(of_user);
    }
    for (shard, users) in of_shards {
        let absorb = Absorb { users, absorbed: Arc::clone(absorbed) };
        mailboxes[shard].lock().push_back(Mail::Absorb(absorb));
    }
    if !sorted.registry.is_empty() {
        let (facts, absorbed) = (sorted.registry, Arc::clone(absorbed));
        let absorb = AbsorbRegistry { facts, absorbed };
        mailboxes[SHARDS].lock().push_back(Mail::Registry(absorb));
    }
}
