//! Django (Saleor, Oscar): `algorithm$..`, all that it ever had but DES-crypt.
//!
//! ```text
//! pbkdf2_sha256$iterations$salt$base64     also pbkdf2_sha1
//! argon2$argon2id$v=19$m=..,t=..,p=..$salt$hash
//! scrypt$N$salt$r$p$base64
//! bcrypt$$2b$..                            bcrypt_sha256$$2b$.. over the password's SHA-256 in hex
//! md5$salt$hex   sha1$salt$hex             H(salt . p); the salt may be empty
//! 32 bare hex digits                       MD5, under a profile only
//! ```
//!
//! Source: django/django `django/contrib/auth/hashers.py`. A salt is the text as it stands. What
//! starts with `!` is no password at all.

use serde::{Deserialize, Serialize};

use super::argon2;
use super::bcrypt::Bcrypt;
use super::computation::Computation;
use super::encoding::{base64, decimal};
use super::hashes::Algorithm;
use super::pbkdf2::Pbkdf2;
use super::salted::{Salted, from_hex};
use super::scrypt::{Scrypt, Work};
use super::{HashRejected, Scheme, Stored};

/// How the hashes that it writes begin.
const NAMES: [&str; 8] = [
    "pbkdf2_sha256$",
    "pbkdf2_sha1$",
    "argon2$argon2",
    "scrypt$",
    "bcrypt$",
    "bcrypt_sha256$",
    "md5$",
    "sha1$",
];

/// The scheme `django`; no parameters.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Django {}

impl Scheme for Django {
    type Hash = Computation;

    fn recognises(hash: &str) -> bool {
        NAMES.iter().any(|name| hash.starts_with(name))
    }

    fn parse(&self, stored: Stored<'_>) -> Result<Computation, HashRejected> {
        let text = stored.without_salt()?;
        let Some((name, rest)) = text.split_once('$') else {
            return Salted::prefixed(Algorithm::Md5, from_hex(text)?, b"").map(Computation::Salted);
        };
        let inner = Stored { hash: rest, ..stored };
        match name {
            "pbkdf2_sha256" => pbkdf2(inner, Algorithm::Sha256),
            "pbkdf2_sha1" => pbkdf2(inner, Algorithm::Sha1),
            "argon2" => {
                let text = rest.strip_prefix("argon2").ok_or(HashRejected::UnsupportedHash)?;
                argon2::Hash::parse(stored.limits, text).map(Computation::Argon2)
            }
            "scrypt" => scrypt(rest),
            "bcrypt" => Bcrypt {}.parse(inner).map(Computation::Bcrypt),
            "bcrypt_sha256" => Bcrypt {}.parse(inner).map(Computation::BcryptOfSha256),
            "md5" => salted(rest, Algorithm::Md5),
            "sha1" => salted(rest, Algorithm::Sha1),
            _ => Err(HashRejected::UnsupportedHash),
        }
    }
}

fn pbkdf2(stored: Stored<'_>, algorithm: Algorithm) -> Result<Computation, HashRejected> {
    let malformed = || HashRejected::UnsupportedHash;
    let parts: Vec<_> = stored.hash.split('$').collect();
    let [iterations, salt, key] = *parts.as_slice() else { return Err(malformed()) };
    let key = base64(key).filter(|key| key.len() == algorithm.output_bytes());
    let (iterations, key) = decimal(iterations).zip(key).ok_or_else(malformed)?;
    let salt = salt.as_bytes().to_vec();
    Pbkdf2::new(stored.limits, algorithm, iterations, salt, key).map(Computation::Pbkdf2)
}

fn scrypt(text: &str) -> Result<Computation, HashRejected> {
    let malformed = || HashRejected::UnsupportedHash;
    let parts: Vec<_> = text.split('$').collect();
    let [n, salt, r, p, key] = *parts.as_slice() else { return Err(malformed()) };
    let number = |text| decimal(text).ok_or_else(malformed);
    let work = Work::new(number(n)?, number(r)?, number(p)?)?;
    let key = base64(key).ok_or_else(malformed)?;
    Scrypt::new(work, salt.as_bytes().to_vec(), key).map(Computation::Scrypt)
}

fn salted(text: &str, algorithm: Algorithm) -> Result<Computation, HashRejected> {
    let (salt, digest) = text.split_once('$').ok_or(HashRejected::UnsupportedHash)?;
    let salted = Salted::prefixed(algorithm, from_hex(digest)?, salt.as_bytes())?;
    Ok(Computation::Salted(salted))
}
