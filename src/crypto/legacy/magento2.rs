//! Magento 2: `hash:salt:version`, and `hash:salt:v1:v2..` of hashes that were upgraded in place.
//!
//! ```text
//! r = p; for each version:  0  r = hex(MD5(salt . r))
//!                           1  r = hex(SHA256(salt . r))
//!                           2  r = hex(Argon2id(r, salt, 64 MiB, 2 passes, 32 bytes))
//!           3_<length>_<passes>_<memory>  the same with these
//! ```
//!
//! Argon2's salt is cut to 16 bytes, or repeated until it has them. Under a profile also
//! `hash:salt` of 2.0 (SHA-256, or MD5 by its length) and, where the profile has the `crypt/key`
//! as its pepper, a bare HMAC-SHA256.
//!
//! Source: magento2 `lib/internal/Magento/Framework/Encryption/Encryptor.php`.

use ::argon2::{Algorithm as Variant, Params, Version};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::encoding::decimal;
use super::hashes::Algorithm;
use super::salted::from_hex;
use super::{HashRejected, Limits, Parsed, Scheme, Stored, cost};

const ARGON2_SALT_BYTES: usize = 16;
/// What libsodium asks of a key, and the longest that is taken.
const KEY_BYTES: std::ops::RangeInclusive<u64> = 16..=64;
/// Version 2, in version 3's spelling: libsodium's "interactive".
const VERSION_2: [u64; 3] = [32, 2, 64 * 1024 * 1024];
/// No hash was upgraded more often.
const MAX_STEPS: usize = 4;

/// What one KiB takes in one pass, in nanoseconds.
const NANOS_PER_KIB: u64 = 600;

/// The scheme `magento2`; no parameters.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Magento2 {}

/// A hash taken apart.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub(super) struct Hash {
    #[zeroize(skip)]
    steps: Vec<Step>,
    salt: Vec<u8>,
    digest: Vec<u8>,
}

/// What one version does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Digest(Algorithm),
    Argon2 {
        length: usize,
        memory_kib: u32,
        passes: u32,
    },
    /// Keyed with the salt, which is the shop's key then.
    Hmac,
}

impl Step {
    fn read(limits: Limits, version: &str) -> Result<Self, HashRejected> {
        let malformed = || HashRejected::UnsupportedHash;
        let numbers = match version {
            "0" => return Ok(Self::Digest(Algorithm::Md5)),
            "1" => return Ok(Self::Digest(Algorithm::Sha256)),
            "2" => VERSION_2,
            _ => {
                let numbers: Vec<_> = version.split('_').map(decimal).collect();
                let [Some(3), Some(length), Some(passes), Some(memory)] = *numbers.as_slice()
                else {
                    return Err(malformed());
                };
                [length, passes, memory]
            }
        };
        let [length, passes, memory_bytes] = numbers;
        let [memory_kib, passes, _] = limits.argon2(memory_bytes / 1024, passes, 1)?;
        let length = Some(length).filter(|length| KEY_BYTES.contains(length));
        let length = length.and_then(|length| usize::try_from(length).ok());
        Ok(Self::Argon2 { length: length.ok_or_else(malformed)?, memory_kib, passes })
    }

    fn output_bytes(self) -> usize {
        match self {
            Self::Digest(algorithm) => algorithm.output_bytes(),
            Self::Argon2 { length, .. } => length,
            Self::Hmac => Algorithm::Sha256.output_bytes(),
        }
    }

    /// None where there is no memory for it.
    fn take(self, input: &[u8], salt: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        match self {
            Self::Digest(algorithm) => Some(algorithm.digest(&[salt, input])),
            Self::Hmac => Some(Algorithm::Sha256.hmac(salt, &[input])),
            Self::Argon2 { length, memory_kib, passes } => {
                let salt: Vec<u8> = salt.iter().copied().cycle().take(ARGON2_SALT_BYTES).collect();
                let params = Params::new(memory_kib, passes, 1, Some(length)).ok()?;
                let mut key = Zeroizing::new(vec![0; length]);
                ::argon2::Argon2::new(Variant::Argon2id, Version::V0x13, params)
                    .hash_password_into(input, &salt, &mut key)
                    .ok()?;
                Some(key)
            }
        }
    }

    fn cost(self, input_bytes: usize) -> u32 {
        match self {
            Self::Digest(algorithm) => cost::digests(algorithm, 1, input_bytes),
            Self::Hmac => cost::digests(Algorithm::Sha256, 3, input_bytes),
            Self::Argon2 { memory_kib, passes, .. } => {
                cost::memory(memory_kib.into(), passes.into(), NANOS_PER_KIB)
            }
        }
    }
}

impl Scheme for Magento2 {
    type Hash = Hash;

    fn recognises(hash: &str) -> bool {
        let mut parts = hash.split(':');
        let digest = parts.next().unwrap_or_default();
        let versions: Vec<_> = parts.skip(1).collect();
        let is_version = |text: &str| matches!(text, "0" | "1" | "2") || text.starts_with("3_");
        digest.len() >= 32
            && digest.bytes().all(|letter| letter.is_ascii_hexdigit())
            && !versions.is_empty()
            && versions.into_iter().all(is_version)
    }

    fn keys_with_pepper(&self) -> bool {
        true
    }

    fn parse(&self, stored: Stored<'_>) -> Result<Hash, HashRejected> {
        let mut parts = stored.without_salt()?.split(':');
        let digest = from_hex(parts.next().unwrap_or_default())?;
        let salt = parts.next();
        let mut steps = Vec::new();
        for version in parts {
            if steps.len() == MAX_STEPS {
                return Err(HashRejected::CostOutOfBounds);
            }
            steps.push(Step::read(stored.limits, version)?);
        }
        let salt = match salt {
            // An empty salt cannot be repeated.
            Some("") if !steps.is_empty() => return Err(HashRejected::UnsupportedHash),
            Some(salt) => salt.as_bytes(),
            None if stored.pepper.is_empty() => return Err(HashRejected::UnsupportedHash),
            None => {
                steps.push(Step::Hmac);
                stored.pepper
            }
        };
        if steps.is_empty() {
            let is_md5 = digest.len() == Algorithm::Md5.output_bytes();
            let algorithm = if is_md5 { Algorithm::Md5 } else { Algorithm::Sha256 };
            steps.push(Step::Digest(algorithm));
        }
        if steps.last().is_none_or(|step| step.output_bytes() != digest.len()) {
            return Err(HashRejected::UnsupportedHash);
        }
        Ok(Hash { steps, salt: salt.to_vec(), digest })
    }
}

impl Parsed for Hash {
    fn verify(&self, password: &[u8]) -> bool {
        let mut input = Zeroizing::new(password.to_vec());
        let mut digest = Zeroizing::default();
        for step in &self.steps {
            let Some(output) = step.take(&input, &self.salt) else { return false };
            input = Zeroizing::new(hex::encode(&*output).into_bytes());
            digest = output;
        }
        digest.ct_eq(&self.digest).into()
    }

    fn cost(&self, password_bytes: usize) -> u32 {
        let bytes = self.salt.len() + password_bytes;
        self.steps.iter().fold(0, |sum: u32, step| sum.saturating_add(step.cost(bytes)))
    }
}
