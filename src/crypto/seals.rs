//! Seals and signatures between nodes: Ed25519 (RFC 8032) by a region's signing key.
//!
//! What is signed is laid out by `events`: a run's end ([`Seal::signed`]) or the digest of news
//! ([`news_signed`]); each begins with words of its own, so neither can be taken for the other.

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};

use crate::events::event::OriginDistrusted;
use crate::events::ids::{DeploymentId, Digest};
use crate::events::message::news_signed;
use crate::events::run::{Seal, Signature, distrust_signed};
use crate::events::stamp::Origin;

/// What a region signs with. Wiped when dropped.
#[derive(Clone)]
pub struct Sealer {
    deployment: DeploymentId,
    key: SigningKey,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").finish_non_exhaustive()
    }
}

impl Sealer {
    /// The sealer of a region with this seed.
    pub fn new(deployment: DeploymentId, region_seed: &[u8; 32]) -> Self {
        Self { deployment, key: SigningKey::from_bytes(region_seed) }
    }

    /// The key that its signatures are verified with.
    pub fn verifying_key(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    /// Vouches that an origin's chain has this head at this number.
    pub fn seal(&self, origin: Origin, sequence: u64, head: Digest) -> Seal {
        let signed = Seal::signed(self.deployment, &origin, sequence, &head);
        Seal { origin, sequence, head, signature: self.sign(&signed) }
    }

    /// Signs news by their digest.
    pub fn sign_news(&self, digest: &Digest) -> Signature {
        self.sign(&news_signed(digest))
    }

    fn sign(&self, bytes: &[u8]) -> Signature {
        Signature::from_bytes(&self.key.sign(bytes).to_bytes())
    }
}

/// A region's key, to verify with.
#[derive(Debug, Clone)]
pub struct SealVerifier {
    deployment: DeploymentId,
    key: VerifyingKey,
}

impl SealVerifier {
    /// The verifier of a region with this public key; none where that is no key.
    pub fn new(deployment: DeploymentId, key: &[u8; 32]) -> Option<Self> {
        Some(Self { deployment, key: VerifyingKey::from_bytes(key).ok()? })
    }

    /// The key.
    pub fn verifying_key(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// Whether the region made this seal.
    pub fn is_seal(&self, seal: &Seal) -> bool {
        let signed = Seal::signed(self.deployment, &seal.origin, seal.sequence, &seal.head);
        self.holds(&signed, seal.signature)
    }

    /// Whether the region signed news with this digest.
    pub fn is_news(&self, digest: &Digest, signature: Signature) -> bool {
        self.holds(&news_signed(digest), signature)
    }

    /// Strictly: keys and signatures that several readers may take differently are refused.
    fn holds(&self, bytes: &[u8], signature: Signature) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(&signature.to_bytes());
        self.key.verify_strict(bytes, &signature).is_ok()
    }
}

/// Whether the deployment's operator signed that a life is cut off.
pub fn operator_signed(key: &[u8; 32], deployment: DeploymentId, cut: &OriginDistrusted) -> bool {
    let Ok(key) = VerifyingKey::from_bytes(key) else { return false };
    let signature = ed25519_dalek::Signature::from_slice(&cut.signature);
    let signed = distrust_signed(deployment, cut);
    signature.is_ok_and(|signature| key.verify_strict(&signed, &signature).is_ok())
}

/// Signs with the deployment's operator key that a life is cut off.
pub fn sign_distrust(
    seed: &[u8; 32],
    deployment: DeploymentId,
    cut: &OriginDistrusted,
) -> [u8; 64] {
    SigningKey::from_bytes(seed).sign(&distrust_signed(deployment, cut)).to_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::stamp::Incarnation;

    fn origin(counter: u32) -> Origin {
        let incarnation = Incarnation { counter, tag: 7 };
        Origin { region: "eu".parse().unwrap(), node: "n1".parse().unwrap(), incarnation }
    }

    #[test]
    fn a_seal_holds_for_its_place_and_no_other() {
        let deployment = DeploymentId([1; 16]);
        let sealer = Sealer::new(deployment, &[5; 32]);
        let verifier = SealVerifier::new(deployment, &sealer.verifying_key()).unwrap();
        let seal = sealer.seal(origin(1), 9, Digest([3; 32]));
        assert!(verifier.is_seal(&seal));
        assert!(!verifier.is_seal(&Seal { sequence: 10, ..seal }));
        assert!(!verifier.is_seal(&Seal { head: Digest([4; 32]), ..seal }));
        assert!(!verifier.is_seal(&Seal { origin: origin(2), ..seal }));
        let elsewhere = SealVerifier::new(DeploymentId([2; 16]), &sealer.verifying_key()).unwrap();
        assert!(!elsewhere.is_seal(&seal));
        let other = Sealer::new(deployment, &[6; 32]).verifying_key();
        assert!(!SealVerifier::new(deployment, &other).unwrap().is_seal(&seal));
    }

    #[test]
    fn news_are_no_seals() {
        let deployment = DeploymentId([1; 16]);
        let sealer = Sealer::new(deployment, &[5; 32]);
        let verifier = SealVerifier::new(deployment, &sealer.verifying_key()).unwrap();
        let digest = Digest([3; 32]);
        let signature = sealer.sign_news(&digest);
        assert!(verifier.is_news(&digest, signature));
        let seal = Seal { origin: origin(1), sequence: 1, head: digest, signature };
        assert!(!verifier.is_seal(&seal));
        assert!(!verifier.is_news(&digest, sealer.seal(origin(1), 1, digest).signature));
    }
}
