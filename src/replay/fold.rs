//! Goes through a log and folds what counts.

use crate::events::cell::Effect;
use crate::events::codec::{self, CodecError};
use crate::events::event::Event;
use crate::events::ids::UserId;
use crate::events::record::{Fact, Header, LogPosition, Subject};
use crate::events::registry::{Distrust, RegistryState};
use crate::log::{LogError, LogReader, StoredRecord};

use super::memory::MemoryState;

/// Why a log could not be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It cannot be read.
    #[error("the log cannot be read")]
    Log(#[from] LogError),
    /// A record's bytes are not what they should be.
    #[error("the record at {position} cannot be decoded")]
    Record {
        /// Where it lies.
        position: LogPosition,
        /// Why.
        #[source]
        source: CodecError,
    },
}

impl ReplayError {
    /// Says where a record cannot be decoded.
    pub(super) fn record(position: LogPosition) -> impl FnOnce(CodecError) -> Self {
        move |source| Self::Record { position, source }
    }
}

/// What became of an event when it was folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Became {
    /// It was folded.
    Folded(Effect),
    /// It is of a life that was cut off, or rests on an event of one.
    Distrusted,
}

/// Somebody who looks on while a log is folded.
pub trait Onlooker {
    /// An event was folded; `stored` says where it lies and whether it has a body.
    fn folded(&mut self, stored: &StoredRecord, header: &Header, fact: &Fact, became: Became);
}

/// Folds a whole log. `onlooker` is made anew for every pass: when a distrust is met that was not
/// known before, everything is folded again, knowing it. `progress` is told how many events were
/// folded.
pub fn fold<O: Onlooker>(
    reader: &LogReader,
    onlooker: impl Fn() -> O,
    mut progress: impl FnMut(u64),
) -> Result<(MemoryState, O), ReplayError> {
    knowing_distrust(|known| {
        let (mut state, mut onlooker) = (MemoryState::default(), onlooker());
        let mut events = 0_u64;
        for stored in reader.scan(LogPosition::START, None) {
            let stored = stored?;
            let decoded = codec::decode_record(&stored.record);
            let (header, fact) = decoded.map_err(ReplayError::record(stored.position))?;
            let became = if known.counts(&fact) {
                Became::Folded(state.fold(&fact))
            } else {
                Became::Distrusted
            };
            onlooker.folded(&stored, &header, &fact, became);
            events += 1;
            progress(events);
        }
        let found = state.registry.distrust.clone();
        Ok(((state, onlooker), found))
    })
}

/// Folds until the distrust that was known beforehand is the one that was found. Who is distrusted
/// counts whoever says it, so the second time is the last.
pub(super) fn knowing_distrust<T>(
    mut fold: impl FnMut(&Distrust) -> Result<(T, Distrust), ReplayError>,
) -> Result<T, ReplayError> {
    let mut known = Distrust::default();
    loop {
        let (folded, found) = fold(&known)?;
        if found == known {
            return Ok(folded);
        }
        known = found;
    }
}

impl MemoryState {
    /// Folds one event into everything it touches.
    pub fn fold(&mut self, fact: &Fact) -> Effect {
        match users_of(fact) {
            Touched::Registry => self.registry.evolve(fact),
            Touched::One(user) => self.fold_user(user, fact),
            Touched::Several(users) => users
                .into_iter()
                .map(|user| self.fold_user(user, fact))
                .fold(Effect::Ignored, Effect::and),
        }
    }
}

/// Whom an event changes.
pub(super) enum Touched {
    /// Companies and the deployment.
    Registry,
    /// Its subject alone.
    One(UserId),
    /// Users between whom something is.
    Several(Vec<UserId>),
}

/// Whom an event changes.
pub(super) fn users_of(fact: &Fact) -> Touched {
    match fact.subject {
        Subject::User(user) => Touched::One(user),
        Subject::Pair(_) => {
            Touched::Several(fact.event.as_ref().map(Event::touched_users).unwrap_or_default())
        }
        Subject::Company(_) | Subject::Deployment => Touched::Registry,
        // A newer version's: kept in the log, not folded.
        Subject::Other(_) => Touched::Several(Vec::new()),
    }
}

/// What a registry has to know for `Distrust` alone.
pub(super) fn note_distrust(registry: &mut RegistryState, fact: &Fact) {
    if matches!(fact.event, Some(Event::OriginDistrusted(_))) {
        registry.evolve(fact);
    }
}
