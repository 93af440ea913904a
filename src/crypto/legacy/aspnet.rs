//! ASP.NET Identity: base 64 of a version byte and a PBKDF2.
//!
//! ```text
//! v2   00 salt16 key32                       SHA-1, 1000 iterations
//! v3   01 prf iterations salt_length salt key
//!                                            numbers are u32, big-endian;
//!                                            prf 0 is SHA-1, 1 SHA-256, 2 SHA-512
//! ```
//!
//! Source: dotnet/aspnetcore `src/Identity/Extensions.Core/src/PasswordHasher.cs`.

use serde::{Deserialize, Serialize};

use super::encoding::base64;
use super::hashes::Algorithm;
use super::pbkdf2::Pbkdf2;
use super::{HashRejected, Scheme, Stored};

const V2_SALT_BYTES: usize = 16;
const V2_KEY_BYTES: usize = 32;
const V2_ITERATIONS: u32 = 1000;
/// What v3 asks of salt and key each, in bytes.
const V3_LEAST_BYTES: usize = 16;

/// The scheme `aspnet-identity`; no parameters.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AspnetIdentity {}

/// A hash's algorithm, iterations, salt and key.
type Parts = (Algorithm, u32, Vec<u8>, Vec<u8>);

fn take_apart(bytes: &[u8]) -> Option<Parts> {
    let (version, rest) = bytes.split_first()?;
    match version {
        0 => {
            let (salt, key) = rest.split_at_checked(V2_SALT_BYTES)?;
            let whole = key.len() == V2_KEY_BYTES;
            whole.then(|| (Algorithm::Sha1, V2_ITERATIONS, salt.to_vec(), key.to_vec()))
        }
        1 => {
            let (prf, rest) = number(rest)?;
            let (iterations, rest) = number(rest)?;
            let (salt_bytes, rest) = number(rest)?;
            let (salt, key) = rest.split_at_checked(usize::try_from(salt_bytes).ok()?)?;
            let algorithm = match prf {
                0 => Algorithm::Sha1,
                1 => Algorithm::Sha256,
                2 => Algorithm::Sha512,
                _ => return None,
            };
            let whole = salt.len() >= V3_LEAST_BYTES && key.len() >= V3_LEAST_BYTES;
            whole.then(|| (algorithm, iterations, salt.to_vec(), key.to_vec()))
        }
        _ => None,
    }
}

fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u32::from_be_bytes(*number), rest))
}

impl Scheme for AspnetIdentity {
    type Hash = Pbkdf2;

    fn parse(&self, stored: Stored<'_>) -> Result<Pbkdf2, HashRejected> {
        let parts = base64(stored.without_salt()?).and_then(|bytes| take_apart(&bytes));
        let (algorithm, iterations, salt, key) = parts.ok_or(HashRejected::UnsupportedHash)?;
        Pbkdf2::new(stored.limits, algorithm, iterations.into(), salt, key)
    }
}
