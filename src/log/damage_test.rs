//! What is torn, damaged or foreign: cut, or refused with its place.

use crate::events::ids::DeploymentId;
use crate::events::record::LogPosition;

use super::fixture::{
    DEPLOYMENT, Fixture, HandClock, disk_files, folder, open, options, origin, own, report, segment,
};
use super::sim_disk::{Faults, SimDisk};
use super::*;

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
