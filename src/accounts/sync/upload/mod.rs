//! Uploads: rows that come in parts, so that what was cut off goes on where it was.
//!
//! ```text
//! begin: length, digest -> parts, each whole or not at all, sealed -> all are here
//!   -> digest is right: read as a stream is, into a job's rows -> queued
//! ```
//!
//! Nothing is read of the rows before all of them are here. What came lies as it came, sealed, in a
//! spool of its own; a part's last block has a mark, and blocks behind the last mark are nobody's.
//! An upload is for its company a job that is `receiving`: it is listed, takes the room it said it
//! needs, and may be cancelled. It ends some hours after it began, whole or not.

mod part;
mod table;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::accounts::Accounts;
use crate::accounts::caller::Caller;
use crate::accounts::error::AccountError;
use crate::accounts::vault::KeyFailure;
use crate::accounts::view::rfc3339;
use crate::actors::Unavailable;
use crate::crypto::sealing::JobKey;
use crate::events::ids::Country;
use crate::events::policy::Scope;
use crate::spool::Spool;

use super::JobView;
use super::jobs::{Full, Job};
use super::note::{JobId, Note, State, VERSION};
use super::unreadable;
use super::verdict::Counts;

pub use self::part::{PartReceiving, UploadReading};
use self::table::Upload;
pub(super) use self::table::Uploads;

/// What uploads are made of.
pub struct UploadParts {
    /// Where parts are kept.
    pub spool: Arc<Spool>,
    /// How long an upload may take, in milliseconds.
    pub keep_ms: u64,
}

/// An upload that is wanted.
#[derive(Debug, Clone, Copy)]
pub struct UploadAsked {
    /// The country its rows are of.
    pub country: Country,
    /// Whether nothing is to be changed.
    pub dry_run: bool,
    /// Whether what is sent is compressed.
    pub gzip: bool,
    /// How many bytes are sent.
    pub length: u64,
    /// Their SHA-256.
    pub digest: [u8; 32],
}

/// An upload as its company sees it.
#[derive(Debug, Serialize)]
pub struct UploadView {
    /// Its id.
    pub upload_id: String,
    /// How many bytes are here: where the next part begins.
    pub offset: u64,
    /// How many there will be.
    pub length: u64,
    /// When it ends, whole or not, RFC 3339.
    pub expires_at: String,
    /// The job its rows went to, once all are here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
}

/// What is noted of an upload: nothing personal.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct UploadNote {
    version: u32,
    /// What its job will begin with.
    job: Note,
    gzip: bool,
    length: u64,
    /// Digest of the bytes, keyed: that of a short file could be guessed.
    digest: String,
    /// The job its rows went to.
    done: Option<String>,
}

impl Accounts {
    /// Begins an upload, or finds the company's that is as wanted and not whole yet.
    pub async fn begin_upload(
        &self,
        caller: &Caller,
        asked: &UploadAsked,
    ) -> Result<UploadView, AccountError> {
        caller.require(Scope::Sync)?;
        caller.require_country(asked.country)?;
        self.sweep_uploads();
        let digest = self.upload_digest(&asked.digest);
        let is_it = |note: &UploadNote| {
            (note.job.company, note.job.country, note.job.dry_run, note.gzip)
                == (caller.company, asked.country, asked.dry_run, asked.gzip)
                && (note.length, note.digest.as_str()) == (asked.length, digest.as_str())
                && note.done.is_none()
        };
        if let Some(upload) = self.syncs.uploads.find(is_it) {
            return self.upload_view(&upload).await;
        }
        let number = Uuid::from_bytes(*self.new_user_id()?.as_bytes());
        let job = self.note_of(number, caller, asked).await?;
        let (length, gzip) = (asked.length, asked.gzip);
        let note = UploadNote { version: VERSION, job, gzip, length, digest, done: None };
        let upload = Arc::new(Upload::new(number, note.clone()));
        self.reserve(&upload.job, length)?;
        if let Err(error) = self.write_upload(number, &note) {
            self.syncs.jobs().remove(number);
            return Err(unreadable(&error).into());
        }
        self.syncs.uploads.insert(Arc::clone(&upload));
        self.upload_view(&upload).await
    }

    /// One of a company's uploads.
    pub async fn upload(&self, caller: &Caller, id: &str) -> Result<UploadView, AccountError> {
        let upload = self.find_upload(caller, id)?;
        self.upload_view(&upload).await
    }

    /// Takes an upload back, where a job is one that is not whole: what came of it is gone then.
    pub fn withdraw_upload(
        &self,
        caller: &Caller,
        id: &str,
    ) -> Result<Option<JobView>, AccountError> {
        let Ok(upload) = self.find_upload(caller, id) else { return Ok(None) };
        // One that a part is coming for ends with that, as a job is told to.
        if upload.note().done.is_some() || !self.end_upload(&upload) {
            return Ok(None);
        }
        Ok(Some(self.syncs.view(&upload.job)))
    }

    /// The digest of what is sent, as it is kept.
    fn upload_digest(&self, digest: &[u8; 32]) -> String {
        hex::encode(self.upload_digests.digest(digest))
    }

    async fn note_of(
        &self,
        number: Uuid,
        caller: &Caller,
        asked: &UploadAsked,
    ) -> Result<Note, AccountError> {
        let key = JobKey::generate().map_err(|_| KeyFailure::Unavailable("no randomness"))?;
        let place = format!("sync-job/{number}");
        let company = caller.company;
        let sealing = self.parts.vault.seal_for_company(company.as_str(), &place, key.expose());
        let (branch, sealed_key) = sealing.await?;
        Ok(Note {
            version: VERSION,
            company,
            key: caller.key,
            country: asked.country,
            dry_run: asked.dry_run,
            request: caller.cause.request,
            state: State::Receiving,
            lines: 0,
            rows: 0,
            verdict_bytes: 0,
            waiting: 0,
            sealed_key: hex::encode(sealed_key),
            branch,
            created_ms: self.parts.clock.unix_ms(),
            received_ms: None,
            cancel_asked: false,
            started_ms: None,
            finished_ms: None,
            counts: Counts::default(),
        })
    }

    /// Takes all the room that an upload will need, so that no part of it is refused.
    fn reserve(&self, job: &Arc<Job>, length: u64) -> Result<(), AccountError> {
        let bounds = &self.syncs.parts.bounds;
        // A disk that does not say how full it is says so when it is.
        let disk = self.syncs.parts.uploads.spool.room(bounds.fill_percent).unwrap_or(u64::MAX);
        let mut jobs = self.syncs.jobs();
        if jobs.of(job.note().company).len() >= bounds.company_jobs {
            return Err(AccountError::SyncQuota("the company has as many jobs as are kept"));
        }
        jobs.insert(Arc::clone(job));
        let room = jobs.room_for(job, length, disk, bounds);
        if room.is_err() {
            jobs.remove(job.number);
        }
        room.map_err(|full| match full {
            Full::TooLong => {
                AccountError::SyncTooLong("an upload is longer than a company may have")
            }
            Full::Company => AccountError::SyncQuota("the company's jobs take what it may have"),
            Full::Total => AccountError::SpoolFull,
            Full::Disk => Unavailable::ReadOnly.into(),
        })
    }

    fn find_upload(&self, caller: &Caller, id: &str) -> Result<Arc<Upload>, AccountError> {
        caller.require(Scope::Sync)?;
        let not_found = || AccountError::NotFound("the upload was");
        let id: JobId = id.parse().map_err(|_| not_found())?;
        if id.node != self.syncs.parts.node {
            return Err(AccountError::JobNodeUnreachable(id.node));
        }
        self.sweep_uploads();
        let upload = self.syncs.uploads.get(id.number);
        let of_caller = |upload: &Arc<Upload>| upload.note().job.company == caller.company;
        let upload = upload.filter(of_caller).ok_or_else(not_found)?;
        if upload.job.is_cancelled() && self.end_upload(&upload) {
            return Err(not_found());
        }
        Ok(upload)
    }

    async fn upload_view(&self, upload: &Arc<Upload>) -> Result<UploadView, AccountError> {
        // Whoever has the file now has opened it.
        if let Ok(mut file) = Arc::clone(&upload.file).try_lock_owned() {
            self.open_upload(upload, &mut file).await?;
        }
        let note = upload.note();
        let keep_ms = self.syncs.parts.uploads.keep_ms;
        let id = JobId { node: self.syncs.parts.node, number: upload.number };
        Ok(UploadView {
            upload_id: id.to_string(),
            offset: if note.done.is_some() { note.length } else { upload.came() },
            length: note.length,
            expires_at: rfc3339(note.job.created_ms.saturating_add(keep_ms)),
            job_id: note.done,
        })
    }
}
