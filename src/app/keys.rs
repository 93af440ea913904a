//! What a running node does about keys: it chooses its KMS, and sees that every region can open
//! every branch key.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::AppError;
use crate::accounts::Accounts;
use crate::accounts::vault::keeping::Kept;
use crate::clock::Clock;
use crate::config::Config;
use crate::config::keys::{KeysConfig, KmsKind};
use crate::deployment::Deployment;
use crate::kms::Kms;
use crate::kms::guard::{Care, Guarded};

/// The KMS of the settings, asked with care.
pub(super) fn kms(
    config: &Config,
    deployment: &Deployment,
    clock: &Arc<dyn Clock>,
) -> Result<Guarded, AppError> {
    let keys = &config.keys;
    let care = Care {
        deadline: Duration::from_millis(keys.kms_deadline_ms),
        first_pause: Duration::from_secs(keys.kms_pause_s),
        longest_pause: Duration::from_secs(keys.kms_pause_max_s),
    };
    let inner: Arc<dyn Kms> = match keys.kms {
        KmsKind::Local => Arc::new(deployment.local_kms()),
        KmsKind::Aws => aws(keys, deployment)?,
    };
    Ok(Guarded::new(inner, care, Arc::clone(clock)))
}

#[cfg(feature = "aws")]
fn aws(keys: &KeysConfig, deployment: &Deployment) -> Result<Arc<dyn Kms>, AppError> {
    use crate::kms::aws::{AwsKms, AwsParts, MasterKey};

    let of_entry = |entry: &crate::config::keys::AwsRegion| MasterKey {
        region: entry.region,
        key: entry.key.clone(),
        former: entry.former.clone(),
        aws_region: entry.aws_region.clone(),
        endpoint: entry.endpoint.clone(),
    };
    let named = |path: &std::path::Path| (!path.as_os_str().is_empty()).then(|| path.to_owned());
    let parts = AwsParts {
        own: deployment.description().region,
        keys: keys.aws.regions.iter().map(of_entry).collect(),
        credentials: named(&keys.aws.credentials_file),
        instance_role: keys.aws.instance_role,
        ca_file: named(&keys.aws.ca_file),
        attempts: keys.kms_attempts,
        attempt_timeout: Duration::from_millis(keys.kms_deadline_ms),
    };
    let made = AwsKms::new(&parts).map_err(|error| AppError::Kms(error.to_string()))?;
    Ok(Arc::new(made))
}

#[cfg(not(feature = "aws"))]
fn aws(_: &KeysConfig, _: &Deployment) -> Result<Arc<dyn Kms>, AppError> {
    Err(AppError::Kms("this program was built without the cargo feature aws".to_owned()))
}

/// How much is tried at each of the keeper's ticks.
struct Share {
    per_minute: usize,
    every_s: usize,
    /// Parts of a try that the ticks before left, in sixtieths.
    rest: usize,
}

impl Share {
    /// Something is tried at the first tick, also where less than one a tick is allowed.
    const fn new(per_minute: usize, every_s: usize) -> Self {
        let first = per_minute.saturating_mul(every_s) % 60;
        Self { per_minute, every_s, rest: 60_usize.saturating_sub(first) }
    }

    /// What may be tried at this tick.
    const fn next(&mut self) -> usize {
        let parts = self.per_minute.saturating_mul(self.every_s).saturating_add(self.rest);
        self.rest = parts % 60;
        parts / 60
    }
}

/// Fills holes that branch keys have and lets go of those whose time is over, now and from time to
/// time.
pub(super) async fn keep_keys(accounts: Arc<Accounts>, keys: KeysConfig) {
    let every_s = usize::try_from(keys.keeper_s).unwrap_or(1);
    let mut share = Share::new(keys.fills_per_minute, every_s);
    let mut ticks = tokio::time::interval(Duration::from_secs(keys.keeper_s));
    // A look that took long is followed by the next one in its own time.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Kept { filled, renewed, disowned, left } =
            accounts.vault().keep_keys(share.next()).await;
        if filled > 0 {
            tracing::info!(filled, left, "wrapped branch keys for regions that lacked them");
        }
        if renewed > 0 {
            tracing::info!(renewed, left, "wrapped branch keys anew for the region's master key");
        }
        if disowned > 0 {
            tracing::warn!(disowned, "told the other regions of wrappings that do not open");
        }
        accounts.vault().refresh_branches().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is tried in the ticks of so many minutes.
    fn tried(per_minute: usize, every_s: usize, minutes: usize) -> Vec<usize> {
        let mut share = Share::new(per_minute, every_s);
        (0..minutes * 60 / every_s).map(|_| share.next()).collect()
    }

    #[test]
    fn so_much_is_tried_in_a_minute_however_often_the_keeper_looks() {
        for per_minute in [1, 7, 59, 60, 61, 120, 10_000] {
            for every_s in [1, 5, 30, 60] {
                let tried = tried(per_minute, every_s, 10);
                let sum: usize = tried.iter().sum();
                assert!(
                    (per_minute * 10..=per_minute * 10 + 1).contains(&sum),
                    "{per_minute} a minute, every {every_s} s: {sum} in ten minutes"
                );
                assert!(tried[0] > 0, "{per_minute} a minute, every {every_s} s");
            }
        }
    }
}
