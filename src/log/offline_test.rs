//! Reading without a writer: a log that is only looked at, exports, verification.

use std::path::Path;

use crate::events::record::{LogPosition, Record};

use super::fixture::{DEPLOYMENT, Fixture, disk_files, folder, report, segment};
use super::sim_disk::SimDisk;
use super::*;

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
