//! Where each origin's chain ends, and whether a record is next in it.

use std::collections::BTreeMap;

use crate::events::codec;
use crate::events::ids::{Digest, NodeId, RegionId};
use crate::events::record::Header;
use crate::events::stamp::{Incarnation, Origin};

use super::batch::BatchError;

/// The last event of an origin in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct ChainEnd {
    /// Its number.
    pub sequence: u64,
    /// The digest of its header.
    pub head: Digest,
}

impl ChainEnd {
    /// The end of a chain without events.
    pub const EMPTY: Self = Self { sequence: 0, head: Digest::ZERO };
}

/// Every origin of a log and where it ends.
pub type Vector = BTreeMap<Origin, ChainEnd>;

/// The newest life of a node that the vector knows, and its end.
pub fn last_life(vector: &Vector, region: RegionId, node: NodeId) -> Option<(Origin, ChainEnd)> {
    let life = |counter, tag| Origin { region, node, incarnation: Incarnation { counter, tag } };
    let lives = vector.range(life(0, 0)..=life(u32::MAX, u32::MAX));
    lives.last().map(|(origin, end)| (*origin, *end))
}

/// Ends that are ahead of the durable ones until their group is.
#[derive(Debug, Default)]
pub(super) struct Staged(Vector);

impl Staged {
    /// The end of `origin`'s chain, seen through this layer.
    pub(super) fn end(&self, origin: &Origin, below: impl FnOnce(&Origin) -> ChainEnd) -> ChainEnd {
        self.0.get(origin).copied().unwrap_or_else(|| below(origin))
    }

    pub(super) fn set(&mut self, origin: Origin, end: ChainEnd) {
        self.0.insert(origin, end);
    }

    /// Moves the ends to the layer below.
    pub(super) fn merge_into(self, below: &mut Vector) {
        below.extend(self.0);
    }

    /// Moves the ends to another layer.
    pub(super) fn stack_on(self, below: &mut Self) {
        self.merge_into(&mut below.0);
    }
}

/// The end of the chain with this record, if that is next in it.
pub(super) fn next_end(
    last: ChainEnd,
    header: &Header,
    header_bytes: &[u8],
) -> Result<ChainEnd, BatchError> {
    let expected = last.sequence.saturating_add(1);
    if header.sequence != expected {
        return Err(BatchError::NotNext { reference: header.reference(), expected });
    }
    if header.previous != last.head {
        return Err(BatchError::Forked { reference: header.reference() });
    }
    Ok(ChainEnd { sequence: expected, head: codec::digest(header_bytes) })
}
