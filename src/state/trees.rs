//! Where the trees of each generation are kept: a sled folder each, under one lock.
//!
//! The crash tests put others in their place that lose what was not flushed.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::files::Files;

use super::checkpoint::Generation;
use super::error::StateError;
use super::kv::Kv;
use super::sled_kv::SledKv;

const LOCK: &str = "lock";
const PREFIX: &str = "sled-";

/// Trees by generation.
pub trait Trees: Send + Sync {
    /// One generation, opened.
    type Kv: Kv + 'static;

    /// Opens trees that were made before. Trees that are gone do not open.
    fn open_made(&self, generation: Generation) -> Result<Self::Kv, StateError>;

    /// Makes empty trees.
    fn make(&self, generation: Generation) -> Result<Self::Kv, StateError>;

    /// Every generation that is there, in no order.
    fn generations(&self) -> Result<Vec<Generation>, StateError>;

    /// Removes a generation.
    fn remove(&self, generation: Generation) -> Result<(), StateError>;
}

/// Trees in sled folders below a state folder, which is locked as long as this lives.
pub struct SledTrees {
    path: PathBuf,
    files: Arc<dyn Files>,
    cache_bytes: u64,
    /// Unlocked when it is dropped.
    _lock: File,
}

impl SledTrees {
    /// Locks a state folder, which is made if it is not there.
    pub fn open(path: &Path, files: Arc<dyn Files>, cache_bytes: u64) -> Result<Self, StateError> {
        files.create_folder(path).map_err(StateError::file("create", path))?;
        let lock_path = path.join(LOCK);
        let lock = File::options().write(true).create(true).truncate(false).open(&lock_path);
        let lock = lock.map_err(StateError::file("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StateError::InUse { folder: path.into() }),
            Err(TryLockError::Error(error)) => {
                return Err(StateError::file("lock", lock_path)(error));
            }
        }
        Ok(Self { path: path.into(), files, cache_bytes, _lock: lock })
    }

    /// Bytes on disk of one generation.
    pub(super) fn bytes_on_disk(&self, generation: Generation) -> Result<u64, StateError> {
        let path = self.folder(generation).join("db");
        let found = fs::metadata(&path).map_err(StateError::file("measure", path))?;
        Ok(found.len())
    }

    fn folder(&self, Generation(number): Generation) -> PathBuf {
        self.path.join(format!("{PREFIX}{number:08}"))
    }
}

impl Trees for SledTrees {
    type Kv = SledKv;

    fn open_made(&self, generation: Generation) -> Result<SledKv, StateError> {
        let folder = self.folder(generation);
        if folder.join("db").exists() {
            return SledKv::open(&self.files, &folder, self.cache_bytes);
        }
        // Sled would make empty trees there and call them opened.
        let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
        Err(StateError::DoesNotOpen { folder, source: missing.into() })
    }

    fn make(&self, generation: Generation) -> Result<SledKv, StateError> {
        SledKv::open(&self.files, &self.folder(generation), self.cache_bytes)
    }

    fn generations(&self) -> Result<Vec<Generation>, StateError> {
        let mut found = Vec::new();
        let entries = fs::read_dir(&self.path).map_err(StateError::file("list", &self.path))?;
        for entry in entries {
            let path = entry.map_err(StateError::file("list", &self.path))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let number = name.strip_prefix(PREFIX).and_then(|number| number.parse().ok());
            found.extend(number.map(Generation));
        }
        Ok(found)
    }

    fn remove(&self, generation: Generation) -> Result<(), StateError> {
        let folder = self.folder(generation);
        fs::remove_dir_all(&folder).map_err(StateError::file("remove", folder))
    }
}
