//! Firebase Authentication: the project's signer key, encrypted under a key that scrypt makes of
//! the password. Hash and salt are base 64, the salt in its own column.
//!
//! ```text
//! k    = scrypt(p, salt . salt_separator, N = 2^mem_cost, r = rounds, p = 1), 32 bytes
//! hash = AES-256-CTR(k, IV 0) over the signer key
//! ```
//!
//! Source: firebase/scrypt `README.md`. The parameters stand in the project's console.

use aes::Aes256;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use base64::Engine as _;

use super::encoding::{BASE64, base64_of_either};
use super::parameters::Count;
use super::profile::is_default;
use super::scrypt::Work;
use super::{HashRejected, InvalidProfile, Parsed, Scheme, Stored};

const MAX_MEM_COST: u32 = 17;
const MAX_ROUNDS: u32 = 8;
/// The longest signer key and separator, in bytes.
const MAX_KEY_BYTES: usize = 256;

/// The scheme `firebase-scrypt` and its parameters.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FirebaseScrypt {
    signer_key: Base64Bytes,
    #[serde(skip_serializing_if = "is_default")]
    salt_separator: Base64Bytes,
    #[serde(skip_serializing_if = "is_default")]
    rounds: Count<8>,
    #[serde(skip_serializing_if = "is_default")]
    mem_cost: Count<14>,
}

/// Bytes that a profile writes in base 64. Of a type of their own, because serde's message for a
/// wrong value would quote it.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(try_from = "Value", into = "String")]
struct Base64Bytes(Vec<u8>);

impl TryFrom<Value> for Base64Bytes {
    type Error = &'static str;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        let bytes = value.as_str().and_then(base64_of_either);
        bytes.map(Self).ok_or("signer_key and salt_separator are strings in base64")
    }
}

impl From<Base64Bytes> for String {
    fn from(bytes: Base64Bytes) -> Self {
        BASE64.encode(&bytes.0)
    }
}

/// A hash with its salt.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub(super) struct Hash {
    #[zeroize(skip)]
    work: Work,
    signer_key: Vec<u8>,
    /// With its separator.
    salt: Vec<u8>,
    encrypted: Vec<u8>,
}

impl Scheme for FirebaseScrypt {
    type Hash = Hash;

    fn validate(&self, _: bool) -> Result<(), InvalidProfile> {
        if self.signer_key.0.is_empty() {
            return Err(InvalidProfile::Contradiction("firebase-scrypt needs its signer_key"));
        }
        if self.signer_key.0.len() > MAX_KEY_BYTES {
            return Err(InvalidProfile::OutOfBounds("signer_key"));
        }
        if self.salt_separator.0.len() > MAX_KEY_BYTES {
            return Err(InvalidProfile::OutOfBounds("salt_separator"));
        }
        self.rounds.check("rounds", MAX_ROUNDS)?;
        self.mem_cost.check("mem_cost", MAX_MEM_COST)
    }

    fn parse(&self, stored: Stored<'_>) -> Result<Hash, HashRejected> {
        let signer_key = self.signer_key.0.clone();
        let encrypted = base64_of_either(stored.hash)
            .filter(|encrypted| encrypted.len() == signer_key.len() && !encrypted.is_empty())
            .ok_or(HashRejected::UnsupportedHash)?;
        let salt = stored.salt.ok_or(HashRejected::SaltRequired)?;
        let mut salt = base64_of_either(salt).ok_or(HashRejected::SaltRefused)?;
        salt.extend_from_slice(&self.salt_separator.0);
        let n = 1_u64.checked_shl(self.mem_cost.0).ok_or(HashRejected::CostOutOfBounds)?;
        let work = Work::new(n, self.rounds.0.into(), 1)?;
        Ok(Hash { work, signer_key, salt, encrypted })
    }
}

impl Parsed for Hash {
    fn verify(&self, password: &[u8]) -> bool {
        let mut key = Zeroizing::new([0; 32]);
        if self.work.derive(password, &self.salt, key.as_mut_slice()).is_none() {
            return false;
        }
        let mut encrypted = Zeroizing::new(self.signer_key.clone());
        Ctr128BE::<Aes256>::new(&(*key).into(), &[0; 16].into()).apply_keystream(&mut encrypted);
        encrypted.ct_eq(&self.encrypted).into()
    }

    fn cost(&self, _: usize) -> u32 {
        self.work.cost()
    }
}
