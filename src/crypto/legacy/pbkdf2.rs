//! One PBKDF2 (RFC 8018) with the HMAC of any digest.
//!
//! It must never know how a shop writes it.

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::hashes::Algorithm;
use super::{HashRejected, Limits, Parsed, cost};

/// The longest key, in bytes: each block of a digest's length is computed anew.
const MAX_KEY_BYTES: usize = 64;

/// A key derived from a password.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub(super) struct Pbkdf2 {
    #[zeroize(skip)]
    algorithm: Algorithm,
    iterations: u32,
    salt: Vec<u8>,
    key: Vec<u8>,
}

impl Pbkdf2 {
    /// Of these parts, if they are within bounds.
    pub(super) fn new(
        limits: Limits,
        algorithm: Algorithm,
        iterations: u64,
        salt: Vec<u8>,
        key: Vec<u8>,
    ) -> Result<Self, HashRejected> {
        if key.is_empty() || key.len() > MAX_KEY_BYTES {
            return Err(HashRejected::UnsupportedHash);
        }
        Ok(Self { algorithm, iterations: limits.iterations(iterations)?, salt, key })
    }
}

impl Parsed for Pbkdf2 {
    fn verify(&self, password: &[u8]) -> bool {
        let mut key = Zeroizing::new(vec![0; self.key.len()]);
        self.algorithm.pbkdf2(password, &self.salt, self.iterations, &mut key);
        key.ct_eq(&self.key).into()
    }

    fn cost(&self, _: usize) -> u32 {
        cost::pbkdf2(self.algorithm, self.iterations, self.key.len())
    }
}
