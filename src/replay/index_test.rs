//! What is found with indexes is what is found without, whatever the index files hold.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use crate::events::codec;
use crate::events::event::{Cause, Draft, Event, OriginDistrusted, UsersLinked};
use crate::events::ids::{DeploymentId, UserId};
use crate::events::pair::Pair;
use crate::events::record::Subject;
use crate::events::stamp::{EffectiveTime, Incarnation, Origin, Revision};
use crate::files::{Disk, Files};
use crate::log::{Append, Batch, Log, LogOptions, LogReader, NewRecord};

use super::history::History;
use super::index::BY_USER;
use super::timeline::{Read, about};

const START: u64 = 1_700_000_000_000;
const USERS: u8 = 9;
const EVENTS: u64 = 600;

fn user(number: u8) -> UserId {
    UserId::new(START, [number; 10])
}

fn origin(node: &str) -> Origin {
    let incarnation = Incarnation { counter: 1, tag: 7 };
    Origin { region: "eu".parse().unwrap(), node: node.parse().unwrap(), incarnation }
}

/// What happens as the event of this number: now and then something between two users, and once
/// somebody is distrusted.
fn event(number: u64) -> (Subject, Event) {
    let of = |number: u64| user(u8::try_from(number % u64::from(USERS)).unwrap());
    if number == EVENTS / 2 {
        let it = OriginDistrusted {
            origin: origin("gone"),
            from_sequence: 1,
            and_later_lives: true,
            signature: Box::default(),
        };
        return (Subject::Deployment, Event::OriginDistrusted(it));
    }
    if number.is_multiple_of(25) {
        let pair = Pair::new(of(number), of(number + 3)).unwrap();
        return (Subject::Pair(pair), Event::UsersLinked(UsersLinked { pair, automatic: false }));
    }
    let joined = Event::CompanyJoined(format!("c{number}").parse().unwrap());
    (Subject::User(of(number * 7)), joined)
}

/// A log of many short segments. Revisions are not in the log's order.
fn log_in(folder: &Path, skew: u64) -> LogReader {
    let options = LogOptions::new(DeploymentId([1; 16]), Arc::new(|| Duration::ZERO));
    let options =
        LogOptions { warn_percent: 99, stop_percent: 100, segment_bytes: 20_000, ..options };
    let (log, _) = Log::open(files(), folder, options).unwrap();
    let writer = log.start_writer(origin("n1"), Box::new(|_| ())).unwrap();
    for number in 0..EVENTS {
        let (subject, event) = event(number);
        let revision = Revision::from_unix_ms(START + number * 10 + (number % 7) * skew);
        let (effective, cause) = (EffectiveTime::at(revision), Cause::default());
        let draft = Draft { subject, revision, effective, cause, event };
        let record = NewRecord::new(&draft, u128::from(number + skew).to_le_bytes()).unwrap();
        let (tell, told) = mpsc::channel();
        let done = Box::new(move |done| tell.send(done).unwrap());
        let batch = Batch::Own(vec![record]);
        writer.append(Append { epoch: writer.epoch(), batch, done }).unwrap();
        told.recv().unwrap().unwrap();
    }
    writer.close();
    LogReader::open_path(&files(), folder).unwrap()
}

fn files() -> Arc<dyn Files> {
    Arc::new(Disk)
}

fn index_all(reader: &LogReader) -> u32 {
    let (first, last) = reader.segments();
    (first..=last).map(|at| u32::from(reader.make_index(at, &BY_USER).unwrap())).sum()
}

/// What there is about every user at some times, and how many events were passed for it.
fn answers(folder: &Path) -> (Vec<String>, u64) {
    let history = History::open(&files(), &[folder.to_owned()]).unwrap();
    let mut passed_in_all = 0;
    let mut answers = Vec::new();
    let until = [None, Some(0), Some(1500), Some(3017), Some(5990)];
    for until in until.map(|it| it.map(|after| Revision::from_unix_ms(START + after))) {
        let history = history.until(until);
        for number in 0..USERS {
            let users = BTreeSet::from([user(number), user((number * 5) % USERS)]);
            let mut passed = 0;
            let read = about(&history, &users, |events| passed = events).unwrap();
            passed_in_all += passed;
            let told = |it: &Read| format!("{it:?}");
            answers.extend(read.iter().map(told));
        }
    }
    (answers, passed_in_all)
}

fn idx(folder: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        paths.filter(|it| it.extension().is_some_and(|it| it == "idx")).collect();
    paths.sort();
    paths
}

#[test]
fn with_indexes_the_same_is_found_by_reading_less() {
    for skew in [0, 400] {
        let folder = tempfile::tempdir().unwrap();
        let reader = log_in(folder.path(), skew);
        let (without, passed) = answers(folder.path());
        let (_, last) = reader.segments();
        assert!(last > 6, "{last} segments");
        assert_eq!(index_all(&reader), last - 1, "all but the last");
        assert_eq!(index_all(&reader), 0, "once");
        let (with, passed_now) = answers(folder.path());
        assert!(with == without, "skew {skew}");
        assert!(passed_now * 2 < passed, "skew {skew}: {passed_now} of {passed}");
    }
}

#[test]
fn an_index_that_is_damaged_foreign_or_of_another_segment_is_not_looked_at() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let reader = log_in(folder.path(), 0);
    let strange = log_in(other.path(), 3);
    let (without, _) = answers(folder.path());
    assert!(index_all(&reader) > 5 && index_all(&strange) > 5);
    let (own, foreign) = (idx(folder.path()), idx(other.path()));
    let whole: Vec<_> = own.iter().map(|path| std::fs::read(path).unwrap()).collect();
    let put = |at: usize, bytes: &[u8]| std::fs::write(&own[at], bytes).unwrap();
    let changed = |at: usize, byte: usize| {
        let mut bytes = whole[at].clone();
        bytes[byte] ^= 1;
        bytes
    };
    for byte in (0..whole[0].len()).step_by(5) {
        put(0, &changed(0, byte));
        assert!(reader.index(1, &BY_USER).is_none(), "byte {byte}");
    }
    put(1, &whole[1][..whole[1].len() - 8]);
    put(2, &[&whole[2][..], &[0; 8]].concat());
    put(3, &std::fs::read(&foreign[3]).unwrap());
    put(4, &whole[3]);
    for segment in 1..=5 {
        assert!(reader.index(segment, &BY_USER).is_none(), "segment {segment}");
    }
    let later = crate::log::Keys { version: 2, ..BY_USER };
    assert!(reader.index(6, &BY_USER).is_some() && reader.index(6, &later).is_none());
    assert!(answers(folder.path()).0 == without);
    // They are made anew, and nothing but they.
    assert_eq!(index_all(&reader), 5);
    std::fs::write(&own[2], b"").unwrap();
    assert_eq!(index_all(&reader), 1);
    assert!(own.iter().zip(&whole).all(|(path, bytes)| std::fs::read(path).unwrap() == *bytes));
}

#[test]
fn an_index_of_a_segment_that_is_another_one_now_is_not_looked_at() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let reader = log_in(folder.path(), 0);
    index_all(&reader);
    // The log's files are replaced by those of another run; the indexes stay.
    drop(log_in(other.path(), 3));
    let (expected, _) = answers(other.path());
    for entry in std::fs::read_dir(other.path()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    let (found, _) = answers(folder.path());
    assert!(found == expected);
}

#[test]
fn damage_where_an_index_leads_to_is_told_as_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let reader = log_in(folder.path(), 0);
    index_all(&reader);
    let (mut scan, wanted) =
        (reader.scan(crate::events::record::LogPosition::START, None), user(3));
    let of_wanted = scan.find(|it| {
        let header = codec::decode_header(&it.as_ref().unwrap().record.header).unwrap();
        header.subject == Subject::User(wanted)
    });
    let position = of_wanted.unwrap().unwrap().position;
    let path = folder.path().join(format!("{:08}.seg", position.segment()));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[position.offset() as usize + 30] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let history = History::open(&files(), &[folder.path().to_owned()]).unwrap();
    let users = BTreeSet::from([wanted]);
    let with = about(&history, &users, |_| {}).unwrap_err();
    for path in idx(folder.path()) {
        std::fs::remove_file(path).unwrap();
    }
    let without = about(&history, &users, |_| {}).unwrap_err();
    assert_eq!(format!("{with:?}"), format!("{without:?}"));
}

#[test]
fn a_folder_that_cannot_be_written_to_is_read_without_an_index() {
    let folder = tempfile::tempdir().unwrap();
    let reader = log_in(folder.path(), 0);
    let (without, _) = answers(folder.path());
    // A folder stands where the index would be put: it cannot be replaced.
    std::fs::create_dir(folder.path().join("00000001.idx")).unwrap();
    reader.make_index(1, &BY_USER).unwrap_err();
    let names = std::fs::read_dir(folder.path()).unwrap();
    let names: Vec<_> = names.map(|it| it.unwrap().file_name()).collect();
    assert!(!names.iter().any(|it| it.to_string_lossy().contains("unfinished")), "{names:?}");
    assert!(answers(folder.path()).0 == without);
}
