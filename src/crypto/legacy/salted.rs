//! One digest over a password and a salt: what half of all shops store.
//!
//! It must never know how a shop writes it.

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::hashes::Algorithm;
use super::{HashRejected, Parsed, cost};

/// `H(before . p . after)`.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub(super) struct Salted {
    #[zeroize(skip)]
    algorithm: Algorithm,
    digest: Vec<u8>,
    before: Vec<u8>,
    after: Vec<u8>,
}

impl Salted {
    /// `H(salt . p)`, from the digest's bytes.
    pub(super) fn prefixed(
        algorithm: Algorithm,
        digest: Vec<u8>,
        salt: &[u8],
    ) -> Result<Self, HashRejected> {
        Self { algorithm, digest, before: salt.to_vec(), after: Vec::new() }.checked()
    }

    /// `H(p . salt)`, from the digest's bytes.
    pub(super) fn suffixed(
        algorithm: Algorithm,
        digest: Vec<u8>,
        salt: &[u8],
    ) -> Result<Self, HashRejected> {
        Self { algorithm, digest, before: Vec::new(), after: salt.to_vec() }.checked()
    }

    fn checked(self) -> Result<Self, HashRejected> {
        if self.digest.len() == self.algorithm.output_bytes() {
            Ok(self)
        } else {
            Err(HashRejected::UnsupportedHash)
        }
    }
}

impl Parsed for Salted {
    fn verify(&self, password: &[u8]) -> bool {
        let digest = self.algorithm.digest(&[&self.before, password, &self.after]);
        digest.ct_eq(&self.digest).into()
    }

    fn cost(&self, password_bytes: usize) -> u32 {
        cost::digests(self.algorithm, 1, self.before.len() + password_bytes + self.after.len())
    }
}

/// Takes `hex` or `hex:salt` apart. A salt may itself have a colon: only the first one separates.
pub(super) fn hex_and_salt(text: &str) -> Result<(Vec<u8>, &str), HashRejected> {
    let (digest, salt) = text.split_once(':').unwrap_or((text, ""));
    Ok((from_hex(digest)?, salt))
}

/// Reads hex of either case.
pub(super) fn from_hex(text: &str) -> Result<Vec<u8>, HashRejected> {
    hex::decode(text).map_err(|_| HashRejected::UnsupportedHash)
}
