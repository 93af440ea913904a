//! Writes that wait for other nodes, and who has them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::actors::replica::Replica;
use crate::actors::replicas::Waiting;
use crate::events::ids::{NodeName, RegionId};

use super::Accounts;

/// For whom a write waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WaitFor {
    /// The other nodes of the region.
    #[default]
    Region,
    /// Every node of every region.
    All,
    /// Nobody.
    Nobody,
}

/// How writes are followed to other nodes.
pub struct Following {
    /// Replication; none where the node has no peers.
    pub replica: Option<Replica>,
    /// The node's region.
    pub region: RegionId,
    /// The number of the last event that this life recorded.
    pub recorded: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// How long a write waits for its region's other nodes.
    pub wait_region: Duration,
    /// How long a write waits for all regions.
    pub wait_all: Duration,
}

/// A write that other nodes are to have: to be made before anything is recorded, so that they say
/// at once that they have it.
pub struct Followed<'a> {
    following: &'a Following,
    waiting: Option<(Waiting, Vec<NodeName>, Duration)>,
}

/// Which regions have a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spread {
    /// Those of which every node has it.
    pub have: Vec<RegionId>,
    /// The others.
    pub pending: Vec<RegionId>,
}

impl Accounts {
    /// Begins a write that waits for others.
    pub fn write_for(&self, wait_for: WaitFor) -> Followed<'_> {
        let following = &self.parts.following;
        let Some(replica) = &following.replica else {
            return Followed { following, waiting: None };
        };
        let replicas = replica.replicas();
        let of_region = |node: &NodeName| node.region == following.region;
        let (nodes, limit) = match wait_for {
            WaitFor::Nobody => (Vec::new(), Duration::ZERO),
            WaitFor::Region => {
                (replicas.present().filter(of_region).collect(), following.wait_region)
            }
            WaitFor::All => (replicas.present().collect(), following.wait_all),
        };
        let waiting = replicas.wait(!nodes.is_empty());
        Followed { following, waiting: Some((waiting, nodes, limit)) }
    }
}

impl Followed<'_> {
    /// Waits until the others have everything that was recorded so far, or the time is over, and
    /// says who has it.
    pub async fn spread(self) -> Spread {
        let own = self.following.region;
        let Some((waiting, nodes, limit)) = self.waiting else {
            return Spread { have: vec![own], pending: Vec::new() };
        };
        let recorded = (self.following.recorded)();
        if !nodes.is_empty() {
            // Time that is over is an answer too.
            let _over = tokio::time::timeout(limit, waiting.until(&nodes, recorded)).await;
        }
        let (have, lack) = waiting.who(recorded);
        let pending: BTreeSet<_> = lack.iter().map(|node| node.region).collect();
        let have: BTreeSet<_> = have.iter().map(|node| node.region).chain([own]).collect();
        Spread {
            have: have.difference(&pending).copied().collect(),
            pending: pending.into_iter().collect(),
        }
    }
}
