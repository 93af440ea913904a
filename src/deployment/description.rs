//! `deployment.json`: what a node says openly about itself and its deployment.
//!
//! ```json
//! {
//!   "format": 1,
//!   "deployment": {
//!     "id": "32 hex digits",
//!     "name": "retail",
//!     "version": 1,
//!     "shards": 64,
//!     "index_key_version": 1,
//!     "operator_key": "64 hex digits, Ed25519",
//!     "regions": [
//!       { "region": "west", "wrapping_key": "64 hex digits, X25519",
//!         "signing_key": "64 hex digits, Ed25519", "retired": false }
//!     ]
//!   },
//!   "signature": "128 hex digits, Ed25519",
//!   "region": "west",
//!   "node": "n1",
//!   "checksum": "8 hex digits"
//! }
//! ```
//!
//! What stands under `deployment` is equal on every node of the same `version` and is what a bundle
//! brings to a new one. The operator key signs it: [`SIGNED_LABEL`], then that object without
//! spaces, fields in this order. So nobody but the operator adds a region that keys are wrapped
//! for.
//! `region` and `node` are this node's own. The check sum is CRC32C of the same document without
//! spaces and without `checksum`: it shows damage to the rest.

use std::io;
use std::num::NonZeroU16;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::DeploymentError;
use super::file::{self, io_error};
use super::key_file::SecretKey;
use super::names::{DeploymentName, Named, Signature, VerifyingKey};
use crate::events::ids::{DeploymentId, NodeId, NodeName, RegionId};
use crate::kms::local::WrappingPublicKey;

/// The file's name in the data folder.
pub const DESCRIPTION_FILE: &str = "deployment.json";

const FORMAT: u32 = 1;

/// Room for thousands of regions; a longer file is not one of ours.
pub(super) const FILE_BYTES_MAX: usize = 1 << 20;

/// What every message that the operator key signs for a description begins with.
const SIGNED_LABEL: &[u8] = b"jcas deployment description v1";

/// What a node says openly about itself and its deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// What is equal on every node.
    pub deployment: Common,
    /// The operator's signature over that.
    pub signature: Signature,
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
    /// Rises by one whenever the regions change.
    pub version: u32,
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
    /// Whether the region is no more: what it signed stays valid, no key is wrapped for it.
    pub retired: bool,
}

impl Common {
    /// As an error names it.
    pub fn named(&self) -> Named {
        Named { id: self.id, name: Some(self.name.clone()) }
    }

    /// The public keys of a region, retired or not.
    pub fn region(&self, region: RegionId) -> Option<&RegionKeys> {
        self.regions.iter().find(|keys| keys.region == region)
    }

    /// The regions that are not retired.
    pub fn active_regions(&self) -> impl Iterator<Item = &RegionKeys> {
        self.regions.iter().filter(|keys| !keys.retired)
    }

    /// The operator's signature over this.
    pub(super) fn sign(&self, operator: &SecretKey) -> Result<Signature, serde_json::Error> {
        Ok(Signature::of(&self.message()?, operator.expose()))
    }

    /// Whether the operator with this key signed it.
    pub(super) fn is_signed(&self, signature: &Signature, operator: &VerifyingKey) -> bool {
        self.message().is_ok_and(|message| operator.verifies(&message, signature))
    }

    fn message(&self) -> Result<Vec<u8>, serde_json::Error> {
        Ok([SIGNED_LABEL, &serde_json::to_vec(self)?].concat())
    }

    /// What no single field shows.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.regions.is_sorted_by(|one, next| one.region < next.region) {
            Ok(())
        } else {
            Err("its regions are not sorted, or one is named twice")
        }
    }
}

impl Description {
    /// The public keys of this node's own region.
    pub fn own_region(&self) -> Option<&RegionKeys> {
        self.deployment.region(self.region)
    }

    /// This node's name.
    pub const fn node_name(&self) -> NodeName {
        NodeName { region: self.region, node: self.node }
    }

    /// Writes the description into a new file of `folder`.
    pub(super) fn write_new(&self, folder: &Path) -> Result<(), DeploymentError> {
        let path = folder.join(DESCRIPTION_FILE);
        file::write_new(&path, &self.encode().map_err(unwritten(&path))?)
    }

    /// Puts the description in the place of the one in `folder`, whole or not at all.
    pub(super) fn replace(&self, folder: &Path) -> Result<(), DeploymentError> {
        let path = folder.join(DESCRIPTION_FILE);
        file::replace(&path, &self.encode().map_err(unwritten(&path))?)
    }

    /// Reads the description of `folder`.
    pub(super) fn read(folder: &Path) -> Result<Self, DeploymentError> {
        let path = folder.join(DESCRIPTION_FILE);
        match file::read_public(&path, FILE_BYTES_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(DeploymentError::NoDeployment { folder: folder.to_owned() })
            }
            read => Self::decode(&read.map_err(io_error("read", &path))?, &path),
        }
    }

    /// The document.
    pub(super) fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut stored = Stored {
            format: FORMAT,
            deployment: self.deployment.clone(),
            signature: self.signature,
            region: self.region,
            node: self.node,
            checksum: None,
        };
        stored.checksum = Some(stored.expected_checksum()?);
        let mut text = serde_json::to_vec_pretty(&stored)?;
        text.push(b'\n');
        Ok(text)
    }

    /// The description that this document, in the file `path`, is.
    pub(super) fn decode(text: &[u8], path: &Path) -> Result<Self, DeploymentError> {
        let damaged = |reason| DeploymentError::Damaged { path: path.to_owned(), reason };
        let format = format_of(text, path, FORMAT)?;
        let stored: Stored =
            serde_json::from_slice(text).map_err(|_| damaged("a field is missing or wrong"))?;
        let expected = stored.expected_checksum().map_err(|_| damaged("it cannot be checked"))?;
        if format != FORMAT || stored.checksum != Some(expected) {
            return Err(damaged("its check sum is wrong (it is not to be edited by hand)"));
        }
        let Stored { deployment, signature, region, node, .. } = stored;
        let description = Self { deployment, signature, region, node };
        description.check().map_err(damaged)?;
        Ok(description)
    }

    /// What no single field shows.
    fn check(&self) -> Result<(), &'static str> {
        self.deployment.check()?;
        if !self.deployment.is_signed(&self.signature, &self.deployment.operator_key) {
            return Err("the operator key did not sign it");
        }
        self.own_region().map(|_| ()).ok_or("its own region is not among the regions")
    }
}

/// How far above a file of a data folder its description may lie.
const LEVELS_MAX: usize = 3;

/// The deployment with this id, named if `path` lies in a data folder of it.
pub fn named_near(path: &Path, id: DeploymentId) -> Named {
    let above = path.ancestors().take(LEVELS_MAX);
    let mut found = above.filter_map(|folder| Description::read(folder).ok());
    let description = found.find(|found| found.deployment.id == id);
    description.map_or(Named { id, name: None }, |found| found.deployment.named())
}

/// Why a document could not be written into the file `path`.
pub(super) fn unwritten(path: &Path) -> impl FnOnce(serde_json::Error) -> DeploymentError {
    move |error| io_error("write", path)(error.into())
}

/// The format of the document in the file `path`. A newer one may have any other fields, so its
/// number is read by itself.
pub(super) fn format_of(text: &[u8], path: &Path, known: u32) -> Result<u32, DeploymentError> {
    match serde_json::from_slice(text) {
        Ok(Format { format: found }) if found > known => {
            Err(DeploymentError::Newer { path: path.to_owned(), found, known })
        }
        Ok(Format { format }) => Ok(format),
        Err(_) => {
            let reason = "it is not a description";
            Err(DeploymentError::Damaged { path: path.to_owned(), reason })
        }
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
    signature: Signature,
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
