//! A link within a process: nodes attach to a hub, and the hub carries what they say.
//!
//! It behaves as brokers do: what is published is accepted when the hub took it, whoever is there
//! to hear it. Ways can be cut and healed while nodes run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::events::ids::NodeName;

use super::link::{Confirm, Delivery, Link, LinkError, Receipt, Way, WayState};

/// Messages that wait for one node. What comes when it is full is lost, as at a bounded queue.
const WAITING_MAX: usize = 4096;

/// Where nodes of one process meet. Cheap to clone.
#[derive(Clone, Default)]
pub struct MemoryHub(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    nodes: BTreeMap<NodeName, mpsc::Sender<Delivery>>,
    /// Pairs that do not hear each other, the lesser name first.
    cuts: BTreeSet<(NodeName, NodeName)>,
}

impl MemoryHub {
    /// Attaches a node, in place of its earlier life if there was one.
    pub fn attach(&self, own: NodeName) -> (MemoryLink, mpsc::Receiver<Delivery>) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        self.lock().nodes.insert(own, sender);
        let counts = Arc::new(Mutex::new(Counts { since: Instant::now(), sent: 0, down: false }));
        (MemoryLink { hub: self.clone(), own, counts }, receiver)
    }

    /// From now on these two do not hear each other.
    pub fn cut(&self, one: NodeName, other: NodeName) {
        self.lock().cuts.insert(pair(one, other));
    }

    /// They do again.
    pub fn heal(&self, one: NodeName, other: NodeName) {
        self.lock().cuts.remove(&pair(one, other));
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pair(one: NodeName, other: NodeName) -> (NodeName, NodeName) {
    (one.min(other), one.max(other))
}

/// One node's end.
pub struct MemoryLink {
    hub: MemoryHub,
    own: NodeName,
    counts: Arc<Mutex<Counts>>,
}

struct Counts {
    since: Instant,
    sent: u64,
    down: bool,
}

impl MemoryLink {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts bytes to the nodes that `to` names and that hear this one.
    fn put(&self, bytes: &Bytes, to: impl Fn(&NodeName) -> bool) -> Result<(), LinkError> {
        if self.counts().down {
            return Err(LinkError::Down);
        }
        let inner = self.hub.lock();
        let hears = |other: &NodeName| !inner.cuts.contains(&pair(self.own, *other));
        let others = inner.nodes.iter().filter(|(node, _)| **node != self.own);
        for (_, queue) in others.filter(|(node, _)| to(node) && hears(node)) {
            let delivery = Delivery { bytes: bytes.clone(), receipt: Receipt::unclaimed() };
            // A full queue loses it, and so does a node that is gone.
            let _lost = queue.try_send(delivery);
        }
        drop(inner);
        self.counts().sent += 1;
        Ok(())
    }
}

impl Link for MemoryLink {
    fn publish(&self, bytes: Bytes) -> Confirm {
        let put = self.put(&bytes, |_| true);
        Box::pin(std::future::ready(put))
    }

    fn send(&self, to: NodeName, bytes: Bytes) -> Result<(), LinkError> {
        self.put(&bytes, |node| *node == to)
    }

    fn ways(&self) -> Vec<Way> {
        let waiting = self.hub.lock().nodes.get(&self.own).map(|queue| {
            u64::try_from(queue.max_capacity() - queue.capacity()).unwrap_or(u64::MAX)
        });
        let counts = self.counts();
        let state = if counts.down { WayState::Down } else { WayState::Connected };
        vec![Way {
            broker: self.own.region,
            state,
            lasting: counts.since.elapsed(),
            trouble: None,
            waiting,
            sent: counts.sent,
            received: 0,
            connections: 1,
        }]
    }

    fn shut(&self) {
        self.counts().down = true;
        self.hub.lock().nodes.remove(&self.own);
    }
}
