//! Calls that count: what an API key takes of its limits, and gives back.

use std::sync::{MutexGuard, PoisonError};

use crate::events::ids::ApiKeyId;

use super::Accounts;
use super::caller::Caller;
use super::error::AccountError;
use super::limits::{Limit, Limits, Standing};

/// How many claims one counts as that finds its identity taken: such an answer tells that somebody
/// has it, and a company's own customers seldom ask for what others have.
const TAKEN_COUNTS_AS: u32 = 10;

impl Accounts {
    /// Takes one from what an API key may do.
    pub fn take(&self, key: ApiKeyId, limit: Limit) -> Result<(), AccountError> {
        let now = self.parts.clock.monotonic();
        self.limits().take(now, key, limit).map_err(AccountError::RateLimited)
    }

    /// How an API key stands with a limit.
    pub fn standing(&self, key: ApiKeyId, limit: Limit) -> Standing {
        let now = self.parts.clock.monotonic();
        self.limits().standing(now, key, limit)
    }

    /// What was refused so far, by limit.
    pub fn limited(&self) -> impl IntoIterator<Item = (Limit, u64)> + use<> {
        self.limits().refused()
    }

    /// Gives back what turned out not to count.
    pub(super) fn give_back(&self, key: ApiKeyId, limit: Limit) {
        let now = self.parts.clock.monotonic();
        self.limits().give_back(now, key, limit);
    }

    /// Counts what came of a look-up that took a miss: only somebody who was not there, or may not
    /// be seen, is one.
    pub(super) fn looked_up<T>(&self, caller: &Caller, found: &Result<T, AccountError>) {
        let missed = matches!(
            found,
            Err(AccountError::UserNotFound | AccountError::UserErased | AccountError::Rejected(_))
        );
        if !missed {
            self.give_back(caller.key, Limit::Misses);
        }
    }

    /// Counts what came of a claim.
    pub(super) fn claimed<T>(&self, caller: &Caller, claimed: &Result<T, AccountError>) {
        if matches!(claimed, Err(AccountError::IdentityTaken { .. })) {
            let now = self.parts.clock.monotonic();
            self.limits().owe(now, caller.key, Limit::Claims, TAKEN_COUNTS_AS - 1);
        }
    }

    fn limits(&self) -> MutexGuard<'_, Limits> {
        // The readings are whole at every step, so a panic elsewhere leaves nothing half done.
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
