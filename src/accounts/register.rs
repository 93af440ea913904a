//! Registering a user.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::actors::directory::Reserved;
use crate::actors::house::Asked;
use crate::actors::{Failure, Unavailable};
use crate::clock;
use crate::crypto::secret::Password;
use crate::events::command::{self, Command, NewClaim, Rejection, Rest};
use crate::events::event::{FieldChange, IdentityClaimed};
use crate::events::ids::{Country, FieldName, IdentityKind, Slot, UserId};
use crate::events::policy::Scope;

use super::caller::Caller;
use super::error::{AccountError, FieldError};
use super::identity::Identity;
use super::legacy::GivenHash;
use super::limits::Limit;
use super::repeat::Once;
use super::vault::{KeyFailure, Place, UserKeys};
use super::view::UserView;
use super::{Accounts, Loaded};

/// A profile field in clear, as JSON; none removes it.
pub(super) type ClearField = (FieldName, Option<Vec<u8>>);

/// Longest value of a profile field, in bytes of JSON.
pub const FIELD_BYTES_MAX: usize = 4096;

/// What a company registers.
#[derive(Debug)]
pub struct Registration {
    /// The country it does so in.
    pub country: Country,
    /// The e-mail address.
    pub email: Option<String>,
    /// The phone number.
    pub phone: Option<String>,
    /// Whether the company says it verified the address.
    pub email_verified: bool,
    /// Whether the company says it verified the number.
    pub phone_verified: bool,
    /// The password.
    pub password: Option<Password>,
    /// The hash the company has.
    pub legacy_hash: Option<GivenHash>,
    /// The profile.
    pub profile: BTreeMap<String, Value>,
}

impl Accounts {
    /// Registers a user. It goes on by itself: a caller that hangs up halfway does not leave an
    /// identity free while its registration is on its way to the disk.
    pub async fn register(
        self: &Arc<Self>,
        caller: Caller,
        registration: Registration,
    ) -> Result<UserView, AccountError> {
        caller.require(Scope::Write)?;
        caller.require_country(registration.country)?;
        let accounts = Arc::clone(self);
        let running =
            super::by_itself(async move { accounts.register_once(&caller, registration).await });
        running.await.map_err(|_| AccountError::Unavailable(Unavailable::NotReady))?
    }

    async fn register_once(
        &self,
        caller: &Caller,
        registration: Registration,
    ) -> Result<UserView, AccountError> {
        match self.once(caller).await? {
            Once::Repeated(loaded) => self.view(&loaded, true).await,
            // Held until the answer is known: whoever repeats the call finds what it recorded.
            Once::First(_held) => {
                self.take(caller.key, Limit::Claims)?;
                let registered = self.do_register(caller, registration).await;
                self.claimed(caller, &registered);
                registered
            }
        }
    }

    async fn do_register(
        &self,
        caller: &Caller,
        registration: Registration,
    ) -> Result<UserView, AccountError> {
        let Registration { country, email, phone, password, legacy_hash, profile, .. } =
            &registration;
        let (email, phone) = (email.as_deref(), phone.as_deref());
        let identities = self.reader().read_both(email, phone, Some(*country))?;
        if identities.is_empty() {
            let detail = "a user needs an email or a phone";
            return Err(AccountError::field("email", "required", detail));
        }
        if password.is_some() && legacy_hash.is_some() {
            let detail = "give either a password or a legacy_hash";
            return Err(AccountError::field("legacy_hash", "one_of", detail));
        }
        let fields = read_fields(profile)?;
        if let Some((field, _)) = fields.iter().find(|(_, value)| value.is_none()) {
            let field = format!("profile.{}", field.as_str());
            return Err(AccountError::field(&field, "null", "a new user has nothing to remove"));
        }
        self.record(caller, registration, identities, fields).await
    }

    async fn record(
        &self,
        caller: &Caller,
        registration: Registration,
        identities: Vec<Identity>,
        fields: Vec<ClearField>,
    ) -> Result<UserView, AccountError> {
        let slot = Slot { company: caller.company, country: registration.country };
        let admitted = match registration.legacy_hash {
            Some(given) => Some(self.admit(slot, given).await?),
            None => None,
        };
        let hash = match registration.password {
            Some(password) => Some(self.hash(caller, password).await?),
            None => None,
        };
        let user = self.new_user_id()?;
        let (keys, key) = self.parts.vault.new_user_key(user).await?;
        let secret = hash.map(|hash| self.seal_secret(user, &keys, &hash)).transpose()?;
        let legacy = admitted.map(|it| self.seal_legacy(user, &keys, &it)).transpose()?;
        let profile = self.seal_fields(user, &keys, fields)?;
        let verified = |kind| match kind {
            IdentityKind::Email => registration.email_verified,
            IdentityKind::Phone => registration.phone_verified,
        };
        let mut claims = Vec::new();
        for identity in &identities {
            claims.push(self.seal_claim(user, &keys, identity, verified(identity.kind))?);
        }
        let held = self.reserve_all(caller, &identities).await?;
        let claims = with_rivals(claims, &held);
        let (company, country) = (caller.company, registration.country);
        let register = command::Register { company, country, key, claims, secret, legacy, profile };
        let asked = Asked {
            command: Command::Register(register),
            caller: caller.as_company(),
            cause: caller.cause_of_once(),
            if_seen: None,
            rest: Rest::NONE,
        };
        let answered = self.parts.house.ask(user, asked).await;
        drop(held);
        if let Err(Failure::Rejected(Rejection::IdentityTaken { by })) = answered {
            return Err(AccountError::IdentityTaken { user: self.told(caller, by).await });
        }
        let state = answered?.state;
        self.parts.vault.remember(user, keys);
        // The user as it was registered, whatever others have made of it by now: that is what a
        // repeat is answered with, too.
        let loaded = Loaded { requested: user, users: BTreeMap::from([(user, state)]) };
        self.view(&loaded, true).await
    }

    /// Holds identities in one order for everybody, so that no two commands wait for each other.
    pub(super) async fn reserve_all(
        &self,
        caller: &Caller,
        identities: &[Identity],
    ) -> Result<Vec<Reserved>, AccountError> {
        let mut indexes: Vec<_> = identities.iter().map(|identity| identity.index).collect();
        indexes.sort_unstable();
        indexes.dedup();
        let mut held = Vec::with_capacity(indexes.len());
        for index in indexes {
            held.push(self.parts.house.reserve(index, caller.company).await?);
        }
        Ok(held)
    }

    /// Seals a claim. Whether "verified" counts is decided by the rules.
    pub(super) fn seal_claim(
        &self,
        user: UserId,
        keys: &UserKeys,
        identity: &Identity,
        verified: bool,
    ) -> Result<IdentityClaimed, AccountError> {
        let place = Place::Identity(identity.kind.as_str());
        let value = self.parts.vault.seal(user, keys, place, identity.value.as_bytes())?;
        Ok(IdentityClaimed { index: identity.index, verified, value, since: None })
    }

    /// Seals profile fields.
    pub(super) fn seal_fields(
        &self,
        user: UserId,
        keys: &UserKeys,
        fields: Vec<ClearField>,
    ) -> Result<Vec<FieldChange>, AccountError> {
        let mut changes = Vec::with_capacity(fields.len());
        for (field, value) in fields {
            let place = Place::Field(field.as_str());
            let value = match value {
                Some(clear) => Some(self.parts.vault.seal(user, keys, place, &clear)?),
                None => None,
            };
            changes.push(FieldChange { field, value });
        }
        Ok(changes)
    }

    pub(super) fn new_user_id(&self) -> Result<UserId, AccountError> {
        let random = clock::random(self.parts.entropy.as_ref())
            .map_err(|_| KeyFailure::Unavailable("no randomness"))?;
        Ok(UserId::new(self.parts.clock.unix_ms(), random))
    }
}

/// Puts to each claim who claims the identity now.
pub(super) fn with_rivals(claims: Vec<IdentityClaimed>, held: &[Reserved]) -> Vec<NewClaim> {
    let rivals = |claim: &IdentityClaimed| {
        let reserved = held.iter().find(|reserved| reserved.index() == claim.index);
        reserved.map(|reserved| reserved.claimants.clone()).unwrap_or_default()
    };
    claims.into_iter().map(|claim| NewClaim { rivals: rivals(&claim), claim }).collect()
}

/// Reads profile fields: names, sizes, and null for a removal. Names everything wrong at once.
pub(super) fn read_fields(
    profile: &BTreeMap<String, Value>,
) -> Result<Vec<ClearField>, AccountError> {
    let mut fields = Vec::with_capacity(profile.len());
    let mut wrong = Vec::new();
    for (name, value) in profile {
        match read_field(name, value) {
            Ok(field) => fields.push(field),
            Err(error) => wrong.push(error),
        }
    }
    if wrong.is_empty() { Ok(fields) } else { Err(AccountError::InvalidFields(wrong)) }
}

fn read_field(name: &str, value: &Value) -> Result<ClearField, FieldError> {
    let path = || format!("profile.{}", shown(name));
    let field: FieldName =
        name.parse().map_err(|error| FieldError::new(&path(), "invalid_name", error))?;
    if value.is_null() {
        return Ok((field, None));
    }
    let clear = serde_json::to_vec(value)
        .map_err(|_| FieldError::new(&path(), "invalid", "the value cannot be kept"))?;
    if clear.len() > FIELD_BYTES_MAX {
        let detail = "a value is at most 4096 bytes of JSON";
        return Err(FieldError::new(&path(), "too_long", detail));
    }
    Ok((field, Some(clear)))
}

/// The part of a name that may be repeated to the caller.
fn shown(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(64).collect()
}
