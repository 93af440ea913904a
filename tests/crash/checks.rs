//! What must hold of a log and a state that agree.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use jcas::actors::recovery::{fold_log, fold_log_by};
use jcas::events::codec;
use jcas::events::ids::Digest;
use jcas::events::record::{LogPosition, Subject};
use jcas::events::registry::RegistryState;
use jcas::events::stamp::{Origin, Revision};
use jcas::events::state_hash::StateHasher;
use jcas::files::Files;
use jcas::log::{LogReader, verify};
use jcas::state::kv::Tree;
use jcas::state::store::Store;
use jcas::state::verify::compare;

use crate::commands;
use crate::ledger::{Checked, Folded, Recorded, ensure};
use crate::lossy_kv::LossyKv;
use crate::sim_disk::SimDisk;

fn text(error: impl std::error::Error) -> String {
    jcas::actors::journal::chain(&error)
}

/// Reads a log from its files, as a stranger would, and checks frames, chains and numbers.
pub(crate) fn read_log(disk: &SimDisk, folder: &Path) -> Checked<Vec<Recorded>> {
    let files: Arc<dyn Files> = Arc::new(disk.clone());
    let report = verify(&files, folder, &mut |_| {}).map_err(text)?;
    ensure!(report.is_sound(), "the log is not sound: {:?}", report.findings);
    let reader = LogReader::open_path(&files, folder).map_err(text)?;
    let mut log = Vec::new();
    for stored in reader.scan(LogPosition::START, None) {
        let stored = stored.map_err(text)?;
        let (header, fact) = codec::decode_record(&stored.record).map_err(text)?;
        log.push(Recorded { position: stored.position, header, fact });
    }
    check_order(&log)?;
    Ok(log)
}

/// Every life counts its events from 1 without a gap, and readings never go back.
fn check_order(log: &[Recorded]) -> Checked {
    let mut ends: BTreeMap<Origin, (u64, Digest)> = BTreeMap::new();
    let mut newest = Revision::ZERO;
    let mut life: Option<Origin> = None;
    for Recorded { header, position, .. } in log {
        let end = ends.entry(header.origin).or_insert((0, Digest::ZERO));
        ensure!(header.sequence == end.0 + 1, "at {position}: {header:?} after number {}", end.0);
        end.0 = header.sequence;
        ensure!(header.revision >= newest, "at {position}: the reading goes back from {newest}");
        newest = header.revision;
        let newer = life.is_none_or(|life| header.origin.incarnation >= life.incarnation);
        ensure!(newer, "at {position}: an earlier life writes after {life:?}");
        life = Some(header.origin);
    }
    Ok(())
}

/// The state is what the log folds to: rows to the byte, every index entry, the state hash.
pub(crate) fn check_state(
    store: &Store,
    registry: &RegistryState,
    reader: &LogReader,
    expected: &Folded,
) -> Checked {
    let mut hashers = (StateHasher::default(), StateHasher::default());
    let mut rows = BTreeSet::new();
    for row in store.users() {
        let (user, state) = row.map_err(text)?;
        let naive = expected.users.get(&user);
        ensure!(naive == Some(&state), "{user} is {state:?} and should be {naive:?}");
        rows.insert(user);
    }
    for (user, state) in &expected.users {
        ensure!(rows.contains(user) || state.is_empty(), "{user} has no row");
        let stored = store.user(*user).map_err(text)?.unwrap_or_default();
        let bytes = |state| codec::encode_user(state).map_err(text);
        ensure!(bytes(&stored)? == bytes(state)?, "the bytes of {user} differ");
        hashers.1.user(*user, state);
    }
    store.state_hash_users(&mut hashers.0, |_| {}).map_err(text)?;
    registry.feed(&mut hashers.0);
    expected.registry.feed(&mut hashers.1);
    ensure!(*registry == expected.registry, "the registry is not what the log folds to");
    ensure!(hashers.0.finish() == hashers.1.finish(), "the state hash differs");
    check_claims(store, expected)?;
    check_repeats(store, reader)?;
    // And every tree is what folding everything anew makes.
    let reference = Store::new(Arc::new(LossyKv::default()));
    let mut anew = RegistryState::default();
    fold_log(reader, LogPosition::START, &reference, &mut anew, |_| {}).map_err(text)?;
    let found = compare(&*store.kv(), &*reference.kv(), 10, |_| {}).map_err(text)?;
    let differences: Vec<String> = found.differences.iter().map(ToString::to_string).collect();
    ensure!(found.different == 0, "trees differ from new ones: {differences:?}");
    // However little of the log is gathered at once.
    let by_few = Store::new(Arc::new(LossyKv::default()));
    let mut anew = RegistryState::default();
    fold_log_by(3, reader, LogPosition::START, &by_few, &mut anew, |_| {}).map_err(text)?;
    let found = compare(&*by_few.kv(), &*reference.kv(), 10, |_| {}).map_err(text)?;
    let differences: Vec<String> = found.differences.iter().map(ToString::to_string).collect();
    ensure!(found.different == 0, "folded by few, trees differ: {differences:?}");
    Ok(())
}

/// A repeat of any command on a user finds everything that the command recorded.
fn check_repeats(store: &Store, reader: &LogReader) -> Checked {
    let mut places: BTreeMap<u64, (LogPosition, LogPosition)> = BTreeMap::new();
    for stored in reader.scan(LogPosition::START, None) {
        let stored = stored.map_err(text)?;
        let (header, _) = codec::decode_record(&stored.record).map_err(text)?;
        let of_user = matches!(header.subject, Subject::User(_));
        if let Some(number) = commands::number(&header.cause).filter(|_| of_user) {
            let first = stored.position;
            places.entry(number).or_insert((first, first)).1 = stored.position;
        }
    }
    for (number, place) in places {
        let found = store.repeats(commands::idempotency_key(number)).map_err(text)?;
        let found: Vec<_> = found.iter().map(|it| (it.first, it.last)).collect();
        ensure!(found == [place], "command {number} lies at {place:?}, its entries say {found:?}");
    }
    Ok(())
}

/// Who claims what: entries, rows and the fold say the same, and one identity has one user.
fn check_claims(store: &Store, expected: &Folded) -> Checked {
    let mut entries = 0;
    for index in commands::identities() {
        let claims = |state: &&jcas::events::state::UserState| {
            state.claims.get(&index).is_some_and(jcas::events::state::Claims::is_live)
        };
        let naive: BTreeSet<_> = expected
            .users
            .iter()
            .filter(|(_, state)| claims(state) && state.is_live())
            .map(|(user, _)| *user)
            .collect();
        let found = store.claimants(index, commands::shop()).map_err(text)?;
        let found: BTreeSet<_> = found.iter().map(|claimant| claimant.user).collect();
        ensure!(found == naive, "{index:?} is claimed by {naive:?}, entries say {found:?}");
        ensure!(naive.len() <= 1, "{naive:?} of one company claim {index:?}");
        entries += naive.len();
    }
    let stored = store.kv().scan(Tree::Claims, &[]).count();
    ensure!(stored == entries, "{stored} entries for {entries} claims");
    Ok(())
}
