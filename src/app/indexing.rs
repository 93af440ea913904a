//! Keeps the indexes of the log's segments, by which a replay finds a user's events: a thread makes
//! one for every segment that takes no further record. The node itself never reads them.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::actors::journal::chain;
use crate::log::{Log, LogReader, LogStatus};
use crate::replay::index::BY_USER;

/// How often it is looked whether a segment is full.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// How many times as long as making an index takes nothing is done behind it: old logs get their
/// indexes without taking a core from those who log in.
const REST: u32 = 4;

/// The running thread.
pub(super) struct Indexer {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Indexer {
    /// Starts the thread.
    pub(super) fn start(log: &Arc<Log>) -> std::io::Result<Self> {
        let (stop, stopped) = channel();
        let log = Arc::clone(log);
        let thread = std::thread::Builder::new()
            .name("log-index".to_owned())
            .spawn(move || run(&log, &stopped))?;
        Ok(Self { stop, thread })
    }

    /// Ends it, once the index at hand is made.
    pub(super) fn finish(self) {
        drop(self.stop);
        // It returns nothing, and a panic in it is nobody's harm.
        let _ = self.thread.join();
    }
}

fn run(log: &Log, stopped: &Receiver<()>) {
    let reader = log.reader();
    let (mut next, mut wait) = (reader.segments().0, Duration::ZERO);
    while matches!(stopped.recv_timeout(wait), Err(RecvTimeoutError::Timeout)) {
        let has_room = matches!(log.snapshot().status, LogStatus::Writable);
        wait = if has_room && next < reader.segments().1 {
            next = next.saturating_add(1);
            make(&reader, next.saturating_sub(1)).saturating_mul(REST)
        } else {
            LOOK_EVERY
        };
    }
}

/// Makes the index of a segment where it lacks, and says how long that took.
fn make(reader: &LogReader, segment: u32) -> Duration {
    let began = Instant::now();
    if let Err(error) = reader.make_index(segment, &BY_USER) {
        tracing::warn!(segment, error = %chain(&error), "a segment of the log got no index");
    }
    began.elapsed()
}
