//! How the node is: each dependency and its state, from what the parts show of themselves.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::accounts::Accounts;
use crate::clock::NodeClock;
use crate::events::state_hash::StateHasher;
use crate::http::api::{Health, HealthCheck, HealthReport, Operations, StateReport};
use crate::log::{Log, LogStatus};
use crate::state::store::Store;

/// A wall clock further behind the node's than this shows in the report, in milliseconds.
const CLOCK_BEHIND_MAX_MS: u64 = 10_000;

/// What the report is made from.
pub struct NodeHealth {
    /// The log.
    pub log: Arc<Log>,
    /// The state.
    pub store: Arc<Store>,
    /// The clock.
    pub clock: NodeClock,
    /// The use cases.
    pub accounts: Arc<Accounts>,
}

impl Health for NodeHealth {
    fn report(&self) -> HealthReport {
        let log = self.log.snapshot();
        let (log_state, serving) = match log.status {
            LogStatus::Writable => ("ok".to_owned(), true),
            LogStatus::Warned { .. } => ("warning: the disk is filling up".to_owned(), true),
            LogStatus::ReadOnly { reason } => (format!("read_only: {reason}"), true),
            LogStatus::Stopped => ("stopped: the disk failed".to_owned(), false),
        };
        let behind = self.clock.ahead_ms();
        let clock_state = if behind > CLOCK_BEHIND_MAX_MS {
            format!("the wall clock is {} s behind the newest event", behind / 1000)
        } else {
            "ok".to_owned()
        };
        let pool = self.accounts.pool().snapshot();
        let pool_state = if pool.queued < pool.capacity && pool.backlog <= pool.max_wait {
            "ok".to_owned()
        } else {
            format!("overloaded: {} logins wait, some are refused", pool.queued)
        };
        let checks = vec![
            HealthCheck { name: "log", state: log_state },
            HealthCheck { name: "clock", state: clock_state },
            HealthCheck { name: "hash_pool", state: pool_state },
        ];
        let status = match (serving, checks.iter().all(|check| check.state == "ok")) {
            (true, true) => "ready",
            (true, false) => "degraded",
            (false, _) => "not_ready",
        };
        HealthReport { status, checks }
    }
}

impl Operations for NodeHealth {
    fn state_hash(&self) -> BoxFuture<'static, Result<StateReport, String>> {
        let (log, store) = (Arc::clone(&self.log), Arc::clone(&self.store));
        let house = self.accounts.house().clone();
        Box::pin(async move {
            let position = log.delivered();
            house.settle().await.map_err(|error| error.to_string())?;
            let registry = house.registry();
            let hashed = tokio::task::spawn_blocking(move || {
                let mut hasher = StateHasher::default();
                let counts = store.state_hash_users(&mut hasher, |_| {});
                counts.map(|counts| (hasher, counts.users))
            });
            let (mut hash, users) = hashed
                .await
                .map_err(|error| error.to_string())?
                .map_err(|error| error.to_string())?;
            registry.state.feed(&mut hash);
            let state_hash = hash.finish().to_string();
            Ok(StateReport { state_hash, users, position: position.to_bits() })
        })
    }
}
