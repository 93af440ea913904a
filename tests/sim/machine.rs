//! A machine and its lives: what stays when a process ends, starts and ends of lives, copies of
//! its disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jcas::actors::recovery::{self, Recovered, RecoveryError};
use jcas::clock::Clock as _;
use jcas::events::ids::NodeName;
use jcas::events::record::LogPosition;
use jcas::files::Files;
use jcas::log::{Log, LogError, LogOptions, Opened, Vector};
use jcas::state::error::StateError;
use jcas::state::folder::StateFolder;

use crate::clock::SimClock;
use crate::inputs::SeededEntropy;
use crate::ledger::{Checked, Readings, ensure, text};
use crate::life::{Deployment, Life};
use crate::sim_disk::{Faults, SimDisk};
use crate::trees::LossyTrees;

/// Most appends that wait in the log's queue.
const QUEUE_APPENDS: usize = 64;

/// A copy of a log, with what it holds and the publisher's cursor of that moment.
pub(crate) struct Copy {
    files: BTreeMap<PathBuf, Vec<u8>>,
    pub(crate) vector: Vector,
    cursor: LogPosition,
}

/// One machine.
pub(crate) struct Machine {
    pub(crate) name: NodeName,
    pub(crate) disk: SimDisk,
    pub(crate) trees: LossyTrees,
    pub(crate) clock: Arc<SimClock>,
    pub(crate) entropy: Arc<SeededEntropy>,
    pub(crate) life: Option<Life>,
    /// What its log is known to hold durably.
    pub(crate) known: Vector,
    pub(crate) readings: Readings,
    /// Up to where its log was looked through.
    pub(crate) observed: LogPosition,
    /// The publisher's cursor as it is kept.
    pub(crate) cursor: LogPosition,
    pub(crate) copy: Option<Copy>,
    pub(crate) ticked: std::time::Duration,
}

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    PowerLost,
    Killed,
    Stopped,
}

/// Where a log lies on a simulated disk.
pub(crate) fn log_folder() -> PathBuf {
    PathBuf::from("/data/log")
}

fn state_folder() -> PathBuf {
    PathBuf::from("/data/state")
}

impl Machine {
    /// A new machine.
    pub(crate) fn new(name: NodeName, now_ms: u64, seed: u64) -> Self {
        let disk = SimDisk::new();
        let trees = LossyTrees::new(disk.clone(), &state_folder(), false);
        Self {
            name,
            trees,
            disk,
            clock: Arc::new(SimClock::new(now_ms)),
            entropy: Arc::new(SeededEntropy::new(seed)),
            life: None,
            known: Vector::new(),
            readings: Readings::default(),
            observed: LogPosition::START,
            cursor: LogPosition::START,
            copy: None,
            ticked: std::time::Duration::ZERO,
        }
    }

    /// Opens log and state as a node does. None: the power went meanwhile.
    pub(crate) fn recover(
        &mut self,
        deployment: &Deployment,
        rebuild: bool,
    ) -> Checked<Option<(Recovered<LossyTrees>, Opened)>> {
        let files: Arc<dyn Files> = Arc::new(self.disk.clone());
        let clock = Arc::clone(&self.clock);
        let options = LogOptions {
            segment_bytes: 16 * 1024,
            group_bytes: 8 * 1024,
            queue_appends: QUEUE_APPENDS,
            ..LogOptions::new(deployment.id, Arc::new(move || clock.monotonic()))
        };
        let (log, opened) = match Log::open(Arc::clone(&files), &log_folder(), options) {
            Ok(opened) => opened,
            Err(LogError::Io { .. }) if self.disk.is_off() => return Ok(None),
            Err(error) => return Err(format!("the log does not open: {}", text(error))),
        };
        for (origin, end) in &self.known {
            let found = opened.vector.get(origin).map_or(0, |end| end.sequence);
            let lost = found < end.sequence;
            ensure!(!lost, "{origin} was durable to {} and is there to {found}", end.sequence);
        }
        self.known = opened.vector.clone();
        let folder = StateFolder::over(&state_folder(), files, self.trees.clone());
        let folder = folder.map_err(text)?;
        let recovered = match recovery::recover(log, &opened, folder, rebuild, |_| {}) {
            Ok(recovered) => recovered,
            Err(RecoveryError::State(StateError::Store { .. } | StateError::File { .. }))
                if self.disk.is_off() =>
            {
                return Ok(None);
            }
            Err(error) => return Err(format!("no recovery: {}", text(error))),
        };
        if let Err(error) = recovered.checkpoint() {
            ensure!(self.disk.is_off(), "no first checkpoint: {}", text(error));
            return Ok(None);
        }
        self.disk.set_faults(Faults::default());
        Ok(Some((recovered, opened)))
    }

    /// What a copy of the log's files holds now.
    pub(crate) fn copied(&self) -> Copy {
        let mut files = self.disk.image();
        files.retain(|path, _| path.starts_with(log_folder()));
        Copy { files, vector: self.known.clone(), cursor: self.cursor }
    }

    /// Puts a copy of a log in the place of the log. `with_state`: what is there of the state stays
    /// as it is, though it knows more than the log.
    pub(crate) fn put_back(&mut self, copy: &Copy, with_state: bool) -> Checked {
        self.remove_all(&log_folder()).map_err(text)?;
        if !with_state {
            self.remove_all(&state_folder()).map_err(text)?;
            self.trees.lose();
        }
        for (path, content) in &copy.files {
            self.disk.overwrite(path, content);
        }
        (self.known, self.cursor) = (copy.vector.clone(), copy.cursor);
        (self.readings, self.observed) = (Readings::default(), LogPosition::START);
        Ok(())
    }

    fn remove_all(&self, folder: &Path) -> std::io::Result<()> {
        for path in self.disk.image().keys().filter(|path| path.starts_with(folder)) {
            self.disk.remove(path)?;
        }
        self.disk.sync_folder(folder)
    }
}
