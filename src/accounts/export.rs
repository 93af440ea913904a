//! Telling a person all that is held: every record of every user of the account, opened, with where
//! it came from. What proves who somebody is (a password's hash) is named and not shown.

use serde::Serialize;
use serde_json::{Value, json};

use crate::actors::shard_reads::Recorded;
use crate::events::cell::Mark;
use crate::events::event::{Event, FieldChange, IdentityClaimed, LegacyHashAdded, Sealed};
use crate::events::ids::UserId;
use crate::events::policy::{Policy, Scope};
use crate::events::record::{Fact, LogPosition};
use crate::events::state::UserState;

use super::Accounts;
use super::caller::Caller;
use super::error::AccountError;
use super::history::{HistoryEntry, entry};
use super::vault::{KeyFailure, Place, UserKeys};
use super::view::{UserView, rfc3339};

/// All that is held on a person.
#[derive(Serialize)]
pub struct Export {
    /// When it was put together, RFC 3339.
    pub exported_at: String,
    /// The account as companies see it now.
    pub user: UserView,
    /// Each user of the account.
    pub users: Vec<ExportedUser>,
}

/// All that is held on one user.
#[derive(Serialize)]
pub struct ExportedUser {
    /// The user.
    pub user_id: UserId,
    /// What was recorded of it, oldest first.
    pub records: Vec<ExportedRecord>,
}

/// One record.
#[derive(Serialize)]
pub struct ExportedRecord {
    /// What happened, when, where, and who asked.
    #[serde(flatten)]
    pub entry: HistoryEntry,
    /// What it holds, in clear; `stands` says of each part whether it still counts.
    pub holds: Vec<Value>,
}

impl Accounts {
    /// All that is held on a person.
    pub async fn export(&self, caller: &Caller, user: UserId) -> Result<Export, AccountError> {
        caller.require(Scope::Read)?;
        let loaded = self.load(user).await?;
        caller.require_policy(Policy::Read, &loaded)?;
        let mut users = Vec::new();
        for (id, state) in loaded.users.iter().filter(|(_, state)| state.is_live()) {
            let history = self.parts.house.read_history(*id, LogPosition::START, usize::MAX);
            let mut records = Vec::new();
            for recorded in history.await? {
                let holds = self.open_record((*id, state), &recorded).await?;
                records.push(ExportedRecord { entry: entry(&recorded), holds });
            }
            users.push(ExportedUser { user_id: *id, records });
        }
        let exported_at = rfc3339(self.parts.clock.unix_ms());
        Ok(Export { exported_at, user: self.view(&loaded, true).await?, users })
    }

    async fn open_record(
        &self,
        (user, state): (UserId, &UserState),
        recorded: &Recorded,
    ) -> Result<Vec<Value>, AccountError> {
        let Some(event) = &recorded.event else { return Ok(Vec::new()) };
        let mark = Mark::of(&Fact::new(&recorded.header, Some(event.clone())));
        match event {
            Event::IdentityClaimed(claimed) => {
                Ok(vec![self.open_claim((user, state), mark, claimed).await?])
            }
            Event::ProfileUpdated(changes) => {
                let keys = self.parts.vault.keys_of(user).await?;
                let open = |change| self.open_change((user, state), &keys, mark, change);
                changes.iter().map(open).collect()
            }
            Event::PasswordSet(_) => {
                let stands = state.secret.as_ref().is_some_and(|cell| cell.mark == mark);
                Ok(vec![json!({ "part": "password", "scheme": "bcrypt", "stands": stands })])
            }
            Event::LegacyHashAdded(added) => {
                Ok(vec![self.name_legacy((user, state), mark, added).await?])
            }
            _ => Ok(Vec::new()),
        }
    }

    async fn open_claim(
        &self,
        (user, state): (UserId, &UserState),
        mark: Mark,
        claimed: &IdentityClaimed,
    ) -> Result<Value, AccountError> {
        let keys = self.parts.vault.keys_of(user).await?;
        let kind = claimed.index.kind.as_str();
        let clear = self.open_text(user, &keys, Place::Identity(kind), &claimed.value)?;
        let claims = state.claims.get(&claimed.index);
        let stands = claims.is_some_and(|claims| claims.live.contains_key(&mark));
        let verified = claimed.verified;
        Ok(json!({
            "part": "identity", "kind": kind, "value": clear, "verified": verified,
            "stands": stands,
        }))
    }

    fn open_text(
        &self,
        user: UserId,
        keys: &UserKeys,
        place: Place<'_>,
        sealed: &Sealed,
    ) -> Result<String, AccountError> {
        let clear = self.parts.vault.open(user, keys, place, sealed)?;
        Ok(String::from_utf8(clear.to_vec()).map_err(|_| KeyFailure::Broken)?)
    }

    fn open_change(
        &self,
        (user, state): (UserId, &UserState),
        keys: &UserKeys,
        mark: Mark,
        change: &FieldChange,
    ) -> Result<Value, AccountError> {
        let field = change.field.as_str();
        let value = match &change.value {
            Some(sealed) => {
                let clear = self.parts.vault.open(user, keys, Place::Field(field), sealed)?;
                serde_json::from_slice(&clear).map_err(|_| KeyFailure::Broken)?
            }
            None => Value::Null,
        };
        let stands = state.profile.get(&change.field).is_some_and(|cell| cell.mark == mark);
        Ok(json!({ "part": "field", "field": field, "value": value, "stands": stands }))
    }

    /// A company's hash by its scheme. One that cannot be opened now is told of all the same.
    async fn name_legacy(
        &self,
        (user, state): (UserId, &UserState),
        mark: Mark,
        added: &LegacyHashAdded,
    ) -> Result<Value, AccountError> {
        let keys = self.parts.vault.keys_of(user).await?;
        let sealed = (&added.hash, added.profile);
        let opened = self.open_legacy(user, &keys, added.slot, sealed).await;
        let scheme = opened.ok().map(|hash| hash.scheme());
        let stands = state.legacy.get(&added.slot).is_some_and(|cell| cell.mark == mark);
        Ok(json!({
            "part": "legacy_hash", "company": added.slot.company, "country": added.slot.country,
            "scheme": scheme, "stands": stands,
        }))
    }
}
