//! How long to wait before a broker is tried again.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::{Duration, Instant};

/// The first wait.
const FIRST: Duration = Duration::from_millis(100);

/// The longest: a broker that is back is found soon.
const LONGEST: Duration = Duration::from_secs(3);

/// The first wait after a connection by which nothing was ever confirmed, ...
const SILENT_FIRST: Duration = Duration::from_secs(5);

/// ... and the longest. Each such connection holds messages up.
const SILENT_LONGEST: Duration = Duration::from_secs(30);

/// A connection that lasted so long was a good one.
const GOOD: Duration = Duration::from_secs(5);

/// Waits that double, and that differ between nodes, so that they do not all come at once.
#[derive(Debug)]
pub(super) struct Backoff {
    wait: Duration,
    connected: Option<Instant>,
    silent: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { wait: FIRST, connected: None, silent: SILENT_FIRST }
    }
}

impl Backoff {
    /// A connection is there.
    pub(super) fn connected(&mut self) {
        self.connected = Some(Instant::now());
    }

    /// How long to wait now that a broker connected, took messages and confirmed none of them.
    pub(super) fn next_after_silence(&mut self) -> Duration {
        let wait = self.silent;
        self.silent = (wait * 2).min(SILENT_LONGEST);
        wait
    }

    /// A broker confirmed something.
    pub(super) const fn confirmed(&mut self) {
        self.silent = SILENT_FIRST;
    }

    /// How long to wait now.
    pub(super) fn next(&mut self) -> Duration {
        if self.connected.take().is_some_and(|since| since.elapsed() >= GOOD) {
            self.wait = FIRST;
        }
        let whole = self.wait;
        self.wait = (whole * 2).min(LONGEST);
        // Between half of it and all of it.
        let chance = u32::from(RandomState::new().build_hasher().finish().to_be_bytes()[0]);
        whole / 2 + whole / 2 * chance / 255
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_no_further() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..20).map(|_| backoff.next()).collect();
        assert!(waits[0] >= FIRST / 2 && waits[0] <= FIRST, "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= LONGEST), "{waits:?}");
        assert!(waits[10..].iter().all(|wait| *wait >= LONGEST / 2), "{waits:?}");
    }

    #[test]
    fn a_broker_that_confirms_nothing_is_left_alone_for_longer_and_longer() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..6).map(|_| backoff.next_after_silence().as_secs()).collect();
        assert_eq!(waits, [5, 10, 20, 30, 30, 30]);
        backoff.confirmed();
        assert_eq!(backoff.next_after_silence(), SILENT_FIRST);
    }

    #[test]
    fn a_connection_that_did_not_last_does_not_count() {
        let mut backoff = Backoff::default();
        for _ in 0..10 {
            backoff.connected();
            backoff.next();
        }
        assert!(backoff.next() >= LONGEST / 2);
    }
}
