//! Whom a row is about.
//!
//! A row is found by its `user_id`, else by its e-mail address, else by its phone number: by the
//! first of these that it has. Trust is by user: what a company's policies do not reach, its rows
//! do not attach to. They make a user of the company's own then, beside whoever has the identity.
//! A user that the company made is the one its rows mean, also where it is linked with others' and
//! the policies no longer reach it: what they may not change of it is refused then.

use std::sync::Arc;

use crate::accounts::caller::Caller;
use crate::accounts::error::AccountError;
use crate::accounts::{Accounts, Loaded};
use crate::events::account::{Bond, Claimant};
use crate::events::ids::UserId;
use crate::events::policy::Policy;
use crate::events::state::{Claims, UserState};

use super::row::{Fault, Member, Row};
use super::verdict::{Came, Verdict};

/// Whom a row is about.
pub(super) enum Target {
    /// Nobody that is known.
    New,
    /// This user.
    Known {
        /// The user, with those it is linked with.
        loaded: Loaded,
        /// Whether it becomes the company's customer by this row.
        attaches: bool,
    },
}

impl Target {
    pub(super) const fn user(&self) -> Option<UserId> {
        match self {
            Self::New => None,
            Self::Known { loaded, .. } => Some(loaded.requested),
        }
    }
}

/// Why it goes no further with a row.
pub(super) enum Stop {
    /// The row came to this.
    Came(Came),
    /// Something changed meanwhile: it is to be looked at anew.
    Again,
    /// It cannot be said now.
    Failed(AccountError),
}

impl<E: Into<AccountError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Stop {
    pub(super) const fn invalid(fault: Fault) -> Self {
        Self::Came(Came::refused(Verdict::Invalid, fault))
    }
}

impl Accounts {
    /// Whom a row is about.
    pub(super) async fn target(&self, caller: &Caller, row: &Row) -> Result<Target, Stop> {
        if let Some(user) = row.user {
            return self.named(caller, row, user).await;
        }
        let Some((identity, verified)) = row.identities().next() else { return Ok(Target::New) };
        let claimants = self.parts.house.find(identity.index, caller.company).await?;
        self.among(caller, row, verified, claimants).await
    }

    /// Whom a row is about, of those who claim its identity.
    pub(super) async fn among(
        &self,
        caller: &Caller,
        row: &Row,
        verified: bool,
        mut claimants: Vec<Claimant>,
    ) -> Result<Target, Stop> {
        let verified = verified && caller.policies.verifies;
        claimants.retain(|it| it.is_member() || (verified && it.verified));
        claimants.sort_by_key(|it| (!it.is_member(), !it.verified, it.bond, it.since, it.user));
        for claimant in claimants {
            let loaded = match self.load(claimant.user).await {
                Err(AccountError::UserErased | AccountError::UserNotFound) => continue,
                loaded => loaded?,
            };
            // Beside one of its own there is no other of the company's.
            if claimant.bond == Bond::Own || reaches(caller, row, &loaded) {
                return Ok(Target::Known { loaded, attaches: !claimant.is_member() });
            }
        }
        Ok(Target::New)
    }

    async fn named(&self, caller: &Caller, row: &Row, user: UserId) -> Result<Target, Stop> {
        let loaded = match self.load(user).await {
            Err(AccountError::UserErased) => {
                return Err(Stop::invalid(Fault::new("user_erased", "user_id")));
            }
            Err(AccountError::UserNotFound) => {
                return Err(Stop::invalid(Fault::new("user_not_found", "user_id")));
            }
            loaded => loaded?,
        };
        let Some(state) = loaded.user() else { return Err(Stop::Again) };
        let is_member = state.is_member(caller.company);
        let proven = row.identities().any(|(identity, verified)| {
            let claims = state.claims.get(&identity.index);
            verified && caller.policies.verifies && claims.is_some_and(Claims::is_verified)
        });
        let is_own = Bond::of(caller.company, state) == Bond::Own;
        if is_own || ((is_member || proven) && reaches(caller, row, &loaded)) {
            return Ok(Target::Known { loaded, attaches: !is_member });
        }
        Err(Stop::invalid(Fault::new("policy_denied", "user_id")))
    }
}

/// Whether the company's policies reach a user with everything that a row asks for.
fn reaches(caller: &Caller, row: &Row, loaded: &Loaded) -> bool {
    let Some(state) = loaded.user() else { return false };
    let asked = [
        (Policy::Password, row.hash.is_some()),
        (Policy::Profile, !row.profile.is_empty()),
        (Policy::Identity, changes_identities(row, state)),
        (Policy::Status, row.active.is_some()),
    ];
    asked.into_iter().all(|(policy, is_asked)| !is_asked || caller.may(policy, loaded))
}

fn changes_identities(row: &Row, state: &UserState) -> bool {
    let live = |index| state.claims.get(index).is_some_and(Claims::is_live);
    let removes = matches!(row.email, Member::Null) || matches!(row.phone, Member::Null);
    removes || row.identities().any(|(identity, _)| !live(&identity.index))
}

/// The user alone, as it is registered by what is recorded next.
pub(super) fn nobody_yet(user: UserId) -> Loaded {
    let users = std::collections::BTreeMap::from([(user, Arc::<UserState>::default())]);
    Loaded { requested: user, users }
}
