//! The secrets of one node: the deployment's index key and its region's two keys. Never the
//! operator key, never another region's.

use super::Randomness;
use super::description::{Description, RegionKeys};
use super::error::DeploymentError;
use super::key_file::{FIRST_VERSION, KeyPurpose, SecretKey, StoredKey};
use super::names::VerifyingKey;
use crate::events::ids::RegionId;
use crate::kms::local::WrappingSecret;

/// The secrets of one node. Wiped when dropped.
#[derive(Debug, Clone)]
pub(super) struct Secrets {
    pub(super) index: SecretKey,
    pub(super) region_wrapping: SecretKey,
    pub(super) wrapping_version: u16,
    /// Wrapping keys that the region had before, or is about to have.
    pub(super) former_wrapping: Vec<SecretKey>,
    pub(super) region_signing: SecretKey,
}

impl Secrets {
    /// Those of a region that is new in the deployment with this index key.
    pub(super) fn of_new_region(
        index: &SecretKey,
        randomness: Randomness<'_>,
    ) -> Result<Self, DeploymentError> {
        Ok(Self {
            index: index.clone(),
            region_wrapping: SecretKey::draw(randomness)?,
            wrapping_version: FIRST_VERSION,
            former_wrapping: Vec::new(),
            region_signing: SecretKey::draw(randomness)?,
        })
    }

    /// Those that `read` finds for each purpose. `unfit` makes the error for one that is of the
    /// deployment but not the one that `description` names.
    pub(super) fn collect<E>(
        description: &Description,
        mut read: impl FnMut(KeyPurpose) -> Result<StoredKey, E>,
        unfit: impl FnOnce(KeyPurpose) -> E,
    ) -> Result<Self, E> {
        let index = read(KeyPurpose::Index)?;
        let wrapping = read(KeyPurpose::RegionWrapping)?;
        let region_signing = read(KeyPurpose::RegionSigning)?.secret;
        let index_version = index.version;
        let secrets = Self {
            index: index.secret,
            region_wrapping: wrapping.secret,
            wrapping_version: wrapping.version,
            former_wrapping: Vec::new(),
            region_signing,
        };
        match secrets.unfit(description, index_version) {
            None => Ok(secrets),
            Some(purpose) => Err(unfit(purpose)),
        }
    }

    fn unfit(&self, description: &Description, index_version: u16) -> Option<KeyPurpose> {
        let named = description.own_region();
        let own = self.public(description.region);
        if index_version != description.deployment.index_key_version {
            return Some(KeyPurpose::Index);
        }
        if named.is_none_or(|named| named.wrapping_key != own.wrapping_key) {
            return Some(KeyPurpose::RegionWrapping);
        }
        let signs = named.is_some_and(|named| named.signing_key == own.signing_key);
        (!signs).then_some(KeyPurpose::RegionSigning)
    }

    /// The public halves, as those of `region`.
    pub(super) fn public(&self, region: RegionId) -> RegionKeys {
        RegionKeys {
            region,
            wrapping_key: WrappingSecret::from_seed(self.region_wrapping.expose()).public(),
            signing_key: VerifyingKey::of_seed(self.region_signing.expose()),
            retired: false,
        }
    }

    /// As their files hold them, in the order in which [`Self::collect`] reads them.
    pub(super) fn stored(&self, description: &Description) -> [StoredKey; 3] {
        let common = &description.deployment;
        let key = |purpose, version, secret: &SecretKey| StoredKey {
            deployment: common.id,
            purpose,
            version,
            secret: secret.clone(),
        };
        [
            key(KeyPurpose::Index, common.index_key_version, &self.index),
            key(KeyPurpose::RegionWrapping, self.wrapping_version, &self.region_wrapping),
            key(KeyPurpose::RegionSigning, FIRST_VERSION, &self.region_signing),
        ]
    }
}
