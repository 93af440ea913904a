//! The log by itself: appends a second from several numbers of writers beside the bare disk, and
//! how fast a log is read, decoded and folded into the state.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use jcas::actors::recovery::fold_log;
use jcas::events::codec;
use jcas::events::event::{Cause, Draft, Event, FieldChange, Sealed};
use jcas::events::ids::{DeploymentId, Fingerprint, UserId};
use jcas::events::record::{LogPosition, Subject};
use jcas::events::registry::RegistryState;
use jcas::events::stamp::{EffectiveTime, Incarnation, Origin, Revision};
use jcas::files::{Disk, Files};
use jcas::log::{Append, Batch, Log, LogOptions, LogWriter, NewRecord};
use jcas::state::sled_kv::{CACHE_BYTES_DEFAULT, SledKv};
use jcas::state::store::Store;

use crate::Options;
use crate::raw::{self, Appended};
use crate::report::{Report, median};

/// Numbers of writers that are tried.
const WRITERS: [usize; 4] = [1, 16, 64, 256];

/// Users whose events are folded.
const FOLDED_USERS: u32 = 20_000;

/// Events of each of them.
const FOLDED_EVENTS: u32 = 10;

const DEPLOYMENT: DeploymentId = DeploymentId([7; 16]);

/// Measures and reports.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let folder = options.folder.join("log-bench");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    let mut report =
        Report::new("log", &["a second", "p50 ms", "p99 ms", "each sync", "disk alone"]);
    let lasting = Duration::from_secs(options.seconds);
    for writers in WRITERS {
        let (mut ours, mut disk) = (Vec::new(), Vec::new());
        for round in 0..options.rounds {
            let path = folder.join(format!("{writers}-{round}"));
            let (appended, bytes) = append(&path, writers, lasting)?;
            disk.push(raw::append(&folder, writers, bytes, lasting)?.rate);
            ours.push(appended);
        }
        let of = |value: &dyn Fn(&Appended) -> f64| {
            Some(median(&ours.iter().map(value).collect::<Vec<_>>()))
        };
        report.row(
            &format!("append, {writers} writers"),
            &[
                of(&|it| it.rate),
                of(&|it| it.ms(0.5)),
                of(&|it| it.ms(0.99)),
                of(&Appended::each_sync),
                Some(median(&disk)),
            ],
        );
    }
    fold(&folder, &mut report)?;
    std::fs::remove_dir_all(&folder)?;
    report.note(
        "each sync: appends one fdatasync made durable; disk alone: the same bytes a".to_owned(),
    );
    report
        .note("second, group-committed by as many writers without numbers or checksums".to_owned());
    report.finish(&options.folder)
}

fn open(folder: &Path) -> anyhow::Result<(Log, LogWriter)> {
    let started = Instant::now();
    let options = LogOptions::new(DEPLOYMENT, Arc::new(move || started.elapsed()));
    let (log, _) = Log::open(Arc::new(Disk), folder, options)?;
    let incarnation = Incarnation { counter: 1, tag: 1 };
    let origin = Origin { region: "local".parse()?, node: "bench".parse()?, incarnation };
    let writer =
        log.start_writer(origin, Box::new(|error| eprintln!("the log failed: {error}")))?;
    Ok((log, writer))
}

/// A profile write of one field, as a shard lays it out.
fn record(user: u32, revision: u64) -> anyhow::Result<NewRecord> {
    let mut random = [0; 10];
    // The first bytes hold the version and the variant of the id.
    random[6..].copy_from_slice(&user.to_be_bytes());
    let revision = Revision::from_unix_ms(revision);
    let value = Sealed { bytes: vec![9; 90].into(), fingerprint: Fingerprint([3; 16]) };
    let change = FieldChange { field: "nickname".parse()?, value: Some(value) };
    let draft = Draft {
        subject: Subject::User(UserId::new(1, random)),
        revision,
        effective: EffectiveTime::LOWEST,
        cause: Cause::default(),
        event: Event::ProfileUpdated(vec![change]),
    };
    Ok(NewRecord::new(&draft, [5; codec::NONCE_BYTES])?)
}

/// Appends one record at a time from so many writers. Returns the bytes of each as well.
fn append(folder: &Path, writers: usize, lasting: Duration) -> anyhow::Result<(Appended, usize)> {
    let (log, writer) = open(folder)?;
    let record = record(1, 1)?;
    let appending = writer.clone();
    let mut appended = raw::from_writers(writers, lasting, move |over| {
        if over {
            return;
        }
        let (send, done) = std::sync::mpsc::channel();
        let batch = Batch::Own(vec![record.clone()]);
        let done_with = Box::new(move |result: Result<_, _>| {
            // The writer waits for it.
            let _ = send.send(result.is_ok());
        });
        let taken = appending.append(Append { epoch: 0, batch, done: done_with });
        assert!(taken.is_ok() && done.recv() == Ok(true), "an append failed");
    })?;
    writer.close();
    let snapshot = log.snapshot();
    appended.syncs = snapshot.syncs;
    let bytes = usize::try_from(snapshot.bytes / snapshot.records.max(1))?;
    Ok((appended, bytes))
}

/// Fills a log with so many events of so many users, and returns one of them.
pub fn filled(folder: &Path, users: u32, events: u32) -> anyhow::Result<UserId> {
    fill(folder, users, events).map(|_| UserId::new(1, [0; 10]))
}

fn fill(folder: &Path, users: u32, events: u32) -> anyhow::Result<Log> {
    let (log, writer) = open(folder)?;
    let (send, done) = std::sync::mpsc::channel();
    for event in 0..events {
        for users in (0..users).collect::<Vec<_>>().chunks(500) {
            let at = u64::from(event) + 1;
            let batch: Result<_, _> = users.iter().map(|user| record(*user, at)).collect();
            let send = send.clone();
            let done_with = Box::new(move |result: Result<_, _>| {
                // The writer waits for it.
                let _ = send.send(result.is_ok());
            });
            let append = Append { epoch: 0, batch: Batch::Own(batch?), done: done_with };
            writer.append(append).map_err(|refused| refused.reason)?;
            anyhow::ensure!(done.recv()?, "an append failed");
        }
    }
    writer.close();
    Ok(log)
}

/// Fills a log and folds it.
fn fold(below: &Path, report: &mut Report) -> anyhow::Result<()> {
    let log = fill(&below.join("fold"), FOLDED_USERS, FOLDED_EVENTS)?;
    let reader = log.reader();
    let began = Instant::now();
    let mut records = 0_u64;
    for stored in reader.scan(LogPosition::START, None) {
        codec::decode_record(&stored?.record)?;
        records += 1;
    }
    let read = rate(records, began.elapsed());
    report.row("read and decode, records", &[Some(read), None, None, None, None]);
    let files: Arc<dyn Files> = Arc::new(Disk);
    let kv = SledKv::open(&files, &below.join("state"), CACHE_BYTES_DEFAULT)?;
    let store = Store::new(Arc::new(kv));
    let began = Instant::now();
    let mut registry = RegistryState::default();
    let folded = fold_log(&reader, LogPosition::START, &store, &mut registry, |_| {})?;
    store.kv().flush().context("the state cannot be flushed")?;
    let folded = rate(folded.records, began.elapsed());
    report.row("read, decode, fold into the state, flush", &[Some(folded), None, None, None, None]);
    report.note(format!("folded: {FOLDED_USERS} users, {FOLDED_EVENTS} events each"));
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn rate(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}
