//! The keys a region signs its answers with.
//!
//! They are numbered, and each is derived from the seed the region signs with, so that all nodes of
//! the region have the same ones and none lies in a file of its own. One number signs. Its
//! neighbours are published beside it: the next, so that everybody knows it before it is used, and
//! the one before, so that what it signed last can still be verified. Counting up by one is the
//! whole rotation.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, Header};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{Algorithm, provider};
use crate::crypto::keyed::Derivation;

const ANSWER_KEY: &[u8] = b"jcas answer key v1";

/// A region's keys for answers. Wiped when dropped.
pub struct AnswerKeys {
    header: Header,
    key: EncodingKey,
    published: Vec<PublicJwk>,
}

/// A public key as `/.well-known/jwks.json` shows it (RFC 7517, RFC 8037).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PublicJwk {
    kty: &'static str,
    crv: &'static str,
    x: String,
    kid: String,
    r#use: &'static str,
    alg: &'static str,
}

impl AnswerKeys {
    /// The keys of a region with this seed; `number` signs.
    pub fn derive(region_seed: &[u8; 32], number: u32) -> Self {
        provider::install();
        let derivation = Derivation::new(b"", region_seed);
        let seed = |number: u32| derivation.key(&[ANSWER_KEY, &number.to_be_bytes()]);
        // The one that signs stands first.
        let neighbours = [Some(number), number.checked_add(1), number.checked_sub(1)];
        let neighbours = neighbours.into_iter().flatten();
        let published: Vec<_> = neighbours.map(|it| PublicJwk::of(&seed(it))).collect();
        let mut header = Header::new(Algorithm::EdDsa.in_library());
        header.kid = published.first().map(|jwk| jwk.kid.clone());
        Self { header, key: provider::seed_key(&seed(number)), published }
    }

    /// Every key that answers may be signed with now.
    pub fn published(&self) -> &[PublicJwk] {
        &self.published
    }

    /// A compact JWS over claims. None where they are no JSON.
    pub fn sign<T: Serialize>(&self, claims: &T) -> Option<String> {
        jsonwebtoken::encode(&self.header, claims, &self.key).ok()
    }
}

impl PublicJwk {
    pub(super) fn of(seed: &Zeroizing<[u8; 32]>) -> Self {
        let public = ed25519_dalek::SigningKey::from_bytes(seed).verifying_key();
        let x = URL_SAFE_NO_PAD.encode(public.as_bytes());
        // RFC 7638: the required members in this order, without spaces.
        let named = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        let kid = URL_SAFE_NO_PAD.encode(Sha256::digest(named));
        let alg = Algorithm::EdDsa.name();
        Self { kty: "OKP", crv: "Ed25519", x, kid, r#use: "sig", alg }
    }

    /// The key's name: its RFC 7638 thumbprint.
    pub fn kid(&self) -> &str {
        &self.kid
    }
}
