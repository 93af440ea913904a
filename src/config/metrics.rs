//! Figures for Prometheus.

use serde::Deserialize;

use super::fault::Review;

/// Section `metrics`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsConfig {
    /// Whether anything is counted and `/metrics` is served.
    pub enabled: bool,
    /// How often queues, caches and cursors are looked at, in seconds, 1 to 300.
    pub sample_s: u64,
}

impl MetricsConfig {
    pub(super) fn validate(&self, review: &mut Review<'_>) {
        review.within("metrics.sample_s", self.sample_s, &(1..=300), "seconds");
    }
}
