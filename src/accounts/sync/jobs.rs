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

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        company_bytes: 100,
        total_bytes: 150,
        lines: 10,
        at_once: 2,
        company_at_once: 1,
        company_jobs: 10,
        in_flight: 4,
        keep_ms: 1000,
        upload: Duration::from_secs(10),
        fill_percent: 95,
    };

    pub(in super::super) fn job(number: u128, company: &str) -> Arc<Job> {
        let note = Note {
            version: 1,
            company: company.parse().unwrap(),
            key: "key".parse().unwrap(),
            country: "NG".parse().unwrap(),
            dry_run: false,
            request: None,
            state: State::Queued,
            lines: 1,
            rows: 1,
            verdict_bytes: 0,
            waiting: 0,
            sealed_key: String::new(),
            branch: crate::events::ids::BranchKeyId([0; 16]),
            created_ms: 0,
            received_ms: None,
            cancel_asked: false,
            started_ms: None,
            finished_ms: None,
            counts: Counts::default(),
        };
        Arc::new(Job::new(Uuid::from_u128(number), note, 0))
    }

    #[test]
    fn companies_take_turns_and_none_runs_more_than_it_may() {
        let mut jobs = Jobs::default();
        for (number, company) in [(1, "a"), (2, "a"), (3, "a"), (4, "b"), (5, "c")] {
            jobs.insert(job(number, company));
        }
        let mut order = Vec::new();
        let mut next = |jobs: &mut Jobs| {
            let number = jobs.next(&BOUNDS).map(|job| job.number.as_u128());
            order.extend(number);
            number
        };
        assert_eq!(next(&mut jobs), Some(1));
        assert_eq!(next(&mut jobs), Some(4), "a runs one already");
        assert_eq!(next(&mut jobs), None, "two run");
        for done in [1, 4] {
            jobs.get(Uuid::from_u128(done)).unwrap().change(|note| note.state = State::Done);
            jobs.ended(Uuid::from_u128(done));
        }
        assert_eq!(next(&mut jobs), Some(5), "c had no turn yet");
        assert_eq!(next(&mut jobs), Some(2));
        assert_eq!(order, [1, 4, 5, 2]);
    }

    #[test]
    fn a_company_has_its_part_of_the_disk_and_all_together_have_theirs() {
        let mut jobs = Jobs::default();
        let (one, two, other) = (job(1, "a"), job(2, "a"), job(3, "b"));
        for job in [&one, &two, &other] {
            jobs.insert(Arc::clone(job));
        }
        let room_for = |bytes| jobs.room_for(&one, bytes, u64::MAX, &BOUNDS);
        assert_eq!(room_for(100), Ok(()));
        assert_eq!(room_for(101), Err(Full::TooLong));
        two.bytes.store(60, Ordering::Relaxed);
        assert_eq!(room_for(41), Err(Full::Company));
        other.bytes.store(80, Ordering::Relaxed);
        assert_eq!(room_for(40), Err(Full::Total));
        assert_eq!(room_for(10), Ok(()));
        // What a job is yet to write is its own as what it has written.
        two.reserved.store(95, Ordering::Relaxed);
        assert_eq!(room_for(6), Err(Full::Company));
    }

    #[test]
    fn the_disk_is_not_filled_by_what_jobs_are_yet_to_write() {
        let mut jobs = Jobs::default();
        let (one, other) = (job(1, "a"), job(2, "b"));
        for job in [&one, &other] {
            jobs.insert(Arc::clone(job));
        }
        other.bytes.store(20, Ordering::Relaxed);
        other.reserved.store(50, Ordering::Relaxed);
        let room_for = |bytes, disk| jobs.room_for(&one, bytes, disk, &BOUNDS);
        assert_eq!(room_for(10, 41), Ok(()));
        assert_eq!(room_for(10, 40), Err(Full::Disk));
        one.bytes.store(10, Ordering::Relaxed);
        assert_eq!(room_for(10, 31), Ok(()), "what is there is no more to come");
        assert_eq!(room_for(0, 0), Err(Full::Disk));
    }

    #[test]
    fn the_oldest_rows_are_those_of_a_job_that_is_over_while_they_are_there() {
        let mut jobs = Jobs::default();
        assert_eq!(jobs.oldest_rows(), None);
        for (number, created_ms) in [(1, 500), (2, 900)] {
            let job = job(number, "a");
            job.change(|note| note.created_ms = created_ms);
            jobs.insert(job);
        }
        let first = jobs.get(Uuid::from_u128(1)).unwrap();
        assert!(jobs.unsettled().is_empty());
        first.change(|note| note.state = State::Done);
        assert_eq!((jobs.oldest_rows(), jobs.unsettled().len()), (Some(500), 1));
        first.has_rows.store(false, Ordering::Relaxed);
        assert_eq!((jobs.oldest_rows(), jobs.unsettled().len()), (Some(900), 0));
        jobs.unread().insert("019a7b3c-5d6e-7f80-8a91-b2c3d4e5f607".parse().unwrap());
        assert_eq!(jobs.oldest_rows(), Some(900), "that one came in 2025");
        jobs.unread().insert(Uuid::from_u128(7));
        assert_eq!(jobs.oldest_rows(), Some(0), "nobody knows when");
    }
}
