//! What all handlers share, and who this node is.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::Serialize;

use crate::accounts::Accounts;
use crate::accounts::signing::AnswerKeys;
use crate::events::event::OriginDistrusted;
use crate::events::ids::RegionId;
use crate::events::stamp::Origin;

/// What handlers are given.
pub struct Api {
    /// The use cases.
    pub accounts: Arc<Accounts>,
    /// The deployment's name.
    pub deployment: String,
    /// This node's region.
    pub region: RegionId,
    /// Whom a signed call may be meant for: `jcas:` and the deployment, or the region.
    pub audiences: [String; 2],
    /// What answers are signed with.
    pub answer_keys: AnswerKeys,
    /// How the node is.
    pub health: Arc<dyn Health>,
    /// Renders the metrics page; none where metrics are off.
    pub metrics: Option<Box<dyn Fn() -> String + Send + Sync>>,
    /// The operator's token, compared in constant time.
    pub operator_token: String,
    /// What operators may ask beside the use cases.
    pub operations: Arc<dyn Operations>,
}

/// How the node is.
pub trait Health: Send + Sync {
    /// Whether companies are answered: not while the node lacks what others have.
    fn admits(&self) -> bool;

    /// Each dependency and its state.
    fn report(&self) -> BoxFuture<'_, HealthReport>;
}

/// What `/health/ready` answers.
#[derive(Debug, Clone, Serialize)]
pub struct HealthReport {
    /// `ready`, `degraded` (reads go on, something is missing) or `not_ready`.
    pub status: &'static str,
    /// Each dependency.
    pub checks: Vec<HealthCheck>,
}

/// One dependency.
#[derive(Debug, Clone, Serialize)]
pub struct HealthCheck {
    /// Its name.
    pub name: &'static str,
    /// Its state: `ok`, or what is wrong.
    pub state: String,
}

/// What operators may ask of a node beside companies and keys.
pub trait Operations: Send + Sync {
    /// The state hash, computed over the whole state: may take seconds.
    fn state_hash(&self) -> BoxFuture<'static, Result<StateReport, String>>;

    /// How this node stands to the others.
    fn regions(&self) -> BoxFuture<'_, Result<RegionsReport, String>>;

    /// The public half of the wrapping key that the node runs with, as text.
    fn wrapping_key(&self) -> String;

    /// Takes parked messages again and says how many there were; none where there is no
    /// replication.
    fn retry_parked(&self) -> BoxFuture<'_, Option<usize>>;

    /// Whether the log has an event of this life.
    fn knows(&self, life: &Origin) -> bool;

    /// Whether the deployment's operator signed that this is cut off.
    fn is_operators(&self, cut: &OriginDistrusted) -> bool;
}

/// How a node stands to the others.
#[derive(Debug, Clone, Serialize)]
pub struct RegionsReport {
    /// The node.
    pub node: String,
    /// Its life.
    pub life: String,
    /// Its wall clock, in milliseconds since 1970.
    pub now_ms: u64,
    /// What operators cut off.
    pub cut_off: Vec<CutOff>,
    /// Replication as it shows itself; none where the node has no peers.
    pub replication: Option<serde_json::Value>,
}

/// A life that is cut off.
#[derive(Debug, Clone, Serialize)]
pub struct CutOff {
    /// The life.
    pub origin: String,
    /// The first event of it that does not count.
    pub from_sequence: u64,
    /// Whether the node's later lives are cut off with it.
    pub and_later: bool,
    /// When that was recorded, RFC 3339.
    pub since: String,
}

/// The state's hash and size.
#[derive(Debug, Clone, Serialize)]
pub struct StateReport {
    /// The state hash, hexadecimal.
    pub state_hash: String,
    /// Users, erased ones included.
    pub users: u64,
    /// The log position it is of.
    pub position: u64,
}
