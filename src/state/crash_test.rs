//! Crashes: whatever subset of the writes since the last flush is lost, replaying the log from the
//! checkpoint ends with the rows and entries that the facts mean, and no others.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::fixtures::{
    claimed, company, fact, index, key_created, linked, profile, registered, user,
};
use super::kv::{Kv as _, Tree};
use super::layout;
use super::lossy_kv::{LossyKv, Seeded};
use super::store::Store;
use super::verify::{DifferenceKind, compare};
use crate::events::account::{Bond, Claimant};
use crate::events::event::Event;
use crate::events::evolve::evolve;
use crate::events::ids::{UserId, UserKeyId};
use crate::events::record::{Fact, LogPosition};
use crate::events::state::UserState;

type Log = Vec<(UserId, Fact, LogPosition)>;

const USERS: u64 = 4;
const IDENTITIES: u64 = 5;

fn push(log: &mut Log, user: UserId, event: Event) {
    let number = u64::try_from(log.len()).unwrap() + 1;
    let (fact, position) = fact(user, number, event);
    log.push((user, fact, position));
}

fn random_log(random: &mut Seeded, len: u64) -> Log {
    let mut log = Log::new();
    for _ in 0..len {
        let small = |bound: u64, random: &mut Seeded| u8::try_from(random.below(bound)).unwrap();
        let who = user(small(USERS, random));
        let number = small(IDENTITIES, random);
        let event = match random.below(20) {
            0 | 1 => registered(),
            2..=7 => claimed(number, random.below(2) == 0),
            8..=10 => Event::IdentityReleased(index(number)),
            11..=13 => key_created(number),
            14 => Event::UserErased(()),
            15 => linked(who, user(100)),
            other => profile(other),
        };
        push(&mut log, who, event);
    }
    log
}

fn replay(store: &Store, log: &[(UserId, Fact, LogPosition)]) {
    for (user, fact, position) in log {
        store.fold(*user, [(fact, *position)]).unwrap();
    }
}

/// Replays as a start does: all facts of one user at once.
fn replay_grouped(store: &Store, log: &[(UserId, Fact, LogPosition)]) {
    let mut by_user: BTreeMap<UserId, Vec<(&Fact, LogPosition)>> = BTreeMap::new();
    for (user, fact, position) in log {
        by_user.entry(*user).or_default().push((fact, *position));
    }
    for (user, facts) in by_user {
        store.fold(user, facts).unwrap();
    }
}

/// The store holds what the facts mean: folded here by the core alone, entries derived from that.
fn assert_right(store: &Store, log: &[(UserId, Fact, LogPosition)], case: &str) {
    let mut states: BTreeMap<UserId, UserState> = BTreeMap::new();
    let mut positions = BTreeMap::new();
    for (user, fact, position) in log {
        evolve(states.entry(*user).or_default(), *user, fact);
        if let Some(Event::UserKeyCreated(created)) = &fact.event {
            positions.insert((*user, created.key), *position);
        }
    }
    states.retain(|_, state| !state.is_empty());
    let rows: BTreeMap<_, _> = store.users().map(Result::unwrap).collect();
    assert_eq!(rows, states, "{case}: rows");

    let found: BTreeMap<_, _> = store.kv().scan(Tree::Claims, &[]).map(Result::unwrap).collect();
    let mut expected: BTreeMap<Box<[u8]>, Box<[u8]>> = BTreeMap::new();
    for (user, state) in &states {
        for (index, _) in state.identities() {
            let list = expected.entry(index.to_key().into()).or_default();
            *list = layout::with_claimant(Some(list), *user).unwrap();
        }
        let keys: Vec<_> = state.keys.keys().map(|key| (*key, positions[&(*user, *key)])).collect();
        assert_eq!(store.key_positions(*user).unwrap(), keys, "{case}: keys of {user}");
    }
    assert_eq!(found, expected, "{case}: claims");
}

#[test]
fn any_crash_is_healed_by_replay_from_the_checkpoint() {
    for seed in 0..400 {
        let mut random = Seeded(seed);
        let log = random_log(&mut random, 60);
        let mut kv = Arc::new(LossyKv::default());
        let mut applied_below = 0;
        // Three lives, each ended by a crash at a random place, some with checkpoints.
        for life in 1..=3 {
            let store = Store::new(kv.clone());
            let (replayed, end) = (applied_below, log.len() * life / 3);
            // A part of the log may be folded twice, and all at once.
            let twice = replayed + usize::try_from(random.below(8)).unwrap();
            replay_grouped(&store, &log[replayed..twice.min(end)]);
            for at in replayed..end {
                replay(&store, &log[at..=at]);
                if random.below(12) == 0 {
                    store.kv().flush().unwrap();
                    applied_below = at + 1;
                }
            }
            let lost_of_4 = random.below(5);
            kv = Arc::new(kv.after_crash(|_, _| random.below(4) >= lost_of_4));
        }
        let store = Store::new(kv);
        if random.below(2) == 0 {
            replay(&store, &log[applied_below..]);
        } else {
            replay_grouped(&store, &log[applied_below..]);
        }
        assert_right(&store, &log, &format!("seed {seed}"));
    }
}

/// Writes `log`, crashes so that only writes to `kept` trees survive, and replays from `from`.
fn crash_keeping<const N: usize>(
    log: &Log,
    flushed: usize,
    keep: [bool; N],
) -> (Arc<LossyKv>, Store) {
    let kv = Arc::new(LossyKv::default());
    let store = Store::new(kv.clone());
    replay(&store, &log[..flushed]);
    store.kv().flush().unwrap();
    replay(&store, &log[flushed..]);
    let mut keep = keep.into_iter();
    let kv = Arc::new(kv.after_crash(|_, _| keep.next().unwrap_or(false)));
    (kv.clone(), Store::new(kv))
}

#[test]
fn a_claim_whose_row_was_kept_and_whose_entry_was_lost_is_found_after_replay() {
    let mut log = Log::new();
    push(&mut log, user(1), registered());
    push(&mut log, user(1), claimed(1, true));
    // The row is written first, then the entry.
    let (kv, store) =
        crash_keeping(&log, 1, [true, false, false, false, false, false, false, false]);
    assert!(store.user(user(1)).unwrap().unwrap().claims.contains_key(&index(1)));
    assert_eq!(store.claimants(index(1), company("shop")).unwrap(), []);
    replay(&store, &log[1..]);
    assert_eq!(store.claimants(index(1), company("shop")).unwrap().len(), 1);
    assert_eq!(kv.writes(), 2, "the row had not changed; entry and history are written anew");
}

#[test]
fn an_entry_whose_row_was_lost_claims_nothing_until_replay() {
    let mut log = Log::new();
    push(&mut log, user(1), registered());
    push(&mut log, user(1), claimed(1, true));
    let (_, store) =
        crash_keeping(&log, 1, [false, true, false, false, false, false, false, false]);
    assert_eq!(store.kv().scan(Tree::Claims, &[]).count(), 1);
    assert_eq!(store.claimants(index(1), company("shop")).unwrap(), []);
    replay(&store, &log[1..]);
    assert_eq!(store.claimants(index(1), company("shop")).unwrap().len(), 1);
}

#[test]
fn a_release_whose_row_was_kept_and_whose_removal_was_lost_is_removed_by_replay() {
    let mut log = Log::new();
    push(&mut log, user(1), registered());
    push(&mut log, user(1), claimed(1, true));
    push(&mut log, user(1), Event::IdentityReleased(index(1)));
    let (_, store) =
        crash_keeping(&log, 2, [true, false, false, false, false, false, false, false]);
    assert_eq!(store.kv().scan(Tree::Claims, &[]).count(), 1);
    assert_eq!(store.claimants(index(1), company("shop")).unwrap(), [], "checked against its row");
    replay(&store, &log[2..]);
    assert_right(&store, &log, "after replay");
}

#[test]
fn an_erased_users_entries_are_removed_though_only_the_tombstone_was_kept() {
    let mut log = Log::new();
    push(&mut log, user(1), registered());
    push(&mut log, user(1), key_created(1));
    push(&mut log, user(1), claimed(1, true));
    push(&mut log, user(1), claimed(2, false));
    push(&mut log, user(1), Event::UserErased(()));
    push(&mut log, user(1), linked(user(1), user(2)));
    // Kept: the tombstone, and the row written anew with the link. Lost: the note of the erasure
    // and all three removals.
    let kept = [true, false, false, false, false, false, true, false, false];
    let (_, store) = crash_keeping(&log, 4, kept);
    assert_eq!(store.erasures().unwrap(), []);
    assert_eq!(store.kv().scan(Tree::Claims, &[]).count(), 2);
    assert_eq!(store.kv().scan(Tree::Keys, &[]).count(), 1);
    assert_eq!(store.claimants(index(1), company("shop")).unwrap(), []);
    replay(&store, &log[4..]);
    assert_right(&store, &log, "after replay");
    assert_eq!(store.kv().scan(Tree::Claims, &[]).count(), 0);
    assert_eq!(store.kv().scan(Tree::Keys, &[]).count(), 0);
    let noted: Vec<_> = store.erasures().unwrap().into_iter().map(|it| it.position).collect();
    assert_eq!(noted, [log[4].2], "it is carried out all the same");
    assert!(store.finds_erased(user(1)).unwrap());
}

#[test]
fn an_erasure_is_noted_and_whatever_comes_late_with_something_to_blank() {
    let mut log = Log::new();
    push(&mut log, user(1), registered());
    push(&mut log, user(1), claimed(1, true));
    push(&mut log, user(1), Event::UserErased(()));
    push(&mut log, user(1), profile(1));
    push(&mut log, user(1), claimed(2, true));
    push(&mut log, user(1), key_created(1));
    let blank = |(user, fact, position): &(UserId, Fact, LogPosition)| {
        let event = fact.event.clone().filter(|event| !event.kind().is_blanked_by_erasure());
        (*user, Fact { event, ..fact.clone() }, *position)
    };
    let blanked: Log = log.iter().map(blank).collect();
    for (log, places, finds) in [(&log, vec![2, 4, 5], true), (&blanked, vec![2], false)] {
        for grouped in [false, true] {
            let store = Store::new(Arc::new(LossyKv::default()));
            if grouped {
                replay_grouped(&store, log);
            } else {
                replay(&store, log);
            }
            let noted = store.erasures().unwrap();
            let mut expected: Vec<_> = places.iter().map(|place| log[*place].2).collect();
            if grouped && finds {
                // All at once, the user is erased when its first claim is looked at.
                expected.insert(0, log[1].2);
            }
            assert_eq!(noted.iter().map(|it| it.position).collect::<Vec<_>>(), expected);
            assert_eq!(store.finds_erased(user(1)).unwrap(), finds, "the row lists identities");
            for note in &noted {
                store.forget_erasure(note).unwrap();
            }
            assert_eq!(store.erasures().unwrap(), []);
        }
    }
}

#[test]
fn what_comes_late_for_an_erased_user_leaves_no_entry() {
    let mut log = Log::new();
    push(&mut log, user(1), Event::UserErased(()));
    push(&mut log, user(1), key_created(1));
    push(&mut log, user(1), claimed(1, true));
    let kv = Arc::new(LossyKv::default());
    replay(&Store::new(kv.clone()), &log);
    assert_right(&Store::new(kv), &log, "late");
}

#[test]
fn a_profile_write_is_its_row_and_its_history_and_a_repeated_one_its_history() {
    let kv = Arc::new(LossyKv::default());
    let store = Store::new(kv.clone());
    let mut log = Log::new();
    push(&mut log, user(1), registered());
    push(&mut log, user(1), profile(1));
    replay(&store, &log[..1]);
    let before = kv.writes();
    replay(&store, &log[1..]);
    assert_eq!(kv.writes() - before, 2);
    replay(&store, &log[1..]);
    assert_eq!(kv.writes() - before, 3);
}

#[test]
fn claimants_say_what_ownership_needs() {
    let store = Store::new(Arc::new(LossyKv::default()));
    let mut log = Log::new();
    for number in [1, 2] {
        push(&mut log, user(number), registered());
        push(&mut log, user(number), claimed(1, number == 2));
    }
    push(&mut log, user(1), Event::CompanyJoined(company("shop")));
    // Not registered here yet: it claims nothing.
    push(&mut log, user(3), claimed(1, true));
    replay(&store, &log);
    let since = |at: usize| (log[at].1.revision, log[at].1.reference.origin);
    let claimant =
        |number, verified, bond, since| Claimant { user: user(number), verified, bond, since };
    let (own, stranger) = (Bond::Own, Bond::Stranger);
    let expected = [claimant(1, false, own, since(1)), claimant(2, true, stranger, since(3))];
    assert_eq!(store.claimants(index(1), company("shop")).unwrap(), expected);
    assert_eq!(store.claimants(index(2), company("shop")).unwrap(), []);
}

#[test]
fn users_are_hashed_and_counted_in_the_order_of_ids() {
    use crate::events::state_hash::StateHasher;
    let mut log = Log::new();
    for number in [3, 1, 2] {
        push(&mut log, user(number), registered());
    }
    push(&mut log, user(2), Event::UserErased(()));
    let store = Store::new(Arc::new(LossyKv::default()));
    replay(&store, &log);
    let (mut hasher, mut told) = (StateHasher::default(), Vec::new());
    let counts = store.state_hash_users(&mut hasher, |users| told.push(users)).unwrap();
    assert_eq!((counts.users, counts.live, told), (3, 2, vec![1, 2, 3]));
    assert_eq!(store.counts().unwrap(), counts);
    let mut expected = StateHasher::default();
    for number in [1, 2, 3] {
        expected.user(user(number), &store.user(user(number)).unwrap().unwrap());
    }
    assert_eq!(hasher.finish(), expected.finish());
}

#[test]
fn registry_positions_come_back_in_the_logs_order() {
    let store = Store::new(Arc::new(LossyKv::default()));
    let positions = [LogPosition::new(0, 9), LogPosition::new(0, 300), LogPosition::new(2, 1)];
    for position in positions.iter().rev().chain(&positions) {
        store.record_registry(*position).unwrap();
    }
    assert_eq!(store.registry_positions().unwrap(), positions);
}

#[test]
fn a_key_brought_twice_has_the_place_that_prevails() {
    let mut log = Log::new();
    push(&mut log, user(1), registered());
    push(&mut log, user(1), key_created(1));
    push(&mut log, user(1), key_created(1));
    let store = Store::new(Arc::new(LossyKv::default()));
    for at in [2, 1, 0, 1] {
        replay(&store, &log[at..=at]);
    }
    let expected = [(UserKeyId([1; 8]), log[2].2)];
    assert_eq!(store.key_positions(user(1)).unwrap(), expected);
}

#[test]
fn a_comparison_finds_every_difference_and_no_other() {
    let mut log = Log::new();
    for number in 1..=4 {
        push(&mut log, user(number), registered());
        push(&mut log, user(number), claimed(number, true));
        push(&mut log, user(number), key_created(number));
    }
    let (actual, reference) = (Arc::new(LossyKv::default()), LossyKv::default());
    let reference = Arc::new(reference);
    replay(&Store::new(actual.clone()), &log);
    replay_grouped(&Store::new(reference.clone()), &log);
    let same = compare(&*actual, &*reference, 10, |_| {}).unwrap();
    assert_eq!((same.compared, same.different), (24, 0));

    actual.remove(Tree::Users, user(1).as_bytes()).unwrap();
    actual.insert(Tree::Users, user(2).as_bytes(), b"damage").unwrap();
    actual.insert(Tree::Claims, &index(9).to_key(), user(9).as_bytes()).unwrap();
    actual.insert(Tree::Keys, user(3).as_bytes(), &[0; 16]).unwrap();
    let (fact, at) = fact(user(4), 99, profile(1));
    Store::new(actual.clone()).fold(user(4), [(&fact, at)]).unwrap();

    let found = compare(&*actual, &*reference, 10, |_| {}).unwrap();
    let kinds: Vec<_> = found.differences.iter().map(|it| (it.tree, it.kind)).collect();
    let expected = [
        (Tree::Users, DifferenceKind::Missing),
        (Tree::Users, DifferenceKind::Unreadable),
        (Tree::Users, DifferenceKind::Different),
        (Tree::Claims, DifferenceKind::Extra),
        (Tree::Keys, DifferenceKind::Different),
        (Tree::History, DifferenceKind::Extra),
    ];
    assert_eq!(kinds, expected);
    let few = compare(&*actual, &*reference, 2, |_| {}).unwrap();
    assert_eq!((few.different, few.differences.len()), (6, 2));
}
