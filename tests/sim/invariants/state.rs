//! Logs and what they fold to: read as a stranger would, folded by the core alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jcas::actors::recovery::{Recovered, fold_log};
use jcas::events::codec;
use jcas::events::event::Event;
use jcas::events::evolve::evolve;
use jcas::events::ids::{Digest, UserId};
use jcas::events::record::{Fact, LogPosition, Subject};
use jcas::events::registry::RegistryState;
use jcas::events::stamp::EventRef;
use jcas::events::state::UserState;
use jcas::events::state_hash::StateHasher;
use jcas::files::Files;
use jcas::log::{LogReader, verify};
use jcas::state::kv::Tree;
use jcas::state::store::Store;
use jcas::state::verify::compare;

use crate::commands;
use crate::ledger::{Checked, Recorded, ensure, text};
use crate::life::Life;
use crate::lossy_kv::LossyKv;
use crate::machine::log_folder;
use crate::sim_disk::{Seeded, SimDisk};
use crate::trees::LossyTrees;

/// What events fold to.
#[derive(Default)]
pub(crate) struct Folded {
    pub(crate) users: BTreeMap<UserId, UserState>,
    pub(crate) registry: RegistryState,
}

impl Folded {
    fn fold(&mut self, fact: &Fact) {
        match fact.subject {
            Subject::User(user) => {
                evolve(self.users.entry(user).or_default(), user, fact);
            }
            Subject::Pair(_) => {
                for user in fact.event.iter().flat_map(Event::touched_users) {
                    evolve(self.users.entry(user).or_default(), user, fact);
                }
            }
            _ => {
                self.registry.evolve(fact);
            }
        }
    }

    /// The state hash.
    pub(crate) fn hash(&self) -> Digest {
        let mut hasher = StateHasher::default();
        for (user, state) in &self.users {
            hasher.user(*user, state);
        }
        self.registry.feed(&mut hasher);
        hasher.finish()
    }
}

/// Folds events in an order that was never theirs, some of them twice.
pub(crate) fn fold_in_any_order(
    union: &BTreeMap<EventRef, Recorded>,
    random: &mut Seeded,
) -> Folded {
    let mut all: Vec<&Recorded> = union.values().collect();
    for last in (1..all.len()).rev() {
        all.swap(last, random.below(last + 1));
    }
    let mut folded = Folded::default();
    for recorded in all {
        folded.fold(&recorded.fact);
        if random.chance(10) {
            folded.fold(&recorded.fact);
        }
    }
    folded
}

/// Reads a log from its files and checks frames, chains and numbers.
pub(crate) fn read_log(disk: &SimDisk) -> Checked<Vec<Recorded>> {
    let files: Arc<dyn Files> = Arc::new(disk.clone());
    let report = verify(&files, &log_folder(), &mut |_| {}).map_err(text)?;
    ensure!(report.is_sound(), "a log is not sound: {:?}", report.findings);
    let reader = LogReader::open_path(&files, &log_folder()).map_err(text)?;
    let mut log = Vec::new();
    for stored in reader.scan(LogPosition::START, None) {
        let (header, fact) = codec::decode_record(&stored.map_err(text)?.record).map_err(text)?;
        log.push(Recorded { header, fact });
    }
    Ok(log)
}

/// The state hash of a running node.
pub(crate) fn state_hash(life: &Life) -> Checked<Digest> {
    let mut hasher = StateHasher::default();
    life.checkpoints.store.state_hash_users(&mut hasher, |_| {}).map_err(text)?;
    life.view.borrow().state.feed(&mut hasher);
    Ok(hasher.finish())
}

/// What a start made of a log and a state is what the log alone folds to.
pub(crate) fn check_recovered(recovered: &Recovered<LossyTrees>, disk: &SimDisk) -> Checked {
    let log = read_log(disk)?;
    let mut folded = Folded::default();
    for recorded in log {
        folded.fold(&recorded.fact);
    }
    check_state(&recovered.store, &recovered.registry, &recovered.log.reader(), &folded)
}

/// A state is what is expected: rows to the byte, every index entry, every tree.
pub(crate) fn check_state(
    store: &Store,
    registry: &RegistryState,
    reader: &LogReader,
    expected: &Folded,
) -> Checked {
    let mut rows = BTreeSet::new();
    for row in store.users() {
        let (user, state) = row.map_err(text)?;
        let naive = expected.users.get(&user);
        ensure!(naive == Some(&state), "{user} is {state:?} and should be {naive:?}");
        rows.insert(user);
    }
    for (user, state) in &expected.users {
        ensure!(rows.contains(user) || state.is_empty(), "{user} has no row");
    }
    ensure!(*registry == expected.registry, "the registry is not what the log folds to");
    check_claims(store, expected)?;
    // And every tree is what folding everything anew makes.
    let reference = Store::new(Arc::new(LossyKv::default()));
    let mut anew = RegistryState::default();
    fold_log(reader, LogPosition::START, &reference, &mut anew, |_| {}).map_err(text)?;
    let found = compare(&*store.kv(), &*reference.kv(), 10, |_| {}).map_err(text)?;
    let differences: Vec<String> = found.differences.iter().map(ToString::to_string).collect();
    ensure!(found.different == 0, "trees differ from new ones: {differences:?}");
    Ok(())
}

/// Who claims what: entries, rows and the fold say the same.
fn check_claims(store: &Store, expected: &Folded) -> Checked {
    let mut entries = 0;
    for index in commands::identities() {
        let claims = |state: &UserState| {
            state.is_live()
                && state.claims.get(&index).is_some_and(jcas::events::state::Claims::is_live)
        };
        let naive = expected.users.iter().filter(|(_, state)| claims(state));
        let naive: BTreeSet<_> = naive.map(|(user, _)| *user).collect();
        let found = store.claimants(index, commands::shop()).map_err(text)?;
        let found: BTreeSet<_> = found.iter().map(|claimant| claimant.user).collect();
        ensure!(found == naive, "{index:?} is claimed by {naive:?}, entries say {found:?}");
        entries += naive.len();
    }
    let lists = store.kv().scan(Tree::Claims, &[]);
    let stored: usize = lists.map(|list| list.map_or(0, |(_, users)| users.len() / 16)).sum();
    ensure!(stored >= entries, "{stored} entries for {entries} claims");
    Ok(())
}
