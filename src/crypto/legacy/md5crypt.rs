//! MD5-crypt: `$1$salt$..` of `crypt(3)`, and `$apr1$salt$..` of Apache's `htpasswd`.
//!
//! ```text
//! B = MD5(p . s . p)
//! A = MD5(p . magic . s . B, repeated and cut to p's length . a byte for each bit of that length)
//! 1000 times A = MD5(A and p in turns, with s but every third time, p but every seventh)
//! ```
//!
//! Source: libxcrypt `lib/crypt-md5.c`. The byte for a bit that is set is NUL, for one that is not
//! the password's first: descriptions that say the opposite are wrong. No crate that is kept has
//! it.

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::encoding::{crypt64, is_crypt64};
use super::hashes::Algorithm;
use super::{HashRejected, Parsed, Scheme, Stored, cost};

const ROUNDS: u32 = 1000;
const MAX_SALT_CHARACTERS: usize = 8;
const DIGEST_CHARACTERS: usize = 22;

/// The order in which the digest's bytes are written.
const ORDER: [usize; 16] = [12, 6, 0, 13, 7, 1, 14, 8, 2, 15, 9, 3, 5, 10, 4, 11];

/// The scheme `md5crypt`; no parameters.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Md5Crypt {}

/// The scheme `apr1`; no parameters.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Apr1 {}

/// A hash of either scheme.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub(super) struct Hash {
    #[zeroize(skip)]
    magic: &'static str,
    salt: Vec<u8>,
    /// As it is written.
    encoded: Vec<u8>,
}

impl Hash {
    fn parse(text: &str, magic: &'static str) -> Result<Self, HashRejected> {
        let (salt, encoded) = text
            .strip_prefix(magic)
            .and_then(|rest| rest.split_once('$'))
            .filter(|(salt, encoded)| {
                salt.len() <= MAX_SALT_CHARACTERS && is_crypt64(encoded, DIGEST_CHARACTERS)
            })
            .ok_or(HashRejected::UnsupportedHash)?;
        Ok(Self { magic, salt: salt.as_bytes().to_vec(), encoded: encoded.as_bytes().to_vec() })
    }

    fn first(&self, password: &[u8]) -> Zeroizing<Vec<u8>> {
        let filler = Algorithm::Md5.digest(&[password, &self.salt, password]);
        let mut message = Zeroizing::new(Vec::with_capacity(2 * password.len() + 80));
        message.extend_from_slice(password);
        message.extend_from_slice(self.magic.as_bytes());
        message.extend_from_slice(&self.salt);
        message.extend(filler.iter().cycle().take(password.len()));
        let mut rest = password.len();
        while rest > 0 {
            let first = password.first().copied().unwrap_or_default();
            message.push(if rest & 1 == 1 { 0 } else { first });
            rest >>= 1;
        }
        Algorithm::Md5.digest(&[&message])
    }
}

impl Parsed for Hash {
    fn verify(&self, password: &[u8]) -> bool {
        let mut digest = self.first(password);
        for round in 0..ROUNDS {
            let salt: &[u8] = if round % 3 == 0 { b"" } else { &self.salt };
            let middle: &[u8] = if round % 7 == 0 { b"" } else { password };
            digest = if round & 1 == 1 {
                Algorithm::Md5.digest(&[password, salt, middle, &digest])
            } else {
                Algorithm::Md5.digest(&[&digest, salt, middle, password])
            };
        }
        let ordered = ORDER.iter().filter_map(|index| digest.get(*index).copied());
        let ordered: Zeroizing<Vec<u8>> = Zeroizing::new(ordered.collect());
        crypt64(&ordered).ct_eq(&self.encoded).into()
    }

    fn cost(&self, password_bytes: usize) -> u32 {
        cost::digests(Algorithm::Md5, ROUNDS, 2 * password_bytes + 16 + self.salt.len())
    }
}

impl Scheme for Md5Crypt {
    type Hash = Hash;

    fn recognises(hash: &str) -> bool {
        hash.starts_with("$1$")
    }

    fn parse(&self, stored: Stored<'_>) -> Result<Hash, HashRejected> {
        Hash::parse(stored.without_salt()?, "$1$")
    }
}

impl Scheme for Apr1 {
    type Hash = Hash;

    fn recognises(hash: &str) -> bool {
        hash.starts_with("$apr1$")
    }

    fn parse(&self, stored: Stored<'_>) -> Result<Hash, HashRejected> {
        Hash::parse(stored.without_salt()?, "$apr1$")
    }
}
