//! What rows come to: many people at once, on every thread that jobs have.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream;

use crate::accounts::Accounts;
use crate::accounts::caller::Caller;
use crate::events::ids::UserId;

use super::apply::Asker;
use super::jobs::Job;
use super::merge::{merge, people};
use super::patience::{Cancelled, Patience};
use super::row::{Fault, Row, reference_of};
use super::target::Stop;
use super::unit::Unit;
use super::verdict::{Came, Judged, Verdict};

/// What became of a group.
pub(super) enum Passed {
    Judged(Vec<Judged>),
    /// It names a time that has not come yet.
    Waits(u64),
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
            return Passed::Waits(latest);
        }
        let Ok(people) = self.people(rows).await else { return Passed::Cancelled };
        for person in people {
            let named: Vec<_> =
                person.iter().map(|(line, row)| (line + 1, row.reference.clone())).collect();
            let Ok(came) = self.came(person).await else { return Passed::Cancelled };
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
    async fn people(&self, rows: Vec<(u32, Row)>) -> Result<Vec<Vec<(u32, Row)>>, Cancelled> {
        if rows.len() < 2 {
            return Ok(rows.into_iter().map(|row| vec![row]).collect());
        }
        let mut meant = Vec::with_capacity(rows.len());
        for (_, row) in &rows {
            meant.push(self.accounts.meant(&self.job, &self.asker.caller, row).await?);
        }
        let places: Vec<_> = rows.iter().zip(&meant).map(|((_, row), user)| (row, *user)).collect();
        let people = people(&places);
        let mut rows: Vec<_> = rows.into_iter().map(Some).collect();
        let mut take = |place: usize| rows.get_mut(place).and_then(Option::take);
        let taken = people.into_iter().map(|them| them.into_iter().filter_map(&mut take).collect());
        Ok(taken.collect())
    }

    /// What the rows of one person come to.
    async fn came(&self, person: Vec<(u32, Row)>) -> Result<Came, Cancelled> {
        let row = match merge(person.into_iter().map(|(_, row)| row).collect()) {
            Ok(row) => row,
            Err(fault) => return Ok(Came::refused(Verdict::Conflict, fault)),
        };
        let mut patience = Patience::with(&self.job);
        loop {
            let error = match self.accounts.apply(&self.asker, &row).await {
                Ok(came) => return Ok(came),
                Err(error) => error,
            };
            if !patience.wait(&error).await? {
                tracing::warn!(%error, "a row of a bulk sync cannot be applied");
                return Ok(Came::refused(Verdict::Invalid, Fault::whole("not_ready")));
            }
        }
    }
}

impl Accounts {
    /// The user that a row means by itself; nobody where it makes one, or is not taken.
    pub(super) async fn meant(
        &self,
        job: &Job,
        caller: &Caller,
        row: &Row,
    ) -> Result<Option<UserId>, Cancelled> {
        let mut patience = Patience::with(job);
        loop {
            let error = match self.target(caller, row).await {
                Ok(target) => return Ok(target.user()),
                Err(Stop::Came(_) | Stop::Again) => return Ok(None),
                Err(Stop::Failed(error)) => error,
            };
            if !patience.wait(&error).await? {
                return Ok(None);
            }
        }
    }
}
