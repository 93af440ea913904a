//! HMAC-SHA-256 and HKDF-SHA-256 with lengths fixed by types, so that no caller has an error to
//! handle that cannot happen.
//!
//! It must never know what is signed or derived: domains and contexts come in as bytes.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// HMAC-SHA-256 in progress.
pub(super) type HmacSha256 = Hmac<Sha256>;

/// An HMAC-SHA-256 tag or key, and a derived key: 32 bytes.
pub(super) const KEY_BYTES: usize = 32;

/// Starts an HMAC-SHA-256 under `key`.
pub(super) fn hmac(key: &[u8; KEY_BYTES]) -> HmacSha256 {
    // A key of exactly one digest is shorter than the block, so this constructor cannot refuse it
    // and does not hash it first: it is the HMAC of RFC 2104 under `key`.
    let mut block = Zeroizing::new([0_u8; 64]);
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    HmacSha256::new(&(*block).into())
}

/// The HMAC-SHA-256 tag of `parts` under `key`. The caller sees to it that the parts cannot be
/// split differently, by [`length_prefixed`] or by fixed lengths.
pub(super) fn tag(key: &[u8; KEY_BYTES], parts: &[&[u8]]) -> [u8; KEY_BYTES] {
    let mut mac = hmac(key);
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Derives `N` bytes (up to 255 x 32) from a secret by HKDF-SHA-256 (RFC 5869).
pub(super) struct Derivation(Hkdf<Sha256>);

impl Derivation {
    /// Extracts from `secret` with `salt`; an empty salt counts as none.
    pub(super) fn new(salt: &[u8], secret: &[u8; KEY_BYTES]) -> Self {
        Self(Hkdf::new(Some(salt), secret))
    }

    /// Expands to one 32-byte key for `info`.
    pub(super) fn key(&self, info: &[&[u8]]) -> Zeroizing<[u8; KEY_BYTES]> {
        self.expand(info)
    }

    /// Expands to one 16-byte initialisation vector for `info`.
    pub(super) fn iv(&self, info: &[&[u8]]) -> Zeroizing<[u8; 16]> {
        self.expand(info)
    }

    fn expand<const N: usize>(&self, info: &[&[u8]]) -> Zeroizing<[u8; N]> {
        let mut output = Zeroizing::new([0; N]);
        let expanded = self.0.expand_multi_info(info, output.as_mut_slice());
        // Only the two lengths above come here; HKDF refuses those beyond 8160 bytes.
        debug_assert!(expanded.is_ok(), "an output of {N} bytes is within HKDF's limit");
        output
    }
}

/// `bytes` behind their length (u32, big-endian), so that joined parts read only one way.
pub(super) fn length_prefixed(into: &mut Vec<u8>, bytes: &[u8]) {
    // Nothing of 4 GiB comes here; a saturated prefix would still be followed by all the bytes.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    into.extend_from_slice(&length.to_be_bytes());
    into.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231 test case 1 has a 20-byte key; padded to 32 with zeros it is the same HMAC key.
    #[test]
    fn hmac_is_rfc_4231() {
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let tag = tag(&key, &[b"Hi ", b"There"]);
        assert_eq!(
            hex::encode(tag),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
    }

    #[test]
    fn derived_keys_depend_on_salt_secret_and_info() {
        let key = |salt: &[u8], secret, info: &[u8]| *Derivation::new(salt, &secret).key(&[info]);
        let base = key(b"salt", [1; 32], b"info");
        assert_eq!(base, key(b"salt", [1; 32], b"info"));
        assert_ne!(base, key(b"other", [1; 32], b"info"));
        assert_ne!(base, key(b"salt", [2; 32], b"info"));
        assert_ne!(base, key(b"salt", [1; 32], b"other"));
    }

    #[test]
    fn prefixed_parts_read_only_one_way() {
        let join = |parts: &[&[u8]]| {
            let mut joined = Vec::new();
            for part in parts {
                length_prefixed(&mut joined, part);
            }
            joined
        };
        assert_ne!(join(&[b"ab", b"c"]), join(&[b"a", b"bc"]));
        assert_ne!(join(&[b"", b"abc"]), join(&[b"abc"]));
    }
}
