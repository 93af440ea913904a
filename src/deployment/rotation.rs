//! A region's wrapping key and those it had before.
//!
//! ```text
//! keys/region-wrapping.key       version 1, or the version that a bundle brought
//! keys/region-wrapping-2.key     version 2, beside it: whichever the description names wraps
//! ```
//!
//! A new version is written first and named in the description after that, so that a kill in
//! between leaves a file that the next try takes up. All files open; only the operator takes one
//! away, when nothing is wrapped for it any more.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::description::{Description, unwritten};
use super::error::DeploymentError;
use super::file::{self, io_error};
use super::key_file::{KeyPurpose, SecretKey, StoredKey};
use super::regions::Update;
use super::{Deployment, KEYS_FOLDER, Randomness};
use crate::kms::local::{WrappingPublicKey, WrappingSecret};

/// What the name of every version's file begins and ends with.
const NAME: (&str, &str) = ("region-wrapping", ".key");

/// The wrapping keys of a data folder.
pub(super) struct WrappingKeys {
    /// The one that the description names, or where none is it, the first.
    pub(super) current: StoredKey,
    /// The others.
    pub(super) others: Vec<SecretKey>,
}

/// What a rotation made.
#[derive(Debug)]
pub struct Rotated {
    /// The update that every other node takes. Public.
    pub update: PathBuf,
    /// The new key, which the region's other nodes need first. Secret.
    pub key: PathBuf,
    /// Its version.
    pub version: u16,
}

impl WrappingKeys {
    /// Reads every version in a folder of keys.
    pub(super) fn read(keys: &Path, description: &Description) -> Result<Self, DeploymentError> {
        let named = description.own_region().map(|region| &region.wrapping_key);
        let mut all = Vec::new();
        for path in files(keys)? {
            all.push(StoredKey::read(&path, &description.deployment, KeyPurpose::RegionWrapping)?);
        }
        let position = all.iter().position(|key| Some(&public(&key.secret)) == named);
        if all.is_empty() {
            let path = keys.join(KeyPurpose::RegionWrapping.file_name());
            return Err(DeploymentError::MissingKey { path });
        }
        let current = all.remove(position.unwrap_or_default());
        Ok(Self { current, others: all.into_iter().map(|key| key.secret).collect() })
    }
}

/// The files of all versions, sorted.
fn files(keys: &Path) -> Result<Vec<PathBuf>, DeploymentError> {
    let entries = match fs::read_dir(keys) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(io_error("list", keys))?,
    };
    let is_one = |name: &str| {
        let version = name.strip_prefix(NAME.0).and_then(|rest| rest.strip_suffix(NAME.1));
        version.is_some_and(|version| version.is_empty() || version.starts_with('-'))
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(io_error("list", keys))?;
        if entry.file_name().to_str().is_some_and(is_one) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

fn public(secret: &SecretKey) -> WrappingPublicKey {
    WrappingSecret::from_seed(secret.expose()).public()
}

impl Deployment {
    /// Gives this node's region a new wrapping key: makes its file and the update, and takes the
    /// update here. A node that runs knows of it at its next start. One that was killed half-way is
    /// taken up where it was.
    pub fn rotate_wrapping_key(
        &mut self,
        operator: &SecretKey,
        folder: &Path,
        randomness: Randomness<'_>,
    ) -> Result<Rotated, DeploymentError> {
        let version = self.secrets.wrapping_version.saturating_add(1);
        let keys = self.folder.join(KEYS_FOLDER);
        let key = keys.join(format!("{}-{version}{}", NAME.0, NAME.1));
        let (common, purpose) = (&self.description.deployment, KeyPurpose::RegionWrapping);
        let secret = match StoredKey::read(&key, common, purpose) {
            Err(DeploymentError::MissingKey { .. }) => {
                let secret = SecretKey::draw(randomness)?;
                let deployment = common.id;
                let stored = StoredKey { deployment, purpose, version, secret: secret.clone() };
                stored.write_new(&key)?;
                file::sync_folder(&keys)?;
                secret
            }
            known => known?.secret,
        };
        let mut next = self.next_version();
        let own = self.description.region;
        for region in next.regions.iter_mut().filter(|region| region.region == own) {
            region.wrapping_key = public(&secret);
        }
        let update = Update::signed(next, operator).map_err(unwritten(folder))?;
        let path = update.write_into(folder)?;
        self.take(update)?;
        let before = std::mem::replace(&mut self.secrets.region_wrapping, secret);
        self.secrets.former_wrapping.push(before);
        self.secrets.wrapping_version = version;
        Ok(Rotated { update: path, key, version })
    }

    /// Removes the files of every wrapping key but the one of now, and says how many there were.
    pub fn drop_former_wrapping_keys(&mut self) -> Result<usize, DeploymentError> {
        let keys = self.folder.join(KEYS_FOLDER);
        let now = public(&self.secrets.region_wrapping);
        let (common, purpose) = (&self.description.deployment, KeyPurpose::RegionWrapping);
        let mut dropped = 0;
        for path in files(&keys)? {
            if public(&StoredKey::read(&path, common, purpose)?.secret) != now {
                fs::remove_file(&path).map_err(io_error("remove", &path))?;
                dropped += 1;
            }
        }
        file::sync_folder(&keys)?;
        self.secrets.former_wrapping.clear();
        Ok(dropped)
    }

    /// How many wrapping keys beside the one of now are here.
    pub fn former_wrapping_keys(&self) -> usize {
        self.secrets.former_wrapping.len()
    }

    /// The public half of the wrapping key of now.
    pub fn wrapping_key(&self) -> WrappingPublicKey {
        public(&self.secrets.region_wrapping)
    }

    /// Whether a rotation began here that has not taken effect: the file of the next version is
    /// there.
    pub fn has_next_wrapping_key(&self) -> bool {
        let version = self.secrets.wrapping_version.saturating_add(1);
        self.folder.join(KEYS_FOLDER).join(format!("{}-{version}{}", NAME.0, NAME.1)).exists()
    }

    /// Whether this node has the secret of a wrapping key.
    pub(super) fn has_wrapping_key(&self, key: &WrappingPublicKey) -> bool {
        let secrets = &self.secrets;
        let mut all = std::iter::once(&secrets.region_wrapping).chain(&secrets.former_wrapping);
        all.any(|secret| public(secret) == *key)
    }
}
