//! Folding a log into the state: what a start does with what came after the checkpoint, and with
//! everything when the state is rebuilt.

use std::collections::BTreeMap;

use crate::events::codec::{self, CodecError};
use crate::events::ids::UserId;
use crate::events::record::{Fact, LogPosition, Subject};
use crate::events::registry::RegistryState;
use crate::events::stamp::Revision;
use crate::log::{LogError, LogReader};
use crate::state::error::StateError;
use crate::state::store::Store;

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
    /// The state cannot be written.
    #[error("the state cannot be written")]
    State(#[from] StateError),
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
    mut progress: impl FnMut(u64),
) -> Result<Folded, RecoveryError> {
    let known = registry.distrust.clone();
    let mut folded = Folded::default();
    let mut gathered: Gathered = BTreeMap::new();
    let mut facts = 0;
    for stored in reader.scan(from, None) {
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
        facts += gather(store, registry, &mut gathered, &fact, position)?;
        if facts >= FACTS_AT_ONCE {
            write(store, std::mem::take(&mut gathered))?;
            facts = 0;
        }
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
        Subject::Pair(_) => {
            fact.event.as_ref().map(crate::events::event::Event::touched_users).unwrap_or_default()
        }
        Subject::Company(_) | Subject::Deployment => {
            registry.evolve(fact);
            store.record_registry(position)?;
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
