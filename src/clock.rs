//! Time and randomness, as inputs.
//!
//! The two calls that ask the machine are here and nowhere else; everything above is given a
//! [`Clock`] and [`Entropy`], so that tests and simulation own both.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use zeroize::Zeroizing;

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
///
/// Each thread fetches it a block at a time: an event needs sixteen bytes, a new user twenty times
/// as many, and each call of the system costs more than the bytes. Nothing is stretched or mixed.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsEntropy;

/// Bytes fetched at once. More than an eighth of it is asked of the system straight away.
const BLOCK_BYTES: usize = 2048;

/// Randomness that nobody has been given yet. What was given is wiped here.
struct Block {
    bytes: Zeroizing<[u8; BLOCK_BYTES]>,
    given: usize,
}

thread_local! {
    static BLOCK: RefCell<Block> =
        RefCell::new(Block { bytes: Zeroizing::new([0; BLOCK_BYTES]), given: BLOCK_BYTES });
}

impl Block {
    fn give(&mut self, wanted: &mut [u8]) -> Result<(), getrandom::Error> {
        if self.given.saturating_add(wanted.len()) > BLOCK_BYTES {
            // All of it is as good as given until it is fetched: a failure gives nothing old.
            self.given = BLOCK_BYTES;
            getrandom::fill(self.bytes.as_mut_slice())?;
            self.given = 0;
        }
        let given = self.bytes.iter_mut().skip(self.given).zip(wanted.iter_mut());
        for (byte, wanted) in given {
            *wanted = std::mem::take(byte);
        }
        self.given += wanted.len();
        Ok(())
    }
}

impl Entropy for OsEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoEntropy> {
        let filled = if bytes.len() > BLOCK_BYTES / 8 {
            getrandom::fill(bytes)
        } else {
            BLOCK.with_borrow_mut(|block| block.give(bytes))
        };
        filled.map_err(|_| NoEntropy)
    }
}

/// An array of random bytes.
pub fn random<const N: usize>(entropy: &dyn Entropy) -> Result<[u8; N], NoEntropy> {
    let mut bytes = [0_u8; N];
    entropy.fill(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_randomness_is_given_twice_and_none_is_left_where_it_was() {
        // Lengths that do not divide the block, and enough of them to fetch several.
        let mut given = HashSet::new();
        for _ in 0..1000 {
            assert!(given.insert(random::<24>(&OsEntropy).unwrap()), "given twice");
            assert_ne!(random::<11>(&OsEntropy).unwrap(), [0; 11]);
        }
        BLOCK.with_borrow(|block| {
            assert!(block.bytes.iter().take(block.given).all(|byte| *byte == 0));
        });
        assert_ne!(random::<4096>(&OsEntropy).unwrap()[4064..], [0; 32]);
    }

    #[test]
    fn threads_have_randomness_of_their_own() {
        let draw = || random::<32>(&OsEntropy).unwrap();
        assert_ne!(std::thread::spawn(draw).join().unwrap(), draw());
    }
}
