//! Seals between records: kept, read, cut with what they belong to.

use super::fixture::{Fixture, HandClock, folder, foreign, open, options, origin, report};
use super::{Batch, ChainEnd, Entry, StoredRecord};
use crate::events::record::LogPosition;

fn entries(fixture: &Fixture) -> Vec<Entry> {
    fixture.log.reader().entries(LogPosition::START, None).collect::<Result<_, _>>().unwrap()
}

#[test]
fn a_seal_lies_behind_its_records_and_is_no_record() {
    let fixture = Fixture::new();
    fixture.append_own(0..2);
    let (records, _) = foreign(origin("peer", 3), ChainEnd::EMPTY, 3);
    fixture.append(Batch::Sealed(records, b"a seal".as_slice().into())).unwrap();
    fixture.append_own(2..3);
    let entries = entries(&fixture);
    let seals: Vec<_> = entries
        .iter()
        .enumerate()
        .filter_map(|(at, entry)| match entry {
            Entry::Seal { seal, .. } => Some((at, seal.as_ref())),
            Entry::Record(StoredRecord { .. }) => None,
        })
        .collect();
    assert_eq!(seals, [(5, b"a seal".as_slice())]);
    assert_eq!((entries.len(), fixture.stored().len()), (7, 6));
    let Entry::Seal { next, .. } = &entries[5] else { panic!() };
    let behind: Vec<_> = fixture.log.reader().scan(*next, None).collect();
    assert_eq!(behind.len(), 1, "a scan may start behind a seal");
    let disk = fixture.close();
    let report = report(&disk, &folder());
    assert_eq!((report.records, report.findings.len()), (6, 0));
    let (log, opened) = open(&disk, options(&HandClock::default())).unwrap();
    assert_eq!(opened.cut_bytes, 0);
    assert_eq!(log.reader().entries(LogPosition::START, None).count(), 7);
}

#[test]
fn a_flipped_bit_of_a_seal_is_damage_below_the_durable_end() {
    let fixture = Fixture::new();
    let (records, _) = foreign(origin("peer", 3), ChainEnd::EMPTY, 1);
    fixture.append(Batch::Sealed(records, b"a seal".as_slice().into())).unwrap();
    fixture.append_own(0..1);
    fixture.append_own(1..2);
    let disk = fixture.close();
    let path = super::fixture::segment(1);
    let mut bytes = disk.content(&path).unwrap();
    let at = bytes.windows(6).position(|window| window == b"a seal").unwrap();
    bytes[at] ^= 1;
    disk.overwrite(&path, &bytes);
    assert!(open(&disk, options(&HandClock::default())).is_err());
    assert_eq!(report(&disk, &folder()).findings.len(), 1);
}

#[test]
fn a_seal_that_is_no_seal_refuses_its_run_alone() {
    let fixture = Fixture::new();
    for seal in [Vec::new(), vec![1; 1025]] {
        let (records, _) = foreign(origin("peer", 3), ChainEnd::EMPTY, 1);
        assert!(fixture.append(Batch::Sealed(records, seal.into())).is_err());
    }
    fixture.append_own(0..1);
    assert_eq!(fixture.stored().len(), 1);
}
