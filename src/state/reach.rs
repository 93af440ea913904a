//! How far into the log a state may know: noted in the trees before they are told of it.
//!
//! The trees reach the disk by themselves, between checkpoints too. A log that ends below what they
//! know has lost durable events, by hand or by a device that lies, and a checkpoint older than the
//! loss does not show it. The note does: it is written before the first row that rests on what it
//! covers, and names no position that was not durable by then. So it lies beyond the log's end
//! only if durable events are gone, never after a loss of power that tore what was unfinished.
//!
//! One write for each group of events that become durable together is all it costs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::events::record::LogPosition;

use super::error::StateError;
use super::kv::Kv;
use super::layout;

/// The note of some trees, as far as this life of the node wrote it.
#[derive(Debug, Default)]
pub(super) struct Reach {
    noted: AtomicU64,
    writing: Mutex<()>,
}

impl Reach {
    /// Notes that what is written from now on may rest on anything below `durable`.
    pub(super) fn note(&self, kv: &dyn Kv, durable: LogPosition) -> Result<(), StateError> {
        let is_noted = || self.noted.load(Ordering::Acquire) >= durable.to_bits();
        if is_noted() {
            return Ok(());
        }
        // One at a time, so that the note never goes back.
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if is_noted() {
            return Ok(());
        }
        layout::leave_reach(kv, durable)?;
        self.noted.store(durable.to_bits(), Ordering::Release);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::lossy_kv::LossyKv;

    fn at(offset: u32) -> LogPosition {
        LogPosition::new(2, offset)
    }

    #[test]
    fn the_note_goes_forward_only_and_is_written_once_for_what_it_covers() {
        let (kv, reach) = (LossyKv::default(), Reach::default());
        assert_eq!(layout::reach(&kv).unwrap(), LogPosition::START);
        for durable in [at(300), at(100), at(300), LogPosition::new(1, 900)] {
            reach.note(&kv, durable).unwrap();
            assert_eq!(layout::reach(&kv).unwrap(), at(300));
        }
        assert_eq!(kv.writes(), 1);
        reach.note(&kv, at(301)).unwrap();
        assert_eq!((layout::reach(&kv).unwrap(), kv.writes()), (at(301), 2));
    }

    #[test]
    fn what_could_not_be_noted_is_not_taken_for_noted() {
        let (kv, reach) = (LossyKv::default(), Reach::default());
        kv.fail_after(Some(0));
        assert!(reach.note(&kv, at(300)).is_err());
        kv.fail_after(None);
        reach.note(&kv, at(300)).unwrap();
        assert_eq!(layout::reach(&kv).unwrap(), at(300));
    }
}
