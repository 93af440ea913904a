//! Why a deployment was not made, opened, locked or read, and what the operator does about it.

use std::io;
use std::path::PathBuf;

use super::names::Named;
use crate::events::ids::{DeploymentId, NodeName, RegionId};

/// A deployment could not be made, opened, locked or read.
#[derive(Debug, thiserror::Error)]
pub enum DeploymentError {
    /// There is a deployment here already, and it is never overwritten.
    #[error(
        "{} already holds the deployment {found}, node {node}; name another folder",
        folder.display()
    )]
    Exists {
        /// The folder that was asked for.
        folder: PathBuf,
        /// The deployment that is there.
        found: Box<Named>,
        /// The node whose folder it is.
        node: NodeName,
    },
    /// There is something else here, and it is never touched.
    #[error("{} is not empty; name a folder that is empty or does not exist", folder.display())]
    NotEmpty {
        /// The folder that was asked for.
        folder: PathBuf,
    },
    /// There is none here.
    #[error(
        "{} holds no deployment; make one with `jcas init`, let this node into one with \
         `jcas join`, or name the folder of one",
        folder.display()
    )]
    NoDeployment {
        /// The folder that was asked for.
        folder: PathBuf,
    },
    /// A key file is gone.
    #[error(
        "the key file {} is missing; restore it from a backup or another node, a new one would \
         not fit",
        path.display()
    )]
    MissingKey {
        /// Where it should be.
        path: PathBuf,
    },
    /// Others than the owner may read or write a secret.
    #[error(
        "{} is open to other users (mode {mode:04o}); take their rights away with \
         `chmod go-rwx` and consider who may have read it",
        path.display()
    )]
    Exposed {
        /// The file or folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file's content is not what was written into it.
    #[error("{} is damaged: {reason}; restore it from a backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The operator token's file holds something else.
    #[error(
        "{} does not hold an operator token; delete it, and the next start makes another",
        path.display()
    )]
    NotAToken {
        /// The file.
        path: PathBuf,
    },
    /// A file is of a later version of JCAS.
    #[error(
        "{} has format {found}, this version of jcas reads up to {known}; start a newer one",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The format's version.
        found: u32,
        /// The newest one that is known here.
        known: u32,
    },
    /// A key file was brought here from another deployment.
    #[error(
        "the key file {} is of deployment {found}, not of {expected}; put this deployment's own \
         key back",
        path.display()
    )]
    ForeignKey {
        /// The file.
        path: PathBuf,
        /// Whose key it is.
        found: DeploymentId,
        /// Whose key it should be.
        expected: Named,
    },
    /// A bundle is gone.
    #[error("there is no bundle {}; make one with `jcas bundle`", path.display())]
    NoBundle {
        /// Where it should be.
        path: PathBuf,
    },
    /// A bundle's content is not what was written into it.
    #[error(
        "the bundle {} is damaged: {reason}; bring it here again, or make another with \
         `jcas bundle`",
        path.display()
    )]
    DamagedBundle {
        /// The bundle.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A node of another deployment is in the folder that was to be joined in.
    #[error(
        "the bundle {} is of deployment {found}, but {} holds the deployment {expected}; name \
         another folder",
        path.display(), folder.display()
    )]
    ForeignBundle {
        /// The bundle.
        path: PathBuf,
        /// Whose bundle it is.
        found: Box<Named>,
        /// The folder.
        folder: PathBuf,
        /// Whose folder it is.
        expected: Box<Named>,
    },
    /// An update is gone.
    #[error("there is no file {}", path.display())]
    NoUpdate {
        /// Where it should be.
        path: PathBuf,
    },
    /// An update is of another deployment.
    #[error(
        "{} is an update of deployment {found}, this node is of {expected}; nothing was changed",
        path.display()
    )]
    ForeignUpdate {
        /// The update.
        path: PathBuf,
        /// Whose update it is.
        found: Box<Named>,
        /// Whose node it was brought to.
        expected: Box<Named>,
    },
    /// The operator did not sign an update.
    #[error(
        "{} is not signed by the operator key of deployment {expected}; nothing was changed",
        path.display()
    )]
    UnsignedUpdate {
        /// The update.
        path: PathBuf,
        /// Whose operator should have.
        expected: Named,
    },
    /// An update is older than what is known.
    #[error(
        "{} is version {found} of the description, version {known} is known here; nothing was \
         changed",
        path.display()
    )]
    OlderUpdate {
        /// The update.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The version that is known.
        known: u32,
    },
    /// The operator signed two descriptions of one version.
    #[error(
        "{} is another version {version} than the one known here: two were made, each from the \
         version before; nothing was changed. Keep one, and make the other change anew on a node \
         that has it",
        path.display()
    )]
    RivalUpdate {
        /// The update.
        path: PathBuf,
        /// The version of both.
        version: u32,
    },
    /// An update cannot be read, or does what no update may.
    #[error("{} is not taken: {reason}; nothing was changed", path.display())]
    UnfitUpdate {
        /// The update.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A region's name is taken, also by one that is retired.
    #[error("there is or was a region {region} already; give the new one a name of its own")]
    RegionExists {
        /// The region.
        region: RegionId,
    },
    /// There is no such region.
    #[error("there is no region {region} in deployment {deployment}")]
    NoSuchRegion {
        /// The region.
        region: RegionId,
        /// The deployment.
        deployment: Named,
    },
    /// A region is no more.
    #[error("region {region} of deployment {deployment} is retired")]
    Retired {
        /// The region.
        region: RegionId,
        /// The deployment.
        deployment: Named,
    },
    /// A deployment has at least one region.
    #[error("region {region} is the last one that is not retired")]
    LastRegion {
        /// The region.
        region: RegionId,
    },
    /// Two nodes would have one name.
    #[error("there is a node {node} already; each node of a region has a name of its own")]
    NameTaken {
        /// The node.
        node: NodeName,
    },
    /// A key file has another one's name.
    #[error(
        "the key file {} holds the {found}, not the {expected}; put each file back in its place",
        path.display()
    )]
    WrongPurpose {
        /// The file.
        path: PathBuf,
        /// What the key in it is for.
        found: &'static str,
        /// What it should be for.
        expected: &'static str,
    },
    /// A key is of this deployment but not the one its description names.
    #[error(
        "the key file {} does not fit the key that deployment.json names for it; restore both \
         from one backup of this node",
        path.display()
    )]
    UnfitKey {
        /// The file.
        path: PathBuf,
    },
    /// Another process works in the folder.
    #[error(
        "{} is in use by {}; stop it first",
        folder.display(),
        holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    Locked {
        /// The folder.
        folder: PathBuf,
        /// The other process, if it left its id.
        holder: Option<u32>,
    },
    /// The finished folder could not be given its name.
    #[error(
        "{} cannot be replaced in one step; if it is a mount point, name a folder inside it",
        folder.display()
    )]
    NotReplaceable {
        /// The folder that was asked for.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is no randomness to make keys of.
    #[error("the operating system gave no randomness; no key was made")]
    Randomness(#[source] getrandom::Error),
    /// The system refused.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}
