//! A node's data folder: what `jcas init` makes and `jcas serve` opens.
//!
//! ```text
//! DATA/                      0700
//!   deployment.json          open: the deployment, this node's place in it, every public key
//!   keys/                    0700, each file 0600
//!     index.key              finds identities; equal on every node
//!     region-wrapping.key    opens branch keys; equal on the region's nodes
//!     region-signing.key     signs for the region; equal on its nodes
//!     operator.key           speaks for the operator: to be moved off the node and kept offline
//!   operator-token           0600, opens the operator listener; made by the first start
//!   lock                     held by the process that works here
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `description` | `deployment.json` |
//! | `key_file` | the layout of a key file |
//! | `names` | the deployment's name, Ed25519 public keys |
//! | `create` | the folder, whole or not at all |
//! | `lock`, `token` | one process a folder; the operator token |
//! | `file`, `error` | shared by the files above |
//!
//! A node that joins differs from a first one only in where its description and secrets come from:
//! everything from `create` on serves both.
//!
//! It must never know what is kept beside these files (log, state), nor any actor.

pub mod description;
pub mod error;
pub mod key_file;
pub mod lock;
pub mod names;
pub mod token;

mod create;
mod file;

use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use create::Secrets;
use description::{Common, Description, RegionKeys};
use error::DeploymentError;
use key_file::{FIRST_VERSION, KeyPurpose, SecretKey, StoredKey};
use names::{DeploymentName, VerifyingKey};

use crate::events::ids::{DeploymentId, NodeId, RegionId};
use crate::kms::local::{LocalKms, WrappingSecret};

/// Into how many shards a new deployment divides its users.
pub const SHARDS: NonZeroU16 = NonZeroU16::MIN.saturating_add(63);

/// The folder of the key files, in the data folder.
const KEYS_FOLDER: &str = "keys";

/// A source of random bytes, such as [`getrandom::fill`].
pub type Randomness<'a> = &'a mut dyn FnMut(&mut [u8]) -> Result<(), getrandom::Error>;

/// What the operator decides about a new deployment.
#[derive(Debug, Clone)]
pub struct InitOptions {
    /// The deployment's name.
    pub name: DeploymentName,
    /// The first node's region.
    pub region: RegionId,
    /// The first node's name.
    pub node: NodeId,
}

/// A node's part in a deployment: its description and its secrets, all checked against each other.
#[derive(Debug)]
pub struct Deployment {
    folder: PathBuf,
    description: Description,
    index_key: IndexKey,
    region_wrapping: SecretKey,
    region_signing: SecretKey,
    operator_key_left_here: bool,
}

/// The key of blind indexes.
#[derive(Debug, Clone)]
pub struct IndexKey {
    /// Its version, which every blind index carries.
    pub version: u16,
    /// The key.
    pub secret: SecretKey,
}

/// Makes a new deployment and its first node's data folder, and opens it.
///
/// The folder must be empty or not exist. It is written beside and renamed, so it is there whole or
/// not at all, and durable when this returns. The operator key lies in it until the operator takes
/// it away, see [`Deployment::operator_key_left_here`].
pub fn init(
    folder: &Path,
    options: InitOptions,
    randomness: Randomness<'_>,
) -> Result<Deployment, DeploymentError> {
    let folder = create::free_folder(folder)?;
    let mut id = [0; 16];
    randomness(&mut id).map_err(DeploymentError::Randomness)?;
    let operator = SecretKey::draw(randomness)?;
    let operator_key = VerifyingKey::of_seed(operator.expose());
    let secrets = Secrets {
        index: SecretKey::draw(randomness)?,
        region_wrapping: SecretKey::draw(randomness)?,
        region_signing: SecretKey::draw(randomness)?,
        operator: Some(operator),
    };
    let own = RegionKeys {
        region: options.region,
        wrapping_key: WrappingSecret::from_seed(secrets.region_wrapping.expose()).public(),
        signing_key: VerifyingKey::of_seed(secrets.region_signing.expose()),
    };
    let deployment = Common {
        id: DeploymentId(id),
        name: options.name,
        shards: SHARDS,
        index_key_version: FIRST_VERSION,
        operator_key,
        regions: vec![own],
    };
    let description = Description { deployment, region: options.region, node: options.node };
    create::create(&folder, &description, &secrets, randomness)?;
    open(&folder)
}

/// Opens a node's data folder and checks that everything in it is whole, private and belongs
/// together.
pub fn open(folder: &Path) -> Result<Deployment, DeploymentError> {
    let description = Description::read(folder)?;
    let keys = folder.join(KEYS_FOLDER);
    file::exists_private(&keys)?;
    let id = description.deployment.id;
    let read = |purpose: KeyPurpose| StoredKey::read(&keys.join(purpose.file_name()), id, purpose);
    let index = read(KeyPurpose::Index)?;
    let wrapping = read(KeyPurpose::RegionWrapping)?.secret;
    let signing = read(KeyPurpose::RegionSigning)?.secret;

    let unfit = |purpose: KeyPurpose| {
        Err(DeploymentError::UnfitKey { path: keys.join(purpose.file_name()) })
    };
    let public = description.own_region();
    let wraps_for = WrappingSecret::from_seed(wrapping.expose()).public();
    let signs_for = VerifyingKey::of_seed(signing.expose());
    if index.version != description.deployment.index_key_version {
        return unfit(KeyPurpose::Index);
    }
    if public.is_none_or(|public| public.wrapping_key != wraps_for) {
        return unfit(KeyPurpose::RegionWrapping);
    }
    if public.is_none_or(|public| public.signing_key != signs_for) {
        return unfit(KeyPurpose::RegionSigning);
    }
    Ok(Deployment {
        folder: folder.to_owned(),
        operator_key_left_here: file::exists_private(&keys.join(KeyPurpose::Operator.file_name()))?,
        description,
        index_key: IndexKey { version: index.version, secret: index.secret },
        region_wrapping: wrapping,
        region_signing: signing,
    })
}

impl Deployment {
    /// The data folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the node says openly about itself and its deployment.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The key of blind indexes.
    pub fn index_key(&self) -> &IndexKey {
        &self.index_key
    }

    /// The Ed25519 seed the region signs with.
    pub fn region_signing_seed(&self) -> &SecretKey {
        &self.region_signing
    }

    /// The KMS that the region's own key pair makes, which wraps for every region described.
    pub fn local_kms(&self) -> LocalKms {
        let secret = WrappingSecret::from_seed(self.region_wrapping.expose());
        let regions = self.description.deployment.regions.iter();
        let peers = regions.map(|keys| (keys.region, keys.wrapping_key.clone()));
        LocalKms::new(self.description.region, secret, peers)
    }

    /// Where the operator key lay when the folder was opened, if it was still on this node. Whoever
    /// takes the node then speaks for the operator, so it is worth a warning at every start.
    pub fn operator_key_left_here(&self) -> Option<PathBuf> {
        let path = || self.folder.join(KEYS_FOLDER).join(KeyPurpose::Operator.file_name());
        self.operator_key_left_here.then(path)
    }

    /// Reads the operator key's Ed25519 seed from wherever the operator keeps the file, and checks
    /// that it is this deployment's. Serving never needs it.
    pub fn read_operator_key(&self, path: &Path) -> Result<SecretKey, DeploymentError> {
        let common = &self.description.deployment;
        let secret = StoredKey::read(path, common.id, KeyPurpose::Operator)?.secret;
        if VerifyingKey::of_seed(secret.expose()) == common.operator_key {
            Ok(secret)
        } else {
            Err(DeploymentError::UnfitKey { path: path.to_owned() })
        }
    }
}

#[cfg(test)]
#[path = "deployment_test.rs"]
mod tests;
