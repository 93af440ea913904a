//! phpass: `$P$` (`WordPress` before 6.8, Joomla 2.5, osCommerce 2.3) and `$H$` (phpBB 3) over MD5,
//! `$S$` (Drupal 7) over SHA-512, and Drupal's `U$`, which has the MD5 of the password within.
//!
//! ```text
//! $P$ c salt8 encoded      h = H(salt . p), then 2^c times h = H(h . p)
//! ```
//!
//! Sources: WordPress/WordPress `wp-includes/class-phpass.php`; drupal/drupal
//! `core/lib/Drupal/Core/Password/PhpassHashedPasswordBase.php`. Under a profile `phpass`, 32 bare
//! hex digits are the MD5 that `WordPress` had before all of them.

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::encoding::{crypt64, crypt64_value, is_crypt64};
use super::hashes::{Algorithm, Chain};
use super::salted::{Salted, from_hex};
use super::{HashRejected, Parsed, Scheme, Stored, cost};

const SALT_CHARACTERS: usize = 8;
/// phpass knows no fewer or more than 2^7 and 2^30 rounds.
const LOG_ROUNDS: std::ops::RangeInclusive<u32> = 7..=30;

/// What MD5's 16 bytes become.
const MD5_CHARACTERS: usize = 22;
/// Drupal keeps 55 characters of all, so half of SHA-512's.
const SHA512_CHARACTERS: usize = 43;

/// Longer passwords are refused by phpass and Drupal, in bytes.
const MAX_PASSWORD_BYTES: usize = 4096;
const MAX_DRUPAL_PASSWORD_BYTES: usize = 512;

/// The scheme `phpass`; no parameters.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Phpass {}

/// The scheme `drupal7`; no parameters.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Drupal7 {}

/// The scheme `drupal7-md5wrap`; no parameters.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Drupal7Md5Wrap {}

/// A hash of phpass's making.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub(super) struct Portable {
    #[zeroize(skip)]
    algorithm: Algorithm,
    rounds: u32,
    salt: Vec<u8>,
    /// As it is written, which may be cut off within a byte.
    encoded: Vec<u8>,
}

/// A hash of the scheme `phpass`.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub(super) enum PhpassHash {
    Portable(Portable),
    Md5(Salted),
}

/// A hash of the MD5 of the password, in hex.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub(super) struct OfMd5(Portable);

impl Portable {
    fn parse(text: &str) -> Result<Self, HashRejected> {
        Self::split(text).ok_or(HashRejected::UnsupportedHash)?
    }

    fn split(text: &str) -> Option<Result<Self, HashRejected>> {
        let (kind, rest) = text.split_at_checked(3)?;
        let (algorithm, length) = match kind {
            "$P$" | "$H$" => (Algorithm::Md5, MD5_CHARACTERS),
            "$S$" => (Algorithm::Sha512, SHA512_CHARACTERS),
            _ => return None,
        };
        let log_rounds = crypt64_value(*rest.as_bytes().first()?)?;
        let (salt, encoded) = rest.get(1..)?.split_at_checked(SALT_CHARACTERS)?;
        if !LOG_ROUNDS.contains(&log_rounds) || !is_crypt64(encoded, length) {
            return None;
        }
        let (salt, encoded) = (salt.as_bytes().to_vec(), encoded.as_bytes().to_vec());
        Some(cost::rounds(1 << log_rounds).map(|rounds| Self { algorithm, rounds, salt, encoded }))
    }
}

impl Parsed for Portable {
    fn verify(&self, password: &[u8]) -> bool {
        let longest = match self.algorithm {
            Algorithm::Md5 => MAX_PASSWORD_BYTES,
            _ => MAX_DRUPAL_PASSWORD_BYTES,
        };
        if password.len() > longest {
            return false;
        }
        let first = self.algorithm.digest(&[&self.salt, password]);
        let digest = self.algorithm.iterate(first, self.rounds, Chain::Raw, password);
        let mut encoded = crypt64(&digest);
        encoded.truncate(self.encoded.len());
        encoded.ct_eq(&self.encoded).into()
    }

    fn cost(&self, password_bytes: usize) -> u32 {
        let bytes = self.algorithm.output_bytes() + password_bytes;
        cost::digests(self.algorithm, self.rounds, bytes)
    }
}

impl Parsed for PhpassHash {
    fn verify(&self, password: &[u8]) -> bool {
        match self {
            Self::Portable(hash) => hash.verify(password),
            Self::Md5(hash) => hash.verify(password),
        }
    }

    fn cost(&self, password_bytes: usize) -> u32 {
        match self {
            Self::Portable(hash) => hash.cost(password_bytes),
            Self::Md5(hash) => hash.cost(password_bytes),
        }
    }
}

impl Parsed for OfMd5 {
    fn verify(&self, password: &[u8]) -> bool {
        let digest = Algorithm::Md5.digest(&[password]);
        self.0.verify(Zeroizing::new(hex::encode(&*digest)).as_bytes())
    }

    fn cost(&self, _: usize) -> u32 {
        self.0.cost(2 * Algorithm::Md5.output_bytes())
    }
}

impl Scheme for Phpass {
    type Hash = PhpassHash;

    fn recognises(hash: &str) -> bool {
        hash.starts_with("$P$") || hash.starts_with("$H$")
    }

    fn parse(&self, stored: Stored<'_>) -> Result<PhpassHash, HashRejected> {
        let text = stored.without_salt()?;
        if Self::recognises(text) {
            return Portable::parse(text).map(PhpassHash::Portable);
        }
        Salted::prefixed(Algorithm::Md5, from_hex(text)?, b"").map(PhpassHash::Md5)
    }
}

impl Scheme for Drupal7 {
    type Hash = Portable;

    fn recognises(hash: &str) -> bool {
        hash.starts_with("$S$")
    }

    fn parse(&self, stored: Stored<'_>) -> Result<Portable, HashRejected> {
        Portable::parse(stored.without_salt()?)
    }
}

impl Scheme for Drupal7Md5Wrap {
    type Hash = OfMd5;

    fn recognises(hash: &str) -> bool {
        ["U$S$", "U$P$", "U$H$"].iter().any(|kind| hash.starts_with(kind))
    }

    fn parse(&self, stored: Stored<'_>) -> Result<OfMd5, HashRejected> {
        let rest = stored.without_salt()?.strip_prefix('U');
        Portable::parse(rest.ok_or(HashRejected::UnsupportedHash)?).map(OfMd5)
    }
}
