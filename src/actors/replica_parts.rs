//! What replication is made of, and what it counts.

use std::sync::Arc;

use tokio::sync::watch;

use crate::clock::Clock;
use crate::crypto::seals::Sealer;
use crate::events::ids::{DeploymentId, Digest};
use crate::events::message::UsedToken;
use crate::events::stamp::Origin;
use crate::log::{Log, Vector};
use crate::replication::link::Link;

use super::answers::Answers;
use super::inbox::InboxEngine;
use super::parked::Parked;
use super::publisher::PublisherEngine;
use super::reconciler::ReconcilerEngine;
use super::replicas::Replicas;

/// What the engine is made of.
pub struct EngineParts {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The node's life.
    pub own: Origin,
    /// Signs news.
    pub sealer: Sealer,
    /// The way to the others.
    pub link: Arc<dyn Link>,
    /// Sends what the node recorded.
    pub publisher: PublisherEngine,
    /// Takes what others recorded.
    pub inbox: InboxEngine,
    /// Finds what is missing.
    pub reconciler: ReconcilerEngine,
    /// Gives what others miss.
    pub answers: Answers,
    /// Who has what.
    pub replicas: Replicas,
    /// Messages that could not be taken.
    pub parked: Parked,
    /// The log.
    pub log: Arc<Log>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// How far the clocks of most peers may be behind this one, in milliseconds.
    pub clock_limit_ms: u64,
    /// Takes signed calls that other nodes of the region took.
    pub take_tokens: Box<dyn FnMut(Vec<UsedToken>) + Send>,
    /// The state hash and the vector it is of, as computed last.
    pub state_hash: watch::Receiver<Option<(Vector, Digest)>>,
}
