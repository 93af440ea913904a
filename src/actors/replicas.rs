//! Which other nodes have what this one recorded: for callers who wait for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;

use crate::events::ids::NodeName;

/// Another node, as far as waiting for it goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Peer {
    /// The number of the last event of this node's life that its callers see.
    has: u64,
    /// Whether it was heard lately.
    present: bool,
}

/// Who has what. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Replicas {
    peers: watch::Sender<BTreeMap<NodeName, Peer>>,
    asking: Arc<AtomicUsize>,
}

/// Somebody may wait to hear who has what is recorded from now on.
#[derive(Debug)]
pub struct Waiting {
    replicas: Replicas,
    asks: bool,
}

impl Replicas {
    /// The other nodes, none of which has anything so far.
    pub fn new(peers: impl IntoIterator<Item = NodeName>) -> Self {
        let peers = peers.into_iter().map(|peer| (peer, Peer::default())).collect();
        Self { peers: watch::Sender::new(peers), asking: Arc::default() }
    }

    /// The other nodes that were heard lately.
    pub fn present(&self) -> impl Iterator<Item = NodeName> {
        let present = self.peers.borrow();
        let present = present.iter().filter(|(_, peer)| peer.present).map(|(node, _)| *node);
        present.collect::<Vec<_>>().into_iter()
    }

    /// A node shows its callers this node's life up to an event.
    pub fn note(&self, node: NodeName, sequence: u64) {
        self.change(node, |peer| peer.has = peer.has.max(sequence));
    }

    /// A node was heard lately, or was not.
    pub fn note_present(&self, node: NodeName, present: bool) {
        self.change(node, |peer| peer.present = present);
    }

    fn change(&self, node: NodeName, change: impl FnOnce(&mut Peer)) {
        self.peers.send_if_modified(|peers| {
            let Some(peer) = peers.get_mut(&node) else { return false };
            let before = *peer;
            change(peer);
            *peer != before
        });
    }

    /// Whether somebody waits.
    pub fn is_asked(&self) -> bool {
        self.asking.load(Ordering::Acquire) > 0
    }

    /// To be called before something is recorded that is waited for. Where it `asks`, nodes say at
    /// once what they have as long as it lives.
    pub fn wait(&self, asks: bool) -> Waiting {
        self.asking.fetch_add(usize::from(asks), Ordering::AcqRel);
        Waiting { replicas: self.clone(), asks }
    }
}

impl Waiting {
    /// Ends when all of `nodes` have the event of this number.
    pub async fn until(&self, nodes: &[NodeName], sequence: u64) {
        let mut peers = self.replicas.peers.subscribe();
        let all = |peers: &BTreeMap<NodeName, Peer>| {
            nodes.iter().all(|node| peers.get(node).is_none_or(|peer| peer.has >= sequence))
        };
        // It ends only with the sender, which lives in `self`.
        let _ended = peers.wait_for(all).await;
    }

    /// Which of the other nodes have the event of this number, and which have not.
    pub fn who(&self, sequence: u64) -> (Vec<NodeName>, Vec<NodeName>) {
        let peers = self.replicas.peers.borrow();
        let nodes = |have| peers.iter().filter(move |(_, peer)| (peer.has >= sequence) == have);
        (nodes(true).map(|it| *it.0).collect(), nodes(false).map(|it| *it.0).collect())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.replicas.asking.fetch_sub(usize::from(self.asks), Ordering::AcqRel);
    }
}
