//! Password hashing.

use bcrypt_lanes::LANES;
use serde::Deserialize;

use super::fault::Review;

/// Section `hash`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HashConfig {
    /// The cost of new bcrypt hashes (log2 of the rounds), 4 to 14.
    pub bcrypt_cost: u32,
    /// Threads of the hash pool, 0 to 256; 0 is one a core.
    pub threads: usize,
    /// Jobs that a thread computes side by side at most, 1 to 8.
    pub lanes: usize,
    /// Logins that may wait for a thread, 8 to 65 536.
    pub queue_jobs: usize,
    /// A login that would wait longer than this is refused, in milliseconds, 100 to 60 000.
    pub max_wait_ms: u64,
    /// Computing time one login may spend on stored hashes, in milliseconds, 100 to 60 000. The
    /// first is tried in any case.
    pub verify_budget_ms: u64,
    /// Failed logins are answered at multiples of this, in milliseconds, 1 to 10 000.
    pub failure_quantum_ms: u64,
}

impl HashConfig {
    pub(super) fn validate(&self, review: &mut Review<'_>) {
        let quantum = 1..=10_000;
        review.within("hash.bcrypt_cost", self.bcrypt_cost, &(4..=14), "");
        review.within("hash.threads", self.threads, &(0..=256), "threads");
        review.within("hash.lanes", self.lanes, &(1..=LANES), "lanes");
        review.within("hash.queue_jobs", self.queue_jobs, &(8..=65_536), "jobs");
        review.within("hash.max_wait_ms", self.max_wait_ms, &(100..=60_000), "ms");
        review.within("hash.verify_budget_ms", self.verify_budget_ms, &(100..=60_000), "ms");
        review.within("hash.failure_quantum_ms", self.failure_quantum_ms, &quantum, "ms");
    }
}
