//! What is noted of a job beside its rows: nothing personal.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::events::ids::{ApiKeyId, BranchKeyId, CompanyId, Country, KeyedDigest, NodeId};

use super::verdict::Counts;

/// A job's name: the node that has it, and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobId {
    /// The node, in its region.
    pub node: NodeId,
    /// The number.
    pub number: Uuid,
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.node, self.number)
    }
}

/// A text that is no job's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a job's id is NODE.NUMBER")]
pub struct InvalidJobId;

impl FromStr for JobId {
    type Err = InvalidJobId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (node, number) = text.split_once('.').ok_or(InvalidJobId)?;
        let node = node.parse().map_err(|_| InvalidJobId)?;
        let id = Self { node, number: number.parse().map_err(|_| InvalidJobId)? };
        if id.to_string() == text { Ok(id) } else { Err(InvalidJobId) }
    }
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its rows are coming.
    Receiving,
    /// Its rows are here, and others are before it.
    Queued,
    /// Its rows are being applied.
    Running,
    /// All rows have a verdict.
    Done,
    /// It could not go on.
    Failed,
    /// It was told to end.
    Cancelled,
}

impl State {
    /// Whether nothing more happens to it.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// What is noted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Note {
    pub(super) version: u32,
    pub(super) company: CompanyId,
    pub(super) key: ApiKeyId,
    pub(super) country: Country,
    pub(super) dry_run: bool,
    /// Digest of the id of the request that brought the rows.
    pub(super) request: Option<KeyedDigest>,
    pub(super) state: State,
    pub(super) lines: u32,
    pub(super) rows: u32,
    /// Most bytes that the verdicts on them take.
    #[serde(default)]
    pub(super) verdict_bytes: u64,
    /// Most groups of lines that waited for their time while others were applied.
    #[serde(default)]
    pub(super) waiting: u32,
    /// What seals the job's files, itself sealed under a branch key: hexadecimal.
    pub(super) sealed_key: String,
    pub(super) branch: BranchKeyId,
    pub(super) created_ms: u64,
    /// When its rows were here as a whole.
    #[serde(default)]
    pub(super) received_ms: Option<u64>,
    /// Its company told it to end.
    #[serde(default)]
    pub(super) cancel_asked: bool,
    pub(super) started_ms: Option<u64>,
    pub(super) finished_ms: Option<u64>,
    pub(super) counts: Counts,
}

/// The version of notes that is written.
pub(super) const VERSION: u32 = 1;

/// Why a note cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    /// Another version of the program wrote it.
    #[error("it is of version {0}, and this program knows {VERSION}")]
    Version(u32),
    /// It is none.
    #[error("it is damaged")]
    Damaged(#[from] serde_json::Error),
}

/// Reads a note, its version first: another one may say anything.
pub(super) fn read(bytes: &[u8]) -> Result<Note, Unreadable> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    match serde_json::from_slice::<Versioned>(bytes)? {
        Versioned { version: VERSION } => Ok(serde_json::from_slice(bytes)?),
        Versioned { version } => Err(Unreadable::Version(version)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_of_another_version_is_told_from_a_damaged_one() {
        let newer = br#"{"version":2,"state":"resting"}"#;
        assert!(matches!(read(newer), Err(Unreadable::Version(2))));
        for bytes in [&b""[..], b"{", b"[]", br#"{"version":1}"#] {
            assert!(matches!(read(bytes), Err(Unreadable::Damaged(_))), "{bytes:?}");
        }
    }

    #[test]
    fn a_jobs_id_has_one_spelling() {
        let id = JobId { node: "node-1".parse().unwrap(), number: Uuid::from_u128(7) };
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in ["", "node-1", "node-1.", ".7", "node-1.7", &id.to_string().to_uppercase()] {
            assert_eq!(text.parse::<JobId>(), Err(InvalidJobId), "{text}");
        }
    }
}
