//! Claiming and releasing identities.

use jcas::events::account::{Bond, Claimant};
use jcas::events::command::{Command, NewClaim, Outcome, Rejection};
use jcas::events::policy::Reach;

use crate::fixtures::*;
use crate::scenario::*;

fn claiming(clear: &str, verified: bool) -> Command {
    Command::ClaimIdentity(new_claim(clear, verified))
}

fn known() -> Scenario {
    given([registered("shop"), claimed("ada@x.ng", false)])
}

fn rival(number: u8, verified: bool, bond: Bond) -> Claimant {
    let since = (at(u64::from(number)), origin("eu/n1"));
    Claimant { user: user(number), verified, bond, since }
}

fn against(clear: &str, verified: bool, rivals: &[Claimant]) -> Command {
    Command::ClaimIdentity(NewClaim { rivals: rivals.to_vec(), ..new_claim(clear, verified) })
}

#[test]
fn a_new_identity_is_claimed() {
    known().when(claiming("+234", false)).then(Outcome::Applied, [claimed("+234", false)]);
}

#[test]
fn claiming_what_is_live_is_unchanged() {
    known().when(claiming("ada@x.ng", false)).then_unchanged();
}

#[test]
fn verifying_what_is_claimed_is_recorded_once() {
    let verified = claimed("ada@x.ng", true);
    known().when(claiming("ada@x.ng", true)).then(Outcome::Applied, [verified.clone()]);
    known().and(verified.clone()).when(claiming("ada@x.ng", true)).then_unchanged();
    known().and(verified).when(claiming("ada@x.ng", false)).then_unchanged();
}

#[test]
fn only_the_word_of_a_company_that_verifies_counts() {
    let asks = |verifies| known().by_company("shop", policies(Reach::All, verifies));
    asks(false).when(claiming("ada@x.ng", true)).then_unchanged();
    asks(false).when(claiming("+234", true)).then(Outcome::Applied, [claimed("+234", false)]);
    asks(true).when(claiming("+234", true)).then(Outcome::Applied, [claimed("+234", true)]);
    asks(true).when(claiming("+234", false)).then(Outcome::Applied, [claimed("+234", false)]);
}

#[test]
fn the_word_of_the_operator_and_of_the_system_counts() {
    let verified = || [claimed("+234", true)];
    known().when(claiming("+234", true)).then(Outcome::Applied, verified());
    known().by_system().when(claiming("+234", true)).then(Outcome::Applied, verified());
}

#[test]
fn what_a_verified_rival_or_an_own_user_has_cannot_be_claimed() {
    for taken in [rival(2, true, Bond::Stranger), rival(2, false, Bond::Own)] {
        let refused = known().when(against("+234", true, &[taken]));
        refused.then_rejected(Rejection::IdentityTaken { by: user(2) });
        let verifying = known().when(against("ada@x.ng", true, &[taken]));
        verifying.then_rejected(Rejection::IdentityTaken { by: user(2) });
    }
}

#[test]
fn what_only_others_users_claim_unverified_can_be_claimed() {
    let strangers = [rival(2, false, Bond::Stranger), rival(3, false, Bond::Member)];
    let claimed = [claimed("+234", false)];
    known().when(against("+234", false, &strangers)).then(Outcome::Applied, claimed);
}

#[test]
fn a_user_is_no_rival_of_itself() {
    let itself = Claimant { user: subject(), ..rival(2, true, Bond::Own) };
    let verified = [claimed("ada@x.ng", true)];
    known().when(against("ada@x.ng", true, &[itself])).then(Outcome::Applied, verified);
}

#[test]
fn claiming_what_is_live_is_unchanged_also_when_somebody_else_has_it() {
    let owner = [rival(2, true, Bond::Stranger)];
    known().when(against("ada@x.ng", false, &owner)).then_unchanged();
    let verified = known().and(claimed("ada@x.ng", true));
    verified.when(against("ada@x.ng", true, &owner)).then_unchanged();
}

#[test]
fn a_released_identity_can_be_claimed_again_and_is_no_longer_verified() {
    let again = known()
        .and(claimed("+234", true))
        .and(released("+234"))
        .when(claiming("+234", false))
        .and_recorded();
    let claims = again.state.claims.get(&index("+234")).unwrap();
    assert!(claims.is_live() && !claims.is_verified());
}

#[test]
fn an_identity_is_released_but_not_the_last_one() {
    let two = known().and(claimed("+234", false));
    let release = || Command::ReleaseIdentity(index("ada@x.ng"));
    two.clone().when(release()).then(Outcome::Applied, [released("ada@x.ng")]);
    let one = two.and(released("+234"));
    one.when(release()).then_rejected(Rejection::LastIdentity);
}

#[test]
fn what_the_user_does_not_have_cannot_be_released() {
    let release = || Command::ReleaseIdentity(index("+234"));
    known().when(release()).then_rejected(Rejection::IdentityNotFound);
    let gone = known().and(claimed("+234", false)).and(released("+234"));
    gone.when(release()).then_rejected(Rejection::IdentityNotFound);
}
