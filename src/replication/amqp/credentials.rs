//! Who this node is at each broker: a file that only its owner may read.
//!
//! ```text
//! eu jcas-eu-node-1 the-password
//! us jcas-eu-node-1 the-other-password
//! ```
//!
//! Lines that are empty or begin with `#` count for nothing.

use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::events::ids::RegionId;

use super::trouble::AmqpError;

/// Larger is not such a file.
const BYTES_MAX: u64 = 64 << 10;

/// Where credentials come from.
#[derive(Debug, Clone)]
pub(super) struct CredentialsFile(Option<PathBuf>);

/// A user of a broker.
pub(super) struct User {
    pub(super) name: String,
    pub(super) password: Zeroizing<String>,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("User([redacted])")
    }
}

impl CredentialsFile {
    /// The file at `path`; none, where the path is empty.
    pub(super) fn new(path: &Path) -> Self {
        Self((!path.as_os_str().is_empty()).then(|| path.to_owned()))
    }

    /// Who to be at the broker of `region`, as the file says now. Without a file a broker's own
    /// first user, who may come from its machine alone.
    pub(super) fn user(&self, region: RegionId) -> Result<User, AmqpError> {
        let Some(path) = &self.0 else {
            let password = Zeroizing::new("guest".to_owned());
            return Ok(User { name: "guest".to_owned(), password });
        };
        let wrong = |problem: String| AmqpError::Credentials { path: path.clone(), problem };
        let text = read(path).map_err(wrong)?;
        let mut found = None;
        for (number, line) in (1..).zip(text.lines()) {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let mut words = line.split_whitespace();
            let (Some(of), Some(name), Some(password), None) =
                (words.next(), words.next(), words.next(), words.next())
            else {
                return Err(wrong(format!("line {number} is not REGION USER PASSWORD")));
            };
            if of == region.as_str() && found.is_none() {
                let password = Zeroizing::new(password.to_owned());
                found = Some(User { name: name.to_owned(), password });
            }
        }
        found.ok_or_else(|| wrong(format!("it has no line for {region}")))
    }
}

/// The file's text, where nobody else may read it.
fn read(path: &Path) -> Result<Zeroizing<String>, String> {
    let cannot = |error: std::io::Error| format!("it cannot be read: {error}");
    let about = fs::metadata(path).map_err(cannot)?;
    if about.permissions().mode() & 0o077 != 0 {
        return Err("others may read or change it: its mode must be 600".to_owned());
    }
    if about.len() > BYTES_MAX {
        return Err("it is too large".to_owned());
    }
    fs::read_to_string(path).map(Zeroizing::new).map_err(cannot)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn user(text: &str, mode: u32, region: &str) -> Result<User, String> {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("brokers");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let user = CredentialsFile::new(&path).user(region.parse().unwrap());
        user.map_err(|error| error.to_string())
    }

    const TWO: &str = "# who we are\n\neu ann  geheim-1\nus bob geheim-2\n";

    #[test]
    fn each_region_has_its_own_user() {
        for (region, name, password) in [("eu", "ann", "geheim-1"), ("us", "bob", "geheim-2")] {
            let user = user(TWO, 0o600, region).unwrap();
            assert_eq!((user.name.as_str(), user.password.as_str()), (name, password));
        }
        let guest = CredentialsFile::new(Path::new("")).user("eu".parse().unwrap()).unwrap();
        assert_eq!((guest.name.as_str(), guest.password.as_str()), ("guest", "guest"));
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named_and_not_quoted() {
        let cases = [
            (TWO, 0o640, "eu", "mode must be 600"),
            (TWO, 0o600, "ap", "no line for ap"),
            ("eu ann\nus bob geheim-2", 0o600, "us", "line 1 is not"),
            ("eu ann geheim-1 geheim-2", 0o600, "eu", "line 1 is not"),
        ];
        for (text, mode, region, expected) in cases {
            let error = user(text, mode, region).unwrap_err();
            assert!(error.contains(expected) && error.contains("brokers:"), "{error}");
            assert!(!error.contains("geheim") && !error.contains("ann"), "{error}");
        }
    }

    #[test]
    fn a_user_is_not_printed() {
        assert_eq!(format!("{:?}", user(TWO, 0o600, "eu").unwrap()), "User([redacted])");
    }
}
