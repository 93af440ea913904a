//! What the log holds beside crashes: chains, order, bounds, failures, damage, offline reading.

use std::path::Path;

use crate::events::codec;
use crate::events::ids::{DeploymentId, Digest};
use crate::events::record::{LogPosition, Record};
use crate::events::stamp::{EventRef, Revision};

use super::fixture::{
    DEPLOYMENT, Fixture, HandClock, disk_files, folder, foreign, new_record, open, options, origin,
    report, segment,
};
use super::sim_disk::{Faults, SimDisk};
use super::*;

fn own(numbers: std::ops::Range<u64>) -> Batch {
    Batch::Own(numbers.map(|number| new_record(number, 60)).collect())
}

#[test]
fn records_are_numbered_and_chained_and_come_back_in_order() {
    let fixture = Fixture::new();
    fixture.append_own(0..3);
    fixture.append_own(3..5);
    let mut last = ChainEnd::EMPTY;
    for (stored, number) in fixture.stored().iter().zip(0..) {
        let header = codec::decode_header(&stored.record.header).unwrap();
        assert_eq!((header.sequence, header.previous), (last.sequence + 1, last.head));
        assert_eq!(header.origin, origin("n1", 1));
        assert_eq!(stored.record.body, Some(new_record(number, 60).body));
        last = ChainEnd { sequence: header.sequence, head: codec::digest(&stored.record.header) };
        codec::decode_record(&stored.record).unwrap();
    }
    assert_eq!(last.sequence, 5);
    assert_eq!(fixture.log.chain_end(&origin("n1", 1)), Some(last));
}

#[test]
fn opening_again_finds_vector_revision_and_end() {
    let fixture = Fixture::with(SimDisk::new(), |options| options.segment_bytes = 2000);
    for number in 0..20 {
        fixture.append_own(number * 2..number * 2 + 2);
    }
    let (records, peer_end) = foreign(origin("peer", 3), ChainEnd::EMPTY, 3);
    fixture.append(Batch::Foreign(records)).unwrap();
    let (vector, end) = (fixture.log.vector(), fixture.log.durable());
    assert!(end.segment() > 3);
    let disk = fixture.close();
    let (log, opened) = open(&disk, options(&HandClock::default())).unwrap();
    assert_eq!((&opened.vector, opened.end, opened.cut_bytes), (&vector, end, 0));
    assert_eq!(opened.vector[&origin("peer", 3)], peer_end);
    let greatest = Revision::from_unix_ms(1_700_000_000_000 + 1_000_002);
    assert_eq!(opened.greatest_revision, greatest);
    let life = origin("n1", 1);
    assert_eq!(opened.last_life(life.region, life.node), Some((life, vector[&life])));
    assert_eq!(opened.last_life(life.region, "n2".parse().unwrap()), None);
    // Only the last segment was read, so the heads must have carried the rest.
    let report = report(&disk, &folder());
    assert_eq!((&report.vector, report.findings.len()), (&vector, 0));
    assert_eq!((report.records, report.end), (43, end));
    drop(log);
}

#[test]
fn a_scan_can_start_at_any_record_and_end_at_any() {
    let fixture = Fixture::with(SimDisk::new(), |options| options.segment_bytes = 1500);
    for number in 0..6 {
        fixture.append_own(number * 3..number * 3 + 3);
    }
    let all = fixture.stored();
    let reader = fixture.log.reader();
    for (index, from) in all.iter().enumerate() {
        let rest: Vec<_> = reader.scan(from.position, None).map(Result::unwrap).collect();
        assert_eq!(rest, all[index..]);
        let before: Vec<_> =
            reader.scan(LogPosition::START, Some(from.position)).map(Result::unwrap).collect();
        assert_eq!(before, all[..index]);
        let behind: Vec<_> = reader.scan(from.next, None).map(Result::unwrap).collect();
        assert_eq!(behind, all[index + 1..]);
        assert_eq!(reader.read_at(from.position).unwrap(), from.record);
    }
    assert!(matches!(reader.read_at(fixture.log.durable()), Err(LogError::Beyond { .. })));
}

#[test]
fn near_finds_the_segment_of_an_event() {
    let fixture = Fixture::with(SimDisk::new(), |options| options.segment_bytes = 1200);
    let mut positions = Vec::new();
    for number in 0..30 {
        positions.extend(fixture.append_own(number..number + 1));
    }
    let reader = fixture.log.reader();
    for (position, sequence) in positions.iter().zip(1..) {
        let reference = EventRef { origin: origin("n1", 1), sequence };
        assert_eq!(reader.near(&reference).unwrap().segment(), position.segment());
    }
}

#[test]
fn appends_are_answered_in_order_with_one_sync_for_all_that_wait() {
    let fixture = Fixture::new();
    let before = fixture.writer.snapshot();
    let answers: Vec<_> = fixture.while_held(|| {
        (0..50).map(|number| fixture.send(0, own(number..number + 1)).unwrap()).collect()
    });
    let mut last = LogPosition::START;
    for answer in answers {
        let committed = answer.recv().unwrap().unwrap();
        assert!(committed.placed[0].position > last);
        last = committed.placed[0].position;
    }
    fixture.append(Batch::Own(Vec::new())).unwrap();
    let after = fixture.writer.snapshot();
    assert_eq!((after.groups - before.groups, after.syncs - before.syncs), (1, 1));
    assert_eq!((after.records, after.queue_appends, after.queue_bytes), (50, 0, 0));
    assert_eq!(after.durable, fixture.writer.durable());
    let json = serde_json::to_value(&after).unwrap();
    assert_eq!(json["status"], "writable");
}

#[test]
fn delivered_follows_durable_when_all_are_answered() {
    let fixture = Fixture::new();
    fixture.append_own(0..1);
    let before = fixture.log.delivered();
    let (sender, answer) = std::sync::mpsc::channel();
    let writer = fixture.writer.clone();
    let done = Box::new(move |_| {
        sender.send((writer.durable(), writer.delivered())).unwrap();
    });
    fixture.writer.append(Append { epoch: 0, batch: own(1..2), done }).unwrap();
    let (durable, delivered) = answer.recv().unwrap();
    assert!(durable > delivered);
    assert!(delivered <= before.max(delivered) && before <= durable);
    let Fixture { log, writer, .. } = fixture;
    writer.close();
    assert_eq!((log.delivered(), log.durable()), (durable, durable));
}

#[test]
fn a_full_queue_refuses_at_once_and_hands_the_append_back() {
    let fixture = Fixture::with(SimDisk::new(), |options| {
        options.queue_appends = 3;
        options.queue_bytes = 2000;
    });
    let last = fixture.while_held(|| {
        fixture.send(0, own(0..1)).unwrap();
        fixture.send(0, own(1..2)).unwrap();
        let last = fixture.send(0, own(2..3)).unwrap();
        let refused = fixture.send(0, own(3..4)).unwrap_err();
        assert_eq!(refused.reason, Refusal::Busy);
        assert_eq!(refused.append.batch, own(3..4));
        last
    });
    last.recv().unwrap().unwrap();
    fixture.while_held(|| {
        let long = || Batch::Own(vec![new_record(9, 1200)]);
        fixture.send(0, long()).unwrap();
        assert_eq!(fixture.send(0, long()).unwrap_err().reason, Refusal::Busy);
    });
    let endless = Batch::Own(vec![new_record(10, 3000)]);
    let refused = fixture.send(0, endless).unwrap_err();
    assert!(matches!(refused.reason, Refusal::TooLarge { max: 2000, .. }));
}

#[test]
fn others_records_are_taken_only_next_in_their_chain_and_fail_alone() {
    let fixture = Fixture::new();
    let peer = origin("peer", 1);
    let (records, end) = foreign(peer, ChainEnd::EMPTY, 4);
    let (later, _) = foreign(peer, end, 2);
    let refused = |batch: Vec<Record>| {
        let before = fixture.log.durable();
        let Err(AppendError::Refused(error)) = fixture.append(Batch::Foreign(batch)) else {
            panic!("it was taken");
        };
        assert_eq!(fixture.log.durable(), before);
        error
    };
    let error = refused(later.clone());
    assert!(matches!(error, BatchError::NotNext { expected: 1, .. }));
    fixture.append(Batch::Foreign(records[..2].to_vec())).unwrap();
    let error = refused(records.clone());
    assert!(matches!(error, BatchError::NotNext { expected: 3, .. }));
    let (other, _) = foreign(peer, ChainEnd { sequence: 2, head: Digest([1; 32]) }, 1);
    assert!(matches!(refused(other), BatchError::Forked { .. }));
    let mut wrong = records[2].clone();
    wrong.body = records[3].body.clone();
    assert!(matches!(refused(vec![wrong]), BatchError::Body { .. }));
    let (echo, _) = foreign(origin("n1", 1), ChainEnd::EMPTY, 1);
    assert!(matches!(refused(echo), BatchError::Echo { .. }));
    let broken = Record { header: Box::new([9, 9]), body: None };
    assert!(matches!(refused(vec![broken]), BatchError::Header(_)));
    // In one group with others the bad batch alone fails, and what follows it goes on.
    let (good, bad, last) = fixture.while_held(|| {
        let good = fixture.send(0, Batch::Foreign(records[2..3].to_vec())).unwrap();
        let bad = fixture.send(0, Batch::Foreign(vec![records[3].clone(), later[1].clone()]));
        let last = fixture.send(0, Batch::Foreign(records[3..].to_vec())).unwrap();
        (good, bad.unwrap(), last)
    });
    assert!(good.recv().unwrap().is_ok());
    assert!(matches!(bad.recv().unwrap(), Err(AppendError::Refused(_))));
    assert!(last.recv().unwrap().is_ok());
    assert_eq!(fixture.writer.epoch(), 0);
    let stored: Vec<Record> = fixture.stored().into_iter().map(|s| s.record).collect();
    assert_eq!(stored, records);
}

#[test]
fn another_deployments_records_are_refused_by_name() {
    let fixture = Fixture::new();
    let other = DeploymentId([8; 16]);
    let new = new_record(1, 10);
    let mut header =
        codec::decode_header(&foreign(origin("peer", 1), ChainEnd::EMPTY, 1).0[0].header).unwrap();
    header.deployment = other;
    let record = Record { header: codec::encode_header(&header).unwrap(), body: Some(new.body) };
    let result = fixture.append(Batch::Foreign(vec![record]));
    let Err(AppendError::Refused(BatchError::Foreign { deployment, .. })) = result else {
        panic!("it was taken");
    };
    assert_eq!(deployment, other);
}

#[test]
fn a_torn_tail_is_cut_and_reported() {
    let fixture = Fixture::new();
    fixture.append_own(0..3);
    let end = fixture.log.durable();
    fixture.append_own(3..6);
    let disk = fixture.close();
    let content = disk.content(&segment(1)).unwrap();
    for cut_at in end.offset() as usize + 1..content.len() {
        disk.overwrite(&segment(1), &content[..cut_at]);
        let torn = report(&disk, &folder());
        assert!(torn.is_sound() && torn.end == end, "{:?}", torn.findings);
        let (log, opened) = open(&disk, options(&HandClock::default())).unwrap();
        assert_eq!((opened.end, opened.cut_bytes), (end, cut_at as u64 - u64::from(end.offset())));
        assert_eq!(log.chain_end(&origin("n1", 1)).unwrap().sequence, 3);
        assert_eq!(disk.content(&segment(1)).unwrap().len(), end.offset() as usize);
    }
}

#[test]
fn a_last_batch_with_a_hole_is_torn_even_if_its_commit_frame_is_whole() {
    let fixture = Fixture::new();
    fixture.append_own(0..3);
    let end = fixture.log.durable();
    let hole = fixture.append_own(3..6)[1].offset() as usize;
    let disk = fixture.close();
    let mut content = disk.content(&segment(1)).unwrap();
    content[hole..hole + 100].fill(0);
    disk.overwrite(&segment(1), &content);
    assert!(report(&disk, &folder()).is_sound());
    let (_, opened) = open(&disk, options(&HandClock::default())).unwrap();
    assert_eq!(opened.end, end);
}

#[test]
fn damage_below_a_durable_end_is_refused_with_its_place_and_nothing_is_touched() {
    let fixture = Fixture::new();
    let first = fixture.append_own(0..3);
    let commit = fixture.log.durable();
    fixture.append_own(3..6);
    fixture.append_own(6..7);
    let disk = fixture.close();
    let content = disk.content(&segment(1)).unwrap();
    for at in first[0].offset()..commit.offset() {
        let mut damaged = content.clone();
        damaged[at as usize] ^= 0x10;
        disk.overwrite(&segment(1), &damaged);
        let image = disk.image();
        let error = open(&disk, options(&HandClock::default())).err().unwrap();
        let LogError::Damage { path, segment: number, offset, .. } = error else {
            panic!("byte {at}: {error}");
        };
        assert_eq!((path, number), (segment(1), 1));
        assert!(offset <= u64::from(at), "byte {at}: said {offset}");
        assert_eq!(disk.image(), image);
        let report = report(&disk, &folder());
        let damage = |finding: &Finding| matches!(finding.problem, Problem::Damage { .. });
        assert!(report.findings.iter().any(damage), "byte {at}: {:?}", report.findings);
        assert!(!report.is_sound());
        let reader = LogReader::open_path(&disk_files(&disk), &folder()).unwrap();
        assert!(reader.scan(LogPosition::START, None).any(|read| read.is_err()), "byte {at}");
    }
}

#[test]
fn a_record_in_anothers_place_is_damage_though_its_checksums_are_right() {
    let fixture = Fixture::new();
    let first = fixture.append_own(0..3);
    let commit = fixture.log.durable().offset() - 36;
    fixture.append_own(3..4);
    let disk = fixture.close();
    let mut content = disk.content(&segment(1)).unwrap();
    let at = |index: usize| first[index].offset() as usize;
    content.copy_within(at(1)..at(2), at(2));
    disk.overwrite(&segment(1), &content);
    let error = open(&disk, options(&HandClock::default())).err().unwrap();
    let LogError::Damage { offset, fault, .. } = error else { panic!("{error}") };
    assert_eq!((offset, fault), (u64::from(commit), Fault::CommitCover));
}

#[test]
fn what_an_opening_found_survives_a_later_crash() {
    for seed in 0..20 {
        let fixture = Fixture::new();
        fixture.append_own(0..1);
        fixture.disk.set_faults(Faults { sync_fails_after: Some(0), ..Faults::default() });
        assert!(fixture.append(own(1..2)).is_err());
        // The process dies and starts anew; what it wrote is in the machine's memory only.
        let disk = fixture.close();
        disk.set_faults(Faults::default());
        let (log, opened) = open(&disk, options(&HandClock::default())).unwrap();
        assert_eq!(opened.vector[&origin("n1", 1)].sequence, 2);
        drop(log);
        disk.crash(seed);
        let (_, again) = open(&disk, options(&HandClock::default())).unwrap();
        assert_eq!(again.vector, opened.vector);
    }
}

#[test]
fn a_segment_that_is_cut_short_or_missing_is_refused() {
    let fixture = Fixture::with(SimDisk::new(), |options| options.segment_bytes = 1000);
    for number in 0..12 {
        fixture.append_own(number..number + 1);
    }
    let last = fixture.log.durable().segment();
    let disk = fixture.close();
    let path = segment(last - 1);
    let content = disk.content(&path).unwrap();
    disk.overwrite(&path, &content[..content.len() - 1]);
    let error = open(&disk, options(&HandClock::default())).err().unwrap();
    assert!(matches!(error, LogError::Damage { fault: Fault::Short, .. }), "{error}");
    crate::files::Files::remove(&disk, &path).unwrap();
    let error = open(&disk, options(&HandClock::default())).err().unwrap();
    let LogError::Missing { number, .. } = error else { panic!("{error}") };
    assert_eq!(number, last - 1);
    crate::files::Files::remove(&disk, &segment(1)).unwrap();
    let error = open(&disk, options(&HandClock::default())).err().unwrap();
    assert!(matches!(error, LogError::Missing { .. }), "{error}");
}

#[test]
fn foreign_newer_and_damaged_heads_are_told_apart() {
    let fixture = Fixture::new();
    fixture.append_own(0..1);
    let disk = fixture.close();
    let mut other = options(&HandClock::default());
    other.deployment = DeploymentId([8; 16]);
    let image = disk.image();
    let error = open(&disk, other).err().unwrap();
    let LogError::Foreign { path, found, .. } = error else { panic!("{error}") };
    assert_eq!((path, found), (segment(1), DEPLOYMENT));
    assert_eq!(disk.image(), image);
    let content = disk.content(&segment(1)).unwrap();
    let mut newer = content.clone();
    newer[8] = 2;
    let crc = crc32c::crc32c(&newer[..60]).to_le_bytes();
    newer[60..64].copy_from_slice(&crc);
    disk.overwrite(&segment(1), &newer);
    let error = open(&disk, options(&HandClock::default())).err().unwrap();
    assert!(matches!(error, LogError::Newer { version: 2, known: 1, .. }), "{error}");
    for at in 0..64 {
        let mut damaged = content.clone();
        damaged[at] ^= 1;
        disk.overwrite(&segment(1), &damaged);
        let error = open(&disk, options(&HandClock::default())).err().unwrap();
        assert!(matches!(error, LogError::Head { offset: 0, .. }), "byte {at}: {error}");
    }
    disk.overwrite(&segment(1), &content[..30]);
    let error = open(&disk, options(&HandClock::default())).err().unwrap();
    assert!(matches!(error, LogError::Head { .. }), "{error}");
}

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
fn closing_writes_what_waits_and_takes_no_more() {
    let fixture = Fixture::new();
    let answers = fixture
        .while_held(|| (0..5).map(|n| fixture.send(0, own(n..n + 1)).unwrap()).collect::<Vec<_>>());
    fixture.writer.close();
    for answer in answers {
        answer.recv().unwrap().unwrap();
    }
    assert_eq!(fixture.send(0, own(9..10)).unwrap_err().reason, Refusal::Stopped);
    assert!(matches!(
        fixture.log.start_writer(origin("n1", 2), Box::new(|_| {})),
        Err(LogError::WriterRunning)
    ));
}

#[test]
fn a_panicking_answer_stops_the_log_instead_of_hanging_it() {
    let fixture = Fixture::new();
    let done = Box::new(|_| panic!("a test's panic"));
    fixture.writer.append(Append { epoch: 0, batch: own(0..1), done }).unwrap();
    fixture.writer.close();
    assert_eq!(fixture.send(0, own(1..2)).unwrap_err().reason, Refusal::Stopped);
}

#[test]
fn an_offline_reader_sees_what_is_committed_and_touches_nothing() {
    let fixture = Fixture::with(SimDisk::new(), |options| options.segment_bytes = 1500);
    for number in 0..10 {
        fixture.append_own(number..number + 1);
    }
    let all = fixture.stored();
    let disk = fixture.close();
    let last = segment(all.last().unwrap().position.segment());
    let mut torn = disk.content(&last).unwrap();
    torn.extend_from_slice(&[0xec, 0x52, 1, 2, 3]);
    disk.overwrite(&last, &torn);
    let image = disk.image();
    let reader = LogReader::open_path(&disk_files(&disk), &folder()).unwrap();
    assert_eq!(reader.deployment(), DEPLOYMENT);
    let read: Vec<_> = reader.scan(LogPosition::START, None).map(Result::unwrap).collect();
    assert_eq!(read, all);
    // One segment alone.
    let reader = LogReader::open_path(&disk_files(&disk), &segment(2)).unwrap();
    let read: Vec<_> = reader.scan(LogPosition::START, None).map(Result::unwrap).collect();
    let of_two: Vec<_> = all.into_iter().filter(|s| s.position.segment() == 2).collect();
    assert_eq!(read, of_two);
    assert_eq!(disk.image(), image);
}

#[test]
fn an_export_is_read_like_a_log_without_the_bodies_that_were_not_wanted() {
    let fixture = Fixture::new();
    fixture.append_own(0..10);
    let files = disk_files(&fixture.disk);
    let path = Path::new("/data/out.jcas");
    let reader = fixture.log.reader();
    let written = export(
        &files,
        path,
        &reader,
        (LogPosition::START, None),
        &mut |header, _| header.sequence != 4,
        &mut |header, _| header.sequence != 7,
    )
    .unwrap();
    assert_eq!((written.records, written.blanked), (9, 1));
    assert_eq!(written.bytes, fixture.disk.content(path).unwrap().len() as u64);
    fixture.disk.crash(1);
    let exported = LogReader::open_path(&disk_files(&fixture.disk), path).unwrap();
    let records: Vec<Record> =
        exported.scan(LogPosition::START, None).map(|read| read.unwrap().record).collect();
    let mut expected: Vec<Record> = fixture.stored().into_iter().map(|s| s.record).collect();
    expected[6].body = None;
    expected.remove(3);
    assert_eq!(records, expected);
    let report = report(&fixture.disk, path);
    let breaks = |finding: &Finding| matches!(finding.problem, Problem::Gap { .. });
    assert!(report.is_sound() && !report.findings.iter().any(breaks), "{:?}", report.findings);
}

#[test]
fn verify_lists_gaps_and_chain_breaks_by_place() {
    let fixture = Fixture::with(SimDisk::new(), |options| options.segment_bytes = 1000);
    let mut positions = Vec::new();
    for number in 0..12 {
        positions.extend(fixture.append_own(number..number + 1));
    }
    let disk = fixture.close();
    // A batch in the middle of the first segment is made unreadable.
    let path = segment(1);
    let mut content = disk.content(&path).unwrap();
    content[positions[1].offset() as usize + 20] ^= 1;
    disk.overwrite(&path, &content);
    let report = report(&disk, &folder());
    assert_eq!(report.findings[0].position, positions[1]);
    let fault = Fault::HeaderChecksum;
    assert_eq!(report.findings[0].problem, Problem::Damage { fault });
    let Problem::Gap { reference, expected } = report.findings[1].problem else {
        panic!("{:?}", report.findings);
    };
    assert_eq!((reference.sequence, expected), (3, 2));
    assert_eq!((report.records, report.findings_total), (11, 2));
    serde_json::to_string(&report).unwrap();
}
