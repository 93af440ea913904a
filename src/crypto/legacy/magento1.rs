//! Magento 1 and `OpenMage`: `md5hex`, `md5hex:salt`, the same with SHA-256 and SHA-512, or
//! bcrypt. The salt goes before the password.
//!
//! Source: OpenMage/magento-lts `app/code/core/Mage/Core/Model/Encryption.php`, `validateHash`.
//! Only the later editions, which brought all forms but MD5, refuse passwords beyond 256 bytes.

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::bcrypt::Bcrypt;
use super::hashes::Algorithm;
use super::{HashRejected, Parsed, Scheme, Stored, cost};
use crate::crypto::bcrypt::{self, Begun};

/// `Mage_Core_Model_Encryption::MAXIMUM_PASSWORD_LENGTH`, in bytes.
const MAX_PASSWORD_BYTES: usize = 256;

/// The scheme `magento1`; no parameters.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Magento1 {}

/// A hash of one of Magento's forms.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub(super) enum Hash {
    Digest {
        #[zeroize(skip)]
        algorithm: Algorithm,
        digest: Vec<u8>,
        salt: Vec<u8>,
    },
    Bcrypt(bcrypt::Bcrypt),
}

impl Scheme for Magento1 {
    type Hash = Hash;

    fn parse(&self, stored: Stored<'_>) -> Result<Hash, HashRejected> {
        let text = stored.without_salt()?;
        if Bcrypt::recognises(text) {
            return Bcrypt {}.parse(stored).map(Hash::Bcrypt);
        }
        // A salt may itself have a colon: only the first one separates.
        let (digest, salt) = text.split_once(':').unwrap_or((text, ""));
        let digest = hex::decode(digest).map_err(|_| HashRejected::UnsupportedHash)?;
        let algorithm = [Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512]
            .into_iter()
            .find(|algorithm| algorithm.output_bytes() == digest.len())
            .ok_or(HashRejected::UnsupportedHash)?;
        Ok(Hash::Digest { algorithm, digest, salt: salt.as_bytes().to_vec() })
    }
}

impl Parsed for Hash {
    fn verify(&self, password: &[u8]) -> bool {
        match self {
            Self::Digest { algorithm: Algorithm::Md5, digest, salt } => {
                Algorithm::Md5.digest(&[salt, password]).ct_eq(digest).into()
            }
            _ if password.len() > MAX_PASSWORD_BYTES => false,
            Self::Digest { algorithm, digest, salt } => {
                algorithm.digest(&[salt, password]).ct_eq(digest).into()
            }
            Self::Bcrypt(hash) => hash.verify(password),
        }
    }

    fn begin(&self, password: &[u8]) -> Begun {
        match self {
            Self::Bcrypt(hash) if password.len() <= MAX_PASSWORD_BYTES => hash.begin(password),
            other => Begun::Known(other.verify(password)),
        }
    }

    fn cost(&self, password_bytes: usize) -> u32 {
        match self {
            Self::Digest { algorithm, salt, .. } => {
                cost::digests(*algorithm, 1, salt.len() + password_bytes)
            }
            Self::Bcrypt(hash) => Parsed::cost(hash, password_bytes),
        }
    }
}
