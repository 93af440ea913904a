//! Symfony's own two before `password_hash` (Sylius, `FOSUserBundle`): hash in base 64 or hex, salt
//! in its own column.
//!
//! ```text
//! symfony-message-digest   s = p{salt}, or p without one; d = H(s);
//!                          iterations - 1 times d = H(d . s)
//! symfony-pbkdf2           PBKDF2, a key of `length` bytes
//! ```
//!
//! Source: symfony/symfony `src/Symfony/Component/PasswordHasher/Hasher`,
//! `MessageDigestPasswordHasher` and `Pbkdf2PasswordHasher`.

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::encoding::base64;
use super::hashes::{Algorithm, Chain};
use super::parameters::{Count, Sha512ByDefault};
use super::pbkdf2::Pbkdf2;
use super::profile::is_default;
use super::{HashRejected, InvalidProfile, Parsed, Scheme, Stored, cost};

/// Symfony refuses longer passwords, in bytes.
const MAX_PASSWORD_BYTES: usize = 4096;

/// The longest key of PBKDF2, in bytes.
const MAX_LENGTH: u32 = 64;

/// The scheme `symfony-message-digest` and its parameters.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct SymfonyMessageDigest {
    #[serde(skip_serializing_if = "is_default")]
    digest: Sha512ByDefault,
    #[serde(skip_serializing_if = "is_default")]
    iterations: Count<5000>,
}

/// The scheme `symfony-pbkdf2` and its parameters.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct SymfonyPbkdf2 {
    #[serde(skip_serializing_if = "is_default")]
    digest: Sha512ByDefault,
    #[serde(skip_serializing_if = "is_default")]
    iterations: Count<1000>,
    /// Of the key, in bytes.
    #[serde(skip_serializing_if = "is_default")]
    length: Count<40>,
}

/// A hash of the scheme `symfony-message-digest`.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub(super) struct Iterated {
    #[zeroize(skip)]
    algorithm: Algorithm,
    iterations: u32,
    /// With its braces; empty where there is none.
    salt: Vec<u8>,
    digest: Vec<u8>,
}

/// Bytes of a known length in base 64 or hex; which one shows in how long they are.
fn read(text: &str, length: usize) -> Result<Vec<u8>, HashRejected> {
    let read = if text.len() == 2 * length { hex::decode(text).ok() } else { base64(text) };
    read.filter(|bytes| bytes.len() == length).ok_or(HashRejected::UnsupportedHash)
}

impl Scheme for SymfonyMessageDigest {
    type Hash = Iterated;

    fn validate(&self, _: bool) -> Result<(), InvalidProfile> {
        self.iterations.check("iterations", cost::MAX_ROUNDS)
    }

    fn parse(&self, stored: Stored<'_>) -> Result<Iterated, HashRejected> {
        let algorithm = self.digest.0;
        let digest = read(stored.hash, algorithm.output_bytes())?;
        let salt = match stored.salt {
            // They would end the salt before its end.
            Some(salt) if salt.contains(['{', '}']) => return Err(HashRejected::SaltRefused),
            Some(salt) => ["{", salt, "}"].concat().into_bytes(),
            None => Vec::new(),
        };
        Ok(Iterated { algorithm, iterations: self.iterations.0, salt, digest })
    }
}

impl Parsed for Iterated {
    fn verify(&self, password: &[u8]) -> bool {
        if password.len() > MAX_PASSWORD_BYTES {
            return false;
        }
        let message = Zeroizing::new([password, &self.salt].concat());
        let first = self.algorithm.digest(&[&message]);
        let rounds = self.iterations.saturating_sub(1);
        self.algorithm.iterate(first, rounds, Chain::Raw, &message).ct_eq(&self.digest).into()
    }

    fn cost(&self, password_bytes: usize) -> u32 {
        let bytes = self.algorithm.output_bytes() + password_bytes + self.salt.len();
        cost::digests(self.algorithm, self.iterations, bytes)
    }
}

impl Scheme for SymfonyPbkdf2 {
    type Hash = Pbkdf2;

    fn validate(&self, _: bool) -> Result<(), InvalidProfile> {
        self.length.check("length", MAX_LENGTH)?;
        // How many are admitted is for the door to say: an operator may raise it.
        self.iterations.check("iterations", u32::MAX)
    }

    fn parse(&self, stored: Stored<'_>) -> Result<Pbkdf2, HashRejected> {
        let length = usize::try_from(self.length.0).map_err(|_| HashRejected::UnsupportedHash)?;
        let key = read(stored.hash, length)?;
        let salt = stored.salt.unwrap_or_default().as_bytes().to_vec();
        Pbkdf2::new(stored.limits, self.digest.0, self.iterations.0.into(), salt, key)
    }
}
