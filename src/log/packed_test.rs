//! Packed exports: as good as the log they were made of, in any number of segments, and with any
//! kind of damage told by its place.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use crate::events::ids::Digest;
use crate::events::record::{LogPosition, Record};
use crate::files::Files;

use super::export::{ExportReport, write};
use super::fixture::{Fixture, disk_files, own, report};
use super::pack::{BLOCK_HEAD_BYTES, BlockHead, END_BYTES, HEAD_BYTES, encode_head};
use super::*;

/// Longer than a block.
const EVENTS: u64 = 9000;

fn path() -> &'static Path {
    Path::new("/data/out.jcas")
}

/// A log, and an export of all of it in segments that end once they are so long.
fn exported(events: u64, segment_bytes: u32) -> (Fixture, ExportReport) {
    let fixture = Fixture::new();
    for from in (0..events).step_by(1000) {
        fixture.append(own(from..(from + 1000).min(events))).unwrap();
    }
    let files = disk_files(&fixture.disk);
    let file = files.open(path(), true).unwrap();
    let reader = fixture.log.reader();
    let all = (&reader, LogPosition::START, None);
    let made = write(file, path(), all, segment_bytes, &mut |_, _| true, &mut |_, _| true).unwrap();
    (fixture, made)
}

fn records(reader: &LogReader) -> Result<Vec<Record>, LogError> {
    reader.scan(LogPosition::START, None).map(|read| Ok(read?.record)).collect()
}

fn open(fixture: &Fixture) -> Result<LogReader, LogError> {
    LogReader::open_path(&disk_files(&fixture.disk), path())
}

/// Where the blocks' heads start, and the end.
fn places(bytes: &[u8]) -> (Vec<usize>, usize) {
    let (mut at, mut found) = (HEAD_BYTES, Vec::new());
    while let Some(head) = bytes[at..].first_chunk().and_then(BlockHead::parse) {
        found.push(at);
        at += BLOCK_HEAD_BYTES + head.packed_len as usize;
    }
    assert_eq!(at + END_BYTES, bytes.len());
    (found, at)
}

#[test]
fn a_packed_export_in_one_segment_or_several_is_read_like_the_log() {
    for (segment_bytes, expected) in [(u32::MAX, 1..=1), (1_200_000, 2..=3), (1, 8..=12)] {
        let (fixture, made) = exported(EVENTS, segment_bytes);
        let all: Vec<Record> = fixture.stored().into_iter().map(|it| it.record).collect();
        let reader = open(&fixture).unwrap();
        assert!(records(&reader).unwrap() == all, "{segment_bytes}");
        let (first, segments) = reader.segments();
        assert!(first == 1 && expected.contains(&segments), "{segment_bytes}: {segments}");
        let file = fixture.disk.content(path()).unwrap();
        assert_eq!(made.bytes, file.len() as u64);
        assert!(made.bytes * 2 < made.unpacked_bytes, "{made:?}");
        assert_eq!(made.records, EVENTS);
        let (blocks, _) = places(&file);
        let last: &[u8; BLOCK_HEAD_BYTES] = file[blocks[blocks.len() - 1]..].first_chunk().unwrap();
        assert_eq!(BlockHead::parse(last).unwrap().segment, segments);
        let found = report(&fixture.disk, path());
        assert!(found.is_sound(), "{:?}", found.findings);
        assert_eq!(
            (found.records, found.segments, found.bytes),
            (EVENTS, segments, made.unpacked_bytes)
        );
        // It is a log in itself: any event is found by a segment's head, and read where it lies.
        for stored in reader.scan(LogPosition::START, None).map(Result::unwrap).step_by(997) {
            let header = crate::events::codec::decode_header(&stored.record.header).unwrap();
            let near = reader.near(&header.reference()).unwrap();
            assert_eq!(near.segment(), stored.position.segment());
            assert_eq!(reader.read_at(stored.position).unwrap(), stored.record);
        }
        assert_ne!(made.digest, Digest::ZERO);
    }
}

#[test]
fn any_changed_byte_of_a_packed_export_is_seen_and_named_by_its_place() {
    let (fixture, made) = exported(EVENTS, u32::MAX);
    let whole = fixture.disk.content(path()).unwrap();
    let (blocks, end) = places(&whole);
    assert_eq!(blocks.len(), 3);
    let of_block = |at: usize| {
        let block = blocks.iter().rposition(|start| *start <= at).unwrap();
        let is_head = at < blocks[block] + BLOCK_HEAD_BYTES;
        (blocks[block] + if is_head { 0 } else { BLOCK_HEAD_BYTES }, is_head)
    };
    let within = (HEAD_BYTES..end).step_by(1999);
    let heads = blocks.iter().flat_map(|at| [*at, at + 9, at + 30, at + BLOCK_HEAD_BYTES - 1]);
    for at in within.chain(heads) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fixture.disk.overwrite(path(), &bytes);
        let (place, is_head) = of_block(at);
        let error = open(&fixture).and_then(|reader| records(&reader)).unwrap_err();
        let LogError::Damage { offset, fault, .. } = &error else { panic!("{at}: {error:?}") };
        let expected = if is_head { Fault::BlockHead } else { Fault::BlockDigest };
        assert_eq!((*offset, *fault), (place as u64, expected), "{at}");
    }
    // What lies in other blocks can still be read.
    let mut bytes = whole.clone();
    bytes[blocks[1] + BLOCK_HEAD_BYTES + 5] ^= 1;
    fixture.disk.overwrite(path(), &bytes);
    let found = report(&fixture.disk, path());
    let at = (blocks[1] + BLOCK_HEAD_BYTES) as u64;
    let block = Problem::Block { at, fault: Fault::BlockDigest };
    assert!(found.findings.iter().any(|it| it.problem == block), "{:?}", found.findings);
    assert!(!found.is_sound() && found.records > EVENTS / 4 && found.records < EVENTS);
    bytes[blocks[1] + 12] ^= 1;
    fixture.disk.overwrite(path(), &bytes);
    let found = report(&fixture.disk, path());
    let head = Problem::Block { at: blocks[1] as u64, fault: Fault::BlockHead };
    assert!(found.findings.iter().any(|it| it.problem == head), "{:?}", found.findings);
    assert!(found.records > EVENTS / 4 && found.records < made.records);
}

#[test]
fn wherever_a_packed_export_is_cut_that_is_said_with_what_it_holds() {
    let (fixture, _) = exported(EVENTS, u32::MAX);
    let whole = fixture.disk.content(path()).unwrap();
    let (blocks, end) = places(&whole);
    for len in [blocks[1], blocks[1] + 10, blocks[2] + 90, end, end + 7, whole.len() - 1] {
        fixture.disk.overwrite(path(), &whole[..len]);
        assert!(matches!(open(&fixture), Err(LogError::Unfinished { .. })), "{len}");
        let found = report(&fixture.disk, path());
        let last = found.findings.last().unwrap();
        assert_eq!((&last.problem, last.position), (&Problem::Unfinished, found.end), "{len}");
        assert!(found.records > 0 && found.records <= EVENTS, "{len}");
    }
    let behind = [&whole[..], b"more"].concat();
    fixture.disk.overwrite(path(), &behind);
    assert!(matches!(open(&fixture), Err(LogError::Unfinished { .. })));
    // Less than the first block is no export.
    for len in [0, 10, HEAD_BYTES, HEAD_BYTES + 30, blocks[0] + 1000] {
        fixture.disk.overwrite(path(), &whole[..len]);
        assert!(open(&fixture).is_err(), "{len}");
    }
}

#[test]
fn blocks_of_other_exports_or_in_another_order_are_refused() {
    let (fixture, _) = exported(EVENTS, u32::MAX);
    let (other, _) = exported(EVENTS + 50, u32::MAX);
    let (one, two) = (fixture.disk.content(path()).unwrap(), other.disk.content(path()).unwrap());
    let ((blocks, end), (of_two, end_two)) = (places(&one), places(&two));
    let refused = |parts: &[&[u8]]| {
        fixture.disk.overwrite(path(), &parts.concat());
        let error = open(&fixture).and_then(|reader| records(&reader)).unwrap_err();
        let LogError::Damage { fault, .. } = error else { panic!("{error:?}") };
        fault
    };
    let second = &one[blocks[1]..blocks[2]];
    let gone = refused(&[&one[..blocks[1]], &one[blocks[2]..]]);
    let twice = refused(&[&one[..blocks[2]], second, &one[blocks[2]..]]);
    let turned = refused(&[&one[..blocks[1]], &one[blocks[2]..end], second, &one[end..]]);
    assert_eq!([gone, twice, turned], [Fault::BlockPlace; 3]);
    let mixed = refused(&[&one[..blocks[2]], &two[of_two[2]..end_two], &one[end..]]);
    assert_eq!(mixed, Fault::End);
}

/// A file of one block that says of itself what it wants.
fn crafted(content: &[u8], says: u32) -> Vec<u8> {
    let mut packing =
        flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    packing.write_all(content).unwrap();
    let packed = packing.finish().unwrap();
    let packed_len = u32::try_from(packed.len()).unwrap();
    let digest = crate::events::codec::digest(&packed);
    let head = BlockHead { segment: 1, offset: 0, len: says, packed_len, digest };
    let mut end = super::pack::End::EMPTY;
    end.add(&head);
    [&encode_head()[..], &head.encode(), &packed, &end.encode()].concat()
}

#[test]
fn a_block_that_grows_beyond_what_it_says_is_refused_at_once() {
    let fixture = Fixture::new();
    let bomb = vec![0; 64 << 20];
    for (says, fault) in [
        (1000, Some(Fault::BlockContent)),
        (1 << 20, Some(Fault::BlockContent)),
        // No block says that, so there is none.
        (64 << 20, None),
        (0, None),
    ] {
        fixture.disk.overwrite(path(), &crafted(&bomb, says));
        let error = open(&fixture).map(|_| ()).unwrap_err();
        match (&error, fault) {
            (LogError::Damage { fault, .. }, Some(expected)) => assert_eq!(*fault, expected),
            (
                LogError::Head { .. } | LogError::Unfinished { .. } | LogError::Damage { .. },
                None,
            ) => {}
            _ => panic!("{says}: {error:?}"),
        }
    }
    // Less than it says is no better.
    fixture.disk.overwrite(path(), &crafted(&[0; 500], 501));
    let error = open(&fixture).map(|_| ()).unwrap_err();
    assert!(matches!(error, LogError::Damage { fault: Fault::BlockContent, .. }), "{error:?}");
    // What unpacks well and is no log is told as that.
    fixture.disk.overwrite(path(), &crafted(&[7; 500], 500));
    assert!(matches!(open(&fixture), Err(LogError::Head { .. })));
}

#[test]
fn a_newer_packed_export_is_refused_by_its_version() {
    let (fixture, _) = exported(10, u32::MAX);
    let mut bytes = fixture.disk.content(path()).unwrap();
    bytes[8] = 2;
    let crc = crc32c::crc32c(&bytes[..12]).to_le_bytes();
    bytes[12..16].copy_from_slice(&crc);
    fixture.disk.overwrite(path(), &bytes);
    assert!(matches!(open(&fixture), Err(LogError::Newer { version: 2, known: 1, .. })));
    bytes[8] = 1;
    fixture.disk.overwrite(path(), &bytes);
    assert!(matches!(open(&fixture), Err(LogError::Head { .. })), "its checksum is of another");
}

#[test]
fn a_segment_of_a_packed_export_is_for_reading() {
    let (fixture, _) = exported(10, u32::MAX);
    let files: Arc<dyn Files> = disk_files(&fixture.disk);
    let file = files.open_read(path()).unwrap();
    let packed = Arc::new(super::packed::Packed::open(file, path()).unwrap());
    let segment = packed.segment(1);
    assert!(segment.write_all_at(&[1], 0).is_err() && segment.set_len(0).is_err());
    let len = segment.len().unwrap();
    assert!(segment.read_exact_at(&mut [0; 8], len - 7).is_err());
    assert_eq!(packed.segment(2).len().unwrap(), 0);
    segment.sync_data().unwrap();
}
