//! Folding the log into new trees while the node runs, and putting these in the place of the old
//! ones: what was blanked in the log is then in no file of the state either.
//!
//! ```text
//! fold segment by segment -> flush -> every actor settles
//!   -> nobody reads or writes: fold the rest, checkpoint, exchange
//! ```
//!
//! An actor that was about to write goes on with the new trees. What it writes rests on events that
//! are in them already, and what it does not know of yet it is told of later, as always. Until then
//! a row may lie behind, so the checkpoint claims only what every actor had before the exchange.

use std::sync::Arc;

use crate::events::record::LogPosition;
use crate::events::registry::{Distrust, RegistryState};
use crate::log::LogReader;
use crate::state::checkpoint::Checkpoint;
use crate::state::erasures::carry;
use crate::state::store::{Retired, Store};
use crate::state::trees::Trees;

use super::checkpointer::Checkpoints;
use super::recovery::{RecoveryError, fold_log_to};

/// What a rebuild needs beside the log.
pub struct Around<'a> {
    /// Which lives are cut off.
    pub distrust: &'a Distrust,
    /// Below here the log was read for what the notes of erasures ask for: the fold takes none up
    /// again that the trees in use have no more.
    pub read_below: LogPosition,
    /// Waits until every actor has put into the store what the log delivered before, and says
    /// whether they have.
    pub settle: &'a dyn Fn() -> bool,
    /// Whether the node is stopping.
    pub stopped: &'a dyn Fn() -> bool,
}

/// What came of a rebuild.
pub struct Rebuilt {
    /// The position below which all is applied, as the checkpoint says.
    pub below: LogPosition,
    /// The trees that were in use before, to be removed once nobody reads them.
    pub retired: Retired,
}

/// Trees that are being filled.
struct Filling<'a> {
    reader: LogReader,
    store: &'a Store,
    registry: RegistryState,
    at: LogPosition,
}

impl Filling<'_> {
    /// Folds up to a position. False: a life was cut off meanwhile, so that this fold is none.
    fn fold(&mut self, to: LogPosition) -> Result<bool, RecoveryError> {
        let folded = fold_log_to(&self.reader, (self.at, to), self.store, &mut self.registry)?;
        self.at = to;
        Ok(!folded.distrust_changed)
    }
}

impl<T: Trees> Checkpoints<T> {
    /// Folds the log into new trees and uses them. None: it was given up, and the old ones are in
    /// use as before.
    pub fn rebuild(&mut self, around: &Around<'_>) -> Result<Option<Rebuilt>, RecoveryError> {
        let rebuilt = self.try_rebuild(around);
        if !matches!(rebuilt, Ok(Some(_))) {
            self.folder.remove_all_but(Some(self.generation))?;
        }
        rebuilt
    }

    fn try_rebuild(&mut self, around: &Around<'_>) -> Result<Option<Rebuilt>, RecoveryError> {
        let (kv, generation) = self.folder.begin_rebuild()?;
        let fresh = Store::new(Arc::new(kv));
        let registry =
            RegistryState { distrust: around.distrust.clone(), ..RegistryState::default() };
        let at = LogPosition::START;
        let mut filling = Filling { reader: self.log.reader(), store: &fresh, registry, at };
        // What comes meanwhile is folded with nobody waiting, but for the last of it.
        for _ in 0..2 {
            let end = self.log.durable();
            while filling.at < end {
                let next = LogPosition::new(filling.at.segment().saturating_add(1), 0);
                if (around.stopped)() || !filling.fold(next.min(end))? {
                    return Ok(None);
                }
            }
        }
        fresh.kv().flush()?;
        let applied_below = self.log.delivered();
        if !(around.settle)() {
            return Ok(None);
        }
        let old = self.store.kv();
        let mut counts = true;
        let retired = self.store.exchange(&fresh, || {
            counts = filling.fold(self.log.durable())?;
            if !counts {
                return Err(GivenUp::Distrust);
            }
            carry(&*old, &fresh, around.read_below)?;
            let checkpoint = Checkpoint {
                deployment: self.log.reader().deployment(),
                generation,
                applied_below,
                greatest: self.clock.last(),
            };
            Ok(self.folder.take_checkpoint(&*fresh.kv(), &checkpoint)?)
        });
        match retired {
            Ok(retired) => {
                self.generation = generation;
                Ok(Some(Rebuilt { below: applied_below, retired }))
            }
            Err(GivenUp::Distrust) => Ok(None),
            Err(GivenUp::Failed(error)) => Err(error),
        }
    }
}

/// Why trees that were filled are not used.
enum GivenUp {
    Distrust,
    Failed(RecoveryError),
}

impl<E: Into<RecoveryError>> From<E> for GivenUp {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}
