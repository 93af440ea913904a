//! What all handlers share, and who this node is.

use std::sync::Arc;

use serde::Serialize;

use crate::accounts::Accounts;
use crate::accounts::signing::AnswerKeys;
use crate::events::ids::RegionId;

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
    /// Each dependency and its state.
    fn report(&self) -> HealthReport;
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
    fn state_hash(&self) -> futures_util::future::BoxFuture<'static, Result<StateReport, String>>;
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
