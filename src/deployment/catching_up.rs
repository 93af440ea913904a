//! A node that joined, was restored or filled from an export lacks what the others recorded, and
//! must not answer callers before it has it: it would refuse passwords that are right. A file says
//! so until it has, so that a restart in between changes nothing.

use std::path::{Path, PathBuf};

use super::error::DeploymentError;
use super::file;

/// The file, in the data folder.
pub const CATCHING_UP_FILE: &str = "catching-up";

/// What a person reads in it.
const EXPLANATION: &[u8] =
    b"This node answers no company before it has what the other nodes have; \
then it deletes this file.\nWith the node stopped, the file may be deleted to let callers in \
regardless.\n";

/// Says that the node of a data folder lacks what others have. Durable once the folder is.
pub(super) fn mark(folder: &Path) -> Result<(), DeploymentError> {
    file::write_new(&path(folder), EXPLANATION)
}

/// The same, durably, for a folder that is there already.
pub fn mark_durably(folder: &Path) -> Result<(), DeploymentError> {
    file::replace(&path(folder), EXPLANATION)
}

/// Whether the node of a data folder is to catch up before it answers.
pub fn is_marked(folder: &Path) -> bool {
    path(folder).exists()
}

/// Says that it has.
pub fn unmark(folder: &Path) -> Result<(), DeploymentError> {
    file::remove_durably(&path(folder))
}

fn path(folder: &Path) -> PathBuf {
    folder.join(CATCHING_UP_FILE)
}
