//! The digest algorithms that old password formats are built of, by the names profiles use.
//!
//! Half of them are broken for signatures; here they only tell whether a password is the old one.

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::digest::Digest;
use sha2::{Sha224, Sha256, Sha384, Sha512};
use zeroize::Zeroizing;

/// What one round of an iterated digest hands the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Chain {
    /// The digest's bytes.
    #[default]
    Raw,
    /// The digest in lower-case hex.
    Hex,
}

/// A digest algorithm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Algorithm {
    #[default]
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    /// All of them.
    pub(super) const ALL: [Self; 6] =
        [Self::Md5, Self::Sha1, Self::Sha224, Self::Sha256, Self::Sha384, Self::Sha512];

    /// The one whose digests are this long, in bytes.
    pub(super) fn of_output_bytes(length: usize) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.output_bytes() == length)
    }

    /// The length of a digest, in bytes.
    pub(super) fn output_bytes(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha224 => 28,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The digest of `parts`, joined.
    pub(super) fn digest(self, parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
        match self {
            Self::Md5 => digest::<Md5>(parts),
            Self::Sha1 => digest::<Sha1>(parts),
            Self::Sha224 => digest::<Sha224>(parts),
            Self::Sha256 => digest::<Sha256>(parts),
            Self::Sha384 => digest::<Sha384>(parts),
            Self::Sha512 => digest::<Sha512>(parts),
        }
    }

    /// Takes a digest through more rounds of `d = H(d . suffix)`.
    pub(super) fn iterate(
        self,
        mut digest: Zeroizing<Vec<u8>>,
        rounds: u32,
        chain: Chain,
        suffix: &[u8],
    ) -> Zeroizing<Vec<u8>> {
        for _ in 0..rounds {
            digest = match chain {
                Chain::Raw => self.digest(&[&digest, suffix]),
                Chain::Hex => {
                    let text = Zeroizing::new(hex::encode(&*digest));
                    self.digest(&[text.as_bytes(), suffix])
                }
            };
        }
        digest
    }

    /// Fills `key` by PBKDF2 with the HMAC of this digest.
    pub(super) fn pbkdf2(self, password: &[u8], salt: &[u8], iterations: u32, key: &mut [u8]) {
        match self {
            Self::Md5 => pbkdf2::pbkdf2_hmac::<Md5>(password, salt, iterations, key),
            Self::Sha1 => pbkdf2::pbkdf2_hmac::<Sha1>(password, salt, iterations, key),
            Self::Sha224 => pbkdf2::pbkdf2_hmac::<Sha224>(password, salt, iterations, key),
            Self::Sha256 => pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations, key),
            Self::Sha384 => pbkdf2::pbkdf2_hmac::<Sha384>(password, salt, iterations, key),
            Self::Sha512 => pbkdf2::pbkdf2_hmac::<Sha512>(password, salt, iterations, key),
        }
    }

    /// The HMAC of the parts of `message`, joined, under `key`, which may be of any length.
    pub(super) fn hmac(self, key: &[u8], message: &[&[u8]]) -> Zeroizing<Vec<u8>> {
        match self {
            Self::Md5 => tag(Hmac::<Md5>::new_from_slice(key), message),
            Self::Sha1 => tag(Hmac::<Sha1>::new_from_slice(key), message),
            Self::Sha224 => tag(Hmac::<Sha224>::new_from_slice(key), message),
            Self::Sha256 => tag(Hmac::<Sha256>::new_from_slice(key), message),
            Self::Sha384 => tag(Hmac::<Sha384>::new_from_slice(key), message),
            Self::Sha512 => tag(Hmac::<Sha512>::new_from_slice(key), message),
        }
    }
}

fn digest<D: Digest>(parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let mut digest = D::new();
    for part in parts {
        digest.update(part);
    }
    Zeroizing::new(digest.finalize().to_vec())
}

/// HMAC takes keys of every length; were one refused, the empty tag would match nothing.
fn tag<M: Mac, E>(mac: Result<M, E>, message: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let Ok(mut mac) = mac else { return Zeroizing::default() };
    for part in message {
        mac.update(part);
    }
    Zeroizing::new(mac.finalize().into_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_right() {
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.digest(&[b"p"]).len(), algorithm.output_bytes());
            assert_eq!(Algorithm::of_output_bytes(algorithm.output_bytes()), Some(algorithm));
            assert_eq!(algorithm.hmac(&[0; 500], &[b"p"]).len(), algorithm.output_bytes());
        }
    }

    #[test]
    fn parts_are_joined() {
        let joined = Algorithm::Md5.digest(&[b"a", b"b", b"c"]);
        assert_eq!(hex::encode(&*joined), "900150983cd24fb0d6963f7d28e17f72");
    }
}
