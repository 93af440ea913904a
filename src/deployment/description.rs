//! `deployment.json`: what a node says openly about itself and its deployment.
//!
//! ```json
//! {
//!   "format": 1,
//!   "deployment": {
//!     "id": "32 hex digits",
//!     "name": "retail",
//!     "shards": 64,
//!     "index_key_version": 1,
//!     "operator_key": "64 hex digits, Ed25519",
//!     "regions": [
//!       { "region": "west", "wrapping_key": "64 hex digits, X25519",
//!         "signing_key": "64 hex digits, Ed25519" }
//!     ]
//!   },
//!   "region": "west",
//!   "node": "n1",
//!   "checksum": "8 hex digits"
//! }
//! ```
//!
//! What stands under `deployment` is equal on every node and is what a bundle brings to a new one;
//! `region` and `node` are this node's own. The check sum is CRC32C of the same document without
//! spaces and without `checksum`, fields in this order: a damaged public key would wrap branch keys
//! for nobody, and nothing else would show it.

use std::io;
use std::num::NonZeroU16;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::DeploymentError;
use super::file::{self, io_error};
use super::names::{DeploymentName, VerifyingKey};
use crate::events::ids::{DeploymentId, NodeId, RegionId};
use crate::kms::local::WrappingPublicKey;

/// The file's name in the data folder.
pub(super) const DESCRIPTION_FILE: &str = "deployment.json";

const FORMAT: u32 = 1;

/// Room for thousands of regions; a longer file is not one of ours.
const FILE_BYTES_MAX: usize = 1 << 20;

/// What a node says openly about itself and its deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// What is equal on every node.
    pub deployment: Common,
    /// The region this node is in.
    pub region: RegionId,
    /// This node's name in its region.
    pub node: NodeId,
}

/// What every node of a deployment knows of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Common {
    /// Names the deployment in every header and key file.
    pub id: DeploymentId,
    /// Names it for people.
    pub name: DeploymentName,
    /// Into how many shards users are divided. Never changes.
    pub shards: NonZeroU16,
    /// The version of the blind-index key in use.
    pub index_key_version: u16,
    /// Verifies what only the operator may say.
    pub operator_key: VerifyingKey,
    /// Every region, sorted by name.
    pub regions: Vec<RegionKeys>,
}

/// The public keys of a region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionKeys {
    /// The region.
    pub region: RegionId,
    /// Wraps keys for it.
    pub wrapping_key: WrappingPublicKey,
    /// Verifies what it signed.
    pub signing_key: VerifyingKey,
}

impl Description {
    /// The public keys of this node's own region.
    pub fn own_region(&self) -> Option<&RegionKeys> {
        self.deployment.regions.iter().find(|keys| keys.region == self.region)
    }

    /// Writes the description into a new file of `folder`.
    pub(super) fn write_new(&self, folder: &Path) -> Result<(), DeploymentError> {
        let path = folder.join(DESCRIPTION_FILE);
        let mut stored = Stored {
            format: FORMAT,
            deployment: self.deployment.clone(),
            region: self.region,
            node: self.node,
            checksum: None,
        };
        let as_io = |error: serde_json::Error| io_error("write", &path)(error.into());
        stored.checksum = Some(stored.expected_checksum().map_err(as_io)?);
        let mut text = serde_json::to_vec_pretty(&stored).map_err(as_io)?;
        text.push(b'\n');
        file::write_new(&path, &text)
    }

    /// Reads the description of `folder`.
    pub(super) fn read(folder: &Path) -> Result<Self, DeploymentError> {
        let path = folder.join(DESCRIPTION_FILE);
        let damaged = |reason| DeploymentError::Damaged { path: path.clone(), reason };
        let text = match file::read_public(&path, FILE_BYTES_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(DeploymentError::NoDeployment { folder: folder.to_owned() });
            }
            read => read.map_err(io_error("read", &path))?,
        };
        // A newer format may have any other fields, so its number is read by itself.
        let Format { format } =
            serde_json::from_slice(&text).map_err(|_| damaged("it is not a description"))?;
        if format > FORMAT {
            return Err(DeploymentError::Newer { path, found: format, known: FORMAT });
        }
        let stored: Stored =
            serde_json::from_slice(&text).map_err(|_| damaged("a field is missing or wrong"))?;
        let expected = stored.expected_checksum().map_err(|_| damaged("it cannot be checked"))?;
        if format != FORMAT || stored.checksum != Some(expected) {
            return Err(damaged("its check sum is wrong (it is not to be edited by hand)"));
        }
        let Stored { deployment, region, node, .. } = stored;
        let description = Self { deployment, region, node };
        description.check().map_err(damaged)?;
        Ok(description)
    }

    /// What no single field shows.
    fn check(&self) -> Result<(), &'static str> {
        let regions = &self.deployment.regions;
        if !regions.is_sorted_by(|one, next| one.region < next.region) {
            return Err("its regions are not sorted, or one is named twice");
        }
        self.own_region().map(|_| ()).ok_or("its own region is not among the regions")
    }
}

/// All that is read of a document before its format is known.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// The document, format 1. The order of the fields is part of the format.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: u32,
    deployment: Common,
    region: RegionId,
    node: NodeId,
    #[serde(skip_serializing_if = "Option::is_none")]
    checksum: Option<String>,
}

impl Stored {
    /// The check sum of everything but the check sum.
    fn expected_checksum(&self) -> Result<String, serde_json::Error> {
        let bytes = serde_json::to_vec(&Self { checksum: None, ..self.clone() })?;
        Ok(format!("{:08x}", crc32c::crc32c(&bytes)))
    }
}
