//! How a report is told to programs: places and readings as people write them, since most programs
//! round numbers that are so long.

use serde::{Serialize, Serializer};

use crate::events::ids::Digest;
use crate::events::record::LogPosition;
use crate::events::stamp::Revision;

use super::chain::Vector;

#[derive(Serialize)]
struct Place {
    segment: u32,
    offset: u32,
}

#[derive(Serialize)]
struct Last<'a> {
    origin: String,
    sequence: u64,
    head: &'a Digest,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde lends what it writes")]
pub(super) fn position<S: Serializer>(at: &LogPosition, to: S) -> Result<S::Ok, S::Error> {
    Place { segment: at.segment(), offset: at.offset() }.serialize(to)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde lends what it writes")]
pub(super) fn revision<S: Serializer>(at: &Revision, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(at)
}

pub(super) fn vector<S: Serializer>(of: &Vector, to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(of.iter().map(|(origin, end)| {
        let (origin, sequence) = (origin.to_string(), end.sequence);
        Last { origin, sequence, head: &end.head }
    }))
}
