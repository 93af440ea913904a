//! All jobs of a node: which there are, who is next, how much they take.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use uuid::Uuid;

use crate::actors::sync_job::JobAddress;
use crate::events::ids::CompanyId;

use super::note::{Note, State};
use super::verdict::{Counts, VERDICTS, Verdict};

/// A job as the node knows it.
pub(super) struct Job {
    pub(super) number: Uuid,
    note: Mutex<Note>,
    /// Held while what is noted is written.
    pub(super) noting: Mutex<()>,
    /// Bytes it takes on the disk.
    pub(super) bytes: AtomicU64,
    /// Bytes it comes to take at most: its rows and the verdicts on them. None once it is over.
    pub(super) reserved: AtomicU64,
    /// Whether its rows may be on the disk.
    pub(super) has_rows: AtomicBool,
    /// Whether it is to end.
    pub(super) cancelled: Arc<AtomicBool>,
    /// How much of it waits for keys.
    pub(super) without_keys: AtomicUsize,
    /// Held by the one of them who tries whether the KMS is there.
    pub(super) trying_keys: tokio::sync::Mutex<()>,
    pub(super) address: Mutex<Option<JobAddress>>,
}

impl Job {
    pub(super) fn new(number: Uuid, note: Note, bytes: u64) -> Self {
        Self {
            number,
            note: Mutex::new(note),
            noting: Mutex::default(),
            bytes: AtomicU64::new(bytes),
            reserved: AtomicU64::default(),
            has_rows: AtomicBool::new(true),
            cancelled: Arc::default(),
            without_keys: AtomicUsize::default(),
            trying_keys: tokio::sync::Mutex::default(),
            address: Mutex::default(),
        }
    }

    /// What is noted of it.
    pub(super) fn note(&self) -> Note {
        self.locked().clone()
    }

    /// Changes what is noted of it.
    pub(super) fn change(&self, change: impl FnOnce(&mut Note)) -> Note {
        let mut note = self.locked();
        change(&mut note);
        note.clone()
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Bytes it takes of what there is.
    fn takes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed).max(self.reserved.load(Ordering::Relaxed))
    }

    /// Bytes that it is yet to write.
    fn to_come(&self) -> u64 {
        self.takes().saturating_sub(self.bytes.load(Ordering::Relaxed))
    }

    fn locked(&self) -> MutexGuard<'_, Note> {
        // A note is whole at every step.
        self.note.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How much jobs may take.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Most bytes of one company on the disk.
    pub company_bytes: u64,
    /// Most bytes of all.
    pub total_bytes: u64,
    /// Most lines of one job.
    pub lines: u32,
    /// Most jobs that run at once.
    pub at_once: usize,
    /// Most of them of one company.
    pub company_at_once: usize,
    /// Most jobs of one company that are kept.
    pub company_jobs: usize,
    /// Rows of one job that may be under way at once.
    pub in_flight: usize,
    /// How long jobs and their verdicts are kept, in milliseconds.
    pub keep_ms: u64,
    /// How long a stream may take from its begin to its end.
    pub upload: Duration,
    /// The device is not filled beyond this, in percent: the log would take no more events.
    pub fill_percent: u8,
}

/// Why rows are not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// The stream alone is more than the company may have.
    TooLong,
    /// The company's other jobs take what it may have.
    Company,
    /// All companies' jobs together take what there is.
    Total,
    /// The disk would be, by the time all jobs have written what they are yet to write.
    Disk,
}

/// The table of jobs.
#[derive(Default)]
pub(super) struct Jobs {
    known: BTreeMap<Uuid, Arc<Job>>,
    /// Jobs whose note cannot be read.
    unread: BTreeSet<Uuid>,
    running: HashMap<Uuid, CompanyId>,
    /// When each company was last given a turn, counted in turns.
    turns: HashMap<CompanyId, u64>,
    turn: u64,
    /// Verdicts since the start.
    totals: Counts,
}

impl Jobs {
    pub(super) fn insert(&mut self, job: Arc<Job>) {
        self.known.insert(job.number, job);
    }

    pub(super) fn remove(&mut self, number: Uuid) {
        self.known.remove(&number);
    }

    pub(super) fn get(&self, number: Uuid) -> Option<Arc<Job>> {
        self.known.get(&number).cloned()
    }

    /// The jobs of a company, oldest first: numbers begin with the time.
    pub(super) fn of(&self, company: CompanyId) -> Vec<Arc<Job>> {
        let of_it = self.known.values().filter(|job| job.locked().company == company);
        of_it.cloned().collect()
    }

    /// The jobs that ended before a time.
    pub(super) fn over_before(&self, unix_ms: u64) -> Vec<Arc<Job>> {
        let over = |job: &&Arc<Job>| {
            let note = job.locked();
            note.state.is_over() && note.finished_ms.unwrap_or(note.created_ms) < unix_ms
        };
        self.known.values().filter(over).cloned().collect()
    }

    /// Jobs that are over and whose rows could not be removed.
    pub(super) fn unsettled(&self) -> Vec<Arc<Job>> {
        let has_rows = |job: &&Arc<Job>| job.has_rows.load(Ordering::Relaxed);
        let unsettled = self.known.values().filter(has_rows);
        unsettled.filter(|job| job.locked().state.is_over()).cloned().collect()
    }

    /// When the oldest job came whose rows may be on the disk, in milliseconds since 1970.
    pub(super) fn oldest_rows(&self) -> Option<u64> {
        let with_rows = self.known.values().filter(|job| job.has_rows.load(Ordering::Relaxed));
        // A number begins with the time: all that is known of a job whose note cannot be read.
        let made = |number: &Uuid| {
            let (seconds, nanos) = number.get_timestamp()?.to_unix();
            Some(seconds.saturating_mul(1000).saturating_add(u64::from(nanos / 1_000_000)))
        };
        let unread = self.unread.iter().map(|number| made(number).unwrap_or_default());
        with_rows.map(|job| job.locked().created_ms).chain(unread).min()
    }

    /// Jobs whose note cannot be read.
    pub(super) const fn unread(&mut self) -> &mut BTreeSet<Uuid> {
        &mut self.unread
    }

    /// Bytes that all jobs take.
    pub(super) fn bytes(&self) -> u64 {
        self.known.values().map(|job| job.bytes.load(Ordering::Relaxed)).sum()
    }

    /// How many jobs are in a state.
    pub(super) fn count(&self, state: State) -> usize {
        self.known.values().filter(|job| job.locked().state == state).count()
    }

    /// Whether a job may take so many bytes, which are its own from now on, where the disk has this
    /// much room.
    pub(super) fn room_for(
        &self,
        job: &Job,
        bytes: u64,
        disk: u64,
        bounds: &Bounds,
    ) -> Result<(), Full> {
        job.reserved.store(bytes, Ordering::Relaxed);
        if bytes > bounds.company_bytes {
            return Err(Full::TooLong);
        }
        let company = job.locked().company;
        let (mut of_company, mut all) = (bytes, bytes);
        for other in self.known.values().filter(|other| other.number != job.number) {
            let bytes = other.takes();
            all = all.saturating_add(bytes);
            if other.locked().company == company {
                of_company = of_company.saturating_add(bytes);
            }
        }
        let to_come: u64 = self.known.values().map(|job| job.to_come()).sum();
        if of_company > bounds.company_bytes {
            Err(Full::Company)
        } else if all > bounds.total_bytes {
            Err(Full::Total)
        } else if disk <= to_come {
            Err(Full::Disk)
        } else {
            Ok(())
        }
    }

    /// The job that runs next, of the company that had no turn for longest; none while as many run
    /// as may.
    pub(super) fn next(&mut self, bounds: &Bounds) -> Option<Arc<Job>> {
        if self.running.len() >= bounds.at_once.max(1) {
            return None;
        }
        let running = |company: CompanyId| self.running.values().filter(move |it| **it == company);
        let waiting = self.known.values().filter(|job| {
            let note = job.locked();
            let room = running(note.company).count() < bounds.company_at_once.max(1);
            note.state == State::Queued && !self.running.contains_key(&job.number) && room
        });
        let turn_of = |job: &&Arc<Job>| {
            let turn = self.turns.get(&job.locked().company).copied().unwrap_or_default();
            (turn, job.number)
        };
        let next = waiting.min_by_key(turn_of).cloned()?;
        let company = next.locked().company;
        self.turn += 1;
        self.turns.insert(company, self.turn);
        self.running.insert(next.number, company);
        Some(next)
    }

    /// Takes a job out of the line, if it is in it: it is its caller's to end then.
    pub(super) fn withdraw(&mut self, number: Uuid) -> bool {
        let Some(job) = self.known.get(&number) else { return false };
        let note = job.note();
        let waits = note.state == State::Queued && !self.running.contains_key(&number);
        if waits {
            self.running.insert(number, note.company);
        }
        waits
    }

    /// A job runs no more.
    pub(super) fn ended(&mut self, number: Uuid) {
        self.running.remove(&number);
    }

    /// Counts verdicts.
    pub(super) fn count_verdicts(&mut self, counts: &Counts) {
        for verdict in VERDICTS {
            for _ in 0..counts.of(verdict) {
                self.totals.add(verdict);
            }
        }
    }

    /// How many rows came to a verdict since the start.
    pub(super) const fn total(&self, verdict: Verdict) -> u64 {
        self.totals.of(verdict)
    }
}
