//! A row of a bulk sync, decided: an identity in another's place, two passwords of one time.

use jcas::events::command::{Command, NewClaim, Outcome, Rejection};
use jcas::events::policy::{Policy, Reach};
use jcas::events::sync::{Released, SyncRow};

use crate::fixtures::*;
use crate::scenario::*;

fn row(changed_at_unix_ms: Option<u64>) -> SyncRow {
    SyncRow {
        company: company("shop"),
        create: None,
        claims: Vec::new(),
        releases: Vec::new(),
        legacy: None,
        profile: Vec::new(),
        profile_changed_at_unix_ms: None,
        active: None,
        changed_at_unix_ms,
    }
}

fn putting(row: SyncRow) -> Command {
    Command::Sync(Box::new(row))
}

/// `new` in the place of `old`.
fn replacing(old: &str, new: &str, changed_at: Option<u64>) -> SyncRow {
    let claims: Vec<NewClaim> = vec![new_claim(new, false)];
    let releases = vec![Released { index: index(old), by: Some(index(new)) }];
    SyncRow { claims, releases, ..row(changed_at) }
}

fn known() -> Scenario {
    given([registered("shop"), joined("shop"), claimed("ada@x.ng", false), claimed("+1", false)])
}

#[test]
fn an_identity_in_the_place_of_another_comes_with_its_release() {
    let both = |ms| [as_of(ms, claimed("new@x.ng", false)), as_of(ms, released("ada@x.ng"))];
    let later = known().when(putting(replacing("ada@x.ng", "new@x.ng", Some(2_000))));
    later.then(Outcome::Applied, both(2_000));
    let now = known().when(putting(replacing("ada@x.ng", "new@x.ng", None)));
    now.then(Outcome::Applied, both(NOW_MS));
}

#[test]
fn an_identity_does_not_come_where_the_one_whose_place_it_takes_stays() {
    // The user got it at 1002.
    for older in [900, 1_002] {
        known().when(putting(replacing("ada@x.ng", "new@x.ng", Some(older)))).then_older();
    }
    // Nor does the other one go where the new one is not taken back.
    let given_up = known().and(claimed("new@x.ng", false)).and(released("new@x.ng"));
    given_up.when(putting(replacing("ada@x.ng", "new@x.ng", Some(1_004)))).then_older();
    // What else the row has is no part of that.
    let profile = vec![change("nickname", Some("Ada"))];
    let more = SyncRow {
        profile,
        profile_changed_at_unix_ms: Some(900),
        ..replacing("ada@x.ng", "new@x.ng", Some(900))
    };
    let named = [as_of(900, profile_updated(&[("nickname", Some("Ada"))]))];
    known().when(putting(more)).then(Outcome::Applied, named);
}

#[test]
fn of_two_changes_of_identities_each_is_made_or_not() {
    let later = known().and(released("ada@x.ng")).and(claimed("late@x.ng", false));
    let mut two = replacing("late@x.ng", "new@x.ng", Some(1_004));
    let number = replacing("+1", "+2", Some(1_004));
    two.claims.extend(number.claims);
    two.releases.extend(number.releases);
    let only = [as_of(1_004, claimed("+2", false)), as_of(1_004, released("+1"))];
    later.when(putting(two)).then(Outcome::Applied, only);
}

#[test]
fn what_is_taken_away_without_another_in_its_place_goes_unless_it_is_the_last() {
    let taking = |which: &[&str]| {
        let of = |clear: &&str| Released { index: index(clear), by: None };
        putting(SyncRow { releases: which.iter().map(of).collect(), ..row(Some(2_000)) })
    };
    let gone = [as_of(2_000, released("+1"))];
    known().when(taking(&["+1"])).then(Outcome::Applied, gone);
    known().when(taking(&["+1", "ada@x.ng"])).then_rejected(Rejection::LastIdentity);
}

#[test]
fn of_two_passwords_of_one_time_the_one_that_stands_stays() {
    let hash = |at: &str, clear: &str, ms| SyncRow {
        legacy: Some(legacy(at, clear, Some(ms))),
        ..row(Some(ms))
    };
    for slot in ["shop/NG", "shop/KE", "cafe/NG"] {
        let known = known().and(made_at(700, legacy_added(slot, "stands")));
        known.clone().when(putting(hash("shop/NG", "other", 700))).then_older();
        let later = [as_of(701, legacy_added("shop/NG", "other"))];
        known.when(putting(hash("shop/NG", "other", 701))).then(Outcome::Applied, later);
    }
    let same = known().and(made_at(700, legacy_added("shop/NG", "stands")));
    same.when(putting(hash("shop/NG", "stands", 700))).then_unchanged();
    let secret = known().and(password_set("stands"));
    secret.when(putting(hash("shop/NG", "other", 1_004))).then_older();
}

#[test]
fn each_part_needs_its_policy_where_it_changes_anything() {
    let linked = known().by("shop", Reach::Own).linked_with_others();
    let replaced = putting(replacing("ada@x.ng", "new@x.ng", Some(2_000)));
    linked.clone().when(replaced).then_denied(Policy::Identity);
    let legacy = Some(legacy("shop/NG", "old", None));
    linked.clone().when(putting(SyncRow { legacy, ..row(None) })).then_denied(Policy::Password);
    let active = Some(false);
    linked.clone().when(putting(SyncRow { active, ..row(None) })).then_denied(Policy::Status);
    linked.when(putting(row(None))).then_unchanged();
}
