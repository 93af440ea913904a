//! What the log holds beside crashes: chains, order, bounds, closing.

use crate::events::codec;
use crate::events::ids::{DeploymentId, Digest};
use crate::events::record::{LogPosition, Record};
use crate::events::stamp::{EventRef, Revision};

use super::fixture::{
    Fixture, HandClock, folder, foreign, new_record, open, options, origin, own, report,
};
use super::sim_disk::SimDisk;
use super::*;

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
fn what_may_be_gathered_is_written_alone_with_others_and_before_what_is_urgent() {
    let fixture = Fixture::new();
    let send = |number: u64, urgency| {
        let (sender, answer) = std::sync::mpsc::channel();
        let done = Box::new(move |result: Result<Committed, _>| drop(sender.send(result)));
        let append = Append { epoch: 0, batch: own(number..number + 1), done };
        fixture.writer.append_when(append, urgency).unwrap();
        answer
    };
    let first = send(0, Urgency::Gathered).recv().unwrap().unwrap();
    let before = fixture.writer.snapshot().groups;
    let held = fixture.while_held(|| [1, 2, 3].map(|number| send(number, Urgency::Gathered)));
    let together = held.map(|answer| answer.recv().unwrap().unwrap());
    assert_eq!(fixture.writer.snapshot().groups - before, 1);
    // The last group was of several: this one waits for others, and there are none.
    let alone = send(4, Urgency::Gathered).recv().unwrap().unwrap();
    let (gathered, urgent) = (send(5, Urgency::Gathered), send(6, Urgency::AtOnce));
    let (gathered, urgent) = (gathered.recv().unwrap().unwrap(), urgent.recv().unwrap().unwrap());
    let placed = [&first, &together[0], &together[2], &alone, &gathered, &urgent];
    let positions: Vec<_> = placed.iter().map(|committed| committed.placed[0].position).collect();
    assert!(positions.is_sorted(), "{positions:?}");
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
