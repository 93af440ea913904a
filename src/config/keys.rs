//! Keys and who keeps them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Deserialize;

use crate::events::ids::RegionId;

use super::fault::Review;

/// Most regions.
const REGIONS_MAX: usize = 64;

/// Who keeps the master key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KmsKind {
    /// A key pair in a file of the data folder, readable by its owner only.
    Local,
    /// AWS KMS, where the program was built with it.
    Aws,
}

/// Section `keys`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysConfig {
    /// Who keeps the master key.
    pub kms: KmsKind,
    /// How long the KMS may take over one call, in milliseconds, 100 to 60000.
    pub kms_deadline_ms: u64,
    /// How often one call is tried, 1 to 10.
    pub kms_attempts: u32,
    /// How long a silent KMS is left alone at first, in seconds, 1 to 3600.
    pub kms_pause_s: u64,
    /// How long at most, in seconds, 1 to 3600.
    pub kms_pause_max_s: u64,
    /// Opened user keys kept in memory, 0 to 10 000 000.
    pub user_key_cache_entries: usize,
    /// Days until a node makes a new branch key, 1 to 366.
    pub branch_key_days: u32,
    /// Minutes after which the KMS is asked again for a branch key in memory, 1 to 10080.
    pub branch_key_minutes: u64,
    /// How often holes are looked for, in seconds, 1 to 3600.
    pub keeper_s: u64,
    /// Holes filled in a minute at most, 1 to 10000.
    pub fills_per_minute: usize,
    /// The number of the key that answers are signed with, 1 to 1 000 000.
    pub answer_key: u32,
    /// Master keys in AWS KMS.
    pub aws: AwsConfig,
}

/// Section `keys.aws`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AwsConfig {
    /// Each region's key.
    pub regions: Vec<AwsRegion>,
    /// A file with credentials. Empty: those of the environment, else of the role it names.
    pub credentials_file: PathBuf,
    /// Whether the role of the instance is asked for where nothing else is named.
    pub instance_role: bool,
    /// Which certificates are trusted, PEM. Empty: the well-known ones.
    pub ca_file: PathBuf,
}

/// One region's key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AwsRegion {
    /// The region of JCAS.
    pub region: RegionId,
    /// The key's id or ARN.
    pub key: String,
    /// The region of AWS.
    pub aws_region: String,
    /// Where to ask, if not where AWS has it.
    pub endpoint: Option<String>,
    /// Keys it had before.
    #[serde(default)]
    pub former: Vec<String>,
}

impl KeysConfig {
    pub(super) fn validate(&self, review: &mut Review<'_>) {
        review.within(
            "keys.user_key_cache_entries",
            self.user_key_cache_entries,
            &(0..=10_000_000),
            "keys",
        );
        review.within("keys.kms_deadline_ms", self.kms_deadline_ms, &(100..=60_000), "ms");
        review.within("keys.kms_attempts", self.kms_attempts, &(1..=10), "");
        review.within("keys.kms_pause_s", self.kms_pause_s, &(1..=3600), "s");
        review.within("keys.kms_pause_max_s", self.kms_pause_max_s, &(1..=3600), "s");
        review.within("keys.branch_key_days", self.branch_key_days, &(1..=366), "days");
        let minutes = self.branch_key_minutes;
        review.within("keys.branch_key_minutes", minutes, &(1..=10_080), "minutes");
        review.within("keys.keeper_s", self.keeper_s, &(1..=3600), "s");
        review.within("keys.fills_per_minute", self.fills_per_minute, &(1..=10_000), "");
        review.within("keys.answer_key", self.answer_key, &(1..=1_000_000), "");
        let pauses = ["keys.kms_pause_s", "keys.kms_pause_max_s"];
        if self.kms_pause_max_s < self.kms_pause_s && pauses.iter().all(|it| review.is_sound(it)) {
            let allowed = format!("at least keys.kms_pause_s, which is {}", self.kms_pause_s);
            let problem = format!("found {}", self.kms_pause_max_s);
            review.refuse("keys.kms_pause_max_s", problem, allowed);
        }
        if self.kms == KmsKind::Aws && cfg!(not(feature = "aws")) {
            let problem = "this program was built without the cargo feature aws";
            review.refuse("keys.kms", problem, "local");
        }
        self.aws.validate(self.kms, review);
    }
}

impl AwsConfig {
    fn validate(&self, kms: KmsKind, review: &mut Review<'_>) {
        let count = self.regions.len();
        if count > REGIONS_MAX {
            let allowed = format!("at most {REGIONS_MAX}");
            review.refuse("keys.aws.regions", format!("found {count}"), allowed);
        }
        if kms == KmsKind::Aws && count == 0 {
            review.refuse("keys.aws.regions", "no region has a key", "each region's key");
        }
        let mut regions = BTreeSet::new();
        for (position, entry) in self.regions.iter().enumerate() {
            let path = |key: &str| format!("keys.aws.regions.{position}.{key}");
            if !regions.insert(entry.region) {
                let problem = format!("{} has a key already", entry.region);
                review.refuse(&path("region"), problem, "each region once");
            }
            for (name, keys) in
                [("key", std::slice::from_ref(&entry.key)), ("former", entry.former.as_slice())]
            {
                if keys.iter().any(|key| key.is_empty() || key.contains("alias/")) {
                    review.refuse(&path(name), "it names no key", "the id or ARN of a key");
                }
            }
            if entry.aws_region.is_empty() {
                review.refuse(&path("aws_region"), "it is empty", "such as eu-central-1");
            }
            let spoken = |url: &String| url.starts_with("http://") || url.starts_with("https://");
            if entry.endpoint.as_ref().is_some_and(|url| !spoken(url)) {
                review.refuse(&path("endpoint"), "it is no URL", "https://HOST:PORT");
            }
        }
    }
}
