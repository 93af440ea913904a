//! Which other nodes have what this one recorded: for callers who wait for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;

use crate::events::ids::NodeName;

/// What each node has of this node's life: the number of the last event its callers see.
pub type Has = BTreeMap<NodeName, u64>;

/// Who has what. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Replicas {
    has: watch::Sender<Has>,
    waiting: Arc<AtomicUsize>,
}

/// Somebody waits to hear who has what is recorded from now on. Nodes say so at once as long as
/// this lives.
#[derive(Debug)]
pub struct Waiting(Replicas);

impl Replicas {
    /// The other nodes, none of which has anything so far.
    pub fn new(peers: impl IntoIterator<Item = NodeName>) -> Self {
        let has = peers.into_iter().map(|peer| (peer, 0)).collect();
        Self { has: watch::Sender::new(has), waiting: Arc::default() }
    }

    /// The other nodes.
    pub fn peers(&self) -> Vec<NodeName> {
        self.has.borrow().keys().copied().collect()
    }

    /// A node has this node's life up to an event.
    pub fn note(&self, node: NodeName, sequence: u64) {
        self.has.send_if_modified(|has| match has.get_mut(&node) {
            Some(known) if *known < sequence => {
                *known = sequence;
                true
            }
            _ => false,
        });
    }

    /// Whether somebody waits.
    pub fn is_asked(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }

    /// To be called before something is recorded that is waited for.
    pub fn wait(&self) -> Waiting {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        Waiting(self.clone())
    }
}

impl Waiting {
    /// Ends when all of `nodes` have the event of this number.
    pub async fn until(&self, nodes: &[NodeName], sequence: u64) {
        let mut has = self.0.has.subscribe();
        let all = |has: &Has| {
            nodes.iter().all(|node| has.get(node).is_none_or(|known| *known >= sequence))
        };
        // The sender lives in `self`.
        let _closed = has.wait_for(all).await;
    }

    /// Which of the other nodes have the event of this number, and which have not.
    pub fn who(&self, sequence: u64) -> (Vec<NodeName>, Vec<NodeName>) {
        let has = self.0.has.borrow();
        let nodes = |have| has.iter().filter(move |it| (*it.1 >= sequence) == have);
        (nodes(true).map(|it| *it.0).collect(), nodes(false).map(|it| *it.0).collect())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}
