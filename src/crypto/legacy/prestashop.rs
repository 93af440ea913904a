//! `PrestaShop` before 1.7: `md5(_COOKIE_KEY_ . p)`, 32 hex digits. The key of the shop is the
//! profile's pepper, and there is none without it.
//!
//! Source: PrestaShop/PrestaShop `src/Core/Crypto/Hashing.php`. Newer rows are bcrypt.

use serde::{Deserialize, Serialize};

use super::hashes::Algorithm;
use super::salted::{Salted, from_hex};
use super::{HashRejected, InvalidProfile, Scheme, Stored};

/// The scheme `prestashop`; no parameters.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Prestashop {}

impl Scheme for Prestashop {
    type Hash = Salted;

    fn validate(&self, peppered: bool) -> Result<(), InvalidProfile> {
        if peppered {
            Ok(())
        } else {
            Err(InvalidProfile::Contradiction("prestashop needs its cookie key as the pepper"))
        }
    }

    fn parse(&self, stored: Stored<'_>) -> Result<Salted, HashRejected> {
        Salted::prefixed(Algorithm::Md5, from_hex(stored.without_salt()?)?, b"")
    }
}
