//! A password that is tried: let through or not, timed, and counted when it ends.

use std::net::IpAddr;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use crate::events::ids::UserId;

use super::caller::Caller;
use super::error::AccountError;
use super::guessing::{Ended, Guess, Guessing, Refused, Snapshot, Ticket, Way};
use super::limits::Policy;
use super::{Accounts, Loaded};

/// How much of a quantum is kept for the work of a failure, in fifths.
const RESERVED_FIFTHS: u32 = 4;

/// An attempt under way. Dropped without an end, it counts as failed.
pub(super) struct Attempt<'a> {
    accounts: &'a Accounts,
    caller: &'a Caller,
    ticket: Option<Ticket>,
    /// Whether the company's limit of failed logins was taken from.
    metered: bool,
    started: Duration,
    queued: Duration,
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
        let guess = Guess::new(way, caller.company, client);
        let ticket = self.guessing().begin(started, guess)?;
        let metered = !ticket.is_of_known_client();
        if metered && let Err(exceeded) = self.take(caller.key, Policy::FailedLogins) {
            self.guessing().end(started, ticket, Ended::Undone);
            return Err(exceeded);
        }
        let (ticket, queued) = (Some(ticket), Duration::ZERO);
        Ok(Attempt { accounts: self, caller, ticket, metered, started, queued })
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
    /// Whose password it is. Refused where the account's own count says so.
    pub(super) fn is_for(&mut self, loaded: &Loaded) -> Result<(), AccountError> {
        let Some(ticket) = self.ticket.as_mut() else { return Ok(()) };
        let now = self.accounts.parts.clock.monotonic();
        self.accounts.guessing().of_account(now, ticket, loaded.count_as())?;
        Ok(())
    }

    /// Notes how long it waited for the hash pool.
    pub(super) const fn waited(&mut self, queued: Duration) {
        self.queued = queued;
    }

    /// Ends it. A failure is held back until its tick, so that the work done for it does not show,
    /// and is under way until then, so that what else is let through does not show it either.
    pub(super) async fn end<T>(
        mut self,
        answered: Result<T, AccountError>,
    ) -> Result<T, AccountError> {
        let ended = match &answered {
            // A disabled user is told so for the right password only.
            Ok(_) | Err(AccountError::UserDisabled) => Ended::Right,
            Err(AccountError::InvalidCredentials) => Ended::Wrong,
            Err(_) => Ended::Undone,
        };
        if ended == Ended::Wrong {
            let elapsed = self.accounts.parts.clock.monotonic().saturating_sub(self.started);
            let quantum = self.accounts.parts.settings.failure_quantum;
            tokio::time::sleep(until_tick(quantum, self.queued, elapsed)).await;
        }
        self.settle(ended);
        answered
    }

    fn settle(&mut self, ended: Ended) {
        let Some(ticket) = self.ticket.take() else { return };
        let now = self.accounts.parts.clock.monotonic();
        self.accounts.guessing().end(now, ticket, ended);
        if self.metered && ended != Ended::Wrong {
            self.accounts.give_back(self.caller.key, Policy::FailedLogins);
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

/// How long after `elapsed` a failure is answered that waited `queued` of it for the hash pool.
///
/// It is answered at the first multiple of the quantum for which work that takes up to four fifths
/// of one would have been ready. Which multiple that is depends on the queue, which is the same for
/// everybody, and not on how long the hashing took: without that reserve a busy node would answer
/// cheap hashes a tick before dear ones whenever the queue left too little of the tick for these.
fn until_tick(quantum: Duration, queued: Duration, elapsed: Duration) -> Duration {
    let reserved = quantum * RESERVED_FIFTHS / 5;
    let ready = elapsed.max(queued.saturating_add(reserved));
    let ticks = ready.as_nanos().div_ceil(quantum.as_nanos().max(1)).max(1);
    let tick = quantum.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX));
    tick.saturating_sub(elapsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered_at(queued: u64, work: u64) -> u128 {
        let elapsed = Duration::from_millis(queued + work);
        let rest = until_tick(Duration::from_millis(500), Duration::from_millis(queued), elapsed);
        (elapsed + rest).as_millis()
    }

    #[test]
    fn the_tick_of_a_failure_depends_on_the_queue_and_not_on_the_work() {
        for queued in [0, 1, 99, 100, 101, 260, 499, 500, 501, 1230] {
            let nothing = answered_at(queued, 0);
            assert!(nothing.is_multiple_of(500));
            assert!(nothing >= u128::from(queued) + 400);
            for work in [1, 60, 240, 250, 399, 400] {
                assert_eq!(answered_at(queued, work), nothing, "{queued} ms, {work} ms");
            }
        }
        assert_eq!(answered_at(0, 240), 500);
    }

    #[test]
    fn work_beyond_the_reserve_is_answered_at_the_next_tick_too() {
        for work in [401, 500, 501, 999, 1000, 4321] {
            let at = answered_at(0, work);
            assert!(
                at.is_multiple_of(500) && at >= u128::from(work) && at < u128::from(work) + 500
            );
        }
    }
}
