//! What is in the making beside the name it is to get: called so that nobody takes it for anything
//! else, and known, so that it can be taken away when the process is told to end.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// What stands between the name to be and the number of the process.
const TAG: &str = ".unfinished-";

/// How often it is tried to take a folder away that another thread still fills.
const ATTEMPTS: u32 = 20;

/// What is in the making now.
static KNOWN: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// A file or folder that is in the making, as long as this lives. Whoever makes it takes it away.
#[derive(Debug)]
pub struct Unfinished(PathBuf);

impl Unfinished {
    /// Where this process makes what is to be called `named`: `.NAME.unfinished-PID` beside it.
    pub fn path_beside(named: &Path) -> PathBuf {
        let mut name = tagged(named);
        name.push(std::process::id().to_string());
        named.with_file_name(name)
    }

    /// Knows it from now on. To be called once it is this process's.
    pub fn known(path: PathBuf) -> Self {
        lock().insert(path.clone());
        Self(path)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        lock().remove(&self.0);
    }
}

fn lock() -> std::sync::MutexGuard<'static, BTreeSet<PathBuf>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tagged(named: &Path) -> OsString {
    let mut name = OsString::from(".");
    name.push(named.file_name().unwrap_or_default());
    name.push(TAG);
    name
}

/// Takes away what processes that are gone left beside `named`. What cannot be taken away is left.
pub fn remove_leftovers(named: &Path) {
    let folder = named.parent().filter(|it| !it.as_os_str().is_empty());
    let Ok(entries) = fs::read_dir(folder.unwrap_or(Path::new("."))) else { return };
    let tagged = tagged(named);
    let own = std::process::id();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let number = name.as_encoded_bytes().strip_prefix(tagged.as_encoded_bytes());
        let number = number.and_then(|digits| str::from_utf8(digits).ok()?.parse::<u32>().ok());
        let is_gone = |process: u32| !Path::new("/proc").join(process.to_string()).exists();
        if number.is_some_and(|process| process == own || is_gone(process)) {
            let _left = remove(&entry.path());
        }
    }
}

/// Takes away everything that is in the making: the process is about to end.
pub fn remove_all() {
    for path in lock().iter() {
        // Another thread may be writing to it.
        let _left = (0..ATTEMPTS).find(|_| remove(path).is_ok());
    }
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_of_processes_that_are_gone_are_taken_away_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let parent = std::os::unix::process::parent_id();
        let kept = [
            "day.new".to_owned(),
            ".day.jcas.unfinished-".to_owned(),
            ".day.jcas.unfinished-12x".to_owned(),
            ".other.unfinished-4294967290".to_owned(),
            format!(".day.jcas.unfinished-{parent}"),
        ];
        for name in &kept {
            fs::write(at(name), "kept").unwrap();
        }
        fs::write(at(".day.jcas.unfinished-4294967290"), "left").unwrap();
        fs::create_dir(at(".day.jcas.unfinished-4294967291")).unwrap();
        remove_leftovers(&at("day.jcas"));
        let left: BTreeSet<_> =
            fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert_eq!(left, kept.iter().map(OsString::from).collect());
    }

    #[test]
    fn what_is_in_the_making_is_taken_away_when_the_process_is_told_to_end() {
        let folder = tempfile::tempdir().unwrap();
        let made = Unfinished::path_beside(&folder.path().join("day.jcas"));
        fs::create_dir(&made).unwrap();
        fs::write(made.join("part"), "bytes").unwrap();
        let known = Unfinished::known(made.clone());
        assert!(lock().contains(&made));
        drop(known);
        assert!(!lock().contains(&made) && made.exists());
    }
}
