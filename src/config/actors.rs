//! How much may wait at the actors.

use serde::Deserialize;

use super::fault::Review;

/// Section `actors`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActorsConfig {
    /// Messages that may wait at one shard, 16 to 65 536.
    pub shard_mailbox: usize,
    /// Commands that may wait for one user's durability, for one identity or for one idempotency
    /// key, 1 to 1024.
    pub pending_per_user: usize,
    /// Users whose states are kept decoded in memory, 0 to 10 000 000.
    pub cached_users: usize,
}

impl ActorsConfig {
    pub(super) fn validate(&self, review: &mut Review<'_>) {
        let mailbox = 16..=65_536;
        review.within("actors.shard_mailbox", self.shard_mailbox, &mailbox, "messages");
        review.within("actors.pending_per_user", self.pending_per_user, &(1..=1024), "commands");
        review.within("actors.cached_users", self.cached_users, &(0..=10_000_000), "users");
    }
}
