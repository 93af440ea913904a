//! bcrypt: `$2a$`, `$2b$` and `$2y$`, costs 4 to 14. Laravel, Symfony, Rails, PrestaShop 1.7,
//! Drupal 10, and whoever calls PHP's `password_hash`.
//!
//! A longer password counts up to its 72nd byte, as it did where it comes from. It must never know
//! the rules for new secrets.

use serde::{Deserialize, Serialize};

use super::{HashRejected, Parsed, Scheme, Stored};
use crate::crypto::bcrypt::{self, Begun, NotBcrypt};

/// The scheme `bcrypt`; no parameters.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bcrypt {}

impl Scheme for Bcrypt {
    type Hash = bcrypt::Bcrypt;

    fn recognises(hash: &str) -> bool {
        hash.starts_with("$2")
    }

    fn parse(&self, stored: Stored<'_>) -> Result<Self::Hash, HashRejected> {
        bcrypt::Bcrypt::parse(stored.without_salt()?).map_err(|refused| match refused {
            NotBcrypt::Malformed => HashRejected::UnsupportedHash,
            NotBcrypt::CostOutOfBounds => HashRejected::CostOutOfBounds,
        })
    }
}

impl Parsed for bcrypt::Bcrypt {
    fn verify(&self, password: &[u8]) -> bool {
        self.verify(password)
    }

    fn begin(&self, password: &[u8]) -> Begun {
        self.begin(password)
    }

    fn relative_cost(&self) -> u32 {
        bcrypt::work(self.cost())
    }
}
