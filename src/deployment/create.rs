//! A new data folder: written beside, made durable, renamed. It is there whole or not at all.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf, absolute};

use super::bundle::Bundle;
use super::description::Description;
use super::error::DeploymentError;
use super::file::{self, io_error};
use super::key_file::{FIRST_VERSION, KeyPurpose, SecretKey, StoredKey};
use super::secrets::Secrets;
use super::{BUNDLES_FOLDER, KEYS_FOLDER, Randomness, catching_up};

/// What a new data folder is filled with.
pub(super) struct Contents<'a> {
    pub(super) description: &'a Description,
    pub(super) secrets: &'a Secrets,
    /// Only the first node's folder ever has it.
    pub(super) operator: Option<&'a SecretKey>,
    /// For the nodes that are to join, if any.
    pub(super) bundles: &'a [Bundle],
    /// Whether others may have events that it has not: its first start catches up.
    pub(super) behind: bool,
}

/// The folder's full path, if a deployment may be made there: it is empty or does not exist.
pub(super) fn free_folder(folder: &Path) -> Result<PathBuf, DeploymentError> {
    let folder = absolute(folder).map_err(io_error("find", folder))?;
    check_free(&folder)?;
    Ok(folder)
}

fn check_free(folder: &Path) -> Result<(), DeploymentError> {
    match Description::read(folder) {
        Ok(found) => {
            return Err(DeploymentError::Exists {
                folder: folder.to_owned(),
                found: Box::new(found.deployment.named()),
                node: found.node_name(),
            });
        }
        Err(DeploymentError::NoDeployment { .. }) => {}
        // One that cannot be read is one all the same.
        Err(unreadable) => return Err(unreadable),
    }
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        entries => match entries.map_err(io_error("list", folder))?.next() {
            None => Ok(()),
            Some(_) => Err(DeploymentError::NotEmpty { folder: folder.to_owned() }),
        },
    }
}

/// Makes the data folder, which [`free_folder`] found free, with the description and the secrets.
pub(super) fn create(
    folder: &Path,
    contents: &Contents<'_>,
    randomness: Randomness<'_>,
) -> Result<(), DeploymentError> {
    let (Some(parent), Some(name)) = (folder.parent(), folder.file_name()) else {
        let nameless = io::Error::from(io::ErrorKind::InvalidInput);
        return Err(io_error("make a deployment in", folder)(nameless));
    };
    create_durable(parent)?;
    let mut tag = [0; 4];
    randomness(&mut tag).map_err(DeploymentError::Randomness)?;
    let mut beside_name = OsString::from(".");
    beside_name.push(name);
    beside_name.push(format!(".new-{}", hex::encode(tag)));
    let beside = Beside(parent.join(beside_name));
    file::create_private_folder(&beside.0)?;
    fill(&beside.0, contents)?;

    // Replaces an empty folder or nothing. If somebody put something there meanwhile, it fails, and
    // the reason is looked for there first.
    fs::rename(&beside.0, folder).map_err(|source| {
        let busy = DeploymentError::NotReplaceable { folder: folder.to_owned(), source };
        check_free(folder).err().unwrap_or(busy)
    })?;
    file::sync_folder(parent)
}

/// Writes everything into an empty folder and makes it durable.
fn fill(folder: &Path, contents: &Contents<'_>) -> Result<(), DeploymentError> {
    let Contents { description, secrets, operator, bundles, behind } = *contents;
    let keys = folder.join(KEYS_FOLDER);
    file::create_private_folder(&keys)?;
    for key in secrets.stored(description) {
        key.write_new(&keys.join(key.purpose.file_name()))?;
    }
    if let Some(secret) = operator.cloned() {
        let (deployment, purpose) = (description.deployment.id, KeyPurpose::Operator);
        let key = StoredKey { deployment, purpose, version: FIRST_VERSION, secret };
        key.write_new(&keys.join(purpose.file_name()))?;
    }
    file::sync_folder(&keys)?;
    if !bundles.is_empty() {
        let waiting = folder.join(BUNDLES_FOLDER);
        file::create_private_folder(&waiting)?;
        for bundle in bundles {
            bundle.write_new(&waiting.join(bundle.file_name()))?;
        }
        file::sync_folder(&waiting)?;
    }
    if behind {
        catching_up::mark(folder)?;
    }
    description.write_new(folder)?;
    file::sync_folder(folder)
}

/// Makes a folder and those above it that are missing, and each one's name durable.
fn create_durable(folder: &Path) -> Result<(), DeploymentError> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent();
    above.map_or(Ok(()), create_durable)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(io_error("make the folder", folder)(error));
        }
        _ => {}
    }
    above.map_or(Ok(()), file::sync_folder)
}

/// A folder that is taken away again unless it was renamed. One that a crash leaves holds keys that
/// were never used for anything; it may be deleted.
struct Beside(PathBuf);

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
