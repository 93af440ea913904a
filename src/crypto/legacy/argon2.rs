//! Argon2 (RFC 9106): `$argon2id$v=19$m=65536,t=4,p=1$salt$hash`, also `argon2i` and `argon2d`.
//! PHP's `password_hash`, Laravel, Symfony, Django.
//!
//! Source: the PHC string format and P-H-C/phc-winner-argon2 `src/encoding.c`. Without `v=`, the
//! version is 16, as there. Hashes with a key or associated data are not taken.

use ::argon2 as reference;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::encoding::{base64, decimal};
use super::{HashRejected, Limits, Parsed, Scheme, Stored, cost};

pub(super) use reference::{Algorithm as Variant, Version};

/// What Argon2 itself asks of a salt.
const MIN_SALT_BYTES: usize = reference::MIN_SALT_LEN;
/// A shorter one was cut off.
const MIN_KEY_BYTES: usize = 16;
const MAX_KEY_BYTES: usize = 64;

/// What one KiB takes in one pass, in nanoseconds.
const NANOS_PER_KIB: u64 = 600;

/// The scheme `argon2`; no parameters.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Argon2 {}

/// One Argon2 hash.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub(super) struct Hash {
    #[zeroize(skip)]
    variant: Variant,
    #[zeroize(skip)]
    version: Version,
    /// Memory in KiB, passes, lanes.
    cost: [u32; 3],
    salt: Vec<u8>,
    key: Vec<u8>,
}

impl Hash {
    /// Of these parts, if they are within bounds. `cost` is memory in KiB, passes, lanes.
    pub(super) fn new(
        limits: Limits,
        (variant, version): (Variant, Version),
        cost: [u64; 3],
        salt: Vec<u8>,
        key: Vec<u8>,
    ) -> Result<Self, HashRejected> {
        let [memory_kib, passes, lanes] = cost;
        let cost = limits.argon2(memory_kib, passes, lanes)?;
        let whole =
            salt.len() >= MIN_SALT_BYTES && (MIN_KEY_BYTES..=MAX_KEY_BYTES).contains(&key.len());
        if !whole {
            return Err(HashRejected::UnsupportedHash);
        }
        Ok(Self { variant, version, cost, salt, key })
    }

    /// Reads `id$v=19$m=65536,t=4,p=1$salt$hash`: what follows `$argon2`.
    pub(super) fn parse(limits: Limits, text: &str) -> Result<Self, HashRejected> {
        let parts: Vec<_> = text.split('$').collect();
        let (variant, version, cost, salt, key) = match *parts.as_slice() {
            [variant, version, cost, salt, key] => (variant, version, cost, salt, key),
            [variant, cost, salt, key] => (variant, "v=16", cost, salt, key),
            _ => return Err(HashRejected::UnsupportedHash),
        };
        let numbers = read_cost(cost).ok_or(HashRejected::UnsupportedHash)?;
        let (kind, salt, key) = read_kind(variant, version)
            .and_then(|kind| Some((kind, base64(salt)?, base64(key)?)))
            .ok_or(HashRejected::UnsupportedHash)?;
        Self::new(limits, kind, numbers, salt, key)
    }

    /// The key of a password; none where there is no memory for it.
    fn derive(&self, password: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let [memory_kib, passes, lanes] = self.cost;
        let params =
            reference::Params::new(memory_kib, passes, lanes, Some(self.key.len())).ok()?;
        let mut key = Zeroizing::new(vec![0; self.key.len()]);
        reference::Argon2::new(self.variant, self.version, params)
            .hash_password_into(password, &self.salt, &mut key)
            .ok()?;
        Some(key)
    }
}

impl Parsed for Hash {
    fn verify(&self, password: &[u8]) -> bool {
        self.derive(password).is_some_and(|key| key.ct_eq(&self.key).into())
    }

    fn cost(&self, _: usize) -> u32 {
        let [memory_kib, passes, _] = self.cost;
        cost::memory(memory_kib.into(), passes.into(), NANOS_PER_KIB)
    }
}

impl Scheme for Argon2 {
    type Hash = Hash;

    fn recognises(hash: &str) -> bool {
        hash.starts_with("$argon2")
    }

    fn parse(&self, stored: Stored<'_>) -> Result<Hash, HashRejected> {
        let rest = stored.without_salt()?.strip_prefix("$argon2");
        Hash::parse(stored.limits, rest.ok_or(HashRejected::UnsupportedHash)?)
    }
}

fn read_kind(variant: &str, version: &str) -> Option<(Variant, Version)> {
    let variant = match variant {
        "id" => Variant::Argon2id,
        "i" => Variant::Argon2i,
        "d" => Variant::Argon2d,
        _ => return None,
    };
    let version = match version {
        "v=19" => Version::V0x13,
        "v=16" => Version::V0x10,
        _ => return None,
    };
    Some((variant, version))
}

/// `m=65536,t=4,p=1`, in this order.
fn read_cost(text: &str) -> Option<[u64; 3]> {
    let (memory_kib, rest) = text.strip_prefix("m=")?.split_once(",t=")?;
    let (passes, lanes) = rest.split_once(",p=")?;
    Some([decimal(memory_kib)?, decimal(passes)?, decimal(lanes)?])
}
