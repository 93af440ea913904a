//! The deployment's index key: finds an identity without keeping it.
//!
//! A bare hash of a phone number falls to a dictionary in minutes; an HMAC under a key that never
//! leaves the nodes does not. The key has a version, so that it can be rotated. The same key gives,
//! under a subkey per domain, the digests of other things that must be recognised but not kept: API
//! key secrets, idempotency keys, request ids, hash profiles.
//!
//! It must never know a raw identity: what comes in has passed `normalise`.

use std::fmt;

use zeroize::Zeroizing;

use super::keyed::{self, Derivation, KEY_BYTES};

const BLIND_INDEX: &[u8] = b"jcas blind index v1";
const KEYED_DIGEST: &[u8] = b"jcas keyed digest v1";

/// The deployment-wide key behind every blind index.
pub struct IndexKey {
    version: u16,
    secret: Zeroizing<[u8; KEY_BYTES]>,
    /// Derived once: a bulk sync computes an index for every row.
    blind: Zeroizing<[u8; KEY_BYTES]>,
}

impl IndexKey {
    /// The key in `secret` (32 uniformly random bytes), known to its deployment as `version`.
    pub fn from_bytes(version: u16, secret: [u8; KEY_BYTES]) -> Self {
        let secret = Zeroizing::new(secret);
        let blind = Derivation::new(b"", &secret).key(&[BLIND_INDEX]);
        Self { version, secret, blind }
    }

    /// Which of the deployment's index keys this is.
    pub fn version(&self) -> u16 {
        self.version
    }

    /// The blind index of an identity in its normal form. `kind` keeps an e-mail address and a
    /// phone number apart.
    pub fn blind_index(&self, kind: u8, normalised: &str) -> [u8; KEY_BYTES] {
        keyed::tag(&self.blind, &[&[kind], normalised.as_bytes()])
    }

    /// The digest of `bytes` under this key's subkey for `domain`. Digests of different domains
    /// have nothing in common.
    pub fn keyed_digest(&self, domain: &str, bytes: &[u8]) -> [u8; KEY_BYTES] {
        self.subkey(domain).digest(bytes)
    }

    /// This key's subkey for `domain`, for digests that are made with every call.
    pub fn subkey(&self, domain: &str) -> Subkey {
        Subkey(Derivation::new(b"", &self.secret).key(&[KEYED_DIGEST, domain.as_bytes()]))
    }
}

/// A subkey of the index key for one domain. Wiped when dropped.
pub struct Subkey(Zeroizing<[u8; KEY_BYTES]>);

impl Subkey {
    /// The digest of `bytes`, as [`IndexKey::keyed_digest`] makes it for the domain.
    pub fn digest(&self, bytes: &[u8]) -> [u8; KEY_BYTES] {
        keyed::tag(&self.0, &[bytes])
    }
}

impl fmt::Debug for IndexKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "IndexKey(v{}, [redacted])", self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> IndexKey {
        IndexKey::from_bytes(3, [7; 32])
    }

    /// Pinned: an index that changes makes every identity of a deployment unfindable.
    #[test]
    fn known_answers() {
        assert_eq!(
            hex::encode(key().blind_index(1, "ada@example.com")),
            "8aa4c108cc9c620f9efa8164ebd02a045f4643cf3da389b9cc3ee490d39fa51b"
        );
        assert_eq!(
            hex::encode(key().keyed_digest("api key", b"secret")),
            "b29a35295e83917c35149b30bdaa6e419efd887495f15a13a50644f3510fbde1"
        );
    }

    #[test]
    fn kind_value_and_key_all_count() {
        let base = key().blind_index(1, "ada@example.com");
        assert_eq!(base, key().blind_index(1, "ada@example.com"));
        assert_ne!(base, key().blind_index(2, "ada@example.com"));
        assert_ne!(base, key().blind_index(1, "ida@example.com"));
        assert_ne!(base, IndexKey::from_bytes(3, [8; 32]).blind_index(1, "ada@example.com"));
    }

    #[test]
    fn domains_have_nothing_in_common() {
        let base = key().keyed_digest("request", b"x");
        assert_ne!(base, key().keyed_digest("reques", b"tx"));
        assert_ne!(base, key().keyed_digest("idempotency", b"x"));
        assert_ne!(base, key().blind_index(b'x', ""));
    }

    #[test]
    fn debug_tells_the_version_only() {
        assert_eq!(format!("{:?}", key()), "IndexKey(v3, [redacted])");
    }
}
