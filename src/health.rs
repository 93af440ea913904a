//! How the node is: each dependency and its state, from what the parts show of themselves.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::accounts::Accounts;
use crate::accounts::view::rfc3339;
use crate::actors::replica::{Replica, ReplicaView};
use crate::app::catching_up::CatchingUp;
use crate::app::compare::StateHashes;
use crate::clock::NodeClock;
use crate::crypto::seals::operator_signed;
use crate::deployment::Deployment;
use crate::events::event::OriginDistrusted;
use crate::events::stamp::Origin;
use crate::http::api::{
    CutOff, Health, HealthCheck, HealthReport, Operations, RegionsReport, StateReport,
};
use crate::log::{Log, LogStatus};
use crate::tls::{Tls, TlsSnapshot};

/// A wall clock further behind the node's than this shows in the report, in milliseconds.
const CLOCK_BEHIND_MAX_MS: u64 = 10_000;

/// What the report is made from.
pub struct NodeHealth {
    /// The log.
    pub log: Arc<Log>,
    /// The clock.
    pub clock: NodeClock,
    /// The use cases.
    pub accounts: Arc<Accounts>,
    /// The certificate, where one is served.
    pub tls: Option<Arc<Tls>>,
    /// The deployment.
    pub deployment: Arc<Deployment>,
    /// The node's life.
    pub own: Origin,
    /// Replication, where the node has peers.
    pub replica: Option<Replica>,
    /// What the state is compared by.
    pub hashes: Arc<StateHashes>,
    /// Whether the node is still catching up.
    pub catching_up: CatchingUp,
}

/// How long replication may take to say how it is.
const REPLICATION_ANSWERS_IN: Duration = Duration::from_secs(2);

/// How replication is.
async fn replication_state(replica: &Replica) -> String {
    match tokio::time::timeout(REPLICATION_ANSWERS_IN, replica.observe()).await {
        Ok(Some(view)) => what_is_wrong(&view),
        Ok(None) => "it has ended".to_owned(),
        Err(_) => "it does not answer".to_owned(),
    }
}

/// Everything that is not as it should be with a node's replication, or `ok`.
fn what_is_wrong(view: &ReplicaView) -> String {
    let mut wrong = Vec::new();
    for way in view.ways.iter().filter(|way| !way.is_up()) {
        wrong.push(format!("no way through the broker of {}", way.broker));
    }
    for peer in &view.peers {
        if !peer.connected {
            wrong.push(format!("{} is away", peer.node));
        }
        if peer.diverged_ms.is_some() {
            wrong.push(format!("equal events and another state at {}", peer.node));
        }
    }
    for life in &view.forked {
        wrong.push(format!("{life} forked"));
    }
    for life in view.held.keys() {
        wrong.push(format!("{life} is held: its clock is ahead"));
    }
    if wrong.is_empty() { "ok".to_owned() } else { wrong.join("; ") }
}

/// How the certificate is.
fn tls_state(tls: &Tls) -> String {
    match tls.snapshot() {
        TlsSnapshot { refused: Some(why), .. } => {
            format!("the files are not taken, the certificate before is served: {why}")
        }
        TlsSnapshot { expires_in_ms, .. } if expires_in_ms <= 0 => "expired".to_owned(),
        _ => "ok".to_owned(),
    }
}

impl NodeHealth {
    fn clock_state(&self) -> String {
        let behind = self.clock.ahead_ms();
        if self.replica.as_ref().is_some_and(|replica| replica.status().clock_unsafe) {
            "clock_unsafe: it is ahead of most other nodes' clocks".to_owned()
        } else if behind > CLOCK_BEHIND_MAX_MS {
            format!("the wall clock is {} s behind the newest event", behind / 1000)
        } else {
            "ok".to_owned()
        }
    }

    async fn look(&self) -> HealthReport {
        let log = self.log.snapshot();
        let (log_state, serving) = match log.status {
            LogStatus::Writable => ("ok".to_owned(), true),
            LogStatus::Warned { .. } => ("warning: the disk is filling up".to_owned(), true),
            LogStatus::ReadOnly { reason } => (format!("read_only: {reason}"), true),
            LogStatus::Stopped => ("stopped: the disk failed".to_owned(), false),
        };
        let pool = self.accounts.pool().snapshot();
        let pool_state = if pool.queued < pool.capacity && pool.backlog <= pool.max_wait {
            "ok".to_owned()
        } else {
            format!("overloaded: {} logins wait, some are refused", pool.queued)
        };
        let mut checks = vec![
            HealthCheck { name: "log", state: log_state },
            HealthCheck { name: "clock", state: self.clock_state() },
            HealthCheck { name: "hash_pool", state: pool_state },
        ];
        let tls = self.tls.as_deref().map(tls_state);
        checks.extend(tls.map(|state| HealthCheck { name: "tls", state }));
        if let Some(replica) = &self.replica {
            let state = replication_state(replica).await;
            checks.push(HealthCheck { name: "replication", state });
        }
        let serving = serving && self.admits();
        if !self.admits() {
            let state = "not yet: this node joined or was restored".to_owned();
            checks.push(HealthCheck { name: "caught_up", state });
        }
        let status = match (serving, checks.iter().all(|check| check.state == "ok")) {
            (true, true) => "ready",
            (true, false) => "degraded",
            (false, _) => "not_ready",
        };
        HealthReport { status, checks }
    }
}

impl Health for NodeHealth {
    fn admits(&self) -> bool {
        !self.catching_up.is_under_way()
    }

    fn report(&self) -> BoxFuture<'_, HealthReport> {
        Box::pin(self.look())
    }
}

impl Operations for NodeHealth {
    fn state_hash(&self) -> BoxFuture<'static, Result<StateReport, String>> {
        let hashes = Arc::clone(&self.hashes);
        Box::pin(async move { hashes.compute().await })
    }

    fn regions(&self) -> BoxFuture<'_, Result<RegionsReport, String>> {
        Box::pin(async move {
            let registry = self.accounts.house().registry();
            let cut_off = registry.state.distrust.iter().map(|(from, later, since)| CutOff {
                origin: from.origin.to_string(),
                from_sequence: from.sequence,
                and_later: later,
                since: rfc3339(since.unix_ms()),
            });
            let replication = match &self.replica {
                None => None,
                Some(replica) => {
                    let view = replica.observe().await.ok_or("replication has ended")?;
                    Some(serde_json::to_value(view).map_err(|error| error.to_string())?)
                }
            };
            Ok(RegionsReport {
                node: self.own.name().to_string(),
                life: self.own.to_string(),
                now_ms: self.clock.wall().unix_ms(),
                cut_off: cut_off.collect(),
                replication,
            })
        })
    }

    fn wrapping_key(&self) -> String {
        self.deployment.wrapping_key().to_string()
    }

    fn retry_parked(&self) -> BoxFuture<'_, Option<usize>> {
        Box::pin(async move { self.replica.as_ref()?.retry_parked().await })
    }

    fn knows(&self, life: &Origin) -> bool {
        self.log.chain_end(life).is_some()
    }

    fn is_operators(&self, cut: &OriginDistrusted) -> bool {
        let common = &self.deployment.description().deployment;
        operator_signed(common.operator_key.as_bytes(), common.id, cut)
    }
}
