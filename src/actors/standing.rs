//! Where two nodes stand to each other: vectors, told briefly and compared.
//!
//! A vector tells one entry a node: its newest life, and a digest over the ends of all earlier
//! ones. So it stays short however often nodes are started, and equal vectors mean equal logs.

use std::collections::BTreeMap;

use crate::events::codec;
use crate::events::ids::{Digest, NodeName};
use crate::events::message::{Fetch, NodeEnd};
use crate::events::stamp::{Incarnation, Origin};
use crate::log::{ChainEnd, Vector};

/// A vector as it is told.
pub fn told(vector: &Vector) -> Vec<NodeEnd> {
    let mut ends: BTreeMap<NodeName, NodeEnd> = BTreeMap::new();
    // Lives come in order, so the last one of a node is its newest.
    for (origin, end) in vector {
        let ChainEnd { sequence, head } = *end;
        let told = NodeEnd { newest: *origin, sequence, head, earlier: Digest::ZERO };
        ends.insert(origin.name(), told);
    }
    let earlier = |told: &mut NodeEnd| told.earlier = earlier(vector, &told.newest);
    ends.values_mut().for_each(earlier);
    ends.into_values().collect()
}

/// Digest over the ends of all lives of a node before one; zeros where there are none.
fn earlier(vector: &Vector, life: &Origin) -> Digest {
    let mut bytes = Vec::new();
    for (origin, end) in lives(vector, life.name()).filter(|(origin, _)| *origin < life) {
        bytes.extend_from_slice(&origin.incarnation.counter.to_be_bytes());
        bytes.extend_from_slice(&origin.incarnation.tag.to_be_bytes());
        bytes.extend_from_slice(&end.sequence.to_be_bytes());
        bytes.extend_from_slice(&end.head.0);
    }
    if bytes.is_empty() { Digest::ZERO } else { codec::digest(&bytes) }
}

/// The lives of a node, oldest first.
pub fn lives(vector: &Vector, node: NodeName) -> impl Iterator<Item = (&Origin, &ChainEnd)> {
    let life = move |counter, tag| {
        let incarnation = Incarnation { counter, tag };
        Origin { region: node.region, node: node.node, incarnation }
    };
    vector.range(life(0, 0)..=life(u32::MAX, u32::MAX))
}

/// What the own vector is to another's entry about one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The same.
    Equal,
    /// Nothing is missing here that the other has.
    Ahead,
    /// The other has events that are missing here.
    Behind,
    /// The newest life is not behind; earlier ones differ, and who has more is not known.
    Differs,
    /// One life, one number, two events.
    Forked(Origin),
}

/// Compares the own vector with another's entry.
pub fn standing(own: &Vector, theirs: &NodeEnd) -> Standing {
    let here = own.get(&theirs.newest).copied().unwrap_or(ChainEnd::EMPTY);
    if here.sequence == theirs.sequence && here.head != theirs.head {
        return Standing::Forked(theirs.newest);
    }
    if here.sequence < theirs.sequence {
        return Standing::Behind;
    }
    if earlier(own, &theirs.newest) != theirs.earlier {
        return Standing::Differs;
    }
    let newest = lives(own, theirs.newest.name()).last().map(|(origin, _)| *origin);
    if here.sequence == theirs.sequence && newest == Some(theirs.newest) {
        Standing::Equal
    } else {
        Standing::Ahead
    }
}

/// Whether two vectors, the other one as told, are equal.
pub fn is_equal(own: &Vector, theirs: &[NodeEnd]) -> bool {
    told(own) == theirs
}

/// How many events of nodes' newest lives are here and not there, as far as the other told.
pub fn ahead(own: &Vector, theirs: &[NodeEnd]) -> u64 {
    let of_node = |here: &NodeEnd| {
        let there = theirs.iter().find(|there| there.newest.name() == here.newest.name());
        match there {
            Some(there) if there.newest == here.newest => {
                here.sequence.saturating_sub(there.sequence)
            }
            // It knows a later life than this node.
            Some(there) if there.newest > here.newest => 0,
            _ => here.sequence,
        }
    };
    told(own).iter().map(of_node).sum()
}

/// What is said to whoever has more of a node.
pub fn fetch(own: &Vector, node: NodeName) -> Fetch {
    let have = lives(own, node).map(|(origin, end)| (origin.incarnation, end.sequence));
    Fetch { node, have: have.collect() }
}
