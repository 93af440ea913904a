//! What holds for every command on a user that exists: that it does, that the caller has seen it,
//! that the caller's policy reaches it. And profile fields and status.

use jcas::events::account::Seen;
use jcas::events::command::{Command, Outcome, Rejection};
use jcas::events::decide::PROFILE_FIELDS_MAX;
use jcas::events::event::Event;
use jcas::events::policy::{Policies, Policy, Reach};

use crate::fixtures::*;
use crate::scenario::*;

/// Every command on a user that exists, and the policy it needs.
fn commands(known: &Scenario) -> Vec<(Option<Policy>, Command)> {
    let upgrade = jcas::events::command::UpgradePassword {
        verified: known.mark(1),
        slot: None,
        lineage: vec![known.reference(1)],
        secret: sealed("better"),
    };
    vec![
        (None, Command::Join(company("cafe"))),
        (Some(Policy::Profile), Command::UpdateProfile(vec![change("given_name", Some("Ada"))])),
        (Some(Policy::Password), Command::SetPassword(set_password("new"))),
        (None, Command::UpgradePassword(upgrade)),
        (Some(Policy::Password), Command::AddLegacyHash(legacy("shop/NG", "old", None))),
        (Some(Policy::Identity), Command::ClaimIdentity(new_claim("new@x.ng", false))),
        (Some(Policy::Identity), Command::ReleaseIdentity(index("+234"))),
        (Some(Policy::Status), Command::Disable),
        (Some(Policy::Status), Command::Enable),
    ]
}

/// A user of `shop` on which every command of `commands` does something, but to enable.
fn known() -> Scenario {
    let ada = claimed("ada@x.ng", true);
    given([registered("shop"), password_set("hash"), ada, claimed("+234", false), joined("shop")])
}

#[test]
fn nothing_but_a_registration_is_taken_for_a_user_that_is_not_there() {
    for (_, command) in commands(&known()) {
        given_nothing().when(command.clone()).then_rejected(Rejection::UserNotFound);
        let without_first = given([claimed("ada@x.ng", false)]);
        without_first.when(command).then_rejected(Rejection::UserNotFound);
    }
}

#[test]
fn nothing_is_taken_for_an_erased_user() {
    for (_, command) in commands(&known()) {
        let erased = known().and(Event::UserErased(())).by("shop", Reach::All);
        erased.when(command.clone()).then_rejected(Rejection::UserErased);
        let first_not_here = given([Event::UserErased(())]);
        first_not_here.when(command).then_rejected(Rejection::UserErased);
    }
}

#[test]
fn nothing_is_taken_from_a_caller_that_has_not_seen_the_newest() {
    for (_, command) in commands(&known()) {
        let old = known().seen();
        let newer = known().and(joined("bank")).if_seen(old);
        let current = newer.seen();
        newer.when(command).then_rejected(Rejection::RevisionMismatch { current });
    }
}

#[test]
fn a_change_of_a_linked_user_shows_too() {
    let rest = Seen::of(user(9), &known().state);
    let linked = known().with_rest(rest);
    let current = linked.seen().and(rest);
    let refused = linked.clone().if_seen(linked.seen()).when(Command::Disable);
    refused.then_rejected(Rejection::RevisionMismatch { current });
    linked.if_seen(current).when(Command::Disable).then(Outcome::Applied, disabled());
}

fn disabled() -> [Event; 1] {
    [Event::UserDisabled(())]
}

#[test]
fn a_caller_that_has_seen_the_newest_is_heard() {
    let seen = known().seen();
    known().if_seen(seen).when(Command::Disable).then(Outcome::Applied, disabled());
}

#[test]
fn who_may_not_do_it_is_not_told_the_revision() {
    for (policy, command) in commands(&known()) {
        let Some(policy) = policy else { continue };
        let stale = known().by("shop", Reach::Off).if_seen(Seen::NOTHING);
        stale.when(command).then_denied(policy);
    }
}

const fn reach_of(policies: &mut Policies, policy: Policy) -> &mut Reach {
    match policy {
        Policy::Read => &mut policies.read,
        Policy::Password => &mut policies.password,
        Policy::Profile => &mut policies.profile,
        Policy::Identity => &mut policies.identity,
        Policy::Status => &mut policies.status,
        Policy::Link => &mut policies.link,
        Policy::Erase => &mut policies.erase,
    }
}

#[test]
fn each_command_is_held_to_its_own_policy() {
    for (policy, command) in commands(&known()) {
        let Some(policy) = policy else { continue };
        let mut all = policies(Reach::All, true);
        *reach_of(&mut all, policy) = Reach::Off;
        known().by_company("shop", all).when(command.clone()).then_denied(policy);
        let mut none = policies(Reach::Off, false);
        *reach_of(&mut none, policy) = Reach::All;
        drop(known().by_company("cafe", none).when(command).and_recorded());
    }
}

#[test]
fn off_reaches_nobody_own_the_users_a_company_created_and_all_everybody() {
    for (policy, command) in commands(&known()) {
        let free = policy.is_none();
        let taken = [
            (free, known().by("shop", Reach::Off)),
            (free, known().by("cafe", Reach::Own)),
            // A member of a company that was created by another is not its own.
            (free, known().and(joined("bank")).by("bank", Reach::Own)),
            // One of its own that is linked with others' is not its own any more.
            (free, known().by("shop", Reach::Own).linked_with_others()),
            (true, known().by("shop", Reach::Own)),
            (true, known().by("cafe", Reach::All)),
            (true, known().by("cafe", Reach::All).linked_with_others()),
            (true, known().by_system().linked_with_others()),
            (true, known().linked_with_others()),
        ];
        for (taken, scenario) in taken {
            let decided = scenario.when(command.clone());
            match policy.filter(|_| !taken) {
                Some(policy) => decided.then_denied(policy),
                None => drop(decided.and_recorded()),
            }
        }
    }
}

#[test]
fn a_company_without_policies_changes_its_own_users_only() {
    let fields = || Command::UpdateProfile(vec![change("given_name", Some("Ada"))]);
    let default = |of| known().by_company(of, Policies::DEFAULT);
    default("cafe").when(fields()).then_denied(Policy::Profile);
    let written = profile_updated(&[("given_name", Some("Ada"))]);
    default("shop").when(fields()).then(Outcome::Applied, [written.clone()]);
    let trusted = known().by_company("cafe", Policies::TRUSTED);
    trusted.when(fields()).then(Outcome::Applied, [written]);
}

#[test]
fn of_a_profile_update_only_what_differs_is_recorded() {
    let standing = [("given_name", Some("Ada")), ("locale", Some("en")), ("gone", None)];
    let known = given([registered("shop"), profile_updated(&standing)]);
    let update = vec![
        change("given_name", Some("Ada")),
        change("locale", Some("fr")),
        change("gone", None),
        change("never_there", None),
        change("birthdate", Some("1815")),
    ];
    let differing = [("locale", Some("fr")), ("birthdate", Some("1815"))];
    known
        .when(Command::UpdateProfile(update))
        .then(Outcome::Applied, [profile_updated(&differing)]);
}

#[test]
fn a_profile_update_that_says_nothing_new_is_unchanged() {
    let known = given([registered("shop"), profile_updated(&[("given_name", Some("Ada"))])]);
    let again = Command::UpdateProfile(vec![change("given_name", Some("Ada"))]);
    known.clone().when(again).then_unchanged();
    known.when(Command::UpdateProfile(Vec::new())).then_unchanged();
}

#[test]
fn a_removed_field_can_be_written_again() {
    let written = profile_updated(&[("locale", Some("en"))]);
    let removed = profile_updated(&[("locale", None)]);
    let known = given([registered("shop"), written.clone()]);
    let remove = Command::UpdateProfile(vec![change("locale", None)]);
    known.clone().when(remove).then(Outcome::Applied, [removed.clone()]);
    let write = Command::UpdateProfile(vec![change("locale", Some("en"))]);
    known.and(removed).when(write).then(Outcome::Applied, [written]);
}

fn full() -> Scenario {
    let names: Vec<String> = (0..PROFILE_FIELDS_MAX).map(|n| format!("f{n}")).collect();
    let fields: Vec<_> = names.iter().map(|name| (name.as_str(), Some("v"))).collect();
    given([registered("shop"), profile_updated(&fields)])
}

const TOO_MANY: Rejection = Rejection::TooManyFields { max: PROFILE_FIELDS_MAX };

#[test]
fn a_full_profile_takes_no_more_fields() {
    full().when(Command::UpdateProfile(vec![change("new", Some("v"))])).then_rejected(TOO_MANY);
    let one_for_two =
        vec![change("f0", None), change("new", Some("v")), change("newer", Some("v"))];
    full().when(Command::UpdateProfile(one_for_two)).then_rejected(TOO_MANY);
}

#[test]
fn a_full_profile_can_be_changed_and_exchanged() {
    let other = [("f0", Some("w"))];
    full()
        .when(Command::UpdateProfile(vec![change("f0", Some("w"))]))
        .then(Outcome::Applied, [profile_updated(&other)]);
    let one_for_one = [("f0", None), ("new", Some("v"))];
    full()
        .when(Command::UpdateProfile(vec![change("f0", None), change("new", Some("v"))]))
        .then(Outcome::Applied, [profile_updated(&one_for_one)]);
}

#[test]
fn a_field_named_twice_does_not_get_round_the_bound() {
    let twice = vec![
        change("f0", None),
        change("f0", None),
        change("new", Some("v")),
        change("newer", Some("v")),
    ];
    full().when(Command::UpdateProfile(twice)).then_rejected(TOO_MANY);
    let written_and_removed =
        vec![change("new", Some("v")), change("f0", Some("w")), change("f0", None)];
    full().when(Command::UpdateProfile(written_and_removed)).then_rejected(TOO_MANY);
}

#[test]
fn a_user_is_disabled_once() {
    let known = given([registered("shop")]);
    known.clone().when(Command::Disable).then(Outcome::Applied, disabled());
    known.and(Event::UserDisabled(())).when(Command::Disable).then_unchanged();
}

#[test]
fn enabling_an_active_user_changes_nothing() {
    given([registered("shop")]).when(Command::Enable).then_unchanged();
}

#[test]
fn enabling_names_per_origin_the_greatest_disabling_that_was_seen() {
    let disabled = || Event::UserDisabled(());
    let known = given([registered("shop")])
        .and(recorded_by("eu/n1", disabled()))
        .and(recorded_by("af/n1", disabled()))
        .and(recorded_by("eu/n1", disabled()))
        .and(recorded_by("af/n2", disabled()));
    let lifts = vec![
        (origin("af/n1"), at(1_002)),
        (origin("af/n2"), at(1_004)),
        (origin("eu/n1"), at(1_003)),
    ];
    let enabled = Event::UserEnabled(lifts);
    known.clone().when(Command::Enable).then(Outcome::Applied, [enabled]);
    let enabled = known.when(Command::Enable).and_recorded();
    assert!(enabled.state.status.is_active());
}

#[test]
fn a_disabling_that_the_enabling_had_not_seen_stands() {
    let known = given([registered("shop"), Event::UserDisabled(())]);
    let enabled = known.when(Command::Enable).and_recorded();
    let elsewhere = enabled.and(recorded_by("af/n1", Event::UserDisabled(())));
    assert!(!elsewhere.state.status.is_active());
    elsewhere.when(Command::Disable).then_unchanged();
}

#[test]
fn a_user_can_be_disabled_again_after_being_enabled() {
    let known = given([registered("shop"), Event::UserDisabled(())]);
    let enabled = known.when(Command::Enable).and_recorded();
    enabled.when(Command::Disable).then(Outcome::Applied, disabled());
}
