//! Blanked bodies are gone for ever, through crashes at every step, and nothing else changes.

use crate::events::codec;
use crate::events::ids::Digest;
use crate::events::record::{LogPosition, Record};

use super::fixture::{
    Fixture, HandClock, folder, new_record, open, options, origin, report, segment,
};
use super::sim_disk::{Faults, SimDisk};
use super::*;

/// A disk with a closed log of two segments, and where its records lie.
fn filled() -> (SimDisk, Vec<LogPosition>) {
    let fixture = Fixture::with(SimDisk::new(), |options| options.segment_bytes = 1500);
    let mut positions = Vec::new();
    for number in 0..4 {
        let records = vec![new_record(number * 2, 700), new_record(number * 2 + 1, 900)];
        let committed = fixture.append(Batch::Own(records)).unwrap();
        positions.extend(committed.placed.iter().map(|placed| placed.position));
    }
    (fixture.close(), positions)
}

fn scan(log: &Log) -> Vec<StoredRecord> {
    log.reader().scan(LogPosition::START, None).collect::<Result<_, _>>().unwrap()
}

#[test]
fn a_blanked_body_is_gone_and_everything_else_stays() {
    let (disk, positions) = filled();
    let (log, _) = open(&disk, options(&HandClock::default())).unwrap();
    let before = scan(&log);
    log.blank(&[positions[1], positions[6]]).unwrap();
    let after = scan(&log);
    for (index, (before, after)) in before.iter().zip(&after).enumerate() {
        assert_eq!(before.record.header, after.record.header);
        let gone = index == 1 || index == 6;
        assert_eq!(after.record.body.is_none(), gone, "record {index}");
        let read = log.reader().read_at(after.position).unwrap();
        assert_eq!(read, after.record);
    }
    let body = before[1].record.body.as_deref().unwrap();
    let path = segment(positions[1].segment());
    let content = disk.content(&path).unwrap();
    assert!(!content.windows(16).any(|window| window == &body[..16]));
    let reference = codec::decode_header(&before[1].record.header).unwrap().reference();
    assert!(log.is_barred(&reference));
    let report = report(&disk, &folder());
    assert!(report.is_sound(), "{:?}", report.findings);
    assert_eq!((report.records, report.blanked), (8, 2));
}

#[test]
fn what_a_failed_sync_left_in_memory_is_gone_when_it_is_blanked_again() {
    for seed in 0..20 {
        let (disk, positions) = filled();
        let (log, _) = open(&disk, options(&HandClock::default())).unwrap();
        let body = scan(&log)[1].record.body.clone().unwrap();
        // The erase list is synced, the segment is not.
        disk.set_faults(Faults { sync_fails_after: Some(1), ..Faults::default() });
        log.blank(&[positions[1]]).unwrap_err();
        disk.set_faults(Faults::default());
        log.blank(&[positions[1]]).unwrap();
        disk.crash(seed);
        let content = disk.content(&segment(positions[1].segment())).unwrap();
        assert!(!content.windows(16).any(|window| window == &body[..16]), "seed {seed}");
    }
}

#[test]
fn blanking_survives_a_crash_at_every_step() {
    let (disk, positions) = filled();
    let pristine = disk.image();
    let wanted = [positions[0], positions[3], positions[7]];
    for step in 0.. {
        for seed in 0..20 {
            let disk = SimDisk::new();
            open(&disk, options(&HandClock::default())).unwrap();
            for (path, content) in &pristine {
                disk.overwrite(path, content);
            }
            let (log, _) = open(&disk, options(&HandClock::default())).unwrap();
            disk.set_faults(Faults { power_off_after: Some(step), ..Faults::default() });
            let done = log.blank(&wanted).is_ok();
            drop(log);
            disk.crash(seed);
            // What was said to be gone is gone from the disk.
            for position in wanted.iter().filter(|_| done) {
                let content = disk.content(&segment(position.segment())).unwrap();
                let body_at = position.offset() as usize + 300;
                assert!(content[body_at..body_at + 500].iter().all(|byte| *byte == 0));
            }
            // Offline first: a copy made now must be readable as it is.
            let reader =
                LogReader::open_path(&super::fixture::disk_files(&disk), &folder()).unwrap();
            let copied = reader.scan(LogPosition::START, None).collect::<Result<Vec<_>, _>>();
            assert_eq!(copied.unwrap().len(), 8, "step {step} seed {seed}");
            let (log, _) = open(&disk, options(&HandClock::default())).unwrap();
            for stored in scan(&log) {
                let header = codec::decode_header(&stored.record.header).unwrap();
                let listed = log.is_barred(&header.reference());
                let is_wanted = wanted.contains(&stored.position);
                assert!(!listed || is_wanted);
                assert!(!done || !is_wanted || listed, "step {step} seed {seed}");
                assert_eq!(stored.record.body.is_none(), listed, "step {step} seed {seed}");
            }
            if done && seed == 19 {
                return;
            }
        }
    }
}

#[test]
fn an_erased_body_does_not_come_back_from_a_peer_or_a_backup() {
    let (disk, positions) = filled();
    let backup = disk.content(&segment(1)).unwrap();
    let (log, _) = open(&disk, options(&HandClock::default())).unwrap();
    let own: Vec<Record> = scan(&log).into_iter().map(|stored| stored.record).collect();
    log.blank(&positions[..1]).unwrap();
    drop(log);
    disk.overwrite(&segment(1), &backup);
    let (log, opened) = open(&disk, options(&HandClock::default())).unwrap();
    assert_eq!(opened.blanked, 1);
    assert_eq!(log.reader().read_at(positions[0]).unwrap().body, None);
    drop(log);
    // The segments are lost, the erase list is not: the records come back from a peer.
    let list = folder().join("erase.list");
    let kept = disk.content(&list).unwrap();
    let disk = SimDisk::new();
    disk.overwrite(&list, &kept);
    let fixture = Fixture::with(disk, |_| {});
    let mut lives_on = own;
    lives_on.truncate(2);
    // The first life's records, taken in by its second life.
    let header = codec::decode_header(&lives_on[0].header).unwrap();
    assert_eq!(header.origin, origin("n1", 1));
    let fixture = {
        let disk = fixture.close();
        let (log, _) = open(&disk, options(&HandClock::default())).unwrap();
        let writer = log.start_writer(origin("n1", 2), Box::new(|_| {})).unwrap();
        Fixture {
            disk,
            log,
            writer,
            clock: HandClock::default(),
            fatal: std::sync::mpsc::channel().1,
        }
    };
    fixture.append(Batch::Foreign(lives_on)).unwrap();
    let bodies: Vec<bool> = fixture.stored().iter().map(|s| s.record.body.is_some()).collect();
    assert_eq!(bodies, [false, true]);
}

#[test]
fn a_broken_body_that_is_not_in_the_erase_list_is_damage() {
    let (disk, positions) = filled();
    let path = segment(positions[0].segment());
    let mut content = disk.content(&path).unwrap();
    let body_at = positions[0].offset() as usize + 400;
    content[body_at] ^= 1;
    disk.overwrite(&path, &content);
    let (log, _) = open(&disk, options(&HandClock::default())).unwrap();
    let error = log.reader().read_at(positions[0]).unwrap_err();
    let LogError::Damage { segment, offset, fault, .. } = error else { panic!("{error}") };
    assert_eq!((segment, offset), (1, u64::from(positions[0].offset())));
    assert_eq!(fault, Fault::BodyChecksum);
    let first = log.reader().scan(LogPosition::START, None).next().unwrap();
    assert!(matches!(first, Err(LogError::Damage { .. })));
}

#[test]
fn a_torn_erase_list_is_cut_and_a_damaged_one_refused() {
    let (disk, positions) = filled();
    let (log, _) = open(&disk, options(&HandClock::default())).unwrap();
    log.blank(&positions[..1]).unwrap();
    log.blank(&positions[1..2]).unwrap();
    drop(log);
    let path = folder().join("erase.list");
    let whole = disk.content(&path).unwrap();
    assert_eq!(whole.len(), 32 + 200);
    disk.overwrite(&path, &whole[..whole.len() - 7]);
    drop(open(&disk, options(&HandClock::default())).unwrap());
    assert_eq!(disk.content(&path).unwrap().len(), 32 + 100);
    let mut damaged = whole;
    damaged[40] ^= 1;
    disk.overwrite(&path, &damaged);
    let error = open(&disk, options(&HandClock::default())).err().unwrap();
    let LogError::Damage { offset, fault, .. } = error else { panic!("{error}") };
    assert_eq!((offset, fault), (32, Fault::EraseEntry));
    assert_eq!(disk.content(&path).unwrap(), damaged);
}

#[test]
fn what_was_never_durable_cannot_be_blanked() {
    let fixture = Fixture::new();
    let beyond = LogPosition::new(1, fixture.log.durable().offset());
    assert!(matches!(fixture.log.blank(&[beyond]), Err(LogError::Beyond { .. })));
    assert_eq!(Digest::ZERO, ChainEnd::EMPTY.head);
}
