//! SHA-crypt: `$5$` and `$6$`, `[rounds=n$]salt$..`, of `crypt(3)` on every Linux.
//!
//! Source: Ulrich Drepper's `SHA-crypt.txt`; libxcrypt `doc/crypt.5`. Without `rounds=` they are
//! 5000; fewer than 1000 count as 1000, as there.

use serde::{Deserialize, Serialize};
use sha_crypt::Params;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::encoding::{crypt64, decimal, is_crypt64};
use super::hashes::Algorithm;
use super::{HashRejected, Parsed, Scheme, Stored, cost};

const MAX_SALT_CHARACTERS: usize = 16;

/// The orders in which the digests' bytes are written.
const ORDER_256: [usize; 32] = [
    20, 10, 0, 11, 1, 21, 2, 22, 12, 23, 13, 3, 14, 4, 24, 5, 25, 15, 26, 16, 6, 17, 7, 27, 8, 28,
    18, 29, 19, 9, 30, 31,
];
const ORDER_512: [usize; 64] = [
    42, 21, 0, 1, 43, 22, 23, 2, 44, 45, 24, 3, 4, 46, 25, 26, 5, 47, 48, 27, 6, 7, 49, 28, 29, 8,
    50, 51, 30, 9, 10, 52, 31, 32, 11, 53, 54, 33, 12, 13, 55, 34, 35, 14, 56, 57, 36, 15, 16, 58,
    37, 38, 17, 59, 60, 39, 18, 19, 61, 40, 41, 20, 62, 63,
];

/// The scheme `sha256crypt`; no parameters.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sha256Crypt {}

/// The scheme `sha512crypt`; no parameters.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sha512Crypt {}

/// A hash of either scheme.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub(super) struct Hash {
    #[zeroize(skip)]
    wide: bool,
    rounds: u32,
    salt: Vec<u8>,
    /// As it is written.
    encoded: Vec<u8>,
}

impl Hash {
    fn parse(text: &str, magic: &str) -> Result<Self, HashRejected> {
        let malformed = || HashRejected::UnsupportedHash;
        let wide = magic == "$6$";
        let rest = text.strip_prefix(magic).ok_or_else(malformed)?;
        let (asked, rest) = match rest.strip_prefix("rounds=") {
            Some(rest) => {
                let (rounds, rest) = rest.split_once('$').ok_or_else(malformed)?;
                (decimal(rounds).ok_or_else(malformed)?.max(Params::ROUNDS_MIN.into()), rest)
            }
            None => (Params::RECOMMENDED_ROUNDS.into(), rest),
        };
        let (salt, encoded) = rest.split_once('$').ok_or_else(malformed)?;
        let digest_characters = if wide { 86 } else { 43 };
        if salt.len() > MAX_SALT_CHARACTERS || !is_crypt64(encoded, digest_characters) {
            return Err(malformed());
        }
        let (salt, encoded) = (salt.as_bytes().to_vec(), encoded.as_bytes().to_vec());
        Ok(Self { wide, rounds: cost::rounds(asked)?, salt, encoded })
    }

    fn algorithm(&self) -> Algorithm {
        if self.wide { Algorithm::Sha512 } else { Algorithm::Sha256 }
    }
}

impl Parsed for Hash {
    fn verify(&self, password: &[u8]) -> bool {
        let Ok(params) = Params::new(self.rounds) else { return false };
        let (digest, order): (Zeroizing<Vec<u8>>, &[usize]) = if self.wide {
            let digest = sha_crypt::sha512_crypt(password, &self.salt, params);
            (Zeroizing::new(digest.to_vec()), &ORDER_512)
        } else {
            let digest = sha_crypt::sha256_crypt(password, &self.salt, params);
            (Zeroizing::new(digest.to_vec()), &ORDER_256)
        };
        let ordered = order.iter().filter_map(|index| digest.get(*index).copied());
        let ordered: Zeroizing<Vec<u8>> = Zeroizing::new(ordered.collect());
        crypt64(&ordered).ct_eq(&self.encoded).into()
    }

    fn cost(&self, password_bytes: usize) -> u32 {
        let algorithm = self.algorithm();
        let bytes = algorithm.output_bytes() + 2 * password_bytes + self.salt.len();
        // Before the rounds, the password is hashed as often as it has bytes.
        let squared = password_bytes.saturating_mul(password_bytes);
        cost::digests(algorithm, self.rounds, bytes)
            .saturating_add(cost::digests(algorithm, 1, squared))
    }
}

impl Scheme for Sha256Crypt {
    type Hash = Hash;

    fn recognises(hash: &str) -> bool {
        hash.starts_with("$5$")
    }

    fn parse(&self, stored: Stored<'_>) -> Result<Hash, HashRejected> {
        Hash::parse(stored.without_salt()?, "$5$")
    }
}

impl Scheme for Sha512Crypt {
    type Hash = Hash;

    fn recognises(hash: &str) -> bool {
        hash.starts_with("$6$")
    }

    fn parse(&self, stored: Stored<'_>) -> Result<Hash, HashRejected> {
        Hash::parse(stored.without_salt()?, "$6$")
    }
}
