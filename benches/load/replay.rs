//! What a developer waits for: a whole log folded, one user's timeline found in it, all of it
//! verified; beside reading the same bytes and taking the checksums and digests they need.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jcas::files::{Disk, Files};
use jcas::log::LogReader;
use jcas::replay::fold::{NobodyLooks, fold};
use jcas::replay::history::History;
use jcas::replay::index::BY_USER;
use jcas::replay::timeline::timeline;
use sha2::{Digest as _, Sha256};

use crate::Options;
use crate::log::filled;
use crate::report::{Report, median};

/// Users of the log.
const USERS: usize = 50_000;

/// Events of each of them.
const EVENTS: u32 = 20;

/// Measures and reports.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let folder = options.folder.join("replay-bench");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    let users = u32::try_from(options.users.unwrap_or(USERS))?;
    let log = folder.join("log");
    let user = filled(&log, users, EVENTS)?;
    let (events, files) = (u64::from(users) * u64::from(EVENTS), bytes(&log)?);
    let disk: Arc<dyn Files> = Arc::new(Disk);
    let mut report = Report::new("replay", &["events/s", "MiB/s", "s"]);
    let mut measure = |what: &str, did: &mut dyn FnMut() -> anyhow::Result<()>| {
        let mut took = Vec::new();
        for _ in 0..options.rounds {
            let began = Instant::now();
            did()?;
            took.push(began.elapsed().as_secs_f64());
        }
        let took = median(&took);
        let of = |amount: f64| Some(amount / took);
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let (events, mib) = (events as f64, files as f64 / 1_048_576.0);
        report.row(what, &[of(events), of(mib), Some(took)]);
        anyhow::Ok(())
    };
    measure("limit: read, CRC32C of all, SHA-256 of bodies", &mut || raw(&log, events))?;
    let history = History::open(&disk, std::slice::from_ref(&log))?;
    measure("fold of the whole log", &mut || {
        fold(&history, || NobodyLooks, |_| {})?;
        Ok(())
    })?;
    measure("one user's timeline, without an index", &mut || {
        let found = timeline(&history, user, |_| {})?;
        anyhow::ensure!(found.entries.len() == EVENTS as usize, "the user's events are not there");
        Ok(())
    })?;
    // It must take under a second for ten million events: `--users 500000`.
    let reader = LogReader::open_path(&disk, &log)?;
    let began = Instant::now();
    let (first, last) = reader.segments();
    for segment in first..last {
        reader.make_index(segment, &BY_USER)?;
    }
    let indexing = began.elapsed();
    measure("one user's timeline, with the log's indexes", &mut || {
        let found = timeline(&history, user, |_| {})?;
        anyhow::ensure!(found.entries.len() == EVENTS as usize, "the user's events are not there");
        Ok(())
    })?;
    measure("verify", &mut || {
        let found = jcas::log::verify(&disk, &log, &mut |_| {})?;
        anyhow::ensure!(found.is_sound(), "the log is damaged");
        Ok(())
    })?;
    let indexes = bytes(&log)? - files;
    report.note(format!(
        "{} indexes of {} MiB made in {indexing:.1?}",
        last - first,
        indexes >> 20
    ));
    report.note(format!("{events} events of {users} users, {} MiB, in memory", files >> 20));
    std::fs::remove_dir_all(&folder)?;
    report.finish(&options.folder)
}

fn bytes(log: &Path) -> anyhow::Result<u64> {
    let mut all = 0;
    for entry in std::fs::read_dir(log)? {
        all += entry?.metadata()?.len();
    }
    Ok(all)
}

/// Reads all files, takes one checksum over everything and a digest of as many bytes as the bodies
/// have, in as many pieces.
fn raw(log: &Path, events: u64) -> anyhow::Result<()> {
    /// About the length of a body.
    const BODY: usize = 144;
    let (mut crc, mut digested) = (0, 0);
    for entry in std::fs::read_dir(log)? {
        let bytes = std::fs::read(entry?.path())?;
        crc = crc32c::crc32c_append(crc, &bytes);
        for body in bytes.chunks_exact(BODY) {
            if digested < events {
                std::hint::black_box(Sha256::digest(body));
                digested += 1;
            }
        }
    }
    std::hint::black_box((crc, Duration::ZERO));
    Ok(())
}
