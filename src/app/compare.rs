//! State hashes: computed now and then in a quiet moment, so that nodes with equal events can tell
//! each other what these fold to.
//!
//! A hash counts only for the vector it was computed at, so it is taken when nothing was recorded
//! or received for a while, and dropped when something came meanwhile. Where a node's vector never
//! stands still, nothing is compared.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::actors::House;
use crate::actors::replica::Replica;
use crate::events::ids::Digest;
use crate::events::state_hash::StateHasher;
use crate::http::api::StateReport;
use crate::log::{Log, Vector};
use crate::state::store::Store;

/// How long the vector must stand still before a hash is computed: so often is looked.
const QUIET: Duration = Duration::from_secs(1);

/// The first hash after a start is computed so soon, if not sooner.
const FIRST: Duration = Duration::from_mins(1);

/// Computes state hashes.
pub struct StateHashes {
    /// The log.
    pub log: Arc<Log>,
    /// The state.
    pub store: Arc<Store>,
    /// The actors that write it.
    pub house: House,
    /// Where a hash goes that is right for its vector.
    pub known: watch::Sender<Option<(Vector, Digest)>>,
}

impl StateHashes {
    /// Computes the state hash: may take seconds. Where nothing came meanwhile it is told to other
    /// nodes, too.
    pub async fn compute(&self) -> Result<StateReport, String> {
        let vector = self.log.vector();
        // What is durable and not delivered is in the vector and on its way to the actors.
        let position = self.log.delivered();
        let is_still = position == self.log.durable();
        self.house.settle().await.map_err(|error| error.to_string())?;
        let (store, registry) = (Arc::clone(&self.store), self.house.registry());
        let running = tokio::task::spawn_blocking(move || {
            let mut hasher = StateHasher::default();
            let counts = store.state_hash_users(&mut hasher, |_| {});
            counts.map(|counts| (hasher, counts.users))
        });
        let (mut hasher, users) =
            running.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        registry.state.feed(&mut hasher);
        let hash = hasher.finish();
        if is_still && self.log.vector() == vector {
            self.known.send_replace(Some((vector, hash)));
        }
        Ok(StateReport { state_hash: hash.to_string(), users, position: position.to_bits() })
    }

    /// Computes one every so often, and whenever a peer tells one to compare with, until
    /// replication ends.
    pub(super) async fn run(self: Arc<Self>, replica: Replica, every: Duration) {
        let mut ticks = tokio::time::interval(QUIET);
        let mut due = Instant::now() + every.min(FIRST);
        let mut before = self.log.vector();
        loop {
            ticks.tick().await;
            let Some(view) = replica.observe().await else { return };
            let here = self.log.vector();
            let is_quiet = here == before;
            before = here;
            let is_asked = view.peers.iter().any(|peer| peer.asks_hash);
            if !is_quiet || !(is_asked || Instant::now() >= due) {
                continue;
            }
            match self.compute().await {
                Ok(_) => due = Instant::now() + every,
                Err(error) => tracing::debug!(error, "no state hash could be computed"),
            }
        }
    }
}
