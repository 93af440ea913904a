//! What is done to a node's data while the node does not run: comparing the state with the log,
//! rebuilding it, filling the log from an export.
//!
//! Everything here takes the data folder's lock, so a running node refuses it by name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use super::{AppError, LOG_FOLDER, STATE_FOLDER, data_folder, log_folder};
use crate::actors::recovery::{self, Folded, RecoveryError};
use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::deployment::description::named_near;
use crate::deployment::lock::{DataLock, lock};
use crate::deployment::{self, Deployment};
use crate::events::codec;
use crate::events::ids::DeploymentId;
use crate::events::record::{LogPosition, Record, Register};
use crate::events::registry::RegistryState;
use crate::events::stamp::{Incarnation, Origin};
use crate::files::{Disk, Files};
use crate::log::{
    Append, AppendError, Batch, Log, LogError, LogOptions, LogReader, LogWriter, StoredRecord,
};
use crate::state::checkpoint::{self, Checkpoint, Generation};
use crate::state::error::StateError;
use crate::state::folder::StateFolder;
use crate::state::plan::{self, LogBounds, Plan, plan};
use crate::state::store::Store;
use crate::state::verify::{Comparison, compare};

/// Where the log is folded to for a comparison, in the data folder.
const SCRATCH_FOLDER: &str = "state.verify";

/// Where an import is written to before it takes the log's place, in the data folder.
const IMPORT_FOLDER: &str = "log.import";

/// Records of an import in one commit frame.
const IMPORT_RECORDS: usize = 4096;

/// Bytes of an import in one commit frame, roughly.
const IMPORT_BYTES: usize = 4 * 1024 * 1024;

/// What is being done, for whoever shows progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// Events are folded.
    Folding,
    /// Entries of two states are compared.
    Comparing,
}

/// Is told what is being done and how much of it is done.
pub type Progress<'a> = &'a mut dyn FnMut(Doing, u64);

/// What a comparison of the state with the log came to.
#[derive(Debug)]
pub enum StateVerdict {
    /// The next start would not use the state at all, for this reason.
    Unusable(String),
    /// The two were compared.
    Compared(Comparison),
}

/// A data folder that is locked, and a reader of its log.
struct Held {
    deployment: Deployment,
    reader: LogReader,
    files: Arc<dyn Files>,
    cache_bytes: u64,
    _lock: DataLock,
}

impl Held {
    fn open(config: &Config) -> Result<Self, AppError> {
        let deployment = deployment::open(&data_folder(config))?;
        let lock = lock(deployment.folder())?;
        let files: Arc<dyn Files> = Arc::new(Disk);
        let path = log_folder(deployment.folder());
        let reader = LogReader::open_path(&files, &path)?;
        of_deployment(&reader, &path, &deployment)?;
        let cache_bytes = config.state.cache_mib << 20;
        Ok(Self { deployment, reader, files, cache_bytes, _lock: lock })
    }

    fn id(&self) -> DeploymentId {
        self.deployment.description().deployment.id
    }

    fn state_folder(&self, name: &str) -> Result<StateFolder, StateError> {
        let path = self.deployment.folder().join(name);
        StateFolder::open(&path, Arc::clone(&self.files), self.cache_bytes)
    }

    /// Folds the whole log into new trees of a folder.
    fn fold_anew(
        &self,
        folder: &StateFolder,
        progress: Progress<'_>,
    ) -> Result<(Store, Generation, Folded), AppError> {
        let mut registry = RegistryState::default();
        loop {
            let (kv, generation) = folder.begin_rebuild()?;
            let store = Store::new(Arc::new(kv));
            let start = LogPosition::START;
            let done = recovery::fold_log(&self.reader, start, &store, &mut registry, |records| {
                progress(Doing::Folding, records);
            })?;
            if !done.distrust_changed {
                return Ok((store, generation, done));
            }
            // What was folded did not know who is distrusted: fold it again, knowing.
            let distrust = registry.distrust;
            registry = RegistryState { distrust, ..RegistryState::default() };
        }
    }
}

fn of_deployment(reader: &LogReader, path: &Path, own: &Deployment) -> Result<(), AppError> {
    if reader.deployment() == own.id() {
        return Ok(());
    }
    let found = Box::new(named_near(path, reader.deployment()));
    Err(AppError::Foreign { path: path.to_owned(), found, expected: Box::new(own.named()) })
}

/// Brings the state up to the log as a start would, folds the log into a folder of its own, and
/// compares the two. Keeps the first `keep` differences.
pub fn verify_state(
    config: &Config,
    keep: usize,
    progress: Progress<'_>,
) -> Result<StateVerdict, AppError> {
    let held = Held::open(config)?;
    let folder = held.state_folder(STATE_FOLDER)?;
    let actual = match stored(&held, &folder) {
        Ok(Ok(store)) => store,
        Ok(Err(why)) => return Ok(StateVerdict::Unusable(why)),
        Err(AppError::Recovery(RecoveryError::State(error))) => {
            return Ok(StateVerdict::Unusable(said(&error)));
        }
        Err(error) => return Err(error),
    };
    let scratch = Scratch::new(held.deployment.folder().join(SCRATCH_FOLDER))?;
    let reference_folder = held.state_folder(SCRATCH_FOLDER)?;
    let (reference, _, done) = held.fold_anew(&reference_folder, progress)?;
    // A running node has taken away what is too old; a fold has not.
    for store in [&actual, &reference] {
        store.forget_repeats(done.greatest)?;
    }
    let comparison = compare(&*actual.kv(), &*reference.kv(), keep, |entries| {
        progress(Doing::Comparing, entries);
    })?;
    drop((reference, reference_folder));
    scratch.remove()?;
    Ok(StateVerdict::Compared(comparison))
}

/// The state as a start would use it, or why it would not.
fn stored(held: &Held, folder: &StateFolder) -> Result<Result<Store, String>, AppError> {
    let path = held.deployment.folder().join(STATE_FOLDER);
    let reading = checkpoint::read(&*held.files, &path)?;
    let bounds = LogBounds { deployment: held.id(), end: held.reader.end() };
    let checkpoint = match plan(&reading, bounds, plan::Trees::Untried) {
        Plan::Open { checkpoint, .. } => checkpoint,
        Plan::Rebuild { reason } => return Ok(Err(reason.to_string())),
    };
    let (kv, reach) = match folder.open_counting(&checkpoint) {
        Ok(opened) => opened,
        Err(error @ StateError::DoesNotOpen { .. }) => return Ok(Err(said(&error))),
        Err(error) => return Err(error.into()),
    };
    let from = match plan(&reading, bounds, plan::Trees::Open { reach }) {
        Plan::Open { replay_from, .. } => replay_from,
        Plan::Rebuild { reason } => return Ok(Err(reason.to_string())),
    };
    let store = Store::new(Arc::new(kv));
    let positions = store.registry_positions()?;
    let mut registry = recovery::fold_registry(&held.reader, positions)?;
    let replayed = recovery::fold_log(&held.reader, from, &store, &mut registry, |_| {})?;
    if replayed.distrust_changed {
        return Ok(Err("it does not know yet that a life was cut off".to_owned()));
    }
    Ok(Ok(store))
}

/// An error with what caused it.
fn said(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// A folder that is there for a while.
struct Scratch(PathBuf);

impl Scratch {
    /// Takes what an interrupted run left away.
    fn new(path: PathBuf) -> Result<Self, AppError> {
        remove_folder(&path)?;
        Ok(Self(path))
    }

    fn remove(self) -> Result<(), AppError> {
        remove_folder(&self.0)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // After an error; the next run takes away what is left all the same.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Removes what interrupted commands left in a locked data folder: it may hold what was erased
/// since.
pub fn remove_leftovers(data: &Path) -> Result<(), AppError> {
    for name in [SCRATCH_FOLDER, IMPORT_FOLDER] {
        remove_folder(&data.join(name))?;
    }
    Ok(())
}

fn remove_folder(path: &Path) -> Result<(), AppError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(AppError::system("remove a folder that is not needed")(error))
        }
        _ => Ok(()),
    }
}

/// Folds the log into a new state, which takes the place of the old one once it is whole.
pub fn rebuild_state(config: &Config, progress: Progress<'_>) -> Result<Folded, AppError> {
    let held = Held::open(config)?;
    let folder = held.state_folder(STATE_FOLDER)?;
    let (store, generation, done) = held.fold_anew(&folder, progress)?;
    let checkpoint = Checkpoint {
        deployment: held.id(),
        generation,
        applied_below: held.reader.end(),
        greatest: done.greatest,
    };
    folder.take_checkpoint(&*store.kv(), &checkpoint)?;
    folder.remove_all_but(Some(generation))?;
    Ok(done)
}

/// What an import brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Imported {
    /// Events.
    pub events: u64,
    /// Of these, events about keys whose bodies were left out.
    pub keys_without_body: u64,
}

/// Why an export was not imported. The node's data is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The data folder or a file in it is not as it must be.
    #[error(transparent)]
    App(#[from] AppError),
    /// The node has events already.
    #[error("the log in {} holds events already: import into an empty node only", folder.display())]
    NotEmpty {
        /// The log's folder.
        folder: PathBuf,
    },
    /// The records do not make a log.
    #[error("the export does not make a whole log; was it made of some events only?")]
    Refused(#[source] AppendError),
    /// The writer took nothing.
    #[error("the log did not take the records: {0}")]
    NotTaken(String),
}

impl From<LogError> for ImportError {
    fn from(error: LogError) -> Self {
        Self::App(error.into())
    }
}

/// Fills the log of a node that holds no event from an export of its deployment. The new log takes
/// the old one's place once it is whole; the state is folded anew at the next start.
pub fn import(
    config: &Config,
    file: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<Imported, ImportError> {
    let deployment = deployment::open(&data_folder(config)).map_err(AppError::from)?;
    let _lock = lock(deployment.folder()).map_err(AppError::from)?;
    let files: Arc<dyn Files> = Arc::new(Disk);
    let reader = LogReader::open_path(&files, file)?;
    of_deployment(&reader, file, &deployment)?;
    let folder = log_folder(deployment.folder());
    if holds_events(&files, &folder)? {
        return Err(ImportError::NotEmpty { folder });
    }
    let unborn = Scratch::new(deployment.folder().join(IMPORT_FOLDER))?;
    let imported = write(config, &deployment, (&files, &unborn.0), &reader, progress)?;
    // What was folded from another log must not be taken for this one's.
    remove_folder(&deployment.folder().join(STATE_FOLDER))?;
    remove_folder(&folder)?;
    fs::rename(&unborn.0, deployment.folder().join(LOG_FOLDER))
        .and_then(|()| files.sync_folder(deployment.folder()))
        .map_err(AppError::system("put the imported log in its place"))?;
    Ok(imported)
}

fn holds_events(files: &Arc<dyn Files>, folder: &Path) -> Result<bool, LogError> {
    let there = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if !there {
        return Ok(false);
    }
    Ok(LogReader::open_path(files, folder)?.scan(LogPosition::START, None).next().is_some())
}

/// Writes the records of an export to a new log.
fn write(
    config: &Config,
    deployment: &Deployment,
    (files, folder): (&Arc<dyn Files>, &Path),
    reader: &LogReader,
    progress: &mut dyn FnMut(u64),
) -> Result<Imported, ImportError> {
    let description = deployment.description();
    let clock = SystemClock::new();
    let options = LogOptions {
        segment_bytes: u32::try_from(config.log.segment_mib << 20).unwrap_or(u32::MAX),
        stop_percent: u8::try_from(config.log.stop_percent).unwrap_or(100),
        ..LogOptions::new(description.deployment.id, Arc::new(move || clock.monotonic()))
    };
    let (log, _) = Log::open(Arc::clone(files), folder, options)?;
    // Lives count from 1: this one records nothing and is no record's.
    let incarnation = Incarnation { counter: 0, tag: 0 };
    let origin = Origin { region: description.region, node: description.node, incarnation };
    let writer = log.start_writer(origin, Box::new(|_| {}))?;
    let mut imported = Imported { events: 0, keys_without_body: 0 };
    let (mut batch, mut bytes) = (Vec::new(), 0_usize);
    for stored in reader.scan(LogPosition::START, None) {
        let stored = stored?;
        imported.events += 1;
        imported.keys_without_body += u64::from(lacks_key(&stored)?);
        progress(imported.events);
        bytes += stored.record.body.as_ref().map_or(0, |body| body.len());
        batch.push(stored.record);
        if batch.len() >= IMPORT_RECORDS || bytes >= IMPORT_BYTES {
            append(&writer, std::mem::take(&mut batch))?;
            bytes = 0;
        }
    }
    append(&writer, batch)?;
    writer.close();
    Ok(imported)
}

fn lacks_key(stored: &StoredRecord) -> Result<bool, LogError> {
    if stored.record.body.is_some() {
        return Ok(false);
    }
    let position = stored.position;
    let header = codec::decode_header(&stored.record.header)
        .map_err(|source| LogError::Header { position, source })?;
    Ok(matches!(header.register, Register::UserKey(_) | Register::BranchKey(_)))
}

/// Makes records durable.
fn append(writer: &LogWriter, records: Vec<Record>) -> Result<(), ImportError> {
    let (sender, done) = mpsc::sync_channel(1);
    let append = Append {
        epoch: writer.epoch(),
        batch: Batch::Foreign(records),
        done: Box::new(move |outcome| drop(sender.try_send(outcome))),
    };
    writer.append(append).map_err(|refused| ImportError::NotTaken(said(&refused.reason)))?;
    match done.recv() {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(ImportError::Refused(error)),
        Err(_) => Err(ImportError::NotTaken("the writer ended".to_owned())),
    }
}
