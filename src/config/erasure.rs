//! Forgetting people.

use serde::Deserialize;

use super::fault::Review;

/// Section `erasure`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErasureConfig {
    /// Hours between a user's erasure and the blanking of what is left on the disk, 0 to 8760.
    pub grace_hours: u64,
    /// At most so many users are blanked in an hour, 1 to 10 000 000.
    pub users_per_hour: u64,
    /// At least so many minutes lie between two rebuilds of the state, 0 to 1440.
    pub rebuild_minutes: u64,
}

impl ErasureConfig {
    pub(super) fn validate(&self, review: &mut Review<'_>) {
        review.within("erasure.grace_hours", self.grace_hours, &(0..=8760), "hours");
        review.within("erasure.users_per_hour", self.users_per_hour, &(1..=10_000_000), "users");
        review.within("erasure.rebuild_minutes", self.rebuild_minutes, &(0..=1440), "minutes");
    }
}
