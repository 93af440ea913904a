//! One scrypt (RFC 7914).
//!
//! It must never know how a shop writes it.

use ::scrypt as reference;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{HashRejected, Parsed, cost};

/// A shorter key was cut off.
const MIN_KEY_BYTES: usize = 16;
const MAX_KEY_BYTES: usize = 64;

/// What one KiB takes, filled and read, in nanoseconds.
const NANOS_PER_KIB: u64 = 3400;

/// What scrypt is run with: the logarithm of N, r and p, within bounds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Work {
    log_n: u8,
    r: u32,
    p: u32,
}

impl Work {
    /// N, r and p, if they are within bounds.
    pub(super) fn new(n: u64, r: u64, p: u64) -> Result<Self, HashRejected> {
        let (log_n, r, p) = cost::scrypt(n, r, p)?;
        Ok(Self { log_n, r, p })
    }

    /// Fills `key`; none were it refused, which the bounds leave no way to.
    pub(super) fn derive(self, password: &[u8], salt: &[u8], key: &mut [u8]) -> Option<()> {
        let params = reference::Params::new(self.log_n, self.r, self.p).ok()?;
        reference::scrypt(password, salt, &params, key).ok()
    }

    /// What running it takes, in microseconds.
    pub(super) fn cost(self) -> u32 {
        let kib = (u64::from(self.r) << self.log_n) / 8;
        cost::memory(kib.max(1), self.p.into(), NANOS_PER_KIB)
    }
}

/// A key derived from a password.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub(super) struct Scrypt {
    #[zeroize(skip)]
    work: Work,
    salt: Vec<u8>,
    key: Vec<u8>,
}

impl Scrypt {
    /// Of these parts, if the key is whole.
    pub(super) fn new(work: Work, salt: Vec<u8>, key: Vec<u8>) -> Result<Self, HashRejected> {
        if (MIN_KEY_BYTES..=MAX_KEY_BYTES).contains(&key.len()) {
            Ok(Self { work, salt, key })
        } else {
            Err(HashRejected::UnsupportedHash)
        }
    }
}

impl Parsed for Scrypt {
    fn verify(&self, password: &[u8]) -> bool {
        let mut key = Zeroizing::new(vec![0; self.key.len()]);
        self.work.derive(password, &self.salt, &mut key).is_some() && key.ct_eq(&self.key).into()
    }

    fn cost(&self, _: usize) -> u32 {
        self.work.cost()
    }
}
