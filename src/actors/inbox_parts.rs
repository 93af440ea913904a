//! What an inbox is made of, and how it hears of what it did.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clock::NodeClock;
use crate::crypto::seals::SealVerifier;
use crate::events::event::OriginDistrusted;
use crate::events::ids::{DeploymentId, RegionId, UserId};
use crate::events::stamp::Origin;
use crate::log::{AppendError, Log, LogWriter};

use super::absorb::{Absorbed, Sorted};
use super::registry::RegistryWatch;

/// Names one append of the inbox.
pub type Ticket = u64;

/// Where a run's facts go when they are durable. Called on the log's writer thread.
pub type Absorb = Arc<dyn Fn(Sorted, &Arc<Absorbed>) + Send + Sync>;

/// How an engine hears of what it appended and of what the actors took in.
pub type Notify = Arc<dyn Fn(Heard) + Send + Sync>;

/// What an engine hears.
#[derive(Debug)]
pub enum Heard {
    /// The log says what became of an append.
    Logged(Ticket, Result<(), AppendError>),
    /// Everyone has what an append brought: callers of this node see it.
    Absorbed(Origin, u64),
}

/// Says whether an operator's signature is over what an event says. Given by whoever has the key.
pub type IsOperators = Arc<dyn Fn(&OriginDistrusted) -> bool + Send + Sync>;

/// Says whether a user is known to be erased.
pub type IsErased = Arc<dyn Fn(UserId) -> bool + Send + Sync>;

/// What an inbox is made of.
pub struct InboxParts {
    /// The deployment.
    pub deployment: DeploymentId,
    /// This node's life.
    pub own: Origin,
    /// Every region's key.
    pub verifiers: BTreeMap<RegionId, SealVerifier>,
    /// Whether an operator cut something off.
    pub is_operators: IsOperators,
    /// Whether a body that erasure blanks may be missing.
    pub is_erased: IsErased,
    /// The node's clock: it takes notice of what comes.
    pub clock: NodeClock,
    /// How far ahead of the wall clock a time may be, in milliseconds.
    pub future_limit_ms: u64,
    /// The log.
    pub log: Arc<Log>,
    /// The way to append.
    pub writer: LogWriter,
    /// Who is distrusted.
    pub registry: RegistryWatch,
    /// Where facts go.
    pub absorb: Absorb,
    /// How the engine hears.
    pub notify: Notify,
}
