//! How often passwords may be tried.

use serde::Deserialize;

use super::fault::Review;

/// Section `guessing`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuessingConfig {
    /// Failures in a row without a delay, 1 to 50.
    pub free_failures: u32,
    /// The delay after one more, doubled by each further one, in milliseconds, 10 to 60 000.
    pub first_delay_ms: u64,
    /// The longest of these delays, in seconds, 1 to 3600.
    pub longest_delay_s: u64,
    /// Attempts at one account at once, 1 to 100.
    pub attempts_at_once: u32,
    /// Failures in a row of one account before the pause, 10 to 100.
    pub failures_max: u32,
    /// The pause, and how long a failure counts, in seconds, 1 to 2 592 000.
    pub pause_s: u64,
    /// Failures of one client at once, 5 to 100 000.
    pub client_failures_burst: u32,
    /// Failures of one client a minute, 1 to 100 000.
    pub client_failures_per_minute: u32,
    /// Accounts, identities and clients with failures that are remembered, 1000 to 10 000 000.
    pub tracked: usize,
    /// Clients that got in and are remembered, 1000 to 100 000 000.
    pub known_clients: usize,
}

impl GuessingConfig {
    pub(super) fn validate(&self, review: &mut Review<'_>) {
        let (pause, clients) = (1..=2_592_000, 1000..=100_000_000);
        let (burst, rate) = (self.client_failures_burst, self.client_failures_per_minute);
        review.within("guessing.free_failures", self.free_failures, &(1..=50), "failures");
        review.within("guessing.first_delay_ms", self.first_delay_ms, &(10..=60_000), "ms");
        review.within("guessing.longest_delay_s", self.longest_delay_s, &(1..=3600), "seconds");
        review.within("guessing.attempts_at_once", self.attempts_at_once, &(1..=100), "attempts");
        review.within("guessing.failures_max", self.failures_max, &(10..=100), "failures");
        review.within("guessing.pause_s", self.pause_s, &pause, "seconds");
        review.within("guessing.client_failures_burst", burst, &(5..=100_000), "failures");
        review.within("guessing.client_failures_per_minute", rate, &(1..=100_000), "failures");
        review.within("guessing.tracked", self.tracked, &(1000..=10_000_000), "entries");
        review.within("guessing.known_clients", self.known_clients, &clients, "clients");
    }
}
