//! Who may erase whom, and what an erased user still takes.

use jcas::events::command::{Command, Outcome, Rejection};
use jcas::events::event::Event;
use jcas::events::policy::{Policy, Reach};

use crate::fixtures::*;
use crate::scenario::*;

fn customer_of(companies: &[&str]) -> Scenario {
    let joining = companies.iter().map(|company| joined(company));
    given([registered("shop"), claimed("ada@x.ng", true)].into_iter().chain(joining))
}

#[test]
fn a_company_erases_its_own_user_that_nobody_else_has() {
    let scenario = customer_of(&["shop"]).by("shop", Reach::Own);
    scenario.when(Command::Erase).then(Outcome::Applied, [Event::UserErased(())]);
    // Nor does it matter who had it once.
    let left = customer_of(&["shop", "cafe"]).and(Event::CompanyLeft(company("cafe")));
    left.by("shop", Reach::Own)
        .when(Command::Erase)
        .then(Outcome::Applied, [Event::UserErased(())]);
}

#[test]
fn whom_others_have_too_is_erased_only_by_who_may_erase_everybody() {
    let elsewhere = Rejection::LinkedElsewhere;
    for name in ["shop", "cafe"] {
        let scenario = || customer_of(&["shop", "cafe"]);
        scenario().by(name, Reach::Own).when(Command::Erase).then_rejected(elsewhere);
        scenario()
            .by(name, Reach::All)
            .when(Command::Erase)
            .then(Outcome::Applied, [Event::UserErased(())]);
        let linked = customer_of(&[name]).linked_with_others();
        linked.by(name, Reach::Own).when(Command::Erase).then_rejected(elsewhere);
    }
}

#[test]
fn a_stranger_and_a_company_without_the_right_erase_nobody() {
    let stranger = customer_of(&["shop"]).by("cafe", Reach::Own);
    stranger.when(Command::Erase).then_denied(Policy::Erase);
    let off = customer_of(&["shop"]).by("shop", Reach::Off);
    off.when(Command::Erase).then_denied(Policy::Erase);
}

#[test]
fn who_is_erased_stays_so_whoever_asks() {
    let erased = || customer_of(&["shop"]).and(Event::UserErased(()));
    erased().by("shop", Reach::Own).when(Command::Erase).then_unchanged();
    erased().by_system().when(Command::Erase).then_unchanged();
}

#[test]
fn a_tombstone_that_is_said_again_may_come_before_its_user() {
    given_nothing()
        .by_system()
        .when(Command::Erase)
        .then(Outcome::Applied, [Event::UserErased(())]);
    given_nothing().when(Command::Erase).then_rejected(Rejection::UserNotFound);
}

#[test]
fn only_an_erasure_is_confirmed_and_each_time_it_is_said() {
    let live = customer_of(&["shop"]).by_system();
    live.when(Command::ConfirmErasure).then_rejected(Rejection::UserNotFound);
    let confirmed = Event::ErasureConfirmed(());
    let erased = || customer_of(&["shop"]).and(Event::UserErased(())).by_system();
    erased().when(Command::ConfirmErasure).then(Outcome::Applied, [confirmed.clone()]);
    let again = erased().and(confirmed.clone());
    again.when(Command::ConfirmErasure).then(Outcome::Applied, [confirmed]);
}

#[test]
fn a_company_leaves_once() {
    let left = Event::CompanyLeft(company("cafe"));
    let scenario = customer_of(&["shop", "cafe"]).by("cafe", Reach::Off);
    scenario.when(Command::Leave(company("cafe"))).then(Outcome::Applied, [left.clone()]);
    let gone = customer_of(&["shop", "cafe"]).and(left);
    gone.when(Command::Leave(company("cafe"))).then_unchanged();
}
