//! By which keys the events of a user are found in a log's indexes, and the way through a log that
//! passes over whatever an index says is about others.

use std::collections::BTreeSet;

use crate::events::codec;
use crate::events::ids::UserId;
use crate::events::record::{Header, LogPosition, Record, Register, Subject};
use crate::events::stamp::Revision;
use crate::log::{Key, Keys, LogError, LogReader, Scan, StoredRecord};

/// The key of what everybody has to read.
const EVERYBODY: Key = 0;

/// From so many records of a segment on it is read from end to end: that is faster.
const PLACES_MAX: usize = 8192;

/// The keys of a log's indexes: by user.
pub const BY_USER: Keys = Keys { version: 1, of: keys_of };

/// The key of a user. Others may have the same one.
fn key_of(user: UserId) -> Key {
    crc32c::crc32c(user.as_bytes()).max(EVERYBODY + 1)
}

/// Under which keys an event is found. What this program does not know it puts under everybody's:
/// a newer one may know whom it is about.
fn keys_of(header: &Header, record: &Record, keys: &mut Vec<Key>) {
    match &header.subject {
        Subject::User(user) => keys.push(key_of(*user)),
        Subject::Pair(_) => {
            let body = record.body.as_deref();
            let event = body.and_then(|body| codec::decode_body(header, body).ok()).flatten();
            match event {
                Some(event) => keys.extend(event.touched_users().into_iter().map(key_of)),
                None => keys.push(EVERYBODY),
            }
        }
        Subject::Company(_) => {}
        // Who is distrusted decides for everybody what counts.
        Subject::Deployment if header.register != Register::Trust => {}
        Subject::Deployment | Subject::Other(_) => keys.push(EVERYBODY),
    }
}

/// The way through one log for who looks for some users. Records of others may be met, records of
/// theirs are not missed, and a record may be met twice.
pub(super) struct Way {
    reader: LogReader,
    keys: Vec<Key>,
    until: Option<Revision>,
    /// The segment at hand.
    segment: u32,
    first: u32,
    last: u32,
    here: Here,
    /// Whether something recorded after the time asked for was passed over.
    is_behind_end: bool,
}

/// How the segment at hand is read.
enum Here {
    /// It is not looked at yet.
    Outside,
    /// At these places; the next one is the last of them.
    Places(Vec<u32>),
    /// From here on to its end.
    Scan(Box<Scan>),
}

impl Way {
    pub(super) fn new(
        reader: &LogReader,
        users: &BTreeSet<UserId>,
        until: Option<Revision>,
    ) -> Self {
        let keys = users.iter().map(|user| key_of(*user)).chain([EVERYBODY]).collect();
        let (first, last) = reader.segments();
        let (reader, segment, here) = (reader.clone(), first, Here::Outside);
        Self { reader, keys, until, segment, first, last, here, is_behind_end: false }
    }

    /// Whether something recorded after the time asked for was passed over.
    pub(super) const fn is_behind_end(&self) -> bool {
        self.is_behind_end
    }

    /// Enters the segment at hand.
    fn enter(&mut self) -> Result<Here, LogError> {
        let (at, is_last) = (self.segment, self.segment >= self.last);
        let mut ends_here = false;
        if let Some(until) = self.until {
            self.is_behind_end = at > self.first && self.reader.greatest_before(at)? > until;
            ends_here = !is_last
                && !self.is_behind_end
                && self.reader.greatest_before(at.saturating_add(1))? > until;
        }
        // Where the time asked for lies within, the order of all its events matters.
        let index = if ends_here { None } else { self.reader.index(at, &BY_USER) };
        let places = index.map(|index| index.offsets(&self.keys));
        match places {
            Some(mut places) if places.len() <= PLACES_MAX => {
                places.reverse();
                Ok(Here::Places(places))
            }
            _ => Ok(self.whole_segment()),
        }
    }

    fn whole_segment(&self) -> Here {
        let from = LogPosition::new(self.segment, 0);
        let to = (self.segment < self.last).then(|| LogPosition::new(self.segment + 1, 0));
        Here::Scan(Box::new(self.reader.scan(from, to)))
    }

    fn step(&mut self) -> Result<Option<StoredRecord>, LogError> {
        while self.segment <= self.last {
            let found = match &mut self.here {
                Here::Outside => {
                    self.here = self.enter()?;
                    continue;
                }
                Here::Places(places) => {
                    let next = places.pop().map(|offset| LogPosition::new(self.segment, offset));
                    let stored = next.map(|position| self.reader.stored_at(position)).transpose();
                    let Ok(stored) = stored else {
                        // The index is wrong, or the log: whoever reads on will see.
                        self.here = self.whole_segment();
                        continue;
                    };
                    stored
                }
                Here::Scan(scan) => scan.next().transpose()?,
            };
            if found.is_some() {
                return Ok(found);
            }
            (self.segment, self.here) = (self.segment.saturating_add(1), Here::Outside);
        }
        Ok(None)
    }
}

impl Iterator for Way {
    type Item = Result<StoredRecord, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}
