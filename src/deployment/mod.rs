//! A node's data folder: what `jcas init` makes and `jcas serve` opens.
//!
//! ```text
//! DATA/                      0700
//!   deployment.json          open: the deployment, this node's place in it, every public key
//!   keys/                    0700, each file 0600
//!     index.key              finds identities; equal on every node
//!     region-wrapping.key    opens branch keys; equal on the region's nodes; a newer version of it
//!                            is beside it in region-wrapping-N.key
//!     region-signing.key     signs for the region; equal on its nodes
//!     operator.key           speaks for the operator: to be moved off the node and kept offline
//!   bundles/                 0700, each file 0600: for nodes that are to join, to be taken there
//!   operator-token           0600, opens the operator listener; made by the first start
//!   catching-up              there until a node that joined or was restored has what others have
//!   read-only                there where keys' bodies are missing: no writes, no other nodes
//!   lock                     held by the process that works here
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `description` | `deployment.json` |
//! | `key_file` | the layout of a key file |
//! | `names` | the deployment's name, Ed25519 public keys |
//! | `secrets` | what of the keys a node has |
//! | `create` | the folder, whole or not at all |
//! | `bundle` | what a further node joins with |
//! | `regions` | regions that are added and retired later |
//! | `rotation` | a region's wrapping key and those it had before |
//! | `lock`, `token` | one process a folder; the operator token |
//! | `catching_up` | whether others have what this node has not |
//! | `read_only` | whether the node may write |
//! | `file`, `error` | shared by the files above |
//!
//! A node that joins differs from a first one only in where its description and secrets come from:
//! everything from `create` on serves both.
//!
//! It must never know what is kept beside these files (log, state), nor any actor.

pub mod bundle;
pub mod catching_up;
pub mod description;
pub mod error;
pub mod key_file;
pub mod lock;
pub mod names;
pub mod read_only;
pub mod regions;
pub mod rotation;
pub mod token;

mod create;
mod file;
mod secrets;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use bundle::Bundle;
use create::Contents;
use description::{Common, Description};
use error::DeploymentError;
use file::io_error;
use key_file::{FIRST_VERSION, KeyPurpose, SecretKey, StoredKey};
use names::{DeploymentName, Named, VerifyingKey};
use rotation::WrappingKeys;
use secrets::Secrets;

use crate::events::ids::{DeploymentId, NodeName, RegionId};
use crate::kms::local::{LocalKms, WrappingSecret};

/// Into how many shards a new deployment divides its users.
pub const SHARDS: NonZeroU16 = NonZeroU16::MIN.saturating_add(63);

/// The folder of the key files, in the data folder.
pub const KEYS_FOLDER: &str = "keys";

/// The file of the operator key, in the folder of the key files.
pub const OPERATOR_KEY_FILE: &str = "operator.key";

/// The folder of the bundles that were made here, in the data folder.
pub const BUNDLES_FOLDER: &str = "bundles";

/// A source of random bytes, such as [`getrandom::fill`].
pub type Randomness<'a> = &'a mut dyn FnMut(&mut [u8]) -> Result<(), getrandom::Error>;

/// What the operator decides about a new deployment.
#[derive(Debug, Clone)]
pub struct InitOptions {
    /// The deployment's name.
    pub name: DeploymentName,
    /// The first node.
    pub first: NodeName,
    /// The nodes that join, in the first one's region or others.
    pub further: Vec<NodeName>,
}

/// A node's part in a deployment: its description and its secrets, all checked against each other.
#[derive(Debug)]
pub struct Deployment {
    folder: PathBuf,
    description: Description,
    secrets: Secrets,
    operator_key_left_here: bool,
    bundles_left_here: Vec<PathBuf>,
}

/// Makes a new deployment and its first node's data folder, and opens it.
///
/// The folder must be empty or not exist. It is written beside and renamed, so it is there whole or
/// not at all, and durable when this returns. The operator key and the bundles of the further nodes
/// lie in it until the operator takes them away, see [`Deployment::operator_key_left_here`] and
/// [`Deployment::bundles_left_here`].
pub fn init(
    folder: &Path,
    options: &InitOptions,
    randomness: Randomness<'_>,
) -> Result<Deployment, DeploymentError> {
    let InitOptions { name, first, further } = options;
    let mut seen = BTreeSet::from([*first]);
    if let Some(node) = further.iter().find(|node| !seen.insert(**node)) {
        return Err(DeploymentError::NameTaken { node: *node });
    }
    let folder = create::free_folder(folder)?;
    let mut id = [0; 16];
    randomness(&mut id).map_err(DeploymentError::Randomness)?;
    let operator = SecretKey::draw(randomness)?;
    let index = SecretKey::draw(randomness)?;
    let secrets = Secrets::of_new_region(&index, randomness)?;
    let mut regions = BTreeMap::from([(first.region, secrets.clone())]);
    for node in further {
        if let Entry::Vacant(new) = regions.entry(node.region) {
            new.insert(Secrets::of_new_region(&index, randomness)?);
        }
    }
    let deployment = Common {
        id: DeploymentId(id),
        name: name.clone(),
        version: 1,
        shards: SHARDS,
        index_key_version: FIRST_VERSION,
        operator_key: VerifyingKey::of_seed(operator.expose()),
        regions: regions.iter().map(|(region, secrets)| secrets.public(*region)).collect(),
    };
    let signature = deployment.sign(&operator).map_err(description::unwritten(&folder))?;
    let description = Description { deployment, signature, region: first.region, node: first.node };
    let bundle = |name: &NodeName| {
        let NodeName { region, node } = *name;
        let description = Description { region, node, ..description.clone() };
        Some(Bundle { description, secrets: regions.get(&region)?.clone() })
    };
    let bundles: Vec<_> = further.iter().filter_map(bundle).collect();
    let contents = Contents {
        description: &description,
        secrets: &secrets,
        operator: Some(&operator),
        bundles: &bundles,
        behind: false,
    };
    create::create(&folder, &contents, randomness)?;
    open(&folder)
}

/// Opens a node's data folder and checks that everything in it is whole, private and belongs
/// together.
pub fn open(folder: &Path) -> Result<Deployment, DeploymentError> {
    let description = Description::read(folder)?;
    let keys = folder.join(KEYS_FOLDER);
    file::exists_private(&keys)?;
    let path = |purpose: KeyPurpose| keys.join(purpose.file_name());
    let mut former = Vec::new();
    let read = |purpose| match purpose {
        KeyPurpose::RegionWrapping => {
            let found = WrappingKeys::read(&keys, &description)?;
            former = found.others;
            Ok(found.current)
        }
        _ => StoredKey::read(&path(purpose), &description.deployment, purpose),
    };
    let unfit = |purpose| DeploymentError::UnfitKey { path: path(purpose) };
    let secrets = Secrets::collect(&description, read, unfit)?;
    let secrets = Secrets { former_wrapping: former, ..secrets };
    Ok(Deployment {
        operator_key_left_here: file::exists_private(&path(KeyPurpose::Operator))?,
        bundles_left_here: bundles_in(&folder.join(BUNDLES_FOLDER))?,
        folder: folder.to_owned(),
        description,
        secrets,
    })
}

/// The bundles in a folder, if there is one, sorted.
fn bundles_in(folder: &Path) -> Result<Vec<PathBuf>, DeploymentError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(io_error("list", folder))?,
    };
    let paths: Result<Vec<_>, _> = entries.map(|entry| entry.map(|it| it.path())).collect();
    let mut paths = paths.map_err(io_error("list", folder))?;
    paths.retain(|path| path.extension().is_some_and(|end| end == bundle::FILE_END));
    paths.sort();
    Ok(paths)
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

    /// What names the deployment in every header, file and signature.
    pub const fn id(&self) -> DeploymentId {
        self.description.deployment.id
    }

    /// The deployment as an error names it.
    pub fn named(&self) -> Named {
        self.description.deployment.named()
    }

    /// The key of blind indexes.
    pub const fn index_key(&self) -> &SecretKey {
        &self.secrets.index
    }

    /// Its version, which every blind index carries.
    pub const fn index_key_version(&self) -> u16 {
        self.description.deployment.index_key_version
    }

    /// The Ed25519 seed the region signs with.
    pub const fn region_signing_seed(&self) -> &SecretKey {
        &self.secrets.region_signing
    }

    /// What verifies a region's signatures, whether the region is retired or not.
    pub fn verifying_key(&self, region: RegionId) -> Option<VerifyingKey> {
        self.description.deployment.region(region).map(|keys| keys.signing_key)
    }

    /// What verifies each region's signatures, the retired ones' too.
    pub fn verifying_keys(&self) -> impl Iterator<Item = (RegionId, VerifyingKey)> {
        let regions = self.description.deployment.regions.iter();
        regions.map(|keys| (keys.region, keys.signing_key))
    }

    /// The KMS that the region's own key pair makes, which wraps for every region that is not
    /// retired.
    pub fn local_kms(&self) -> LocalKms {
        let secret = WrappingSecret::from_seed(self.secrets.region_wrapping.expose());
        let regions = self.description.deployment.active_regions();
        let peers = regions.map(|keys| (keys.region, keys.wrapping_key.clone()));
        let former = self.secrets.former_wrapping.iter();
        let former = former.map(|secret| WrappingSecret::from_seed(secret.expose()));
        LocalKms::new(self.description.region, secret, peers).with_former(former)
    }

    /// Where the operator key lay when the folder was opened, if it was still on this node. Whoever
    /// takes the node then speaks for the operator, so it is worth a warning at every start.
    pub fn operator_key_left_here(&self) -> Option<PathBuf> {
        let path = || self.folder.join(KEYS_FOLDER).join(KeyPurpose::Operator.file_name());
        self.operator_key_left_here.then(path)
    }

    /// The bundles that lay in the data folder when it was opened. Each one is secret and of use to
    /// whoever takes it, so they are worth a warning at every start.
    pub fn bundles_left_here(&self) -> &[PathBuf] {
        &self.bundles_left_here
    }

    /// Reads the operator key's Ed25519 seed from wherever the operator keeps the file, and checks
    /// that it is this deployment's. Serving never needs it.
    pub fn read_operator_key(&self, path: &Path) -> Result<SecretKey, DeploymentError> {
        let common = &self.description.deployment;
        let secret = StoredKey::read(path, common, KeyPurpose::Operator)?.secret;
        if VerifyingKey::of_seed(secret.expose()) == common.operator_key {
            Ok(secret)
        } else {
            Err(DeploymentError::UnfitKey { path: path.to_owned() })
        }
    }
}

#[cfg(test)]
mod bundle_test;
#[cfg(test)]
mod describing_test;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod keys_test;
#[cfg(test)]
mod making_test;
#[cfg(test)]
mod opening_test;
#[cfg(test)]
mod regions_test;
