//! How the regions of a deployment change: the operator signs a new description, every node takes
//! it.
//!
//! ```json
//! { "format": 1, "deployment": { .. }, "signature": "128 hex digits, Ed25519" }
//! ```
//!
//! Such an update is public. `deployment` and `signature` are as in `deployment.json`, with a
//! version that is one higher. A region is added or retired, or gets a new wrapping key; its
//! signing key never changes, its name is never given again and it never comes back, since what it
//! signed must verify for ever.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::bundle::Bundle;
use super::description::{self, Common, Description, format_of, unwritten};
use super::error::DeploymentError;
use super::file::{self, io_error};
use super::key_file::SecretKey;
use super::names::Signature;
use super::secrets::Secrets;
use super::{Deployment, Randomness};
use crate::events::ids::{NodeName, RegionId};

const FORMAT: u32 = 1;

/// A description that the operator signed, without a node's own part.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Update {
    format: u32,
    deployment: Common,
    signature: Signature,
}

/// What was made for a region that is new.
#[derive(Debug)]
pub struct Added {
    /// The update that every other node takes. Public.
    pub update: PathBuf,
    /// What the region's first node joins with. Secret.
    pub bundle: PathBuf,
}

/// What came of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// The node has this version of the description now.
    Taken(u32),
    /// It had it already.
    Known(u32),
}

impl Update {
    pub(super) fn signed(
        deployment: Common,
        operator: &SecretKey,
    ) -> Result<Self, serde_json::Error> {
        let signature = deployment.sign(operator)?;
        Ok(Self { format: FORMAT, deployment, signature })
    }

    /// Writes the update into a new file of `folder`, which is made where there is none. The same
    /// update may be there already, from a try that was killed.
    pub(super) fn write_into(&self, folder: &Path) -> Result<PathBuf, DeploymentError> {
        file::ensure_private_folder(folder)?;
        let path = folder.join(format!("regions-{}.json", self.deployment.version));
        let mut text = serde_json::to_vec_pretty(self).map_err(unwritten(&path))?;
        text.push(b'\n');
        if file::read_public(&path, description::FILE_BYTES_MAX).is_ok_and(|known| known == text) {
            return Ok(path);
        }
        file::write_new(&path, &text)?;
        file::sync_folder(folder)?;
        Ok(path)
    }

    fn read(path: &Path) -> Result<Self, DeploymentError> {
        let text = match file::read_public(path, description::FILE_BYTES_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(DeploymentError::NoUpdate { path: path.to_owned() });
            }
            read => read.map_err(io_error("read", path))?,
        };
        let unfit = |reason| DeploymentError::UnfitUpdate { path: path.to_owned(), reason };
        format_of(&text, path, FORMAT)?;
        let update: Self =
            serde_json::from_slice(&text).map_err(|_| unfit("a field is missing or wrong"))?;
        update.deployment.check().map_err(unfit)?;
        Ok(update)
    }
}

/// Why `next` cannot follow `known`, if so. What the operator signs keeps these rules; a signature
/// alone does not show that whoever signed knew the newest description.
fn broken_rule(known: &Common, next: &Common) -> Option<&'static str> {
    let fixed = |it: &Common| (it.name.clone(), it.shards, it.index_key_version, it.operator_key);
    if fixed(known) != fixed(next) {
        return Some("it changes what never changes");
    }
    known.regions.iter().find_map(|before| {
        let Some(after) = next.region(before.region) else { return Some("a region is gone") };
        if after.signing_key != before.signing_key {
            return Some("it changes a region's signing key");
        }
        (before.retired && !after.retired).then_some("a retired region is back")
    })
}

impl Deployment {
    /// Adds the region of `first`: makes its keys, that node's bundle and the update, both into new
    /// files of `folder`, and takes the update here. Nodes that run know of it at their next start.
    pub fn add_region(
        &mut self,
        first: NodeName,
        operator: &SecretKey,
        folder: &Path,
        randomness: Randomness<'_>,
    ) -> Result<Added, DeploymentError> {
        let region = first.region;
        if self.description.deployment.region(region).is_some() {
            return Err(DeploymentError::RegionExists { region });
        }
        let secrets = Secrets::of_new_region(&self.secrets.index, randomness)?;
        let mut next = self.next_version();
        next.regions.push(secrets.public(region));
        next.regions.sort_by_key(|keys| keys.region);
        let update = Update::signed(next, operator).map_err(unwritten(folder))?;
        let description = Description {
            deployment: update.deployment.clone(),
            signature: update.signature,
            region,
            node: first.node,
        };
        let bundle = Bundle { description, secrets }.write_into(folder)?;
        // Without the update nobody knows the region: its bundle is of no use and in the way.
        let path = update.write_into(folder).inspect_err(|_| drop(fs::remove_file(&bundle)))?;
        self.take(update)?;
        Ok(Added { update: path, bundle })
    }

    /// Retires a region: makes the update, into a new file of `folder`, and takes it here.
    pub fn retire_region(
        &mut self,
        region: RegionId,
        operator: &SecretKey,
        folder: &Path,
    ) -> Result<PathBuf, DeploymentError> {
        let mut next = self.next_version();
        let Some(keys) = next.regions.iter_mut().find(|keys| keys.region == region) else {
            return Err(DeploymentError::NoSuchRegion { region, deployment: self.named() });
        };
        if keys.retired {
            return Err(DeploymentError::Retired { region, deployment: self.named() });
        }
        keys.retired = true;
        if next.active_regions().next().is_none() {
            return Err(DeploymentError::LastRegion { region });
        }
        let update = Update::signed(next, operator).map_err(unwritten(folder))?;
        let path = update.write_into(folder)?;
        self.take(update)?;
        Ok(path)
    }

    /// Takes an update that the operator made elsewhere, if it is this deployment's, signed, and
    /// newer than what is known here.
    pub fn accept(&mut self, path: &Path) -> Result<Accepted, DeploymentError> {
        let update = Update::read(path)?;
        let (known, next) = (&self.description.deployment, &update.deployment);
        let path = || path.to_owned();
        if next.id != known.id {
            let (found, expected) = (Box::new(next.named()), Box::new(known.named()));
            return Err(DeploymentError::ForeignUpdate { path: path(), found, expected });
        }
        if !next.is_signed(&update.signature, &known.operator_key) {
            return Err(DeploymentError::UnsignedUpdate { path: path(), expected: known.named() });
        }
        let (found, version) = (next.version, known.version);
        if found < version {
            return Err(DeploymentError::OlderUpdate { path: path(), found, known: version });
        }
        if found == version {
            let same = next == known;
            let rival = || DeploymentError::RivalUpdate { path: path(), version };
            return same.then_some(Accepted::Known(version)).ok_or_else(rival);
        }
        if let Some(reason) = broken_rule(known, next) {
            return Err(DeploymentError::UnfitUpdate { path: path(), reason });
        }
        let own = next.region(self.description.region);
        if own.is_some_and(|own| !self.has_wrapping_key(&own.wrapping_key)) {
            let reason = "it names a wrapping key of this region that is not here; copy its file \
                          region-wrapping-N.key from the node that made it into keys/ first";
            return Err(DeploymentError::UnfitUpdate { path: path(), reason });
        }
        self.take(update)?;
        Ok(Accepted::Taken(found))
    }

    /// Refuses to serve for a region that is retired.
    pub fn check_not_retired(&self) -> Result<(), DeploymentError> {
        match self.description.own_region() {
            Some(keys) if keys.retired => {
                Err(DeploymentError::Retired { region: keys.region, deployment: self.named() })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn next_version(&self) -> Common {
        let known = self.description.deployment.clone();
        Common { version: known.version.saturating_add(1), ..known }
    }

    /// Puts the update's part of the description in the place of the one in the data folder.
    pub(super) fn take(&mut self, update: Update) -> Result<(), DeploymentError> {
        let Update { deployment, signature, .. } = update;
        let description = Description { deployment, signature, ..self.description.clone() };
        description.replace(&self.folder)?;
        self.description = description;
        Ok(())
    }
}
