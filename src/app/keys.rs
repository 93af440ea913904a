//! What a running node does about keys: it wraps them for regions that lack them, and names secrets
//! that should not be here.

use std::sync::Arc;
use std::time::Duration;

use crate::accounts::Accounts;
use crate::deployment::Deployment;

/// How often branch keys are looked through for regions that cannot open them.
const HOLES_EVERY: Duration = Duration::from_mins(1);

/// Fills what holes branch keys have, now and from time to time.
pub(super) async fn fill_holes(accounts: Arc<Accounts>) {
    let mut ticks = tokio::time::interval(HOLES_EVERY);
    loop {
        ticks.tick().await;
        let filled = accounts.vault().fill_holes().await;
        if filled > 0 {
            tracing::info!(filled, "wrapped branch keys for regions that could not open them");
        }
    }
}

/// Names the secrets in the data folder that have no business on a running node.
pub(super) fn warn_of_secrets(deployment: &Deployment) {
    if let Some(path) = deployment.operator_key_left_here() {
        tracing::warn!(path = %path.display(), "the operator key is on this node: take it offline");
    }
    for path in deployment.bundles_left_here() {
        tracing::warn!(path = %path.display(), "a bundle is on this node: delete it when used");
    }
}
