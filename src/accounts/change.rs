//! Changing a user: profile, password, legacy hash, identities, status.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::actors::Unavailable;
use crate::crypto::secret::{self, Password};
use crate::events::account::Seen;
use crate::events::command::{Command, Outcome, Proof, Rejection, SetPassword};
use crate::events::ids::{Country, IdentityKind, Slot, UserId};
use crate::events::policy::{Policy, Scope};

use super::caller::Caller;
use super::error::AccountError;
use super::guessing::Way;
use super::legacy::GivenHash;
use super::limits::Limit;
use super::register::{read_fields, with_rivals};
use super::{Accounts, Loaded};

impl Accounts {
    /// Writes profile fields; null removes one.
    pub async fn update_profile(
        &self,
        caller: &Caller,
        user: UserId,
        profile: &BTreeMap<String, Value>,
        if_seen: Option<Seen>,
    ) -> Result<Seen, AccountError> {
        caller.require(Scope::Write)?;
        let fields = read_fields(profile)?;
        let loaded = self.load(user).await?;
        let keys = self.parts.vault.keys_of(user).await?;
        let changes = self.seal_fields(user, &keys, fields)?;
        let command = Command::UpdateProfile(changes);
        Ok(self.ask(caller, &loaded, if_seen, command).await?.1)
    }

    /// Sets the password.
    pub async fn set_password(
        &self,
        caller: &Caller,
        user: UserId,
        password: Password,
        current: Option<Password>,
    ) -> Result<Seen, AccountError> {
        caller.require(Scope::Write)?;
        secret::check_new(&password)?;
        let loaded = self.load(user).await?;
        let proof = match current {
            Some(current) => Some(self.prove_current(caller, &loaded, current).await?),
            None => None,
        };
        if proof.is_none() {
            caller.require_policy(Policy::Password, &loaded)?;
        }
        let hash = self.hash(caller, password).await?;
        let keys = self.parts.vault.keys_of(user).await?;
        let secret = self.seal_secret(user, &keys, &hash)?;
        let command = Command::SetPassword(SetPassword { secret, proof });
        match self.ask(caller, &loaded, None, command).await {
            Err(AccountError::Rejected(Rejection::ProofOutdated)) => {
                Err(AccountError::InvalidCredentials)
            }
            answered => {
                let seen = answered?.1;
                self.forgive(&loaded);
                Ok(seen)
            }
        }
    }

    /// Verifies the current password. A wrong one is counted and answered as a failed login is.
    async fn prove_current(
        &self,
        caller: &Caller,
        loaded: &Loaded,
        current: Password,
    ) -> Result<Proof, AccountError> {
        let mut attempt = self.attempt(caller, Way::User(loaded.requested), None)?;
        let proved = match attempt.may_try(loaded) {
            Ok(()) => self.prove(caller, loaded, current, &mut attempt).await,
            Err(refused) => Err(refused),
        };
        attempt.end(proved).await
    }

    /// Adds a company's hash of the user's password.
    pub async fn add_legacy_hash(
        &self,
        caller: &Caller,
        user: UserId,
        country: Country,
        given: GivenHash,
    ) -> Result<(Seen, Outcome), AccountError> {
        caller.require(Scope::Write)?;
        caller.require_country(country)?;
        let admitted = self.admit(Slot { company: caller.company, country }, given).await?;
        let loaded = self.load(user).await?;
        let keys = self.parts.vault.keys_of(user).await?;
        let command = Command::AddLegacyHash(self.seal_legacy(user, &keys, &admitted)?);
        let (answer, seen) = self.ask(caller, &loaded, None, command).await?;
        Ok((seen, answer.outcome))
    }

    /// Claims an identity for a user.
    pub async fn claim_identity(
        self: &Arc<Self>,
        caller: Caller,
        user: UserId,
        kind: IdentityKind,
        (typed, country): (String, Option<Country>),
        verified: bool,
    ) -> Result<Seen, AccountError> {
        caller.require(Scope::Write)?;
        if let Some(country) = country {
            caller.require_country(country)?;
        }
        self.take(caller.key, Limit::Claims)?;
        let accounts = Arc::clone(self);
        // As with a registration, a caller that hangs up does not free the identity too early.
        let running = super::by_itself(async move {
            let identity = accounts.reader().read(kind, &typed, country)?;
            let loaded = accounts.load(user).await?;
            let keys = accounts.parts.vault.keys_of(user).await?;
            let claim = accounts.seal_claim(user, &keys, &identity, verified)?;
            let held = accounts.reserve_all(&caller, &[identity]).await?;
            let mut command =
                with_rivals(vec![claim], &held).into_iter().map(Command::ClaimIdentity);
            let Some(command) = command.next_back() else { return Err(AccountError::UserNotFound) };
            let answered = accounts.ask(&caller, &loaded, None, command).await;
            drop(held);
            let answered = match answered {
                Err(AccountError::Rejected(Rejection::IdentityTaken { by })) => {
                    let user = accounts.told(&caller, by).await;
                    Err(AccountError::IdentityTaken { user })
                }
                answered => answered.map(|(_, seen)| seen),
            };
            accounts.claimed(&caller, &answered);
            answered
        });
        running.await.map_err(|_| AccountError::Unavailable(Unavailable::NotReady))?
    }

    /// Releases an identity of a user.
    pub async fn release_identity(
        &self,
        caller: &Caller,
        user: UserId,
        kind: IdentityKind,
        (typed, country): (&str, Option<Country>),
    ) -> Result<Seen, AccountError> {
        caller.require(Scope::Write)?;
        if let Some(country) = country {
            caller.require_country(country)?;
        }
        let identity = self.reader().read(kind, typed, country)?;
        let loaded = self.load(user).await?;
        let _held = self.reserve_all(caller, std::slice::from_ref(&identity)).await?;
        let command = Command::ReleaseIdentity(identity.index);
        match self.ask(caller, &loaded, None, command).await {
            Err(AccountError::Rejected(Rejection::IdentityNotFound)) => {
                Err(AccountError::NotFound("the identity was"))
            }
            answered => Ok(answered?.1),
        }
    }

    /// Shuts a user out or lets it in again.
    pub async fn set_status(
        &self,
        caller: &Caller,
        user: UserId,
        active: bool,
    ) -> Result<Seen, AccountError> {
        caller.require(Scope::Write)?;
        let loaded = self.load(user).await?;
        let command = if active { Command::Enable } else { Command::Disable };
        Ok(self.ask(caller, &loaded, None, command).await?.1)
    }
}
