//! Small files that are written whole or not at all, and secrets that only their owner may read.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::error::DeploymentError;

/// Permission bits of group and others.
const OTHERS: u32 = 0o077;

/// Says what was tried on which path when the system refuses.
pub(super) fn io_error(
    doing: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> DeploymentError {
    move |source| DeploymentError::Io { doing, path: path.to_owned(), source }
}

/// Makes a folder that only its owner may enter; it must not exist.
pub(super) fn create_private_folder(folder: &Path) -> Result<(), DeploymentError> {
    DirBuilder::new().mode(0o700).create(folder).map_err(io_error("make the folder", folder))
}

/// Makes a folder that only its owner may enter, unless there is a folder already.
pub(super) fn ensure_private_folder(folder: &Path) -> Result<(), DeploymentError> {
    if folder.is_dir() { Ok(()) } else { create_private_folder(folder) }
}

/// Writes a file that does not exist yet and waits until it is durable. Its name is durable once
/// the folder is, see [`sync_folder`].
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), DeploymentError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(path).map_err(io_error("make the file", path))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io_error("write", path))
}

/// Puts a file in the place of the one at `path`, whole or not at all, and durably.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), DeploymentError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".new-{}", std::process::id()));
    let beside = PathBuf::from(beside);
    // One that a killed process of this id left.
    let _ = fs::remove_file(&beside);
    write_new(&beside, bytes)?;
    fs::rename(&beside, path).map_err(io_error("replace", path))?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Removes a file, durably, if it is there.
pub(super) fn remove_durably(path: &Path) -> Result<(), DeploymentError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io_error("delete", path)(error))
        }
        _ => path.parent().map_or(Ok(()), sync_folder),
    }
}

/// Waits until the names in a folder are durable.
pub(super) fn sync_folder(folder: &Path) -> Result<(), DeploymentError> {
    File::open(folder)
        .and_then(|open| open.sync_all())
        .map_err(io_error("make durable the folder", folder))
}

/// Whether there is such a file or folder; one that group or others may touch is refused.
pub(super) fn exists_private(path: &Path) -> Result<bool, DeploymentError> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        found => check_mode(&found.map_err(io_error("look at", path))?, path).map(|()| true),
    }
}

fn check_mode(found: &Metadata, path: &Path) -> Result<(), DeploymentError> {
    let mode = found.permissions().mode() & 0o7777;
    if mode & OTHERS == 0 {
        Ok(())
    } else {
        Err(DeploymentError::Exposed { path: path.to_owned(), mode })
    }
}

/// Reads a secret of at most `max` bytes; `None` if there is no such file. A longer one is cut one
/// byte above `max`, so that its reader sees that it is too long.
pub(super) fn read_secret(
    path: &Path,
    max: usize,
) -> Result<Option<Zeroizing<Vec<u8>>>, DeploymentError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(io_error("open", path))?,
    };
    // The open file is judged, not its name: what is read is what was judged.
    check_mode(&file.metadata().map_err(io_error("look at", path))?, path)?;
    read_at_most(file, max).map(Some).map_err(io_error("read", path))
}

/// Reads a public file of at most `max` bytes, as [`read_secret`] does.
pub(super) fn read_public(path: &Path, max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = read_at_most(File::open(path)?, max)?;
    Ok(std::mem::take(&mut *bytes))
}

fn read_at_most(file: File, max: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let limit = max.saturating_add(1);
    // Room for all of it at once: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit));
    file.take(u64::try_from(limit).unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
    Ok(bytes)
}
