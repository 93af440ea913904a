//! What a row of a bulk sync asks of one user: several parts, decided and recorded together.

use super::command::{AddLegacyHash, NewClaim};
use super::event::{FieldChange, UserKeyCreated};
use super::ids::{BlindIndex, CompanyId, Country};

/// A row, with its secrets sealed.
#[derive(Debug, Clone)]
pub struct SyncRow {
    /// The company whose row it is.
    pub company: CompanyId,
    /// Given where the row makes the user.
    pub create: Option<NewUser>,
    /// The row's identities.
    pub claims: Vec<NewClaim>,
    /// Identities that the row takes from the user.
    pub releases: Vec<Released>,
    /// The hash the company has.
    pub legacy: Option<AddLegacyHash>,
    /// Profile fields.
    pub profile: Vec<FieldChange>,
    /// When the company changed the profile, in Unix milliseconds; without it, fields fill gaps.
    pub profile_changed_at_unix_ms: Option<u64>,
    /// Whether the user is to be let in.
    pub active: Option<bool>,
    /// When the company changed identities and status, in Unix milliseconds.
    pub changed_at_unix_ms: Option<u64>,
}

/// A user that a row makes.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// The country it is made in.
    pub country: Country,
    /// Its first key.
    pub key: UserKeyCreated,
}

/// An identity that a row takes from the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Released {
    /// The identity.
    pub index: BlindIndex,
    /// The row's identity that takes its place; none where the row removes it.
    pub by: Option<BlindIndex>,
}
