//! What a running node does about keys: it chooses its KMS, and sees that every region can open
//! every branch key.

use std::sync::Arc;
use std::time::Duration;

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

/// Fills holes that branch keys have and lets go of those whose time is over, now and from time to
/// time.
pub(super) async fn keep_keys(accounts: Arc<Accounts>, keys: KeysConfig) {
    let every = Duration::from_secs(keys.keeper_s);
    let share = keys.fills_per_minute.saturating_mul(usize::try_from(keys.keeper_s).unwrap_or(1));
    let most = (share / 60).max(1);
    let mut ticks = tokio::time::interval(every);
    loop {
        ticks.tick().await;
        let Kept { filled, renewed, left } = accounts.vault().keep_keys(most).await;
        if filled > 0 {
            tracing::info!(filled, left, "wrapped branch keys for regions that lacked them");
        }
        if renewed > 0 {
            tracing::info!(renewed, left, "wrapped branch keys anew for the region's master key");
        }
        accounts.vault().refresh_branches().await;
    }
}
