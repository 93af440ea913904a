//! A hash of a store that keeps several kinds in one column.
//!
//! It must never know how a shop writes it.

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::hashes::Algorithm;
use super::pbkdf2::Pbkdf2;
use super::salted::Salted;
use super::scrypt::Scrypt;
use super::{Parsed, argon2};
use crate::crypto::bcrypt::{self, Begun};

/// One of what formats are built of.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub(super) enum Computation {
    Salted(Salted),
    Pbkdf2(Pbkdf2),
    Scrypt(Scrypt),
    Argon2(argon2::Hash),
    Bcrypt(bcrypt::Bcrypt),
    /// bcrypt of the password's SHA-256 in hex.
    BcryptOfSha256(bcrypt::Bcrypt),
}

impl Parsed for Computation {
    fn verify(&self, password: &[u8]) -> bool {
        match self {
            Self::Salted(hash) => hash.verify(password),
            Self::Pbkdf2(hash) => hash.verify(password),
            Self::Scrypt(hash) => hash.verify(password),
            Self::Argon2(hash) => hash.verify(password),
            Self::Bcrypt(hash) => hash.verify(password),
            Self::BcryptOfSha256(hash) => {
                let digest = Algorithm::Sha256.digest(&[password]);
                hash.verify(Zeroizing::new(hex::encode(&*digest)).as_bytes())
            }
        }
    }

    fn begin(&self, password: &[u8]) -> Begun {
        match self {
            Self::Bcrypt(hash) => hash.begin(password),
            Self::BcryptOfSha256(hash) => {
                let digest = Algorithm::Sha256.digest(&[password]);
                hash.begin(Zeroizing::new(hex::encode(&*digest)).as_bytes())
            }
            other => Begun::Known(other.verify(password)),
        }
    }

    fn cost(&self, password_bytes: usize) -> u32 {
        match self {
            Self::Salted(hash) => hash.cost(password_bytes),
            Self::Pbkdf2(hash) => hash.cost(password_bytes),
            Self::Scrypt(hash) => hash.cost(password_bytes),
            Self::Argon2(hash) => hash.cost(password_bytes),
            Self::Bcrypt(hash) | Self::BcryptOfSha256(hash) => Parsed::cost(hash, password_bytes),
        }
    }
}
