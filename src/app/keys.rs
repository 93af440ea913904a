//! What a running node does about branch keys: it wraps them for regions that lack them.

use std::sync::Arc;
use std::time::Duration;

use crate::accounts::Accounts;

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
