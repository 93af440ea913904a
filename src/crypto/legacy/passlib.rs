//! passlib's PBKDF2 (Odoo): `$pbkdf2-sha512$rounds$salt$key`, also `-sha256`, and SHA-1 without a
//! name.
//!
//! Source: passlib `passlib/handlers/pbkdf2.py`.

use serde::{Deserialize, Serialize};

use super::encoding::{adapted_base64, decimal};
use super::hashes::Algorithm;
use super::pbkdf2::Pbkdf2;
use super::{HashRejected, Scheme, Stored};

/// The scheme `passlib-pbkdf2`; no parameters.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PasslibPbkdf2 {}

impl Scheme for PasslibPbkdf2 {
    type Hash = Pbkdf2;

    fn recognises(hash: &str) -> bool {
        hash.starts_with("$pbkdf2$") || hash.starts_with("$pbkdf2-")
    }

    fn parse(&self, stored: Stored<'_>) -> Result<Pbkdf2, HashRejected> {
        let malformed = || HashRejected::UnsupportedHash;
        let parts: Vec<_> = stored.without_salt()?.split('$').collect();
        let ["", name, rounds, salt, key] = *parts.as_slice() else { return Err(malformed()) };
        let algorithm = match name {
            "pbkdf2" | "pbkdf2-sha1" => Algorithm::Sha1,
            "pbkdf2-sha256" => Algorithm::Sha256,
            "pbkdf2-sha512" => Algorithm::Sha512,
            _ => return Err(malformed()),
        };
        let key = adapted_base64(key).filter(|key| key.len() == algorithm.output_bytes());
        let (salt, key) = adapted_base64(salt).zip(key).ok_or_else(malformed)?;
        let rounds = decimal(rounds).ok_or_else(malformed)?;
        Pbkdf2::new(stored.limits, algorithm, rounds, salt, key)
    }
}
