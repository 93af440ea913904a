//! Passwords: set, upgraded at a login, brought by a company as an import or as a change.

use jcas::events::cell::Mark;
use jcas::events::command::{
    AddLegacyHash, Command, Outcome, Proof, Rejection, SetPassword, UpgradePassword,
};
use jcas::events::event::{Event, PasswordSet, Upgrade, UsersUnlinked};
use jcas::events::ids::{HashProfileId, Slot};
use jcas::events::policy::{Policy, Reach};
use jcas::events::record::{Fact, Register, Subject};
use jcas::events::stamp::EventRef;

use crate::fixtures::*;
use crate::scenario::*;

fn setting(proof: Option<Mark>) -> Command {
    let proof = proof.map(|mark| Proof { user: subject(), mark });
    Command::SetPassword(SetPassword { proof, ..set_password("new") })
}

fn adding(at: &str, clear: &str, changed_at_unix_ms: Option<u64>) -> Command {
    Command::AddLegacyHash(legacy(at, clear, changed_at_unix_ms))
}

fn upgrading(verified: Mark, slot: Option<Slot>, lineage: Vec<EventRef>) -> Command {
    let secret = sealed("better");
    Command::UpgradePassword(UpgradePassword { verified, slot, lineage, secret })
}

fn upgraded(verified: Mark, lineage: Vec<EventRef>) -> Event {
    let upgrade = Some(Upgrade { verified: verified.stamp, lineage });
    Event::PasswordSet(PasswordSet { secret: sealed("better"), upgrade })
}

/// The user's credentials at and below those of event `number` no longer count.
fn unlinked_above(mut scenario: Scenario, number: usize) -> Scenario {
    let floor = scenario.mark(number).stamp;
    let pair = jcas::events::pair::Pair::new(subject(), user(9)).unwrap();
    let reference = EventRef { origin: origin("af/n1"), sequence: 1 };
    let revision = at(4_000);
    let fact = Fact {
        subject: Subject::Pair(pair),
        register: Register::Link,
        stamp: jcas::events::stamp::Stamp {
            effective: jcas::events::stamp::EffectiveTime::at(revision),
            revision,
            origin: reference.origin,
            generation: 0,
        },
        digest: digest(4_000),
        reference,
        revision,
        idempotency: None,
        event: Some(Event::UsersUnlinked(UsersUnlinked {
            pairs: vec![pair],
            floors: vec![(subject(), floor)],
        })),
    };
    jcas::events::evolve::evolve(&mut scenario.state, subject(), &fact);
    scenario
}

#[test]
fn a_password_is_set_now() {
    let known = given([registered("shop")]);
    known.clone().when(setting(None)).then(Outcome::Applied, [password_set("new")]);
    known
        .and(password_set("old"))
        .when(setting(None))
        .then(Outcome::Applied, [password_set("new")]);
}

#[test]
fn with_the_current_password_no_policy_is_asked() {
    let known = given([registered("shop"), password_set("old")]).by("cafe", Reach::Off);
    let proof = known.mark(1);
    known.clone().when(setting(None)).then_denied(Policy::Password);
    known.when(setting(Some(proof))).then(Outcome::Applied, [password_set("new")]);
}

#[test]
fn the_current_password_may_be_an_import() {
    let known = given([registered("shop").into(), without_time(legacy_added("shop/NG", "old"))]);
    let proof = known.mark(1);
    known.when(setting(Some(proof))).then(Outcome::Applied, [password_set("new")]);
}

#[test]
fn a_password_that_was_replaced_meanwhile_is_not_the_current_one() {
    let known = given([registered("shop"), password_set("old"), password_set("newer")]);
    let proof = known.mark(1);
    known.when(setting(Some(proof))).then_rejected(Rejection::ProofOutdated);
    let replaced = legacy_added("shop/NG", "newer");
    let known = given([registered("shop"), legacy_added("shop/NG", "old"), replaced]);
    let proof = known.mark(1);
    known.when(setting(Some(proof))).then_rejected(Rejection::ProofOutdated);
}

#[test]
fn a_secret_that_a_change_prevailed_over_meanwhile_is_not_the_current_password() {
    let known = given([
        registered("shop"),
        password_set("old"),
        legacy_added("shop/NG", "changed during an outage"),
    ]);
    let (secret, changed) = (known.mark(1), known.mark(2));
    known.clone().when(setting(Some(secret))).then_rejected(Rejection::ProofOutdated);
    known.when(setting(Some(changed))).then(Outcome::Applied, [password_set("new")]);
}

#[test]
fn an_import_is_not_the_current_password_once_there_is_another() {
    let import = without_time(legacy_added("shop/NG", "old"));
    let known = given([registered("shop").into(), import, password_set("newer").into()]);
    let proof = known.mark(1);
    known.when(setting(Some(proof))).then_rejected(Rejection::ProofOutdated);
}

#[test]
fn a_password_that_was_only_upgraded_meanwhile_is_still_the_current_one() {
    let import = without_time(legacy_added("shop/NG", "old"));
    let known = given([registered("shop").into(), import]);
    let proof = known.mark(1);
    let reference = known.reference(1);
    let known = known.and(upgraded(proof, vec![reference]));
    known.when(setting(Some(proof))).then(Outcome::Applied, [password_set("new")]);
}

#[test]
fn what_no_longer_counts_since_an_unlinking_is_not_the_current_password() {
    let known = unlinked_above(given([registered("shop"), password_set("old")]), 1);
    let proof = known.mark(1);
    known.when(setting(Some(proof))).then_rejected(Rejection::ProofOutdated);
}

#[test]
fn a_proof_by_a_linked_user_was_checked_when_its_password_was() {
    let known = given([registered("shop"), password_set("old")]).by("cafe", Reach::Off);
    let proof = Proof { user: user(9), mark: known.mark(0) };
    let set = SetPassword { proof: Some(proof), ..set_password("new") };
    known.when(Command::SetPassword(set)).then(Outcome::Applied, [password_set("new")]);
}

#[test]
fn an_upgrade_carries_the_effective_time_and_the_lineage_of_what_it_verified() {
    let import = without_time(legacy_added("shop/NG", "old"));
    let known = given([registered("shop").into(), import]).by_system();
    let (verified, lineage) = (known.mark(1), vec![known.reference(1)]);
    let event = upgraded(verified, lineage.clone());
    let upgrade = upgrading(verified, Some(slot("shop/NG")), lineage);
    known.when(upgrade).then(Outcome::Applied, [lowest(event)]);
}

#[test]
fn an_upgrade_of_a_secret_is_effective_when_the_secret_was() {
    let known = given([registered("shop"), password_set("old")]).by_system();
    let (verified, lineage) = (known.mark(1), vec![known.reference(1)]);
    let event = upgraded(verified, lineage.clone());
    known.when(upgrading(verified, None, lineage)).then(Outcome::Applied, [as_of(1_001, event)]);
}

#[test]
fn an_upgrade_of_a_change_replaces_an_older_secret() {
    let known =
        given([registered("shop"), password_set("old"), legacy_added("shop/NG", "changed")]);
    let (verified, lineage) = (known.mark(2), vec![known.reference(2)]);
    let event = upgraded(verified, lineage.clone());
    let upgrade = upgrading(verified, Some(slot("shop/NG")), lineage);
    known.when(upgrade).then(Outcome::Applied, [as_of(1_002, event)]);
}

#[test]
fn an_upgrade_does_not_replace_a_newer_secret() {
    let change = legacy_added("shop/NG", "changed");
    let known = given([registered("shop"), change, password_set("newer")]);
    let (verified, lineage) = (known.mark(1), vec![known.reference(1)]);
    known.when(upgrading(verified, Some(slot("shop/NG")), lineage)).then_older();
}

#[test]
fn an_upgrade_of_what_no_longer_stands_comes_too_late() {
    let secret = given([registered("shop"), password_set("old"), password_set("newer")]);
    let (verified, lineage) = (secret.mark(1), vec![secret.reference(1)]);
    secret.when(upgrading(verified, None, lineage)).then_older();
    let import = |clear| without_time(legacy_added("shop/NG", clear));
    let import = given([registered("shop").into(), import("old"), import("newer")]);
    let (verified, lineage) = (import.mark(1), vec![import.reference(1)]);
    import.clone().when(upgrading(verified, Some(slot("shop/NG")), lineage.clone())).then_older();
    import.when(upgrading(verified, Some(slot("shop/KE")), lineage)).then_older();
}

#[test]
fn the_second_of_two_upgrades_of_one_credential_comes_too_late_at_one_node() {
    let import = without_time(legacy_added("shop/NG", "old"));
    let known = given([registered("shop").into(), import]);
    let (verified, lineage) = (known.mark(1), vec![known.reference(1)]);
    let upgrade = || upgrading(verified, Some(slot("shop/NG")), lineage.clone());
    known.when(upgrade()).and_recorded().when(upgrade()).then_older();
}

#[test]
fn an_upgrade_of_an_upgrade_names_all_it_rests_on() {
    let import = without_time(legacy_added("shop/NG", "old"));
    let known = given([registered("shop").into(), import]);
    let (verified, lineage) = (known.mark(1), vec![known.reference(1)]);
    let known = known.when(upgrading(verified, Some(slot("shop/NG")), lineage)).and_recorded();
    let secret = known.state.secret.clone().unwrap();
    assert_eq!(secret.value.lineage, [known.reference(1), known.reference(2)]);
    assert_eq!(secret.mark.stamp.generation, 1);
    let event = upgraded(secret.mark, secret.value.lineage.clone());
    let again = upgrading(secret.mark, None, secret.value.lineage);
    known.when(again).then(Outcome::Applied, [lowest(event)]);
}

#[test]
fn a_hash_without_a_time_is_an_import_and_with_one_a_change_made_then() {
    let known = given([registered("shop")]);
    let event = || legacy_added("shop/NG", "old");
    known.clone().when(adding("shop/NG", "old", None)).then(Outcome::Applied, [lowest(event())]);
    known.when(adding("shop/NG", "old", Some(700))).then(Outcome::Applied, [as_of(700, event())]);
}

#[test]
fn a_hash_keeps_its_profile() {
    let profile = Some(HashProfileId([3; 16]));
    let added = AddLegacyHash { profile, ..legacy("shop/NG", "old", None) };
    let recorded = given([registered("shop")]).when(Command::AddLegacyHash(added)).and_recorded();
    assert_eq!(recorded.state.legacy.get(&slot("shop/NG")).unwrap().value.profile, profile);
}

#[test]
fn a_change_is_not_made_later_than_it_is_received_and_not_without_time() {
    let known = given([registered("shop")]);
    let event = || legacy_added("shop/NG", "old");
    let future = adding("shop/NG", "old", Some(NOW_MS + 60_000));
    known.clone().when(future).then(Outcome::Applied, [as_of(NOW_MS, event())]);
    let ages_ago = known.when(adding("shop/NG", "old", Some(0))).and_recorded();
    assert!(ages_ago.state.legacy.get(&slot("shop/NG")).unwrap().mark.stamp.effective.is_change());
}

#[test]
fn the_same_hash_again_is_unchanged() {
    let import = given([registered("shop").into(), without_time(legacy_added("shop/NG", "old"))]);
    import.when(adding("shop/NG", "old", None)).then_unchanged();
    let change = given([registered("shop").into(), made_at(700, legacy_added("shop/NG", "old"))]);
    change.clone().when(adding("shop/NG", "old", None)).then_unchanged();
    change.clone().when(adding("shop/NG", "old", Some(600))).then_unchanged();
    change.clone().when(adding("shop/NG", "old", Some(700))).then_unchanged();
    let later = [as_of(800, legacy_added("shop/NG", "old"))];
    change.when(adding("shop/NG", "old", Some(800))).then(Outcome::Applied, later);
}

#[test]
fn an_import_replaces_an_import_but_not_a_change() {
    let import = given([registered("shop").into(), without_time(legacy_added("shop/NG", "old"))]);
    let other = [lowest(legacy_added("shop/NG", "other"))];
    import.when(adding("shop/NG", "other", None)).then(Outcome::Applied, other);
    let change = given([registered("shop").into(), made_at(700, legacy_added("shop/NG", "old"))]);
    change.when(adding("shop/NG", "other", None)).then_older();
}

#[test]
fn a_change_replaces_what_was_made_earlier_or_at_the_same_time() {
    let change = given([registered("shop").into(), made_at(700, legacy_added("shop/NG", "old"))]);
    change.clone().when(adding("shop/NG", "other", Some(699))).then_older();
    for same_or_later in [700, 701] {
        let other = [as_of(same_or_later, legacy_added("shop/NG", "other"))];
        let decided = change.clone().when(adding("shop/NG", "other", Some(same_or_later)));
        decided.then(Outcome::Applied, other);
    }
    let again = change.when(adding("shop/NG", "other", Some(700))).and_recorded();
    assert_eq!(again.state.legacy.get(&slot("shop/NG")).unwrap().value.hash, sealed("other"));
}

#[test]
fn an_import_beside_a_password_is_recorded_and_older() {
    let secret = given([registered("shop"), password_set("hash")]);
    let event = || [lowest(legacy_added("shop/NG", "old"))];
    secret.when(adding("shop/NG", "old", None)).then(Outcome::Older, event());
    let change = given([registered("shop"), legacy_added("cafe/NG", "changed")]);
    change.when(adding("shop/NG", "old", None)).then(Outcome::Older, event());
    let import = given([registered("shop").into(), without_time(legacy_added("cafe/NG", "x"))]);
    import.when(adding("shop/NG", "old", None)).then(Outcome::Applied, event());
}

#[test]
fn an_import_beside_an_upgraded_import_is_older() {
    let import = without_time(legacy_added("cafe/NG", "x"));
    let known = given([registered("shop").into(), import]);
    let (verified, lineage) = (known.mark(1), vec![known.reference(1)]);
    let upgraded = known.when(upgrading(verified, Some(slot("cafe/NG")), lineage)).and_recorded();
    let event = [lowest(legacy_added("shop/NG", "old"))];
    upgraded.when(adding("shop/NG", "old", None)).then(Outcome::Older, event);
}

#[test]
fn a_change_older_than_the_password_is_recorded_and_older() {
    let secret = given([registered("shop"), password_set("hash")]);
    let change = |ms| [as_of(ms, legacy_added("shop/NG", "changed"))];
    let add = |ms| adding("shop/NG", "changed", Some(ms));
    secret.clone().when(add(1_000)).then(Outcome::Older, change(1_000));
    secret.when(add(1_002)).then(Outcome::Applied, change(1_002));
    let elsewhere = given([registered("shop"), legacy_added("cafe/NG", "x")]);
    elsewhere.clone().when(add(1_000)).then(Outcome::Older, change(1_000));
    elsewhere.when(add(1_002)).then(Outcome::Applied, change(1_002));
}

#[test]
fn a_change_of_the_very_time_of_anothers_or_of_the_secret_displaces_neither() {
    let add = || adding("shop/NG", "changed", Some(1_001));
    given([registered("shop"), password_set("hash")]).when(add()).then_older();
    let elsewhere = given([registered("shop"), legacy_added("cafe/NG", "x")]);
    elsewhere.when(add()).then_older();
    // Nor does it after a login there.
    let known = given([registered("shop"), legacy_added("cafe/NG", "x")]);
    let (verified, lineage) = (known.mark(1), vec![known.reference(1)]);
    let known = known.when(upgrading(verified, Some(slot("cafe/NG")), lineage)).and_recorded();
    known.when(add()).then_older();
    // Imports have no time that could be the same.
    let import = given([registered("shop").into(), without_time(legacy_added("cafe/NG", "x"))]);
    let event = [lowest(legacy_added("shop/NG", "old"))];
    import.when(adding("shop/NG", "old", None)).then(Outcome::Applied, event);
}

#[test]
fn what_a_login_made_of_a_change_its_company_may_replace_like_the_change() {
    let known = given([registered("shop").into(), made_at(700, legacy_added("shop/NG", "old"))]);
    let (verified, lineage) = (known.mark(1), vec![known.reference(1)]);
    let known = known.when(upgrading(verified, Some(slot("shop/NG")), lineage)).and_recorded();
    let other = [as_of(700, legacy_added("shop/NG", "other"))];
    known.when(adding("shop/NG", "other", Some(700))).then(Outcome::Applied, other);
}
