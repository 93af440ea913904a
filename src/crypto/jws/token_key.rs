//! Verifies what a company signed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde::Deserialize;

use super::{Algorithm, provider};

/// What one API key's calls are verified with, ready for use. Wiped when dropped.
pub struct TokenKey {
    algorithm: Algorithm,
    key: DecodingKey,
}

/// A public key is none that calls may be verified with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAKey(pub(super) &'static str);

impl TokenKey {
    /// A secret for HS256: the bytes of its text, as both sides have it.
    pub fn hs256(secret: &[u8]) -> Self {
        provider::install();
        Self { algorithm: Algorithm::Hs256, key: DecodingKey::from_secret(secret) }
    }

    /// A public key for EdDSA.
    pub fn ed_dsa(public: &[u8; 32]) -> Self {
        provider::install();
        Self { algorithm: Algorithm::EdDsa, key: DecodingKey::from_ed_der(public) }
    }

    /// How calls must be signed.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether `signature`, in base64url, is this key's over `message`. Only the key's own
    /// algorithm is ever tried.
    pub fn verifies(&self, message: &str, signature: &str) -> bool {
        let algorithm = self.algorithm.in_library();
        jsonwebtoken::crypto::verify(signature, message.as_bytes(), &self.key, algorithm)
            .unwrap_or(false)
    }

    /// Reads a public JWK (RFC 8037) and checks that it is a key only its owner signs for.
    pub fn public_of_jwk(json: &[u8]) -> Result<[u8; 32], NotAKey> {
        let wrong = "not a public JWK with kty \"OKP\", crv \"Ed25519\" and x";
        let jwk: Jwk = serde_json::from_slice(json).map_err(|_| NotAKey(wrong))?;
        if jwk.d.is_some() {
            return Err(NotAKey(
                "this is a private key (it has d); keep it, and give the public half",
            ));
        }
        if jwk.kty != "OKP" || jwk.crv.as_deref() != Some("Ed25519") {
            return Err(NotAKey(wrong));
        }
        let x = jwk.x.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let x: [u8; 32] = x.and_then(|it| it.try_into().ok()).ok_or(NotAKey(wrong))?;
        let point = ed25519_dalek::VerifyingKey::from_bytes(&x);
        let sound = point.is_ok_and(|key| !key.is_weak());
        if sound { Ok(x) } else { Err(NotAKey("the JWK's x is no sound Ed25519 public key")) }
    }
}

/// As much of a JWK as is looked at.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: Option<String>,
    x: Option<String>,
    d: Option<serde::de::IgnoredAny>,
}
