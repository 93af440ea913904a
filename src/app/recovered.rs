//! From a data folder to an opened log and a state that holds everything in it.

use std::sync::Arc;

use crate::actors::recovery;
use crate::clock::Clock;
use crate::config::Config;
use crate::deployment::Deployment;
use crate::events::record::LogPosition;
use crate::events::registry::RegistryState;
use crate::events::stamp::Revision;
use crate::files::{Disk, Files};
use crate::log::{Log, LogOptions};
use crate::state::folder::StateFolder;
use crate::state::plan::{LogBounds, Plan};
use crate::state::store::Store;

use super::{AppError, LOG_FOLDER, STATE_FOLDER};

/// An opened log and a state that holds everything in it.
pub struct Recovered {
    /// The log.
    pub log: Arc<Log>,
    /// The state.
    pub store: Arc<Store>,
    /// Companies and keys.
    pub registry: RegistryState,
    /// The greatest revision so far.
    pub greatest: Revision,
    pub(super) folder: StateFolder,
    pub(super) generation: crate::state::checkpoint::Generation,
}

/// Opens the log and brings the state up to it. `rebuild` folds everything anew.
pub fn recover(
    config: &Config,
    deployment: &Deployment,
    clock: &Arc<dyn Clock>,
    rebuild: bool,
) -> Result<Recovered, AppError> {
    let files: Arc<dyn Files> = Arc::new(Disk);
    let data = deployment.folder().to_owned();
    let id = deployment.description().deployment.id;
    let monotonic = Arc::clone(clock);
    let options = LogOptions {
        segment_bytes: u32::try_from(config.log.segment_mib << 20).unwrap_or(u32::MAX),
        warn_percent: u8::try_from(config.log.warn_percent).unwrap_or(100),
        stop_percent: u8::try_from(config.log.stop_percent).unwrap_or(100),
        queue_appends: config.log.queue_events,
        ..LogOptions::new(id, Arc::new(move || monotonic.monotonic()))
    };
    let (log, opened) = Log::open(Arc::clone(&files), &data.join(LOG_FOLDER), options)?;
    if opened.cut_bytes > 0 {
        tracing::warn!(bytes = opened.cut_bytes, "cut what a crash left unfinished in the log");
    }
    let folder = StateFolder::open(&data.join(STATE_FOLDER), files, config.state.cache_mib << 20)?;
    let started = folder.start(LogBounds { deployment: id, end: opened.end })?;
    let (kv, generation, from) = match started.plan {
        Plan::Open { replay_from, .. } if !rebuild => {
            (started.kv, started.generation, Some(replay_from))
        }
        Plan::Open { .. } => {
            drop(started.kv);
            let (kv, generation) = folder.begin_rebuild()?;
            (kv, generation, None)
        }
        Plan::Rebuild { reason } => {
            if opened.end > LogPosition::START {
                tracing::warn!(%reason, "the state is folded from the log anew");
            }
            (started.kv, started.generation, None)
        }
    };
    let store = Arc::new(Store::new(Arc::new(kv)));
    let reader = log.reader();
    let registry = match from {
        Some(_) => recovery::fold_registry(&reader, store.registry_positions()?)?,
        None => RegistryState::default(),
    };
    let mut recovered = Recovered {
        log: Arc::new(log),
        store,
        registry,
        greatest: opened.greatest_revision,
        folder,
        generation,
    };
    recovered.fold(from.unwrap_or(LogPosition::START))?;
    Ok(recovered)
}

impl Recovered {
    fn fold(&mut self, from: LogPosition) -> Result<(), AppError> {
        let reader = self.log.reader();
        let mut progress = Progress::default();
        let registry = &mut self.registry;
        let folded = recovery::fold_log(&reader, from, &self.store, registry, |records| {
            progress.tell(records);
        })?;
        if folded.distrust_changed {
            // What was folded before did not know who is distrusted: fold it again, knowing.
            let distrust = self.registry.distrust.clone();
            let (kv, generation) = self.folder.begin_rebuild()?;
            self.store = Arc::new(Store::new(Arc::new(kv)));
            self.generation = generation;
            self.registry = RegistryState { distrust, ..RegistryState::default() };
            let registry = &mut self.registry;
            recovery::fold_log(&reader, LogPosition::START, &self.store, registry, |_| {})?;
        }
        if folded.records > 0 {
            tracing::info!(records = folded.records, "folded the log into the state");
        }
        Ok(())
    }

    /// Makes the state durable and says so; then folders that do not count are removed.
    pub fn checkpoint(&self, deployment: &Deployment) -> Result<(), AppError> {
        let checkpoint = crate::state::checkpoint::Checkpoint {
            deployment: deployment.description().deployment.id,
            generation: self.generation,
            applied_below: self.log.durable(),
            greatest: self.greatest,
        };
        self.folder.take_checkpoint(self.store.kv(), &checkpoint)?;
        Ok(self.folder.remove_all_but(Some(self.generation))?)
    }
}

/// Says from time to time how far a long fold is.
#[derive(Default)]
struct Progress {
    told: u64,
}

impl Progress {
    fn tell(&mut self, records: u64) {
        if records >= self.told + 250_000 {
            self.told = records;
            tracing::info!(records, "folding the log");
        }
    }
}
