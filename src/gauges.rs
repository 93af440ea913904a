//! Gauges: what the parts show of themselves, looked at from time to time for /metrics.
//!
//! docs/operations.md names each.

mod replication;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use metrics::gauge;

use crate::accounts::Accounts;
use crate::accounts::sync::{State, VERDICTS};
use crate::actors::Unavailable;
use crate::actors::eraser::ErasureView;
use crate::actors::replica::Replica;
use crate::clock::NodeClock;
use crate::log::{Log, LogStatus};
use crate::tls::Tls;

/// What is looked at.
pub struct Gauges {
    log: Arc<Log>,
    clock: NodeClock,
    accounts: Arc<Accounts>,
    tls: Option<Arc<Tls>>,
    replica: Option<Replica>,
    erasures: Option<Arc<ErasureView>>,
}

impl Gauges {
    /// Gauges of these parts.
    pub const fn new(log: Arc<Log>, clock: NodeClock, accounts: Arc<Accounts>) -> Self {
        Self { log, clock, accounts, tls: None, replica: None, erasures: None }
    }

    /// Looks at erasures too.
    #[must_use]
    pub fn with_erasures(self, erasures: Arc<ErasureView>) -> Self {
        Self { erasures: Some(erasures), ..self }
    }

    /// Looks at the certificate too, where one is served.
    #[must_use]
    pub fn with_tls(self, tls: Option<Arc<Tls>>) -> Self {
        Self { tls, ..self }
    }

    /// Looks at replication too, where there is any.
    #[must_use]
    pub fn with_replica(self, replica: Option<Replica>) -> Self {
        Self { replica, ..self }
    }

    /// Looks every so often until the task is dropped. An actor that does not answer is looked at
    /// again the next time.
    pub async fn run(self, every: Duration) {
        let mut ticks = tokio::time::interval(every);
        loop {
            ticks.tick().await;
            self.look_at_log();
            self.look_at_pool();
            self.look_at_certificate();
            self.look_at_limits();
            self.look_at_erasures();
            self.look_at_syncs();
            if let Some(replica) = &self.replica
                && let Some(view) = replica.observe().await
            {
                replication::look(&view, self.clock.wall().unix_ms());
            }
            if let Err(error) = self.look_at_actors().await {
                tracing::debug!(%error, "not every actor could be looked at");
            }
        }
    }

    fn look_at_log(&self) {
        let log = self.log.snapshot();
        let writable = matches!(log.status, LogStatus::Writable | LogStatus::Warned { .. });
        gauge!("jcas_log_writable").set(if writable { 1.0 } else { 0.0 });
        gauge!("jcas_log_records").set(float(log.records));
        gauge!("jcas_log_bytes").set(float(log.bytes));
        gauge!("jcas_log_syncs").set(float(log.syncs));
        gauge!("jcas_log_failures").set(float(log.failures));
        gauge!("jcas_log_queue").set(float(log.queue_appends));
        gauge!("jcas_clock_ahead_ms").set(float(self.clock.ahead_ms()));
    }

    fn look_at_pool(&self) {
        let pool = self.accounts.pool().snapshot();
        gauge!("jcas_hash_pool_queued").set(float(pool.queued));
        gauge!("jcas_hash_pool_companies").set(float(pool.shares));
        gauge!("jcas_hash_pool_backlog_seconds").set(pool.backlog.as_secs_f64());
        gauge!("jcas_hash_pool_running").set(float(pool.running));
        gauge!("jcas_hash_pool_done").set(float(pool.done));
        gauge!("jcas_hash_pool_rejected").set(float(pool.rejected));
    }

    fn look_at_certificate(&self) {
        let Some(tls) = &self.tls else { return };
        let tls = tls.snapshot();
        let left = (tls.expires_in_ms / 1000).clamp(i32::MIN.into(), i32::MAX.into());
        let left = i32::try_from(left).unwrap_or_default();
        gauge!("jcas_tls_certificate_expires_seconds").set(f64::from(left));
        gauge!("jcas_tls_files_refused").set(if tls.refused.is_some() { 1.0 } else { 0.0 });
    }

    fn look_at_syncs(&self) {
        for (state, word) in [(State::Queued, "queued"), (State::Running, "running")] {
            gauge!("jcas_sync_jobs", "state" => word).set(float(self.accounts.sync_jobs_in(state)));
        }
        gauge!("jcas_sync_bytes").set(float(self.accounts.sync_bytes()));
        for verdict in VERDICTS {
            let total = self.accounts.sync_total(verdict);
            gauge!("jcas_sync_rows", "verdict" => verdict.as_str()).set(float(total));
        }
    }

    fn look_at_limits(&self) {
        let guesses = self.accounts.guesses();
        gauge!("jcas_guessing_counts", "of" => "way").set(float(guesses.ways));
        gauge!("jcas_guessing_counts", "of" => "account").set(float(guesses.accounts));
        gauge!("jcas_guessing_counts", "of" => "client").set(float(guesses.clients));
        gauge!("jcas_guessing_counts", "of" => "known_client").set(float(guesses.known_clients));
        let (account, client) = (guesses.refused_account, guesses.refused_client);
        gauge!("jcas_attempts_refused", "for" => "account").set(float(account));
        gauge!("jcas_attempts_refused", "for" => "client").set(float(client));
        for (limit, refused) in self.accounts.limited() {
            gauge!("jcas_calls_limited", "limit" => limit.as_str()).set(float(refused));
        }
    }

    fn look_at_erasures(&self) {
        let Some(view) = &self.erasures else { return };
        gauge!("jcas_erasures_pending").set(float(view.pending.load(Ordering::Relaxed)));
        gauge!("jcas_erasures_held_back").set(float(view.held_back.load(Ordering::Relaxed)));
        gauge!("jcas_erasures_done").set(float(view.done.load(Ordering::Relaxed)));
    }

    async fn look_at_actors(&self) -> Result<(), Unavailable> {
        gauge!("jcas_changes_waiting").set(float(self.accounts.waiting_for_changes()));
        gauge!("jcas_tokens_remembered").set(float(self.accounts.tokens_remembered()));
        let house = self.accounts.house();
        let shards = house.observe_shards().await?;
        gauge!("jcas_shard_users_in_flight").set(float(shards.in_flight));
        gauge!("jcas_shard_commands_applied").set(float(shards.applied));
        gauge!("jcas_shard_commands_rejected").set(float(shards.rejected));
        gauge!("jcas_shard_commands_unavailable").set(float(shards.unavailable));
        gauge!("jcas_conflicts_total").set(float(shards.lost));
        let directory = house.observe_directory();
        gauge!("jcas_directory_held").set(float(directory.held));
        gauge!("jcas_directory_waiting").set(float(directory.waiting));
        gauge!("jcas_directory_found").set(float(house.found()));
        gauge!("jcas_directory_refused").set(float(directory.refused));
        let registry = house.observe_registry().await?;
        gauge!("jcas_registry_companies").set(float(registry.companies));
        gauge!("jcas_registry_keys").set(float(registry.keys));
        gauge!("jcas_registry_branch_keys").set(float(registry.branch_keys));
        gauge!("jcas_registry_lives").set(float(registry.lives));
        self.look_at_keys();
        Ok(())
    }

    fn look_at_keys(&self) {
        let vault = self.accounts.vault();
        gauge!("jcas_branch_key_holes").set(float(vault.holes()));
        gauge!("jcas_branch_key_renewals").set(float(vault.to_renew()));
        for (region, kms) in vault.kms_standing() {
            let silent = if kms.silent_for_ms.is_some() { 1.0 } else { 0.0 };
            gauge!("jcas_kms_silent", "region" => region.as_str().to_owned()).set(silent);
        }
    }
}

/// A count as a gauge holds it. Beyond 2^53 the last digits are lost, and nobody counts so far.
#[expect(clippy::cast_precision_loss, reason = "gauges are floats")]
fn float(count: impl TryInto<u64>) -> f64 {
    count.try_into().unwrap_or(u64::MAX) as f64
}
