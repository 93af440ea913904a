//! What rows come to: many people at once, on every thread that jobs have.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream;

use crate::accounts::Accounts;
use crate::accounts::error::AccountError;
use crate::actors::Unavailable;

use super::apply::Asker;
use super::jobs::Job;
use super::merge::{merge, people};
use super::row::{Fault, Row, reference_of};
use super::run::PAUSE;
use super::unit::Unit;
use super::verdict::{Came, Judged, Verdict};

/// How long it waits for what is full at this moment only.
const SHORT_PAUSE: Duration = Duration::from_millis(5);

/// How often what cannot be opened is tried before a row is given up.
const KEY_TRIES: u32 = 40;

/// What became of a group.
pub(super) enum Passed {
    Judged(Vec<Judged>),
    /// It names a time that has not come yet.
    Waits(Unit, u64),
    Cancelled,
}

/// Whoever judges the rows of a batch.
pub(super) struct Judge {
    pub(super) accounts: Arc<Accounts>,
    pub(super) job: Arc<Job>,
    pub(super) asker: Asker,
    /// Whether what names a time to come is left for then.
    pub(super) may_wait: bool,
}

impl Judge {
    /// What groups of lines come to, in any order. None where the node is stopping.
    pub(super) async fn all(self: &Arc<Self>, units: Vec<Unit>) -> Option<Vec<Passed>> {
        let parts = &self.accounts.syncs.parts;
        // Never more rows at once than the bound, though there be more threads than that.
        let threads = parts.home.threads().min(parts.bounds.in_flight).max(1);
        let at_once = (parts.bounds.in_flight / threads).max(1);
        let size = units.len().div_ceil(threads).max(1);
        let mut units = units.into_iter();
        let mut shares: Vec<BoxFuture<'static, Vec<Passed>>> = Vec::new();
        loop {
            let share: Vec<_> = units.by_ref().take(size).collect();
            if share.is_empty() {
                break;
            }
            let judge = Arc::clone(self);
            shares.push(Box::pin(async move {
                let passing = share.into_iter().map(|unit| judge.judge(unit));
                stream::iter(passing).buffer_unordered(at_once).collect().await
            }));
        }
        let passed = parts.home.spread(shares).await?;
        Some(passed.into_iter().flatten().collect())
    }

    /// What a group of lines comes to.
    async fn judge(&self, unit: Unit) -> Passed {
        let mut judged = Vec::new();
        if let Some(lines) = unit.too_many {
            let came = Came::refused(Verdict::Conflict, Fault::whole("too_many_rows"));
            judged.extend(lines.into_iter().map(|line| came.on(line + 1, None)));
            return Passed::Judged(judged);
        }
        let mut rows = Vec::with_capacity(unit.lines.len());
        let received = (self.asker.country, self.asker.received_ms);
        for (line, bytes) in &unit.lines {
            match self.accounts.read_row(received, bytes) {
                Ok(row) => rows.push((*line, row)),
                Err(fault) => {
                    let came = Came::refused(Verdict::Invalid, fault);
                    judged.push(came.on(line + 1, reference_of(bytes)));
                }
            }
        }
        let latest = rows.iter().filter_map(|(_, row)| row.latest()).max().unwrap_or_default();
        if self.may_wait && latest > self.accounts.parts.clock.unix_ms() {
            return Passed::Waits(unit, latest);
        }
        for person in self.people(rows).await {
            let named: Vec<_> =
                person.iter().map(|(line, row)| (line + 1, row.reference.clone())).collect();
            let Some(came) = self.came(person).await else { return Passed::Cancelled };
            let first = named.first().map(|(line, _)| *line);
            for (line, reference) in named {
                let mut came = came.clone();
                // The first row of a new person makes the user, the others add to it.
                if came.verdict == Verdict::Created && Some(line) != first {
                    came.verdict = Verdict::Applied;
                }
                judged.push(came.on(line, reference));
            }
        }
        Passed::Judged(judged)
    }

    /// The rows of each person.
    async fn people(&self, rows: Vec<(u32, Row)>) -> Vec<Vec<(u32, Row)>> {
        if rows.len() < 2 {
            return rows.into_iter().map(|row| vec![row]).collect();
        }
        let mut meant = Vec::with_capacity(rows.len());
        for (_, row) in &rows {
            let target = self.accounts.target(&self.asker.caller, row).await;
            meant.push(target.ok().and_then(|target| target.user()));
        }
        let places: Vec<_> = rows.iter().zip(&meant).map(|((_, row), user)| (row, *user)).collect();
        let people = people(&places);
        let mut rows: Vec<_> = rows.into_iter().map(Some).collect();
        let mut take = |place: usize| rows.get_mut(place).and_then(Option::take);
        people.into_iter().map(|them| them.into_iter().filter_map(&mut take).collect()).collect()
    }

    /// What the rows of one person come to; none where the job is to end first.
    async fn came(&self, person: Vec<(u32, Row)>) -> Option<Came> {
        let row = match merge(person.into_iter().map(|(_, row)| row).collect()) {
            Ok(row) => row,
            Err(fault) => return Some(Came::refused(Verdict::Conflict, fault)),
        };
        let mut keys_failed = 0;
        loop {
            let error = match self.accounts.apply(&self.asker, &row).await {
                Ok(came) => return Some(came),
                Err(error) => error,
            };
            if self.job.is_cancelled() {
                return None;
            }
            let pause = match &error {
                AccountError::Unavailable(Unavailable::Overloaded) => SHORT_PAUSE,
                AccountError::Unavailable(_) => PAUSE,
                AccountError::Keys(_) if keys_failed < KEY_TRIES => {
                    keys_failed += 1;
                    PAUSE
                }
                _ => {
                    tracing::warn!(%error, "a row of a bulk sync cannot be applied");
                    let fault = Fault::whole("not_ready");
                    return Some(Came::refused(Verdict::Invalid, fault));
                }
            };
            tokio::time::sleep(pause).await;
        }
    }
}
