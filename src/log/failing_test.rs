//! Full disks, failed writes and syncs: what comes back by itself, and what stops the log.

use super::fixture::{
    Fixture, HandClock, folder, new_record, open, options, origin, own, report, segment,
};
use super::sim_disk::{Faults, SimDisk};
use super::*;

#[test]
fn a_full_disk_returns_sequence_and_chain_and_lets_go_when_there_is_space() {
    let fixture = Fixture::new();
    fixture.append_own(0..2);
    let (end, chain) = (fixture.log.durable(), fixture.log.vector());
    let (first, second) = fixture.while_held(|| {
        fixture.disk.set_faults(Faults { full_after_writes: Some(0), ..Faults::default() });
        let first = fixture.send(0, own(2..4)).unwrap();
        (first, fixture.send(0, own(4..5)).unwrap())
    });
    for answer in [first, second] {
        let Err(AppendError::Failed { epoch: 1, source }) = answer.recv().unwrap() else {
            panic!("it was taken");
        };
        assert!(matches!(&*source, LogError::Io { doing: "write", .. }));
    }
    assert_eq!((fixture.log.durable(), fixture.log.vector()), (end, chain));
    assert_eq!(fixture.disk.content(&segment(1)).unwrap().len(), end.offset() as usize);
    let full = LogStatus::ReadOnly { reason: ReadOnlyReason::DiskFull };
    assert_eq!(fixture.writer.status(), full);
    let refused = fixture.send(1, own(2..3)).unwrap_err();
    assert_eq!(refused.reason, Refusal::ReadOnly(ReadOnlyReason::DiskFull));
    // What writes nothing is still answered.
    fixture.append(Batch::Own(Vec::new())).unwrap();
    fixture.clock.advance(1000);
    let positions = fixture.append_own(2..4);
    assert_eq!(positions[0], end);
    assert_eq!(fixture.log.chain_end(&origin("n1", 1)).unwrap().sequence, 4);
    let snapshot = fixture.writer.snapshot();
    assert_eq!((snapshot.failures, snapshot.epoch), (1, 1));
    assert!(snapshot.last_error.unwrap().contains("cannot write"));
    let disk = fixture.close();
    assert!(report(&disk, &folder()).is_sound());
}

#[test]
fn a_failed_group_does_not_come_back_after_a_crash() {
    for seed in 0..30 {
        let fixture = Fixture::new();
        fixture.append_own(0..2);
        fixture.disk.set_faults(Faults { full_after_writes: Some(0), ..Faults::default() });
        let failed = fixture.append(Batch::Own(vec![new_record(2, 9000)]));
        assert!(matches!(failed, Err(AppendError::Failed { .. })));
        let disk = fixture.close();
        disk.crash(seed);
        let (log, opened) = open(&disk, options(&HandClock::default())).unwrap();
        assert_eq!(opened.cut_bytes, 0);
        assert_eq!(log.chain_end(&origin("n1", 1)).unwrap().sequence, 2);
    }
}

#[test]
fn a_new_segment_that_finds_no_space_fails_like_any_write() {
    let fixture = Fixture::with(SimDisk::new(), |options| options.segment_bytes = 200);
    fixture.append_own(0..1);
    fixture.disk.set_faults(Faults { full_after_writes: Some(0), ..Faults::default() });
    let failed = fixture.append(own(1..2));
    assert!(matches!(failed, Err(AppendError::Failed { epoch: 1, .. })));
    fixture.clock.advance(1000);
    let position = fixture.append_own(1..2)[0];
    assert_eq!(position.segment(), 2);
    assert_eq!(fixture.stored().len(), 2);
}

#[test]
fn watermarks_warn_and_stop_and_the_log_comes_back_by_itself() {
    let fixture = Fixture::new();
    fixture.disk.set_space(100, 15);
    fixture.clock.advance(1000);
    assert_eq!(fixture.writer.status(), LogStatus::Warned { used_percent: 85 });
    fixture.append_own(0..1);
    fixture.disk.set_space(100, 5);
    // Not looked at yet: at most once a second.
    fixture.append_own(1..2);
    fixture.clock.advance(1000);
    let reason = ReadOnlyReason::Watermark { used_percent: 95 };
    let refused = fixture.send(0, own(2..3)).unwrap_err();
    assert_eq!(refused.reason, Refusal::ReadOnly(reason));
    assert_eq!(fixture.log.snapshot().status, LogStatus::ReadOnly { reason });
    fixture.disk.set_space(100, 50);
    fixture.clock.advance(1000);
    fixture.append_own(2..3);
    assert_eq!(fixture.writer.epoch(), 0);
}

#[test]
fn a_stale_epoch_is_refused_until_the_decider_has_caught_up() {
    let fixture = Fixture::new();
    fixture.disk.set_faults(Faults { full_after_writes: Some(0), ..Faults::default() });
    assert!(fixture.append(own(0..1)).is_err());
    fixture.clock.advance(1000);
    let refused = fixture.send(0, own(0..1)).unwrap_err();
    assert_eq!(refused.reason, Refusal::Stale { epoch: 1, disk_full: true });
    fixture.writer.append(Append { epoch: 1, ..refused.append }).unwrap();
    fixture.append(Batch::Own(Vec::new())).unwrap();
    assert_eq!(fixture.stored().len(), 1);
}

#[test]
fn a_failed_sync_stops_the_log_for_good() {
    let fixture = Fixture::new();
    fixture.append_own(0..1);
    let end = fixture.log.durable();
    let answers = fixture.while_held(|| {
        fixture.disk.set_faults(Faults { sync_fails_after: Some(0), ..Faults::default() });
        [fixture.send(0, own(1..2)).unwrap(), fixture.send(0, own(2..3)).unwrap()]
    });
    for answer in answers {
        assert!(matches!(answer.recv().unwrap(), Err(AppendError::Stopped(_))));
    }
    assert!(fixture.fatal.recv().unwrap().contains("cannot sync"));
    assert_eq!(fixture.writer.status(), LogStatus::Stopped);
    let refused = fixture.send(0, own(3..4)).unwrap_err();
    assert_eq!(refused.reason, Refusal::Stopped);
    assert_eq!(fixture.log.durable(), end);
    fixture.writer.close();
    assert!(fixture.fatal.try_recv().is_err(), "it was told twice");
}

#[test]
fn a_write_that_cannot_be_undone_stops_the_log() {
    let fixture = Fixture::new();
    let faults = Faults { full_after_writes: Some(0), set_len_fails: true, ..Faults::default() };
    fixture.disk.set_faults(faults);
    assert!(matches!(fixture.append(own(0..1)), Err(AppendError::Stopped(_))));
    assert!(fixture.fatal.recv().unwrap().contains("cannot cut"));
    assert_eq!(fixture.writer.status(), LogStatus::Stopped);
}

#[test]
fn a_panicking_answer_stops_the_log_instead_of_hanging_it() {
    let fixture = Fixture::new();
    let done = Box::new(|_| panic!("a test's panic"));
    fixture.writer.append(Append { epoch: 0, batch: own(0..1), done }).unwrap();
    fixture.writer.close();
    assert_eq!(fixture.send(0, own(1..2)).unwrap_err().reason, Refusal::Stopped);
}
