//! Bundles: all that a node needs to join, in one file that is secret.
//!
//! A bundle, version 1. Numbers are big-endian.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `JCAS-BDL` |
//! | 8 | 1 | version of this format, 1 |
//! | 9 | 4 | length of the description |
//! | 13 | that many | the description: the new node's `deployment.json` as it stands there |
//! | then | 64 | key file of the index key |
//! | then | 64 | key file of the region's wrapping key |
//! | then | 64 | key file of the region's signing key |
//! | the last | 4 | CRC32C of all bytes before |
//!
//! It never holds another region's secrets, nor the operator key. Whoever has it is a node of its
//! region, so it is deleted when the node has joined.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::create::{self, Contents};
use super::description::{self, Description};
use super::error::DeploymentError;
use super::file;
use super::key_file::{self, KeyPurpose, StoredKey};
use super::secrets::Secrets;
use super::{Deployment, Randomness, open};
use crate::events::ids::{NodeId, NodeName};

const MAGIC: &[u8; 8] = b"JCAS-BDL";
const FORMAT: u8 = 1;

/// How a bundle's file name ends.
pub(super) const FILE_END: &str = "bundle";

/// Bytes of the keys in a bundle.
const KEYS_BYTES: usize = 3 * key_file::FILE_BYTES;

/// Bytes of a bundle beside its description.
const OTHER_BYTES: usize = 8 + 1 + 4 + KEYS_BYTES + 4;

/// Bytes of the longest bundle.
const FILE_BYTES_MAX: usize = OTHER_BYTES + description::FILE_BYTES_MAX;

/// All that a node needs to join.
#[derive(Debug)]
pub(super) struct Bundle {
    pub(super) description: Description,
    pub(super) secrets: Secrets,
}

impl Bundle {
    /// The name of its file: `eu.n2.bundle`. No region and no node has a dot in its name.
    pub(super) fn file_name(&self) -> String {
        let NodeName { region, node } = self.description.node_name();
        format!("{region}.{node}.{FILE_END}")
    }

    /// Writes the bundle into a new file of `folder`, which is made where there is none, and says
    /// where it is.
    pub(super) fn write_into(&self, folder: &Path) -> Result<PathBuf, DeploymentError> {
        file::ensure_private_folder(folder)?;
        let path = folder.join(self.file_name());
        self.write_new(&path)?;
        file::sync_folder(folder)?;
        Ok(path)
    }

    /// Writes the bundle into a new file that only its owner may read.
    pub(super) fn write_new(&self, path: &Path) -> Result<(), DeploymentError> {
        file::write_new(path, &self.encode().map_err(description::unwritten(path))?)
    }

    /// Reads a bundle, checks that nobody else could and that all of it belongs together.
    fn read(path: &Path) -> Result<Self, DeploymentError> {
        let bytes = file::read_secret(path, FILE_BYTES_MAX)?;
        let missing = || DeploymentError::NoBundle { path: path.to_owned() };
        Self::decode(&bytes.ok_or_else(missing)?, path)
    }

    fn encode(&self) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
        let text = self.description.encode()?;
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes();
        // Room for all of it at once: a vector that grows leaves copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() + OTHER_BYTES));
        bytes.extend_from_slice(MAGIC);
        bytes.push(FORMAT);
        bytes.extend_from_slice(&length);
        bytes.extend_from_slice(&text);
        for key in self.secrets.stored(&self.description) {
            bytes.extend_from_slice(&key.encode());
        }
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_be_bytes());
        Ok(bytes)
    }

    fn decode(bytes: &[u8], path: &Path) -> Result<Self, DeploymentError> {
        let damaged = |reason| DeploymentError::DamagedBundle { path: path.to_owned(), reason };
        let short = || damaged("it ends too early");

        let (magic, rest) = bytes.split_first_chunk().ok_or_else(short)?;
        if magic != MAGIC {
            return Err(damaged("it is not a bundle"));
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
        let (&length, rest) = rest.split_first_chunk().ok_or_else(short)?;
        let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| short())?;
        let (text, mut rest) = rest.split_at_checked(length).ok_or_else(short)?;
        if format != FORMAT || rest.len() != KEYS_BYTES + size_of_val(&checksum) {
            return Err(damaged("it is not laid out as a bundle"));
        }
        let description = Description::decode(text, path)?;
        let next_key = |purpose: KeyPurpose| {
            let (key, left) = rest.split_at_checked(key_file::FILE_BYTES).ok_or_else(short)?;
            rest = left;
            StoredKey::decode_as(key, path, &description.deployment, purpose)
        };
        let unfit = |_| damaged("its keys are not those that it describes");
        let secrets = Secrets::collect(&description, next_key, unfit)?;
        Ok(Self { description, secrets })
    }
}

/// Makes the data folder of the node that a bundle is for, and opens it. The bundle is left to the
/// operator to delete.
///
/// The folder must be empty or not exist, as with [`init`](super::init), and it is there whole or
/// not at all.
pub fn join(
    bundle: &Path,
    folder: &Path,
    randomness: Randomness<'_>,
) -> Result<Deployment, DeploymentError> {
    let Bundle { description, secrets } = Bundle::read(bundle)?;
    let folder = create::free_folder(folder).map_err(|refused| match refused {
        DeploymentError::Exists { folder, found, .. } if found.id != description.deployment.id => {
            let (path, expected) = (bundle.to_owned(), found);
            let found = Box::new(description.deployment.named());
            DeploymentError::ForeignBundle { path, found, folder, expected }
        }
        other => other,
    })?;
    let contents = Contents {
        description: &description,
        secrets: &secrets,
        operator: None,
        bundles: &[],
        behind: true,
    };
    create::create(&folder, &contents, randomness)?;
    open(&folder)
}

impl Deployment {
    /// Writes the bundle of another node of this node's own region into a new file of `folder`,
    /// which is made where there is none. Returns where it is.
    pub fn write_bundle(&self, node: NodeId, folder: &Path) -> Result<PathBuf, DeploymentError> {
        self.check_not_retired()?;
        if node == self.description.node {
            return Err(DeploymentError::NameTaken { node: self.description.node_name() });
        }
        let description = Description { node, ..self.description.clone() };
        Bundle { description, secrets: self.secrets.clone() }.write_into(folder)
    }
}
