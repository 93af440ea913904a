//! Whatever is tried in whatever order: the bounds hold, waits are as told, and the owner gets in.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::events::ids::{Digest, IdentityKind};

const HOUR: Duration = Duration::from_hours(1);

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn rules() -> Rules {
    Rules {
        schedule: Schedule {
            free: 5,
            first_delay: s(1),
            longest_delay: s(900),
            at_once: 16,
            pause: HOUR * 24,
        },
        failures_max: 100,
        client: Rate::new(30, s(60), 100),
        tracked: 1000,
        known_clients: 1000,
    }
}

fn way(number: u64) -> Way {
    let mut mac = [0; 32];
    mac[..8].copy_from_slice(&number.to_be_bytes());
    Way::Identity(BlindIndex { kind: IdentityKind::Email, version: 1, mac: Digest(mac) })
}

fn user(number: u64) -> UserId {
    UserId::new(number, [0; 10])
}

fn guess(way: Way, company: &str, client: Option<&str>) -> Guess {
    Guess::new(way, company.parse().unwrap(), client.map(|it| it.parse().unwrap()))
}

/// How a test's attempt ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Is {
    Right,
    Wrong,
    Undone,
}

impl Is {
    fn ended(self, account: Option<UserId>) -> Ended {
        match (self, account) {
            (Self::Right, Some(user)) => Ended::Right { user, sole: true },
            (Self::Undone, _) => Ended::Undone,
            (Self::Right | Self::Wrong, _) => Ended::Wrong,
        }
    }
}

/// Begins an attempt at an account, or at nobody's.
fn begin(
    guessing: &mut Guessing,
    now: Duration,
    guess: Guess,
    account: Option<UserId>,
) -> Result<Ticket, Refused> {
    let mut ticket = guessing.begin(now, guess)?;
    let tried = match account {
        Some(user) => guessing.try_account(now, &mut ticket, user),
        None => guessing.share(now, &mut ticket),
    };
    if let Err(refused) = tried {
        guessing.end(now, ticket, Ended::Undone);
        return Err(refused);
    }
    Ok(ticket)
}

/// One attempt from beginning to end.
fn try_one(
    guessing: &mut Guessing,
    now: Duration,
    guess: Guess,
    account: Option<UserId>,
    is: Is,
) -> Result<(), Refused> {
    let ticket = begin(guessing, now, guess, account)?;
    guessing.end(now, ticket, is.ended(account));
    Ok(())
}

/// Guesses as fast as is allowed until so many failed. Returns when each did.
fn guess_on(
    guessing: &mut Guessing,
    mut now: Duration,
    guess: Guess,
    account: Option<UserId>,
    count: usize,
) -> Vec<Duration> {
    let mut failed = Vec::new();
    while failed.len() < count {
        match try_one(guessing, now, guess, account, Is::Wrong) {
            Ok(()) => failed.push(now),
            Err(refused) => {
                assert!(refused.retry_after > Duration::ZERO);
                now += refused.retry_after;
            }
        }
    }
    failed
}

#[test]
fn delays_grow_up_to_a_bound_and_end_in_a_pause() {
    let mut guessing = Guessing::new(rules());
    let failed = guess_on(&mut guessing, s(0), guess(way(1), "shop", None), None, 125);
    let gaps: Vec<_> = failed.windows(2).map(|pair| pair[1].abs_diff(pair[0]).as_secs()).collect();
    assert_eq!(gaps[..8], [0, 0, 0, 0, 1, 2, 4, 8]);
    assert_eq!(gaps[14..59], [900; 45]);
    assert_eq!(gaps[59], 24 * 3600, "after the share of those who are not known");
    assert_eq!(gaps[60..66], [0, 0, 0, 0, 1, 2], "and then anew");
    assert_eq!(gaps[119], 24 * 3600);
}

#[test]
fn nobody_learns_from_the_delays_who_is_there() {
    let mut guessing = Guessing::new(rules());
    let (there, nobody) = (guess(way(1), "shop", None), guess(way(2), "shop", None));
    // Somebody got in a while ago, by the same company, which names no clients.
    try_one(&mut guessing, s(0), there, Some(user(1)), Is::Right).unwrap();
    let known = guess_on(&mut guessing, s(10), there, Some(user(1)), 130);
    let unknown = guess_on(&mut guessing, s(10), nobody, None, 130);
    assert_eq!(known, unknown);
}

#[test]
fn the_right_password_is_refused_too_while_there_is_a_delay_and_resets_the_count_after_it() {
    let mut guessing = Guessing::new(rules());
    let guess = guess(way(1), "shop", Some("192.0.2.1"));
    let failed = guess_on(&mut guessing, s(0), guess, Some(user(1)), 8);
    let now = *failed.last().unwrap();
    let refused = try_one(&mut guessing, now, guess, Some(user(1)), Is::Right).unwrap_err();
    assert_eq!(refused, Refused { hindrance: Hindrance::Account, retry_after: s(8) });
    let now = now + s(8);
    try_one(&mut guessing, now, guess, Some(user(1)), Is::Right).unwrap();
    assert_eq!(guess_on(&mut guessing, now, guess, Some(user(1)), 5), [now; 5]);
}

#[test]
fn the_owner_gets_in_while_somebody_elsewhere_guesses() {
    let mut guessing = Guessing::new(rules());
    let owner = guess(way(1), "shop", Some("192.0.2.1"));
    try_one(&mut guessing, s(0), owner, Some(user(1)), Is::Right).unwrap();
    for (company, address) in [("shop", "198.51.100.7"), ("bank", "192.0.2.1"), ("shop", "::1")] {
        let attacker = guess(way(1), company, Some(address));
        let last = *guess_on(&mut guessing, s(10), attacker, Some(user(1)), 7).last().unwrap();
        try_one(&mut guessing, last, attacker, Some(user(1)), Is::Right).unwrap_err();
        try_one(&mut guessing, last, owner, Some(user(1)), Is::Right).unwrap();
        // What the owner does makes it no easier for the others.
        try_one(&mut guessing, last, attacker, Some(user(1)), Is::Right).unwrap_err();
        guessing.forgive(last, user(1), [way(1)]);
    }
    // Not even all that others may fail keeps the owner out.
    let attacker = guess(way(1), "shop", Some("198.51.100.7"));
    let last = *guess_on(&mut guessing, s(10), attacker, Some(user(1)), 60).last().unwrap();
    let refused = try_one(&mut guessing, last, attacker, Some(user(1)), Is::Wrong).unwrap_err();
    assert_eq!(refused.retry_after, HOUR * 24);
    try_one(&mut guessing, last, owner, Some(user(1)), Is::Wrong).unwrap();
    try_one(&mut guessing, last, owner, Some(user(1)), Is::Right).unwrap();
}

#[test]
fn a_new_password_lets_the_owner_in_from_anywhere() {
    let mut guessing = Guessing::new(rules());
    let attacker = guess(way(1), "shop", Some("198.51.100.7"));
    let last = *guess_on(&mut guessing, s(0), attacker, Some(user(1)), 60).last().unwrap();
    let owner = guess(way(1), "shop", Some("192.0.2.9"));
    try_one(&mut guessing, last, owner, Some(user(1)), Is::Right).unwrap_err();
    guessing.forgive(last, user(1), [way(1), way(2)]);
    try_one(&mut guessing, last, owner, Some(user(1)), Is::Right).unwrap();
}

#[test]
fn one_address_cannot_try_one_password_on_everybody() {
    let mut guessing = Guessing::new(rules());
    let at = |number| guess(way(number), "shop", Some("2001:db8:1:2::1"));
    for number in 0..100 {
        try_one(&mut guessing, s(0), at(number), None, Is::Wrong).unwrap();
    }
    let refused = try_one(&mut guessing, s(0), at(100), None, Is::Wrong).unwrap_err();
    assert_eq!(refused, Refused { hindrance: Hindrance::Client, retry_after: s(2) });
    // The same line, another line, another company, and the owner who is known there.
    let neighbour = guess(way(101), "shop", Some("2001:db8:1:2:ffff::9"));
    try_one(&mut guessing, s(0), neighbour, None, Is::Wrong).unwrap_err();
    let elsewhere = guess(way(101), "shop", Some("2001:db8:1:3::1"));
    try_one(&mut guessing, s(0), elsewhere, None, Is::Wrong).unwrap();
    let other = guess(way(101), "bank", Some("2001:db8:1:2::1"));
    try_one(&mut guessing, s(0), other, None, Is::Wrong).unwrap();
    try_one(&mut guessing, s(2), at(100), None, Is::Wrong).unwrap();
}

#[test]
fn logins_that_are_right_use_up_nothing() {
    let mut guessing = Guessing::new(rules());
    for number in 0..10_000 {
        let guess = guess(way(number), "shop", Some("192.0.2.1"));
        try_one(&mut guessing, s(0), guess, Some(user(number)), Is::Right).unwrap();
    }
    let Snapshot { ways, accounts, clients, .. } = guessing.snapshot();
    assert_eq!((ways, accounts, clients), (0, 0, 0));
}

/// An attempt by a way that leads to two accounts; right for one of them, or for none.
fn try_both(
    guessing: &mut Guessing,
    now: Duration,
    guess: Guess,
    right: Option<UserId>,
) -> Result<bool, Refused> {
    let mut ticket = guessing.begin(now, guess)?;
    let (mut tried, mut refusal) = (false, None);
    for user in [user(1), user(2)] {
        match guessing.try_account(now, &mut ticket, user) {
            Ok(()) => tried = true,
            Err(refused) => {
                refusal = Some(refused);
                continue;
            }
        }
        if right == Some(user) {
            guessing.end(now, ticket, Ended::Right { user, sole: false });
            return Ok(true);
        }
    }
    let refused = refusal.filter(|_| !tried);
    guessing.end(now, ticket, if refused.is_some() { Ended::Undone } else { Ended::Wrong });
    refused.map_or(Ok(false), Err)
}

#[test]
fn an_accomplice_of_the_same_name_opens_no_way_to_guess_and_shuts_nobody_out() {
    let mut guessing = Guessing::new(rules());
    let owner = guess(way(1), "shop", Some("192.0.2.1"));
    let accomplice = guess(way(1), "shop", Some("198.51.100.7"));
    assert_eq!(try_both(&mut guessing, s(0), owner, Some(user(1))), Ok(true));
    assert_eq!(try_both(&mut guessing, s(0), accomplice, Some(user(2))), Ok(true));
    // Getting in with a password of one's own between guesses gives no more of them: beyond a few
    // the one who is not the accomplice is not tried any more.
    let (mut now, mut guesses_at_owner) = (s(10), 0);
    for _ in 0..200 {
        let before = guessing.accounts.get(&user(1)).map_or(0, |count| count.failures(now));
        let _ = try_both(&mut guessing, now, accomplice, None);
        let after = guessing.accounts.get(&user(1)).map_or(0, |count| count.failures(now));
        guesses_at_owner += after - before;
        let _ = try_both(&mut guessing, now, accomplice, Some(user(2)));
        now += Duration::from_millis(1);
    }
    assert!(guesses_at_owner <= 6, "{guesses_at_owner} guesses");
    assert_eq!(try_both(&mut guessing, now, owner, Some(user(1))), Ok(true));
    // Neither does an account that is stopped keep the other's owner out.
    let by_id = guess(Way::User(user(2)), "shop", Some("198.51.100.8"));
    let last = *guess_on(&mut guessing, now, by_id, Some(user(2)), 60).last().unwrap();
    assert_eq!(try_both(&mut guessing, last, owner, Some(user(1))), Ok(true));
    let elsewhere = guess(way(1), "shop", Some("203.0.113.5"));
    assert_eq!(try_both(&mut guessing, last, elsewhere, Some(user(1))), Ok(true));
}

#[test]
fn attempts_at_once_get_no_further_than_one_after_another() {
    let mut guessing = Guessing::new(rules());
    let guess = guess(way(1), "shop", None);
    let tickets: Vec<_> =
        std::iter::from_fn(|| guessing.begin(s(0), guess).ok()).take(1000).collect();
    assert_eq!(tickets.len(), 16);
    for ticket in tickets {
        guessing.end(s(1), ticket, Ended::Wrong);
    }
    assert_eq!(guessing.begin(s(1), guess).unwrap_err().retry_after, s(900));
    let _late = guessing.begin(s(901), guess).unwrap();
    let refused = guessing.begin(s(901), guess).unwrap_err();
    assert_eq!(refused.retry_after, s(1), "the one under way may fail too");
}

#[test]
fn a_million_accounts_are_counted_in_bounded_memory_and_push_nobody_out() {
    let mut guessing = Guessing::new(rules());
    let victim = guess(way(u64::MAX), "shop", None);
    guess_on(&mut guessing, s(0), victim, Some(user(1 << 40)), 8);
    let shop = victim.company;
    for number in 0..1_000_000 {
        let ended = if number % 4 == 0 { Is::Right } else { Is::Wrong };
        let address = IpAddr::from(u32::try_from(number).unwrap().to_be_bytes());
        let guess = Guess::new(way(number), shop, Some(address));
        try_one(&mut guessing, s(10), guess, Some(user(number)), ended).unwrap();
    }
    let Snapshot { ways, accounts, clients, known_clients, .. } = guessing.snapshot();
    assert_eq!((ways, accounts, clients, known_clients), (1000, 1000, 1000, 1000));
    assert_eq!(guessing.begin(s(10), victim).unwrap_err().hindrance, Hindrance::Account);
}

/// What a step of a random run does.
#[derive(Debug, Clone, Copy)]
struct Step {
    wait_ms: u64,
    way: u64,
    client: u8,
    ended: Is,
    /// Whether the attempt goes on while the next ones begin.
    slow: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let wait = prop_oneof![4 => 0_u64..2000, 1 => 0_u64..2_000_000];
    let ended = prop_oneof![
        12 => Just(Is::Wrong), 1 => Just(Is::Right), 1 => Just(Is::Undone)
    ];
    let step = (wait, 0_u64..3, 0_u8..4, ended, any::<bool>());
    let step = step.prop_map(|(wait_ms, way, client, ended, slow)| Step {
        wait_ms,
        way,
        client,
        ended,
        slow,
    });
    prop::collection::vec(step, 1..400)
}

proptest! {
    /// By whatever ways, from wherever, at once or one after another: between two right passwords,
    /// or a pause, no more than the greatest number of failures.
    #[test]
    fn an_account_never_has_more_failures_in_a_row_than_the_greatest_number(steps in steps()) {
        let rules = Rules { failures_max: 20, ..rules() };
        let mut guessing = Guessing::new(rules);
        let (mut now, mut open) = (s(0), Vec::new());
        let (mut in_a_row, mut last_failure) = (0, s(0));
        for step in steps {
            now += Duration::from_millis(step.wait_ms);
            let address = format!("192.0.2.{}", step.client);
            let guess = guess(way(step.way), "shop", Some(&address));
            if let Ok(ticket) = begin(&mut guessing, now, guess, Some(user(1))) {
                open.push((ticket, step.ended));
            }
            if step.slow {
                continue;
            }
            for (ticket, ended) in open.drain(..) {
                guessing.end(now, ticket, ended.ended(Some(user(1))));
                match ended {
                    Is::Wrong => {
                        let paused = now >= last_failure + rules.schedule.pause;
                        in_a_row = if paused { 1 } else { in_a_row + 1 };
                        last_failure = now;
                    }
                    Is::Right => in_a_row = 0,
                    Is::Undone => {}
                }
                prop_assert!(in_a_row <= 20, "{in_a_row} failures in a row");
            }
        }
    }

    /// Who waits as long as told is let through, if nobody else came meanwhile.
    #[test]
    fn the_wait_that_is_told_is_the_wait(steps in steps()) {
        let mut guessing = Guessing::new(rules());
        let mut now = s(0);
        for step in steps {
            now += Duration::from_millis(step.wait_ms);
            let address = format!("192.0.2.{}", step.client);
            let guess = guess(way(step.way), "shop", Some(&address));
            let account = Some(user(step.way));
            if let Err(refused) = try_one(&mut guessing, now, guess, account, step.ended) {
                let early = now + refused.retry_after.saturating_sub(Duration::from_nanos(1));
                prop_assert!(try_one(&mut guessing, early, guess, account, step.ended).is_err());
                now += refused.retry_after;
                let again = try_one(&mut guessing, now, guess, account, step.ended);
                prop_assert!(again.is_ok(), "{again:?}");
            }
        }
    }

    /// An identity that nobody has is let through and refused exactly as one that somebody has.
    #[test]
    fn an_identity_nobody_has_is_treated_alike(steps in steps()) {
        let mut guessing = Guessing::new(rules());
        let mut now = s(0);
        let mut outcomes: HashMap<bool, Vec<_>> = HashMap::new();
        for step in steps {
            now += Duration::from_millis(step.wait_ms);
            for there in [false, true] {
                let way = way(step.way + u64::from(there) * 1000);
                let address = format!("192.0.{}.{}", u8::from(there), step.client);
                let guess = guess(way, "shop", Some(&address));
                let account = there.then(|| user(step.way));
                let tried = try_one(&mut guessing, now, guess, account, Is::Wrong);
                outcomes.entry(there).or_default().push(tried);
            }
        }
        prop_assert_eq!(&outcomes[&false], &outcomes[&true]);
    }
}
