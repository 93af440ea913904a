//! Backups: a copy of what a node cannot do without, made while it runs, and a node made from one.
//!
//! ```text
//! BACKUP/                    0700
//!   backup.json              whose it is, of when, how much
//!   deployment.json          as in the data folder
//!   log/                     every segment and the erase list
//!   replication/cursor       how far the node's own events had been published
//!   keys/                    only where that was asked for, and never the operator key
//! ```
//!
//! Left out is what can be made again (`state/`), and what an old copy would vouch for without
//! knowing (`tokens/`). Both folders are written beside and renamed: they are there whole or not at
//! all.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::replication::{CURSOR_FILE, REPLICATION_FOLDER};
use super::{AppError, data_folder, log_folder};
use crate::accounts::view::rfc3339;
use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::deployment::description::DESCRIPTION_FILE;
use crate::deployment::error::DeploymentError;
use crate::deployment::read_only::READ_ONLY_FILE;
use crate::deployment::{self, KEYS_FOLDER, OPERATOR_KEY_FILE, catching_up};
use crate::files::unfinished::{Unfinished, remove_leftovers};
use crate::files::{self, Disk, Files};
use crate::log::{self, LogError, Report};

/// What says whose a backup is.
const MANIFEST_FILE: &str = "backup.json";

/// The version of a backup's layout.
const FORMAT: u32 = 1;

/// Why a backup was not made, or not restored. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The node's or the backup's deployment is not as it must be.
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
    /// The log cannot be read.
    #[error(transparent)]
    App(#[from] AppError),
    /// The system refused something.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something is where the new folder is to be.
    #[error("{} is there already; name a folder that is not", .0.display())]
    Taken(PathBuf),
    /// The folder holds no backup.
    #[error("{} holds no backup: {reason}", path.display())]
    NoBackup {
        /// The folder.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The backup is of a later version of the program.
    #[error("{} is of format {found}; this program knows up to {FORMAT}", path.display())]
    Newer {
        /// Its manifest.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// What was copied is damaged.
    #[error("{findings} things are wrong with {}, the first one at {first}", path.display())]
    Damaged {
        /// The log.
        path: PathBuf,
        /// How many things.
        findings: u64,
        /// The first one.
        first: String,
    },
    /// Events that were backed up are not there any more: what is damaged at the very end cannot be
    /// told from what was never finished.
    #[error("{} holds {found} events where {expected} were backed up", path.display())]
    Short {
        /// The log.
        path: PathBuf,
        /// How many there are.
        found: u64,
        /// How many there were.
        expected: u64,
    },
    /// The backup was made without keys, and none were named.
    #[error("the backup holds no keys; name the folder they are kept in with --keys")]
    NoKeys,
}

impl From<LogError> for BackupError {
    fn from(error: LogError) -> Self {
        Self::App(error.into())
    }
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    move |source| BackupError::Io { doing, path: path.to_owned(), source }
}

/// What a backup says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of the layout.
    pub format: u32,
    /// The deployment's name and id.
    pub deployment: String,
    /// The node, `region/node`.
    pub node: String,
    /// When it was made, RFC 3339.
    pub made_at: String,
    /// Events in the log.
    pub events: u64,
    /// Bytes of the log's files.
    pub bytes: u64,
    /// Whether the region's keys are in it.
    pub with_keys: bool,
}

/// What is being done, for whoever shows progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// Files are copied.
    Copying,
    /// The copy is checked.
    Checking,
}

/// Is told what is being done and how many bytes of it are done.
pub type Progress<'a> = &'a mut dyn FnMut(Doing, u64);

/// Copies the configured node's log, description and, where wanted, keys into a new folder, and
/// checks the copy. The node may run meanwhile.
pub fn backup(
    config: &Config,
    to: &Path,
    with_keys: bool,
    progress: Progress<'_>,
) -> Result<Manifest, BackupError> {
    let data = data_folder(config);
    let deployment = deployment::open(&data)?;
    let made = NewFolder::beside(to)?;
    made.copy(&data, Path::new(DESCRIPTION_FILE))?;
    made.copy_if_there(&data, Path::new(READ_ONLY_FILE))?;
    // Before the log: a cursor beyond the copied log's end would hold events back.
    let cursor = Path::new(REPLICATION_FOLDER).join(CURSOR_FILE);
    if data.join(&cursor).exists() {
        made.folder(REPLICATION_FOLDER)?;
        made.copy(&data, &cursor)?;
    }
    if with_keys {
        made.keys(&data.join(KEYS_FOLDER))?;
    }
    let report = made.log(&log_folder(&data), progress)?;
    let description = deployment.description();
    let manifest = Manifest {
        format: FORMAT,
        deployment: deployment.named().to_string(),
        node: description.node_name().to_string(),
        made_at: rfc3339(SystemClock::new().unix_ms()),
        events: report.records,
        bytes: report.bytes,
        with_keys,
    };
    made.write(MANIFEST_FILE, &manifest)?;
    made.finish()?;
    Ok(manifest)
}

/// Makes the configured node's data folder, which must not be there yet or be empty, from a backup.
/// Keys are the backup's own, or those of the folder `keys`. The node's first start folds the log,
/// and answers no company before it has what the other nodes have.
pub fn restore(
    config: &Config,
    from: &Path,
    keys: Option<&Path>,
    progress: Progress<'_>,
) -> Result<Manifest, BackupError> {
    let manifest = read_manifest(from)?;
    let own_keys = from.join(KEYS_FOLDER);
    let keys = keys.or_else(|| manifest.with_keys.then_some(own_keys.as_path()));
    let keys = keys.ok_or(BackupError::NoKeys)?;
    let made = NewFolder::beside(&data_folder(config))?;
    made.copy(from, Path::new(DESCRIPTION_FILE))?;
    made.copy_if_there(from, Path::new(READ_ONLY_FILE))?;
    made.keys(keys)?;
    deployment::open(&made.path)?;
    let cursor = Path::new(REPLICATION_FOLDER).join(CURSOR_FILE);
    if from.join(&cursor).exists() {
        made.folder(REPLICATION_FOLDER)?;
        made.copy(from, &cursor)?;
    }
    let (path, expected) = (log_folder(from), manifest.events);
    let found = made.log(&path, progress)?.records;
    if found != expected {
        return Err(BackupError::Short { path, found, expected });
    }
    catching_up::mark_durably(&made.path)?;
    made.finish()?;
    Ok(manifest)
}

/// What is read of a manifest first: a later version may say other things.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

fn read_manifest(from: &Path) -> Result<Manifest, BackupError> {
    let path = from.join(MANIFEST_FILE);
    let unfit = |reason: String| BackupError::NoBackup { path: from.to_owned(), reason };
    let text = fs::read(&path).map_err(|error| unfit(format!("{MANIFEST_FILE}: {error}")))?;
    let unreadable = |error: serde_json::Error| unfit(format!("{MANIFEST_FILE}: {error}"));
    let Version { format: found } = serde_json::from_slice(&text).map_err(unreadable)?;
    if found > FORMAT {
        return Err(BackupError::Newer { path, found });
    }
    serde_json::from_slice(&text).map_err(unreadable)
}

/// A folder in the making, which is taken away again unless it gets its name.
struct NewFolder {
    path: PathBuf,
    named: PathBuf,
    files: Arc<dyn Files>,
    _known: Unfinished,
}

impl NewFolder {
    fn beside(named: &Path) -> Result<Self, BackupError> {
        let named = std::path::absolute(named).map_err(io_error("find", named))?;
        let is_free = match fs::read_dir(&named) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        let (Some(parent), Some(_), true) = (named.parent(), named.file_name(), is_free) else {
            return Err(BackupError::Taken(named));
        };
        let files: Arc<dyn Files> = Arc::new(Disk);
        files.create_folder(parent).map_err(io_error("make the folder", parent))?;
        remove_leftovers(&named);
        let path = Unfinished::path_beside(&named);
        files.create_folder(&path).map_err(io_error("make the folder", &path))?;
        let known = Unfinished::known(path.clone());
        Ok(Self { path, named, files, _known: known })
    }

    fn folder(&self, name: &str) -> Result<PathBuf, BackupError> {
        let path = self.path.join(name);
        self.files.create_folder(&path).map_err(io_error("make the folder", &path))?;
        Ok(path)
    }

    /// Copies a file to the same place in this folder.
    fn copy(&self, from: &Path, name: &Path) -> Result<(), BackupError> {
        let (from, to) = (from.join(name), self.path.join(name));
        files::copy(self.files.as_ref(), &from, &to, &mut |_| {})
            .map_err(io_error("copy", &from))?;
        let folder = to.parent().unwrap_or(&self.path);
        self.files.sync_folder(folder).map_err(io_error("make durable the folder", folder))
    }

    /// The same, if the file is there.
    fn copy_if_there(&self, from: &Path, name: &Path) -> Result<(), BackupError> {
        if from.join(name).exists() { self.copy(from, name) } else { Ok(()) }
    }

    /// Copies key files, all but the operator's: that one is no node's.
    fn keys(&self, from: &Path) -> Result<(), BackupError> {
        let keys = self.folder(KEYS_FOLDER)?;
        for path in self.files.list(from).map_err(io_error("list", from))? {
            let Some(name) = path.file_name().filter(|name| *name != OPERATOR_KEY_FILE) else {
                continue;
            };
            files::copy(self.files.as_ref(), &path, &keys.join(name), &mut |_| {})
                .map_err(io_error("copy", &path))?;
        }
        self.files.sync_folder(&keys).map_err(io_error("make durable the folder", &keys))
    }

    /// Copies a log and checks the copy.
    fn log(&self, from: &Path, progress: Progress<'_>) -> Result<Report, BackupError> {
        let to = self.folder(super::LOG_FOLDER)?;
        log::copy(&self.files, from, &to, &mut |bytes| progress(Doing::Copying, bytes))?;
        let checked = &mut |done: log::Progress| progress(Doing::Checking, done.bytes);
        let report = log::verify(&self.files, &to, checked)?;
        if report.is_sound() {
            return Ok(report);
        }
        let first = report.findings.first();
        let first = first.map(|found| format!("{}: {}", found.position, found.problem));
        Err(BackupError::Damaged {
            path: from.to_owned(),
            findings: report.findings_total,
            first: first.unwrap_or_default(),
        })
    }

    fn write(&self, name: &str, content: &impl Serialize) -> Result<(), BackupError> {
        let path = self.path.join(name);
        let text = serde_json::to_vec_pretty(content).map_err(io::Error::other);
        text.and_then(|text| {
            let file = self.files.open(&path, true)?;
            file.write_all_at(&text, 0)?;
            file.sync_data()
        })
        .map_err(io_error("write", &path))
    }

    /// Gives it its name, durably.
    fn finish(self) -> Result<(), BackupError> {
        let sync = |folder: &Path| {
            self.files.sync_folder(folder).map_err(io_error("make durable the folder", folder))
        };
        sync(&self.path)?;
        // Replaces an empty folder or nothing.
        fs::rename(&self.path, &self.named).map_err(io_error("make the folder", &self.named))?;
        sync(self.named.parent().unwrap_or(&self.named))
    }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        // Gone already where it got its name; a leftover does no harm.
        let _ = fs::remove_dir_all(&self.path);
    }
}
