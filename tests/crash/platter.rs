//! The real trees in real files, and a loss of power that leaves only what was synced.
//!
//! Sled writes its files itself, so they are not on the simulated disk. But its syncs are asked of
//! the file layer, and this one copies at each sync what would be safe from then on. What a machine
//! without power would find is then laid out in another folder and opened.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jcas::events::ids::DeploymentId;
use jcas::events::record::LogPosition;
use jcas::events::stamp::Revision;
use jcas::files::{Disk, FileHandle, Files, Space};
use jcas::state::checkpoint::Checkpoint;
use jcas::state::folder::StateFolder;
use jcas::state::kv::{Kv as _, Tree};
use jcas::state::plan::{LogBounds, Plan};

const CACHE_BYTES: u64 = 8 << 20;

/// The machine's files, and what of them is safe.
#[derive(Clone, Default)]
struct Platter(Arc<Mutex<Safe>>);

#[derive(Default)]
struct Safe {
    contents: BTreeMap<PathBuf, Vec<u8>>,
    names: BTreeMap<PathBuf, BTreeSet<PathBuf>>,
}

impl Platter {
    fn safe(&self) -> MutexGuard<'_, Safe> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, path: &Path, inner: Arc<dyn FileHandle>) -> Arc<dyn FileHandle> {
        Arc::new(PlatterFile { platter: self.clone(), path: path.to_owned(), inner })
    }

    /// Lays out below `to` what is safe of the folder `of`.
    fn lay_out(&self, of: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        let names = self.safe().names.get(of).cloned().unwrap_or_default();
        for name in names {
            let target = to.join(name.file_name().unwrap());
            if name.is_dir() {
                self.lay_out(&name, &target);
                continue;
            }
            // Sled syncs this one itself when it makes it.
            let content = match self.safe().contents.get(&name) {
                None if name.ends_with("conf") => fs::read(&name).unwrap(),
                synced => synced.cloned().unwrap_or_default(),
            };
            fs::write(target, content).unwrap();
        }
    }
}

struct PlatterFile {
    platter: Platter,
    path: PathBuf,
    inner: Arc<dyn FileHandle>,
}

impl FileHandle for PlatterFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.inner.write_all_at(bytes, offset)
    }

    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.inner.read_exact_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.inner.sync_data()?;
        let content = fs::read(&self.path)?;
        self.platter.safe().contents.insert(self.path.clone(), content);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
}

impl Files for Platter {
    fn open(&self, path: &Path, create_new: bool) -> io::Result<Arc<dyn FileHandle>> {
        Ok(self.handle(path, Disk.open(path, create_new)?))
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn FileHandle>> {
        Ok(self.handle(path, Disk.open_read(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Disk.rename(from, to)?;
        let mut safe = self.safe();
        if let Some(content) = safe.contents.remove(from) {
            safe.contents.insert(to.to_owned(), content);
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        Disk.remove(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        Disk.list(folder)
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        Disk.create_folder(folder)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        Disk.sync_folder(folder)?;
        let names = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
        let names = names.collect::<Result<_, _>>()?;
        self.safe().names.insert(folder.to_owned(), names);
        Ok(())
    }

    fn space(&self, folder: &Path) -> io::Result<Space> {
        Disk.space(folder)
    }
}

/// A row's value: some are too long for one of sled's pages.
fn value(number: u8) -> Vec<u8> {
    let len = if number.is_multiple_of(8) { 300_000 } else { 200 };
    vec![number; len]
}

#[test]
fn what_a_checkpoint_names_survives_a_loss_of_power_in_the_real_trees() {
    let root = tempfile::tempdir().unwrap();
    let (path, platter) = (root.path().join("state"), Platter::default());
    let deployment = DeploymentId([7; 16]);
    let end = LogPosition::new(1, 1000);
    let bounds = LogBounds { deployment, end };
    let folder = StateFolder::open(&path, Arc::new(platter.clone()), CACHE_BYTES).unwrap();
    let started = folder.start(bounds).unwrap();
    let mut written = 0;
    for crash in 1..=3_u8 {
        for number in written..written + 20 {
            started.kv.insert(Tree::Users, &[number], &value(number)).unwrap();
            started.kv.insert(Tree::Claims, &[number, number], &[]).unwrap();
        }
        written += 20;
        let (generation, greatest) = (started.generation, Revision::ZERO);
        let applied_below = LogPosition::new(1, u32::from(crash));
        let taken = Checkpoint { deployment, generation, applied_below, greatest };
        folder.take_checkpoint(&started.kv, &taken).unwrap();
        // Written and not flushed: it may be there or not.
        started.kv.insert(Tree::Users, &[200 + crash], &value(200)).unwrap();

        let left = root.path().join(format!("left-{crash}"));
        platter.lay_out(&path, &left);
        let found = StateFolder::open(&left, Arc::new(Disk), CACHE_BYTES).unwrap();
        let found = found.start(bounds).unwrap();
        let expected = Plan::Open { checkpoint: taken, replay_from: applied_below };
        assert_eq!(found.plan, expected, "crash {crash}: {:?}", found.refused);
        for number in 0..written {
            let row = found.kv.get(Tree::Users, &[number]).unwrap();
            assert!(row.as_deref() == Some(&value(number)), "crash {crash}: row {number}");
            let entry = found.kv.get(Tree::Claims, &[number, number]).unwrap();
            assert!(entry.is_some(), "crash {crash}: entry {number}");
        }
    }
}
