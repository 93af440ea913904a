//! A node that was filled from an export without keys can be asked for its state and must do no
//! more: what it recorded would rest on keys that it does not have. A file says so.

use std::path::{Path, PathBuf};

use super::error::DeploymentError;
use super::file;

/// The file, in the data folder.
pub const READ_ONLY_FILE: &str = "read-only";

/// What a person reads in it.
const EXPLANATION: &[u8] =
    b"This node was filled from an export without the bodies of keys: it takes no writes and hears \
no other node.\nFor a node that works, import an export made with --with-keys into an empty one, \
or restore a backup.\n";

/// Says that the node of a data folder is read-only.
pub fn mark_durably(folder: &Path) -> Result<(), DeploymentError> {
    file::replace(&path(folder), EXPLANATION)
}

/// Whether it is.
pub fn is_marked(folder: &Path) -> bool {
    path(folder).exists()
}

/// Says that it is not.
pub fn unmark(folder: &Path) -> Result<(), DeploymentError> {
    file::remove_durably(&path(folder))
}

fn path(folder: &Path) -> PathBuf {
    folder.join(READ_ONLY_FILE)
}
