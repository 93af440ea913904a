//! A history over time: how much of what happened when, how late it came, and where each user's
//! events lie.

use std::collections::{BTreeMap, HashMap};

use crate::events::codec;
use crate::events::event::{Event, EventKind};
use crate::events::ids::UserId;
use crate::events::record::{Fact, LogPosition, Subject};
use crate::events::registry::Distrust;
use crate::events::stamp::{Origin, Revision};

use super::fold::{Became, Onlooker, ReplayError};
use super::history::{History, Met};
use super::summary::Summary;
use super::timeline::Read;

/// Most columns a chart has.
const COLUMNS_MAX: usize = 240;

/// How wide a column is at first.
const WIDTH_MS: u64 = 1000;

/// Events of a stretch of time.
#[derive(Debug, Clone, Default)]
pub struct Column {
    /// By kind.
    pub kinds: BTreeMap<EventKind, u64>,
    /// By the life that recorded them.
    pub origins: BTreeMap<Origin, u64>,
    /// Of each life, how many milliseconds after something recorded later the latest one came.
    pub late_ms: BTreeMap<Origin, u64>,
}

/// Where an event lies.
#[derive(Debug, Clone, Copy)]
struct Place {
    source: u32,
    position: LogPosition,
}

/// Who looks on and draws.
#[derive(Debug, Clone)]
pub struct Chart {
    /// The numbers.
    pub summary: Summary,
    /// How wide a column is. It grows, so that there are never too many of them.
    pub width_ms: u64,
    /// The columns with anything in them, by their number since 1970.
    pub columns: BTreeMap<u64, Column>,
    users: HashMap<UserId, Vec<Place>>,
    /// The greatest reading met in each log.
    greatest: Vec<Revision>,
}

impl Default for Chart {
    fn default() -> Self {
        Self {
            summary: Summary::default(),
            width_ms: WIDTH_MS,
            columns: BTreeMap::new(),
            users: HashMap::new(),
            greatest: Vec::new(),
        }
    }
}

impl Onlooker for Chart {
    fn folded(&mut self, met: &Met, fact: &Fact, became: Became) {
        self.summary.folded(met, fact, became);
        self.draw(met);
        let place =
            Place { source: u32::try_from(met.source).unwrap_or(0), position: met.stored.position };
        if let Subject::User(user) = fact.subject {
            self.users.entry(user).or_default().push(place);
        }
        for user in fact.event.as_ref().map(Event::touched_users).unwrap_or_default() {
            if fact.subject != Subject::User(user) {
                self.users.entry(user).or_default().push(place);
            }
        }
    }
}

impl Chart {
    fn draw(&mut self, met: &Met) {
        let header = &met.header;
        self.greatest.resize(self.greatest.len().max(met.source + 1), Revision::ZERO);
        let mut late = 0;
        if let Some(greatest) = self.greatest.get_mut(met.source) {
            late = greatest.unix_ms().saturating_sub(header.revision.unix_ms());
            *greatest = header.revision.max(*greatest);
        }
        let number = header.revision.unix_ms() / self.width_ms;
        let column = self.columns.entry(number).or_default();
        *column.kinds.entry(header.kind).or_default() += 1;
        *column.origins.entry(header.origin).or_default() += 1;
        let latest = column.late_ms.entry(header.origin).or_default();
        *latest = late.max(*latest);
        while self.span() > COLUMNS_MAX as u64 {
            self.widen();
        }
    }

    fn span(&self) -> u64 {
        match (self.columns.first_key_value(), self.columns.last_key_value()) {
            (Some((first, _)), Some((last, _))) => last - first + 1,
            _ => 0,
        }
    }

    /// Makes one column of every two.
    fn widen(&mut self) {
        self.width_ms *= 2;
        let mut wide: BTreeMap<u64, Column> = BTreeMap::new();
        for (number, column) in std::mem::take(&mut self.columns) {
            let joint = wide.entry(number / 2).or_default();
            for (kind, count) in column.kinds {
                *joint.kinds.entry(kind).or_default() += count;
            }
            for (origin, count) in column.origins {
                *joint.origins.entry(origin).or_default() += count;
            }
            for (origin, late) in column.late_ms {
                let latest = joint.late_ms.entry(origin).or_default();
                *latest = late.max(*latest);
            }
        }
        self.columns = wide;
    }

    /// Users whose id contains a text, the ones with most events first, and how many events.
    pub fn users(&self, part: &str, most: usize) -> Vec<(UserId, usize)> {
        let counted = self.users.iter().map(|(user, places)| (*user, places.len()));
        let mut found: Vec<_> =
            counted.filter(|(user, _)| user.to_string().contains(part)).collect();
        found.sort_by_key(|(user, events)| (std::cmp::Reverse(*events), *user));
        found.truncate(most);
        found
    }

    /// What there is about a user, read where it lies.
    pub fn about(
        &self,
        history: &History,
        user: UserId,
        distrust: &Distrust,
    ) -> Result<Vec<Read>, ReplayError> {
        let mut read = Vec::new();
        for place in self.users.get(&user).into_iter().flatten() {
            let (source, position) = (place.source as usize, place.position);
            let Some(reader) = history.reader(source) else { continue };
            let record = reader.read_at(position)?;
            let decoded = codec::decode_record(&record);
            let (header, fact) = decoded.map_err(ReplayError::record(position))?;
            let counts = distrust.counts(&fact);
            read.push(Read { source, position, header, fact, counts, is_late: false });
        }
        read.sort_by_key(|it| (it.header.revision, it.header.origin, it.header.sequence));
        Ok(read)
    }
}
