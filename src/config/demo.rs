//! `jcas demo`.

use std::path::PathBuf;

use serde::Deserialize;

use super::fault::Review;

/// Section `demo`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DemoConfig {
    /// The demo's own data folder; a relative path starts at the working directory. Not empty.
    pub data_dir: PathBuf,
}

impl DemoConfig {
    pub(super) fn validate(&self, review: &mut Review<'_>) {
        if self.data_dir.as_os_str().is_empty() {
            review.refuse("demo.data_dir", "it is empty", "the path of a folder");
        }
    }
}
