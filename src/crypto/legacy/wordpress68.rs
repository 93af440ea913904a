//! `WordPress` from 6.8 on: `$wp$2y$10$..`, bcrypt of the password's HMAC-SHA384 in base 64.
//!
//! Source: WordPress/WordPress `wp-includes/pluggable.php`, `wp_check_password`. Older hashes in
//! the same column are `phpass`, bcrypt or bare MD5.

use base64::Engine as _;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::bcrypt::Bcrypt;
use super::encoding::BASE64;
use super::hashes::Algorithm;
use super::{HashRejected, Parsed, Scheme, Stored};
use crate::crypto::bcrypt::{self, Begun};

/// `WordPress` refuses longer passwords, in bytes.
const MAX_PASSWORD_BYTES: usize = 4096;

/// The scheme `wordpress68`; no parameters.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wordpress68 {}

/// The bcrypt of what stands in for the password.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub(super) struct Hash(bcrypt::Bcrypt);

impl Scheme for Wordpress68 {
    type Hash = Hash;

    fn recognises(hash: &str) -> bool {
        hash.starts_with("$wp$2")
    }

    fn parse(&self, stored: Stored<'_>) -> Result<Hash, HashRejected> {
        let hash = stored.without_salt()?.strip_prefix("$wp");
        let hash = hash.ok_or(HashRejected::UnsupportedHash)?;
        Bcrypt {}.parse(Stored { hash, ..stored }).map(Hash)
    }
}

impl Parsed for Hash {
    fn verify(&self, password: &[u8]) -> bool {
        password.len() <= MAX_PASSWORD_BYTES && self.0.verify(&stand_in(password))
    }

    fn begin(&self, password: &[u8]) -> Begun {
        if password.len() > MAX_PASSWORD_BYTES {
            return Begun::Known(false);
        }
        self.0.begin(&stand_in(password))
    }

    fn cost(&self, password_bytes: usize) -> u32 {
        Parsed::cost(&self.0, password_bytes)
    }
}

/// What bcrypt is given in the password's place.
fn stand_in(password: &[u8]) -> Zeroizing<Vec<u8>> {
    let tag = Algorithm::Sha384.hmac(b"wp-sha384", &[password]);
    Zeroizing::new(BASE64.encode(&*tag).into_bytes())
}
