//! All uploads of a node, on the disk and in memory: found at a start, ended in time.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::Mutex as TurnMutex;
use uuid::Uuid;

use crate::accounts::Accounts;
use crate::spool::Blocks;

use super::super::jobs::Job;
use super::super::note::{State, VERSION};
use super::UploadNote;

/// How often it is looked for uploads that took too long.
const SWEEP: Duration = Duration::from_mins(10);

/// An upload as the node knows it.
pub(in super::super) struct Upload {
    pub(super) number: Uuid,
    note: Mutex<UploadNote>,
    /// What it is among its company's jobs.
    pub(super) job: Arc<Job>,
    /// Bytes that came in whole parts.
    came: AtomicU64,
    /// Its file, once somebody opened it: one at a time takes a part or reads it.
    pub(super) file: Arc<TurnMutex<Option<Blocks>>>,
}

impl Upload {
    pub(super) fn new(number: Uuid, note: UploadNote) -> Self {
        let job = Arc::new(Job::new(number, note.job.clone(), 0));
        job.reserved.store(note.length, Ordering::Relaxed);
        let (came, file) = (AtomicU64::default(), Arc::default());
        Self { number, note: Mutex::new(note), job, came, file }
    }

    pub(super) fn note(&self) -> UploadNote {
        self.locked().clone()
    }

    pub(super) fn came(&self) -> u64 {
        self.came.load(Ordering::Relaxed)
    }

    pub(super) fn set_came(&self, bytes: u64) {
        self.came.store(bytes, Ordering::Relaxed);
        self.job.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Its rows went to a job.
    pub(super) fn set_done(&self, note: UploadNote) {
        *self.locked() = note;
    }

    fn locked(&self) -> MutexGuard<'_, UploadNote> {
        // A note is whole at every step.
        self.note.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The table of uploads.
#[derive(Default)]
pub(in super::super) struct Uploads(Mutex<BTreeMap<Uuid, Arc<Upload>>>);

impl Uploads {
    pub(super) fn insert(&self, upload: Arc<Upload>) {
        self.known().insert(upload.number, upload);
    }

    pub(super) fn get(&self, number: Uuid) -> Option<Arc<Upload>> {
        self.known().get(&number).cloned()
    }

    pub(super) fn find(&self, is_it: impl Fn(&UploadNote) -> bool) -> Option<Arc<Upload>> {
        self.known().values().find(|upload| is_it(&upload.locked())).cloned()
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Uuid, Arc<Upload>>> {
        // The table is whole at every step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Accounts {
    /// Finds the uploads that an earlier life of the node left.
    pub fn find_uploads(&self) {
        let spool = &self.syncs.parts.uploads.spool;
        let found = spool.jobs().inspect_err(|error| tracing::error!(%error, "uploads are gone"));
        for number in found.unwrap_or_default() {
            match spool.note(number).map(|note| note.map(|bytes| read(&bytes))) {
                Ok(Some(Ok(note))) => {
                    let upload = Arc::new(Upload::new(number, note));
                    if upload.note().done.is_none() {
                        self.syncs.jobs().insert(Arc::clone(&upload.job));
                    }
                    self.syncs.uploads.insert(upload);
                }
                // It had not begun when the node was killed.
                Ok(None) => self.remove_upload(number),
                Ok(Some(Err(error))) => {
                    tracing::error!(%error, "an upload's note cannot be read");
                }
                Err(error) => tracing::error!(%error, "an upload's note cannot be read"),
            }
        }
    }

    /// Ends the uploads that took too long, from time to time.
    pub async fn keep_uploads(self: Arc<Self>) {
        loop {
            self.sweep_uploads();
            tokio::time::sleep(SWEEP).await;
        }
    }

    /// Ends the uploads that took too long, and forgets where rows went that came long ago.
    pub(super) fn sweep_uploads(&self) {
        let keep_ms = self.syncs.parts.uploads.keep_ms;
        let oldest = self.parts.clock.unix_ms().saturating_sub(keep_ms);
        let known: Vec<_> = self.syncs.uploads.known().values().cloned().collect();
        for upload in known {
            if upload.locked().job.created_ms < oldest {
                self.end_upload(&upload);
            }
        }
    }

    /// Ends an upload that nobody uses right now.
    pub(super) fn end_upload(&self, upload: &Upload) -> bool {
        let Ok(mut file) = Arc::clone(&upload.file).try_lock_owned() else { return false };
        *file = None;
        self.discard_upload(upload);
        true
    }

    /// Ends an upload whose file the caller has.
    pub(super) fn discard_upload(&self, upload: &Upload) {
        self.syncs.uploads.known().remove(&upload.number);
        upload.job.change(|note| note.state = State::Cancelled);
        self.syncs.jobs().remove(upload.number);
        self.remove_upload(upload.number);
    }

    fn remove_upload(&self, number: Uuid) {
        if let Err(error) = self.syncs.parts.uploads.spool.remove(number) {
            tracing::warn!(%error, "an upload that is over cannot be removed");
        }
    }

    /// Writes an upload's note. It is on the disk then.
    pub(super) fn write_upload(&self, number: Uuid, note: &UploadNote) -> io::Result<()> {
        let bytes = serde_json::to_vec(note).map_err(io::Error::other)?;
        self.syncs.parts.uploads.spool.write_note(number, &bytes)
    }
}

/// Reads a note, its version first: another one may say anything.
fn read(bytes: &[u8]) -> io::Result<UploadNote> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let Versioned { version } = serde_json::from_slice(bytes)?;
    if version != VERSION {
        return Err(io::Error::other(format!("it is of version {version}")));
    }
    Ok(serde_json::from_slice(bytes)?)
}
