//! What a link is, whoever carries it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use crate::events::ids::{NodeName, RegionId};

/// Ends when a broker has accepted what was published, or with why none did. What is not waited for
/// is published all the same.
pub type Confirm = Pin<Box<dyn Future<Output = Result<(), LinkError>> + Send>>;

/// The way to all other nodes.
pub trait Link: Send + Sync {
    /// Sends to every other node. Never blocks: when too much is under way, the future ends at once
    /// with [`LinkError::Busy`]. What is published first is first on the wire of one broker; when
    /// another broker has to take over, order is lost and repeats may come.
    fn publish(&self, bytes: Bytes) -> Confirm;

    /// Sends to one node, best effort: never blocks, and nobody says whether it arrives.
    fn send(&self, to: NodeName, bytes: Bytes) -> Result<(), LinkError>;

    /// How each way is now, one a broker, this region's first.
    fn ways(&self) -> Vec<Way>;

    /// Ends what runs for this link. From then on everything is refused with [`LinkError::Down`],
    /// and nothing is delivered. Dropping it does the same.
    fn shut(&self);
}

/// What came from another node.
#[derive(Debug)]
pub struct Delivery {
    /// What that node sent, byte for byte.
    pub bytes: Bytes,
    /// To be acknowledged when what it says is durable, or is known to be of no use.
    pub receipt: Receipt,
}

/// The other end's claim on a delivery. Dropped without [`Self::ack`], the delivery comes again,
/// but not before the connection it came by was renewed.
pub struct Receipt(Box<dyn FnOnce() + Send>);

impl Receipt {
    /// A receipt that does this when it is acknowledged.
    pub fn new(ack: impl FnOnce() + Send + 'static) -> Self {
        Self(Box::new(ack))
    }

    /// A receipt that nobody waits for.
    pub fn unclaimed() -> Self {
        Self::new(|| {})
    }

    /// The delivery is not needed again.
    pub fn ack(self) {
        (self.0)();
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receipt")
    }
}

/// Why something was not sent, or not known to be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum LinkError {
    /// As much as may be is under way already.
    #[error("too much is under way")]
    Busy,
    /// No broker can be reached.
    #[error("no broker can be reached")]
    Down,
    /// The broker takes nothing now: it is short of memory or disk.
    #[error("the broker takes nothing now")]
    Blocked,
    /// No queue was there to take it.
    #[error("no queue took it")]
    Returned,
    /// The broker refused it.
    #[error("the broker refused it")]
    Refused,
    /// No answer within the time limit. It may have been accepted.
    #[error("the broker did not answer in time")]
    Timeout,
    /// Larger than what one message may hold.
    #[error("it is too large for a message")]
    TooLarge,
    /// There is no such node.
    #[error("no such node is known")]
    UnknownNode,
}

/// How one way is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Way {
    /// Whose broker it goes through.
    pub broker: RegionId,
    /// What can be done by it.
    pub state: WayState,
    /// How long it has been like that.
    pub lasting: Duration,
    /// What went wrong last, if anything has since it was last connected: for people, without
    /// secrets.
    pub trouble: Option<String>,
    /// Messages that wait at the broker for this node, where known.
    pub waiting: Option<u64>,
    /// Messages the broker accepted from this node, and those sent to single nodes.
    pub sent: u64,
    /// Messages that came by it.
    pub received: u64,
    /// Connections made.
    pub connections: u64,
}

impl Way {
    /// Whether messages go out and come in by it.
    pub const fn is_up(&self) -> bool {
        matches!(self.state, WayState::Connected)
    }
}

/// What can be done by a way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WayState {
    /// Messages go out and come in.
    Connected,
    /// Messages come in; the broker takes none.
    Blocked,
    /// Neither.
    Down,
}
