//! LDAP directories: `{SSHA}base64` and its like, and `{CRYPT}` with what `crypt(3)` wrote.
//!
//! ```text
//! {MD5} {SHA} {SHA224} {SHA256} {SHA384} {SHA512}       base64(H(p))
//! {SMD5} {SSHA} {SSHA224} {SSHA256} .. {SSHA512}        base64(H(p . salt) . salt)
//! {CRYPT}$..  {ARGON2}$argon2id$..                      what follows describes itself
//! ```
//!
//! Source: RFC 2307, RFC 3112 and `OpenLDAP`'s `contrib/slapd-modules/passwd`. The name is of
//! any case. DES-crypt is not taken: eight characters of a password counted in it.

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::encoding::base64;
use super::hashes::Algorithm;
use super::salted::Salted;
use super::{AnyHash, AnyScheme, HashRejected, Parsed, Scheme, Stored};
use crate::crypto::bcrypt::Begun;

/// The scheme `ldap`; no parameters.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ldap {}

/// A hash of a directory.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub(super) enum Hash {
    Salted(Salted),
    Crypt(Box<AnyHash>),
}

/// What a name in braces says.
enum Kind {
    Digest(Algorithm),
    Salted(Algorithm),
    Crypt,
}

impl Kind {
    fn of(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "MD5" => Self::Digest(Algorithm::Md5),
            "SHA" => Self::Digest(Algorithm::Sha1),
            "SHA224" => Self::Digest(Algorithm::Sha224),
            "SHA256" => Self::Digest(Algorithm::Sha256),
            "SHA384" => Self::Digest(Algorithm::Sha384),
            "SHA512" => Self::Digest(Algorithm::Sha512),
            "SMD5" => Self::Salted(Algorithm::Md5),
            "SSHA" => Self::Salted(Algorithm::Sha1),
            "SSHA224" => Self::Salted(Algorithm::Sha224),
            "SSHA256" => Self::Salted(Algorithm::Sha256),
            "SSHA384" => Self::Salted(Algorithm::Sha384),
            "SSHA512" => Self::Salted(Algorithm::Sha512),
            "CRYPT" | "ARGON2" => Self::Crypt,
            _ => return None,
        })
    }
}

fn split(hash: &str) -> Option<(Kind, &str)> {
    let (name, rest) = hash.strip_prefix('{')?.split_once('}')?;
    Some((Kind::of(name)?, rest))
}

impl Scheme for Ldap {
    type Hash = Hash;

    fn recognises(hash: &str) -> bool {
        split(hash).is_some()
    }

    fn parse(&self, stored: Stored<'_>) -> Result<Hash, HashRejected> {
        let malformed = HashRejected::UnsupportedHash;
        let (kind, rest) = split(stored.without_salt()?).ok_or(malformed)?;
        let (algorithm, salted) = match kind {
            Kind::Digest(algorithm) => (algorithm, false),
            Kind::Salted(algorithm) => (algorithm, true),
            Kind::Crypt => return parse_crypt(Stored { hash: rest, ..stored }),
        };
        let mut digest = base64(rest).ok_or(malformed)?;
        if digest.len() < algorithm.output_bytes() {
            return Err(malformed);
        }
        let salt = digest.split_off(algorithm.output_bytes());
        if !salted && !salt.is_empty() {
            return Err(malformed);
        }
        Salted::suffixed(algorithm, digest, &salt).map(Hash::Salted)
    }
}

/// What starts with a dollar is not of this format, so this goes one level deep and no further.
fn parse_crypt(stored: Stored<'_>) -> Result<Hash, HashRejected> {
    let scheme = AnyScheme::recognise(stored.hash).filter(|_| stored.hash.starts_with('$'));
    let hash = scheme.ok_or(HashRejected::UnsupportedHash)?.parse(stored)?;
    Ok(Hash::Crypt(Box::new(hash)))
}

impl Parsed for Hash {
    fn verify(&self, password: &[u8]) -> bool {
        match self {
            Self::Salted(hash) => hash.verify(password),
            Self::Crypt(hash) => hash.verify(password),
        }
    }

    fn begin(&self, password: &[u8]) -> Begun {
        match self {
            Self::Salted(hash) => Begun::Known(hash.verify(password)),
            Self::Crypt(hash) => hash.begin(password),
        }
    }

    fn cost(&self, password_bytes: usize) -> u32 {
        match self {
            Self::Salted(hash) => hash.cost(password_bytes),
            Self::Crypt(hash) => hash.cost(password_bytes),
        }
    }
}
