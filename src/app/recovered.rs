//! From a data folder to an opened log and a state that holds everything in it.

use std::sync::Arc;

use crate::actors::recovery::{self, Recovered};
use crate::clock::Clock;
use crate::config::Config;
use crate::deployment::Deployment;
use crate::files::{Disk, Files};
use crate::log::{Log, LogOptions};
use crate::state::folder::StateFolder;

use super::{AppError, LOG_FOLDER, STATE_FOLDER};

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
    let mut progress = Progress::default();
    let told = |records| progress.tell(records);
    Ok(recovery::recover(log, &opened, folder, rebuild, told)?)
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
