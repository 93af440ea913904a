//! What is decided between users: by whom, once, and whatever it severs.

use std::collections::BTreeMap;

use jcas::events::account::Account;
use jcas::events::command::{Caller, Context, Outcome, Rejection, Rest};
use jcas::events::decide::Decision;
use jcas::events::decide_link::{Between, LINKED_USERS_MAX, LinkCommand, decide_link};
use jcas::events::event::Event;
use jcas::events::evolve::evolve;
use jcas::events::ids::UserId;
use jcas::events::policy::{Policy, Reach};
use jcas::events::record::Fact;
use jcas::events::stamp::EffectiveTime;
use jcas::events::state::{Link, UserState};

use crate::fixtures::*;
use crate::scenario::{Given, given, made_at, without_time};

/// Users by their numbers, and what was decided on them so far.
struct People {
    users: BTreeMap<UserId, UserState>,
    now_ms: u64,
}

fn people(of: impl IntoIterator<Item = (u8, Vec<Given>)>) -> People {
    let users = of.into_iter().map(|(number, events)| (user(number), given(events).state));
    People { users: users.collect(), now_ms: 5_000 }
}

fn registered_by(companies: &[&str]) -> People {
    let of = |(number, company): (usize, &&str)| {
        (u8::try_from(number + 1).unwrap(), vec![registered(company).into()])
    };
    people(companies.iter().enumerate().map(of))
}

impl People {
    fn decide(
        &self,
        command: LinkCommand,
        (one, other): (u8, u8),
        caller: Caller,
    ) -> Result<Decision, Rejection> {
        let between = Between { users: &self.users, one: user(one), other: user(other) };
        let (now, cause) = (at(self.now_ms), cause("shop"));
        let context = Context { now, caller, cause, if_seen: None, rest: Rest::NONE };
        decide_link(&between, command, &context)
    }

    /// Decides as the operator and folds it.
    fn say(&mut self, command: LinkCommand, pair: (u8, u8)) -> Outcome {
        let decision = self.decide(command, pair, Caller::Operator).unwrap();
        for draft in decision.drafts {
            let fact = Fact::pending(draft, origin("eu/n1"), digest(self.now_ms));
            for touched in fact.event.iter().flat_map(Event::touched_users) {
                evolve(self.users.get_mut(&touched).unwrap(), touched, &fact);
            }
        }
        self.now_ms += 1;
        decision.outcome
    }

    fn between(&self, one: u8, other: u8) -> Option<Link> {
        self.users[&user(one)].links.get(&user(other)).map(|cell| cell.value)
    }

    /// The credentials of one user alone that count.
    fn counting(&self, number: u8) -> usize {
        let alone = BTreeMap::from([(user(number), self.users[&user(number)].clone())]);
        Account::of(&alone).credentials(None).len()
    }
}

const BY_HAND: Option<Link> = Some(Link::Linked { automatic: false });

#[test]
fn the_policy_must_reach_every_user_of_both_accounts() {
    let mut people = registered_by(&["shop", "shop", "shop", "cafe"]);
    let by = |reach| Caller::Company(company("shop"), policies(reach, false));
    let denied = Err(Rejection::PolicyDenied { policy: Policy::Link });
    // `people` is of both accounts alone: the others are not looked at.
    let all = std::mem::take(&mut people.users);
    let only = |numbers: &[u8]| People {
        users: numbers.iter().map(|it| (user(*it), all[&user(*it)].clone())).collect(),
        now_ms: 5_000,
    };
    for command in [LinkCommand::Link, LinkCommand::Unlink, LinkCommand::Decline] {
        assert!(only(&[1, 2]).decide(command, (1, 2), by(Reach::Own)).is_ok());
        assert_eq!(only(&[1, 2]).decide(command, (1, 2), by(Reach::Off)), denied);
        assert_eq!(only(&[1, 4]).decide(command, (1, 4), by(Reach::Own)), denied);
        assert_eq!(only(&[1, 4]).decide(command, (4, 1), by(Reach::Own)), denied);
        assert!(only(&[1, 4]).decide(command, (1, 4), by(Reach::All)).is_ok());
    }
    let mut three = only(&[1, 2, 4]);
    three.say(LinkCommand::Link, (2, 4));
    assert_eq!(three.decide(LinkCommand::Link, (1, 2), by(Reach::Own)), denied);
}

#[test]
fn only_two_users_that_are_there_are_linked_and_only_so_many() {
    let gone = vec![registered("shop").into(), Event::UserErased(()).into()];
    let people = people([(1, vec![registered("shop").into()]), (2, gone)]);
    let link = |pair| people.decide(LinkCommand::Link, pair, Caller::Operator);
    assert_eq!(link((1, 1)), Err(Rejection::SameUser));
    assert_eq!(link((1, 2)), Err(Rejection::UserErased));
    assert_eq!(link((3, 1)), Err(Rejection::UserNotFound));
    let many = registered_by(&["shop"; LINKED_USERS_MAX + 1]);
    let refused = many.decide(LinkCommand::Link, (1, 2), Caller::Operator);
    assert_eq!(refused, Err(Rejection::TooManyLinked { max: LINKED_USERS_MAX }));
}

#[test]
fn what_was_said_is_said_once() {
    let mut people = registered_by(&["shop", "shop"]);
    assert_eq!(people.say(LinkCommand::Unlink, (1, 2)), Outcome::Unchanged);
    assert_eq!(people.say(LinkCommand::Decline, (1, 2)), Outcome::Applied);
    assert_eq!(people.say(LinkCommand::Decline, (2, 1)), Outcome::Unchanged);
    assert_eq!(people.say(LinkCommand::Link, (1, 2)), Outcome::Applied);
    assert_eq!(people.say(LinkCommand::Link, (2, 1)), Outcome::Unchanged);
    let declined = people.decide(LinkCommand::Decline, (1, 2), Caller::Operator);
    assert_eq!(declined, Err(Rejection::Linked));
    assert_eq!(people.between(2, 1), BY_HAND);
}

#[test]
fn the_system_links_by_verified_e_mail_alone_once_and_with_the_lowest_time() {
    let with = |claims: [(&str, bool); 2]| {
        let of = |(clear, verified): (&str, bool)| {
            vec![registered("shop").into(), claimed(clear, verified).into()]
        };
        people([(1, of(claims[0])), (2, of(claims[1]))])
    };
    for claims in [
        [("a@x.ng", true), ("a@x.ng", false)],
        [("a@x.ng", true), ("b@x.ng", true)],
        [("+234", true), ("+234", true)],
    ] {
        assert_eq!(with(claims).say(LinkCommand::LinkByItself, (1, 2)), Outcome::Unchanged);
    }
    let mut people = with([("a@x.ng", true), ("a@x.ng", true)]);
    let decision = people.decide(LinkCommand::LinkByItself, (1, 2), Caller::Operator).unwrap();
    assert_eq!(decision.drafts[0].effective, EffectiveTime::LOWEST);
    assert_eq!(people.say(LinkCommand::LinkByItself, (1, 2)), Outcome::Applied);
    // A person's word takes its place, and ends it for good.
    assert_eq!(people.say(LinkCommand::Link, (1, 2)), Outcome::Applied);
    assert_eq!(people.between(1, 2), BY_HAND);
    assert_eq!(people.say(LinkCommand::Unlink, (1, 2)), Outcome::Applied);
    assert_eq!(people.say(LinkCommand::LinkByItself, (1, 2)), Outcome::Unchanged);
    let mut declined = with([("a@x.ng", true), ("a@x.ng", true)]);
    declined.say(LinkCommand::Decline, (1, 2));
    assert_eq!(declined.say(LinkCommand::LinkByItself, (1, 2)), Outcome::Unchanged);
}

#[test]
fn the_system_joins_nobody_whom_somebody_said_apart_by_way_of_others() {
    let verified = || vec![registered("shop").into(), claimed("a@x.ng", true).into()];
    let plain = || vec![registered("shop").into()];
    let four = || people([(1, verified()), (2, plain()), (3, verified()), (4, plain())]);
    // 1 and 2 are one person, and so are 3 and 4; 1 and 3 share an address.
    let joined = |apart: LinkCommand, pair: (u8, u8)| {
        let mut people = four();
        if apart == LinkCommand::Unlink {
            people.say(LinkCommand::Link, pair);
        }
        people.say(apart, pair);
        people.say(LinkCommand::Link, (1, 2));
        people.say(LinkCommand::Link, (3, 4));
        people.say(LinkCommand::LinkByItself, (1, 3))
    };
    for pair in [(1, 3), (2, 3), (2, 4), (4, 1)] {
        for apart in [LinkCommand::Decline, LinkCommand::Unlink] {
            assert_eq!(joined(apart, pair), Outcome::Unchanged, "{apart:?} {pair:?}");
        }
    }
    let mut people = four();
    people.say(LinkCommand::Link, (1, 2));
    people.say(LinkCommand::Link, (3, 4));
    assert_eq!(people.say(LinkCommand::LinkByItself, (1, 3)), Outcome::Applied);
}

#[test]
fn every_pair_across_is_severed_and_the_side_without_the_password_loses_its_own() {
    let of = |ms: u64| vec![registered("shop").into(), made_at(ms, password_set("secret"))];
    let import = without_time(legacy_added("shop/NG", "old"));
    let fourth = vec![registered("shop").into(), import];
    let mut people = people([(1, of(100)), (2, of(300)), (3, of(200)), (4, fourth)]);
    for pair in [(1, 2), (2, 3), (1, 4)] {
        people.say(LinkCommand::Link, pair);
    }
    people.say(LinkCommand::Unlink, (1, 2));
    for pair in [(1, 2), (1, 3), (4, 2), (4, 3)] {
        assert_eq!(people.between(pair.0, pair.1), Some(Link::Unlinked), "{pair:?}");
    }
    assert_eq!((people.between(1, 4), people.between(2, 3)), (BY_HAND, BY_HAND));
    let counting = [1, 2, 3, 4].map(|number| people.counting(number));
    assert_eq!(counting, [0, 1, 1, 0]);
}

#[test]
fn where_there_is_no_password_each_side_keeps_its_imports() {
    let import = || without_time(legacy_added("shop/NG", "old"));
    let of = || vec![registered("shop").into(), import()];
    let mut people = people([(1, of()), (2, of())]);
    people.say(LinkCommand::Link, (1, 2));
    people.say(LinkCommand::Unlink, (2, 1));
    assert_eq!([people.counting(1), people.counting(2)], [1, 1]);
}
