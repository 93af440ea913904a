//! A job from its rows to its verdicts.
//!
//! Rows are applied a batch at a time, many of them at once, and their verdicts are made durable
//! before the next batch. So an interruption costs one batch: its rows are applied again, change
//! nothing, and are told what they came to the first time.
//!
//! Rows that name a time to come are left out, and once it has come the rows without a verdict are
//! passed again. Nothing of them is kept in memory but the latest time.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::accounts::Accounts;
use crate::accounts::caller::Caller;
use crate::accounts::error::AccountError;
use crate::crypto::sealing::JobKey;
use crate::events::event::Cause;
use crate::events::stamp::Revision;

use super::apply::Asker;
use super::course::Course;
use super::groups::Groups;
use super::jobs::Job;
use super::judge::{Judge, Passed};
use super::lines::LineReader;
use super::note::{Note, State};
use super::patience::Patience;
use super::unit::{Unit, read_group};
use super::unreadable;
use super::verdict::Judged;

/// Groups of lines that are applied before their verdicts are made durable, and bytes of them: a
/// batch is closed at the group that brings it there.
const BATCH: usize = 2048;
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// How long it waits for what the node cannot do now.
pub(super) const PAUSE: Duration = Duration::from_millis(250);

/// Why a job did not come to its end.
#[derive(Debug, thiserror::Error)]
enum Ended {
    /// It was told to.
    #[error("the job was cancelled")]
    Cancelled,
    /// The company is not there any more.
    #[error("the company of the job is gone")]
    NoCompany,
    /// The threads of jobs are ending: the next start of the node goes on with it.
    #[error("the node is stopping")]
    Stopping,
    /// Its files cannot be read or written.
    #[error("the spool fails")]
    Spool(#[from] io::Error),
}

impl Accounts {
    /// Carries a job out.
    pub(super) async fn run_job(self: Arc<Self>, job: Arc<Job>) {
        let ended = match self.carry_out(&job).await {
            Ok(()) => State::Done,
            Err(Ended::Cancelled) => State::Cancelled,
            Err(Ended::Stopping) => return,
            Err(error) => {
                tracing::error!(job = %job.number, error = %error, "a bulk sync failed");
                State::Failed
            }
        };
        self.end_job(&job, ended);
        tracing::info!(job = %job.number, state = ?ended, "a bulk sync ended");
        self.syncs.jobs().ended(job.number);
        self.start_jobs();
    }

    async fn carry_out(self: &Arc<Self>, job: &Arc<Job>) -> Result<(), Ended> {
        let now = self.parts.clock.unix_ms();
        let again = job.note().started_ms.is_some();
        let begin = |note: &mut Note| {
            note.state = State::Running;
            note.started_ms = note.started_ms.or(Some(now));
        };
        self.patiently(job, || async {
            Ok(self.note(job, begin).map_err(|error| unreadable(&error))?)
        })
        .await?;
        let note = job.note();
        let key = self.patiently(job, || self.job_key(job)).await?;
        let spool = &self.syncs.parts.spool;
        let mut reader = LineReader::of(spool, job.number, Arc::clone(&key))?;
        let mut course = Course::resume(spool, job.number, &key, note.lines)?;
        job.change(|note| note.counts = course.counts);
        let groups = self.group(job, &key, &reader).await?;
        let started = Revision::from_unix_ms(note.started_ms.unwrap_or(now));
        let mut running = Running {
            accounts: self,
            job,
            key,
            started,
            // What was being applied comes after what waited then.
            again: if again { BATCH + usize::try_from(note.waiting).unwrap_or(BATCH) } else { 0 },
            waiting: 0,
            until: None,
            batch: Vec::new(),
            batch_bytes: 0,
        };
        running.pass(&mut reader, &mut course, &groups, true).await?;
        if running.wait().await? {
            running.pass(&mut reader, &mut course, &groups, false).await?;
        }
        Ok(())
    }

    /// Tries what the node may not be able to do now, until it can or the job is to end.
    async fn patiently<T, F>(&self, job: &Job, mut ask: impl FnMut() -> F) -> Result<T, Ended>
    where
        F: Future<Output = Result<T, AccountError>>,
    {
        let mut patience = Patience::with(job);
        loop {
            match ask().await {
                Ok(done) => return Ok(done),
                Err(_) if job.is_cancelled() => return Err(Ended::Cancelled),
                Err(error) => {
                    patience.tell(matches!(error, AccountError::Keys(_)));
                    tracing::debug!(%error, "a bulk sync waits");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// The company as it is now: who its job asks for.
    pub(super) fn company_of(&self, job: &Job) -> Option<Caller> {
        let note = job.note();
        let registry = self.parts.house.registry();
        let company = registry.state.companies.get(&note.company)?;
        let (key, request) = (Some(note.key), note.request);
        let cause = Cause { company: Some(note.company), key, request, ..Cause::default() };
        Some(Caller {
            company: note.company,
            key: note.key,
            countries: company.countries().to_vec(),
            scopes: crate::events::policy::Scopes::new([]),
            policies: company.policies(),
            cause,
            idempotency: None,
        })
    }
}

/// A job under way.
struct Running<'a> {
    accounts: &'a Arc<Accounts>,
    job: &'a Arc<Job>,
    key: Arc<JobKey>,
    /// When the job first began.
    started: Revision,
    /// How many of the next groups an earlier run may have applied without noting it.
    again: usize,
    /// How many groups name a time to come, and the latest such time.
    waiting: u32,
    until: Option<u64>,
    batch: Vec<Unit>,
    batch_bytes: usize,
}

impl Running<'_> {
    /// Applies all lines that have no verdict, or all whose time has come.
    async fn pass(
        &mut self,
        reader: &mut LineReader,
        course: &mut Course,
        groups: &Groups,
        may_wait: bool,
    ) -> Result<(), Ended> {
        let mut taken = course.done.clone();
        for block in 0..reader.blocks() {
            for (line, bytes) in reader.block(block)? {
                if bytes.trim_ascii().is_empty() || taken.has(line) {
                    continue;
                }
                let unit = if groups.is_together(line) {
                    read_group(reader, groups, line)?
                } else {
                    Unit { lines: vec![(line, bytes)], too_many: None }
                };
                let listed = unit.too_many.iter().flatten();
                for line in unit.lines.iter().map(|(line, _)| line).chain(listed) {
                    taken.set(*line);
                }
                self.batch_bytes += unit.lines.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
                self.batch.push(unit);
                if self.batch.len() >= BATCH || self.batch_bytes >= BATCH_BYTES {
                    self.flush(course, may_wait).await?;
                }
            }
        }
        self.flush(course, may_wait).await
    }

    /// Waits until the time of all lines has come. False where none had to wait.
    async fn wait(&self) -> Result<bool, Ended> {
        let Some(until) = self.until else { return Ok(false) };
        loop {
            if self.job.is_cancelled() {
                return Err(Ended::Cancelled);
            }
            match until.saturating_sub(self.accounts.parts.clock.unix_ms()) {
                0 => return Ok(true),
                left => tokio::time::sleep(Duration::from_millis(left).min(PAUSE)).await,
            }
        }
    }

    /// Notes that groups wait, before any after them is applied: where the next run finds the first
    /// that may have been applied.
    fn waits(&mut self, groups: u32, until: Option<u64>) {
        if groups == 0 {
            return;
        }
        self.waiting = self.waiting.saturating_add(groups);
        self.until = self.until.max(until);
        let waiting = self.waiting;
        if waiting > self.job.note().waiting {
            let noted = self.accounts.note(self.job, |note| note.waiting = waiting);
            if let Err(error) = noted {
                // No more than a word is at stake: `unchanged` for what the job itself did.
                tracing::warn!(%error, "how far a job is cannot be noted");
            }
        }
    }

    async fn flush(&mut self, course: &mut Course, may_wait: bool) -> Result<(), Ended> {
        if self.job.is_cancelled() {
            return Err(Ended::Cancelled);
        }
        if self.batch.is_empty() {
            return Ok(());
        }
        let note = self.job.note();
        let caller = self.accounts.company_of(self.job).ok_or(Ended::NoCompany)?;
        let asker = Asker {
            caller,
            country: note.country,
            dry_run: note.dry_run,
            received_ms: note.received_ms.unwrap_or_else(|| self.accounts.parts.clock.unix_ms()),
            again_since: (self.again > 0).then_some(self.started),
        };
        self.again = self.again.saturating_sub(self.batch.len());
        self.batch_bytes = 0;
        let (accounts, job) = (Arc::clone(self.accounts), Arc::clone(self.job));
        let judge = Arc::new(Judge { accounts, job, asker, may_wait });
        let passed = judge.all(std::mem::take(&mut self.batch)).await.ok_or(Ended::Stopping)?;
        let (mut judged, mut cancelled) = (Vec::new(), false);
        let (mut waiting, mut until) = (0, None);
        for one in passed {
            match one {
                Passed::Judged(verdicts) => judged.extend(verdicts),
                Passed::Waits(time) => (waiting, until) = (waiting + 1, until.max(Some(time))),
                Passed::Cancelled => cancelled = true,
            }
        }
        // Of a group that was interrupted, some lines may have their verdicts.
        judged.retain(|one| !course.done.has(one.line.saturating_sub(1)));
        judged.sort_by_key(|one| one.line);
        let mut counts = super::verdict::Counts::default();
        for one in &judged {
            counts.add(one.verdict);
        }
        self.keep(course, judged).await?;
        self.waits(waiting, until);
        self.accounts.syncs.jobs().count_verdicts(&counts);
        self.job.change(|note| note.counts = course.counts);
        let rows = self.accounts.syncs.parts.spool.bytes(self.job.number);
        self.job.bytes.store(rows.max(course.bytes()), Ordering::Relaxed);
        if cancelled { Err(Ended::Cancelled) } else { Ok(()) }
    }

    /// Makes verdicts durable. A disk that is full is waited for: what was applied is applied.
    async fn keep(&self, course: &mut Course, mut judged: Vec<Judged>) -> Result<(), Ended> {
        loop {
            match course.keep(&judged) {
                Ok(()) => return Ok(()),
                Err(error) if self.job.is_cancelled() => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(%error, "verdicts of a bulk sync cannot be kept");
                    tokio::time::sleep(PAUSE).await;
                    let (spool, job) = (&self.accounts.syncs.parts.spool, self.job);
                    let lines = job.note().lines;
                    *course = Course::resume(spool, job.number, &self.key, lines)?;
                    judged.retain(|one| !course.done.has(one.line.saturating_sub(1)));
                }
            }
        }
    }
}
