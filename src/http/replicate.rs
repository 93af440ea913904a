//! For how many nodes a write waits, and who has it.

use serde::{Deserialize, Serialize};

use crate::accounts::replication::{Spread, WaitFor};

/// For how many nodes a write waits.
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

impl Replicate {
    /// For whom a call waits that says this, or nothing.
    pub fn given(given: Option<Self>) -> WaitFor {
        match given.unwrap_or(Self::Region) {
            Self::Region => WaitFor::Region,
            Self::All => WaitFor::All,
            Self::None => WaitFor::Nobody,
        }
    }
}

/// Who has a write.
#[derive(Debug, Serialize)]
pub struct Replication {
    /// The regions that have it.
    have: Vec<String>,
    /// The regions that do not have it yet.
    pending: Vec<String>,
}

impl From<Spread> for Replication {
    fn from(spread: Spread) -> Self {
        let names = |regions: Vec<crate::events::ids::RegionId>| {
            regions.iter().map(ToString::to_string).collect()
        };
        Self { have: names(spread.have), pending: names(spread.pending) }
    }
}
