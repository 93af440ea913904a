//! Keys and who keeps them.

use serde::Deserialize;

use super::fault::Review;

/// Who keeps the master key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KmsKind {
    /// A key pair in a file of the data folder, readable by its owner only.
    Local,
}

/// Section `keys`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysConfig {
    /// Who keeps the master key.
    pub kms: KmsKind,
    /// Opened user keys kept in memory, 0 to 10 000 000.
    pub user_key_cache_entries: usize,
    /// Days until a node makes a new branch key, 1 to 366.
    pub branch_key_days: u32,
    /// The number of the key that answers are signed with, 1 to 1 000 000.
    pub answer_key: u32,
}

impl KeysConfig {
    pub(super) fn validate(&self, review: &mut Review<'_>) {
        review.within(
            "keys.user_key_cache_entries",
            self.user_key_cache_entries,
            &(0..=10_000_000),
            "keys",
        );
        review.within("keys.branch_key_days", self.branch_key_days, &(1..=366), "days");
        review.within("keys.answer_key", self.answer_key, &(1..=1_000_000), "");
    }
}
