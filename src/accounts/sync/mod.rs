//! Bulk sync: a company's rows, taken as a stream, applied by a job, a verdict each.
//!
//! ```text
//! stream -> lines -> spool, sealed -> digest is right: queued
//!   job: lines -> groups that share an identity -> each person's row -> whom it is about
//!     -> sealed where it differs -> its user's shard -> verdicts, durable -> next
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `receive` `lines` | the stream on its way to the spool |
//! | `upload` | a stream that comes in parts |
//! | `note` `jobs` | what is known of a job, who is next, how much they take |
//! | `keeping` | jobs that earlier lives of the node left, and the end of each |
//! | `run` `course` `judge` `patience` | a job from its rows to its verdicts, in spite of all |
//! | `groups` `unit` `merge` | which rows are about one person, and what they say together |
//! | `row` | one row, read |
//! | `target` `apply` | whom it is about, and what it changes |
//! | `verdict` | what became of it |
//! | `forget` | who was erased is in none of it |

mod apply;
mod course;
mod forget;
mod groups;
mod jobs;
#[cfg(test)]
mod jobs_test;
mod judge;
mod keeping;
mod lines;
mod merge;
mod note;
mod patience;
mod receive;
mod row;
mod run;
mod target;
mod trouble;
mod unit;
pub mod upload;
mod verdict;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_json::value::RawValue;

use crate::actors::Unavailable;
use crate::actors::sync_job::{JobHome, JobParts};
use crate::crypto::sealing::JobKey;
use crate::events::ids::{Country, NodeId};
use crate::events::policy::Scope;
use crate::spool::{Part, Spool};

use self::jobs::{Job, Jobs};
use self::trouble::unreadable;
use self::verdict::Judged;
use super::Accounts;
use super::caller::Caller;
use super::error::AccountError;
use super::view::rfc3339;

pub use self::jobs::Bounds;
pub use self::note::{JobId, State};
pub use self::receive::Receiving;
pub use self::verdict::{Counts, VERDICTS, Verdict};

/// What bulk syncs are made of.
pub struct SyncParts {
    /// Where rows and verdicts are kept.
    pub spool: Arc<Spool>,
    /// Rows that come in parts.
    pub uploads: upload::UploadParts,
    /// Where jobs run.
    pub home: JobHome,
    /// This node, as job ids name it.
    pub node: NodeId,
    /// How much they may take.
    pub bounds: Bounds,
}

/// The bulk syncs of a node.
pub(super) struct Syncs {
    parts: SyncParts,
    jobs: Mutex<Jobs>,
    uploads: upload::Uploads,
}

/// A job as its company sees it.
#[derive(Debug, Serialize)]
pub struct JobView {
    /// Its id.
    pub job_id: String,
    /// The country its rows are of.
    pub country: Country,
    /// Whether nothing is recorded.
    pub dry_run: bool,
    /// How far it is.
    pub state: State,
    /// What it cannot go on without, and is not to be had now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<&'static str>,
    /// How many rows came.
    pub rows: u32,
    /// What became of them so far.
    #[serde(flatten)]
    pub counts: Counts,
    /// When its rows came, RFC 3339.
    pub created_at: String,
    /// When it began to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
}

/// Where a list of verdicts goes on: a block and a verdict in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct VerdictCursor {
    /// The block.
    pub block: u32,
    /// How many of its verdicts were listed.
    pub item: u32,
}

/// A page of verdicts.
#[derive(Debug)]
pub struct VerdictPage {
    /// The verdicts, as JSON.
    pub rows: Vec<Box<RawValue>>,
    /// Where the next page begins.
    pub next: VerdictCursor,
    /// Whether there are more now.
    pub has_more: bool,
}

impl Syncs {
    pub(super) fn new(parts: SyncParts) -> Self {
        Self { parts, jobs: Mutex::default(), uploads: upload::Uploads::default() }
    }

    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        // The table is whole at every step.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn view(&self, job: &Job) -> JobView {
        let note = job.note();
        JobView {
            job_id: JobId { node: self.parts.node, number: job.number }.to_string(),
            country: note.country,
            dry_run: note.dry_run,
            state: note.state,
            waits_for: (job.without_keys.load(Ordering::Relaxed) > 0).then_some("keys"),
            rows: note.rows,
            counts: note.counts,
            created_at: rfc3339(note.created_ms),
            started_at: note.started_ms.map(rfc3339),
            finished_at: note.finished_ms.map(rfc3339),
        }
    }

    /// A company's job.
    fn find(&self, caller: &Caller, id: &str) -> Result<Arc<Job>, AccountError> {
        caller.require(Scope::Sync)?;
        let id: JobId = id.parse().map_err(|_| AccountError::JobNotFound)?;
        if id.node != self.parts.node {
            return Err(AccountError::JobNodeUnreachable(id.node));
        }
        let job = self.jobs().get(id.number);
        job.filter(|job| job.note().company == caller.company).ok_or(AccountError::JobNotFound)
    }
}

impl Accounts {
    /// A company's jobs above one, oldest first, and whether there are more.
    pub fn sync_jobs(
        &self,
        caller: &Caller,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<(Vec<JobView>, bool), AccountError> {
        caller.require(Scope::Sync)?;
        let jobs = self.syncs.jobs().of(caller.company);
        let after = |job: &&Arc<Job>| after.is_none_or(|after| job.number > after.number);
        let mut listed = jobs.iter().filter(after);
        let page: Vec<_> = listed.by_ref().take(limit).map(|job| self.syncs.view(job)).collect();
        Ok((page, listed.next().is_some()))
    }

    /// One of a company's jobs.
    pub fn sync_job(&self, caller: &Caller, id: &str) -> Result<JobView, AccountError> {
        Ok(self.syncs.view(&*self.syncs.find(caller, id)?))
    }

    /// Ends a job after what it has begun. What it applied stays applied.
    pub fn cancel_sync(&self, caller: &Caller, id: &str) -> Result<JobView, AccountError> {
        let job = self.syncs.find(caller, id)?;
        self.note_cancel(&job).map_err(|error| unreadable(&error))?;
        if let Some(address) = &*job.address.lock().unwrap_or_else(PoisonError::into_inner) {
            address.cancel();
        }
        if self.syncs.jobs().withdraw(job.number) {
            self.end_job(&job, State::Cancelled);
            self.syncs.jobs().ended(job.number);
        }
        Ok(self.syncs.view(&job))
    }

    /// A page of a job's verdicts.
    pub async fn sync_rows(
        &self,
        caller: &Caller,
        id: &str,
        (after, limit): (VerdictCursor, usize),
        wanted: Option<Verdict>,
    ) -> Result<VerdictPage, AccountError> {
        let job = self.syncs.find(caller, id)?;
        let key = self.job_key(&job).await?;
        let (spool, number) = (Arc::clone(&self.syncs.parts.spool), job.number);
        let listing = tokio::task::spawn_blocking(move || {
            let blocks = spool.read(number, Part::Verdicts, key);
            blocks.and_then(|blocks| course::list(blocks.as_ref(), after, limit, wanted))
        });
        let listed = listing.await.map_err(|_| Unavailable::NotReady)?;
        let course::Listed { mut rows, next, has_more } =
            listed.map_err(|error| unreadable(&error))?;
        self.leave_out_erased(&mut rows).await?;
        let rows = rows.iter().map(serde_json::value::to_raw_value).collect::<Result<_, _>>();
        let rows = rows.map_err(|error| unreadable(&error.into()))?;
        Ok(VerdictPage { rows, next, has_more })
    }

    /// Of whom was erased since, it is not told that a row was about them.
    async fn leave_out_erased(&self, rows: &mut [Judged]) -> Result<(), AccountError> {
        for row in rows {
            let Some(user) = row.user_id else { continue };
            if self.parts.house.read(user).await?.erased.is_some() {
                row.leave_out();
            }
        }
        Ok(())
    }

    /// How many jobs are in a state.
    pub fn sync_jobs_in(&self, state: State) -> usize {
        self.syncs.jobs().count(state)
    }

    /// Bytes that all jobs take on the disk.
    pub fn sync_bytes(&self) -> u64 {
        self.syncs.jobs().bytes()
    }

    /// How many rows came to a verdict since the start.
    pub fn sync_total(&self, verdict: Verdict) -> u64 {
        self.syncs.jobs().total(verdict)
    }

    /// Begins as many of the waiting jobs as may run.
    pub(super) fn start_jobs(self: &Arc<Self>) {
        loop {
            let next = self.syncs.jobs().next(&self.syncs.parts.bounds);
            let Some(job) = next else { return };
            let (accounts, running) = (Arc::clone(self), Arc::clone(&job));
            let (observing, seen) = (Arc::clone(self), Arc::clone(&job));
            let parts = JobParts {
                work: Box::pin(async move { accounts.run_job(running).await }),
                cancelled: Arc::clone(&job.cancelled),
                view: Box::new(move || {
                    serde_json::to_value(observing.syncs.view(&seen)).unwrap_or_default()
                }),
            };
            let address = self.syncs.parts.home.start(parts);
            *job.address.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
        }
    }

    /// The key that a job's files are sealed under.
    async fn job_key(&self, job: &Job) -> Result<Arc<JobKey>, AccountError> {
        let note = job.note();
        let sealed = hex::decode(&note.sealed_key).unwrap_or_default();
        let place = format!("sync-job/{}", job.number);
        let vault = &self.parts.vault;
        let opened =
            vault.open_for_company(note.company.as_str(), &place, note.branch, &sealed).await?;
        let secret = opened.first_chunk().copied().ok_or(super::vault::KeyFailure::Broken)?;
        Ok(Arc::new(JobKey::from_bytes(secret)))
    }
}
