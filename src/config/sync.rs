//! Bulk syncs.

use serde::Deserialize;

use super::fault::Review;

/// Section `sync`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyncConfig {
    /// Disk that one company's jobs may take in MiB, 1 to 1 048 576.
    pub company_mib: u64,
    /// Disk that all jobs may take in MiB, 1 to 1 048 576.
    pub total_mib: u64,
    /// Lines of one stream, 1000 to 20 000 000.
    pub lines_max: u32,
    /// Hours that rows may take that come in parts, 1 to 168.
    pub upload_hours: u32,
    /// Jobs that run at once, 1 to 64.
    pub jobs_at_once: usize,
    /// Jobs of one company that run at once, 1 to 64.
    pub company_jobs_at_once: usize,
    /// Jobs of one company that are kept, 1 to 100 000.
    pub company_jobs: usize,
    /// Rows of a job that are under way at once, 1 to 4096.
    pub rows_at_once: usize,
    /// Seconds that a stream may take from its begin to its end, 1 to 86 400.
    pub upload_s: u64,
    /// Days that jobs and verdicts are kept, 1 to 366.
    pub keep_days: u32,
}

impl SyncConfig {
    pub(super) fn validate(&self, review: &mut Review<'_>) {
        review.within("sync.company_mib", self.company_mib, &(1..=1_048_576), "MiB");
        review.within("sync.total_mib", self.total_mib, &(1..=1_048_576), "MiB");
        review.within("sync.lines_max", self.lines_max, &(1000..=20_000_000), "lines");
        review.within("sync.upload_hours", self.upload_hours, &(1..=168), "hours");
        review.within("sync.jobs_at_once", self.jobs_at_once, &(1..=64), "jobs");
        let at_once = self.company_jobs_at_once;
        review.within("sync.company_jobs_at_once", at_once, &(1..=64), "jobs");
        review.within("sync.company_jobs", self.company_jobs, &(1..=100_000), "jobs");
        review.within("sync.rows_at_once", self.rows_at_once, &(1..=4096), "rows");
        review.within("sync.upload_s", self.upload_s, &(1..=86_400), "s");
        review.within("sync.keep_days", self.keep_days, &(1..=366), "days");
    }
}
