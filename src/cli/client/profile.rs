//! Where a company's command line finds the node, its API key and what it signs with: the
//! environment, else a file that only its owner may read.
//!
//! ```json
//! { "url": "https://auth.example.com", "company": "shop", "audience": "jcas:retail",
//!   "api_key": "jcas_..", "signing_key": ".." }
//! ```
//!
//! Any member may be left out. `signing_key` is the secret that `jcas key issue` printed, or a
//! private JWK as text.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Longest profile that is read, in bytes.
const BYTES_MAX: u64 = 64 * 1024;

/// What calls are made with.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::cli) struct Profile {
    /// Where JCAS is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) url: Option<String>,
    /// The company's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) company: Option<String>,
    /// Whom signed calls are meant for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) audience: Option<String>,
    /// The API key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) api_key: Option<Zeroizing<String>>,
    /// What calls are signed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) signing_key: Option<Zeroizing<String>>,
}

impl Profile {
    /// The profile in a file, or in the usual one if that is there.
    pub(super) fn read(file: Option<&Path>) -> anyhow::Result<Self> {
        let usual = file.is_none().then(usual_file).flatten();
        let Some(path) = file.or(usual.as_deref()) else { return Ok(Self::default()) };
        let opened = match File::open(path) {
            Err(error) if file.is_none() && error.kind() == ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            opened => opened.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let mode = opened.metadata()?.permissions().mode();
        if mode & 0o077 != 0 {
            bail!("{} is open to other users: chmod 600 it first", path.display());
        }
        let mut text = Zeroizing::new(Vec::new());
        opened.take(BYTES_MAX).read_to_end(&mut text)?;
        // Without serde's words, which quote what is there.
        let read = serde_json::from_slice(&text).ok();
        read.with_context(|| format!("{} is no profile", path.display()))
    }

    /// Writes a new file that only its owner may read.
    pub(in crate::cli) fn write_new(&self, path: &Path) -> anyhow::Result<()> {
        let context = || format!("cannot make {}", path.display());
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(path).with_context(context)?;
        let mut text = Zeroizing::new(serde_json::to_vec_pretty(self)?);
        text.push(b'\n');
        file.write_all(&text).and_then(|()| file.sync_all()).with_context(context)
    }
}

/// `$XDG_CONFIG_HOME/jcas/profile.json`, or below `~/.config`.
fn usual_file() -> Option<PathBuf> {
    let folder = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let folder = folder.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".config")));
    Some(folder?.join("jcas").join("profile.json"))
}
