//! What `jsonwebtoken` computes with.
//!
//! The library brings providers of its own, each with RSA and NIST curves. This one is made of the
//! crates that seal and sign everything else here and knows HS256 and EdDSA; whatever else a token
//! may ask for is an error, because there is no code for it.

use std::sync::Once;

use ed25519_dalek::Signer as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind, Result};
use jsonwebtoken::signature::{Error as SignatureError, Signer, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, EncodingKey};
use sha2::Sha256;
use zeroize::Zeroizing;

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    // Keys are read and published by this room itself; nothing calls these.
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes the library compute with this provider. Every key does so before it is used.
pub(super) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that another provider was there before. There is none in this program.
        let _ = PROVIDER.install_default();
    });
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the library asks for this shape")]
fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    match (algorithm, key.family()) {
        (Algorithm::HS256, AlgorithmFamily::Hmac) => Ok(Box::new(Hs256(mac(key.as_bytes())?))),
        (Algorithm::EdDSA, AlgorithmFamily::Ed) => {
            let seed = <&[u8; 32]>::try_from(key.as_bytes());
            let seed = seed.map_err(|_| Error::from(ErrorKind::InvalidEddsaKey))?;
            Ok(Box::new(EdDsaSigner(ed25519_dalek::SigningKey::from_bytes(seed))))
        }
        _ => Err(ErrorKind::UnsupportedAlgorithm.into()),
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the library asks for this shape")]
fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    let bytes = key.try_get_as_bytes()?;
    match (algorithm, key.family()) {
        (Algorithm::HS256, AlgorithmFamily::Hmac) => Ok(Box::new(Hs256(mac(bytes)?))),
        (Algorithm::EdDSA, AlgorithmFamily::Ed) => {
            let public = <&[u8; 32]>::try_from(bytes).ok();
            let public = public.and_then(|it| ed25519_dalek::VerifyingKey::from_bytes(it).ok());
            let public = public.ok_or_else(|| Error::from(ErrorKind::InvalidEddsaKey))?;
            Ok(Box::new(EdDsaVerifier(public)))
        }
        _ => Err(ErrorKind::UnsupportedAlgorithm.into()),
    }
}

fn mac(secret: &[u8]) -> Result<Hmac<Sha256>> {
    Hmac::new_from_slice(secret).map_err(|_| ErrorKind::InvalidKeyFormat.into())
}

struct Hs256(Hmac<Sha256>);

impl Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, SignatureError> {
        Ok(self.0.clone().chain_update(message).finalize().into_bytes().to_vec())
    }
}

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], tag: &Vec<u8>) -> std::result::Result<(), SignatureError> {
        // In constant time, and a tag that is too short does not verify.
        let checked = self.0.clone().chain_update(message).verify_slice(tag);
        checked.map_err(|_| SignatureError::new())
    }
}

impl JwtSigner for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

struct EdDsaSigner(ed25519_dalek::SigningKey);

impl Signer<Vec<u8>> for EdDsaSigner {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, SignatureError> {
        Ok(self.0.sign(message).to_bytes().to_vec())
    }
}

impl JwtSigner for EdDsaSigner {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

struct EdDsaVerifier(ed25519_dalek::VerifyingKey);

impl Verifier<Vec<u8>> for EdDsaVerifier {
    fn verify(&self, message: &[u8], bytes: &Vec<u8>) -> std::result::Result<(), SignatureError> {
        let signature = ed25519_dalek::Signature::from_slice(bytes);
        let signature = signature.map_err(|_| SignatureError::new())?;
        self.0.verify_strict(message, &signature).map_err(|_| SignatureError::new())
    }
}

impl JwtVerifier for EdDsaVerifier {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

/// A seed as the library keeps it: it wipes its own copy.
pub(super) fn seed_key(seed: &Zeroizing<[u8; 32]>) -> EncodingKey {
    // The library calls whatever an Ed25519 key is made of DER and hands it to the provider as it
    // is; this provider takes the seed alone.
    EncodingKey::from_ed_der(seed.as_slice())
}
