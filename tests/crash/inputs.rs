//! Time and randomness, as the test gives them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jcas::clock::{Clock, Entropy, NoEntropy};

use crate::sim_disk::Seeded;

/// A clock that only the test moves.
#[derive(Debug)]
pub(crate) struct HandClock {
    wall_ms: AtomicU64,
    since_start_ms: AtomicU64,
}

impl HandClock {
    /// A clock that starts at this wall time.
    pub(crate) const fn new(wall_ms: u64) -> Self {
        Self { wall_ms: AtomicU64::new(wall_ms), since_start_ms: AtomicU64::new(0) }
    }

    /// Lets time pass.
    pub(crate) fn advance(&self, millis: u64) {
        self.wall_ms.fetch_add(millis, Ordering::SeqCst);
        self.since_start_ms.fetch_add(millis, Ordering::SeqCst);
    }

    /// Somebody sets the wall clock back.
    pub(crate) fn set_back(&self, millis: u64) {
        self.wall_ms.fetch_sub(millis, Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn unix_ms(&self) -> u64 {
        self.wall_ms.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.since_start_ms.load(Ordering::SeqCst))
    }
}

/// Randomness that depends on the seed alone.
pub(crate) struct SeededEntropy(Mutex<Seeded>);

impl SeededEntropy {
    /// Randomness of a seed.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(Mutex::new(Seeded::new(seed)))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoEntropy> {
        let mut seeded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for chunk in bytes.chunks_mut(8) {
            let drawn = seeded.draw().to_le_bytes();
            chunk.copy_from_slice(drawn.split_at(chunk.len()).0);
        }
        Ok(())
    }
}
