//! What a start does between an opened log and the actors: it opens the state, or begins a new
//! one, and folds what came after the checkpoint.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::events::codec::{self, CodecError};
use crate::events::event::{Event, PreviousLife};
use crate::events::ids::{NodeId, RegionId, UserId};
use crate::events::record::{Fact, LogPosition, Subject};
use crate::events::registry::RegistryState;
use crate::events::stamp::{Incarnation, Origin, Revision};
use crate::log::{Log, LogError, LogReader, Opened, last_life};
use crate::state::checkpoint::{Checkpoint, Generation};
use crate::state::error::StateError;
use crate::state::folder::{Started, StateFolder};
use crate::state::plan::{LogBounds, Plan, Reason};
use crate::state::store::Store;
use crate::state::trees::{SledTrees, Trees};

/// Facts that are gathered before users are written: each user is then written once for all of
/// its facts among them. A bound on memory, about 100 MB.
const FACTS_AT_ONCE: usize = 65_536;

/// Why a log could not be folded.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The log cannot be read.
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
    /// The state cannot be read or written.
    #[error("the state cannot be used")]
    State(#[from] StateError),
}

/// An opened log and a state that holds everything in it.
pub struct Recovered<T: Trees = SledTrees> {
    /// The log.
    pub log: Arc<Log>,
    /// The state.
    pub store: Arc<Store>,
    /// Companies and keys.
    pub registry: RegistryState,
    /// The greatest revision so far.
    pub greatest: Revision,
    /// Where the state lies.
    pub folder: StateFolder<T>,
    /// Which of its trees hold it.
    pub generation: Generation,
}

/// Brings the state up to an opened log. `rebuild` folds everything anew. `progress` is told how
/// many records were read.
pub fn recover<T: Trees>(
    log: Log,
    opened: &Opened,
    folder: StateFolder<T>,
    rebuild: bool,
    progress: impl FnMut(u64),
) -> Result<Recovered<T>, RecoveryError> {
    let reader = log.reader();
    let bounds = LogBounds { deployment: reader.deployment(), end: opened.end };
    let Started { kv, generation, plan, refused: _ } = folder.start(bounds)?;
    let (kv, generation, from) = match plan {
        Plan::Open { replay_from, .. } if !rebuild => (kv, generation, Some(replay_from)),
        Plan::Open { .. } => {
            drop(kv);
            let (kv, generation) = folder.begin_rebuild()?;
            (kv, generation, None)
        }
        Plan::Rebuild { reason } => {
            // A first start has nothing to fold: that there is no state yet is no news then.
            if reason != Reason::NoCheckpoint || !opened.vector.is_empty() {
                tracing::warn!(%reason, "the state is folded from the log anew");
            }
            (kv, generation, None)
        }
    };
    let store = Arc::new(Store::new(Arc::new(kv)));
    let registry = match from {
        Some(_) => fold_registry(&reader, store.registry_positions()?)?,
        None => RegistryState::default(),
    };
    let (log, greatest) = (Arc::new(log), opened.greatest_revision);
    let mut recovered = Recovered { log, store, registry, greatest, folder, generation };
    recovered.fold(from.unwrap_or(LogPosition::START), progress)?;
    Ok(recovered)
}

impl<T: Trees> Recovered<T> {
    fn fold(&mut self, from: LogPosition, progress: impl FnMut(u64)) -> Result<(), RecoveryError> {
        let reader = self.log.reader();
        let folded = fold_log(&reader, from, &self.store, &mut self.registry, progress)?;
        if folded.distrust_changed {
            // What was folded before did not know who is distrusted: fold it again, knowing.
            let distrust = self.registry.distrust.clone();
            let (kv, generation) = self.folder.begin_rebuild()?;
            self.store = Arc::new(Store::new(Arc::new(kv)));
            self.generation = generation;
            self.registry = RegistryState { distrust, ..RegistryState::default() };
            fold_log(&reader, LogPosition::START, &self.store, &mut self.registry, |_| {})?;
        }
        if folded.records > 0 {
            tracing::info!(records = folded.records, "folded the log into the state");
        }
        Ok(())
    }

    /// Makes the state durable and says so; then trees that do not count are removed. For before
    /// anything is appended.
    pub fn checkpoint(&self) -> Result<(), StateError> {
        let checkpoint = Checkpoint {
            deployment: self.log.reader().deployment(),
            generation: self.generation,
            applied_below: self.log.durable(),
            greatest: self.greatest,
        };
        self.store.forget_repeats(self.greatest)?;
        self.folder.take_checkpoint(&*self.store.kv(), &checkpoint)?;
        self.folder.remove_all_but(Some(self.generation))
    }

    /// A new life of a node, and the end of the one before. The random tag keeps two lives apart
    /// that began after the same end.
    pub fn next_life(
        &self,
        region: RegionId,
        node: NodeId,
        tag: u32,
    ) -> (Origin, Option<PreviousLife>) {
        let last = last_life(&self.log.vector(), region, node);
        let counter = last.as_ref().map_or(1, |(origin, _)| origin.incarnation.counter + 1);
        let origin = Origin { region, node, incarnation: Incarnation { counter, tag } };
        let previous = last.map(|(origin, end)| PreviousLife {
            origin,
            sequence: end.sequence,
            head: end.head,
        });
        (origin, previous)
    }
}

/// What was folded.
#[derive(Debug, Clone, Copy, Default)]
pub struct Folded {
    /// Records read.
    pub records: u64,
    /// The greatest revision among them.
    pub greatest: Revision,
    /// Whether a life was cut off among them: then what was folded before is folded anew.
    pub distrust_changed: bool,
}

/// Folds the log from a position on into a store and the registry. `progress` is told how many
/// records were read.
pub fn fold_log(
    reader: &LogReader,
    from: LogPosition,
    store: &Store,
    registry: &mut RegistryState,
    progress: impl FnMut(u64),
) -> Result<Folded, RecoveryError> {
    fold_log_by(FACTS_AT_ONCE, reader, from, store, registry, progress)
}

/// The same, with so many facts gathered before users are written, and what belongs to them.
pub fn fold_log_by(
    facts_at_once: usize,
    reader: &LogReader,
    from: LogPosition,
    store: &Store,
    registry: &mut RegistryState,
    progress: impl FnMut(u64),
) -> Result<Folded, RecoveryError> {
    fold_span(facts_at_once, reader, (from, None), store, registry, progress)
}

/// The same for what lies between two positions, each at the end of a commit's frame or a segment.
pub fn fold_log_to(
    reader: &LogReader,
    (from, to): (LogPosition, LogPosition),
    store: &Store,
    registry: &mut RegistryState,
) -> Result<Folded, RecoveryError> {
    fold_span(FACTS_AT_ONCE, reader, (from, Some(to)), store, registry, |_| {})
}

fn fold_span(
    facts_at_once: usize,
    reader: &LogReader,
    (from, to): (LogPosition, Option<LogPosition>),
    store: &Store,
    registry: &mut RegistryState,
    mut progress: impl FnMut(u64),
) -> Result<Folded, RecoveryError> {
    store.note_reach(reader.end())?;
    let known = registry.distrust.clone();
    let mut folded = Folded::default();
    let mut gathered: Gathered = BTreeMap::new();
    let (mut facts, mut last) = (0, None);
    for stored in reader.scan(from, to) {
        let stored = stored?;
        let position = stored.position;
        let decoded = codec::decode_record(&stored.record);
        let (_, fact) = decoded.map_err(|source| RecoveryError::Record { position, source })?;
        folded.records += 1;
        folded.greatest = folded.greatest.max(fact.revision);
        progress(folded.records);
        if !known.counts(&fact) {
            continue;
        }
        // A command's facts are written together: their place in the histories is one.
        let command = Some((fact.reference.origin, fact.revision));
        if facts >= facts_at_once && command != last {
            write(store, std::mem::take(&mut gathered))?;
            facts = 0;
        }
        last = command;
        facts += gather(store, registry, &mut gathered, &fact, position)?;
    }
    write(store, gathered)?;
    folded.distrust_changed = registry.distrust != known;
    Ok(folded)
}

type Gathered = BTreeMap<UserId, Vec<(Fact, LogPosition)>>;

/// Puts a fact to everyone it touches. Returns how many facts were put to users.
fn gather(
    store: &Store,
    registry: &mut RegistryState,
    gathered: &mut Gathered,
    fact: &Fact,
    position: LogPosition,
) -> Result<usize, StateError> {
    let users = match fact.subject {
        Subject::User(user) => vec![user],
        Subject::Pair(_) => fact.event.as_ref().map(Event::touched_users).unwrap_or_default(),
        Subject::Company(_) | Subject::Deployment => {
            // A life that is cut off from here on means that this fold is given up. Its state must
            // not know of it, or a start after a crash would take it for one that was folded anew.
            let cuts_off = matches!(&fact.event,
                Some(Event::OriginDistrusted(cut)) if !registry.distrust.has(cut));
            registry.evolve(fact);
            if !cuts_off {
                store.record_registry(position)?;
            }
            return Ok(0);
        }
        // A newer version's: kept in the log, not folded.
        Subject::Other(_) => return Ok(0),
    };
    for user in &users {
        gathered.entry(*user).or_default().push((fact.clone(), position));
    }
    Ok(users.len())
}

fn write(store: &Store, gathered: Gathered) -> Result<(), StateError> {
    for (user, facts) in gathered {
        store.fold(user, facts.iter().map(|(fact, position)| (fact, *position)))?;
    }
    Ok(())
}

/// Folds what the registry was when the state was written: the events at these positions.
pub fn fold_registry(
    reader: &LogReader,
    positions: Vec<LogPosition>,
) -> Result<RegistryState, RecoveryError> {
    let mut registry = RegistryState::default();
    for position in positions {
        let record = reader.read_at(position)?;
        let decoded = codec::decode_record(&record);
        let (_, fact) = decoded.map_err(|source| RecoveryError::Record { position, source })?;
        registry.evolve(&fact);
    }
    Ok(registry)
}
