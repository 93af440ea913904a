//! Logging a user in: the path that matters.

use std::net::IpAddr;
use std::sync::Arc;

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

use super::attempt::Attempt;
use super::caller::Caller;
use super::error::AccountError;
use super::guessing::Way;
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
    /// Where the company's customer calls it from.
    pub client: Option<IpAddr>,
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
    /// Logs a user in. A failure is answered on a tick of a fixed quantum, so that the work done
    /// for it does not show. It goes on by itself, so a caller that hangs up is counted as well.
    pub async fn login(
        self: &Arc<Self>,
        caller: Caller,
        login: Login,
    ) -> Result<LoginView, AccountError> {
        caller.require(Scope::Login)?;
        caller.require_country(login.country)?;
        let way = self.way(&login)?;
        let accounts = Arc::clone(self);
        let running = super::by_itself(async move {
            let mut attempt = accounts.attempt(&caller, way, login.client)?;
            let answered = accounts.do_login(&caller, way, login, &mut attempt).await;
            attempt.end(answered).await
        });
        running.await.map_err(|_| AccountError::Unavailable(Unavailable::NotReady)).flatten()
    }

    /// How a login names its user: what attempts are counted by.
    fn way(&self, login: &Login) -> Result<Way, AccountError> {
        match &login.who {
            Who::User(user) => Ok(Way::User(*user)),
            Who::Identity(kind, typed) => {
                let identity = self.reader().read(*kind, typed, Some(login.country))?;
                Ok(Way::Identity(identity.index))
            }
        }
    }

    async fn do_login(
        &self,
        caller: &Caller,
        way: Way,
        login: Login,
        attempt: &mut Attempt<'_>,
    ) -> Result<LoginView, AccountError> {
        let own = Slot { company: caller.company, country: login.country };
        let accounts = attempt.once_each(self.whom(caller, way).await?);
        let found = self.try_accounts(caller, accounts, (login.password, own), attempt).await;
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

    /// The accounts whose password it may be. Who is not there has none.
    async fn whom(&self, caller: &Caller, way: Way) -> Result<Vec<Loaded>, AccountError> {
        let users = match way {
            Way::User(user) => vec![user],
            Way::Identity(index) => {
                let claimants = self.parts.house.find(index, caller.company).await?;
                account::tried(&claimants).into_iter().map(|it| it.user).collect()
            }
        };
        let mut accounts = Vec::with_capacity(users.len());
        for user in users {
            match self.load(user).await {
                Err(AccountError::UserNotFound | AccountError::UserErased) => {}
                loaded => accounts.push(loaded?),
            }
        }
        Ok(accounts)
    }

    /// Tries a password at each account that it may be tried at. Where there is none it is tried on
    /// a decoy, so that a user who is not there waits and works as one does who is.
    async fn try_accounts(
        &self,
        caller: &Caller,
        accounts: Vec<Loaded>,
        (password, own): (Password, Slot),
        attempt: &mut Attempt<'_>,
    ) -> Result<(Loaded, Tried, Option<SecretHash>), AccountError> {
        let budget = self.parts.settings.verify_budget;
        if accounts.is_empty() {
            attempt.may_try_nobody()?;
            self.try_candidates(caller, password, (Vec::new(), budget), attempt).await?;
            return Err(AccountError::InvalidCredentials);
        }
        // A login has one budget, however many users its identity may mean.
        let budget = budget.shared_by(u32::try_from(accounts.len()).unwrap_or(u32::MAX));
        // An account that lets nobody try keeps nobody from trying another one of that name.
        let mut answered = None;
        for loaded in accounts {
            if let Err(refused) = attempt.may_try(&loaded) {
                answered.get_or_insert(Err(refused));
                continue;
            }
            let how = (Some(own), budget);
            let tried = self.verify(caller, &loaded, password.clone(), how, attempt).await;
            let is_wrong = matches!(tried, Err(AccountError::InvalidCredentials));
            answered = Some(tried.map(|(matched, upgrade)| (loaded, matched, upgrade)));
            if !is_wrong {
                break;
            }
        }
        answered.unwrap_or(Err(AccountError::InvalidCredentials))
    }

    /// Tries a password against the credentials that count, and makes a new hash of it where the
    /// one that matched is not a secret at the current cost.
    async fn verify(
        &self,
        caller: &Caller,
        loaded: &Loaded,
        password: Password,
        (own, budget): (Option<Slot>, Budget),
        attempt: &mut Attempt<'_>,
    ) -> Result<(Tried, Option<SecretHash>), AccountError> {
        let Opened { tried, candidates, closed } = self.open_candidates(loaded, own).await?;
        let what = (candidates, budget);
        let (index, upgrade) = match self.try_candidates(caller, password, what, attempt).await {
            // What could not be tried may have been the right one.
            Err(AccountError::InvalidCredentials) => {
                return Err(closed.unwrap_or(AccountError::InvalidCredentials));
            }
            matched => matched?,
        };
        let matched = tried.into_iter().nth(index).ok_or(AccountError::HashFailed)?;
        attempt.matched(loaded);
        Ok((matched, upgrade))
    }

    /// Tries a password on the pool; on a decoy where there is nothing to try.
    async fn try_candidates(
        &self,
        caller: &Caller,
        password: Password,
        (mut candidates, budget): (Vec<Candidate>, Budget),
        attempt: &mut Attempt<'_>,
    ) -> Result<(usize, Option<SecretHash>), AccountError> {
        // U+0000 ends a password for some schemes: with it, other passwords would do as well.
        if password.expose().contains('\0') {
            return Err(AccountError::InvalidCredentials);
        }
        let cost = self.parts.settings.cost;
        if candidates.is_empty() {
            let decoy = SecretHash::decoy(cost).map_err(|_| AccountError::HashFailed)?;
            candidates.push(Candidate { tag: 0, hash: CandidateHash::Secret(decoy) });
        }
        let job = Job::VerifyThenHash { password, candidates, budget, cost };
        let computed = self.compute(caller, job).await?;
        attempt.computed(&computed);
        match computed.outcome {
            Outcome::Matched { index, upgrade, .. } => Ok((index, upgrade)),
            Outcome::Mismatched | Outcome::BudgetExhausted { .. } => {
                Err(AccountError::InvalidCredentials)
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
        changed.linked = self.link_by_itself(caller, loaded).await;
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
        attempt: &mut Attempt<'_>,
    ) -> Result<command::Proof, AccountError> {
        let budget = self.parts.settings.verify_budget;
        let (matched, _) = self.verify(caller, loaded, password, (None, budget), attempt).await?;
        Ok(command::Proof { user: matched.user, mark: matched.mark })
    }
}

/// What a login recorded.
#[derive(Debug, Clone, Copy, Default)]
struct Changed {
    upgraded: bool,
    joined: bool,
    linked: bool,
}

impl Changed {
    const fn any(self) -> bool {
        self.upgraded || self.joined || self.linked
    }
}
