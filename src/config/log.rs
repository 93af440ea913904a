//! The event log.

use serde::Deserialize;

use super::fault::Review;

/// Section `log`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    /// The size of a segment file, in MiB, 1 to 1024.
    pub segment_mib: u64,
    /// How full the disk may be before a warning, in percent, 1 to 99.
    pub warn_percent: u32,
    /// How full the disk may be before writes are refused, in percent, 2 to 100; above
    /// `warn_percent`.
    pub stop_percent: u32,
    /// Events that may wait for the writer, 64 to 1 000 000.
    pub queue_events: usize,
}

impl LogConfig {
    pub(super) fn validate(&self, review: &mut Review<'_>) {
        review.within("log.segment_mib", self.segment_mib, &(1..=1024), "MiB");
        review.within("log.warn_percent", self.warn_percent, &(1..=99), "percent");
        review.within("log.stop_percent", self.stop_percent, &(2..=100), "percent");
        review.within("log.queue_events", self.queue_events, &(64..=1_000_000), "events");
        if self.stop_percent <= self.warn_percent && review.is_sound("log.warn_percent") {
            review.refuse(
                "log.stop_percent",
                format!("found {}", self.stop_percent),
                format!("more than log.warn_percent, which is {}", self.warn_percent),
            );
        }
    }
}
