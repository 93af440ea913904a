//! Keycloak: a credential of its export, JSON with `secretData` and `credentialData`, each an
//! object or JSON in a string.
//!
//! ```text
//! pbkdf2  pbkdf2-sha256  pbkdf2-sha512     hashIterations; the key is as long as `value`
//! argon2                                   hashIterations are the passes; type, version, memory
//!                                          and parallelism are in additionalParameters
//! ```
//!
//! Source: keycloak `PasswordCredentialModel`, `Pbkdf2PasswordHashProvider` and
//! `Argon2PasswordHashProvider`.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::argon2::{self, Variant, Version};
use super::computation::Computation;
use super::encoding::{base64, decimal};
use super::hashes::Algorithm;
use super::pbkdf2::Pbkdf2;
use super::{HashRejected, Scheme, Stored};

/// The scheme `keycloak`; no parameters.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keycloak {}

/// What an export has of a credential, and a name and times beside it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Credential {
    secret_data: Value,
    credential_data: Value,
}

#[derive(Deserialize)]
struct SecretData {
    value: String,
    salt: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CredentialData {
    hash_iterations: u64,
    algorithm: String,
    #[serde(default)]
    additional_parameters: BTreeMap<String, Vec<String>>,
}

impl CredentialData {
    fn parameter(&self, name: &str) -> Option<&str> {
        self.additional_parameters.get(name)?.first().map(String::as_str)
    }

    /// Memory in KiB, passes and lanes, and the kind of Argon2.
    fn argon2(&self) -> Option<([u64; 3], (Variant, Version))> {
        let variant = match self.parameter("type").unwrap_or("id") {
            "id" => Variant::Argon2id,
            "i" => Variant::Argon2i,
            "d" => Variant::Argon2d,
            _ => return None,
        };
        let version = match self.parameter("version").unwrap_or("1.3") {
            "1.3" => Version::V0x13,
            "1.0" => Version::V0x10,
            _ => return None,
        };
        let memory_kib = decimal(self.parameter("memory")?)?;
        let lanes = decimal(self.parameter("parallelism")?)?;
        Some(([memory_kib, self.hash_iterations, lanes], (variant, version)))
    }
}

impl Scheme for Keycloak {
    type Hash = Computation;

    fn recognises(hash: &str) -> bool {
        hash.starts_with('{') && hash.contains("\"credentialData\"")
    }

    fn parse(&self, stored: Stored<'_>) -> Result<Computation, HashRejected> {
        let malformed = || HashRejected::UnsupportedHash;
        let credential: Credential =
            serde_json::from_str(stored.without_salt()?).map_err(|_| malformed())?;
        let secret: SecretData = unfold(credential.secret_data).ok_or_else(malformed)?;
        let data: CredentialData = unfold(credential.credential_data).ok_or_else(malformed)?;
        let (key, salt) = base64(&secret.value).zip(base64(&secret.salt)).ok_or_else(malformed)?;
        let algorithm = match data.algorithm.as_str() {
            "pbkdf2" => Algorithm::Sha1,
            "pbkdf2-sha256" => Algorithm::Sha256,
            "pbkdf2-sha512" => Algorithm::Sha512,
            "argon2" => {
                let (cost, kind) = data.argon2().ok_or_else(malformed)?;
                let hash = argon2::Hash::new(stored.limits, kind, cost, salt, key)?;
                return Ok(Computation::Argon2(hash));
            }
            _ => return Err(malformed()),
        };
        let hash = Pbkdf2::new(stored.limits, algorithm, data.hash_iterations, salt, key)?;
        Ok(Computation::Pbkdf2(hash))
    }
}

/// An object, or one that is written out in a string.
fn unfold<T: DeserializeOwned>(value: Value) -> Option<T> {
    match value {
        Value::String(text) => serde_json::from_str(&text).ok(),
        other => serde_json::from_value(other).ok(),
    }
}
