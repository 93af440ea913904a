//! What is done to a node's data while the node does not run: comparing the state with the log,
//! rebuilding it. `import` fills the log from an export.
//!
//! Everything here takes the data folder's lock, so a running node refuses it by name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::import::IMPORT_FOLDER;
use super::{AppError, STATE_FOLDER, data_folder, log_folder};
use crate::actors::recovery::{self, Folded, RecoveryError};
use crate::config::Config;
use crate::deployment::description::named_near;
use crate::deployment::lock::{DataLock, lock};
use crate::deployment::{self, Deployment};
use crate::events::ids::DeploymentId;
use crate::events::record::LogPosition;
use crate::events::registry::RegistryState;
use crate::files::unfinished::Unfinished;
use crate::files::{Disk, Files};
use crate::log::LogReader;
use crate::state::checkpoint::{self, Checkpoint, Generation};
use crate::state::error::StateError;
use crate::state::folder::StateFolder;
use crate::state::plan::{self, LogBounds, Plan, plan};
use crate::state::store::Store;
use crate::state::verify::{Comparison, compare};

/// Where the log is folded to for a comparison, in the data folder.
const SCRATCH_FOLDER: &str = "state.verify";

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

/// Refuses a log of another deployment.
pub(super) fn of_deployment(
    reader: &LogReader,
    path: &Path,
    own: &Deployment,
) -> Result<(), AppError> {
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
pub(super) fn said(error: &dyn std::error::Error) -> String {
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
pub(super) struct Scratch {
    pub(super) path: PathBuf,
    _known: Unfinished,
}

impl Scratch {
    /// Takes what an interrupted run left away.
    pub(super) fn new(path: PathBuf) -> Result<Self, AppError> {
        remove_folder(&path)?;
        Ok(Self { _known: Unfinished::known(path.clone()), path })
    }

    fn remove(self) -> Result<(), AppError> {
        remove_folder(&self.path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // After an error; the next run takes away what is left all the same.
        let _ = fs::remove_dir_all(&self.path);
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

/// Removes a folder and what is in it, if it is there.
pub(super) fn remove_folder(path: &Path) -> Result<(), AppError> {
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
