//! Time and randomness, as inputs.
//!
//! The two calls that ask the machine are here and nowhere else; everything above is given a
//! [`Clock`] and [`Entropy`], so that tests and simulation own both.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::events::stamp::{HybridClock, Revision};

/// What time it is.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970, by the wall clock: it may jump.
    fn unix_ms(&self) -> u64;

    /// Time since some fixed moment: it never jumps.
    fn monotonic(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// Clocks whose monotonic reading starts now.
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the wall clock is read")]
    fn unix_ms(&self) -> u64 {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}

/// The node's hybrid logical clock: one for all its actors, so that no two commands share a
/// reading. Cheap to clone.
#[derive(Clone)]
pub struct NodeClock {
    wall: Arc<dyn Clock>,
    hybrid: Arc<Mutex<HybridClock>>,
    is_unsafe: Arc<AtomicBool>,
}

impl NodeClock {
    /// A clock that goes on after `last`, the greatest reading in the node's log.
    pub fn starting_after(last: Revision, wall: Arc<dyn Clock>) -> Self {
        let hybrid = Arc::new(Mutex::new(HybridClock::starting_after(last)));
        Self { wall, hybrid, is_unsafe: Arc::default() }
    }

    /// The next reading.
    pub fn tick(&self) -> Revision {
        let wall = self.wall.unix_ms();
        self.hybrid.lock().unwrap_or_else(PoisonError::into_inner).tick(wall)
    }

    /// Takes notice of a reading made elsewhere: the next one here is later.
    pub fn observe(&self, seen: Revision) {
        self.hybrid.lock().unwrap_or_else(PoisonError::into_inner).observe(seen);
    }

    /// Says whether the wall clock runs so far ahead of most other nodes' that nothing may be
    /// recorded by it.
    pub fn set_unsafe(&self, is_unsafe: bool) {
        self.is_unsafe.store(is_unsafe, Ordering::Release);
    }

    /// Whether nothing may be recorded by this clock.
    pub fn is_unsafe(&self) -> bool {
        self.is_unsafe.load(Ordering::Acquire)
    }

    /// How far the hybrid clock runs ahead of the wall clock, in milliseconds: a wall clock that
    /// was set back shows here.
    pub fn ahead_ms(&self) -> u64 {
        let last = self.hybrid.lock().unwrap_or_else(PoisonError::into_inner).last();
        last.unix_ms().saturating_sub(self.wall.unix_ms())
    }

    /// The greatest reading so far.
    pub fn last(&self) -> Revision {
        self.hybrid.lock().unwrap_or_else(PoisonError::into_inner).last()
    }

    /// The wall clock it follows.
    pub fn wall(&self) -> &Arc<dyn Clock> {
        &self.wall
    }
}

/// Where randomness comes from. Filling fails only where the operating system has none to give.
pub trait Entropy: Send + Sync {
    /// Fills `bytes` with randomness fit for keys.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoEntropy>;
}

/// The operating system gave no randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no randomness")]
pub struct NoEntropy;

/// The operating system's randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoEntropy> {
        getrandom::fill(bytes).map_err(|_| NoEntropy)
    }
}

/// An array of random bytes.
pub fn random<const N: usize>(entropy: &dyn Entropy) -> Result<[u8; N], NoEntropy> {
    let mut bytes = [0_u8; N];
    entropy.fill(&mut bytes)?;
    Ok(bytes)
}
