//! A part of an upload on its way in, and the whole of it on its way to a job.

use std::sync::Arc;

use tokio::sync::OwnedMutexGuard;
use zeroize::Zeroizing;

use crate::accounts::Accounts;
use crate::accounts::caller::Caller;
use crate::accounts::error::AccountError;
use crate::actors::Unavailable;
use crate::events::ids::Country;
use crate::spool::{Blocks, Part};

use super::super::unreadable;
use super::UploadView;
use super::table::Upload;

/// Bytes of a block.
const BLOCK_BYTES: usize = 48 * 1024;

/// Marks of blocks: more of the part follows, or it is whole.
const MORE: u8 = 0;
const WHOLE: u8 = 1;

type File = OwnedMutexGuard<Option<Blocks>>;

/// A part on its way in. Dropped before it is finished, it leaves nothing.
pub struct PartReceiving {
    upload: Arc<Upload>,
    file: File,
    /// Blocks that were here before it.
    before: usize,
    block: Zeroizing<Vec<u8>>,
    /// Bytes of the upload that are not here yet.
    left: u64,
    taken: u64,
    done: bool,
}

/// An upload that is here as a whole and is being read. Its rows have the room that it had. Dropped
/// before its end is said, it stays as it was.
pub struct UploadReading {
    accounts: Arc<Accounts>,
    upload: Arc<Upload>,
    file: File,
    next: usize,
    done: bool,
}

impl Accounts {
    /// Begins to take a part: where the last one ended, and one at a time.
    pub async fn receive_part(
        &self,
        caller: &Caller,
        id: &str,
        offset: u64,
    ) -> Result<PartReceiving, AccountError> {
        let upload = self.find_upload(caller, id)?;
        let turn = Arc::clone(&upload.file).try_lock_owned();
        let mut file = turn.map_err(|_| AccountError::UploadBusy)?;
        let note = upload.note();
        if note.done.is_none() {
            self.open_upload(&upload, &mut file).await?;
        }
        let here = if note.done.is_some() { note.length } else { upload.came() };
        if offset != here {
            return Err(AccountError::UploadOffset { offset: here });
        }
        let before = file.as_ref().map_or(0, Blocks::len);
        let block = Zeroizing::new(Vec::with_capacity(BLOCK_BYTES));
        let left = note.length - here;
        Ok(PartReceiving { upload, file, before, block, left, taken: 0, done: false })
    }

    /// Opens an upload's file where nobody did since the start: up to its last whole part.
    pub(super) async fn open_upload(
        &self,
        upload: &Arc<Upload>,
        file: &mut File,
    ) -> Result<(), AccountError> {
        if file.is_some() || upload.note().done.is_some() {
            return Ok(());
        }
        let key = self.job_key(&upload.job).await?;
        let (spool, number) = (Arc::clone(&self.syncs.parts.uploads.spool), upload.number);
        let opening = tokio::task::spawn_blocking(move || {
            let mut blocks = spool.resume(number, Part::Rows, key)?;
            let marked = |number: &usize| blocks.noted(*number).is_some_and(|it| it.0 == WHOLE);
            let whole = (0..blocks.len()).rev().find(marked).map_or(0, |last| last + 1);
            blocks.cut(whole)?;
            Ok::<_, std::io::Error>(blocks)
        });
        let opened = opening.await.map_err(|_| Unavailable::NotReady)?;
        let blocks = opened.map_err(|error| unreadable(&error))?;
        let items = (0..blocks.len()).filter_map(|number| blocks.noted(number));
        upload.set_came(items.map(|(_, bytes)| u64::from(bytes)).sum());
        **file = Some(blocks);
        Ok(())
    }

    /// Begins to read an upload: none where not all of it is here, or where it went to a job.
    pub async fn read_upload(
        self: &Arc<Self>,
        caller: &Caller,
        id: &str,
    ) -> Result<Option<UploadReading>, AccountError> {
        let upload = self.find_upload(caller, id)?;
        let turn = Arc::clone(&upload.file).try_lock_owned();
        let mut file = turn.map_err(|_| AccountError::UploadBusy)?;
        self.open_upload(&upload, &mut file).await?;
        let note = upload.note();
        if note.done.is_some() || upload.came() < note.length {
            return Ok(None);
        }
        self.syncs.jobs().remove(upload.number);
        let accounts = Arc::clone(self);
        Ok(Some(UploadReading { accounts, upload, file, next: 0, done: false }))
    }
}

impl PartReceiving {
    /// Takes the next bytes.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), AccountError> {
        self.taken += bytes.len() as u64;
        if self.taken > self.left {
            return Err(AccountError::SyncTooLong("the part goes beyond the upload's length"));
        }
        while !bytes.is_empty() {
            // A full one is kept back: it may be the part's last, which is marked.
            if self.block.len() == BLOCK_BYTES {
                let file = self.file.as_mut().ok_or(AccountError::UploadBusy)?;
                append(file, &self.block, MORE).map_err(|error| unreadable(&error))?;
                self.block.clear();
            }
            let room = BLOCK_BYTES - self.block.len();
            let (now, rest) = bytes.split_at(room.min(bytes.len()));
            self.block.extend_from_slice(now);
            bytes = rest;
        }
        Ok(())
    }

    /// Takes the part for whole. It is on the disk then.
    pub async fn finish(mut self) -> Result<(), AccountError> {
        if self.taken == 0 {
            self.done = true;
            return Ok(());
        }
        let mut file = self.file.take().ok_or(AccountError::UploadBusy)?;
        let block = std::mem::take(&mut self.block);
        let writing = tokio::task::spawn_blocking(move || {
            append(&mut file, &block, WHOLE)?;
            file.sync()?;
            Ok::<_, std::io::Error>(file)
        });
        // Where this fails the file stays closed, and is opened anew up to its last whole part.
        let written = writing.await.map_err(|_| Unavailable::NotReady)?;
        *self.file = Some(written.map_err(|error| unreadable(&error))?);
        self.upload.set_came(self.upload.came() + self.taken);
        self.done = true;
        Ok(())
    }
}

fn append(file: &mut Blocks, block: &[u8], mark: u8) -> std::io::Result<()> {
    let items = u32::try_from(block.len()).map_err(std::io::Error::other)?;
    file.append(block, mark, items)
}

impl Drop for PartReceiving {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let cut = self.file.as_mut().map_or(Ok(()), |file| file.cut(self.before));
        if let Err(error) = cut {
            tracing::warn!(%error, "what came of a broken part cannot be removed");
            *self.file = None;
        }
    }
}

impl UploadReading {
    /// The country its rows are of.
    pub fn country(&self) -> Country {
        self.upload.note().job.country
    }

    /// Whether nothing is to be changed.
    pub fn dry_run(&self) -> bool {
        self.upload.note().job.dry_run
    }

    /// Whether it is compressed.
    pub fn gzip(&self) -> bool {
        self.upload.note().gzip
    }

    /// The next bytes, to the end.
    pub fn next_bytes(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, AccountError> {
        let file = self.file.as_ref().filter(|file| self.next < file.len());
        let bytes = file.map(|file| file.open(self.next)).transpose();
        self.next += 1;
        Ok(bytes.map_err(|error| unreadable(&error))?)
    }

    /// Whether all of it has this digest.
    pub fn is(&self, digest: &[u8; 32]) -> bool {
        self.upload.note().digest == self.accounts.upload_digest(digest)
    }

    /// Ends it: nothing can come of it.
    pub fn discard(mut self) {
        self.done = true;
        *self.file = None;
        self.accounts.discard_upload(&self.upload);
    }

    /// Its rows went to a job: what came is gone then, and where to is known for a while.
    pub async fn went_to(mut self, job_id: &str) -> Result<UploadView, AccountError> {
        self.done = true;
        *self.file = None;
        let mut note = self.upload.note();
        note.done = Some(job_id.to_owned());
        let (accounts, number) = (Arc::clone(&self.accounts), self.upload.number);
        let noted = note.clone();
        let noting = tokio::task::spawn_blocking(move || {
            accounts.write_upload(number, &noted)?;
            accounts.syncs.parts.uploads.spool.remove_part(number, Part::Rows)
        });
        // The job has its rows, whatever becomes of this.
        let noted = noting.await.map_err(std::io::Error::other).and_then(|noted| noted);
        if let Err(error) = noted {
            tracing::warn!(%error, "that an upload is done is not noted");
        }
        self.upload.set_done(note);
        self.accounts.upload_view(&self.upload).await
    }
}

impl Drop for UploadReading {
    fn drop(&mut self) {
        if !self.done {
            self.accounts.syncs.jobs().insert(Arc::clone(&self.upload.job));
        }
    }
}
