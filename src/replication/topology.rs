//! What stands at a broker: exchanges, queues and bindings, by name and with their arguments. Pure.
//!
//! ```text
//!  eu/a --"eu.a"--> (jcas.events.eu) ----eu.a----> [jcas.events.to.us.b] --> us/b
//!  us/b --"us.b"--> (jcas.events.us) ----us.b----> [jcas.events.to.eu.a] --> eu/a
//!
//!  eu/a --"us.b"--> (jcas.peers) --------us.b----> [jcas.peer.us.b] -------> us/b
//! ```
//!
//! It is the same at every region's broker, so that any of them can stand in for any other. Both
//! ends of a way declare it: a queue holds what was published before its node was there for the
//! first time. A node declares what concerns itself, its own queues and those it publishes to.

use crate::events::ids::{NodeName, RegionId};

/// What one node needs of every broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// Exchanges, in the order to declare them.
    pub exchanges: Vec<Exchange>,
    /// Queues.
    pub queues: Vec<Queue>,
    /// Bindings, to be made after all of the above.
    pub bindings: Vec<Binding>,
}

/// An exchange; durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// Its name.
    pub name: String,
    /// How it routes.
    pub kind: ExchangeKind,
}

/// How an exchange routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExchangeKind {
    /// By patterns, so that an operator may listen to more than one sender.
    Topic,
    /// To the queue of that name.
    Direct,
}

/// A queue; durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// Its arguments. Who declares the queue with others is refused by the broker.
    pub arguments: Vec<(&'static str, Argument)>,
}

/// The value of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Argument {
    /// A text.
    Text(&'static str),
    /// A number.
    Number(i64),
}

/// What of an exchange goes to a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The exchange.
    pub exchange: String,
    /// The queue.
    pub queue: String,
    /// The routing key.
    pub key: String,
}

/// How often a message is delivered again to a node that never acknowledges it. Then it is dropped,
/// and fetched later; a message that cannot be taken is parked long before.
const DELIVERIES_MAX: i64 = 100;

/// How long a message to one node is of use, in milliseconds: who asked has asked again by then.
const PEER_TTL_MS: i64 = 60_000;

/// The most that waits for one node in its own queue, in bytes: answers to what it asked.
const PEER_BYTES_MAX: i64 = 64 << 20;

/// Where messages to single nodes go.
pub const PEERS_EXCHANGE: &str = "jcas.peers";

/// Where a region's nodes publish their events.
pub fn events_exchange(region: RegionId) -> String {
    format!("jcas.events.{region}")
}

/// The queue of events for one node.
pub fn events_queue(to: NodeName) -> String {
    format!("jcas.events.to.{}", key(to))
}

/// The queue of messages to one node alone.
pub fn peer_queue(to: NodeName) -> String {
    format!("jcas.peer.{}", key(to))
}

/// The routing key of what a node publishes, and of what is for it alone.
pub fn key(node: NodeName) -> String {
    format!("{}.{}", node.region, node.node)
}

impl Topology {
    /// What `own` needs to exchange events and messages with `peers`. A queue of events holds up to
    /// `queue_bytes`.
    pub fn new(own: NodeName, peers: &[NodeName], queue_bytes: u64) -> Self {
        let mut nodes: Vec<NodeName> = peers.iter().copied().chain([own]).collect();
        nodes.sort_unstable();
        nodes.dedup();
        let mut regions: Vec<RegionId> = nodes.iter().map(|node| node.region).collect();
        regions.dedup();
        let topics = regions
            .into_iter()
            .map(|region| Exchange { name: events_exchange(region), kind: ExchangeKind::Topic });
        let direct = Exchange { name: PEERS_EXCHANGE.to_owned(), kind: ExchangeKind::Direct };
        let queues = nodes
            .iter()
            .flat_map(|node| [events_queue_of(*node, queue_bytes), peer_queue_of(*node)])
            .collect();
        let alone = nodes.iter().map(|node| Binding {
            exchange: PEERS_EXCHANGE.to_owned(),
            queue: peer_queue(*node),
            key: key(*node),
        });
        let between = nodes.iter().filter(|node| **node != own).flat_map(|peer| {
            [(own, *peer), (*peer, own)].map(|(from, to)| Binding {
                exchange: events_exchange(from.region),
                queue: events_queue(to),
                key: key(from),
            })
        });
        Self {
            exchanges: topics.chain([direct]).collect(),
            queues,
            bindings: alone.chain(between).collect(),
        }
    }
}

/// Replicated where the broker is a cluster, and every message on disk before it is confirmed.
/// When it is full the oldest goes: refusing the newest would refuse it to all subscribers.
fn events_queue_of(node: NodeName, bytes: u64) -> Queue {
    let arguments = vec![
        ("x-queue-type", Argument::Text("quorum")),
        ("x-max-length-bytes", Argument::Number(i64::try_from(bytes).unwrap_or(i64::MAX))),
        ("x-overflow", Argument::Text("drop-head")),
        ("x-delivery-limit", Argument::Number(DELIVERIES_MAX)),
    ];
    Queue { name: events_queue(node), arguments }
}

/// Vectors, requests and answers: soon stale, sent again when lost.
fn peer_queue_of(node: NodeName) -> Queue {
    let arguments = vec![
        ("x-queue-type", Argument::Text("classic")),
        ("x-max-length-bytes", Argument::Number(PEER_BYTES_MAX)),
        ("x-overflow", Argument::Text("drop-head")),
        ("x-message-ttl", Argument::Number(PEER_TTL_MS)),
    ];
    Queue { name: peer_queue(node), arguments }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn node(text: &str) -> NodeName {
        text.parse().unwrap()
    }

    /// Which queues a message reaches, as a broker that all these nodes declared at routes it.
    fn reached(declared: &[Topology], exchange: &str, key: &str) -> BTreeSet<String> {
        let bindings = declared.iter().flat_map(|topology| &topology.bindings);
        bindings
            .filter(|binding| binding.exchange == exchange && binding.key == key)
            .map(|binding| binding.queue.clone())
            .collect()
    }

    fn deployment() -> (Vec<NodeName>, Vec<Topology>) {
        let nodes = ["eu/a", "eu/b", "us/a", "ap/node-1"].map(node).to_vec();
        let topology = |own: &NodeName| {
            let others: Vec<_> = nodes.iter().copied().filter(|other| other != own).collect();
            Topology::new(*own, &others, 1 << 20)
        };
        let all = nodes.iter().map(topology).collect();
        (nodes, all)
    }

    #[test]
    fn what_a_node_publishes_reaches_every_other_and_not_itself() {
        let (nodes, declared) = deployment();
        for from in &nodes {
            let others = nodes.iter().filter(|node| *node != from);
            let expected: BTreeSet<_> = others.map(|node| events_queue(*node)).collect();
            let reached = reached(&declared, &events_exchange(from.region), &key(*from));
            assert_eq!(reached, expected, "from {from}");
        }
    }

    #[test]
    fn the_sender_alone_declares_all_that_its_messages_need() {
        let (nodes, declared) = deployment();
        for (own, alone) in nodes.iter().zip(&declared) {
            let alone = std::slice::from_ref(alone);
            let events = reached(alone, &events_exchange(own.region), &key(*own));
            assert_eq!(events.len(), nodes.len() - 1);
            for to in &nodes {
                let queue = BTreeSet::from([peer_queue(*to)]);
                assert_eq!(reached(alone, PEERS_EXCHANGE, &key(*to)), queue);
            }
        }
    }

    #[test]
    fn the_subscriber_alone_declares_all_that_it_hears() {
        let (nodes, declared) = deployment();
        for (own, alone) in nodes.iter().zip(&declared) {
            for from in nodes.iter().filter(|node| *node != own) {
                let alone = std::slice::from_ref(alone);
                let reached = reached(alone, &events_exchange(from.region), &key(*from));
                assert!(reached.contains(&events_queue(*own)), "{own} does not hear {from}");
            }
        }
    }

    #[test]
    fn what_is_bound_is_declared_and_alike_by_all() {
        let (_, declared) = deployment();
        for topology in &declared {
            for Binding { exchange, queue, .. } in &topology.bindings {
                assert!(topology.exchanges.iter().any(|it| it.name == *exchange), "{exchange}");
                assert!(topology.queues.iter().any(|it| it.name == *queue), "{queue}");
            }
            assert_eq!(topology.exchanges, declared[0].exchanges);
            assert_eq!(topology.queues, declared[0].queues);
        }
    }

    #[test]
    fn every_queue_is_bounded_and_drops_its_oldest() {
        let (_, declared) = deployment();
        for queue in &declared[0].queues {
            let of = |name| queue.arguments.iter().find(|(key, _)| *key == name).map(|it| it.1);
            assert!(matches!(of("x-max-length-bytes"), Some(Argument::Number(1..))), "{queue:?}");
            assert_eq!(of("x-overflow"), Some(Argument::Text("drop-head")));
        }
    }
}
