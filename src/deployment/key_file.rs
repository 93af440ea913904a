//! Key files: one secret of a deployment each, which say whose and what for.
//!
//! A key file, version 1, is 64 bytes. Numbers are big-endian.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `JCAS-KEY` |
//! | 8 | 1 | version of this format, 1 |
//! | 9 | 1 | purpose: 1 index, 2 region wrapping, 3 region signing, 4 operator |
//! | 10 | 2 | version of the key |
//! | 12 | 16 | deployment id |
//! | 28 | 32 | the secret |
//! | 60 | 4 | CRC32C of the 60 bytes before |
//!
//! The check sum is against damage; who can change a key file owns the key anyway.

use std::fmt;
use std::path::Path;

use zeroize::Zeroizing;

use super::description::Common;
use super::error::DeploymentError;
use super::file;
use super::{OPERATOR_KEY_FILE, Randomness};
use crate::events::ids::DeploymentId;

/// Bytes of a secret.
pub const SECRET_BYTES: usize = 32;

/// The version of a key of which there has been only one.
pub(super) const FIRST_VERSION: u16 = 1;

const MAGIC: &[u8; 8] = b"JCAS-KEY";
const FORMAT: u8 = 1;

/// Bytes of a key file.
pub(super) const FILE_BYTES: usize = 64;

/// A secret of a deployment: a key, or the seed of a key pair. Wiped when dropped.
#[derive(Clone)]
pub struct SecretKey(Zeroizing<[u8; SECRET_BYTES]>);

impl SecretKey {
    /// The secret with these bytes; the caller wipes its own copy.
    pub fn new(bytes: &[u8; SECRET_BYTES]) -> Self {
        Self(Zeroizing::new(*bytes))
    }

    /// A fresh secret.
    pub(super) fn draw(randomness: Randomness<'_>) -> Result<Self, DeploymentError> {
        let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
        randomness(bytes.as_mut_slice()).map_err(DeploymentError::Randomness)?;
        Ok(Self(bytes))
    }

    /// The bytes of the secret.
    pub fn expose(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey([redacted])")
    }
}

/// What a key file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyPurpose {
    Index,
    RegionWrapping,
    RegionSigning,
    Operator,
}

impl KeyPurpose {
    const ALL: [Self; 4] = [Self::Index, Self::RegionWrapping, Self::RegionSigning, Self::Operator];

    /// The name of the file, in the folder of keys.
    pub(super) const fn file_name(self) -> &'static str {
        match self {
            Self::Index => "index.key",
            Self::RegionWrapping => "region-wrapping.key",
            Self::RegionSigning => "region-signing.key",
            Self::Operator => OPERATOR_KEY_FILE,
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Index => 1,
            Self::RegionWrapping => 2,
            Self::RegionSigning => 3,
            Self::Operator => 4,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Index => "blind-index key",
            Self::RegionWrapping => "region's wrapping key",
            Self::RegionSigning => "region's signing key",
            Self::Operator => "operator key",
        }
    }
}

/// A key as its file holds it.
#[derive(Debug, Clone)]
pub(super) struct StoredKey {
    pub(super) deployment: DeploymentId,
    pub(super) purpose: KeyPurpose,
    pub(super) version: u16,
    pub(super) secret: SecretKey,
}

impl StoredKey {
    /// Writes the key into a new file.
    pub(super) fn write_new(&self, path: &Path) -> Result<(), DeploymentError> {
        file::write_new(path, &self.encode())
    }

    /// Reads the key of `deployment` for `purpose` and refuses every other.
    pub(super) fn read(
        path: &Path,
        deployment: &Common,
        purpose: KeyPurpose,
    ) -> Result<Self, DeploymentError> {
        let bytes = file::read_secret(path, FILE_BYTES)?
            .ok_or_else(|| DeploymentError::MissingKey { path: path.to_owned() })?;
        Self::decode_as(&bytes, path, deployment, purpose)
    }

    /// The key of `deployment` for `purpose` that these bytes of the file `path` are.
    pub(super) fn decode_as(
        bytes: &[u8],
        path: &Path,
        deployment: &Common,
        purpose: KeyPurpose,
    ) -> Result<Self, DeploymentError> {
        let key = Self::decode(bytes, path)?;
        if key.deployment != deployment.id {
            let (found, expected) = (key.deployment, deployment.named());
            return Err(DeploymentError::ForeignKey { path: path.to_owned(), found, expected });
        }
        if key.purpose != purpose {
            let (found, expected) = (key.purpose.words(), purpose.words());
            return Err(DeploymentError::WrongPurpose { path: path.to_owned(), found, expected });
        }
        Ok(key)
    }

    /// The bytes of its file.
    pub(super) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES));
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[FORMAT, self.purpose.number()]);
        bytes.extend_from_slice(&self.version.to_be_bytes());
        bytes.extend_from_slice(&self.deployment.0);
        bytes.extend_from_slice(self.secret.expose());
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8], path: &Path) -> Result<Self, DeploymentError> {
        let damaged = |reason| DeploymentError::Damaged { path: path.to_owned(), reason };
        let short = || damaged("it ends too early");

        let (magic, rest) = bytes.split_first_chunk().ok_or_else(short)?;
        if magic != MAGIC {
            return Err(damaged("it is not a key file"));
        }
        let (&[format], rest) = rest.split_first_chunk().ok_or_else(short)?;
        if format > FORMAT {
            let (found, known) = (format.into(), FORMAT.into());
            return Err(DeploymentError::Newer { path: path.to_owned(), found, known });
        }
        let (body, &checksum) = bytes.split_last_chunk().ok_or_else(short)?;
        if u32::from_be_bytes(checksum) != crc32c::crc32c(body) {
            return Err(damaged("its check sum is wrong"));
        }
        let (&[purpose], rest) = rest.split_first_chunk().ok_or_else(short)?;
        let (&version, rest) = rest.split_first_chunk().ok_or_else(short)?;
        let (&deployment, rest) = rest.split_first_chunk().ok_or_else(short)?;
        let (secret, rest) = rest.split_first_chunk().ok_or_else(short)?;
        if format != FORMAT || rest.len() != size_of_val(&checksum) {
            return Err(damaged("it is not laid out as a key file"));
        }
        let purpose = KeyPurpose::ALL
            .into_iter()
            .find(|known| known.number() == purpose)
            .ok_or_else(|| damaged("the key's purpose is unknown"))?;
        Ok(Self {
            deployment: DeploymentId(deployment),
            purpose,
            version: u16::from_be_bytes(version),
            secret: SecretKey::new(secret),
        })
    }
}
