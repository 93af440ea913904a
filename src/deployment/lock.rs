//! One process at a time works in a data folder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::error::DeploymentError;
use super::file::io_error;

/// The file that is locked; it holds its locker's process id.
const LOCK_FILE: &str = "lock";

/// Digits of a process id, and room to spare.
const PID_BYTES_MAX: u64 = 16;

/// The exclusive right to a data folder, given back when dropped and by the system when the process
/// ends, however it ends.
///
/// The file stays: taking it away would let two processes each lock a file of that name.
#[derive(Debug)]
pub struct DataLock(File);

/// Takes the exclusive right to `folder`, which must exist, or says who has it.
pub fn lock(folder: &Path) -> Result<DataLock, DeploymentError> {
    let path = folder.join(LOCK_FILE);
    let mut options = OpenOptions::new();
    // Not cut before it is locked: the id in it may be another's.
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(&path).map_err(io_error("open the lock file", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let (folder, holder) = (folder.to_owned(), holder(file));
            return Err(DeploymentError::Locked { folder, holder });
        }
        Err(TryLockError::Error(error)) => return Err(io_error("lock", &path)(error)),
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(io_error("write the lock file", &path))?;
    Ok(DataLock(file))
}

/// The process id that the file's locker left. None right after it locked it.
fn holder(file: File) -> Option<u32> {
    let mut text = String::new();
    file.take(PID_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

impl Drop for DataLock {
    fn drop(&mut self) {
        // So that nobody is ever pointed to a process that is gone. If it fails, the next locker
        // writes its own id over it.
        let _ = self.0.set_len(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_has_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let held = lock(folder.path()).unwrap();
        let refused = lock(folder.path()).unwrap_err();
        let own = std::process::id();
        assert!(matches!(refused, DeploymentError::Locked { holder: Some(pid), .. } if pid == own));
        assert!(refused.to_string().contains(&format!("in use by process {own};")));
        drop(held);
    }

    #[test]
    fn a_folder_is_free_again_once_the_lock_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        drop(lock(folder.path()).unwrap());
        assert!(lock(folder.path()).is_ok());
    }

    #[test]
    fn what_a_killed_process_left_does_not_hold_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(LOCK_FILE), "4194304999\n").unwrap();
        let _held = lock(folder.path()).unwrap();
        let text = std::fs::read_to_string(folder.path().join(LOCK_FILE)).unwrap();
        assert_eq!(text, format!("{}\n", std::process::id()));
    }

    #[test]
    fn without_a_process_id_the_message_still_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let _held = lock(folder.path()).unwrap();
        std::fs::write(folder.path().join(LOCK_FILE), "").unwrap();
        let refused = lock(folder.path()).unwrap_err();
        assert!(refused.to_string().ends_with("is in use by another process; stop it first"));
    }
}
