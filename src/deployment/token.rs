//! The operator token: what opens a node's operator listener.
//!
//! The file `operator-token` (0600) holds 32 random bytes as base64url without padding, 43
//! characters, and a newline. It is of this node alone and may be deleted: the next start makes
//! another.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::error::DeploymentError;
use super::file::{self, io_error};

/// The file's name in the data folder.
pub const OPERATOR_TOKEN_FILE: &str = "operator-token";

/// Characters of a token: 32 bytes in base64url.
const TOKEN_CHARS: usize = 43;

/// What an operator's call carries as its bearer token. Wiped when dropped.
#[derive(Clone)]
pub struct OperatorToken(Zeroizing<String>);

impl OperatorToken {
    /// The token as it is sent.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `presented` is this token, in a time that does not say how much of it is right.
    pub fn matches(&self, presented: &str) -> bool {
        self.0.as_bytes().ct_eq(presented.as_bytes()).into()
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes.strip_suffix(b"\n").unwrap_or(bytes)).ok()?;
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        let whole = text.len() == TOKEN_CHARS && text.bytes().all(allowed);
        whole.then(|| Self(Zeroizing::new(text.to_owned())))
    }
}

impl fmt::Debug for OperatorToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OperatorToken([redacted])")
    }
}

/// The operator token of the node whose data folder this is, made now if there is none.
pub fn operator_token(folder: &Path) -> Result<OperatorToken, DeploymentError> {
    let path = folder.join(OPERATOR_TOKEN_FILE);
    if let Some(token) = read(&path)? {
        return Ok(token);
    }
    make(folder, &path)?;
    // Read back: if two processes made one at once, both go on with the one that stayed.
    read(&path)?.ok_or_else(|| io_error("read", &path)(io::ErrorKind::NotFound.into()))
}

fn read(path: &Path) -> Result<Option<OperatorToken>, DeploymentError> {
    let Some(bytes) = file::read_secret(path, TOKEN_CHARS + 1)? else { return Ok(None) };
    let token = OperatorToken::parse(&bytes);
    token.map(Some).ok_or_else(|| DeploymentError::NotAToken { path: path.to_owned() })
}

/// Writes a token beside and gives it its name, unless another has that by now.
fn make(folder: &Path, path: &Path) -> Result<(), DeploymentError> {
    let mut random = Zeroizing::new([0_u8; 32]);
    getrandom::fill(random.as_mut_slice()).map_err(DeploymentError::Randomness)?;
    let mut text = Zeroizing::new(String::with_capacity(TOKEN_CHARS + 1));
    URL_SAFE_NO_PAD.encode_string(random.as_slice(), &mut text);
    text.push('\n');

    let beside = folder.join(format!(".{OPERATOR_TOKEN_FILE}.{}", std::process::id()));
    // One that a killed process of this id left.
    let _ = fs::remove_file(&beside);
    file::write_new(&beside, text.as_bytes())?;
    // A link refuses to replace what is there; a rename would not.
    let linked = fs::hard_link(&beside, path);
    fs::remove_file(&beside).map_err(io_error("remove", &beside))?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(io_error("make the file", path)(error))
        }
        _ => file::sync_folder(folder),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn token_file(folder: &Path) -> std::path::PathBuf {
        folder.join(OPERATOR_TOKEN_FILE)
    }

    #[test]
    fn the_first_start_makes_a_token_and_the_next_one_finds_it() {
        let folder = tempfile::tempdir().unwrap();
        let first = operator_token(folder.path()).unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(first.expose()).unwrap();
        assert_eq!(bytes.len(), 32);
        let next = operator_token(folder.path()).unwrap();
        assert_eq!(next.expose(), first.expose());
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "something is left beside the token");
    }

    #[test]
    fn only_the_owner_may_read_the_token() {
        let folder = tempfile::tempdir().unwrap();
        operator_token(folder.path()).unwrap();
        let file = token_file(folder.path());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let refused = operator_token(folder.path()).unwrap_err();
        assert!(matches!(refused, DeploymentError::Exposed { mode: 0o640, .. }));
    }

    #[test]
    fn two_nodes_have_different_tokens() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [one, other] = folders.each_ref().map(|at| operator_token(at.path()).unwrap());
        assert!(!one.matches(other.expose()));
    }

    #[test]
    fn a_token_that_is_there_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let first = operator_token(folder.path()).unwrap();
        make(folder.path(), &token_file(folder.path())).unwrap();
        assert!(operator_token(folder.path()).unwrap().matches(first.expose()));
    }

    #[test]
    fn anything_else_in_the_file_is_refused_not_taken_for_a_weak_token() {
        let folder = tempfile::tempdir().unwrap();
        let file = token_file(folder.path());
        operator_token(folder.path()).unwrap();
        for wrong in ["", "\n", "secret", &"a".repeat(42), &"a".repeat(44), &"=".repeat(43)] {
            fs::write(&file, wrong).unwrap();
            let refused = operator_token(folder.path()).unwrap_err();
            assert!(matches!(refused, DeploymentError::NotAToken { .. }), "{wrong:?} was taken");
        }
    }

    #[test]
    fn only_the_whole_token_matches() {
        let folder = tempfile::tempdir().unwrap();
        let token = operator_token(folder.path()).unwrap();
        let text = token.expose();
        assert!(token.matches(text));
        for wrong in ["", &text[1..], &text[..42], &format!("{text} ")] {
            assert!(!token.matches(wrong));
        }
        assert_eq!(format!("{token:?}"), "OperatorToken([redacted])");
    }
}
