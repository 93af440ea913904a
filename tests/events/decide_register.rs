//! Registering and joining.

use jcas::events::account::{Bond, Claimant};
use jcas::events::command::{Command, NewClaim, Outcome, Rejection};
use jcas::events::decide::PROFILE_FIELDS_MAX;
use jcas::events::event::Event;
use jcas::events::policy::Reach;

use crate::fixtures::*;
use crate::scenario::*;

fn rival(number: u8, verified: bool, bond: Bond) -> Claimant {
    Claimant { user: user(number), verified, bond, since: (at(u64::from(number)), origin("eu/n1")) }
}

fn against(rivals: &[Claimant]) -> NewClaim {
    NewClaim { rivals: rivals.to_vec(), ..new_claim("ada@x.ng", false) }
}

fn registering(claims: Vec<NewClaim>) -> Command {
    Command::Register(register("shop", claims))
}

#[test]
fn a_registration_records_key_user_membership_claims_credentials_and_profile_in_this_order() {
    let mut all = register("shop", vec![new_claim("ada@x.ng", false), new_claim("+234", false)]);
    all.secret = Some(sealed("hash"));
    all.legacy = Some(legacy("shop/NG", "old", None));
    all.profile = vec![change("given_name", Some("Ada"))];
    given_nothing().by("shop", Reach::Off).when(Command::Register(all)).then(
        Outcome::Applied,
        [
            Event::UserKeyCreated(key(1)).into(),
            registered("shop").into(),
            joined("shop").into(),
            claimed("ada@x.ng", false).into(),
            claimed("+234", false).into(),
            password_set("hash").into(),
            lowest(legacy_added("shop/NG", "old")),
            Expected::from(profile_updated(&[("given_name", Some("Ada"))])),
        ],
    );
}

#[test]
fn a_registration_without_credentials_and_profile_records_none() {
    given_nothing().when(registering(vec![new_claim("ada@x.ng", false)])).then(
        Outcome::Applied,
        [
            Event::UserKeyCreated(key(1)),
            registered("shop"),
            joined("shop"),
            claimed("ada@x.ng", false),
        ],
    );
}

#[test]
fn a_registered_hash_with_a_time_is_a_change_made_then() {
    let mut all = register("shop", vec![]);
    all.legacy = Some(legacy("shop/NG", "old", Some(77)));
    given_nothing().when(Command::Register(all)).then(
        Outcome::Applied,
        [
            Event::UserKeyCreated(key(1)).into(),
            registered("shop").into(),
            joined("shop").into(),
            as_of(77, legacy_added("shop/NG", "old")),
        ],
    );
}

#[test]
fn a_registration_is_taken_whatever_the_policies_but_verified_only_if_they_say_so() {
    for (verifies, reach) in [(false, Reach::All), (true, Reach::Off)] {
        let asks = given_nothing().by_company("shop", policies(reach, verifies));
        let decided = asks.when(registering(vec![new_claim("ada@x.ng", true)]));
        let recorded = decided.and_recorded();
        let claims = recorded.state.claims.get(&index("ada@x.ng")).unwrap();
        assert_eq!(claims.is_verified(), verifies, "{reach:?}");
    }
}

#[test]
fn a_verified_rival_or_an_own_user_has_the_identity() {
    for taken in
        [rival(2, true, Bond::Stranger), rival(2, false, Bond::Own), rival(2, true, Bond::Own)]
    {
        let refused = given_nothing().when(registering(vec![against(&[taken])]));
        refused.then_rejected(Rejection::IdentityTaken { by: user(2) });
    }
}

#[test]
fn an_unverified_rival_that_others_registered_does_not_have_the_identity() {
    let rivals = [rival(2, false, Bond::Stranger), rival(3, false, Bond::Member)];
    let registered = given_nothing().when(registering(vec![against(&rivals)])).and_recorded();
    assert!(registered.state.is_live());
}

#[test]
fn the_earliest_of_several_who_have_the_identity_is_named() {
    let rivals = [
        rival(4, true, Bond::Stranger),
        rival(3, false, Bond::Own),
        rival(2, false, Bond::Stranger),
    ];
    let refused = given_nothing().when(registering(vec![against(&rivals)]));
    refused.then_rejected(Rejection::IdentityTaken { by: user(3) });
}

#[test]
fn every_claim_of_a_registration_must_be_free() {
    let claims = vec![new_claim("+234", false), against(&[rival(2, true, Bond::Stranger)])];
    let refused = given_nothing().when(registering(claims));
    refused.then_rejected(Rejection::IdentityTaken { by: user(2) });
}

#[test]
fn a_user_is_registered_once() {
    let again = given([registered("shop")]).when(registering(vec![new_claim("ada@x.ng", false)]));
    again.then_rejected(Rejection::IdentityTaken { by: subject() });
}

#[test]
fn an_erased_user_is_not_registered_again() {
    let erased = given([registered("shop"), Event::UserErased(())]);
    erased.when(registering(vec![])).then_rejected(Rejection::UserErased);
}

#[test]
fn a_user_whose_first_event_is_not_here_yet_can_be_registered() {
    let later = given([claimed("ada@x.ng", false)]).when(registering(vec![])).and_recorded();
    assert!(later.state.is_live());
}

#[test]
fn a_registration_has_no_more_fields_than_a_profile() {
    let with = |fields: usize| {
        let mut all = register("shop", vec![]);
        all.profile = (0..fields).map(|n| change(&format!("f{n}"), Some("v"))).collect();
        given_nothing().when(Command::Register(all))
    };
    assert_eq!(with(PROFILE_FIELDS_MAX).and_recorded().state.fields().count(), PROFILE_FIELDS_MAX);
    let max = PROFILE_FIELDS_MAX;
    with(PROFILE_FIELDS_MAX + 1).then_rejected(Rejection::TooManyFields { max });
}

#[test]
fn a_login_elsewhere_joins_now_and_once() {
    let joining = Command::Join(company("cafe"));
    let known = given([registered("shop"), joined("shop")]).by_system();
    known.clone().when(joining.clone()).then(Outcome::Applied, [joined("cafe")]);
    known.and(joined("cafe")).when(joining).then_unchanged();
}

#[test]
fn a_company_that_was_left_can_be_joined_again() {
    let left = given([registered("shop"), joined("shop"), Event::CompanyLeft(company("shop"))]);
    left.when(Command::Join(company("shop"))).then(Outcome::Applied, [joined("shop")]);
}
