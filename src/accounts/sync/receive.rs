//! A stream of rows on its way to the spool. Until it is finished it is nobody's: dropped before
//! that, it leaves nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use uuid::Uuid;

use crate::accounts::Accounts;
use crate::accounts::caller::Caller;
use crate::accounts::error::AccountError;
use crate::accounts::vault::KeyFailure;
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
    looked_at: u64,
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
        let blocks = self.syncs.parts.spool.create(number, Part::Rows, Arc::new(key));
        let blocks = blocks.map_err(|error| unreadable(&error))?;
        self.syncs.jobs().insert(Arc::clone(&job));
        let lines = Some(LineWriter::new(blocks));
        let accounts = Arc::clone(self);
        Ok(Receiving { accounts, job, lines, looked_at: 0, done: false })
    }
}

impl Receiving {
    /// Takes the next bytes of the rows.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), AccountError> {
        let Some(lines) = &mut self.lines else { return Ok(()) };
        lines.push(bytes).map_err(|error| unreadable(&error))?;
        let bounds = &self.accounts.syncs.parts.bounds;
        if lines.lines >= bounds.lines {
            return Err(AccountError::SyncTooLong("a stream has too many lines"));
        }
        let taken = lines.bytes();
        self.job.bytes.store(taken, Ordering::Relaxed);
        if taken < self.looked_at {
            return Ok(());
        }
        self.looked_at = taken + LOOK_BYTES;
        let room = self.accounts.syncs.jobs().room_for(&self.job, taken, bounds);
        room.map_err(|full| match full {
            Full::TooLong => {
                AccountError::SyncTooLong("a stream is longer than a company may have")
            }
            Full::Company => AccountError::SyncQuota("the company's jobs take what it may have"),
            Full::Total => AccountError::SpoolFull,
        })
    }

    /// Takes the rows for whole. They are on the disk then, and their job is in line.
    pub async fn finish(mut self) -> Result<String, AccountError> {
        let Some(lines) = self.lines.take() else { return Err(AccountError::JobNotFound) };
        let (accounts, job) = (Arc::clone(&self.accounts), Arc::clone(&self.job));
        let noting = tokio::task::spawn_blocking(move || {
            let (lines, rows, bytes) = lines.finish()?;
            job.bytes.store(bytes, Ordering::Relaxed);
            let now = accounts.parts.clock.unix_ms();
            let queue = |note: &mut Note| {
                (note.state, note.lines, note.rows) = (State::Queued, lines, rows);
                note.received_ms = Some(now);
            };
            accounts.note(&job, queue)
        });
        let noted = noting.await.map_err(|_| crate::actors::Unavailable::NotReady)?;
        noted.map_err(|error| unreadable(&error))?;
        self.done = true;
        self.accounts.start_jobs();
        let (node, number) = (self.accounts.syncs.parts.node, self.job.number);
        Ok(JobId { node, number }.to_string())
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        self.lines = None;
        if let Err(error) = self.accounts.syncs.parts.spool.remove(self.job.number) {
            tracing::warn!(%error, "what came of a broken stream cannot be removed");
        }
        self.accounts.syncs.jobs().remove(self.job.number);
    }
}
