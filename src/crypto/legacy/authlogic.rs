//! Authlogic and `restful_authentication`: SHA-512 taken over and over, in hex, 20 times by
//! default, first of password and salt. The salt comes in its own column, where the shop has one.
//!
//! Source: binarylogic/authlogic `lib/authlogic/crypto_providers/sha512.rb`.

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::hashes::{Algorithm, Chain};
use super::parameters::Count;
use super::profile::is_default;
use super::salted::from_hex;
use super::{HashRejected, InvalidProfile, Parsed, Scheme, Stored, cost};

/// The scheme `authlogic` and its parameter.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Authlogic {
    #[serde(skip_serializing_if = "is_default")]
    stretches: Count<20>,
}

/// A hash with its salt.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub(super) struct Hash {
    stretches: u32,
    salt: Vec<u8>,
    digest: Vec<u8>,
}

impl Scheme for Authlogic {
    type Hash = Hash;

    fn validate(&self, _: bool) -> Result<(), InvalidProfile> {
        self.stretches.check("stretches", cost::MAX_ROUNDS)
    }

    fn parse(&self, stored: Stored<'_>) -> Result<Hash, HashRejected> {
        let digest = from_hex(stored.hash)?;
        if digest.len() != Algorithm::Sha512.output_bytes() {
            return Err(HashRejected::UnsupportedHash);
        }
        let salt = stored.salt.unwrap_or_default().as_bytes().to_vec();
        Ok(Hash { stretches: self.stretches.0, salt, digest })
    }
}

impl Parsed for Hash {
    fn verify(&self, password: &[u8]) -> bool {
        let first = Algorithm::Sha512.digest(&[password, &self.salt]);
        let rounds = self.stretches.saturating_sub(1);
        let digest = Algorithm::Sha512.iterate(first, rounds, Chain::Hex, b"");
        digest.ct_eq(&self.digest).into()
    }

    fn cost(&self, password_bytes: usize) -> u32 {
        let first = cost::digests(Algorithm::Sha512, 1, password_bytes + self.salt.len());
        first.saturating_add(cost::digests(Algorithm::Sha512, self.stretches, 128))
    }
}
