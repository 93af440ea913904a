//! What bulk syncs keep on disk: for each job a note, the rows that came and the verdicts on them.
//!
//! | file | holds |
//! |---|---|
//! | `<job>.note` | what the job is and how far; nothing personal; replaced in one step |
//! | `<job>.rows` | the rows, in sealed blocks; gone once the job is done |
//! | `<job>.verdicts` | what became of them, in sealed blocks |
//!
//! Rows hold password hashes and addresses, so both are sealed under the job's own key before they
//! reach a file. This room must never know what a row says, or who may read it.

mod blocks;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use uuid::Uuid;
use zeroize::Zeroizing;

use crate::crypto::sealing::JobKey;
use crate::files::Files;

pub use self::blocks::Blocks;

/// How the names of files end: a note, and a part that is written once more.
const NOTE: &str = "note";
const AGAIN: &str = "again";

/// Longest note, in bytes.
const NOTE_BYTES_MAX: u64 = 64 * 1024;

/// Which file of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The rows that came.
    Rows,
    /// What became of them.
    Verdicts,
}

impl Part {
    const fn name(self) -> &'static str {
        match self {
            Self::Rows => "rows",
            Self::Verdicts => "verdicts",
        }
    }
}

/// The folder of all jobs.
pub struct Spool {
    files: Arc<dyn Files>,
    folder: PathBuf,
    deployment: [u8; 16],
}

impl Spool {
    /// The folder at a path; it is made where it is missing.
    pub fn open(files: Arc<dyn Files>, folder: PathBuf, deployment: [u8; 16]) -> io::Result<Self> {
        files.create_folder(&folder)?;
        Ok(Self { files, folder, deployment })
    }

    /// Bytes that may be written until its disk is filled to so many percent.
    pub fn room(&self, fill_percent: u8) -> io::Result<u64> {
        Ok(self.files.space(&self.folder)?.room(fill_percent))
    }

    /// The jobs that have a file here, whether or not they have a note.
    pub fn jobs(&self) -> io::Result<Vec<Uuid>> {
        let job = |path: &PathBuf| path.file_stem()?.to_str()?.parse::<Uuid>().ok();
        let mut jobs: Vec<_> = self.files.list(&self.folder)?.iter().filter_map(job).collect();
        jobs.dedup();
        Ok(jobs)
    }

    /// A job's note; none where there is none.
    pub fn note(&self, job: Uuid) -> io::Result<Option<Vec<u8>>> {
        let handle = match self.files.open_read(&self.path(job, NOTE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            handle => handle?,
        };
        let len = handle.len()?;
        let len = usize::try_from(len.min(NOTE_BYTES_MAX + 1)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len];
        handle.read_exact_at(&mut bytes, 0)?;
        Ok(Some(bytes))
    }

    /// Replaces a job's note. It is on the disk then.
    pub fn write_note(&self, job: Uuid, note: &[u8]) -> io::Result<()> {
        let beside = self.path(job, "new");
        self.remove_if_there(job, "new")?;
        let handle = self.files.open(&beside, true)?;
        handle.write_all_at(note, 0)?;
        handle.sync_data()?;
        self.files.rename(&beside, &self.path(job, NOTE))?;
        self.files.sync_folder(&self.folder)
    }

    /// Begins a part of a job.
    pub fn create(&self, job: Uuid, part: Part, key: Arc<JobKey>) -> io::Result<Blocks> {
        let handle = self.files.open(&self.path(job, part.name()), true)?;
        Ok(Blocks::new(handle, self.place(job, part), key))
    }

    /// Opens a part of a job to go on with it: what was not written whole at its end is cut off. It
    /// is begun where it is missing.
    pub fn resume(&self, job: Uuid, part: Part, key: Arc<JobKey>) -> io::Result<Blocks> {
        match self.files.open(&self.path(job, part.name()), false) {
            Ok(handle) => Blocks::resume(handle, self.place(job, part), key),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.create(job, part, key),
            Err(error) => Err(error),
        }
    }

    /// Opens a part of a job to read what is there now; none where there is no such part.
    pub fn read(&self, job: Uuid, part: Part, key: Arc<JobKey>) -> io::Result<Option<Blocks>> {
        match self.files.open_read(&self.path(job, part.name())) {
            Ok(handle) => Blocks::read_only(handle, self.place(job, part), key).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Changes a part of a job that nobody adds to, block by block: `change` says what is in the
    /// place of a block, or none where it is right as it is. The part is replaced in one step.
    pub fn rewrite(
        &self,
        job: Uuid,
        part: Part,
        key: &Arc<JobKey>,
        change: impl Fn(&[u8]) -> io::Result<Option<Zeroizing<Vec<u8>>>>,
    ) -> io::Result<()> {
        self.remove_if_there(job, AGAIN)?;
        let Some(old) = self.read(job, part, Arc::clone(key))? else { return Ok(()) };
        // As when a job goes on: the last block of one that failed may not be whole.
        let len = (0..old.len()).rev().find(|number| old.open(*number).is_ok());
        let len = len.map_or(0, |last| last + 1);
        let mut is_changed = false;
        for number in 0..len {
            is_changed |= change(&old.open(number)?)?.is_some();
        }
        if !is_changed {
            return Ok(());
        }
        let handle = self.files.open(&self.path(job, AGAIN), true)?;
        let mut new = Blocks::new(handle, self.place(job, part), Arc::clone(key));
        for number in 0..len {
            let block = old.open(number)?;
            let (mark, items) = old.noted(number).unwrap_or_default();
            new.append(change(&block)?.as_ref().unwrap_or(&block), mark, items)?;
        }
        new.sync()?;
        self.files.rename(&self.path(job, AGAIN), &self.path(job, part.name()))?;
        self.files.sync_folder(&self.folder)
    }

    /// How many bytes a job takes.
    pub fn bytes(&self, job: Uuid) -> u64 {
        self.bytes_of(job, Part::Rows).saturating_add(self.bytes_of(job, Part::Verdicts))
    }

    /// How many bytes a part of a job takes.
    pub fn bytes_of(&self, job: Uuid, part: Part) -> u64 {
        let handle = self.files.open_read(&self.path(job, part.name()));
        handle.and_then(|handle| handle.len()).unwrap_or_default()
    }

    /// Removes a part of a job.
    pub fn remove_part(&self, job: Uuid, part: Part) -> io::Result<()> {
        self.remove_if_there(job, part.name())
    }

    /// Removes a job, its note first: without it the rest is nobody's.
    pub fn remove(&self, job: Uuid) -> io::Result<()> {
        for name in [NOTE, "new", AGAIN, "rows", "verdicts"] {
            self.remove_if_there(job, name)?;
        }
        Ok(())
    }

    fn place(&self, job: Uuid, part: Part) -> blocks::Place {
        blocks::Place { deployment: self.deployment, job: *job.as_bytes(), part: part.name() }
    }

    fn path(&self, job: Uuid, name: &str) -> PathBuf {
        self.folder.join(format!("{job}.{name}"))
    }

    fn remove_if_there(&self, job: Uuid, name: &str) -> io::Result<()> {
        match self.files.remove(&self.path(job, name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
