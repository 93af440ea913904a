//! Goes through a log and folds what counts.

use std::path::PathBuf;

use crate::events::cell::Effect;
use crate::events::codec::{self, CodecError};
use crate::events::event::Event;
use crate::events::ids::{DeploymentId, UserId};
use crate::events::record::{Fact, LogPosition, Subject};
use crate::events::registry::{Distrust, RegistryState};
use crate::log::LogError;

use super::coverage::Coverage;
use super::history::{History, Met};
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
    /// Logs of two deployments do not make one history.
    #[error(
        "{} is of deployment {found}, and {} of {expected}",
        path.display(), first.display()
    )]
    Mixed {
        /// A log.
        path: PathBuf,
        /// Whose it is.
        found: DeploymentId,
        /// The log before it.
        first: PathBuf,
        /// Whose that is.
        expected: DeploymentId,
    },
    /// No log was named.
    #[error("no log was named")]
    Nothing,
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

/// Somebody who looks on while a history is folded.
pub trait Onlooker {
    /// An event was folded; `met` says where it lies and whether it has a body.
    fn folded(&mut self, met: &Met, fact: &Fact, became: Became);
}

/// For whoever wants the state alone.
#[derive(Debug, Clone, Copy)]
pub struct NobodyLooks;

impl Onlooker for NobodyLooks {
    fn folded(&mut self, _: &Met, _: &Fact, _: Became) {}
}

/// What a history folds to.
#[derive(Debug)]
pub struct Folded<O> {
    /// The state.
    pub state: MemoryState,
    /// Who looked on.
    pub onlooker: O,
    /// Which events there were.
    pub coverage: Coverage,
}

/// Folds a whole history. `onlooker` is made anew for every pass: when a distrust is met that was
/// not known before, everything is folded again, knowing it. `progress` is told how many events
/// were folded.
pub fn fold<O: Onlooker>(
    history: &History,
    onlooker: impl Fn() -> O,
    mut progress: impl FnMut(u64),
) -> Result<Folded<O>, ReplayError> {
    knowing_distrust(|known| {
        let (mut state, mut onlooker) = (MemoryState::default(), onlooker());
        let mut events = history.events();
        let mut count = 0_u64;
        for met in &mut events {
            let met = met?;
            let fact = fact_of(&met)?;
            let became = if known.counts(&fact) {
                Became::Folded(state.fold(&fact))
            } else {
                Became::Distrusted
            };
            onlooker.folded(&met, &fact, became);
            count += 1;
            progress(count);
        }
        let found = state.registry.distrust.clone();
        Ok((Folded { state, onlooker, coverage: events.into_coverage() }, found))
    })
}

/// What the fold takes of an event.
pub(super) fn fact_of(met: &Met) -> Result<Fact, ReplayError> {
    let body = met.stored.record.body.as_deref();
    let event = body.map(|body| codec::decode_body(&met.header, body)).transpose();
    let event = event.map_err(ReplayError::record(met.stored.position))?;
    Ok(Fact::new(&met.header, event.flatten()))
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
