//! The log as companies hear of it: commands in the order of this node's log, from a reader's
//! place on, never past what is in the state.
//!
//! Nobody is kept a queue for. A reader brings its [`Place`], this node finds it in its log and
//! reads on from there; what a reader that never comes back has not read costs nothing. Whoever
//! waits for more is in [`Waiting`], bounded, and is woken by whoever follows the log for all of
//! them.

mod place;
mod waiting;

pub use place::{Place, Told};
pub use waiting::{Waiter, Waiting};

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Notify, Semaphore};

use crate::events::codec;
use crate::events::record::{Fact, LogPosition};
use crate::events::stamp::Origin;
use crate::log::{Log, LogReader, Vector};

use super::failure::Unavailable;
use super::house::House;
use super::journal::chain;

/// Records that are read in one go.
const CHUNK: usize = 1000;

/// How many read the log for the feed at one time.
const READERS_MAX: usize = 4;

/// How often is looked whether what is durable is in the state.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// How often at most.
const LOOKS_MAX: usize = 500;

/// The log as the feed reads it.
pub struct Feed {
    log: Arc<Log>,
    own: Origin,
    house: House,
    /// Everything in the log before is in the state.
    applied: Mutex<LogPosition>,
    readers: Semaphore,
    waiting: Waiting,
    bell: Arc<Notify>,
}

/// What one command recorded, as far as its reader has not had it.
#[derive(Debug)]
pub struct Group {
    /// Where it starts.
    pub start: LogPosition,
    /// Where what follows it starts.
    pub end: LogPosition,
    /// Its facts, in order; never none.
    pub facts: Vec<Fact>,
}

/// A part of the log.
#[derive(Debug)]
pub struct Chunk {
    /// The commands in it.
    pub groups: Vec<Group>,
    /// Where the next part starts.
    pub next: LogPosition,
}

impl Feed {
    /// The feed of a log, at the node life `own`.
    pub fn new(log: Arc<Log>, own: Origin, house: House) -> Self {
        Self {
            log,
            own,
            house,
            applied: Mutex::new(LogPosition::START),
            readers: Semaphore::new(READERS_MAX),
            waiting: Waiting::default(),
            bell: Arc::default(),
        }
    }

    /// To be rung whenever more is durable.
    pub fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.bell)
    }

    /// Nobody waits any more: the node stops.
    pub fn close(&self) {
        self.waiting.close();
        self.bell.notify_one();
    }

    /// Those who wait for more.
    pub const fn waiting(&self) -> &Waiting {
        &self.waiting
    }

    /// The life of the node.
    pub const fn own(&self) -> Origin {
        self.own
    }

    /// Where the log ends.
    pub fn durable(&self) -> LogPosition {
        self.log.durable()
    }

    /// Waits until what is durable now is in the state, and says up to where everything is. When
    /// the actors have too much to do it is less than was asked for.
    pub async fn applied(&self) -> LogPosition {
        let target = self.log.durable();
        for _ in 0..LOOKS_MAX {
            let applied = self.settled().await;
            if applied >= target {
                return applied;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        *self.applied.lock().await
    }

    /// One question to all actors serves everybody who waits for the answer.
    async fn settled(&self) -> LogPosition {
        let mut applied = self.applied.lock().await;
        let delivered = self.log.delivered();
        if *applied < delivered && self.house.settle().await.is_ok() {
            *applied = delivered;
        }
        *applied
    }

    /// The place as far as the state here has what was had.
    pub fn confined(&self, place: &Place, vector: &Vector) -> Place {
        let mut place = place.clone();
        place.confine(vector, &self.own);
        place
    }

    /// Waits until what is durable now is in the state. Says how far all is, and a vector of what
    /// is there at least.
    pub async fn end(&self) -> (LogPosition, Vector) {
        let vector = self.log.vector();
        (self.applied().await, vector)
    }

    /// The place that a reader told.
    pub fn place(&self, told: Told) -> Option<Place> {
        Place::of(told, &self.log.vector())
    }

    /// Where to read on from a place: where this life left the reader, or else the first segment
    /// that may hold something it has not had.
    pub async fn find(&self, place: &Arc<Place>) -> Result<LogPosition, Unavailable> {
        if let Some(position) = place.left_at(&self.own) {
            return Ok(position);
        }
        let (reader, place) = (self.log.reader(), Arc::clone(place));
        let found = move || reader.place_of(|origin, sequence| place.has(origin, sequence));
        let found = tokio::task::spawn_blocking(found).await;
        found.map_err(|_| Unavailable::NotReady)?.map_err(|error| unreadable(&error))
    }

    /// The part of the log from one position towards another, without what a reader has had.
    pub async fn chunk(
        &self,
        place: &Arc<Place>,
        from: LogPosition,
        to: LogPosition,
    ) -> Result<Chunk, Unavailable> {
        let _turn = self.readers.acquire().await.map_err(|_| Unavailable::NotReady)?;
        let (reader, place) = (self.log.reader(), Arc::clone(place));
        let read = tokio::task::spawn_blocking(move || read(&reader, &place, from, to));
        read.await.map_err(|_| Unavailable::NotReady)?
    }
}

/// Commands whole: the records of one lie side by side and bear one revision.
fn read(
    reader: &LogReader,
    place: &Place,
    from: LogPosition,
    to: LogPosition,
) -> Result<Chunk, Unavailable> {
    let mut groups: Vec<Group> = Vec::new();
    // Whether what was read last is of the last group.
    let mut open = false;
    for (number, stored) in reader.scan(from, Some(to)).enumerate() {
        let stored = stored.map_err(|error| unreadable(&error))?;
        let header = codec::decode_header(&stored.record.header);
        let header = header.map_err(|error| unreadable(&error))?;
        let last = groups.last().filter(|_| open).and_then(|group| group.facts.last());
        let continues = last.is_some_and(|last| {
            last.reference.origin == header.origin && last.revision == header.revision
        });
        if !continues && number >= CHUNK {
            return Ok(Chunk { groups, next: stored.position });
        }
        open = !place.has(&header.origin, header.sequence);
        if !open {
            continue;
        }
        let (_, fact) = codec::decode_record(&stored.record).map_err(|error| unreadable(&error))?;
        match groups.last_mut() {
            Some(group) if continues => {
                group.end = stored.next;
                group.facts.push(fact);
            }
            _ => {
                let (start, end) = (stored.position, stored.next);
                groups.push(Group { start, end, facts: vec![fact] });
            }
        }
    }
    Ok(Chunk { groups, next: to })
}

fn unreadable(error: &dyn std::error::Error) -> Unavailable {
    tracing::error!(error = %chain(error), "the log cannot be read for the feed");
    Unavailable::Storage
}
