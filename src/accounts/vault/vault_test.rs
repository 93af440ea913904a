//! Branch keys where the KMS is silent, slow, refuses or lies: what stays open, what is healed, and
//! what is asked.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::keeping::Kept;
use super::stage::{Books, DAY, KEPT, LIFETIME, Manner, REGIONS, Stage, region};
use super::*;

const MINUTE: Duration = Duration::from_mins(1);

/// Nobody fills so much at once.
const ALL: usize = 1000;

#[track_caller]
fn assert_closed(outcome: Result<(), KeyFailure>, reason: &str) {
    let Err(KeyFailure::Unavailable(said)) = outcome else { panic!("{outcome:?}") };
    assert!(said.contains(reason), "{said}");
}

#[track_caller]
fn assert_kms_fails(outcome: Result<(), KeyFailure>, reason: &str) {
    let Err(KeyFailure::Kms(said)) = outcome else { panic!("{outcome:?}") };
    assert!(said.contains(reason), "{said}");
}

/// The only branch key there is.
fn only_key(stage: &Stage) -> BranchKeyId {
    let [key] = stage.books.keys()[..] else { panic!("{:?}", stage.books.keys()) };
    key
}

/// A month passes, and one more branch key is made.
fn register_next_month(stage: &Stage, vault: &Vault) -> UserId {
    stage.pass(LIFETIME + DAY);
    stage.register(vault).unwrap()
}

/// So many months pass.
fn register_for_months(stage: &Stage, vault: &Vault, months: usize) -> Vec<UserId> {
    (0..months).map(|_| register_next_month(stage, vault)).collect()
}

#[test]
fn an_outage_that_nobody_noticed_yet_takes_no_key_away() {
    let stage = Stage::new();
    let eu = stage.node("eu");
    let user = stage.register(&eu).unwrap();
    stage.set(&["eu"], Manner::Silent);
    stage.pass(KEPT * 2);
    stage.run(eu.refresh_branches());
    stage.opens(&eu, user).unwrap();
    // When it is back, what nobody uses any more is let go of, and opened again when it is used.
    stage.set(&["eu"], Manner::Answers);
    for _ in 0..2 {
        assert!(eu.branches.holds(only_key(&stage)));
        stage.pass(KEPT);
        stage.run(eu.refresh_branches());
    }
    assert!(!eu.branches.holds(only_key(&stage)));
    stage.opens(&eu, user).unwrap();
}

#[test]
fn keys_in_use_stay_while_the_kms_is_silent_and_go_when_it_refuses() {
    let stage = Stage::new();
    let eu = stage.node("eu");
    let user = stage.register(&eu).unwrap();
    stage.set(&["eu"], Manner::Silent);
    for _ in 0..10 {
        stage.pass(KEPT);
        stage.run(eu.refresh_branches());
        stage.opens(&eu, user).unwrap();
    }
    stage.set(&["eu"], Manner::Refuses);
    stage.pass(KEPT);
    stage.opens(&eu, user).unwrap();
    stage.run(eu.refresh_branches());
    assert_kms_fails(stage.opens(&eu, user), "refuses");
    stage.set(&["eu"], Manner::Answers);
    stage.pass(Duration::from_secs(5));
    stage.opens(&eu, user).unwrap();
}

#[test]
fn a_wrapping_that_opens_to_another_key_or_not_at_all_is_filled_by_another_region() {
    for opens_to_another in [true, false] {
        let stage = Stage::new();
        stage.set(&["eu"], Manner::Silent);
        let us = stage.node("us");
        let user = stage.register(&us).unwrap();
        stage.set(&["eu"], Manner::Answers);
        let key = only_key(&stage);
        let right_of_us = stage.wrapped("us", "us", &[1; 32], key);
        let to_another = stage.wrapped("us", "eu", &[9; 32], key);
        stage.slip_in(key, "eu", if opens_to_another { to_another } else { right_of_us });
        let eu = stage.node("eu");
        stage.pass(MINUTE);
        assert_eq!(stage.run(us.keep_keys(ALL)), Kept::default(), "nobody else can tell");
        assert_closed(stage.opens(&eu, user), "open");
        assert_eq!(eu.to_renew(), 1, "not even its region sees that it was made for it");
        let found = stage.run(eu.keep_keys(ALL));
        assert_eq!((found.disowned, found.left), (1, 1));
        assert_eq!((eu.holes(), us.holes(), eu.to_renew()), (1, 1, 0));
        let (_, why) = &us.branch_standing()[0].holes[0];
        assert!(why.contains("does not open to the key"), "{why}");
        assert_eq!(stage.run(us.keep_keys(ALL)).filled, 1);
        stage.pass(MINUTE);
        stage.opens(&eu, user).unwrap();
        assert_eq!((eu.holes(), eu.to_renew()), (0, 0));
        assert_eq!(stage.run(eu.keep_keys(ALL)), Kept::default());
    }
}

#[test]
fn a_node_that_has_the_key_in_memory_keeps_it_and_mends_its_regions_wrapping() {
    let stage = Stage::new();
    stage.set(&["eu"], Manner::Silent);
    let eu = stage.node("eu");
    let user = stage.register(&eu).unwrap();
    stage.set(&["eu"], Manner::Answers);
    let key = only_key(&stage);
    stage.slip_in(key, "eu", stage.wrapped("us", "eu", &[9; 32], key));
    for _ in 0..2 {
        stage.pass(KEPT);
        stage.run(eu.refresh_branches());
        stage.opens(&eu, user).unwrap();
    }
    let mended = stage.run(eu.keep_keys(ALL));
    assert_eq!((mended.renewed, mended.disowned, mended.left), (1, 0, 0));
    stage.opens(&stage.node("eu"), user).unwrap();
    stage.run(eu.refresh_branches());
    assert_eq!(stage.run(eu.keep_keys(ALL)), Kept::default());
}

#[test]
fn a_wrapping_that_does_not_open_does_not_stop_a_rotation() {
    let stage = Stage::new();
    let us = stage.node("us");
    stage.set(&["eu"], Manner::Silent);
    let lost = stage.register(&us).unwrap();
    let wrong = only_key(&stage);
    stage.slip_in(wrong, "eu", stage.wrapped("us", "eu", &[9; 32], wrong));
    stage.set(&["eu"], Manner::Answers);
    let user = register_next_month(&stage, &us);
    stage.rotate("eu");
    let eu = stage.node("eu");
    assert_eq!(eu.to_renew(), 2);
    for _ in 0..3 {
        stage.pass(MINUTE);
        stage.run(eu.keep_keys(ALL));
    }
    assert_eq!((eu.to_renew(), eu.holes()), (0, 1));
    // The other regions know of the new key from their next start on.
    assert_eq!(stage.run(stage.node("us").keep_keys(ALL)).filled, 1);
    stage.finish("eu");
    let eu = stage.node("eu");
    stage.opens(&eu, user).unwrap();
    stage.opens(&eu, lost).unwrap();
}

#[test]
fn a_wrapping_by_the_new_master_key_that_opens_to_another_key_does_not_count_as_renewed() {
    let stage = Stage::new();
    let us = stage.node("us");
    let user = stage.register(&us).unwrap();
    stage.rotate("eu");
    let key = only_key(&stage);
    stage.slip_in(key, "eu", stage.wrapped("us", "eu", &[9; 32], key));
    let eu = stage.node("eu");
    assert_eq!(eu.to_renew(), 1);
    stage.opens(&eu, user).unwrap();
    stage.run(eu.keep_keys(ALL));
    assert_eq!(eu.to_renew(), 0);
    stage.finish("eu");
    stage.opens(&stage.node("eu"), user).unwrap();
}

#[test]
fn a_kms_that_is_silent_during_a_rotation_delays_it_and_nothing_else() {
    let stage = Stage::new();
    let eu = stage.node("eu");
    let users = register_for_months(&stage, &eu, 3);
    stage.rotate("eu");
    stage.set(&["eu"], Manner::Silent);
    let eu = stage.node("eu");
    let (_, before) = stage.calls("eu");
    assert_eq!(stage.run(eu.keep_keys(ALL)), Kept { left: 3, ..Kept::default() });
    assert_eq!(stage.calls("eu").1, before + 1, "one silence is enough");
    stage.set(&["eu"], Manner::Answers);
    stage.pass(MINUTE);
    assert_eq!(stage.run(eu.keep_keys(2)), Kept { renewed: 2, left: 1, ..Kept::default() });
    // It silences again in the middle, and the node starts anew.
    stage.set(&["eu"], Manner::Silent);
    let eu = stage.node("eu");
    assert_eq!((stage.run(eu.keep_keys(ALL)).left, eu.to_renew()), (1, 1));
    stage.set(&["eu"], Manner::Answers);
    stage.pass(MINUTE);
    assert_eq!(stage.run(eu.keep_keys(ALL)).renewed, 1);
    stage.finish("eu");
    let eu = stage.node("eu");
    stage.opens_all(&eu, &users);
}

#[test]
fn at_a_months_change_a_key_is_made_that_whoever_answers_can_open() {
    for silent in [&["eu"][..], &["us"], &["us", "asia"], &["eu", "us"]] {
        let stage = Stage::new();
        let eu = stage.node("eu");
        let before = stage.register(&eu).unwrap();
        stage.set(silent, Manner::Silent);
        let after = register_next_month(&stage, &eu);
        stage.opens(&eu, before).unwrap();
        stage.opens(&eu, after).unwrap();
        assert_eq!((stage.books.keys().len(), eu.holes()), (2, silent.len()), "{silent:?}");
        stage.set(silent, Manner::Answers);
        stage.pass(MINUTE);
        assert_eq!(stage.run(eu.keep_keys(ALL)).filled, silent.len());
        for name in REGIONS {
            let node = stage.node(name);
            stage.opens_all(&node, &[before, after]);
        }
    }
}

#[test]
fn at_a_months_change_with_no_kms_at_all_nobody_is_registered_and_everybody_opened() {
    let stage = Stage::new();
    let eu = stage.node("eu");
    let before = stage.register(&eu).unwrap();
    stage.set(&REGIONS, Manner::Silent);
    stage.pass(LIFETIME + DAY);
    for _ in 0..20 {
        let refused = stage.register(&eu).map(drop);
        assert_kms_fails(refused, "no KMS wraps");
        stage.opens(&eu, before).unwrap();
    }
    assert_eq!((stage.books.keys().len(), stage.calls("us")), (1, (2, 0)), "asked once");
    stage.set(&REGIONS, Manner::Answers);
    stage.pass(MINUTE);
    let after = stage.register(&eu).unwrap();
    stage.opens(&stage.node("us"), after).unwrap();
}

#[test]
fn a_start_while_others_are_silent_changes_nothing_and_while_ones_own_is_only_old_users_wait() {
    let stage = Stage::new();
    let user = stage.register(&stage.node("eu")).unwrap();
    stage.set(&["us", "asia"], Manner::Silent);
    let eu = stage.node("eu");
    stage.opens(&eu, user).unwrap();
    stage.register(&eu).unwrap();
    assert_eq!((stage.books.keys().len(), eu.holes()), (1, 0));
    stage.set(&["us", "asia"], Manner::Answers);
    stage.set(&["eu"], Manner::Silent);
    let eu = stage.node("eu");
    assert_kms_fails(stage.opens(&eu, user), "does not answer");
    let new = stage.register(&eu).unwrap();
    stage.opens(&eu, new).unwrap();
    assert_kms_fails(stage.opens(&eu, user), "does not answer");
    assert_eq!((stage.books.keys().len(), eu.holes()), (2, 1));
    stage.set(&["eu"], Manner::Answers);
    stage.pass(MINUTE);
    stage.run(eu.keep_keys(ALL));
    stage.opens_all(&eu, &[user, new]);
    assert_eq!(eu.holes(), 0);
}

/// Waits until so many calls to open were made at a region: whoever can run has run long before
/// this gives up.
async fn until_asked(stage: &Stage, calls: u64) {
    for _ in 0..10_000 {
        if stage.calls("eu").1 >= calls {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{} of {calls} calls were made at once", stage.calls("eu").1);
}

#[test]
fn at_a_slow_kms_keys_do_not_wait_for_each_other_and_one_call_serves_all_who_want_a_key() {
    let stage = Stage::new();
    let us = stage.node("us");
    let users = register_for_months(&stage, &us, 36);
    let eu = stage.node("eu");
    stage.set(&["eu"], Manner::Waits);
    let each_thrice = users.iter().chain(&users).chain(&users);
    let opening = join_all(each_thrice.map(|user| eu.keys_of(*user)));
    let answering = async {
        until_asked(&stage, 36).await;
        stage.let_answer(36);
    };
    let (opened, ()) = stage.run(futures_util::future::join(opening, answering));
    assert!(opened.iter().all(Result::is_ok));
    assert_eq!(stage.calls("eu"), (36, 36), "each key once");
}

#[test]
fn a_region_that_refuses_is_asked_a_few_times_an_hour_however_many_holes_it_has() {
    let stage = Stage::new();
    let eu = stage.node("eu");
    stage.set(&["asia"], Manner::Refuses);
    register_for_months(&stage, &eu, 100);
    assert_eq!(eu.holes(), 100);
    let before = stage.calls("asia").0;
    assert_eq!(stage.run(eu.keep_keys(ALL)), Kept { left: 100, ..Kept::default() });
    assert_eq!(stage.calls("asia").0, before + 1);
    let an_hour = || {
        let before = stage.calls("asia").0;
        for _ in 0..60 {
            stage.pass(MINUTE);
            stage.run(eu.keep_keys(ALL));
        }
        stage.calls("asia").0 - before
    };
    let (first, second) = (an_hour(), an_hour());
    assert!((4..=16).contains(&first), "{first} calls in the first hour");
    assert_eq!(second, 4);
    stage.set(&["asia"], Manner::Answers);
    stage.pass(MINUTE * 15);
    assert_eq!(stage.run(eu.keep_keys(ALL)).filled, 100);
}

#[test]
fn a_region_that_refuses_to_open_is_asked_once_a_round_and_other_keys_come_to_their_turn() {
    let stage = Stage::new();
    let us = stage.node("us");
    stage.set(&["asia"], Manner::Silent);
    register_for_months(&stage, &us, 20);
    stage.set(&["asia"], Manner::Answers);
    stage.set(&["eu"], Manner::Refuses);
    let eu = stage.node("eu");
    assert_eq!(stage.run(eu.keep_keys(ALL)), Kept { left: 20, ..Kept::default() });
    assert_eq!(stage.calls("eu").1, 1);
    stage.pass(MINUTE);
    stage.set(&["eu"], Manner::Answers);
    assert_eq!(stage.run(eu.keep_keys(ALL)).filled, 19, "all but the one that was refused");
    stage.pass(MINUTE);
    assert_eq!(stage.run(eu.keep_keys(ALL)).filled, 1);
}

#[test]
fn no_more_is_tried_at_once_than_is_allowed_whatever_comes_of_it() {
    let stage = Stage::new();
    let eu = stage.node("eu");
    stage.set(&["asia", "us"], Manner::Silent);
    register_for_months(&stage, &eu, 10);
    let before = [stage.calls("asia").0, stage.calls("us").0];
    stage.set(&["asia", "us"], Manner::Answers);
    stage.pass(MINUTE);
    assert_eq!(stage.run(eu.keep_keys(7)), Kept { filled: 7, left: 13, ..Kept::default() });
    stage.set(&["asia"], Manner::Refuses);
    stage.set(&["us"], Manner::Silent);
    assert_eq!(stage.run(eu.keep_keys(1)), Kept { left: 13, ..Kept::default() });
    let after = [stage.calls("asia").0, stage.calls("us").0];
    assert_eq!(after.iter().sum::<u64>() - before.iter().sum::<u64>(), 8);
    assert_eq!(stage.run(eu.keep_keys(0)), Kept { left: 13, ..Kept::default() });
}

#[test]
fn two_regions_that_fill_one_hole_do_no_harm() {
    let stage = Stage::new();
    stage.set(&["eu"], Manner::Silent);
    let user = stage.register(&stage.node("us")).unwrap();
    stage.set(&["eu"], Manner::Answers);
    // Each with books of its own, which do not meet before both have filled it.
    let filled: [Arc<Books>; 2] = ["us", "asia"].map(|name| {
        let books = Arc::<Books>::default();
        books.absorb(&stage.books);
        assert_eq!(stage.run(stage.node_with(name, &books).keep_keys(ALL)).filled, 1);
        books
    });
    for [first, second] in [[0, 1], [1, 0]] {
        let books = Arc::<Books>::default();
        books.absorb(&filled[first]);
        books.absorb(&filled[second]);
        let eu = stage.node_with("eu", &books);
        let registry = eu.parts.records.registry();
        let wrapped = &registry.state.branch_keys[&only_key(&stage)].wrapped[&region("eu")];
        assert_eq!((wrapped.len(), eu.holes(), eu.to_renew()), (2, 0, 0));
        assert!(stage.run(eu.open_branch(only_key(&stage))).is_ok());
    }
    stage.books.absorb(&filled[0]);
    stage.books.absorb(&filled[1]);
    stage.opens(&stage.node("eu"), user).unwrap();
}

/// What a node in each region and so many users a month cost in two years: the calls to wrap, and
/// those to open, of every region's KMS.
fn two_years(users_a_month: usize) -> Vec<(u64, u64)> {
    let stage = Stage::new();
    let nodes = REGIONS.map(|name| stage.node(name));
    let mut users = Vec::new();
    for _ in 0..24 {
        stage.pass(LIFETIME + DAY);
        for node in &nodes {
            users.extend((0..users_a_month).map(|_| stage.register(node).unwrap()));
        }
        // All log in, somewhere.
        for (user, node) in users.iter().zip(nodes.iter().cycle().skip(1)) {
            stage.opens(node, *user).unwrap();
        }
        for node in &nodes {
            assert_eq!(stage.run(node.keep_keys(ALL)), Kept::default());
        }
    }
    assert_eq!(stage.books.keys().len(), 24 * 3);
    REGIONS.map(|name| stage.calls(name)).to_vec()
}

#[test]
fn what_the_kms_is_asked_in_two_years_depends_on_branch_keys_and_not_on_users() {
    let few = two_years(3);
    assert_eq!(few, two_years(30));
    for (wraps, unwraps) in few {
        assert_eq!(wraps, 24 * 3, "once a branch key");
        assert!(unwraps <= 24 * 2, "once each that others made: {unwraps}");
    }
}

#[test]
fn a_busy_node_opens_each_key_once_in_the_time_it_is_kept() {
    let stage = Stage::new();
    let eu = stage.node("eu");
    let users = register_for_months(&stage, &eu, 36);
    let eu = stage.node("eu");
    stage.opens_all(&eu, &users);
    let (_, before) = stage.calls("eu");
    for _ in 0..16 {
        stage.pass(KEPT / 8);
        stage.opens_all(&eu, &users);
        stage.run(eu.refresh_branches());
    }
    assert_eq!(stage.calls("eu").1, before + 2 * 36);
}
