//! The table of jobs: turns, room, rows that are kept.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use uuid::Uuid;

use super::jobs::{Bounds, Full, Job, Jobs};
use super::note::{Note, State};
use super::verdict::Counts;

const BOUNDS: Bounds = Bounds {
    company_bytes: 100,
    total_bytes: 150,
    lines: 10,
    at_once: 2,
    company_at_once: 1,
    company_jobs: 10,
    in_flight: 4,
    keep_ms: 1000,
    upload: Duration::from_secs(10),
    fill_percent: 95,
};

pub(super) fn job(number: u128, company: &str) -> Arc<Job> {
    let note = Note {
        version: 1,
        company: company.parse().unwrap(),
        key: "key".parse().unwrap(),
        country: "NG".parse().unwrap(),
        dry_run: false,
        request: None,
        state: State::Queued,
        lines: 1,
        rows: 1,
        verdict_bytes: 0,
        waiting: 0,
        sealed_key: String::new(),
        branch: crate::events::ids::BranchKeyId([0; 16]),
        created_ms: 0,
        received_ms: None,
        cancel_asked: false,
        started_ms: None,
        finished_ms: None,
        counts: Counts::default(),
    };
    Arc::new(Job::new(Uuid::from_u128(number), note, 0))
}

#[test]
fn companies_take_turns_and_none_runs_more_than_it_may() {
    let mut jobs = Jobs::default();
    for (number, company) in [(1, "a"), (2, "a"), (3, "a"), (4, "b"), (5, "c")] {
        jobs.insert(job(number, company));
    }
    let mut order = Vec::new();
    let mut next = |jobs: &mut Jobs| {
        let number = jobs.next(&BOUNDS).map(|job| job.number.as_u128());
        order.extend(number);
        number
    };
    assert_eq!(next(&mut jobs), Some(1));
    assert_eq!(next(&mut jobs), Some(4), "a runs one already");
    assert_eq!(next(&mut jobs), None, "two run");
    for done in [1, 4] {
        jobs.get(Uuid::from_u128(done)).unwrap().change(|note| note.state = State::Done);
        jobs.ended(Uuid::from_u128(done));
    }
    assert_eq!(next(&mut jobs), Some(5), "c had no turn yet");
    assert_eq!(next(&mut jobs), Some(2));
    assert_eq!(order, [1, 4, 5, 2]);
}

#[test]
fn a_company_has_its_part_of_the_disk_and_all_together_have_theirs() {
    let mut jobs = Jobs::default();
    let (one, two, other) = (job(1, "a"), job(2, "a"), job(3, "b"));
    for job in [&one, &two, &other] {
        jobs.insert(Arc::clone(job));
    }
    let room_for = |bytes| jobs.room_for(&one, bytes, u64::MAX, &BOUNDS);
    assert_eq!(room_for(100), Ok(()));
    assert_eq!(room_for(101), Err(Full::TooLong));
    two.bytes.store(60, Ordering::Relaxed);
    assert_eq!(room_for(41), Err(Full::Company));
    other.bytes.store(80, Ordering::Relaxed);
    assert_eq!(room_for(40), Err(Full::Total));
    assert_eq!(room_for(10), Ok(()));
    // What a job is yet to write is its own as what it has written.
    two.reserved.store(95, Ordering::Relaxed);
    assert_eq!(room_for(6), Err(Full::Company));
}

#[test]
fn the_disk_is_not_filled_by_what_jobs_are_yet_to_write() {
    let mut jobs = Jobs::default();
    let (one, other) = (job(1, "a"), job(2, "b"));
    for job in [&one, &other] {
        jobs.insert(Arc::clone(job));
    }
    other.bytes.store(20, Ordering::Relaxed);
    other.reserved.store(50, Ordering::Relaxed);
    let room_for = |bytes, disk| jobs.room_for(&one, bytes, disk, &BOUNDS);
    assert_eq!(room_for(10, 41), Ok(()));
    assert_eq!(room_for(10, 40), Err(Full::Disk));
    one.bytes.store(10, Ordering::Relaxed);
    assert_eq!(room_for(10, 31), Ok(()), "what is there is no more to come");
    assert_eq!(room_for(0, 0), Err(Full::Disk));
}

#[test]
fn the_oldest_rows_are_those_of_a_job_that_is_over_while_they_are_there() {
    let mut jobs = Jobs::default();
    assert_eq!(jobs.oldest_rows(), None);
    for (number, created_ms) in [(1, 500), (2, 900)] {
        let job = job(number, "a");
        job.change(|note| note.created_ms = created_ms);
        jobs.insert(job);
    }
    let first = jobs.get(Uuid::from_u128(1)).unwrap();
    assert!(jobs.unsettled().is_empty());
    first.change(|note| note.state = State::Done);
    assert_eq!((jobs.oldest_rows(), jobs.unsettled().len()), (Some(500), 1));
    first.has_rows.store(false, Ordering::Relaxed);
    assert_eq!((jobs.oldest_rows(), jobs.unsettled().len()), (Some(900), 0));
    jobs.unread().insert("019a7b3c-5d6e-7f80-8a91-b2c3d4e5f607".parse().unwrap());
    assert_eq!(jobs.oldest_rows(), Some(900), "that one came in 2025");
    jobs.unread().insert(Uuid::from_u128(7));
    assert_eq!(jobs.oldest_rows(), Some(0), "nobody knows when");
}
