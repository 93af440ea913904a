//! What follows from states: who owns an identity, which credentials count, one profile, one id.

use std::collections::BTreeMap;

use jcas::events::account::{
    Account, Bond, Candidate, Claimant, Seen, meant, owner, tried as tried_at_login,
};
use jcas::events::cell::Mark;
use jcas::events::event::{Event, PasswordSet, UsersUnlinked};
use jcas::events::evolve::evolve;
use jcas::events::ids::{FieldName, UserId};
use jcas::events::pair::Pair;
use jcas::events::record::Fact;
use jcas::events::stamp::{Revision, Stamp};
use jcas::events::state::UserState;
use proptest::prelude::*;

use crate::fixtures::*;
use crate::generator::{History, is_credential, life_of, stamps, steps, user_of};
use crate::harness::holds;
use crate::scenario::{Given, given, made_at, without_time};
use crate::world::World;

fn claimants() -> impl Strategy<Value = Vec<Claimant>> {
    let one = (0..6_u8, any::<bool>(), 0..3_usize, 1..4_u64, 0..3_u8);
    let one = one.prop_map(|(number, verified, bond, ms, life)| Claimant {
        user: user(number),
        verified,
        bond: [Bond::Own, Bond::Member, Bond::Stranger][bond],
        since: (at(ms), life_of(life)),
    });
    prop::collection::vec(one, 0..6).prop_map(|mut all| {
        all.sort_by_key(|it| it.user);
        all.dedup_by_key(|it| it.user);
        all
    })
}

#[test]
fn an_owner_is_verified_else_the_first_by_revision_then_origin_then_id() {
    let at_node = |number: u8, verified, ms, node| Claimant {
        user: user(number),
        verified,
        bond: Bond::Stranger,
        since: (at(ms), origin(node)),
    };
    let rising = [
        at_node(5, true, 8, "eu/n1"),
        at_node(4, true, 9, "eu/n1"),
        at_node(3, false, 1, "eu/n1"),
        at_node(2, false, 2, "af/n1"),
        at_node(1, false, 2, "eu/n1"),
        at_node(6, false, 2, "eu/n1"),
    ];
    for from in 0..rising.len() {
        let mut rest = rising[from..].to_vec();
        assert_eq!(owner(&rest), Some(rising[from]));
        rest.reverse();
        assert_eq!(owner(&rest), Some(rising[from]), "in whatever order they are given");
    }
    assert_eq!(owner(&[]), None);
}

#[test]
fn there_is_an_owner_if_there_is_a_claimant_and_nobody_ranks_before_it() {
    holds(300, &claimants(), |claimants| {
        let Some(found) = owner(&claimants) else {
            prop_assert!(claimants.is_empty());
            return Ok(());
        };
        for other in &claimants {
            prop_assert!(found.verified || !other.verified);
            prop_assert!(found.verified != other.verified || found.since <= other.since);
        }
        Ok(())
    });
}

#[test]
fn a_company_means_its_own_member_else_the_owner() {
    holds(300, &claimants(), |claimants| {
        let of = |bond| claimants.iter().filter(move |it| it.bond == bond).copied();
        let own: Vec<_> = of(Bond::Own).collect();
        let members: Vec<_> = of(Bond::Own).chain(of(Bond::Member)).collect();
        let verified = owner(&members).filter(|it| it.verified);
        let own = owner(&own);
        // Among customers the verified ones come first; then those the company registered.
        let expected = match (verified, own) {
            (Some(verified), Some(own)) if !own.verified => Some(verified),
            (_, Some(own)) => Some(own),
            (Some(verified), None) => Some(verified),
            (None, None) => owner(&members).or_else(|| owner(&claimants)),
        };
        prop_assert_eq!(meant(&claimants), expected);
        Ok(())
    });
}

#[test]
fn an_own_unverified_member_comes_before_a_verified_owner() {
    let owner_elsewhere = Claimant {
        user: user(1),
        verified: true,
        bond: Bond::Stranger,
        since: (at(1), origin("eu/n1")),
    };
    let own = Claimant { user: user(2), verified: false, bond: Bond::Own, ..owner_elsewhere };
    assert_eq!(meant(&[owner_elsewhere, own]), Some(own));
    assert_eq!(owner(&[owner_elsewhere, own]), Some(owner_elsewhere));
}

#[test]
fn a_login_tries_members_and_a_verified_owner_and_an_unverified_one_only_where_nobody_is_a_member()
{
    holds(300, &claimants(), |claimants| {
        let tried = tried_at_login(&claimants);
        let is_tried = |it: &&Claimant| tried.iter().any(|tried| tried.user == it.user);
        let members: Vec<_> = claimants.iter().filter(|it| it.is_member()).collect();
        prop_assert_eq!(tried.first().copied(), meant(&claimants));
        prop_assert!(members.len() > 4 || members.iter().all(is_tried));
        prop_assert!(tried.len() <= 5);
        for stranger in tried.iter().filter(|it| !it.is_member()) {
            prop_assert_eq!(Some(*stranger), owner(&claimants));
            prop_assert!(stranger.verified || members.is_empty());
        }
        if let Some(verified) = owner(&claimants).filter(|it| it.verified) {
            prop_assert!(is_tried(&&verified));
        }
        let mut turned = claimants.clone();
        turned.reverse();
        prop_assert_eq!(tried_at_login(&turned), tried, "in whatever order they are given");
        Ok(())
    });
}

/// The account of these users, by their numbers.
fn users(of: impl IntoIterator<Item = (u8, Vec<Given>)>) -> BTreeMap<UserId, UserState> {
    of.into_iter().map(|(number, events)| (user(number), given(events).state)).collect()
}

fn tried<'a>(users: &'a BTreeMap<UserId, UserState>, own: &str) -> Vec<&'a [u8]> {
    let candidates = Account::of(users).credentials(Some(slot(own)));
    candidates.into_iter().map(|it| &*it.credential.hash.bytes).collect()
}

fn import(at: &str, clear: &str) -> Given {
    without_time(legacy_added(at, clear))
}

#[test]
fn while_there_is_no_password_every_import_works_the_own_slot_first() {
    let users = users([
        (1, vec![registered("shop").into(), import("shop/NG", "a"), import("cafe/NG", "b")]),
        (2, vec![registered("cafe").into(), import("shop/NG", "c"), import("bank/KE", "d")]),
    ]);
    assert_eq!(tried(&users, "shop/NG"), [b"a", b"c", b"d", b"b"]);
    assert_eq!(tried(&users, "cafe/NG"), [b"b", b"d", b"a", b"c"]);
    assert_eq!(Account::of(&users).credentials(None).len(), 4);
}

#[test]
fn a_secret_prevails_over_every_import_whenever_that_arrives() {
    let secret = || Given::from(password_set("secret"));
    let before = users([(1, vec![registered("shop").into(), import("shop/NG", "a"), secret()])]);
    assert_eq!(tried(&before, "shop/NG"), [b"secret"]);
    let after = users([(1, vec![registered("shop").into(), secret(), import("shop/NG", "a")])]);
    assert_eq!(tried(&after, "shop/NG"), [b"secret"]);
}

#[test]
fn the_newest_by_effective_time_of_secrets_and_changes_of_all_users_is_the_password() {
    let with = |ms: u64| {
        users([
            (1, vec![registered("shop").into(), made_at(700, password_set("old"))]),
            (2, vec![registered("cafe").into(), made_at(ms, legacy_added("cafe/NG", "new"))]),
        ])
    };
    assert_eq!(tried(&with(701), "shop/NG"), [b"new"]);
    assert_eq!(tried(&with(699), "cafe/NG"), [b"old"]);
}

#[test]
fn credentials_of_an_erased_user_or_one_that_is_not_registered_yet_do_not_count() {
    let erased = Given::from(Event::UserErased(()));
    let users = users([
        (1, vec![registered("shop").into(), import("shop/NG", "a"), erased]),
        (2, vec![password_set("not registered").into()]),
        (3, vec![registered("shop").into(), import("shop/NG", "b")]),
    ]);
    assert_eq!(tried(&users, "shop/NG"), [b"b"]);
}

/// Takes the user apart from another one, with this floor.
fn unlink(state: &mut UserState, floor: Stamp) {
    let pair = Pair::new(user(1), user(2)).unwrap();
    let mut facts = History::of(&[]).facts;
    let event = UsersUnlinked { pairs: vec![pair], floors: vec![(user(1), floor)] };
    let event = Event::UsersUnlinked(event);
    facts.push(Fact {
        subject: jcas::events::record::Subject::Pair(pair),
        register: event.register(),
        stamp: Stamp { generation: 0, ..floor },
        digest: digest(99),
        reference: jcas::events::stamp::EventRef { origin: floor.origin, sequence: 99 },
        revision: floor.revision,
        idempotency: None,
        event: Some(event),
    });
    for fact in &facts {
        evolve(state, user(1), fact);
    }
}

#[test]
fn after_an_unlinking_only_what_is_above_the_floor_counts() {
    let known = given([registered("shop"), password_set("old"), legacy_added("shop/NG", "new")]);
    let tried_above = |mark: Mark| {
        let mut state = known.state.clone();
        unlink(&mut state, mark.stamp);
        let users = BTreeMap::from([(user(1), state)]);
        let found: Vec<Vec<u8>> = tried(&users, "shop/NG").iter().map(|it| it.to_vec()).collect();
        found
    };
    assert_eq!(tried_above(known.mark(0)), [b"new".to_vec()]);
    assert_eq!(tried_above(known.mark(1)), [b"new".to_vec()]);
    assert!(tried_above(known.mark(2)).is_empty(), "at the floor it no longer counts");
}

#[test]
fn an_upgrade_of_what_no_longer_counts_does_not_count_either() {
    let known = given([registered("shop"), password_set("old")]);
    let (verified, lineage) = (known.mark(1), vec![known.reference(1)]);
    let upgrade = Some(jcas::events::event::Upgrade { verified: verified.stamp, lineage });
    let upgraded = Event::PasswordSet(PasswordSet { secret: sealed("better"), upgrade });
    // Made in another region, or just after the floor was raised.
    let mut state = known.and(upgraded).state;
    assert!(state.secret.as_ref().unwrap().mark.stamp > verified.stamp);
    unlink(&mut state, verified.stamp);
    let users = BTreeMap::from([(user(1), state)]);
    assert!(tried(&users, "shop/NG").is_empty());
}

#[test]
fn a_floor_is_raised_and_never_lowered() {
    let known = given([registered("shop"), password_set("old"), password_set("new")]);
    let mut state = known.state.clone();
    unlink(&mut state, known.mark(2).stamp);
    unlink(&mut state, known.mark(1).stamp);
    assert_eq!(state.credential_floor, Some(known.mark(2).stamp));
}

#[test]
fn no_number_of_upgrades_prevails_over_anything_newer_than_what_was_verified() {
    holds(1_000, &(stamps(), stamps()), |(verified, newer)| {
        let base = |stamp: Stamp| Stamp { generation: 0, ..stamp };
        if base(newer) > base(verified) {
            prop_assert!(verified.upgraded() < newer);
            prop_assert!(verified.upgraded().upgraded().upgraded().upgraded() < newer);
            prop_assert!(verified.with_upgrades() < newer);
            prop_assert!(!newer.is_or_upgrades(verified) && !verified.is_or_upgrades(newer));
        }
        prop_assert!(verified < verified.upgraded());
        prop_assert!(verified.upgraded() <= verified.with_upgrades());
        prop_assert!(verified.upgraded().is_or_upgrades(verified));
        prop_assert!(!verified.is_or_upgrades(verified.upgraded()));
        Ok(())
    });
}

/// The credentials that count, found from facts rather than from states.
fn counting(facts: &[Fact], live: &[UserId]) -> Vec<Mark> {
    let floor = |of: UserId| {
        let floors = facts.iter().flat_map(|fact| match &fact.event {
            Some(Event::UsersUnlinked(unlinked)) => unlinked.floors.clone(),
            _ => Vec::new(),
        });
        floors.filter(|(user, _)| *user == of).map(|(_, floor)| floor.with_upgrades()).max()
    };
    let counts = |fact: &&Fact| {
        user_of(fact).is_some_and(|of| {
            live.contains(&of) && floor(of).is_none_or(|floor| fact.stamp > floor)
        })
    };
    let all: Vec<&Fact> = facts.iter().filter(|fact| is_credential(fact)).collect();
    let passwords = all.iter().copied().filter(counts).filter(|fact| {
        matches!(fact.event, Some(Event::PasswordSet(_))) || fact.stamp.effective.is_change()
    });
    if let Some(newest) = passwords.map(Mark::of).max() {
        return vec![newest];
    }
    let mut newest: BTreeMap<_, Mark> = BTreeMap::new();
    for fact in all.into_iter().filter(counts) {
        let at = newest.entry((fact.subject, fact.register)).or_insert(Mark::of(fact));
        *at = (*at).max(Mark::of(fact));
    }
    let mut newest: Vec<Mark> = newest.into_values().collect();
    newest.sort_unstable();
    newest
}

#[test]
fn the_credentials_that_count_are_those_the_set_of_facts_says() {
    holds(300, &steps(), |steps| {
        let facts = History::of(&steps).facts;
        let world = World::of(&facts);
        let live = world.users.iter().filter(|(_, state)| state.is_live());
        let live: Vec<UserId> = live.map(|(user, _)| *user).collect();
        let own = slot("shop/KE");
        let found = Account::of(&world.users).credentials(Some(own));
        let own_first = found.is_sorted_by_key(|it: &Candidate<'_>| it.slot != Some(own));
        prop_assert!(own_first, "{:?}", found);
        let mut marks: Vec<Mark> = found.iter().map(|it| it.mark).collect();
        marks.sort_unstable();
        prop_assert_eq!(marks, counting(&facts, &live));
        Ok(())
    });
}

#[test]
fn each_profile_field_is_as_the_user_who_wrote_it_last_has_it() {
    holds(200, &steps(), |steps| {
        let facts = History::of(&steps).facts;
        let world = World::of(&facts);
        let mut newest: BTreeMap<FieldName, (Mark, UserId, Option<_>)> = BTreeMap::new();
        for fact in &facts {
            let (Some(of), Some(Event::ProfileUpdated(changes))) = (user_of(fact), &fact.event)
            else {
                continue;
            };
            // Of a field that is named twice the first change prevails.
            for change in changes.iter().rev().filter(|_| world.users[&of].is_live()) {
                let written = (Mark::of(fact), of, change.value.clone());
                let at = newest.entry(change.field.clone()).or_insert_with(|| written.clone());
                if written.0 >= at.0 {
                    *at = written;
                }
            }
        }
        let expected: BTreeMap<_, _> = newest
            .iter()
            .filter_map(|(name, (_, of, value))| Some((name, (*of, value.as_ref()?))))
            .collect();
        prop_assert_eq!(Account::of(&world.users).profile(), expected);
        Ok(())
    });
}

#[test]
fn a_removal_by_one_user_removes_the_field_of_the_account() {
    let written = Given::from(profile_updated(&[("locale", Some("en"))]));
    let removed = made_at(2_000, profile_updated(&[("locale", None)]));
    let users = users([
        (1, vec![registered("a").into(), written]),
        (2, vec![registered("b").into(), removed]),
    ]);
    assert!(Account::of(&users).profile().is_empty());
}

#[test]
fn a_field_that_fills_a_gap_gives_way_to_one_that_was_set() {
    let set = Given::from(profile_updated(&[("locale", Some("en"))]));
    let fills = without_time(profile_updated(&[("locale", Some("fr"))]));
    let users =
        users([(1, vec![registered("a").into(), set]), (2, vec![registered("b").into(), fills])]);
    let profile = Account::of(&users).profile();
    assert_eq!(profile[&field("locale")], (user(1), &sealed("en")));
}

#[test]
fn the_canonical_id_is_that_of_the_live_user_registered_first() {
    let first =
        |number, events: Vec<Event>| (number, events.into_iter().map(Given::from).collect());
    let erased = || Event::UserErased(());
    let early = users([
        first(1, vec![joined("shop"), joined("cafe"), registered("shop")]),
        first(2, vec![registered("shop")]),
        first(3, vec![joined("shop"), registered("shop")]),
        first(4, vec![joined("shop")]),
    ]);
    let account = Account::of(&early);
    assert_eq!(account.canonical(), Some(user(2)));
    assert_eq!(account.linked_ids(), [user(1), user(3)]);
    assert_eq!(account.created(), Some(at(1_000)));
    let without_first = users([
        first(1, vec![joined("shop"), joined("cafe"), registered("shop")]),
        first(2, vec![registered("shop"), erased()]),
        first(3, vec![joined("shop"), registered("shop")]),
    ]);
    assert_eq!(Account::of(&without_first).canonical(), Some(user(3)));
    let nobody = users([first(1, vec![registered("shop"), erased()])]);
    assert_eq!(Account::of(&nobody).canonical(), None);
    assert!(Account::of(&nobody).linked_ids().is_empty());
}

#[test]
fn an_account_is_active_when_none_of_its_live_users_is_disabled() {
    let of = |events: &[Event]| {
        users([
            (1, vec![registered("shop").into()]),
            (2, events.iter().cloned().map(Given::from).collect()),
        ])
    };
    let (here, out, gone) = (registered("shop"), Event::UserDisabled(()), Event::UserErased(()));
    assert!(Account::of(&of(std::slice::from_ref(&here))).is_active());
    assert!(!Account::of(&of(&[here.clone(), out.clone()])).is_active());
    assert!(Account::of(&of(&[here, out, gone])).is_active());
}

#[test]
fn an_account_is_a_companys_own_when_it_created_every_live_user() {
    let both = users([
        (1, vec![registered("shop").into(), joined("bank").into()]),
        (2, vec![registered("cafe").into()]),
    ]);
    let account = Account::of(&both);
    assert!(!account.is_own_of(company("shop")) && !account.is_own_of(company("cafe")));
    assert!(account.has_member_of(company("bank")) && !account.has_member_of(company("cafe")));
    let one = users([(1, vec![registered("shop").into()])]);
    assert!(Account::of(&one).is_own_of(company("shop")));
}

#[test]
fn the_main_identity_of_a_kind_is_the_verified_one_claimed_first_else_the_one_claimed_first() {
    let events = |identities: &[(&str, bool)]| {
        let claims = identities.iter().map(|(clear, verified)| claimed(clear, *verified).into());
        [Given::from(registered("shop"))].into_iter().chain(claims).collect::<Vec<_>>()
    };
    let users = users([
        (1, events(&[("+1", false), ("a@x", false), ("b@x", true), ("+2", false)])),
        (2, events(&[("c@x", true), ("a@x", true)])),
    ]);
    let found = Account::of(&users).identities();
    let listed: Vec<_> = found
        .iter()
        .map(|it| (std::str::from_utf8(&it.value.bytes).unwrap(), it.verified, it.main, it.user))
        .collect();
    let expected = [
        ("c@x", true, true, user(2)),
        ("a@x", true, false, user(2)),
        ("b@x", true, false, user(1)),
        ("+1", false, true, user(1)),
        ("+2", false, false, user(1)),
    ];
    assert_eq!(listed, expected, "each identity once, as the verified claim has it");
}

#[test]
fn each_kind_of_identity_an_account_has_has_one_main_one() {
    holds(200, &steps(), |steps| {
        let world = World::of(&History::of(&steps).facts);
        let found = Account::of(&world.users).identities();
        let mut indexes: Vec<_> = found.iter().map(|it| it.index).collect();
        indexes.sort_unstable();
        indexes.dedup();
        prop_assert_eq!(indexes.len(), found.len(), "each identity once");
        for it in &found {
            let of_kind = found.iter().filter(|other| other.index.kind == it.index.kind);
            prop_assert_eq!(of_kind.clone().filter(|other| other.main).count(), 1);
            prop_assert!(!it.main || it.verified || of_kind.clone().all(|other| !other.verified));
        }
        Ok(())
    });
}

#[test]
fn what_was_seen_is_read_as_it_was_printed_and_nothing_else_is() {
    let seen = given([registered("shop")]).seen();
    assert_eq!(seen.to_string().parse(), Ok(seen));
    assert_eq!(Seen::NOTHING.to_string(), "0000000000000000-00000000");
    let text = seen.to_string();
    let (greatest, digest) = text.split_once('-').unwrap();
    for wrong in [
        String::new(),
        greatest.to_owned(),
        format!("{greatest}{digest}"),
        format!("{greatest}-+{}", &digest[1..]),
        format!("{greatest}-{digest}0"),
        format!("{greatest}-0{digest}"),
        format!("{greatest}-"),
        format!("{}-{digest}", "F".repeat(16)),
        format!(" {text}"),
    ] {
        assert!(wrong.parse::<Seen>().is_err(), "{wrong:?} was taken");
    }
}

#[test]
fn what_was_seen_of_two_users_is_told_apart() {
    let state = given([registered("shop")]).state;
    assert_ne!(Seen::of(user(1), &state), Seen::of(user(2), &state));
    let nothing = UserState::default();
    assert_eq!(Seen::of(user(1), &nothing).to_string()[..16], Revision::ZERO.to_string());
}
