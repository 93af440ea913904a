//! The general scheme: a plain, salted, keyed or iterated digest, all of it said by the profile.
//!
//! ```text
//! first round   H(m), or HMAC(key, m), where m is salt . p, p . salt, or p
//! later rounds  d = H(d), where `chain` says whether d is fed as raw bytes or as lower-case hex
//! ```
//!
//! An HMAC's key is the profile's pepper; without one it is the row's salt, which then has no other
//! place.
//!
//! After the generic imports of Auth0 and `FusionAuth`. An HMAC is computed once: no shop was found
//! that iterates one. It must never know which shop it stands for.

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::encoding::base64;
use super::hashes::{Algorithm, Chain};
use super::parameters::Count;
use super::profile::is_default;
use super::{HashRejected, InvalidProfile, Parsed, Scheme, Stored, cost};

/// The scheme `digest` and its parameters.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Digest {
    #[serde(rename = "digest")]
    algorithm: Algorithm,
    /// Keyed with the pepper, or with the salt where there is none.
    #[serde(default, skip_serializing_if = "is_default")]
    hmac: bool,
    /// How the hash is written.
    #[serde(default, skip_serializing_if = "is_default")]
    encoding: Encoding,
    #[serde(default, skip_serializing_if = "is_default")]
    salt_position: SaltPosition,
    /// How the salt is written; it enters the digest decoded.
    #[serde(default, skip_serializing_if = "is_default")]
    salt_encoding: SaltEncoding,
    /// How often the digest is taken in all.
    #[serde(default, skip_serializing_if = "is_default")]
    rounds: Count<1>,
    #[serde(default, skip_serializing_if = "is_default")]
    chain: Chain,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    /// In either case.
    #[default]
    Hex,
    Base64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SaltPosition {
    #[default]
    None,
    Prefix,
    Suffix,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SaltEncoding {
    #[default]
    Utf8,
    Hex,
    Base64,
}

/// A digest with its salt.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub(super) struct Hash {
    #[zeroize(skip)]
    scheme: Digest,
    digest: Vec<u8>,
    /// Of an HMAC; empty otherwise.
    key: Vec<u8>,
    salt: Vec<u8>,
}

impl Digest {
    /// The row's salt, decoded; empty where the hash has none.
    fn salt(&self, stored: Stored<'_>) -> Result<Vec<u8>, HashRejected> {
        let is_key = self.hmac && stored.pepper.is_empty();
        let text = match (stored.salt, is_key || self.salt_position != SaltPosition::None) {
            (Some(text), true) => text,
            (None, true) => return Err(HashRejected::SaltRequired),
            (Some(_), false) => return Err(HashRejected::SaltRefused),
            (None, false) => return Ok(Vec::new()),
        };
        let decoded = match self.salt_encoding {
            SaltEncoding::Utf8 => Some(text.as_bytes().to_vec()),
            SaltEncoding::Hex => hex::decode(text).ok(),
            SaltEncoding::Base64 => base64(text),
        };
        decoded.ok_or(HashRejected::SaltRefused)
    }

    fn compute(&self, password: &[u8], salt: &[u8], key: &[u8]) -> Zeroizing<Vec<u8>> {
        let message: &[&[u8]] = match self.salt_position {
            SaltPosition::None => &[password],
            SaltPosition::Prefix => &[salt, password],
            SaltPosition::Suffix => &[password, salt],
        };
        if self.hmac {
            return self.algorithm.hmac(key, message);
        }
        let first = self.algorithm.digest(message);
        self.algorithm.iterate(first, self.rounds.0.saturating_sub(1), self.chain, b"")
    }
}

impl Scheme for Digest {
    type Hash = Hash;

    fn keys_with_pepper(&self) -> bool {
        self.hmac
    }

    fn validate(&self, peppered: bool) -> Result<(), InvalidProfile> {
        self.rounds.check("rounds", cost::MAX_ROUNDS)?;
        if self.hmac && self.rounds.0 > 1 {
            return Err(InvalidProfile::Contradiction("an hmac has one round"));
        }
        if self.hmac && !peppered && self.salt_position != SaltPosition::None {
            return Err(InvalidProfile::Contradiction("a salt that is a key has no position"));
        }
        Ok(())
    }

    fn parse(&self, stored: Stored<'_>) -> Result<Hash, HashRejected> {
        let digest = match self.encoding {
            Encoding::Hex => hex::decode(stored.hash).ok(),
            Encoding::Base64 => base64(stored.hash),
        };
        let digest = digest
            .filter(|digest| digest.len() == self.algorithm.output_bytes())
            .ok_or(HashRejected::UnsupportedHash)?;
        let salt = self.salt(stored)?;
        let (key, salt) = match self.hmac {
            true if stored.pepper.is_empty() => (salt, Vec::new()),
            true => (stored.pepper.to_vec(), salt),
            false => (Vec::new(), salt),
        };
        Ok(Hash { scheme: self.clone(), digest, key, salt })
    }
}

impl Parsed for Hash {
    fn verify(&self, password: &[u8]) -> bool {
        self.scheme.compute(password, &self.salt, &self.key).ct_eq(&self.digest).into()
    }

    fn cost(&self, password_bytes: usize) -> u32 {
        let Digest { algorithm, rounds, hmac, .. } = self.scheme;
        let bytes = self.key.len() + self.salt.len() + password_bytes;
        let first = cost::digests(algorithm, if hmac { 3 } else { 1 }, bytes);
        let each = match self.scheme.chain {
            Chain::Raw => algorithm.output_bytes(),
            Chain::Hex => 2 * algorithm.output_bytes(),
        };
        match rounds.0.saturating_sub(1) {
            0 => first,
            later => first.saturating_add(cost::digests(algorithm, later, each)),
        }
    }
}
