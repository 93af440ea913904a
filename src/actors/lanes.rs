//! The lanes of one actor, and what a failed append means for all of them.

use std::collections::HashMap;
use std::hash::Hash;

use super::lane::{Confirmed, Lane, Ticket};

/// A subject, its lane, and what was confirmed of it.
type InLane<'a, K, S, A, E> = (K, &'a mut Lane<S, A, E>, Confirmed<A, E>);

/// One lane a subject that has something on its way; the others are not here.
#[derive(Debug)]
pub struct Lanes<K, S, A, E> {
    busy: HashMap<K, Lane<S, A, E>>,
    waiting: HashMap<Ticket, K>,
    next_ticket: Ticket,
    epoch: u64,
}

impl<K, S, A, E> Default for Lanes<K, S, A, E> {
    fn default() -> Self {
        Self { busy: HashMap::new(), waiting: HashMap::new(), next_ticket: 0, epoch: 0 }
    }
}

impl<K: Copy + Eq + Hash, S: Clone, A, E> Lanes<K, S, A, E> {
    /// The log's epoch that this actor has caught up with.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How many subjects have something on its way.
    pub fn len(&self) -> usize {
        self.busy.len()
    }

    /// Whether nothing is on its way.
    pub fn is_empty(&self) -> bool {
        self.busy.is_empty()
    }

    /// The lane of a subject that has something on its way.
    pub fn get(&self, key: K) -> Option<&Lane<S, A, E>> {
        self.busy.get(&key)
    }

    /// The same, to fold into.
    pub fn get_mut(&mut self, key: K) -> Option<&mut Lane<S, A, E>> {
        self.busy.get_mut(&key)
    }

    /// The lane of a subject, made from its state on disk if it has none.
    pub fn enter<F>(
        &mut self,
        key: K,
        load: impl FnOnce() -> Result<S, F>,
    ) -> Result<&mut Lane<S, A, E>, F> {
        use std::collections::hash_map::Entry;
        match self.busy.entry(key) {
            Entry::Occupied(lane) => Ok(lane.into_mut()),
            Entry::Vacant(place) => Ok(place.insert(Lane::new(load()?))),
        }
    }

    /// A ticket for an append that is about to be made for a subject.
    pub fn ticket(&mut self, key: K) -> Ticket {
        self.next_ticket += 1;
        self.waiting.insert(self.next_ticket, key);
        self.next_ticket
    }

    /// Catches up with the log's epoch, if nothing but the append of `ticket` is on its way: then
    /// nothing here was decided on what failed. Otherwise the log's word on what failed is still
    /// to come, and until then nothing may be appended.
    pub fn catch_up(&mut self, ticket: Ticket, epoch: u64) -> bool {
        let idle = self.waiting.keys().all(|waiting| *waiting == ticket);
        if idle {
            self.epoch = self.epoch.max(epoch);
        }
        idle
    }

    /// Takes a ticket back whose append was refused at once.
    pub fn withdraw(&mut self, ticket: Ticket) {
        self.waiting.remove(&ticket);
    }

    /// Takes the events of a ticket out of line, with their subject and its lane. None: they
    /// failed meanwhile.
    pub fn confirm(&mut self, ticket: Ticket) -> Option<InLane<'_, K, S, A, E>> {
        let key = self.waiting.remove(&ticket)?;
        let lane = self.busy.get_mut(&key)?;
        let confirmed = lane.confirm(ticket)?;
        Some((key, lane, confirmed))
    }

    /// Sends what rested on the last confirmation and forgets the lane if nobody is in it.
    pub fn settle(&mut self, key: K) {
        if let Some(lane) = self.busy.get_mut(&key) {
            lane.send_ready();
            if lane.is_empty() {
                self.busy.remove(&key);
            }
        }
    }

    /// An append failed. The log fails everything it had waiting with it and starts a new epoch,
    /// so nothing that is still in a lane will be durable: all of it fails, and what was decided
    /// on it is forgotten. Says whether this failure is news.
    pub fn fail(&mut self, ticket: Ticket, epoch: u64, error: impl Fn() -> E) -> bool {
        if self.waiting.remove(&ticket).is_none() {
            return false;
        }
        self.epoch = self.epoch.max(epoch);
        self.give_up(error);
        true
    }

    /// Fails everybody in line and forgets what was waited for.
    pub fn give_up(&mut self, error: impl Fn() -> E) {
        self.waiting.clear();
        for (_, lane) in self.busy.drain() {
            lane.fail(&error);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn an_actor_catches_up_with_a_failure_of_others_once_nothing_of_its_own_is_on_its_way() {
        let mut lanes: Lanes<u8, u32, (), &str> = Lanes::default();
        let waiting = lanes.ticket(1);
        let reply = oneshot::channel().0;
        let lane = lanes.enter(1, || Ok::<_, ()>(0)).unwrap();
        lane.append(waiting, Vec::new(), (), reply, |_, _| ());
        let next = lanes.ticket(2);
        assert!(!lanes.catch_up(next, 1), "what it rests on may have failed");
        assert_eq!(lanes.epoch(), 0);
        assert!(lanes.fail(waiting, 1, || "full"));
        let next = lanes.ticket(2);
        assert!(lanes.catch_up(next, 3), "others failed twice more meanwhile");
        assert_eq!(lanes.epoch(), 3);
    }
}
