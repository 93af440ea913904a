//! `OpenCart` 1.5 to 3: `sha1(salt . sha1(salt . sha1(p)))` with the salt in its own column; before
//! that `md5(p)`; bcrypt after.
//!
//! Source: opencart/opencart `upload/system/library/cart/customer.php`. Some releases hash the
//! password as `Request::clean` left it: `"pre_transform": ["none", "htmlspecialchars"]`.

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::hashes::Algorithm;
use super::salted::{Salted, from_hex};
use super::{HashRejected, Parsed, Scheme, Stored, cost};

/// The scheme `opencart`; no parameters.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Opencart {}

/// A hash of one of its forms.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub(super) enum Hash {
    Nested { digest: Vec<u8>, salt: Vec<u8> },
    Md5(Salted),
}

impl Scheme for Opencart {
    type Hash = Hash;

    fn parse(&self, stored: Stored<'_>) -> Result<Hash, HashRejected> {
        let digest = from_hex(stored.hash)?;
        match Algorithm::of_output_bytes(digest.len()) {
            // The column may hold a salt that the old form has no use for.
            Some(Algorithm::Md5) => Salted::prefixed(Algorithm::Md5, digest, b"").map(Hash::Md5),
            Some(Algorithm::Sha1) => {
                let salt = stored.salt.ok_or(HashRejected::SaltRequired)?.as_bytes().to_vec();
                Ok(Hash::Nested { digest, salt })
            }
            _ => Err(HashRejected::UnsupportedHash),
        }
    }
}

impl Parsed for Hash {
    fn verify(&self, password: &[u8]) -> bool {
        match self {
            Self::Md5(hash) => hash.verify(password),
            Self::Nested { digest, salt } => {
                let mut inner = Algorithm::Sha1.digest(&[password]);
                for _ in 0..2 {
                    let text = Zeroizing::new(hex::encode(&*inner));
                    inner = Algorithm::Sha1.digest(&[salt, text.as_bytes()]);
                }
                inner.ct_eq(digest).into()
            }
        }
    }

    fn cost(&self, password_bytes: usize) -> u32 {
        match self {
            Self::Md5(hash) => hash.cost(password_bytes),
            Self::Nested { salt, .. } => {
                cost::digests(Algorithm::Sha1, 3, salt.len() + password_bytes)
            }
        }
    }
}
