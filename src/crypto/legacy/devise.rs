//! Devise: bcrypt of the password with the application's pepper after it. bcrypt's 72 bytes are of
//! the two together, as they are there.
//!
//! Source: heartcombo/devise `lib/devise/encryptor.rb`.

use serde::{Deserialize, Serialize};

use super::bcrypt::Bcrypt;
use super::{HashRejected, Position, Scheme, Stored};
use crate::crypto::bcrypt;

/// The scheme `devise`; no parameters.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Devise {}

impl Scheme for Devise {
    type Hash = bcrypt::Bcrypt;

    const PEPPER: Position = Position::Suffix;

    fn parse(&self, stored: Stored<'_>) -> Result<Self::Hash, HashRejected> {
        Bcrypt {}.parse(stored)
    }
}
