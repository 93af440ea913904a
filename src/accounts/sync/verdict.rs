//! What became of rows: a verdict each, and how many of which.

use serde::{Deserialize, Serialize};

use crate::events::ids::UserId;

use super::row::{Fault, REF_BYTES_MAX};

/// Most bytes that a verdict takes on the disk beside the row's own `ref`.
const BYTES_MAX: u64 = 400;

/// Most bytes that the verdict on a row takes on the disk. A `ref` is no longer than its row, and a
/// character of it is written with six at most, where it is one that rows write with a backslash.
pub(super) fn bytes_max(row: &[u8]) -> u64 {
    let escapes = row.split(|byte| *byte == b'\\').skip(1).count().min(REF_BYTES_MAX);
    let reference = row.len().min(REF_BYTES_MAX).saturating_add(5 * escapes);
    BYTES_MAX + reference as u64
}

/// Most bytes that the verdicts on so many rows take, of which nothing else is known.
pub(super) fn bytes_max_of(rows: u32) -> u64 {
    u64::from(rows) * (BYTES_MAX + REF_BYTES_MAX as u64)
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It made a user.
    Created,
    /// It changed its user.
    Applied,
    /// All of it was so already.
    Unchanged,
    /// Something newer stands.
    Older,
    /// It attached to a user that other companies know, who is the company's customer now.
    Linked,
    /// It contradicts another row, or another user has its identity. Nothing of it was applied.
    Conflict,
    /// It cannot be taken. Nothing of it was applied.
    Invalid,
}

/// All of them, in the order they are counted in.
pub const VERDICTS: [Verdict; 7] = [
    Verdict::Created,
    Verdict::Applied,
    Verdict::Unchanged,
    Verdict::Older,
    Verdict::Linked,
    Verdict::Conflict,
    Verdict::Invalid,
];

impl Verdict {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Older => "older",
            Self::Linked => "linked",
            Self::Conflict => "conflict",
            Self::Invalid => "invalid",
        }
    }

    /// The verdict of a word.
    pub fn parse(word: &str) -> Option<Self> {
        VERDICTS.into_iter().find(|verdict| verdict.as_str() == word)
    }

    /// A bit of its own, by which blocks are passed over that have none of it.
    pub(super) const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// How many rows came to which verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// See [`Verdict`].
    pub created: u64,
    /// See [`Verdict`].
    pub applied: u64,
    /// See [`Verdict`].
    pub unchanged: u64,
    /// See [`Verdict`].
    pub older: u64,
    /// See [`Verdict`].
    pub linked: u64,
    /// See [`Verdict`].
    pub conflict: u64,
    /// See [`Verdict`].
    pub invalid: u64,
}

impl Counts {
    /// Counts one more.
    pub(super) const fn add(&mut self, verdict: Verdict) {
        *self.of_mut(verdict) += 1;
    }

    const fn of_mut(&mut self, verdict: Verdict) -> &mut u64 {
        match verdict {
            Verdict::Created => &mut self.created,
            Verdict::Applied => &mut self.applied,
            Verdict::Unchanged => &mut self.unchanged,
            Verdict::Older => &mut self.older,
            Verdict::Linked => &mut self.linked,
            Verdict::Conflict => &mut self.conflict,
            Verdict::Invalid => &mut self.invalid,
        }
    }

    /// How many of one verdict.
    pub const fn of(mut self, verdict: Verdict) -> u64 {
        *self.of_mut(verdict)
    }
}

/// A row's verdict, as it is kept and listed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Judged {
    pub(super) line: u32,
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub(super) reference: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) user_id: Option<UserId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) revision: Option<String>,
    pub(super) verdict: Verdict,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) field: Option<String>,
}

/// What a row came to, before it is known which line it was.
#[derive(Debug, Clone)]
pub(super) struct Came {
    pub(super) verdict: Verdict,
    pub(super) user: Option<UserId>,
    pub(super) revision: Option<String>,
    pub(super) fault: Option<Fault>,
}

impl Came {
    /// A row that was not taken.
    pub(super) const fn refused(verdict: Verdict, fault: Fault) -> Self {
        Self { verdict, user: None, revision: None, fault: Some(fault) }
    }

    /// The verdict on a line.
    pub(super) fn on(&self, line: u32, reference: Option<String>) -> Judged {
        Judged {
            line,
            reference,
            user_id: self.user,
            revision: self.revision.clone(),
            verdict: self.verdict,
            code: self.fault.as_ref().map(|fault| fault.code.to_owned()),
            field: self.fault.as_ref().and_then(|fault| fault.field.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_verdict_takes_more_than_is_kept_free_for_it() {
        let longest = "changed_at_in_future_and_more";
        for text in ["\u{1}".repeat(256), "\"".repeat(256), "é".repeat(128), String::new()] {
            let row = serde_json::to_vec(&serde_json::json!({ "ref": text })).unwrap();
            let judged = Judged {
                line: u32::MAX,
                reference: Some(text),
                user_id: Some(UserId::from_bytes([0xff; 16])),
                revision: Some(format!("{}-{:08x}", "f".repeat(32), u32::MAX)),
                verdict: Verdict::Unchanged,
                code: Some(longest.to_owned()),
                field: Some("x".repeat(104)),
            };
            let kept = serde_json::to_vec(&judged).unwrap().len() as u64 + 1;
            // It may be in a block of its own, with a head and what sealing adds.
            assert!(kept + 80 <= bytes_max(&row), "{kept} bytes");
        }
    }
}
