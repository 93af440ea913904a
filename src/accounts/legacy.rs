//! Legacy hashes at the door and at a login: which profile, which format, sealed how.

use std::sync::Arc;

use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::crypto::legacy::{self, HashProfile, LegacyHash};
use crate::events::command::AddLegacyHash;
use crate::events::event::Sealed;
use crate::events::ids::{HashProfileId, ProfileName, Slot, UserId};

use super::Accounts;
use super::error::AccountError;
use super::given::given;
use super::vault::{KeyFailure, Place, UserKeys};

/// Opened hash profiles by id. A profile's id is a digest of its content, so none ever changes.
pub type ProfileCache = Cache<HashProfileId, Arc<HashProfile>>;

/// A hash as a company gives it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenHash {
    /// The hash.
    pub hash: Zeroizing<String>,
    /// Its salt, where that has a column of its own.
    #[serde(default, deserialize_with = "given")]
    pub salt: Option<Zeroizing<String>>,
    /// The hash profile it was computed with; `default` where none is named.
    #[serde(default, deserialize_with = "given")]
    pub profile: Option<String>,
    /// When the company changed it, RFC 3339; none for what it had all along.
    #[serde(default, deserialize_with = "given")]
    pub changed_at: Option<String>,
}

impl std::fmt::Debug for GivenHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GivenHash([redacted])")
    }
}

/// What is sealed of a legacy hash.
#[derive(Serialize, Deserialize)]
struct StoredHash {
    hash: Zeroizing<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    salt: Option<Zeroizing<String>>,
}

/// A hash that was admitted: its format is known and its cost bounded.
pub struct Admitted {
    pub(super) slot: Slot,
    stored: StoredHash,
    profile: Option<HashProfileId>,
    pub(super) changed_at_unix_ms: Option<u64>,
}

impl Admitted {
    /// What is sealed of it.
    pub(super) fn clear(&self) -> Result<Zeroizing<Vec<u8>>, KeyFailure> {
        serde_json::to_vec(&self.stored).map(Zeroizing::new).map_err(|_| KeyFailure::Broken)
    }
}

/// Changes before this day are mistakes of a clock or a column: 1990-01-01.
const EARLIEST_CHANGE_UNIX_MS: u64 = 631_152_000_000;

/// A change may be this far in the future: clocks differ.
const FUTURE_MAX_MS: u64 = 60_000;

impl Accounts {
    /// Checks a hash at the door: is its format known, its cost bounded, its profile declared?
    pub(super) async fn admit(
        &self,
        slot: Slot,
        given: GivenHash,
    ) -> Result<Admitted, AccountError> {
        let name = given.profile.as_deref().unwrap_or("default");
        let name: ProfileName = name
            .parse()
            .map_err(|error| AccountError::field("legacy_hash.profile", "invalid", error))?;
        let registry = self.parts.house.registry();
        let company = registry.state.companies.get(&slot.company);
        let declared = company.and_then(|it| it.profiles.get(&(slot.country, name)));
        let profile = match declared {
            Some(cell) => Some((cell.value, self.profile(slot, cell.value).await?)),
            None if given.profile.is_some() => {
                return Err(AccountError::UnsupportedHash(
                    "no hash profile of this name is declared for the country",
                ));
            }
            None => None,
        };
        let content = profile.as_ref().map(|(_, content)| content.as_ref());
        let salt = given.salt.as_ref().map(|salt| salt.as_str());
        legacy::admit(&given.hash, salt, content, self.parts.settings.limits)?;
        let now = self.parts.clock.unix_ms();
        let changed_at_unix_ms =
            given.changed_at.as_deref().map(|text| read_change_time(text, now)).transpose()?;
        let stored = StoredHash { hash: given.hash, salt: given.salt };
        Ok(Admitted { slot, stored, profile: profile.map(|(id, _)| id), changed_at_unix_ms })
    }

    /// Seals an admitted hash for a user.
    pub(super) fn seal_legacy(
        &self,
        user: UserId,
        keys: &UserKeys,
        admitted: &Admitted,
    ) -> Result<AddLegacyHash, AccountError> {
        let clear = admitted.clear()?;
        let Admitted { slot, profile, changed_at_unix_ms, .. } = *admitted;
        let place = slot.to_string();
        let hash = self.parts.vault.seal(user, keys, Place::Legacy(&place), &clear)?;
        Ok(AddLegacyHash { slot, hash, profile, changed_at_unix_ms })
    }

    /// Opens a stored hash for a login.
    pub(super) async fn open_legacy(
        &self,
        user: UserId,
        keys: &UserKeys,
        slot: Slot,
        (sealed, profile): (&Sealed, Option<HashProfileId>),
    ) -> Result<LegacyHash, AccountError> {
        let place = slot.to_string();
        let clear = self.parts.vault.open(user, keys, Place::Legacy(&place), sealed)?;
        let stored: StoredHash = serde_json::from_slice(&clear).map_err(|_| KeyFailure::Broken)?;
        let profile = match profile {
            Some(id) => Some(self.profile(slot, id).await?),
            None => None,
        };
        let salt = stored.salt.as_ref().map(|salt| salt.as_str());
        let limits = self.parts.settings.limits;
        Ok(legacy::admit(&stored.hash, salt, profile.as_deref(), limits)?)
    }

    /// A declared profile's content, from memory or opened.
    pub(super) async fn profile(
        &self,
        slot: Slot,
        id: HashProfileId,
    ) -> Result<Arc<HashProfile>, AccountError> {
        if let Some(profile) = self.profiles.get(&id) {
            return Ok(profile);
        }
        let registry = self.parts.house.registry();
        let company = registry.state.companies.get(&slot.company);
        let declared = company.and_then(|it| it.contents.get(&id));
        let declared = declared.ok_or(KeyFailure::Unavailable("the hash profile is not here"))?;
        let (branch, sealed) = (declared.value.branch, &declared.value.sealed);
        let (company, place) = (slot.company.as_str(), "hash-profile");
        let clear = self.parts.vault.open_for_company(company, place, branch, sealed).await?;
        let profile = Arc::new(HashProfile::from_json(&clear).map_err(|_| KeyFailure::Broken)?);
        self.profiles.insert(id, Arc::clone(&profile));
        Ok(profile)
    }
}

/// When a company says that it changed something, in Unix milliseconds. It said so at
/// `received_ms`: what was in the future then stays refused, however long it waited since.
pub(super) fn read_change_time(text: &str, received_ms: u64) -> Result<u64, AccountError> {
    let wrong = |detail: &str| AccountError::field("changed_at", "invalid_time", detail);
    let at: jiff::Timestamp =
        text.parse().map_err(|_| wrong("it must be a time as in RFC 3339"))?;
    let unix_ms = u64::try_from(at.as_millisecond()).unwrap_or_default();
    if unix_ms < EARLIEST_CHANGE_UNIX_MS {
        return Err(wrong("it is before 1990"));
    }
    if unix_ms > received_ms.saturating_add(FUTURE_MAX_MS) {
        let detail = "it is more than 60 s in the future";
        return Err(AccountError::field("changed_at", "changed_at_in_future", detail));
    }
    Ok(unix_ms)
}
