//! The start of a node that joined or was restored: no company is answered before it has what the
//! other nodes have.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::actors::replica::Replica;
use crate::deployment::catching_up::{is_marked, unmark};

/// How often it is looked whether the node has caught up.
const LOOKED_EVERY: Duration = Duration::from_millis(100);

/// In how many looks in a row nothing may be missing: what came last has then been folded.
const LOOKS: u32 = 2;

/// How often it is told how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// Whether the node is catching up, for whoever admits callers.
#[derive(Debug, Clone, Default)]
pub struct CatchingUp(Arc<AtomicBool>);

impl CatchingUp {
    /// Begins, where the data folder says that it must. A node without peers has nobody to wait
    /// for. Must be called within an actix system.
    pub(super) fn begin(folder: PathBuf, replica: Option<Replica>) -> Self {
        let is_behind = is_marked(&folder);
        let catching_up = Self(Arc::new(AtomicBool::new(is_behind && replica.is_some())));
        if is_behind {
            tracing::info!("catching up with the other nodes; no company is answered before that");
            actix::spawn(catching_up.clone().follow(folder, replica));
        }
        catching_up
    }

    /// Whether it is.
    pub fn is_under_way(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    async fn follow(self, folder: PathBuf, replica: Option<Replica>) {
        if let Some(replica) = replica {
            until_caught_up(&replica).await;
        }
        if let Err(error) = unmark(&folder) {
            // The next start catches up once more, which does no harm.
            tracing::warn!(%error, "that this node has caught up could not be kept");
        }
        self.0.store(false, Ordering::Release);
        tracing::info!("caught up: companies are answered");
    }
}

async fn until_caught_up(replica: &Replica) {
    let (mut looks, mut told) = (0, Instant::now());
    while looks < LOOKS {
        tokio::time::sleep(LOOKED_EVERY).await;
        looks = if replica.status().caught_up { looks + 1 } else { 0 };
        if told.elapsed() >= TOLD_EVERY {
            told = Instant::now();
            tell(replica).await;
        }
    }
}

/// How far it is.
async fn tell(replica: &Replica) {
    let Some(view) = replica.observe().await else { return };
    let heard = view.peers.iter().filter(|peer| peer.connected).count();
    let missing = view.peers.iter().map(|peer| peer.behind_events).max().unwrap_or(0);
    tracing::info!(peers_heard = heard, missing_events = missing, "still catching up");
}
