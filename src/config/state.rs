//! What the log folds to, kept for quick reading.

use serde::Deserialize;

use super::fault::Review;

/// Section `state`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateConfig {
    /// The page cache, in MiB, 8 to 4096; resident memory can reach several times that.
    pub cache_mib: u64,
    /// A checkpoint is made after this long, in seconds, 1 to 3600, ...
    pub checkpoint_s: u64,
    /// ... or after so many events, 1000 to 10 000 000.
    pub checkpoint_events: u64,
}

impl StateConfig {
    pub(super) fn validate(&self, review: &mut Review<'_>) {
        review.within("state.cache_mib", self.cache_mib, &(8..=4096), "MiB");
        review.within("state.checkpoint_s", self.checkpoint_s, &(1..=3600), "seconds");
        review.within(
            "state.checkpoint_events",
            self.checkpoint_events,
            &(1000..=10_000_000),
            "events",
        );
    }
}
