//! Forgetting a person: at once for everybody who asks, and later on every disk.
//!
//! The tombstone hides the user everywhere it is known. What opens the person's values and what
//! finds the person is blanked by each node after the grace (`actors::eraser`), which then confirms
//! it. A receipt is read from the user's own events: who confirmed is nowhere else.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;

use crate::events::command::{Command, Rejection};
use crate::events::ids::{NodeName, RegionId, UserId};
use crate::events::policy::{Policy, Reach, Scope};
use crate::events::record::{LogPosition, Register};
use crate::events::stamp::Origin;
use crate::events::state::UserState;

use super::caller::Caller;
use super::error::AccountError;
use super::view::rfc3339;
use super::{Accounts, Loaded, Unavailable};

/// How far an erasure has come.
#[derive(Debug, Serialize)]
pub struct Receipt {
    /// The user that was erased.
    pub user_id: UserId,
    /// `pending` or `complete`.
    pub state: &'static str,
    /// When it was erased, RFC 3339.
    pub erased_at: String,
    /// Each region of the deployment.
    pub regions: Vec<RegionReceipt>,
}

/// How far an erasure has come in a region.
#[derive(Debug, Serialize)]
pub struct RegionReceipt {
    /// The region.
    pub region: RegionId,
    /// `pending` or `complete`: every node of it that ever ran has confirmed.
    pub state: &'static str,
    /// The nodes that have not confirmed.
    pub waiting_for: Vec<String>,
}

const fn word(complete: bool) -> &'static str {
    if complete { "complete" } else { "pending" }
}

impl Accounts {
    /// Forgets a person, or says how far that has come; `everywhere` with all users the user is
    /// linked with. It goes on by itself: a caller that hangs up does not leave some of them.
    pub async fn erase(
        self: &Arc<Self>,
        caller: Caller,
        user: UserId,
        everywhere: bool,
    ) -> Result<Receipt, AccountError> {
        require_any(&caller)?;
        let accounts = Arc::clone(self);
        let running = super::by_itself(async move {
            let loaded = accounts.load_any(user).await?;
            if loaded.user().is_none_or(|state| !state.is_live() && state.erased.is_none()) {
                return Err(AccountError::UserNotFound);
            }
            accounts.erase_live(&caller, &loaded, everywhere).await?;
            accounts.receipt_of(user).await
        });
        running.await.map_err(|_| AccountError::Unavailable(Unavailable::NotReady))?
    }

    /// Erases a user, or all of its account who are there. One who is gone already leads to the
    /// others all the same; and the one that was asked for is erased last, so that a call that was
    /// cut short says `complete` of nobody before all are gone.
    async fn erase_live(
        &self,
        caller: &Caller,
        loaded: &Loaded,
        everywhere: bool,
    ) -> Result<(), AccountError> {
        let live = loaded.users.iter().filter(|(_, state)| state.is_live()).map(|(id, _)| *id);
        let mut users: Vec<_> = live.filter(|id| everywhere || *id == loaded.requested).collect();
        users.sort_by_key(|id| *id == loaded.requested);
        if everywhere && !users.is_empty() {
            // Who may not erase all of them erases none.
            caller.require_policy(Policy::Erase, loaded)?;
        }
        if everywhere && is_elsewhere(caller, loaded) {
            return Err(self.let_go(caller, loaded, &users).await);
        }
        for user in users {
            match self.ask_of(caller, loaded, user, None, Command::Erase).await {
                Err(AccountError::Rejected(Rejection::LinkedElsewhere)) => {
                    return Err(self.let_go(caller, loaded, &[user]).await);
                }
                answered => answered?,
            };
            self.parts.vault.forget(user);
        }
        Ok(())
    }

    /// The company has no customers in the users any more, and is told why that is all.
    async fn let_go(&self, caller: &Caller, loaded: &Loaded, users: &[UserId]) -> AccountError {
        for user in users {
            let leave = Command::Leave(caller.company);
            if let Err(error) = self.ask_of(caller, loaded, *user, None, leave).await {
                return error;
            }
        }
        AccountError::Rejected(Rejection::LinkedElsewhere)
    }

    /// How far an erasure has come.
    pub async fn erasure(&self, caller: &Caller, user: UserId) -> Result<Receipt, AccountError> {
        caller.require(Scope::Erase)?;
        self.receipt_of(user).await
    }

    async fn receipt_of(&self, user: UserId) -> Result<Receipt, AccountError> {
        let state = self.parts.house.read(user).await?;
        let Some(erased) = &state.erased else {
            let nobody = AccountError::UserNotFound;
            return Err(if state.is_live() {
                AccountError::NotFound("an erasure was")
            } else {
                nobody
            });
        };
        // All of them, since a confirmation may come in before or after any other event.
        let events = self.parts.house.read_history(user, LogPosition::START, usize::MAX).await?;
        let confirming =
            events.iter().filter(|it| it.header.register == Register::ErasureConfirmed);
        let confirmed: BTreeSet<_> = confirming.map(|it| it.header.origin.name()).collect();
        let registry = self.parts.house.registry();
        let nodes: BTreeSet<_> = registry.state.lives.keys().map(Origin::name).collect();
        let regions = self.parts.vault.regions().iter();
        let regions: Vec<_> = regions.map(|it| region(*it, &nodes, &confirmed)).collect();
        Ok(Receipt {
            user_id: user,
            state: word(regions.iter().all(|region| region.state == word(true))),
            erased_at: rfc3339(erased.mark.stamp.revision.unix_ms()),
            regions,
        })
    }
}

/// A region is done when every node of it has confirmed. One of which no node was heard yet may
/// have a node that has the person.
fn region(
    region: RegionId,
    nodes: &BTreeSet<NodeName>,
    confirmed: &BTreeSet<NodeName>,
) -> RegionReceipt {
    let mut own = nodes.iter().filter(|node| node.region == region).peekable();
    let is_known = own.peek().is_some();
    let waiting_for: Vec<_> =
        own.filter(|node| !confirmed.contains(node)).map(NodeName::to_string).collect();
    RegionReceipt { region, state: word(is_known && waiting_for.is_empty()), waiting_for }
}

/// Whether a user of the account is a customer of others, and the company may erase only its own.
/// The rules say the same of each user; here it is asked before the first of several is erased.
fn is_elsewhere(caller: &Caller, loaded: &Loaded) -> bool {
    let is_others = |state: &UserState| {
        state.memberships.iter().any(|(company, cell)| cell.value && *company != caller.company)
    };
    let only_own = caller.policies.reach(Policy::Erase) == Reach::Own;
    only_own && loaded.users.values().any(|state| state.is_live() && is_others(state))
}

/// Whom a company may erase depends on the user; that it may erase anybody does not.
fn require_any(caller: &Caller) -> Result<(), AccountError> {
    caller.require(Scope::Erase)?;
    let policy = Policy::Erase;
    if caller.policies.reach(policy) == Reach::Off {
        return Err(AccountError::Rejected(Rejection::PolicyDenied { policy }));
    }
    Ok(())
}
