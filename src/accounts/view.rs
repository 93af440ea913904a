//! A user as a company sees it, opened for the answer.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::events::account::{self, Seen};
use crate::events::ids::{IdentityKind, UserId};
use crate::events::policy::{Policy, Scope};
use crate::events::stamp::Revision;

use super::caller::Caller;
use super::error::AccountError;
use super::identity::{Identity, Reader};
use super::limits::Limit;
use super::vault::{KeyFailure, Place};
use super::{Accounts, Loaded};

/// A user.
#[derive(Serialize)]
pub struct UserView {
    /// The account's canonical id.
    pub user_id: UserId,
    /// The id that was asked for, where that is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_id: Option<UserId>,
    /// What the reader has seen.
    pub revision: String,
    /// `active` or `disabled`.
    pub status: &'static str,
    /// When the account came into being, RFC 3339.
    pub created_at: String,
    /// The profile; left out where the caller has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<BTreeMap<String, Value>>,
    /// The identities; left out where the caller has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identities: Option<Vec<IdentityView>>,
    /// The other ids of the account.
    pub linked_ids: Vec<UserId>,
}

/// An identity of a user.
#[derive(Serialize)]
pub struct IdentityView {
    /// `email` or `phone`.
    pub kind: IdentityKind,
    /// The identity.
    pub value: String,
    /// Whether it is verified.
    pub verified: bool,
    /// Whether it is the main one of its kind.
    pub main: bool,
}

/// What a look-up answers.
#[derive(Debug, Clone, Serialize)]
pub struct LookupView {
    /// The account's canonical id.
    pub user_id: UserId,
    /// What a reader sees.
    pub revision: String,
    /// `active` or `disabled`.
    pub status: &'static str,
}

/// A revision's time as the contract writes it: RFC 3339, UTC, milliseconds.
pub fn rfc3339(unix_ms: u64) -> String {
    let since_1970 = i64::try_from(unix_ms).unwrap_or(i64::MAX);
    let at = jiff::Timestamp::from_millisecond(since_1970).unwrap_or(jiff::Timestamp::MAX);
    format!("{at:.3}")
}

/// The word for a status.
const fn status(active: bool) -> &'static str {
    if active { "active" } else { "disabled" }
}

impl Accounts {
    /// How identities are read here.
    pub(super) fn reader(&self) -> Reader<'_> {
        let renumberings = &self.parts.settings.renumberings;
        Reader { key: &self.parts.index_key, renumberings }
    }

    /// Reads a user. None: the caller has seen this revision already, and no key was touched.
    pub async fn get(
        &self,
        caller: &Caller,
        user: UserId,
        known: Option<Seen>,
    ) -> Result<(Seen, Option<UserView>), AccountError> {
        caller.require(Scope::Read)?;
        let loaded = self.load(user).await?;
        caller.require_policy(Policy::Read, &loaded)?;
        let seen = loaded.account().seen();
        if known == Some(seen) {
            return Ok((seen, None));
        }
        Ok((seen, Some(self.view(&loaded, true).await?)))
    }

    /// Finds a user by an identity.
    pub async fn lookup(
        &self,
        caller: &Caller,
        email: Option<&str>,
        phone: Option<&str>,
        country: Option<crate::events::ids::Country>,
    ) -> Result<LookupView, AccountError> {
        caller.require(Scope::Read)?;
        if let Some(country) = country {
            caller.require_country(country)?;
        }
        let identities = self.reader().read_both(email, phone, country)?;
        let Ok([identity]) = <[_; 1]>::try_from(identities) else {
            return Err(AccountError::field("email", "one_of", "give either email or phone"));
        };
        // Taken before it is known whether it counts: once there are none left nobody is looked
        // up, since refusing only those who are not there would say who is.
        self.take(caller.key, Limit::Misses)?;
        let found = self.find(caller, &identity).await;
        self.looked_up(caller, &found);
        found
    }

    async fn find(&self, caller: &Caller, identity: &Identity) -> Result<LookupView, AccountError> {
        let claimants = self.parts.house.find(identity.index, caller.company).await?;
        let meant = account::meant(&claimants).ok_or(AccountError::UserNotFound)?;
        let loaded = self.load(meant.user).await?;
        caller.require_policy(Policy::Read, &loaded)?;
        let account = loaded.account();
        Ok(LookupView {
            user_id: account.canonical().unwrap_or(meant.user),
            revision: account.seen().to_string(),
            status: status(account.is_active()),
        })
    }

    /// Opens an account for an answer; `whole` with profile and identities. Of whom it was erased
    /// meanwhile the key is gone: that is no key that may be had later.
    pub(super) async fn view(
        &self,
        loaded: &Loaded,
        whole: bool,
    ) -> Result<UserView, AccountError> {
        let opened = self.open_view(loaded, whole).await;
        if !matches!(opened, Err(AccountError::Keys(_))) {
            return opened;
        }
        let now = self.load(loaded.requested).await?;
        if now.account().seen() == loaded.account().seen() {
            return opened;
        }
        self.open_view(&now, whole).await
    }

    async fn open_view(&self, loaded: &Loaded, whole: bool) -> Result<UserView, AccountError> {
        let account = loaded.account();
        let canonical = account.canonical().unwrap_or(loaded.requested);
        let created = account.created().unwrap_or(Revision::ZERO);
        let mut view = UserView {
            user_id: canonical,
            requested_id: (canonical != loaded.requested).then_some(loaded.requested),
            revision: account.seen().to_string(),
            status: status(account.is_active()),
            created_at: rfc3339(created.unix_ms()),
            profile: None,
            identities: None,
            linked_ids: account.linked_ids(),
        };
        if whole {
            view.profile = Some(self.open_profile(loaded).await?);
            view.identities = Some(self.open_identities(loaded).await?);
        }
        Ok(view)
    }

    async fn open_profile(&self, loaded: &Loaded) -> Result<BTreeMap<String, Value>, AccountError> {
        let mut profile = BTreeMap::new();
        for (field, (user, sealed)) in loaded.account().profile() {
            let keys = self.parts.vault.keys_of(user).await?;
            let clear = self.parts.vault.open(user, &keys, Place::Field(field.as_str()), sealed)?;
            let value = serde_json::from_slice(&clear).map_err(|_| KeyFailure::Broken)?;
            profile.insert(field.as_str().to_owned(), value);
        }
        Ok(profile)
    }

    async fn open_identities(&self, loaded: &Loaded) -> Result<Vec<IdentityView>, AccountError> {
        let mut identities = Vec::new();
        for identity in loaded.account().identities() {
            let kind = identity.index.kind;
            let (user, place) = (identity.user, Place::Identity(kind.as_str()));
            let keys = self.parts.vault.keys_of(user).await?;
            let clear = self.parts.vault.open(user, &keys, place, identity.value)?;
            let value = String::from_utf8(clear.to_vec()).map_err(|_| KeyFailure::Broken)?;
            let (verified, main) = (identity.verified, identity.main);
            identities.push(IdentityView { kind, value, verified, main });
        }
        Ok(identities)
    }

    /// The user that is told of a taken identity, where the company may read it.
    pub(super) async fn told(&self, caller: &Caller, by: UserId) -> Option<UserId> {
        let loaded = self.load(by).await.ok()?;
        caller.may(Policy::Read, &loaded).then_some(by)
    }
}
