//! Logging a user in: the path that matters.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::actors::Unavailable;
use crate::actors::house::Asked;
use crate::crypto::pool::{Budget, Candidate, CandidateHash, Job, Outcome};
use crate::crypto::secret::{Password, SecretHash};
use crate::events::account::{self, Seen};
use crate::events::cell::Mark;
use crate::events::command::{self, Command, UpgradePassword};
use crate::events::ids::{Country, IdentityKind, Slot, UserId};
use crate::events::policy::{Policy, Scope};
use crate::events::stamp::EventRef;
use crate::events::state::Credential;

use super::caller::Caller;
use super::error::AccountError;
use super::vault::{KeyFailure, Place};
use super::view::UserView;
use super::{Accounts, Loaded};

/// Whom a company wants to log in.
#[derive(Debug)]
pub enum Who {
    /// By id.
    User(UserId),
    /// By an identity, as typed.
    Identity(IdentityKind, String),
}

/// A login.
#[derive(Debug)]
pub struct Login {
    /// The country it happens in.
    pub country: Country,
    /// Whom.
    pub who: Who,
    /// The password.
    pub password: Password,
    /// The revision whose profile the company has.
    pub known: Option<Seen>,
}

/// What a login answers.
#[derive(Serialize)]
pub struct LoginView {
    /// The user.
    #[serde(flatten)]
    pub user: UserView,
    /// Whether the password was hashed anew, so that no older hash counts any more.
    pub upgraded: bool,
}

/// A credential that was tried, kept to name it in an upgrade.
#[derive(Debug, Clone)]
struct Tried {
    user: UserId,
    slot: Option<Slot>,
    mark: Mark,
    lineage: Vec<EventRef>,
}

/// The credentials of an account, opened.
struct Opened {
    tried: Vec<Tried>,
    /// Each of the same place in `tried`.
    candidates: Vec<Candidate>,
    /// Why one could not be opened.
    closed: Option<AccountError>,
}

impl Accounts {
    /// Logs a user in. A failure is answered on the next tick of a fixed quantum, so that the work
    /// done for it does not show.
    pub async fn login(
        self: &Arc<Self>,
        caller: Caller,
        login: Login,
    ) -> Result<LoginView, AccountError> {
        caller.require(Scope::Login)?;
        caller.require_country(login.country)?;
        let started = self.parts.clock.monotonic();
        let accounts = Arc::clone(self);
        let running = super::by_itself(async move { accounts.do_login(&caller, login).await });
        let answered = running.await;
        let answered =
            answered.map_err(|_| AccountError::Unavailable(Unavailable::NotReady)).flatten();
        if matches!(answered, Err(AccountError::InvalidCredentials)) {
            self.wait_for_tick(started).await;
        }
        answered
    }

    /// Waits for the next tick since a call began.
    pub(super) async fn wait_for_tick(&self, started: Duration) {
        let quantum = self.parts.settings.failure_quantum.as_millis().max(1);
        let elapsed = self.parts.clock.monotonic().saturating_sub(started).as_millis();
        let rest = quantum - elapsed % quantum;
        tokio::time::sleep(Duration::from_millis(u64::try_from(rest).unwrap_or_default())).await;
    }

    async fn do_login(&self, caller: &Caller, login: Login) -> Result<LoginView, AccountError> {
        let own = Slot { company: caller.company, country: login.country };
        let mut found = Err(AccountError::InvalidCredentials);
        let users = self.whom(caller, &login).await?;
        // A login has one budget, however many users its identity may mean.
        let budget = self.parts.settings.verify_budget;
        let budget = budget.shared_by(u32::try_from(users.len()).unwrap_or(u32::MAX));
        for user in users {
            let password = login.password.clone();
            found = self.try_account(caller, user, password, (own, budget)).await;
            if !matches!(found, Err(AccountError::InvalidCredentials)) {
                break;
            }
        }
        let (loaded, matched, upgrade) = found?;
        if !loaded.account().is_active() {
            return Err(AccountError::UserDisabled);
        }
        let changed = self.record_login(caller, &loaded, matched, upgrade).await;
        let loaded = if changed.any() { self.load(loaded.requested).await? } else { loaded };
        let known = login.known == Some(loaded.account().seen());
        let whole = !known && caller.may(Policy::Read, &loaded);
        Ok(LoginView { user: self.view(&loaded, whole).await?, upgraded: changed.upgraded })
    }

    /// The users whose password it may be, in the order they are tried.
    async fn whom(&self, caller: &Caller, login: &Login) -> Result<Vec<UserId>, AccountError> {
        match &login.who {
            Who::User(user) => Ok(vec![*user]),
            Who::Identity(kind, typed) => {
                let identity = self.reader().read(*kind, typed, Some(login.country))?;
                let claimants = self.parts.house.find(identity.index, caller.company).await?;
                Ok(account::tried(&claimants).into_iter().map(|it| it.user).collect())
            }
        }
    }

    /// Tries a password at one account. One that is not there has none.
    async fn try_account(
        &self,
        caller: &Caller,
        user: UserId,
        password: Password,
        (own, budget): (Slot, Budget),
    ) -> Result<(Loaded, Tried, Option<SecretHash>), AccountError> {
        let loaded = match self.load(user).await {
            Err(AccountError::UserNotFound | AccountError::UserErased) => {
                return Err(AccountError::InvalidCredentials);
            }
            loaded => loaded?,
        };
        let (matched, upgrade) =
            self.verify(caller, &loaded, password, (Some(own), budget)).await?;
        Ok((loaded, matched, upgrade))
    }

    /// Tries a password against the credentials that count, and makes a new hash of it where the
    /// one that matched is not a secret at the current cost.
    async fn verify(
        &self,
        caller: &Caller,
        loaded: &Loaded,
        password: Password,
        (own, budget): (Option<Slot>, Budget),
    ) -> Result<(Tried, Option<SecretHash>), AccountError> {
        // U+0000 ends a password for some schemes: with it, other passwords would do as well.
        if password.expose().contains('\0') {
            return Err(AccountError::InvalidCredentials);
        }
        let Opened { tried, candidates, closed } = self.open_candidates(loaded, own).await?;
        let cost = self.parts.settings.cost;
        let job = Job::VerifyThenHash { password, candidates, budget, cost };
        match self.compute(caller, job).await? {
            Outcome::Matched { index, upgrade, .. } => {
                let matched = tried.into_iter().nth(index).ok_or(AccountError::HashFailed)?;
                Ok((matched, upgrade))
            }
            // What could not be tried may have been the right one.
            Outcome::Mismatched | Outcome::BudgetExhausted { .. } => {
                Err(closed.unwrap_or(AccountError::InvalidCredentials))
            }
            Outcome::Hashed(_)
            | Outcome::Probed { .. }
            | Outcome::Refused(_)
            | Outcome::Failed(_) => Err(AccountError::HashFailed),
        }
    }

    /// Opens the credentials that count: the slot's own first, then cheap ones first, of equal ones
    /// those of the same company first. One that cannot be opened keeps no other from being tried.
    async fn open_candidates(
        &self,
        loaded: &Loaded,
        own: Option<Slot>,
    ) -> Result<Opened, AccountError> {
        let (mut sorted, mut closed) = (Vec::new(), None);
        for candidate in loaded.account().credentials(own) {
            let account::Candidate { user, slot, mark, credential } = candidate;
            let hash = match self.open_candidate(user, slot, credential).await {
                Ok(hash) => hash,
                // Another node admitted what this one does not: no password will verify it here.
                Err(
                    error @ (AccountError::UnsupportedHash(_) | AccountError::HashCostOutOfBounds),
                ) => {
                    tracing::warn!(%user, %error, "a stored hash is left out");
                    continue;
                }
                Err(error) => {
                    closed = Some(error);
                    continue;
                }
            };
            let tried = Tried { user, slot, mark, lineage: credential.lineage.clone() };
            let company = |slot: Option<Slot>| slot.map(|slot| slot.company);
            let order = (slot != own, hash.relative_cost(), company(slot) != company(own));
            sorted.push((order, tried, hash));
        }
        sorted.sort_by_key(|(order, ..)| *order);
        let split = sorted.into_iter().map(|(_, tried, hash)| (tried, Candidate { tag: 0, hash }));
        let (tried, candidates) = split.unzip();
        Ok(Opened { tried, candidates, closed })
    }

    async fn open_candidate(
        &self,
        user: UserId,
        slot: Option<Slot>,
        credential: &Credential,
    ) -> Result<CandidateHash, AccountError> {
        let keys = self.parts.vault.keys_of(user).await?;
        let Some(slot) = slot else {
            let clear = self.parts.vault.open(user, &keys, Place::Secret, &credential.hash)?;
            let text = std::str::from_utf8(&clear).map_err(|_| KeyFailure::Broken)?;
            let hash = SecretHash::parse(text).map_err(|_| KeyFailure::Broken)?;
            return Ok(CandidateHash::Secret(hash));
        };
        let stored = (&credential.hash, credential.profile);
        Ok(CandidateHash::Legacy(self.open_legacy(user, &keys, slot, stored).await?))
    }

    /// Records what follows from a login. If that cannot be written down the user is logged in all
    /// the same: the next login does it.
    async fn record_login(
        &self,
        caller: &Caller,
        loaded: &Loaded,
        matched: Tried,
        upgrade: Option<SecretHash>,
    ) -> Changed {
        let user = loaded.requested;
        let mut changed = Changed::default();
        if let Some(hash) = upgrade {
            changed.upgraded = self.upgrade(caller, matched, &hash).await.unwrap_or_else(|error| {
                tracing::warn!(%user, %error, "an upgrade was not recorded");
                false
            });
        }
        if !loaded.account().has_member_of(caller.company) {
            let command = Command::Join(caller.company);
            changed.joined = self.follow(caller, user, command).await.unwrap_or_else(|error| {
                tracing::warn!(%user, %error, "a membership was not recorded");
                false
            });
        }
        changed
    }

    async fn upgrade(
        &self,
        caller: &Caller,
        matched: Tried,
        hash: &SecretHash,
    ) -> Result<bool, AccountError> {
        let Tried { user, slot, mark, lineage } = matched;
        let keys = self.parts.vault.keys_of(user).await?;
        let secret = self.seal_secret(user, &keys, hash)?;
        let upgrade = UpgradePassword { verified: mark, slot, lineage, secret };
        self.follow(caller, user, Command::UpgradePassword(upgrade)).await
    }

    /// Has the system do what follows from a company's call.
    async fn follow(
        &self,
        caller: &Caller,
        user: UserId,
        command: Command,
    ) -> Result<bool, AccountError> {
        let asked = Asked {
            command,
            caller: command::Caller::System,
            cause: caller.cause.clone(),
            if_seen: None,
            rest: command::Rest::NONE,
        };
        let answer = self.parts.house.ask(user, asked).await?;
        Ok(answer.outcome == command::Outcome::Applied)
    }

    /// Verifies the current password of a user, for setting a new one.
    pub(super) async fn prove(
        &self,
        caller: &Caller,
        loaded: &Loaded,
        password: Password,
    ) -> Result<command::Proof, AccountError> {
        let budget = self.parts.settings.verify_budget;
        let (matched, _) = self.verify(caller, loaded, password, (None, budget)).await?;
        Ok(command::Proof { user: matched.user, mark: matched.mark })
    }
}

/// What a login recorded.
#[derive(Debug, Clone, Copy, Default)]
struct Changed {
    upgraded: bool,
    joined: bool,
}

impl Changed {
    const fn any(self) -> bool {
        self.upgraded || self.joined
    }
}
