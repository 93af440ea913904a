//! What the generated cases hold: a property that never meets the hard pairs proves nothing. Each
//! of them must occur in at least one case of a hundred.

use std::collections::{BTreeMap, BTreeSet};

use jcas::events::event::Event;
use jcas::events::record::{Fact, Register};
use jcas::events::stamp::{EventRef, Stamp};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;

use crate::generator::{History, is_credential, steps, user_of};
use crate::harness::config;
use crate::world::touched;

const CASES: u32 = 1_000;

/// Whether two different facts of a case meet in this way.
fn meet(facts: &[Fact], how: impl Fn(&Fact, &Fact) -> bool) -> bool {
    facts
        .iter()
        .any(|one| facts.iter().any(|other| one.reference != other.reference && how(one, other)))
}

fn one_register(one: &Fact, other: &Fact) -> bool {
    one.subject == other.subject && one.register == other.register
}

fn event_of(fact: &Fact) -> &Event {
    fact.event.as_ref().unwrap()
}

/// The word for what a credential is; none for anything else.
fn credential(fact: &Fact) -> Option<&'static str> {
    match event_of(fact) {
        Event::LegacyHashAdded(_) if fact.stamp.effective.is_change() => Some("change"),
        Event::LegacyHashAdded(_) => Some("import"),
        Event::PasswordSet(set) if set.upgrade.is_some() => Some("upgrade"),
        Event::PasswordSet(_) => Some("secret"),
        _ => None,
    }
}

/// Whether an enabling was recorded after a disabling and does not lift it.
fn not_seen(enabling: &Fact, disabling: &Fact) -> bool {
    let (Event::UserEnabled(lifts), Event::UserDisabled(())) =
        (event_of(enabling), event_of(disabling))
    else {
        return false;
    };
    let lifted = lifts
        .iter()
        .any(|(origin, at)| *origin == disabling.reference.origin && *at >= disabling.revision);
    enabling.subject == disabling.subject && disabling.revision < enabling.revision && !lifted
}

/// Whether an identity of one user was claimed, verified, released and claimed again.
fn claimed_again(facts: &[Fact]) -> bool {
    let claims = |fact: &Fact, verified: bool| match event_of(fact) {
        Event::IdentityClaimed(claim) if claim.verified || !verified => Some(claim.index),
        _ => None,
    };
    meet(facts, |release, again| {
        let Event::IdentityReleased(index) = event_of(release) else { return false };
        let before = |verified| {
            facts.iter().any(|fact| {
                fact.subject == release.subject
                    && claims(fact, verified) == Some(*index)
                    && fact.stamp < release.stamp
            })
        };
        again.subject == release.subject
            && claims(again, false) == Some(*index)
            && again.stamp > release.stamp
            && before(false)
            && before(true)
    })
}

fn linked(fact: &Fact) -> bool {
    matches!(event_of(fact), Event::UsersLinked(_))
}

fn unlinked(fact: &Fact) -> bool {
    matches!(event_of(fact), Event::UsersUnlinked(_))
}

/// What an unlinking and a link of one pair are to each other.
fn linked_and_unlinked(facts: &[Fact], unlinked_last: bool) -> bool {
    meet(facts, |a, b| {
        linked(a) && unlinked(b) && one_register(a, b) && (a.stamp < b.stamp) == unlinked_last
    })
}

/// Whether a user was erased and something else happened to it, before or after that by stamp.
fn erased_and(facts: &[Fact], erased_first: Option<bool>, of: impl Fn(&Fact) -> bool) -> bool {
    meet(facts, |erasing, other| {
        let Some(erased) = user_of(erasing).filter(|_| erasing.register == Register::Erasure)
        else {
            return false;
        };
        let order = erased_first.is_none_or(|first| (erasing.stamp < other.stamp) == first);
        order && touched(other).contains(&erased) && of(other)
    })
}

fn claims(fact: &Fact) -> bool {
    matches!(event_of(fact), Event::IdentityClaimed(_))
}

fn is_key(fact: &Fact) -> bool {
    matches!(fact.register, Register::UserKey(_))
}

/// Whether a fact falls by a distrust.
fn cut(fact: &Fact, by: &Fact) -> bool {
    match event_of(by) {
        Event::OriginDistrusted(cut) => {
            cut.origin == fact.reference.origin && fact.reference.sequence >= cut.from_sequence
        }
        _ => false,
    }
}

fn trusted_upgrade_of_distrusted(history: &History) -> bool {
    let fallen = |at: &EventRef| {
        let fact = history.facts.iter().find(|fact| fact.reference == *at).unwrap();
        history.facts.iter().any(|by| cut(fact, by))
    };
    history.upgraded_from.iter().any(|(upgrade, from)| fallen(from) && !fallen(upgrade))
}

fn two_upgrades_in_two_regions(history: &History) -> bool {
    meet(&history.facts, |a, b| {
        let from = |fact: &Fact| history.upgraded_from.get(&fact.reference);
        let elsewhere = a.reference.origin.region != b.reference.origin.region;
        from(a).is_some() && from(a) == from(b) && elsewhere
    })
}

fn unseen_change(upgrade: &Fact, change: &Fact) -> bool {
    let words = (credential(upgrade), credential(change));
    words == (Some("upgrade"), Some("change"))
        && upgrade.subject == change.subject
        && Stamp { generation: 0, ..upgrade.stamp } < change.stamp
        && upgrade.revision < change.revision
}

fn rival_claims(one: &Fact, other: &Fact) -> bool {
    match (event_of(one), event_of(other)) {
        (Event::IdentityClaimed(a), Event::IdentityClaimed(b)) => {
            a.index == b.index && one.subject != other.subject
        }
        _ => false,
    }
}

type Occurs = fn(&History) -> bool;

const HARD: [(&str, Occurs); 20] = [
    ("equal effective times in one register", |it| {
        meet(&it.facts, |a, b| one_register(a, b) && a.stamp.effective == b.stamp.effective)
    }),
    ("equal revisions of two origins in one register", |it| {
        meet(&it.facts, |a, b| {
            let elsewhere = a.reference.origin != b.reference.origin;
            one_register(a, b) && a.revision == b.revision && elsewhere
        })
    }),
    ("equal stamps of two facts in one register", |it| {
        meet(&it.facts, |a, b| one_register(a, b) && a.stamp == b.stamp)
    }),
    ("rival claims of two users", |it| meet(&it.facts, rival_claims)),
    ("enabled without having seen a disabling", |it| meet(&it.facts, not_seen)),
    ("claimed, verified, released and claimed again", |it| claimed_again(&it.facts)),
    ("linked and then unlinked", |it| linked_and_unlinked(&it.facts, true)),
    ("unlinked and then linked", |it| linked_and_unlinked(&it.facts, false)),
    ("erased before being linked", |it| erased_and(&it.facts, Some(true), linked)),
    ("erased after being linked", |it| erased_and(&it.facts, Some(false), linked)),
    ("erased before being unlinked", |it| erased_and(&it.facts, Some(true), unlinked)),
    ("erased before being claimed for", |it| erased_and(&it.facts, Some(true), claims)),
    ("erased after being claimed for", |it| erased_and(&it.facts, Some(false), claims)),
    ("a key of an erased user that may be blanked", |it| erased_and(&it.facts, None, is_key)),
    ("a link that is distrusted", |it| meet(&it.facts, |a, by| linked(a) && cut(a, by))),
    ("an erasure that is distrusted", |it| {
        meet(&it.facts, |a, by| a.register == Register::Erasure && cut(a, by))
    }),
    ("a trusted upgrade of a distrusted credential", trusted_upgrade_of_distrusted),
    ("an upgrade of an upgrade", |it| {
        it.upgraded_from.values().any(|from| it.upgraded_from.contains_key(from))
    }),
    ("two upgrades of one credential in two regions", two_upgrades_in_two_regions),
    ("a change that the upgrade of an older credential had not seen", |it| {
        meet(&it.facts, unseen_change)
    }),
];

/// Which two kinds of credentials of one user were recorded one after the other.
fn orders(facts: &[Fact]) -> BTreeSet<(&'static str, &'static str)> {
    let credentials: Vec<&Fact> = facts.iter().filter(|fact| is_credential(fact)).collect();
    let mut found = BTreeSet::new();
    for one in &credentials {
        let later = |other: &&&Fact| one.subject == other.subject && one.revision < other.revision;
        for other in credentials.iter().filter(later) {
            found.insert((credential(one).unwrap(), credential(other).unwrap()));
        }
    }
    found
}

#[test]
fn every_hard_pair_occurs_in_one_case_of_a_hundred() {
    let mut runner = TestRunner::new(config(CASES));
    let words = ["import", "change", "secret", "upgrade"];
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..CASES {
        let history = History::of(&steps().new_tree(&mut runner).unwrap().current());
        for (what, occurs) in HARD {
            *counts.entry(what.to_owned()).or_default() += u32::from(occurs(&history));
        }
        let found = orders(&history.facts);
        for (one, other) in words.iter().flat_map(|one| words.map(|other| (*one, other))) {
            let occurs = u32::from(found.contains(&(one, other)));
            *counts.entry(format!("{one} and then {other}")).or_default() += occurs;
        }
    }
    let mut rare: Vec<&str> = Vec::new();
    for (what, count) in &counts {
        println!("{:>5.1} %  {what}", f64::from(*count) * 100.0 / f64::from(CASES));
        if count * 100 < CASES {
            rare.push(what);
        }
    }
    assert_eq!(counts.len(), HARD.len() + words.len() * words.len());
    assert!(rare.is_empty(), "in less than one case of a hundred: {rare:?}");
}
