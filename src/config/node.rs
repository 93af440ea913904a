//! Which node this is, and where it keeps what it knows.

use std::path::PathBuf;

use serde::Deserialize;

use super::fault::Review;
use crate::events::ids::{NodeId, RegionId};

/// Longest deployment name, in bytes.
pub const DEPLOYMENT_BYTES_MAX: usize = 32;

/// Section `node`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// The data folder; a relative path starts at the working directory. Not empty.
    pub data_dir: PathBuf,
    /// This node's name within its region.
    pub name: NodeId,
    /// The region it belongs to.
    pub region: RegionId,
    /// The name a first `init` gives the deployment, 1 to 32 of a-z, 0-9, `-` and `_`, starting
    /// with a letter or digit. Afterwards the data folder has it.
    pub deployment: String,
}

impl NodeConfig {
    pub(super) fn validate(&self, review: &mut Review<'_>) {
        if self.data_dir.as_os_str().is_empty() {
            review.refuse("node.data_dir", "it is empty", "the path of a folder");
        }
        if !is_deployment_name(&self.deployment) {
            review.refuse(
                "node.deployment",
                format!("found {:?}", self.deployment),
                "1 to 32 of a-z, 0-9, - and _, starting with a letter or digit",
            );
        }
    }
}

fn is_deployment_name(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    name.len() <= DEPLOYMENT_BYTES_MAX
        && name.bytes().all(inner)
        && name.bytes().next().is_some_and(|first| first != b'-' && first != b'_')
}
