//! Law 2: the state is a pure function of the set of facts.

use std::collections::BTreeSet;

use jcas::events::account::{Account, Seen};
use jcas::events::cell::{Effect, Mark};
use jcas::events::codec;
use jcas::events::event::{Cause, Draft, Event};
use jcas::events::ids::UserId;
use jcas::events::record::{Fact, Record, Register, Subject};
use jcas::events::registry::RegistryState;
use jcas::events::stamp::{EffectiveTime, EventRef, Revision, Stamp};
use jcas::events::state::UserState;
use proptest::prelude::*;

use crate::fixtures::{at, digest, key, origin, user};
use crate::generator::{History, steps, user_of};
use crate::harness::{Arrival, arrivals, holds};
use crate::world::World;

fn same(one: &World, other: &World) -> Result<(), TestCaseError> {
    prop_assert_eq!(one.bytes(), other.bytes(), "the users' bytes");
    prop_assert_eq!(&one.registry, &other.registry, "the registry");
    prop_assert_eq!(one.hash(), other.hash(), "the state hash");
    Ok(())
}

#[test]
fn facts_in_any_order_any_of_them_twice_fold_to_the_same_bytes() {
    holds(400, &(steps(), arrivals(), arrivals()), |(steps, one, other)| {
        let facts = History::of(&steps).facts;
        let recorded = World::of(&facts);
        same(&recorded, &World::of(one.of(&facts)))?;
        same(&recorded, &World::of(other.of(&facts)))
    });
}

#[test]
fn folding_everything_again_changes_nothing_and_says_so() {
    holds(200, &(steps(), arrivals()), |(steps, arrival)| {
        let facts = History::of(&steps).facts;
        let folded = World::of(&facts);
        let mut again = folded.clone();
        for fact in arrival.of(&facts) {
            prop_assert_ne!(again.fold(fact), Effect::Prevailed, "{:?}", fact);
        }
        same(&folded, &again)
    });
}

#[test]
fn a_fact_prevails_if_and_only_if_it_changes_a_state() {
    holds(200, &(steps(), arrivals()), |(steps, arrival)| {
        let facts = History::of(&steps).facts;
        let mut world = World::default();
        for fact in arrival.of(&facts) {
            let before = world.clone();
            let effect = world.fold(fact);
            let changed = readings_aside(&world) != readings_aside(&before)
                || world.registry != before.registry;
            prop_assert_eq!(effect == Effect::Prevailed, changed, "{:?} by {:?}", effect, fact);
        }
        Ok(())
    });
}

/// The records of a node that blanked some of the bodies it may: keys, claims and releases of
/// erased users.
fn partly_blanked(history: &History, mut by: Arrival) -> Vec<Fact> {
    let erased = history.erased();
    let facts = history.facts.iter().zip(&history.records);
    let blanked = facts.map(|(fact, record)| {
        let personal = matches!(fact.register, Register::UserKey(_) | Register::Identity);
        let may = personal && user_of(fact).is_some_and(|user| erased.contains(&user));
        let body = if may && by.one_in(2) { None } else { record.body.clone() };
        let record = Record { header: record.header.clone(), body };
        codec::decode_record(&record).unwrap().1
    });
    blanked.collect()
}

#[test]
fn blanked_bodies_of_erased_users_fold_to_the_same_bytes() {
    holds(400, &(steps(), arrivals(), arrivals()), |(steps, blanking, arrival)| {
        let history = History::of(&steps);
        let blanked = partly_blanked(&history, blanking);
        same(&World::of(&history.facts), &World::of(arrival.of(&blanked)))?;
        // A node may hold both: the record as it came first, and blanked as it came again.
        let both: Vec<Fact> = history.facts.iter().chain(&blanked).cloned().collect();
        same(&World::of(&history.facts), &World::of(arrival.of(&both)))
    });
}

#[test]
fn a_blanked_body_of_any_event_makes_no_order_matter() {
    holds(200, &(steps(), arrivals(), arrivals()), |(steps, mut blanking, arrival)| {
        let mut facts = History::of(&steps).facts;
        for fact in &mut facts {
            if blanking.one_in(4) && !matches!(fact.event, Some(Event::PasswordSet(_))) {
                fact.event = None;
            }
        }
        same(&World::of(&facts), &World::of(arrival.of(&facts)))
    });
}

#[test]
fn a_tombstone_and_the_name_of_a_key_need_no_body() {
    let facts = |event: &Event| {
        let draft = Draft {
            subject: Subject::User(user(1)),
            revision: at(9),
            effective: EffectiveTime::at(at(9)),
            cause: Cause::default(),
            event: event.clone(),
        };
        let fact = Fact::pending(draft, origin("eu/n1"), digest(9));
        [fact.clone(), Fact { event: None, ..fact }]
    };
    for event in [Event::UserErased(()), Event::UserKeyCreated(key(1))] {
        let [whole, blanked] = facts(&event).map(|fact| World::of([&fact]));
        assert_eq!(whole, blanked);
        assert!(!blanked.users[&user(1)].is_empty());
    }
}

#[test]
fn a_pending_fact_has_the_mark_of_the_stored_one_and_an_upgrade_that_of_what_it_verified() {
    holds(100, &steps(), |steps| {
        let history = History::of(&steps);
        for (fact, record) in history.facts.iter().zip(&history.records) {
            let header = codec::decode_header(&record.header).unwrap();
            let draft = Draft {
                subject: header.subject,
                revision: header.revision,
                effective: header.effective,
                cause: header.cause,
                event: fact.event.clone().unwrap(),
            };
            let pending = Fact::pending(draft, header.origin, header.body);
            prop_assert_eq!(Mark::of(&pending), Mark::of(fact));
            prop_assert_eq!(pending.register, fact.register);
            if let Some(from) = history.upgraded_from.get(&fact.reference) {
                let verified = history.facts.iter().find(|it| it.reference == *from).unwrap();
                let generation = verified.stamp.generation + 1;
                prop_assert_eq!(fact.stamp, Stamp { generation, ..verified.stamp });
            }
        }
        Ok(())
    });
}

/// The users' states without the greatest reading, which every event raises, also one that lost.
fn readings_aside(world: &World) -> Vec<(UserId, UserState)> {
    let states = world
        .users
        .iter()
        .map(|(user, state)| (*user, UserState { greatest: Revision::ZERO, ..state.clone() }));
    states.filter(|(_, state)| !state.is_empty()).collect()
}

/// The facts without those that are distrusted and all that rests on one, found without lineages:
/// by following what each upgrade was made from.
fn trusted_alone(history: &History) -> Vec<Fact> {
    let mut fallen: BTreeSet<EventRef> = BTreeSet::new();
    for fact in &history.facts {
        let Some(Event::OriginDistrusted(cut)) = &fact.event else { continue };
        let of_origin = history.facts.iter().map(|fact| fact.reference);
        let later = |at: &EventRef| {
            let (life, other) = (cut.origin, at.origin);
            let same_node = (life.region, life.node) == (other.region, other.node);
            cut.and_later_lives && same_node && other.incarnation > life.incarnation
        };
        let suffix = |at: &EventRef| at.origin == cut.origin && at.sequence >= cut.from_sequence;
        fallen.extend(of_origin.filter(|at| suffix(at) || later(at)));
    }
    // Twice as often as there are upgrades is often enough for any chain of them.
    for _ in 0..history.upgraded_from.len() {
        for (upgraded, from) in &history.upgraded_from {
            if fallen.contains(from) {
                fallen.insert(*upgraded);
            }
        }
    }
    let stands = |fact: &&Fact| {
        matches!(fact.event, Some(Event::OriginDistrusted(_))) || !fallen.contains(&fact.reference)
    };
    history.facts.iter().filter(stands).cloned().collect()
}

#[test]
fn what_is_distrusted_and_what_was_upgraded_from_it_is_as_if_never_recorded() {
    holds(400, &(steps(), arrivals()), |(steps, arrival)| {
        let history = History::of(&steps);
        let mut known = RegistryState::default();
        let distrusting = |fact: &&Fact| matches!(fact.event, Some(Event::OriginDistrusted(_)));
        for fact in history.facts.iter().filter(distrusting) {
            known.evolve(fact);
        }
        let counting = history.facts.iter().filter(|fact| known.distrust.counts(fact));
        let counting: Vec<Fact> = counting.cloned().collect();
        let trusted = trusted_alone(&history);
        prop_assert_eq!(&counting, &trusted);
        same(&World::of(arrival.of(&counting)), &World::of(&trusted))
    });
}

#[test]
fn what_a_reader_has_seen_and_the_state_hash_change_exactly_when_a_register_does() {
    holds(150, &(steps(), arrivals()), |(steps, arrival)| {
        let facts = History::of(&steps).facts;
        let mut world = World::default();
        for fact in arrival.of(&facts) {
            let before = world.clone();
            world.fold(fact);
            for (user, state) in &world.users {
                let old = before.users.get(user).cloned().unwrap_or_default();
                let (had, has) = (Seen::of(*user, &old), Seen::of(*user, state));
                // An erased user counts by its tombstone alone, whatever it is still a joint of.
                if old.erased.is_some() && old.erased == state.erased {
                    prop_assert_eq!(had == has, old.greatest == state.greatest, "{:?}", fact);
                } else {
                    prop_assert_eq!(had == has, old == *state, "{:?}", fact);
                }
            }
            let of_joint = world.users.values().any(|state| state.erased.is_some());
            let changed = readings_aside(&before) != readings_aside(&world)
                || before.registry != world.registry;
            if !of_joint || !changed {
                prop_assert_eq!(before.hash() != world.hash(), changed, "{:?}", fact);
            }
        }
        Ok(())
    });
}

#[test]
fn what_a_reader_has_seen_is_the_same_in_any_order() {
    holds(150, &(steps(), arrivals()), |(steps, arrival)| {
        let facts = History::of(&steps).facts;
        let (one, other) = (World::of(&facts), World::of(arrival.of(&facts)));
        let seen = Account::of(&one.users).seen();
        prop_assert_eq!(seen, Account::of(&other.users).seen());
        let each = one.users.iter().map(|(user, state)| Seen::of(*user, state));
        prop_assert_eq!(each.rev().fold(Seen::NOTHING, |rest, one| one.and(rest)), seen);
        prop_assert_eq!(seen.to_string().parse(), Ok(seen));
        Ok(())
    });
}

#[test]
fn every_state_is_read_back_as_it_was_written() {
    holds(150, &steps(), |steps| {
        for state in World::of(&History::of(&steps).facts).users.values() {
            let bytes = codec::encode_user(state).unwrap();
            prop_assert_eq!(&codec::decode_user(&bytes).unwrap(), state);
        }
        Ok(())
    });
}
