//! The trees in sled 0.34: the only file that knows it.
//!
//! Every rule here was paid for (docs/adr): never `flush_async`, no batches, no transactions;
//! `flush` alone survives a kill but not a loss of power; a left-over `snap.*.generating` bars
//! every later open; damaged files make it panic. So every call runs behind a guard, and a folder
//! that does not open is rebuilt by the caller.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::files::{FileHandle, Files};

use super::error::{StateError, StorePanicked};
use super::kv::{Change, Kv, Pairs, Tree};

/// Bytes of sled's page cache. Resident memory can reach several times that.
pub const CACHE_BYTES_DEFAULT: u64 = 64 << 20;

/// How often sled's own thread writes its buffers out and cleans segments, in milliseconds.
///
/// Durability does not rest on it. It cannot be off, since nothing else cleans segments.
const BACKGROUND_FLUSH_MS: u64 = 500;

/// The file in a sled folder that holds its pages.
const PAGES_FILE: &str = "db";

/// The folder in a sled folder that holds what is too long for a page.
const BLOBS_FOLDER: &str = "blobs";

/// Trees in a sled folder.
pub struct SledKv {
    trees: [sled::Tree; 7],
    db: sled::Db,
    /// Syncs are asked of it, so that a test sees them.
    files: Arc<dyn Files>,
    /// A second descriptor on the pages, for the fdatasync that sled's flush leaves out.
    pages: Arc<dyn FileHandle>,
    /// Where sled puts values too long for its pages, a file each, which it never syncs.
    blobs: PathBuf,
    /// The blobs that were synced. Locked by the one thread that flushes.
    synced: Mutex<HashSet<OsString>>,
}

impl SledKv {
    /// Opens the trees in `folder`, which is made if it is not there. The caller holds the lock
    /// of the state folder above it.
    pub fn open(
        files: &Arc<dyn Files>,
        folder: &Path,
        cache_bytes: u64,
    ) -> Result<Self, StateError> {
        let does_not_open = |source| StateError::DoesNotOpen { folder: folder.into(), source };
        remove_unfinished_snapshots(folder)?;
        let opened = guarded(|| {
            let config = sled::Config::new()
                .path(folder)
                .cache_capacity(cache_bytes)
                .flush_every_ms(Some(BACKGROUND_FLUSH_MS));
            let db = config.open()?;
            let [users, claims, keys, registry, history, repeats, mark] =
                Tree::ALL.map(|tree| db.open_tree(tree.name()));
            Ok((db, [users?, claims?, keys?, registry?, history?, repeats?, mark?]))
        });
        let (db, trees) = opened.map_err(does_not_open)?;
        let path = folder.join(PAGES_FILE);
        let pages = files.open_read(&path).map_err(StateError::file("open", path))?;
        files.sync_folder(folder).map_err(StateError::file("sync", folder))?;
        let blobs = folder.join(BLOBS_FOLDER);
        let files = Arc::clone(files);
        Ok(Self { trees, db, files, pages, blobs, synced: Mutex::default() })
    }

    /// Syncs the blobs written since the last time: a page that names a lost one cannot be read.
    fn sync_blobs(&self, synced: &mut HashSet<OsString>) -> Result<(), StateError> {
        let listed = || -> io::Result<HashSet<OsString>> {
            fs::read_dir(&self.blobs)?.map(|entry| Ok(entry?.file_name())).collect()
        };
        let there = listed().map_err(StateError::file("list", &self.blobs))?;
        let mut new = there.difference(synced).peekable();
        let any = new.peek().is_some();
        for name in new {
            let path = self.blobs.join(name);
            match self.files.open_read(&path).and_then(|blob| blob.sync_data()) {
                // Sled has removed it meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                done => done.map_err(StateError::file("sync", path))?,
            }
        }
        *synced = there;
        if any {
            let blobs = &self.blobs;
            self.files.sync_folder(blobs).map_err(StateError::file("sync", blobs))?;
        }
        Ok(())
    }

    /// Goes the way to a key that has just come or gone. Sled leaves it to the next who goes there
    /// to split a page that got too many keys or to join one that has too few: were that a reader,
    /// it would have to write, and could not read while the disk is full.
    fn settle(&self, tree: Tree, key: &[u8]) -> Result<(), StateError> {
        guarded(|| self.tree(tree).contains_key(key)).map_err(failing_to("write"))?;
        Ok(())
    }

    const fn tree(&self, tree: Tree) -> &sled::Tree {
        let [users, claims, keys, registry, history, repeats, mark] = &self.trees;
        match tree {
            Tree::Users => users,
            Tree::Claims => claims,
            Tree::Keys => keys,
            Tree::Registry => registry,
            Tree::History => history,
            Tree::Repeats => repeats,
            Tree::Mark => mark,
        }
    }
}

impl Kv for SledKv {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Box<[u8]>>, StateError> {
        let found = guarded(|| self.tree(tree).get(key)).map_err(failing_to("read"))?;
        Ok(found.map(|value| Box::from(&*value)))
    }

    fn insert(&self, tree: Tree, key: &[u8], value: &[u8]) -> Result<(), StateError> {
        let before = guarded(|| self.tree(tree).insert(key, value)).map_err(failing_to("write"))?;
        if before.is_none() { self.settle(tree, key) } else { Ok(()) }
    }

    fn update(&self, tree: Tree, key: &[u8], change: Change<'_>) -> Result<(), StateError> {
        // Most keys are new: that nothing is there is tried before it is looked.
        let (mut before, mut is_known) = (None::<sled::IVec>, false);
        loop {
            let after = change(before.as_deref())?;
            if after.as_deref() == before.as_deref() {
                if is_known {
                    return Ok(());
                }
                before = guarded(|| self.tree(tree).get(key)).map_err(failing_to("read"))?;
                is_known = true;
                continue;
            }
            let (was_there, is_there) = (before.is_some(), after.is_some());
            let swap = || self.tree(tree).compare_and_swap(key, before.as_deref(), after);
            match guarded(swap).map_err(failing_to("write"))? {
                Ok(()) if was_there == is_there => return Ok(()),
                Ok(()) => return self.settle(tree, key),
                Err(other) => (before, is_known) = (other.current, true),
            }
        }
    }

    fn remove(&self, tree: Tree, key: &[u8]) -> Result<(), StateError> {
        let before = guarded(|| self.tree(tree).remove(key)).map_err(failing_to("remove"))?;
        if before.is_some() { self.settle(tree, key) } else { Ok(()) }
    }

    fn scan(&self, tree: Tree, prefix: &[u8]) -> Pairs {
        pairs(self.tree(tree).scan_prefix(prefix))
    }

    fn scan_from(&self, tree: Tree, from: &[u8]) -> Pairs {
        pairs(self.tree(tree).range(from..))
    }

    fn flush(&self) -> Result<(), StateError> {
        // A set left by a panic lists at worst too few: they are synced once more.
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        guarded(|| self.db.flush()).map_err(failing_to("flush"))?;
        self.sync_blobs(&mut synced)?;
        let done = self.pages.sync_data().map_err(|source| Box::new(source).into());
        done.map_err(failing_to("sync"))
    }
}

/// What a scan reads, until something cannot be read.
fn pairs(mut pairs: sled::Iter) -> Pairs {
    let mut next = move || guarded(|| pairs.next().transpose()).map_err(failing_to("scan"));
    let mut failed = false;
    Box::new(std::iter::from_fn(move || {
        // After an error there is no saying where the scan stands.
        let read = if failed { None } else { next().transpose() }?;
        failed = read.is_err();
        Some(read.map(|(key, value)| (Box::from(&*key), Box::from(&*value))))
    }))
}

/// Sled's own would print every row.
impl fmt::Debug for SledKv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledKv").finish_non_exhaustive()
    }
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

fn failing_to(doing: &'static str) -> impl FnOnce(Cause) -> StateError {
    move |source| StateError::Store { doing, source }
}

/// Runs a call of sled's, which panics on damage where it should return an error.
///
/// What a panic left half done is not used again: every error of the store stops its user.
fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, Cause> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(Into::into),
        Err(payload) => {
            let message = payload
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| payload.downcast_ref::<&str>().map(|message| (*message).to_owned()));
            let message = message.unwrap_or_else(|| "without a message".to_owned());
            Err(StorePanicked { message }.into())
        }
    }
}

/// Removes the snapshots that a kill left unfinished: each would bar every later open.
fn remove_unfinished_snapshots(folder: &Path) -> Result<(), StateError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(StateError::file("list", folder))?,
    };
    for entry in entries {
        let path: PathBuf = entry.map_err(StateError::file("list", folder))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(&path).map_err(StateError::file("remove", &path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Disk;

    #[expect(clippy::disallowed_methods, reason = "nothing tells when another's fork has ended")]
    fn open(folder: &Path) -> Result<SledKv, StateError> {
        let files: Arc<dyn Files> = Arc::new(Disk);
        // A child of another test, between its fork and its exec, holds every lock of this process.
        for _ in 0..500 {
            match SledKv::open(&files, folder, CACHE_BYTES_DEFAULT) {
                Err(StateError::DoesNotOpen { source, .. })
                    if source.to_string().contains("acquire lock") =>
                {
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
                opened => return opened,
            }
        }
        SledKv::open(&files, folder, CACHE_BYTES_DEFAULT)
    }

    fn filled(folder: &Path) {
        let kv = open(folder).unwrap();
        for number in 0_u32..2000 {
            kv.insert(Tree::Users, &number.to_be_bytes(), &[7; 500]).unwrap();
        }
        kv.flush().unwrap();
    }

    #[test]
    fn what_was_flushed_is_there_after_reopening() {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path());
        let kv = open(folder.path()).unwrap();
        assert_eq!(kv.scan(Tree::Users, &[]).map(Result::unwrap).count(), 2000);
        assert_eq!(kv.scan(Tree::Users, &[0, 0, 1]).map(Result::unwrap).count(), 256);
        assert_eq!(kv.get(Tree::Claims, &[0; 4]).unwrap(), None);
        kv.remove(Tree::Users, &[0; 4]).unwrap();
        assert_eq!(kv.get(Tree::Users, &[0; 4]).unwrap(), None);
    }

    #[test]
    fn reading_never_writes() {
        let folder = tempfile::tempdir().unwrap();
        let kv = open(folder.path()).unwrap();
        let mut written_by_readers = 0;
        let mut read_all = |keys: std::ops::RangeInclusive<u32>| {
            kv.db.flush().unwrap();
            for number in keys {
                kv.get(Tree::Users, &number.to_be_bytes()).unwrap();
            }
            written_by_readers += kv.db.flush().unwrap();
        };
        for number in 0..400_u32 {
            kv.insert(Tree::Users, &number.to_be_bytes(), &[7; 100]).unwrap();
            read_all(0..=number);
        }
        for number in 0..400_u32 {
            kv.remove(Tree::Users, &number.to_be_bytes()).unwrap();
            read_all(0..=400);
        }
        assert_eq!(written_by_readers, 0, "bytes");
    }

    #[test]
    fn values_too_long_for_a_page_are_synced_and_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let long = vec![9; 300_000];
        {
            let kv = open(folder.path()).unwrap();
            kv.insert(Tree::Users, b"long", &long).unwrap();
            assert!(kv.synced.lock().unwrap().is_empty());
            kv.flush().unwrap();
            let blobs = fs::read_dir(folder.path().join(BLOBS_FOLDER)).unwrap();
            let blobs: HashSet<_> = blobs.map(|entry| entry.unwrap().file_name()).collect();
            assert!(!blobs.is_empty(), "sled keeps it in its pages: this test holds nothing");
            assert_eq!(*kv.synced.lock().unwrap(), blobs);
        }
        let kv = open(folder.path()).unwrap();
        assert_eq!(kv.get(Tree::Users, b"long").unwrap().as_deref(), Some(long.as_slice()));
    }

    #[test]
    fn an_unfinished_snapshot_is_removed_and_does_not_bar_opening() {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path());
        let unfinished = folder.path().join("snap.00000000000000FF.generating");
        fs::write(&unfinished, b"half").unwrap();
        let kv = open(folder.path()).unwrap();
        assert!(!unfinished.exists());
        assert!(kv.get(Tree::Users, &[0; 4]).unwrap().is_some());
    }

    #[test]
    fn a_damaged_folder_is_refused_or_opened_but_never_panics() {
        let mut refused = 0;
        for seed in 0_usize..24 {
            let folder = tempfile::tempdir().unwrap();
            filled(folder.path());
            let path = folder.path().join(PAGES_FILE);
            let mut bytes = fs::read(&path).unwrap();
            let at = (seed * 7919) % (bytes.len() / 2);
            bytes[at..at + 64].iter_mut().for_each(|byte| *byte ^= 0x5a);
            fs::write(&path, bytes).unwrap();
            match open(folder.path()) {
                Err(StateError::DoesNotOpen { .. }) => refused += 1,
                Err(other) => panic!("seed {seed}: {other}"),
                // Opened all the same: reads answer or fail, they do not panic.
                Ok(kv) => drop(kv.scan(Tree::Users, &[]).collect::<Vec<_>>()),
            }
        }
        assert!(refused > 0, "no fault was noticed");
    }

    #[test]
    fn a_folder_with_a_torn_snapshot_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path());
        drop(open(folder.path()).unwrap());
        fs::write(folder.path().join("snap.7FFFFFFFFFFFFFFF"), b"torn").unwrap();
        let opened = open(folder.path());
        assert!(matches!(opened, Err(StateError::DoesNotOpen { .. })));
    }

    #[test]
    fn what_several_update_at_once_loses_nothing_and_ends_with_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let kv = open(folder.path()).unwrap();
        let all = |change: Change<'_>| kv.update(Tree::Claims, b"key", change).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4_u8 {
                scope.spawn(move || {
                    for number in 0..50 {
                        all(&|list| {
                            let added = [list.unwrap_or_default(), &[thread * 50 + number]];
                            Ok(Some(added.concat().into()))
                        });
                    }
                });
            }
        });
        let mut list = kv.get(Tree::Claims, b"key").unwrap().unwrap();
        list.sort_unstable();
        assert_eq!(*list, (0..200).collect::<Vec<u8>>());
        all(&|_| Ok(None));
        assert_eq!(kv.get(Tree::Claims, b"key").unwrap(), None);
        all(&|list| Ok(list.map(Box::from)));
        assert_eq!(kv.get(Tree::Claims, b"key").unwrap(), None);
        let refused =
            kv.update(Tree::Claims, b"key", &|_| Err(StateError::Entry { tree: "claims" }));
        assert!(refused.is_err());
    }
}
