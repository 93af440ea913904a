//! Names, public keys and signatures a deployment is described with: valid once they exist, text in
//! JSON.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::events::ids::{DeploymentId, SLUG_BYTES_MAX};

/// A deployment's name for people: `[a-z0-9]`, then also `-` and `_`, at most 32 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeploymentName(Box<str>);

/// A text is not a deployment's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a valid deployment name: it has 1 to 32 of a-z, 0-9, - and _, and starts with a letter or \
     digit"
)]
pub struct InvalidDeploymentName;

impl DeploymentName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DeploymentName {
    type Err = InvalidDeploymentName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let starts = text.bytes().next().is_some_and(plain);
        let goes_on = text.bytes().all(|b| plain(b) || b == b'-' || b == b'_');
        if starts && goes_on && text.len() <= SLUG_BYTES_MAX {
            Ok(Self(text.into()))
        } else {
            Err(InvalidDeploymentName)
        }
    }
}

impl TryFrom<String> for DeploymentName {
    type Error = InvalidDeploymentName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<DeploymentName> for String {
    fn from(name: DeploymentName) -> Self {
        name.0.into()
    }
}

impl fmt::Display for DeploymentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A deployment as an error names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Its id.
    pub id: DeploymentId,
    /// Its name, where that is known.
    pub name: Option<DeploymentName>,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} ({})", self.id),
            None => write!(f, "{}", self.id),
        }
    }
}

/// The public half of an Ed25519 key, known to be one that only its owner signs for. As text it is
/// hex.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VerifyingKey(ed25519_dalek::VerifyingKey);

/// A text or bytes are not the public half of an Ed25519 key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an Ed25519 public key of 64 hex digits")]
pub struct InvalidVerifyingKey;

impl VerifyingKey {
    /// The public half of the key with this seed.
    pub fn of_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed).verifying_key())
    }

    /// The key with these bytes, if they are one.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, InvalidVerifyingKey> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes);
        // Under a weak key one signature fits many messages.
        key.ok().filter(|key| !key.is_weak()).map(Self).ok_or(InvalidVerifyingKey)
    }

    /// Whether its owner signed `message`.
    pub fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        self.0.verify_strict(message, &signature).is_ok()
    }

    /// The bytes of the key.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl FromStr for VerifyingKey {
    type Err = InvalidVerifyingKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0_u8; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidVerifyingKey)?;
        Self::from_bytes(&bytes)
    }
}

impl TryFrom<String> for VerifyingKey {
    type Error = InvalidVerifyingKey;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<VerifyingKey> for String {
    fn from(key: VerifyingKey) -> Self {
        key.to_string()
    }
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0.as_bytes()))
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An Ed25519 signature. As text it is hex.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signature([u8; 64]);

/// A text is not an Ed25519 signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a signature of 128 hex digits")]
pub struct InvalidSignature;

impl Signature {
    /// What the key with this seed signs under `message`.
    pub fn of(message: &[u8], seed: &[u8; 32]) -> Self {
        use ed25519_dalek::Signer as _;
        Self(ed25519_dalek::SigningKey::from_bytes(seed).sign(message).to_bytes())
    }
}

impl TryFrom<String> for Signature {
    type Error = InvalidSignature;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut bytes = [0_u8; 64];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidSignature)?;
        Ok(Self(bytes))
    }
}

impl From<Signature> for String {
    fn from(signature: Signature) -> Self {
        hex::encode(signature.0)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}
