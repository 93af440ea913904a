//! The state folder: which trees count, and how others take their place.
//!
//! ```text
//! state/lock           held by the process that uses the folder
//! state/checkpoint     names the trees that count (see `checkpoint`)
//! state/sled-00000003  those trees
//! state/sled-00000004  trees being rebuilt: they count once the checkpoint names them
//! ```
//!
//! A crash before the checkpoint is replaced leaves the old trees, after it the new ones; what no
//! checkpoint names is removed at the next chance.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::events::record::LogPosition;
use crate::files::{Files, Space};

use super::checkpoint::{self, Checkpoint, Generation, Reading};
use super::error::{LostContent, StateError};
use super::kv::Kv;
use super::layout;
use super::plan::{self, LogBounds, Plan, plan};
use super::sled_kv::SledKv;
use super::trees::{SledTrees, Trees};

/// A state folder.
pub struct StateFolder<T = SledTrees> {
    path: PathBuf,
    files: Arc<dyn Files>,
    trees: T,
}

/// What a start has to work on.
#[derive(Debug)]
#[must_use]
pub struct Started<K = SledKv> {
    /// The trees: those that count, or empty ones when the plan is to rebuild.
    pub kv: K,
    /// Which they are: what the next checkpoint names.
    pub generation: Generation,
    /// What is to be done.
    pub plan: Plan,
    /// Why the trees that counted did not open, if they did not.
    pub refused: Option<StateError>,
}

impl StateFolder {
    /// Opens a state folder, which is made if it is not there, and locks it for this process as
    /// long as this lives.
    pub fn open(path: &Path, files: Arc<dyn Files>, cache_bytes: u64) -> Result<Self, StateError> {
        let trees = SledTrees::open(path, Arc::clone(&files), cache_bytes)?;
        Self::over(path, files, trees)
    }

    /// Bytes on disk of the trees of one generation: old values count until sled cleans them away.
    pub fn bytes_on_disk(&self, generation: Generation) -> Result<u64, StateError> {
        self.trees.bytes_on_disk(generation)
    }

    /// How much room the device has.
    pub fn space(&self) -> Result<Space, StateError> {
        self.files.space(&self.path).map_err(StateError::file("measure", &self.path))
    }
}

impl<T: Trees> StateFolder<T> {
    /// A state folder whose trees are kept by `trees`.
    pub fn over(path: &Path, files: Arc<dyn Files>, trees: T) -> Result<Self, StateError> {
        files.create_folder(path).map_err(StateError::file("create", path))?;
        Ok(Self { path: path.into(), files, trees })
    }

    /// Opens the trees that count, or makes new ones to rebuild into. Trees that no checkpoint
    /// names are removed first, those that do not open are kept until the rebuild is done.
    pub fn start(&self, log: LogBounds) -> Result<Started<T::Kv>, StateError> {
        let reading = checkpoint::read(&*self.files, &self.path)?;
        let named = match reading {
            Reading::Valid(checkpoint) => Some(checkpoint.generation),
            _ => None,
        };
        self.remove_all_but(named)?;
        let (mut found, mut refused) = (plan::Trees::Untried, None);
        if let Plan::Open { checkpoint, .. } = plan(&reading, log, found) {
            match self.open_counting(&checkpoint) {
                Ok((kv, reach)) => {
                    found = plan::Trees::Open { reach };
                    let plan = plan(&reading, log, found);
                    if let Plan::Open { .. } = plan {
                        let generation = checkpoint.generation;
                        return Ok(Started { kv, generation, plan, refused });
                    }
                }
                Err(error @ StateError::DoesNotOpen { .. }) => {
                    (found, refused) = (plan::Trees::Shut, Some(error));
                }
                Err(error) => return Err(error),
            }
        }
        let plan = plan(&reading, log, found);
        let (kv, generation) = self.begin_rebuild()?;
        Ok(Started { kv, generation, plan, refused })
    }

    /// Makes empty trees beside those that count.
    pub fn begin_rebuild(&self) -> Result<(T::Kv, Generation), StateError> {
        let newest = self.trees.generations()?.into_iter().max();
        let generation = Generation(newest.map_or(1, |Generation(number)| number + 1));
        let kv = self.trees.make(generation)?;
        self.files.sync_folder(&self.path).map_err(StateError::file("sync", &self.path))?;
        Ok((kv, generation))
    }

    /// Takes a checkpoint of trees. When they are rebuilt ones, this makes them count.
    pub fn take_checkpoint(&self, kv: &dyn Kv, checkpoint: &Checkpoint) -> Result<(), StateError> {
        checkpoint::take_checkpoint(kv, &*self.files, &self.path, checkpoint)
    }

    /// Removes all trees but one generation. Call it once nobody uses the old trees any more.
    pub fn remove_all_but(&self, kept: Option<Generation>) -> Result<(), StateError> {
        for generation in self.trees.generations()? {
            if Some(generation) != kept {
                self.trees.remove(generation)?;
            }
        }
        Ok(())
    }

    /// Opens the trees that a checkpoint names. Returns with them the log position from which on
    /// they know of nothing.
    pub fn open_counting(
        &self,
        checkpoint: &Checkpoint,
    ) -> Result<(T::Kv, LogPosition), StateError> {
        let kv = self.trees.open_made(checkpoint.generation)?;
        // Sled skips pages it cannot read, all of them if need be, and calls what is left opened.
        if layout::has_mark(&kv, checkpoint.applied_below)? {
            let reach = layout::reach(&kv)?;
            return Ok((kv, reach));
        }
        let folder = self.path.clone();
        Err(StateError::DoesNotOpen { folder, source: LostContent.into() })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::files::Disk;
    use crate::state::fixtures::{DEPLOYMENT, checkpoint};
    use crate::state::kv::Tree;
    use crate::state::plan::Reason;

    const LOG: LogBounds = LogBounds { deployment: DEPLOYMENT, end: LogPosition::new(9, 0) };
    const CACHE: u64 = 8 << 20;

    fn open(path: &Path) -> StateFolder {
        StateFolder::open(path, Arc::new(Disk), CACHE).unwrap()
    }

    /// A folder whose generation 1 counts and holds `1`.
    fn first(path: &Path) {
        let folder = open(path);
        let started = folder.start(LOG).unwrap();
        assert_eq!(started.plan, Plan::Rebuild { reason: Reason::NoCheckpoint });
        assert_eq!(started.generation, Generation(1));
        started.kv.insert(Tree::Users, b"which", b"1").unwrap();
        folder.take_checkpoint(&started.kv, &checkpoint(1)).unwrap();
    }

    fn which(started: &Started) -> Option<Box<[u8]>> {
        started.kv.get(Tree::Users, b"which").unwrap()
    }

    fn generations(folder: &StateFolder) -> Vec<Generation> {
        let mut found = folder.trees.generations().unwrap();
        found.sort_unstable();
        found
    }

    #[test]
    fn a_second_process_is_kept_out() {
        let path = tempfile::tempdir().unwrap();
        let _first = open(path.path());
        let second = StateFolder::open(path.path(), Arc::new(Disk), CACHE);
        assert!(matches!(second, Err(StateError::InUse { .. })));
    }

    #[test]
    fn what_counts_is_opened_again() {
        let path = tempfile::tempdir().unwrap();
        first(path.path());
        let started = open(path.path()).start(LOG).unwrap();
        let replay_from = checkpoint(1).applied_below;
        assert_eq!(started.plan, Plan::Open { checkpoint: checkpoint(1), replay_from });
        assert_eq!(which(&started).as_deref(), Some(b"1".as_slice()));
    }

    #[test]
    fn trees_that_opened_without_their_content_are_rebuilt() {
        let path = tempfile::tempdir().unwrap();
        first(path.path());
        let db = path.path().join("sled-00000001/db");
        let len = usize::try_from(fs::metadata(&db).unwrap().len()).unwrap();
        fs::write(&db, vec![0; len]).unwrap();
        let started = open(path.path()).start(LOG).unwrap();
        assert_eq!(started.plan, Plan::Rebuild { reason: Reason::DoesNotOpen });
        assert!(matches!(started.refused, Some(StateError::DoesNotOpen { .. })));
        assert_eq!(which(&started), None);
    }

    #[test]
    fn a_rebuild_that_crashed_before_the_swap_leaves_the_old_trees() {
        let path = tempfile::tempdir().unwrap();
        first(path.path());
        {
            let (kv, generation) = open(path.path()).begin_rebuild().unwrap();
            assert_eq!(generation, Generation(2));
            kv.insert(Tree::Users, b"which", b"2").unwrap();
            kv.flush().unwrap();
        }
        let folder = open(path.path());
        let started = folder.start(LOG).unwrap();
        assert_eq!(which(&started).as_deref(), Some(b"1".as_slice()));
        assert_eq!(generations(&folder), [Generation(1)], "the half-built one is removed");
    }

    #[test]
    fn a_rebuild_that_crashed_after_the_swap_leaves_the_new_trees() {
        let path = tempfile::tempdir().unwrap();
        first(path.path());
        {
            let folder = open(path.path());
            let (kv, _) = folder.begin_rebuild().unwrap();
            kv.insert(Tree::Users, b"which", b"2").unwrap();
            folder.take_checkpoint(&kv, &checkpoint(2)).unwrap();
            assert_eq!(generations(&folder), [Generation(1), Generation(2)]);
        }
        let folder = open(path.path());
        let started = folder.start(LOG).unwrap();
        assert_eq!(which(&started).as_deref(), Some(b"2".as_slice()));
        assert_eq!(generations(&folder), [Generation(2)], "the old one is removed");
    }

    #[test]
    fn trees_that_do_not_open_are_rebuilt_beside_the_old_ones() {
        let path = tempfile::tempdir().unwrap();
        first(path.path());
        let old = path.path().join("sled-00000001");
        fs::write(old.join("snap.7FFFFFFFFFFFFFFF"), b"torn").unwrap();
        let folder = open(path.path());
        let started = folder.start(LOG).unwrap();
        assert_eq!(started.plan, Plan::Rebuild { reason: Reason::DoesNotOpen });
        assert!(matches!(started.refused, Some(StateError::DoesNotOpen { .. })));
        assert_eq!(started.generation, Generation(2));
        assert_eq!(which(&started), None);
        folder.take_checkpoint(&started.kv, &checkpoint(2)).unwrap();
        folder.remove_all_but(Some(started.generation)).unwrap();
        assert!(!old.exists());
    }

    #[test]
    fn trees_that_are_gone_are_not_taken_for_empty_ones() {
        let path = tempfile::tempdir().unwrap();
        first(path.path());
        fs::remove_dir_all(path.path().join("sled-00000001")).unwrap();
        let started = open(path.path()).start(LOG).unwrap();
        assert_eq!(started.plan, Plan::Rebuild { reason: Reason::DoesNotOpen });
    }

    #[test]
    fn a_damaged_checkpoint_means_a_rebuild_from_nothing() {
        let path = tempfile::tempdir().unwrap();
        first(path.path());
        fs::write(path.path().join("checkpoint"), b"JCASCKPT and then nothing").unwrap();
        let started = open(path.path()).start(LOG).unwrap();
        assert_eq!(started.plan, Plan::Rebuild { reason: Reason::CheckpointDamaged });
        assert_eq!(which(&started), None);
    }

    #[test]
    fn trees_that_know_more_than_the_log_holds_are_rebuilt_whatever_the_checkpoint_says() {
        let path = tempfile::tempdir().unwrap();
        first(path.path());
        {
            let started = open(path.path()).start(LOG).unwrap();
            layout::leave_reach(&started.kv, LOG.end).unwrap();
            started.kv.insert(Tree::Users, b"which", b"of the log's last event").unwrap();
            started.kv.flush().unwrap();
        }
        // All that the state knows is there: what came after it may be torn.
        assert!(matches!(open(path.path()).start(LOG).unwrap().plan, Plan::Open { .. }));
        let cut = LogBounds { end: LogPosition::new(8, 4000), ..LOG };
        let started = open(path.path()).start(cut).unwrap();
        assert_eq!(started.plan, Plan::Rebuild { reason: Reason::KnowsMore });
        assert_eq!((started.generation, which(&started)), (Generation(2), None));
    }

    #[test]
    fn a_cut_log_means_a_rebuild() {
        let path = tempfile::tempdir().unwrap();
        first(path.path());
        let cut = LogBounds { end: LogPosition::START, ..LOG };
        let started = open(path.path()).start(cut).unwrap();
        assert_eq!(started.plan, Plan::Rebuild { reason: Reason::BeyondLog });
        assert_eq!(started.generation, Generation(2));
    }
}
