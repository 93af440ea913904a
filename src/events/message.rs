//! What nodes tell each other. Laid out by `codec`, carried by a link, signed by the sender's
//! region.
//!
//! Runs bring their own seals. Everything else is news of the moment: where the sender stands, what
//! it lacks, what it has. Whatever is lost of it is told again.

use serde::{Deserialize, Serialize};

use super::ids::{CompanyId, DeploymentId, Digest, NodeName};
use super::run::{Run, Signature};
use super::stamp::{Incarnation, Origin};

/// What came over a link.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// The deployment it is of.
    pub deployment: DeploymentId,
    /// What it is.
    pub message: Message,
}

/// What one node tells another.
#[derive(Debug, Clone)]
pub enum Message {
    /// Events.
    Run(SentRun),
    /// Something else, and the signature over it.
    News {
        /// Who tells it.
        from: NodeName,
        /// What.
        news: News,
        /// Digest of the bytes that are signed.
        signed: Digest,
        /// By the sender's region over [`news_signed`].
        signature: Signature,
    },
    /// Of a kind that a newer version knows.
    Unknown(u8),
}

/// What the signature of news is over.
pub fn news_signed(digest: &Digest) -> Vec<u8> {
    let mut bytes = b"jcas news v1\0".to_vec();
    bytes.extend_from_slice(&digest.0);
    bytes
}

/// A run on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentRun {
    /// The run.
    pub run: Run,
    /// Why it comes.
    pub why: Why,
}

/// Why a run comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Why {
    /// It is new. `asked` says that somebody waits to hear who has it.
    Published {
        /// Whether to say [`News::Have`] at once.
        asked: bool,
    },
    /// It was fetched.
    Fetched {
        /// Whether it is the last one of the answer.
        last: bool,
        /// Whether the sender has still more of the node than the answer brought.
        more: bool,
    },
}

/// News of the moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum News {
    /// Where the sender stands.
    Vector(VectorNews),
    /// The sender lacks events of a node.
    Fetch(Fetch),
    /// The sender has, and shows to its callers, a life up to an event.
    Have {
        /// The life.
        life: Origin,
        /// Its last event there.
        sequence: u64,
    },
    /// Signed calls that the sender took, so that its region's other nodes refuse their repeats.
    Tokens(Vec<UsedToken>),
}

/// Where a node stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VectorNews {
    /// The sender's life.
    pub life: Origin,
    /// The sender's wall clock, in milliseconds since 1970.
    pub now_ms: u64,
    /// Every node it has events of.
    pub nodes: Vec<NodeEnd>,
    /// The state hash at just this vector, where the sender knows it.
    pub state_hash: Option<Digest>,
    /// Whether the sender has just come and asks for an answer at once.
    pub asks: bool,
}

/// How far a node's lives are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeEnd {
    /// The newest life.
    pub newest: Origin,
    /// Its last event.
    pub sequence: u64,
    /// The digest of that event's header.
    pub head: Digest,
    /// Digest of the ends of all earlier lives; zeros where there are none.
    pub earlier: Digest,
}

/// What the sender has of a node: it asks for the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// The node.
    pub node: NodeName,
    /// Its lives that the sender knows, each with the last event.
    pub have: Vec<(Incarnation, u64)>,
}

/// A signed call that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsedToken {
    /// Digest of the key that signed it and of its `jti`.
    pub name: [u8; 16],
    /// The company that made the call.
    pub company: CompanyId,
    /// When it was made, in milliseconds since 1970.
    pub issued_ms: u64,
    /// When it is refused as expired, in milliseconds since 1970.
    pub ends_ms: u64,
}
