//! A password that is tried: let through or not, timed, and counted when it ends.

use std::net::IpAddr;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use crate::crypto::pool::Computed;
use crate::events::ids::UserId;

use super::caller::Caller;
use super::error::AccountError;
use super::guessing::{Ended, Guess, Guessing, Refused, Snapshot, Ticket, Way};
use super::limits::Limit;
use super::{Accounts, Loaded};

/// How much of a quantum is kept for the work of a failure, in quarters.
const RESERVED_QUARTERS: u32 = 3;

/// An attempt under way. Dropped without an end, it counts as failed.
pub(super) struct Attempt<'a> {
    accounts: &'a Accounts,
    caller: &'a Caller,
    ticket: Option<Ticket>,
    /// Whether the company's limit of failed logins was taken from.
    metered: bool,
    /// Whether the way leads to one account at most.
    sole: bool,
    matched: Option<UserId>,
    started: Duration,
    queued: Duration,
    lateness: Duration,
}

impl Accounts {
    /// Begins an attempt, unless there were too many.
    pub(super) fn attempt<'a>(
        &'a self,
        caller: &'a Caller,
        way: Way,
        client: Option<IpAddr>,
    ) -> Result<Attempt<'a>, AccountError> {
        let started = self.parts.clock.monotonic();
        let ticket = self.guessing().begin(started, Guess::new(way, caller.company, client))?;
        let mut attempt = Attempt {
            accounts: self,
            caller,
            ticket: Some(ticket),
            metered: false,
            sole: true,
            matched: None,
            started,
            queued: Duration::ZERO,
            lateness: Duration::ZERO,
        };
        if let Err(exceeded) = attempt.meter() {
            attempt.settle(Ended::Undone);
            return Err(exceeded);
        }
        Ok(attempt)
    }

    /// An account has a new password from somebody who may give it one: its owner need not wait any
    /// longer for what others guessed.
    pub(super) fn forgive(&self, loaded: &Loaded) {
        let now = self.parts.clock.monotonic();
        let ids = loaded.users.keys().map(|user| Way::User(*user));
        let identities = loaded.account().identities().into_iter();
        let identities = identities.map(|identity| Way::Identity(identity.index));
        self.guessing().forgive(now, loaded.count_as(), ids.chain(identities));
    }

    /// What guesses are counted now.
    pub fn guesses(&self) -> Snapshot {
        self.guessing().snapshot()
    }

    fn guessing(&self) -> MutexGuard<'_, Guessing> {
        // The counts are whole at every step, so a panic elsewhere leaves nothing half done.
        self.guessing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Loaded {
    /// The user whose count all of an account's users share.
    fn count_as(&self) -> UserId {
        self.users.keys().next().copied().unwrap_or(self.requested)
    }
}

impl Attempt<'_> {
    /// The accounts it may be for, each once, whichever of its users a name leads to.
    pub(super) fn once_each(&mut self, accounts: Vec<Loaded>) -> Vec<Loaded> {
        let mut once: Vec<Loaded> = Vec::with_capacity(accounts.len());
        for loaded in accounts {
            if once.iter().all(|other| other.count_as() != loaded.count_as()) {
                once.push(loaded);
            }
        }
        self.sole = once.len() <= 1;
        once
    }

    /// Tries an account. Refused where its count says so.
    pub(super) fn may_try(&mut self, loaded: &Loaded) -> Result<(), AccountError> {
        let now = self.accounts.parts.clock.monotonic();
        if let Some(ticket) = self.ticket.as_mut() {
            self.accounts.guessing().try_account(now, ticket, loaded.count_as())?;
        }
        self.meter()
    }

    /// Goes on without an account, where there is none.
    pub(super) fn may_try_nobody(&mut self) -> Result<(), AccountError> {
        let now = self.accounts.parts.clock.monotonic();
        if let Some(ticket) = self.ticket.as_mut() {
            self.accounts.guessing().share(now, ticket)?;
        }
        self.meter()
    }

    /// The password was an account's.
    pub(super) fn matched(&mut self, loaded: &Loaded) {
        self.matched = Some(loaded.count_as());
    }

    /// Takes a failure from what the API key has, once, for a client that is not known.
    fn meter(&mut self) -> Result<(), AccountError> {
        if !self.metered && self.ticket.as_ref().is_some_and(Ticket::is_shared) {
            self.accounts.take(self.caller.key, Limit::FailedLogins)?;
            self.metered = true;
        }
        Ok(())
    }

    /// Notes how the hash pool did.
    pub(super) const fn computed(&mut self, computed: &Computed) {
        self.queued = self.queued.saturating_add(computed.waited);
        self.lateness = computed.lateness;
    }

    /// Ends it. A failure is held back until its tick, so that the work done for it does not show,
    /// and is under way until then, so that what else is let through does not show it either.
    pub(super) async fn end<T>(
        mut self,
        answered: Result<T, AccountError>,
    ) -> Result<T, AccountError> {
        let ended = match (&answered, self.matched) {
            // A disabled user is told so for the right password only.
            (Ok(_) | Err(AccountError::UserDisabled), Some(user)) => {
                Ended::Right { user, sole: self.sole }
            }
            (Err(AccountError::InvalidCredentials), _) => Ended::Wrong,
            _ => Ended::Undone,
        };
        if ended == Ended::Wrong {
            let elapsed = self.accounts.parts.clock.monotonic().saturating_sub(self.started);
            let quantum = self.accounts.parts.settings.failure_quantum;
            tokio::time::sleep(until_tick(quantum, self.ready(quantum), elapsed)).await;
        }
        self.settle(ended);
        answered
    }

    /// When work would have been ready that is as dear as any usual one.
    ///
    /// That depends on how long the queue was and on how late the machine is just now, and on
    /// nothing of this attempt's own.
    fn ready(&self, quantum: Duration) -> Duration {
        let reserved = quantum.saturating_mul(RESERVED_QUARTERS) / 4;
        self.queued.saturating_add(reserved).saturating_add(self.lateness)
    }

    fn settle(&mut self, ended: Ended) {
        let Some(ticket) = self.ticket.take() else { return };
        let now = self.accounts.parts.clock.monotonic();
        self.accounts.guessing().end(now, ticket, ended);
        if self.metered && ended != Ended::Wrong {
            self.accounts.give_back(self.caller.key, Limit::FailedLogins);
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.settle(Ended::Wrong);
    }
}

impl From<Refused> for AccountError {
    fn from(refused: Refused) -> Self {
        Self::TooManyAttempts { retry_after: refused.retry_after }
    }
}

/// How long after `elapsed` a failure is answered: at the first multiple of the quantum at which
/// dear work would have been `ready`.
///
/// Which multiple that is must not depend on how dear this attempt's work was. With ticks alone it
/// would: a busy node would answer cheap hashes a tick before dear ones whenever the queue left too
/// little of the tick for these.
fn until_tick(quantum: Duration, ready: Duration, elapsed: Duration) -> Duration {
    let ticks = elapsed.max(ready).as_nanos().div_ceil(quantum.as_nanos().max(1)).max(1);
    let tick = quantum.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX));
    tick.saturating_sub(elapsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUANTUM: Duration = Duration::from_millis(500);

    fn answered_at(ready: u64, elapsed: u64) -> u128 {
        let (ready, elapsed) = (Duration::from_millis(ready), Duration::from_millis(elapsed));
        (elapsed + until_tick(QUANTUM, ready, elapsed)).as_millis()
    }

    #[test]
    fn the_tick_of_a_failure_does_not_depend_on_its_work() {
        for ready in [0, 1, 375, 499, 500, 501, 875, 1230] {
            let nothing = answered_at(ready, 0);
            assert!(nothing.is_multiple_of(500) && nothing >= u128::from(ready));
            assert!(nothing > 0 && nothing < u128::from(ready.max(1)) + 500);
            for elapsed in [1, 60, 240, 374, 375, ready].into_iter().filter(|it| *it <= ready) {
                assert_eq!(answered_at(ready, elapsed), nothing, "{ready} ms, {elapsed} ms");
            }
        }
    }

    #[test]
    fn work_that_is_dearer_is_answered_at_a_tick_too() {
        for elapsed in [401, 500, 501, 999, 1000, 4321] {
            let at = answered_at(375, elapsed);
            assert!(at.is_multiple_of(500));
            assert!(at >= u128::from(elapsed) && at < u128::from(elapsed) + 500);
        }
    }
}
