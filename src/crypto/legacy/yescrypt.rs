//! yescrypt `$y$params$salt$..`, the default of Debian and Fedora, and scrypt `$7$` in the same
//! family's spelling.
//!
//! Source: openwall/yescrypt `yescrypt-common.c`; libxcrypt `doc/crypt.5`. Not taken: `$gy$`, which
//! wraps it in a GOST digest, and hashes that need a ROM or were upgraded in place.

use ::yescrypt as reference;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::encoding::{crypt64_value, from_crypt64};
use super::scrypt::{Scrypt, Work};
use super::{HashRejected, Parsed, Scheme, Stored, cost};

const KEY_BYTES: usize = 32;

/// The most of `p` times `t`, which multiply the time and not the memory.
const MAX_RUNS: u64 = 10;

/// What one KiB takes, in nanoseconds.
const NANOS_PER_KIB: u64 = 1500;

/// The scheme `yescrypt`; no parameters.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Yescrypt {}

/// The scheme `scrypt7`; no parameters.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scrypt7 {}

/// A yescrypt hash.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub(super) struct Hash {
    #[zeroize(skip)]
    params: Params,
    salt: Vec<u8>,
    key: Vec<u8>,
}

/// What yescrypt is run with, within bounds.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Params {
    flavour: u32,
    n: u64,
    r: u32,
    p: u32,
    time: u32,
}

impl Params {
    /// Reads flavour, log N and r, and p, t, g and ROM where a mask says that they are there.
    fn read(text: &str) -> Result<Self, HashRejected> {
        let mut letters = text.bytes();
        let mut next = |least| variable(&mut letters, least).ok_or(HashRejected::UnsupportedHash);
        let (flavour, log_n, r) = (next(0)?, next(1)?, next(1)?);
        let present = next(1).unwrap_or(0);
        let p = if present & 1 == 0 { 1 } else { next(2)? };
        let time = if present & 2 == 0 { 0 } else { next(1)? };
        if letters.next().is_some() || present & !3 != 0 {
            return Err(HashRejected::UnsupportedHash);
        }
        let n = 1_u64.checked_shl(log_n).ok_or(HashRejected::CostOutOfBounds)?;
        // The same bounds as scrypt's.
        cost::scrypt(n, r.into(), p.into())?;
        let params = Self { flavour, n, r, p, time };
        if params.runs() > MAX_RUNS {
            return Err(HashRejected::CostOutOfBounds);
        }
        params.for_reference().ok_or(HashRejected::UnsupportedHash).map(|_| params)
    }

    /// How often the memory is gone through, at most.
    fn runs(self) -> u64 {
        u64::from(self.p) * (u64::from(self.time) + 1)
    }

    fn for_reference(self) -> Option<reference::Params> {
        let mode = reference::Mode::try_from(self.flavour).ok()?;
        reference::Params::new_with_all_params(mode, self.n, self.r, self.p, self.time, 0).ok()
    }
}

impl Scheme for Yescrypt {
    type Hash = Hash;

    fn recognises(hash: &str) -> bool {
        hash.starts_with("$y$")
    }

    fn parse(&self, stored: Stored<'_>) -> Result<Hash, HashRejected> {
        let malformed = || HashRejected::UnsupportedHash;
        let rest = stored.without_salt()?.strip_prefix("$y$").ok_or_else(malformed)?;
        let parts: Vec<_> = rest.split('$').collect();
        let [params, salt, key] = *parts.as_slice() else { return Err(malformed()) };
        let key = from_crypt64(key).filter(|key| key.len() == KEY_BYTES);
        let (salt, key) = from_crypt64(salt).zip(key).ok_or_else(malformed)?;
        Ok(Hash { params: Params::read(params)?, salt, key })
    }
}

impl Parsed for Hash {
    fn verify(&self, password: &[u8]) -> bool {
        let Some(params) = self.params.for_reference() else { return false };
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        reference::yescrypt(password, &self.salt, &params, key.as_mut_slice()).is_ok()
            && key.ct_eq(self.key.as_slice()).into()
    }

    fn cost(&self, _: usize) -> u32 {
        let kib = (self.params.n * u64::from(self.params.r) / 8).max(1);
        cost::memory(kib, self.params.runs(), NANOS_PER_KIB)
    }
}

impl Scheme for Scrypt7 {
    type Hash = Scrypt;

    fn recognises(hash: &str) -> bool {
        hash.starts_with("$7$")
    }

    /// `$7$`, log N in one letter, r and p in five each, the salt as it stands, `$`, the key.
    fn parse(&self, stored: Stored<'_>) -> Result<Scrypt, HashRejected> {
        let malformed = || HashRejected::UnsupportedHash;
        let rest = stored.without_salt()?.strip_prefix("$7$").ok_or_else(malformed)?;
        let (params, rest) = rest.split_at_checked(11).ok_or_else(malformed)?;
        let (salt, key) = rest.rsplit_once('$').ok_or_else(malformed)?;
        let mut letters = params.bytes();
        let mut number = |length| fixed(&mut letters, length).ok_or_else(malformed);
        let (log_n, r, p) = (number(1)?, number(5)?, number(5)?);
        let key = from_crypt64(key).filter(|key| key.len() == KEY_BYTES).ok_or_else(malformed)?;
        let n = 1_u64.checked_shl(log_n).ok_or(HashRejected::CostOutOfBounds)?;
        Scrypt::new(Work::new(n, r.into(), p.into())?, salt.as_bytes().to_vec(), key)
    }
}

/// A number in so many letters, the least significant first.
fn fixed(letters: &mut impl Iterator<Item = u8>, length: u32) -> Option<u32> {
    let mut number = 0;
    for position in 0..length {
        number |= crypt64_value(letters.next()?)? << (6 * position);
    }
    Some(number)
}

/// A number from `least` on in as few letters as it needs: the first says how many follow.
fn variable(letters: &mut impl Iterator<Item = u8>, least: u32) -> Option<u32> {
    let first = crypt64_value(letters.next()?)?;
    let (mut start, mut end, mut bits) = (0, 47, 0);
    let mut number = least;
    while first > end {
        number = number.checked_add((end + 1 - start).checked_shl(bits)?)?;
        start = end + 1;
        end = start + (62 - end) / 2;
        bits += 6;
    }
    number = number.checked_add((first - start).checked_shl(bits)?)?;
    while bits > 0 {
        bits -= 6;
        number = number.checked_add(crypt64_value(letters.next()?)?.checked_shl(bits)?)?;
    }
    Some(number)
}
