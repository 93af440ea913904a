//! The state's trees in memory, where a crash keeps any subset of what was not flushed. Whether a
//! generation is there at all is told by a name in the state folder on the simulated disk.
//!
//! Whoever includes this file has `lossy_kv`, `sim_disk` and a `points` with the two points named
//! here at the root of its crate.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jcas::events::record::LogPosition;
use jcas::files::Files as _;
use jcas::state::checkpoint::Generation;
use jcas::state::error::StateError;
use jcas::state::kv::{Change, Kv, Pairs, Tree};
use jcas::state::store::Store;
use jcas::state::trees::Trees;

use crate::lossy_kv::LossyKv;
use crate::points::{Point, Points};
use crate::sim_disk::{Seeded, SimDisk};

/// Trees that are shared with the test.
pub(crate) struct SharedKv(Arc<LossyKv>);

impl Kv for SharedKv {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Box<[u8]>>, StateError> {
        self.0.get(tree, key)
    }

    fn insert(&self, tree: Tree, key: &[u8], value: &[u8]) -> Result<(), StateError> {
        self.0.insert(tree, key, value)
    }

    fn update(&self, tree: Tree, key: &[u8], change: Change<'_>) -> Result<(), StateError> {
        self.0.update(tree, key, change)
    }

    fn remove(&self, tree: Tree, key: &[u8]) -> Result<(), StateError> {
        self.0.remove(tree, key)
    }

    fn scan(&self, tree: Tree, prefix: &[u8]) -> Pairs {
        self.0.scan(tree, prefix)
    }

    fn flush(&self) -> Result<(), StateError> {
        self.0.flush()
    }
}

/// All generations. Clones are the same ones.
#[derive(Clone)]
pub(crate) struct LossyTrees {
    disk: SimDisk,
    folder: PathBuf,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    made: BTreeMap<Generation, Arc<LossyKv>>,
    newest: Option<Arc<LossyKv>>,
    fail_after: Option<u64>,
    ignore_flush: bool,
}

impl LossyTrees {
    /// No trees yet, in a state folder on a disk.
    pub(crate) fn new(disk: SimDisk, folder: &Path, ignore_flush: bool) -> Self {
        let inner = Inner { ignore_flush, ..Inner::default() };
        Self { disk, folder: folder.to_owned(), inner: Arc::new(Mutex::new(inner)) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The trees that were opened last.
    pub(crate) fn newest(&self) -> Option<Arc<LossyKv>> {
        self.inner().newest.clone()
    }

    /// All of it is gone, as when only a copy of the log was kept.
    pub(crate) fn lose(&self) {
        let mut inner = self.inner();
        inner.made.clear();
        inner.newest = None;
    }

    /// The trees opened next fail after so many changes.
    pub(crate) fn fail_next_after(&self, changes: Option<u64>) {
        self.inner().fail_after = changes;
    }

    /// The process is gone, and what it had not flushed is there or not.
    pub(crate) fn crash(&self, seed: u64, points: &mut Points) {
        let mut seeded = Seeded::new(seed);
        let mut inner = self.inner();
        inner.newest = None;
        inner.fail_after = None;
        for kv in inner.made.values_mut() {
            let kept = seeded.below(101);
            // A row's entries are written right after it.
            let mut row_kept = None;
            let after = kv.after_crash(|tree, _| {
                let keep = seeded.chance(kept);
                match (tree, row_kept) {
                    (Tree::Users, _) => row_kept = Some(keep),
                    (Tree::Claims, Some(row_kept)) => match (row_kept, keep) {
                        (true, false) => points.hit(Point::RowWithoutEntry),
                        (false, true) => points.hit(Point::EntryWithoutRow),
                        _ => {}
                    },
                    _ => {}
                }
                keep
            });
            *kv = Arc::new(after);
        }
    }

    /// The log position from which on no generation knows of anything.
    pub(crate) fn reach(&self) -> Result<LogPosition, String> {
        let of = |kv: &Arc<LossyKv>| Store::new(Arc::new(SharedKv(Arc::clone(kv)))).reach();
        let mut farthest = LogPosition::START;
        for kv in self.inner().made.values() {
            farthest = farthest.max(of(kv).map_err(|error| error.to_string())?);
        }
        Ok(farthest)
    }

    /// No row lies beyond what its trees say that they know of.
    pub(crate) fn check_notes(&self) -> Result<(), String> {
        for kv in self.inner().made.values() {
            let store = Store::new(Arc::new(SharedKv(Arc::clone(kv))));
            let reach = store.reach().map_err(|error| error.to_string())?;
            let history = kv.scan(Tree::History, &[]).map(|pair| pair.unwrap().1);
            let registry = kv.scan(Tree::Registry, &[]).map(|pair| pair.unwrap().0);
            for bytes in history.chain(registry) {
                let bits = u64::from_be_bytes(*bytes.first_chunk().unwrap());
                let position = LogPosition::from_bits(bits);
                if position >= reach {
                    return Err(format!("{position} is known, and noted is what is below {reach}"));
                }
            }
        }
        Ok(())
    }

    /// Whether a generation is there, opened or not.
    pub(crate) fn has(&self, generation: Generation) -> bool {
        let named = self.disk.content(&self.name(generation)).is_some();
        named && self.inner().made.contains_key(&generation)
    }

    fn name(&self, Generation(number): Generation) -> PathBuf {
        self.folder.join(format!("sled-{number:08}"))
    }

    fn opened(&self, kv: Arc<LossyKv>) -> SharedKv {
        let mut inner = self.inner();
        kv.fail_after(inner.fail_after.take());
        if inner.ignore_flush {
            kv.ignore_flush();
        }
        inner.newest = Some(Arc::clone(&kv));
        SharedKv(kv)
    }
}

fn failed(doing: &'static str, path: PathBuf) -> impl FnOnce(std::io::Error) -> StateError {
    move |source| StateError::File { doing, path, source }
}

impl Trees for LossyTrees {
    type Kv = SharedKv;

    fn open_made(&self, generation: Generation) -> Result<SharedKv, StateError> {
        let found = self.inner().made.get(&generation).cloned();
        let Some(kv) = found.filter(|_| self.has(generation)) else {
            let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
            let folder = self.name(generation);
            return Err(StateError::DoesNotOpen { folder, source: missing.into() });
        };
        Ok(self.opened(kv))
    }

    fn make(&self, generation: Generation) -> Result<SharedKv, StateError> {
        let path = self.name(generation);
        self.disk.open(&path, true).map_err(failed("create", path))?;
        let kv = Arc::new(LossyKv::default());
        self.inner().made.insert(generation, Arc::clone(&kv));
        Ok(self.opened(kv))
    }

    fn generations(&self) -> Result<Vec<Generation>, StateError> {
        let files = self.disk.list(&self.folder).map_err(failed("list", self.folder.clone()))?;
        let number = |path: &PathBuf| {
            let name = path.file_name()?.to_str()?;
            name.strip_prefix("sled-")?.parse().ok().map(Generation)
        };
        Ok(files.iter().filter_map(number).collect())
    }

    fn remove(&self, generation: Generation) -> Result<(), StateError> {
        let path = self.name(generation);
        self.disk.remove(&path).map_err(failed("remove", path))?;
        self.inner().made.remove(&generation);
        Ok(())
    }
}
