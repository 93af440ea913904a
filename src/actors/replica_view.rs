//! Replication as it is shown.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::events::stamp::Origin;
use crate::replication::link::Way;

use super::inbox::InboxCounts;
use super::parked::ParkedView;
use super::publisher::PublisherView;
use super::reconciler::{PeerView, ReconcilerCounts};
use super::replicating::ReplicaEngine;

/// How replication is, as far as calls depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplicaStatus {
    /// Whether this node's clock runs ahead of most peers'.
    pub clock_unsafe: bool,
    /// Whether nothing is known to be missing.
    pub caught_up: bool,
}

/// Replication as it is shown.
#[derive(Debug, Clone, Serialize)]
pub struct ReplicaView {
    /// The node's life.
    pub life: String,
    /// Whether this node's clock runs ahead of most peers'.
    pub clock_unsafe: bool,
    /// Whether nothing is known to be missing.
    pub caught_up: bool,
    /// The ways to other nodes.
    pub ways: Vec<Way>,
    /// The other nodes.
    pub peers: Vec<PeerView>,
    /// What goes out.
    pub publisher: PublisherView,
    /// What came in.
    pub inbox: InboxCounts,
    /// What was reconciled.
    pub reconciler: ReconcilerCounts,
    /// Lives that wait for time to catch up, with their latest time in Unix milliseconds.
    pub held: BTreeMap<String, u64>,
    /// Lives that told two stories.
    pub forked: Vec<String>,
    /// Messages that could not be taken.
    pub parked: ParkedView,
    /// Messages of kinds that a newer version knows.
    pub unknown_messages: u64,
}

impl ReplicaEngine {
    /// A snapshot.
    pub fn view(&self) -> ReplicaView {
        let ReplicaStatus { clock_unsafe, caught_up } = self.status();
        let parts = &self.parts;
        let held = parts.inbox.held().map(|(origin, held)| (origin.to_string(), held.latest_ms));
        ReplicaView {
            life: parts.own.to_string(),
            clock_unsafe,
            caught_up,
            ways: parts.link.ways(),
            peers: parts.reconciler.peers(self.now_ms(), &parts.log.vector()),
            publisher: parts.publisher.view(),
            inbox: parts.inbox.counts(),
            reconciler: parts.reconciler.counts(),
            held: held.collect(),
            forked: parts.inbox.forked().iter().map(Origin::to_string).collect(),
            parked: parts.parked.view(),
            unknown_messages: self.unknown_messages,
        }
    }
}
