//! Jobs as they are kept: those that an earlier life of the node left, what is noted of each, and
//! how they end.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use uuid::Uuid;

use crate::accounts::Accounts;
use crate::spool::Part;

use super::jobs::Job;
use super::note::{self, Note, State};
use super::verdict::bytes_max_of;

/// How often it is looked for jobs that were kept long enough, and for what could not be done.
const SWEEP: Duration = Duration::from_hours(1);

impl Accounts {
    /// Goes on with the jobs that were found, and removes those that were kept long enough, now and
    /// from time to time.
    pub async fn keep_syncs(self: Arc<Self>) {
        loop {
            self.sweep_jobs();
            self.start_jobs();
            tokio::time::sleep(SWEEP).await;
        }
    }

    /// Finds the jobs that an earlier life of the node left. A stream that did not come whole is
    /// nobody's.
    pub fn find_syncs(&self) {
        let spool = &self.syncs.parts.spool;
        let found = spool.jobs().inspect_err(|error| tracing::error!(%error, "the spool is gone"));
        for number in found.unwrap_or_default() {
            self.look_for(number);
        }
    }

    fn look_for(&self, number: Uuid) {
        if self.syncs.jobs().get(number).is_some() {
            return;
        }
        let spool = &self.syncs.parts.spool;
        match spool.note(number).map(|note| note.map(|bytes| note::read(&bytes))) {
            Ok(Some(Ok(note))) => self.find_job(number, note),
            // What was accepted is not thrown away because it cannot be read now.
            Ok(Some(Err(error))) => {
                tracing::error!(job = %number, %error, "a job's note cannot be read");
                self.syncs.jobs().unread().insert(number);
                return;
            }
            Err(error) => {
                tracing::error!(job = %number, %error, "a job's note cannot be read");
                self.syncs.jobs().unread().insert(number);
                return;
            }
            Ok(None) => {
                if let Err(error) = spool.remove(number) {
                    tracing::warn!(%error, "what came of a broken stream cannot be removed");
                    self.syncs.jobs().unread().insert(number);
                    return;
                }
            }
        }
        self.syncs.jobs().unread().remove(&number);
    }

    /// Goes on with a job as far as an earlier life of the node brought it.
    fn find_job(&self, number: Uuid, mut note: Note) {
        if note.state == State::Running {
            note.state = State::Queued;
        }
        let (is_over, cancel_asked) = (note.state.is_over(), note.cancel_asked);
        let verdicts =
            if note.verdict_bytes > 0 { note.verdict_bytes } else { bytes_max_of(note.rows) };
        let spool = &self.syncs.parts.spool;
        let rows = spool.bytes_of(number, Part::Rows);
        let job = Arc::new(Job::new(number, note, spool.bytes(number)));
        job.reserved.store(rows.saturating_add(verdicts), Ordering::Relaxed);
        self.syncs.jobs().insert(Arc::clone(&job));
        if is_over {
            // The end was noted, and then the node was killed.
            self.remove_rows(&job);
        } else if cancel_asked && self.syncs.jobs().withdraw(number) {
            self.end_job(&job, State::Cancelled);
            self.syncs.jobs().ended(number);
        }
    }

    /// Removes the jobs that were kept long enough, and tries once more what could not be done.
    fn sweep_jobs(&self) {
        let unread = self.syncs.jobs().unread().clone();
        for number in unread {
            self.look_for(number);
        }
        let unsettled = self.syncs.jobs().unsettled();
        for job in unsettled {
            let _one = job.noting.lock().unwrap_or_else(PoisonError::into_inner);
            self.settle(&job, |_| ());
        }
        let bounds = &self.syncs.parts.bounds;
        let oldest = self.parts.clock.unix_ms().saturating_sub(bounds.keep_ms);
        let over = self.syncs.jobs().over_before(oldest);
        for job in over {
            match self.syncs.parts.spool.remove(job.number) {
                Ok(()) => self.syncs.jobs().remove(job.number),
                Err(error) => tracing::warn!(%error, "a job that is over cannot be removed"),
            }
        }
    }

    /// Notes that a job is over. Its rows are not kept.
    pub(super) fn end_job(&self, job: &Job, state: State) {
        let now = self.parts.clock.unix_ms();
        let end = |note: &mut Note| (note.state, note.finished_ms) = (state, Some(now));
        let _one = job.noting.lock().unwrap_or_else(PoisonError::into_inner);
        self.settle(job, end);
        // It is told whether or not that could be noted.
        job.change(end);
    }

    /// Writes down that a job is over, and removes its rows. What cannot be done now is tried from
    /// time to time; the next start of the node takes up a job whose end is not noted once more,
    /// for which its rows stay. Whoever asks holds the lock on what is noted.
    fn settle(&self, job: &Job, end: impl Fn(&mut Note)) {
        match self.write(job, end) {
            Ok(()) => self.remove_rows(job),
            Err(error) => tracing::warn!(%error, "the end of a job is not noted"),
        }
    }

    /// Rows are kept for their job alone.
    fn remove_rows(&self, job: &Job) {
        let spool = &self.syncs.parts.spool;
        match spool.remove_part(job.number, Part::Rows) {
            Ok(()) => job.has_rows.store(false, Ordering::Relaxed),
            Err(error) => {
                tracing::warn!(%error, "the rows of a job that is over cannot be removed");
            }
        }
        job.bytes.store(spool.bytes(job.number), Ordering::Relaxed);
        job.reserved.store(0, Ordering::Relaxed);
    }

    /// Changes what is noted of a job, on the disk first.
    pub(super) fn note(&self, job: &Job, change: impl Fn(&mut Note)) -> io::Result<()> {
        let _one = job.noting.lock().unwrap_or_else(PoisonError::into_inner);
        self.write(job, &change)?;
        // Not the whole note: what else is known of the job may have grown meanwhile.
        job.change(change);
        Ok(())
    }

    fn write(&self, job: &Job, change: impl Fn(&mut Note)) -> io::Result<()> {
        let mut changed = job.note();
        change(&mut changed);
        let bytes = serde_json::to_vec(&changed).map_err(io::Error::other)?;
        self.syncs.parts.spool.write_note(job.number, &bytes)
    }

    /// Says to a job that it is to end, on the disk first: what was answered must hold after a
    /// kill, too. A job whose rows are coming has no note, and is told once it has one.
    pub(super) fn note_cancel(&self, job: &Job) -> io::Result<()> {
        let _one = job.noting.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(job.note().state, State::Queued | State::Running) {
            let ask = |note: &mut Note| note.cancel_asked = true;
            self.write(job, ask)?;
            job.change(ask);
        }
        job.cancelled.store(true, Ordering::Relaxed);
        Ok(())
    }
}
