//! Rates hold for whatever is asked when, and the waits they tell are right.

use proptest::prelude::*;

use super::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn limits(misses: Rate) -> Limits {
    let wide = Rate::new(1_000_000, ms(1000), 1_000_000);
    Limits::new(Rates { calls: wide, misses, claims: wide, failed_logins: wide })
}

fn key(name: &str) -> ApiKeyId {
    name.parse().unwrap()
}

#[test]
fn a_burst_is_taken_at_once_and_then_one_an_interval() {
    let mut limits = limits(Rate::new(2, ms(1000), 3));
    let one = key("one");
    for _ in 0..3 {
        limits.take(ms(0), one, Limit::Misses).unwrap();
    }
    let exceeded = limits.take(ms(100), one, Limit::Misses).unwrap_err();
    assert_eq!(exceeded, Exceeded { limit: Limit::Misses, retry_after: ms(400) });
    assert!(limits.take(ms(499), one, Limit::Misses).is_err());
    limits.take(ms(500), one, Limit::Misses).unwrap();
    limits.take(ms(500), key("other"), Limit::Misses).unwrap();
    limits.take(ms(500), one, Limit::Calls).unwrap();
    assert!(limits.refused().contains(&(Limit::Misses, 2)));
}

#[test]
fn what_is_given_back_can_be_taken_again_and_no_more_than_that() {
    let mut limits = limits(Rate::new(1, ms(1000), 2));
    let one = key("one");
    for _ in 0..100 {
        limits.take(ms(0), one, Limit::Misses).unwrap();
        limits.give_back(ms(0), one, Limit::Misses);
    }
    for _ in 0..5 {
        limits.give_back(ms(0), one, Limit::Misses);
    }
    limits.take(ms(0), one, Limit::Misses).unwrap();
    limits.take(ms(0), one, Limit::Misses).unwrap();
    assert!(limits.take(ms(0), one, Limit::Misses).is_err());
}

#[test]
fn what_is_owed_is_at_most_a_burst() {
    let mut limits = limits(Rate::new(1, ms(1000), 2));
    let one = key("one");
    limits.owe(ms(0), one, Limit::Misses, 1_000_000);
    assert_eq!(limits.take(ms(0), one, Limit::Misses).unwrap_err().retry_after, ms(3000));
    limits.take(ms(3000), one, Limit::Misses).unwrap();
}

#[test]
fn the_standing_is_what_can_be_taken() {
    let mut limits = limits(Rate::new(120, ms(60_000), 4));
    let one = key("one");
    let standing = |limits: &Limits, now| {
        let it = limits.standing(now, one, Limit::Misses);
        (it.quota, it.window, it.remaining, it.reset)
    };
    assert_eq!(standing(&limits, ms(0)), (4, ms(2000), 4, ms(0)));
    for left in (0..4).rev() {
        limits.take(ms(0), one, Limit::Misses).unwrap();
        assert_eq!(standing(&limits, ms(0)), (4, ms(2000), left, ms(500) * (4 - left)));
    }
    assert_eq!(standing(&limits, ms(1200)).2, 2);
    assert_eq!(standing(&limits, ms(9000)), (4, ms(2000), 4, ms(0)));
}

proptest! {
    /// In no stretch of time is more taken than the burst and what came back within it.
    #[test]
    fn no_stretch_of_time_has_more_than_its_share(
        burst in 1_u32..20,
        per_second in 1_u32..50,
        steps in prop::collection::vec(0_u64..300, 1..200),
    ) {
        let mut limits = limits(Rate::new(per_second, ms(1000), burst));
        let mut now = ms(0);
        let mut taken: Vec<Duration> = Vec::new();
        for step in steps {
            now += ms(step);
            if limits.take(now, key("one"), Limit::Misses).is_ok() {
                taken.push(now);
            }
        }
        for (index, from) in taken.iter().enumerate() {
            for (count, until) in taken[index..].iter().enumerate() {
                let passed = until.abs_diff(*from).as_millis();
                let came_back = passed * u128::from(per_second) / 1000 + 1;
                prop_assert!(count as u128 <= u128::from(burst) + came_back);
            }
        }
    }

    /// Who waits as long as told is let through, and who waits any less is not.
    #[test]
    fn the_wait_that_is_told_is_the_wait(
        burst in 1_u32..20,
        per_second in 1_u32..50,
        steps in prop::collection::vec(0_u64..100, 1..200),
    ) {
        let mut limits = limits(Rate::new(per_second, ms(1000), burst));
        let (mut now, one) = (ms(0), key("one"));
        for step in steps {
            now += ms(step);
            if let Err(exceeded) = limits.take(now, one, Limit::Misses) {
                let free = now + exceeded.retry_after;
                let early = free.saturating_sub(Duration::from_nanos(1));
                prop_assert!(limits.take(early, one, Limit::Misses).is_err());
                prop_assert!(limits.take(free, one, Limit::Misses).is_ok());
                now = free;
            }
        }
    }
}
