//! The way to other nodes.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Deserialize;

use crate::events::ids::{NodeName, RegionId};

use super::fault::Review;

/// Most brokers and most peers.
const NODES_MAX: usize = 64;

/// Section `replication`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplicationConfig {
    /// The other nodes of the deployment, `region/node`, at most 64.
    pub peers: Vec<NodeName>,
    /// Each region's broker, at most 64, each region once. None without peers.
    pub brokers: Vec<Broker>,
    /// Who this node is at the brokers: a file that only its owner may read. Empty: `guest`.
    pub credentials_file: PathBuf,
    /// Which certificates of brokers are trusted, PEM. Empty: those the system trusts.
    pub ca_file: PathBuf,
    /// The size of each queue at a broker, in MiB, 1 to 65536.
    pub queue_mib: u64,
    /// How long events wait in a queue, in hours, 1 to 720.
    pub queue_hours: u64,
    /// Messages that a broker sends ahead of their acknowledgement, 1 to 2000.
    pub prefetch: u64,
    /// Runs that are published ahead of their confirmation, 1 to 1000.
    pub window: usize,
    /// How often peers are told where this node stands, in milliseconds, 100 to 60000.
    pub vector_ms: u64,
    /// How long a peer may take to go on with what was asked of it, in milliseconds, 500 to 60000.
    pub fetch_ms: u64,
    /// After which silence a peer is taken for away, in seconds, 1 to 3600.
    pub away_s: u64,
    /// How far ahead of this node's clock others may be, in seconds, 1 to 3600.
    pub future_limit_s: u64,
    /// How long a write waits for its region's other nodes to have it, in milliseconds, 1 to
    /// 10000.
    pub wait_ms: u64,
    /// How often a state hash is computed for comparison, in minutes, at most 10080. 0: never.
    pub compare_minutes: u64,
    /// How long a write waits for all regions to have it, in milliseconds, 1 to 10000.
    pub wait_all_ms: u64,
}

/// A region's broker.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Broker {
    /// The region.
    pub region: RegionId,
    /// Where it is: `amqp://HOST:PORT/VHOST` or `amqps://`, without credentials.
    pub url: String,
}

impl ReplicationConfig {
    pub(super) fn validate(&self, review: &mut Review<'_>) {
        review.within("replication.queue_mib", self.queue_mib, &(1..=65_536), "MiB");
        review.within("replication.queue_hours", self.queue_hours, &(1..=720), "hours");
        review.within("replication.prefetch", self.prefetch, &(1..=2000), "messages");
        review.within("replication.window", self.window, &(1..=1000), "runs");
        review.within("replication.vector_ms", self.vector_ms, &(100..=60_000), "ms");
        review.within("replication.fetch_ms", self.fetch_ms, &(500..=60_000), "ms");
        review.within("replication.away_s", self.away_s, &(1..=3600), "s");
        review.within("replication.future_limit_s", self.future_limit_s, &(1..=3600), "s");
        review.within("replication.wait_ms", self.wait_ms, &(1..=10_000), "ms");
        let minutes = self.compare_minutes;
        review.within("replication.compare_minutes", minutes, &(0..=10_080), "minutes");
        review.within("replication.wait_all_ms", self.wait_all_ms, &(1..=10_000), "ms");
        for (path, count) in
            [("replication.peers", self.peers.len()), ("replication.brokers", self.brokers.len())]
        {
            if count > NODES_MAX {
                review.refuse(path, format!("found {count}"), format!("at most {NODES_MAX}"));
            }
        }
        let mut regions = BTreeSet::new();
        for (position, broker) in self.brokers.iter().enumerate() {
            let path = |key: &str| format!("replication.brokers.{position}.{key}");
            if !regions.insert(broker.region) {
                let problem = format!("{} has a broker already", broker.region);
                review.refuse(&path("region"), problem, "each region once");
            }
            let at = broker.url.strip_prefix("amqp://").or(broker.url.strip_prefix("amqps://"));
            if at.is_none_or(|rest| rest.is_empty() || rest.contains('@')) {
                let allowed = "amqp://HOST:PORT/VHOST or amqps://, without user and password";
                review.refuse(&path("url"), "it is not of that form", allowed);
            }
        }
        if !self.peers.is_empty() && self.brokers.is_empty() {
            review.refuse("replication.brokers", "there are peers and no broker", "at least one");
        }
    }
}
