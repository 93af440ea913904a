//! Signs as a company does.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, Header};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::token_key::NotAKey;
use super::{Algorithm, provider};

/// What a company signs its calls with. Wiped when dropped.
pub struct ClientKey {
    algorithm: Algorithm,
    key: EncodingKey,
}

/// A private JWK (RFC 8037).
#[derive(Deserialize)]
struct PrivateJwk {
    kty: String,
    crv: String,
    d: Zeroizing<String>,
}

impl ClientKey {
    /// The key in a text: a private JWK for EdDSA, anything else is a secret for HS256.
    pub fn from_text(text: &str) -> Result<Self, NotAKey> {
        provider::install();
        let text = text.trim();
        if !text.starts_with('{') {
            let key = EncodingKey::from_secret(text.as_bytes());
            return Ok(Self { algorithm: Algorithm::Hs256, key });
        }
        let wrong = NotAKey("not a private JWK with kty \"OKP\", crv \"Ed25519\" and d");
        let jwk: PrivateJwk = serde_json::from_str(text).map_err(|_| wrong)?;
        if jwk.kty != "OKP" || jwk.crv != "Ed25519" {
            return Err(wrong);
        }
        let decoded = URL_SAFE_NO_PAD.decode(jwk.d.as_bytes()).map_err(|_| wrong)?;
        let decoded = Zeroizing::new(decoded);
        let seed: Zeroizing<[u8; 32]> =
            Zeroizing::new(decoded.as_slice().try_into().map_err(|_| wrong)?);
        Ok(Self { algorithm: Algorithm::EdDsa, key: provider::seed_key(&seed) })
    }

    /// A compact JWS over claims. None where they are no JSON.
    pub fn sign<T: Serialize>(&self, key_id: &str, claims: &T) -> Option<Zeroizing<String>> {
        let mut header = Header::new(self.algorithm.in_library());
        header.kid = Some(key_id.to_owned());
        jsonwebtoken::encode(&header, claims, &self.key).ok().map(Zeroizing::new)
    }
}
