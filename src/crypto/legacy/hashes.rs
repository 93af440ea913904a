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
        use Algorithm::{Md5, Sha1, Sha224, Sha256, Sha384, Sha512};
        for algorithm in [Md5, Sha1, Sha224, Sha256, Sha384, Sha512] {
            assert_eq!(algorithm.digest(&[b"p"]).len(), algorithm.output_bytes());
            assert_eq!(algorithm.hmac(&[0; 500], &[b"p"]).len(), algorithm.output_bytes());
        }
    }

    #[test]
    fn parts_are_joined() {
        let joined = Algorithm::Md5.digest(&[b"a", b"b", b"c"]);
        assert_eq!(hex::encode(&*joined), "900150983cd24fb0d6963f7d28e17f72");
    }
}
