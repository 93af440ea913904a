//! SHA1-crypt of NetBSD: `$sha1$rounds$salt$..`, an iterated HMAC-SHA1 under the password.
//!
//! Source: libxcrypt `lib/crypt-pbkdf1-sha1.c`. No crate that is kept has it.

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::encoding::{crypt64, decimal, is_crypt64};
use super::hashes::Algorithm;
use super::{HashRejected, Parsed, Scheme, Stored, cost};

const MAGIC: &str = "$sha1$";
const MAX_SALT_CHARACTERS: usize = 64;
const DIGEST_CHARACTERS: usize = 28;

/// An HMAC's key that is longer than this counts as its digest.
const BLOCK_BYTES: usize = 64;

/// The order in which the digest's bytes are written; the first one comes again at the end.
const ORDER: [usize; 21] =
    [2, 1, 0, 5, 4, 3, 8, 7, 6, 11, 10, 9, 14, 13, 12, 17, 16, 15, 0, 19, 18];

/// The scheme `sha1crypt`; no parameters.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sha1Crypt {}

/// A hash taken apart.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub(super) struct Hash {
    rounds: u32,
    /// What the first HMAC is of: salt, magic and rounds, as they are written.
    message: Vec<u8>,
    /// As it is written.
    encoded: Vec<u8>,
}

impl Scheme for Sha1Crypt {
    type Hash = Hash;

    fn recognises(hash: &str) -> bool {
        hash.starts_with(MAGIC)
    }

    fn parse(&self, stored: Stored<'_>) -> Result<Hash, HashRejected> {
        let malformed = || HashRejected::UnsupportedHash;
        let rest = stored.without_salt()?.strip_prefix(MAGIC).ok_or_else(malformed)?;
        let parts: Vec<_> = rest.split('$').collect();
        let [rounds, salt, encoded] = *parts.as_slice() else { return Err(malformed()) };
        let whole = salt.len() <= MAX_SALT_CHARACTERS && is_crypt64(encoded, DIGEST_CHARACTERS);
        let asked = decimal(rounds).filter(|_| whole).ok_or_else(malformed)?;
        let message = [salt, MAGIC, rounds].concat().into_bytes();
        let encoded = encoded.as_bytes().to_vec();
        Ok(Hash { rounds: cost::rounds(asked)?, message, encoded })
    }
}

impl Parsed for Hash {
    fn verify(&self, password: &[u8]) -> bool {
        let shortened = Algorithm::Sha1.digest(&[password]);
        let key = if password.len() > BLOCK_BYTES { shortened.as_slice() } else { password };
        let mut digest = Algorithm::Sha1.hmac(key, &[&self.message]);
        for _ in 1..self.rounds {
            digest = Algorithm::Sha1.hmac(key, &[&digest]);
        }
        let ordered = ORDER.iter().filter_map(|index| digest.get(*index).copied());
        let ordered: Zeroizing<Vec<u8>> = Zeroizing::new(ordered.collect());
        crypt64(&ordered).ct_eq(&self.encoded).into()
    }

    fn cost(&self, _: usize) -> u32 {
        // An HMAC is two digests, each of a block of key before its message.
        let each = BLOCK_BYTES + Algorithm::Sha1.output_bytes();
        cost::digests(Algorithm::Sha1, self.rounds.saturating_mul(2), each)
    }
}
