//! How many nodes a write waits for, and who has it.

use serde::{Deserialize, Serialize};

use super::api::Api;

/// How many nodes a write waits for. A node alone has nobody to wait for: the word is checked and
/// nothing follows from it.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Replicate {
    /// The region's other nodes.
    Region,
    /// All regions.
    All,
    /// Nobody.
    None,
}

/// Who has a write.
#[derive(Debug, Serialize)]
pub struct Replication {
    /// The regions that have it.
    have: Vec<String>,
    /// The regions that do not have it yet.
    pending: Vec<String>,
}

impl Replication {
    /// Only this node's region.
    pub fn here(api: &Api) -> Self {
        Self { have: vec![api.region.to_string()], pending: Vec::new() }
    }
}
