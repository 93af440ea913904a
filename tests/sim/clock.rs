//! A node's clocks, as the simulation moves them: they drift, jump and stand still.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use jcas::clock::Clock;

/// One machine's clocks.
#[derive(Debug)]
pub(crate) struct SimClock {
    wall_ms: AtomicU64,
    /// The latest it ever showed.
    latest_ms: AtomicU64,
    since_start_ms: AtomicU64,
    /// How fast it runs, in thousandths of the right speed.
    speed: AtomicU64,
    frozen: AtomicBool,
}

impl SimClock {
    /// A clock that is right.
    pub(crate) const fn new(wall_ms: u64) -> Self {
        Self {
            wall_ms: AtomicU64::new(wall_ms),
            latest_ms: AtomicU64::new(wall_ms),
            since_start_ms: AtomicU64::new(0),
            speed: AtomicU64::new(1000),
            frozen: AtomicBool::new(false),
        }
    }

    /// Lets time pass.
    pub(crate) fn advance(&self, millis: u64) {
        self.since_start_ms.fetch_add(millis, Ordering::SeqCst);
        if !self.frozen.load(Ordering::SeqCst) {
            let passed = millis * self.speed.load(Ordering::SeqCst) / 1000;
            self.set(self.unix_ms() + passed);
        }
    }

    /// Somebody sets the wall clock.
    pub(crate) fn set(&self, wall_ms: u64) {
        self.wall_ms.store(wall_ms, Ordering::SeqCst);
        self.latest_ms.fetch_max(wall_ms, Ordering::SeqCst);
    }

    /// The latest time it ever showed.
    pub(crate) fn latest_ms(&self) -> u64 {
        self.latest_ms.load(Ordering::SeqCst)
    }

    /// How fast the wall clock runs from now on, in thousandths.
    pub(crate) fn drift(&self, speed: u64) {
        self.speed.store(speed, Ordering::SeqCst);
    }

    /// Whether the wall clock stands still from now on.
    pub(crate) fn freeze(&self, frozen: bool) {
        self.frozen.store(frozen, Ordering::SeqCst);
    }
}

impl Clock for SimClock {
    fn unix_ms(&self) -> u64 {
        self.wall_ms.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.since_start_ms.load(Ordering::SeqCst))
    }
}
