//! What the log's tests have in common.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use crate::events::codec;
use crate::events::event::{Cause, Draft, Event, FieldChange, Sealed};
use crate::events::ids::{DeploymentId, Fingerprint, UserId};
use crate::events::record::{LogPosition, Record, Subject};
use crate::events::stamp::{EffectiveTime, Incarnation, Origin, Revision};
use crate::files::Files;

use super::sim_disk::SimDisk;
use super::*;

pub(super) const DEPLOYMENT: DeploymentId = DeploymentId([7; 16]);

/// A clock that only the test moves, in milliseconds.
#[derive(Clone, Default)]
pub(super) struct HandClock(Arc<AtomicU64>);

impl HandClock {
    pub(super) fn advance(&self, millis: u64) {
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

pub(super) fn options(clock: &HandClock) -> LogOptions {
    let clock = clock.clone();
    let read = move || Duration::from_millis(clock.0.load(Ordering::SeqCst));
    LogOptions::new(DEPLOYMENT, Arc::new(read))
}

pub(super) fn folder() -> PathBuf {
    PathBuf::from("/data/log")
}

pub(super) fn segment(number: u32) -> PathBuf {
    folder().join(format!("{number:08}.seg"))
}

pub(super) fn origin(node: &str, counter: u32) -> Origin {
    let incarnation = Incarnation { counter, tag: 9 };
    Origin { region: "eu".parse().unwrap(), node: node.parse().unwrap(), incarnation }
}

/// An event whose body is about `size` bytes, different for every `number`.
pub(super) fn new_record(number: u64, size: usize) -> NewRecord {
    let value = Sealed { bytes: vec![0xab; size].into(), fingerprint: Fingerprint([1; 16]) };
    let change = FieldChange { field: "name".parse().unwrap(), value: Some(value) };
    let revision = Revision::from_unix_ms(1_700_000_000_000 + number);
    let draft = Draft {
        subject: Subject::User(UserId::new(1_700_000_000_000, [3; 10])),
        revision,
        effective: EffectiveTime::at(revision),
        cause: Cause { company: Some("shop".parse().unwrap()), ..Cause::default() },
        event: Event::ProfileUpdated(vec![change]),
    };
    NewRecord::new(&draft, (u128::from(number) | (5 << 100)).to_le_bytes()).unwrap()
}

/// `count` records of another origin that follow `last`.
pub(super) fn foreign(origin: Origin, last: ChainEnd, count: u64) -> (Vec<Record>, ChainEnd) {
    let mut end = last;
    let mut records = Vec::new();
    for _ in 0..count {
        let new = new_record(1_000_000 + end.sequence, 40);
        let header = codec::encode_header(&new.header(DEPLOYMENT, origin, end)).unwrap();
        end = ChainEnd { sequence: end.sequence + 1, head: codec::digest(&header) };
        records.push(Record { header, body: Some(new.body) });
    }
    (records, end)
}

pub(super) fn disk_files(disk: &SimDisk) -> Arc<dyn Files> {
    Arc::new(disk.clone())
}

pub(super) fn open(disk: &SimDisk, options: LogOptions) -> Result<(Log, Opened), LogError> {
    Log::open(disk_files(disk), &folder(), options)
}

/// A log with a writer on a simulated disk.
pub(super) struct Fixture {
    pub(super) disk: SimDisk,
    pub(super) clock: HandClock,
    pub(super) log: Log,
    pub(super) writer: LogWriter,
    pub(super) fatal: mpsc::Receiver<String>,
}

pub(super) type Answer = mpsc::Receiver<Result<Committed, AppendError>>;

impl Fixture {
    pub(super) fn new() -> Self {
        Self::with(SimDisk::new(), |_| {})
    }

    /// Opens the log on a disk; its life's counter is `1` more than the last one's.
    pub(super) fn with(disk: SimDisk, set: impl FnOnce(&mut LogOptions)) -> Self {
        let clock = HandClock::default();
        let mut options = options(&clock);
        set(&mut options);
        let (log, opened) = open(&disk, options).unwrap();
        let life = origin("n1", 1);
        let last = opened.last_life(life.region, life.node);
        let counter = last.map_or(1, |(origin, _)| origin.incarnation.counter + 1);
        let (sender, fatal) = mpsc::channel();
        let on_fatal = move |error: &LogError| sender.send(error.to_string()).unwrap();
        let writer = log.start_writer(origin("n1", counter), Box::new(on_fatal)).unwrap();
        Self { disk, clock, log, writer, fatal }
    }

    /// Appends without waiting.
    pub(super) fn send(&self, epoch: u64, batch: Batch) -> Result<Answer, AppendRefused> {
        let (sender, answer) = mpsc::channel();
        // A test that does not look at the answer has dropped the receiver.
        let done = Box::new(move |result| drop(sender.send(result)));
        self.writer.append(Append { epoch, batch, done }).map(|()| answer)
    }

    /// Appends in the present epoch and waits.
    pub(super) fn append(&self, batch: Batch) -> Result<Committed, AppendError> {
        self.send(self.writer.epoch(), batch).unwrap().recv().unwrap()
    }

    /// Appends own records of these numbers and waits.
    pub(super) fn append_own(&self, numbers: std::ops::Range<u64>) -> Vec<LogPosition> {
        let committed = self.append(own(numbers)).unwrap();
        committed.placed.iter().map(|placed| placed.position).collect()
    }

    /// Stops the writer's thread between two groups, runs `during` and lets it go on.
    pub(super) fn while_held<T>(&self, during: impl FnOnce() -> T) -> T {
        let (entered_sender, entered) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let done = Box::new(move |_| {
            entered_sender.send(()).unwrap();
            // Ends with an error when the other half is dropped.
            let _ = released.recv();
        });
        let epoch = self.writer.epoch();
        self.writer.append(Append { epoch, batch: Batch::Own(Vec::new()), done }).unwrap();
        entered.recv().unwrap();
        let result = during();
        drop(release);
        result
    }

    /// Ends the writer and gives the disk back.
    pub(super) fn close(self) -> SimDisk {
        self.writer.close();
        self.disk
    }

    pub(super) fn stored(&self) -> Vec<StoredRecord> {
        let scan = self.log.reader().scan(LogPosition::START, None);
        scan.collect::<Result<_, _>>().unwrap()
    }
}

/// Verifies the log on a disk.
pub(super) fn report(disk: &SimDisk, path: &Path) -> Report {
    verify(&disk_files(disk), path, &mut |_| {}).unwrap()
}

/// Records of this node's life with these numbers, of about equal length.
pub(super) fn own(numbers: std::ops::Range<u64>) -> Batch {
    Batch::Own(numbers.map(|number| new_record(number, 60)).collect())
}
