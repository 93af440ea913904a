//! A stream of rows on its way to the spool. Until it is finished it is nobody's: dropped before
//! that, it leaves nothing.
//!
//! Room is kept for the rows and for the verdicts on them from the start, so that a job that was
//! taken comes to its end, and no company takes more of the disk than it may have.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use uuid::Uuid;

use crate::accounts::Accounts;
use crate::accounts::caller::Caller;
use crate::accounts::error::AccountError;
use crate::accounts::vault::KeyFailure;
use crate::actors::Unavailable;
use crate::crypto::sealing::JobKey;
use crate::events::ids::Country;
use crate::events::policy::Scope;
use crate::spool::Part;

use super::jobs::{Full, Job};
use super::lines::LineWriter;
use super::note::{JobId, Note, State, VERSION};
use super::unreadable;
use super::verdict::Counts;

/// Bytes between two looks at how much room is left.
const LOOK_BYTES: u64 = 1024 * 1024;

/// A stream of rows.
pub struct Receiving {
    accounts: Arc<Accounts>,
    job: Arc<Job>,
    lines: Option<LineWriter>,
    /// Bytes of rows that came, whether or not they are kept.
    came: u64,
    /// How much it takes when it is looked next how much room is left.
    look_at: u64,
    done: bool,
}

impl Accounts {
    /// Begins to take rows.
    pub async fn receive_sync(
        self: &Arc<Self>,
        caller: &Caller,
        country: Country,
        dry_run: bool,
    ) -> Result<Receiving, AccountError> {
        caller.require(Scope::Sync)?;
        caller.require_country(country)?;
        let bounds = &self.syncs.parts.bounds;
        if self.syncs.jobs().of(caller.company).len() >= bounds.company_jobs {
            return Err(AccountError::SyncQuota("the company has as many jobs as are kept"));
        }
        let now = self.parts.clock.unix_ms();
        let number = Uuid::from_bytes(*self.new_user_id()?.as_bytes());
        let key = JobKey::generate().map_err(|_| KeyFailure::Unavailable("no randomness"))?;
        let place = format!("sync-job/{number}");
        let company = caller.company;
        let sealing = self.parts.vault.seal_for_company(company.as_str(), &place, key.expose());
        let (branch, sealed_key) = sealing.await?;
        let note = Note {
            version: VERSION,
            company,
            key: caller.key,
            country,
            dry_run,
            request: caller.cause.request,
            state: State::Receiving,
            lines: 0,
            rows: 0,
            verdict_bytes: 0,
            waiting: 0,
            sealed_key: hex::encode(sealed_key),
            branch,
            created_ms: now,
            received_ms: None,
            cancel_asked: false,
            started_ms: None,
            finished_ms: None,
            counts: Counts::default(),
        };
        let job = Arc::new(Job::new(number, note, 0));
        self.syncs.jobs().insert(Arc::clone(&job));
        let accounts = Arc::clone(self);
        let mut receiving =
            Receiving { accounts, job, lines: None, came: 0, look_at: 0, done: false };
        let beginning = tokio::task::spawn_blocking(move || {
            receiving.look(0)?;
            let spool = &receiving.accounts.syncs.parts.spool;
            let blocks = spool.create(number, Part::Rows, Arc::new(key));
            receiving.lines = Some(LineWriter::new(blocks.map_err(|error| unreadable(&error))?));
            Ok(receiving)
        });
        beginning.await.map_err(|_| Unavailable::NotReady)?
    }
}

impl Receiving {
    /// Most bytes that a stream may have, as it is sent and as it is opened.
    pub fn bytes_max(&self) -> u64 {
        self.accounts.syncs.parts.bounds.company_bytes
    }

    /// How long a stream may take from its begin to its end.
    pub fn time_max(&self) -> Duration {
        self.accounts.syncs.parts.bounds.upload
    }

    /// Takes the next bytes of the rows. It seals and writes, so it is no work for a thread that
    /// answers calls.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), AccountError> {
        self.came = self.came.saturating_add(bytes.len() as u64);
        // What comes may be left out of what is kept, without end.
        if self.came > self.bytes_max() {
            return Err(too_long());
        }
        let Some(lines) = &mut self.lines else { return Ok(()) };
        lines.push(bytes).map_err(|error| unreadable(&error))?;
        if lines.lines >= self.accounts.syncs.parts.bounds.lines {
            return Err(AccountError::SyncTooLong("a stream has too many lines"));
        }
        let takes = lines.takes();
        self.job.bytes.store(lines.bytes(), Ordering::Relaxed);
        if takes < self.look_at { Ok(()) } else { self.look(takes) }
    }

    /// Looks whether there is room for so many bytes, the company's, all companies' and the disk's,
    /// beside what other jobs are yet to write.
    fn look(&mut self, takes: u64) -> Result<(), AccountError> {
        self.look_at = takes.saturating_add(LOOK_BYTES);
        let syncs = &self.accounts.syncs;
        let bounds = &syncs.parts.bounds;
        // A disk that does not say how full it is says so when it is.
        let disk = syncs.parts.spool.room(bounds.fill_percent).unwrap_or(u64::MAX);
        let room = syncs.jobs().room_for(&self.job, takes, disk, bounds);
        room.map_err(|full| match full {
            Full::TooLong => too_long(),
            Full::Company => AccountError::SyncQuota("the company's jobs take what it may have"),
            Full::Total => AccountError::SpoolFull,
            Full::Disk => Unavailable::ReadOnly.into(),
        })
    }

    /// Takes the rows for whole. They are on the disk then, and their job is in line.
    pub async fn finish(self) -> Result<String, AccountError> {
        let finishing = tokio::task::spawn_blocking(move || self.keep());
        finishing.await.map_err(|_| Unavailable::NotReady)?
    }

    fn keep(mut self) -> Result<String, AccountError> {
        let Some(mut lines) = self.lines.take() else { return Err(AccountError::JobNotFound) };
        let written = lines.finish().map_err(|error| unreadable(&error))?;
        self.job.bytes.store(lines.bytes(), Ordering::Relaxed);
        self.look(lines.takes())?;
        let (accounts, job) = (&self.accounts, &self.job);
        let now = accounts.parts.clock.unix_ms();
        let queue = |note: &mut Note| {
            (note.state, note.received_ms) = (State::Queued, Some(now));
            (note.lines, note.rows) = (written.lines, written.rows);
            note.verdict_bytes = written.verdict_bytes;
            // It may have been told to end while its rows came.
            note.cancel_asked = job.is_cancelled();
        };
        accounts.note(job, queue).map_err(|error| unreadable(&error))?;
        self.done = true;
        self.accounts.start_jobs();
        let (node, number) = (self.accounts.syncs.parts.node, self.job.number);
        Ok(JobId { node, number }.to_string())
    }
}

fn too_long() -> AccountError {
    AccountError::SyncTooLong("a stream is longer than a company may have, with its verdicts")
}

impl Drop for Receiving {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        self.lines = None;
        if let Err(error) = self.accounts.syncs.parts.spool.remove(self.job.number) {
            // It stays a job with rows until they are gone.
            tracing::warn!(%error, "what came of a broken stream cannot be removed");
            self.job.change(|note| note.state = State::Failed);
            return;
        }
        self.accounts.syncs.jobs().remove(self.job.number);
    }
}
