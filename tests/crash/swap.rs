//! Trees that are swapped while the power goes.

use std::path::Path;
use std::sync::Arc;

use jcas::events::ids::DeploymentId;
use jcas::events::record::LogPosition;
use jcas::events::stamp::Revision;
use jcas::state::checkpoint::{self, Checkpoint, Reading};
use jcas::state::folder::StateFolder;
use jcas::state::plan::LogBounds;

use crate::sim_disk::{Faults, SimDisk};
use crate::trees::LossyTrees;

#[test]
fn no_crash_leaves_a_checkpoint_whose_trees_are_gone() {
    let path = Path::new("/data/state");
    let (deployment, end) = (DeploymentId([7; 16]), LogPosition::new(1, 1000));
    let mut swapped = 0;
    for (step, seed) in (0..8).flat_map(|step| (0..40).map(move |seed| (step, seed))) {
        let disk = SimDisk::new();
        let trees = LossyTrees::new(disk.clone(), path, false);
        let folder = StateFolder::over(path, Arc::new(disk.clone()), trees.clone()).unwrap();
        let taken = |generation| Checkpoint {
            deployment,
            generation,
            applied_below: end,
            greatest: Revision::ZERO,
        };
        let first = folder.start(LogBounds { deployment, end }).unwrap();
        folder.take_checkpoint(&first.kv, &taken(first.generation)).unwrap();
        disk.set_faults(Faults { power_off_after: Some(step), ..Faults::default() });
        // However far a rebuild gets before the power goes.
        if let Ok((kv, generation)) = folder.begin_rebuild() {
            swapped += u32::from(folder.take_checkpoint(&kv, &taken(generation)).is_ok());
        }
        disk.crash(seed);
        let Ok(Reading::Valid(found)) = checkpoint::read(&disk, path) else {
            panic!("step {step}, seed {seed}: the checkpoint is gone");
        };
        assert!(trees.has(found.generation), "step {step}, seed {seed}: {found:?}");
    }
    assert!((1..320).contains(&swapped), "{swapped} rebuilds were done: no crash was between");
}
