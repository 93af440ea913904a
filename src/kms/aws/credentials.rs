//! Who this node is to the KMS: a file as AWS's own tools write it, or the environment.
//!
//! ```text
//! [default]
//! aws_access_key_id = AKIA..
//! aws_secret_access_key = ..
//! aws_session_token = ..          where the credentials are temporary
//! ```
//!
//! Only the part `default` counts, or what stands before any part: also what `aws configure
//! export-credentials --format env-no-export` prints. It is read anew for every call, so that
//! whoever renews temporary credentials only writes the file.

use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future;
use aws_sdk_kms::config::{Credentials, ProvideCredentials};
use zeroize::Zeroizing;

/// Larger is not such a file.
const BYTES_MAX: u64 = 64 << 10;

/// Where credentials come from.
#[derive(Clone)]
pub(super) struct KeyFile(Option<PathBuf>);

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyFile([redacted])")
    }
}

impl KeyFile {
    /// Those of a file; where there is none, of the environment.
    pub(super) const fn new(path: Option<PathBuf>) -> Self {
        Self(path)
    }

    /// Whether somebody gave credentials, or said where they will be.
    pub(super) fn is_named(&self) -> bool {
        self.0.is_some() || from_environment().is_some()
    }

    fn credentials(&self) -> Result<Credentials, String> {
        let Some(path) = &self.0 else {
            let unset = "neither keys.aws.credentials_file is set nor AWS_ACCESS_KEY_ID and \
                         AWS_SECRET_ACCESS_KEY, and no role is named";
            return from_environment().ok_or_else(|| unset.to_owned());
        };
        let wrong = |problem| format!("{}: {problem}", path.display());
        let lacking = || wrong("aws_access_key_id or aws_secret_access_key is missing".to_owned());
        parse(&read(path).map_err(wrong)?).ok_or_else(lacking)
    }
}

impl ProvideCredentials for KeyFile {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let found = self.credentials().map_err(CredentialsError::not_loaded);
        future::ProvideCredentials::ready(found)
    }
}

/// The file's text, where nobody else may read it.
fn read(path: &Path) -> Result<Zeroizing<String>, String> {
    let cannot = |error: std::io::Error| format!("it cannot be read: {error}");
    let about = std::fs::metadata(path).map_err(cannot)?;
    if about.permissions().mode() & 0o077 != 0 {
        return Err("others may read or change it: its mode must be 600".to_owned());
    }
    if about.len() > BYTES_MAX {
        return Err("it is too large".to_owned());
    }
    std::fs::read_to_string(path).map(Zeroizing::new).map_err(cannot)
}

fn parse(text: &str) -> Option<Credentials> {
    let mut ours = true;
    let mut lines = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            ours = line == "[default]";
        } else if ours && let Some((name, value)) = line.split_once('=') {
            lines.push((name.trim(), value.trim()));
        }
    }
    let named = |wanted: &str| {
        let found = lines.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| (*value).to_owned())
    };
    from(named)
}

fn from_environment() -> Option<Credentials> {
    from(|name| std::env::var(name).ok())
}

fn from(named: impl Fn(&str) -> Option<String>) -> Option<Credentials> {
    let full = |name| named(name).filter(|value| !value.is_empty());
    let (id, secret) = (full("AWS_ACCESS_KEY_ID")?, full("AWS_SECRET_ACCESS_KEY")?);
    Some(Credentials::new(id, secret, full("AWS_SESSION_TOKEN"), None, "jcas"))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    #[test]
    fn the_part_named_default_counts() {
        let text = "[other]\naws_access_key_id = no\n\n[default]\naws_access_key_id = id\n\
                    aws_secret_access_key=secret\naws_session_token = token\n[x]\nq = 1\n";
        let found = parse(text).unwrap();
        assert_eq!((found.access_key_id(), found.secret_access_key()), ("id", "secret"));
        assert_eq!(found.session_token(), Some("token"));
        assert!(parse("aws_access_key_id = id\naws_secret_access_key = s").is_some());
        assert!(parse("[default]\naws_access_key_id = id\n").is_none());
    }

    #[test]
    fn what_the_aws_program_prints_is_read_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        let file = KeyFile::new(Some(path.clone()));
        for token in ["first==", "second=="] {
            let new = folder.path().join("new");
            let printed = format!(
                "AWS_ACCESS_KEY_ID=ASIA\nAWS_SECRET_ACCESS_KEY=a/b+c=\n\
                 AWS_SESSION_TOKEN={token}\nAWS_CREDENTIAL_EXPIRATION=2026-01-01T00:00:00+00:00\n"
            );
            std::fs::write(&new, printed).unwrap();
            std::fs::set_permissions(&new, Permissions::from_mode(0o600)).unwrap();
            std::fs::rename(&new, &path).unwrap();
            let found = file.credentials().unwrap();
            assert_eq!((found.access_key_id(), found.secret_access_key()), ("ASIA", "a/b+c="));
            assert_eq!(found.session_token(), Some(token));
        }
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_and_nothing_of_it_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        std::fs::write(&path, "aws_access_key_id = id\naws_secret_access_key = geheim").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let file = KeyFile::new(Some(path.clone()));
        let refused = file.credentials().unwrap_err();
        assert!(refused.contains("mode must be 600") && !refused.contains("geheim"), "{refused}");
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(file.credentials().unwrap().secret_access_key(), "geheim");
        assert!(!format!("{file:?}").contains("geheim"));
        std::fs::remove_file(&path).unwrap();
        assert!(file.credentials().unwrap_err().contains("cannot be read"));
    }
}
