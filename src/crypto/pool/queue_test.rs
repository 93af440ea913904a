//! Tests of the scheduler: who is next, who is refused, what is estimated.

use std::num::NonZeroUsize;

use super::*;

const A: Share = Share::new(1);
const B: Share = Share::new(2);
const C: Share = Share::new(3);

/// A job of this much work, in milliseconds.
const fn ms(work: u64) -> u64 {
    work * 1000
}

fn queue(threads: usize, room: usize, max_wait_ms: u64) -> Queue<&'static str> {
    let at_least_one = |count| NonZeroUsize::new(count).unwrap();
    Queue::new(PoolConfig {
        threads: at_least_one(threads),
        lanes: at_least_one(1),
        queue: at_least_one(room),
        max_wait: Duration::from_millis(max_wait_ms),
    })
}

impl Queue<&'static str> {
    fn login(&mut self, share: Share, work: u64) -> Result<(), Duration> {
        self.push(share, Priority::Login, work, "login")
    }
}

#[test]
fn logins_come_before_background_work_of_whomever() {
    let mut queue = queue(1, 100, 60_000);
    queue.push(A, Priority::Background, ms(10), "bulk").unwrap();
    queue.push(B, Priority::Login, ms(10), "b").unwrap();
    queue.push(A, Priority::Login, ms(10), "a").unwrap();
    let order: Vec<_> = std::iter::from_fn(|| queue.take()).map(|(_, job)| job).collect();
    assert_eq!(order, ["a", "b", "bulk"]);
}

#[test]
fn a_share_may_take_what_is_free_and_no_more() {
    let mut queue = queue(1, 100, 60_000);
    let mut fill = |share| (0..100).take_while(|_| queue.login(share, 1).is_ok()).count();
    assert_eq!([fill(A), fill(B), fill(C)], [50, 25, 13]);
    assert_eq!(fill(A), 0, "what it had stays its own");
    assert_eq!(queue.waiting(), 88);
    for share in 10..22 {
        queue.login(Share::new(share), 1).unwrap();
    }
    assert_eq!((queue.waiting(), queue.shares()), (100, 15));
    assert!(queue.login(Share::new(99), 1).is_err(), "the line is full");
    queue.push(A, Priority::Background, 1, "bulk").unwrap();
}

#[test]
fn a_wait_is_estimated_by_what_is_served_before() {
    let mut queue = queue(2, 1000, 2000);
    assert_eq!(queue.wait(A, Priority::Login), Duration::ZERO);
    let mut taken = 0;
    while queue.login(A, ms(100)).is_ok() {
        taken += 1;
    }
    // Two threads: 40 jobs take 2 s; one more may still stand behind them.
    assert_eq!(taken, 41);
    assert_eq!(queue.login(A, ms(100)), Err(Duration::from_millis(2050)));
    assert_eq!(queue.backlog(), Duration::from_millis(2050));
    assert_eq!(queue.wait(B, Priority::Login), Duration::ZERO);
    queue.take().unwrap();
    queue.take().unwrap();
    // Both threads are busy, half done on the average.
    assert_eq!(queue.wait(B, Priority::Login), Duration::from_millis(50));
    assert_eq!(queue.wait(B, Priority::Background), Duration::from_secs(2));
    queue.login(B, ms(100)).unwrap();
    assert_eq!(queue.wait(B, Priority::Login), Duration::from_millis(100));
}

#[test]
fn a_backlog_goes_down_as_fast_as_all_lanes_together() {
    let six = NonZeroUsize::new(6).unwrap();
    let config = queue(2, 1000, 60_000).config;
    let mut queue = Queue::new(PoolConfig { lanes: six, ..config });
    for _ in 0..82 {
        queue.login(A, ms(100)).unwrap();
    }
    // One alone would take 8.2 s, two threads half of that, six lanes each 4.1 times less.
    assert_eq!(queue.wait(A, Priority::Login), Duration::from_secs(1));
    for _ in 0..12 {
        queue.take().unwrap();
    }
    // Everything is taken: the first of the twelve ends after a twelfth of what they take.
    assert_eq!(queue.wait(B, Priority::Login).as_millis(), 100 / 2 * 10 / 41);
}

#[test]
fn nobody_is_told_to_stay_away_for_more_than_a_minute() {
    let mut queue = queue(1, 1000, 0);
    queue.login(A, ms(600_000)).unwrap();
    assert_eq!(queue.login(A, 1), Err(MAX_RETRY_AFTER));
}

#[test]
fn background_work_is_not_refused_for_its_wait() {
    let mut queue = queue(1, 100, 1);
    for _ in 0..50 {
        queue.push(A, Priority::Background, ms(60), "bulk").unwrap();
    }
    assert_eq!(queue.push(A, Priority::Background, 1, "bulk"), Err(Duration::from_secs(3)));
    queue.login(A, ms(60)).unwrap();
}

#[test]
fn a_slower_machine_is_learnt() {
    let mut queue = queue(1, 1000, 60_000);
    for _ in 0..64 {
        queue.login(A, ms(60)).unwrap();
        let (turn, _) = queue.take().unwrap();
        queue.done(turn, Duration::from_millis(180));
    }
    for _ in 0..10 {
        queue.login(A, ms(60)).unwrap();
    }
    let wait = queue.wait(A, Priority::Login);
    assert!((1650..=1800).contains(&wait.as_millis()), "{wait:?}");
}

#[test]
fn jobs_of_no_account_teach_nothing_about_others() {
    let mut queue = queue(1, 1000, 60_000);
    for _ in 0..1000 {
        queue.login(A, 10).unwrap();
        let (turn, _) = queue.take().unwrap();
        queue.done(turn, Duration::from_micros(400));
    }
    queue.login(A, ms(60)).unwrap();
    let wait = queue.wait(A, Priority::Login);
    assert!((60..=70).contains(&wait.as_millis()), "{wait:?}");
}

#[test]
fn what_runs_is_counted_until_it_is_settled() {
    let mut queue = queue(2, 100, 60_000);
    queue.login(A, ms(60)).unwrap();
    queue.login(A, ms(60)).unwrap();
    let (one, _) = queue.take().unwrap();
    let (other, _) = queue.take().unwrap();
    assert_eq!(queue.running(), 2);
    queue.skipped(one);
    assert_eq!(queue.running(), 1);
    queue.done(other, Duration::from_millis(60));
    assert_eq!((queue.running(), queue.running_work, queue.waiting()), (0, 0, 0));
}

#[test]
fn a_cleared_queue_gives_nothing_and_settles_what_runs() {
    let mut queue = queue(1, 100, 60_000);
    queue.login(A, ms(60)).unwrap();
    queue.login(B, ms(60)).unwrap();
    let (turn, _) = queue.take().unwrap();
    queue.clear();
    assert!(queue.take().is_none());
    queue.done(turn, Duration::from_millis(60));
    assert_eq!((queue.running(), queue.waiting()), (0, 0));
}
