//! Joomla and `VirtueMart`: `md5hex:salt` before 3.2, `{SHA256}hex:salt` for a while. The salt goes
//! after the password; MD5 may lack it.
//!
//! Source: joomla/joomla-cms `libraries/src/User/UserHelper.php`, `verifyPassword`. Newer rows in
//! the same column describe themselves.

use serde::{Deserialize, Serialize};

use super::hashes::Algorithm;
use super::salted::{Salted, hex_and_salt};
use super::{HashRejected, Scheme, Stored};

const SHA256: &str = "{SHA256}";

/// The scheme `joomla-md5`; no parameters.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JoomlaMd5 {}

/// The scheme `joomla-sha256`; no parameters.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JoomlaSha256 {}

impl Scheme for JoomlaMd5 {
    type Hash = Salted;

    fn parse(&self, stored: Stored<'_>) -> Result<Salted, HashRejected> {
        let (digest, salt) = hex_and_salt(stored.without_salt()?)?;
        Salted::suffixed(Algorithm::Md5, digest, salt.as_bytes())
    }
}

impl Scheme for JoomlaSha256 {
    type Hash = Salted;

    /// A directory's `{SHA256}` has base 64, which knows no colon.
    fn recognises(hash: &str) -> bool {
        hash.starts_with(SHA256) && hash.contains(':')
    }

    fn parse(&self, stored: Stored<'_>) -> Result<Salted, HashRejected> {
        let rest = stored.without_salt()?.strip_prefix(SHA256);
        let (digest, salt) = hex_and_salt(rest.ok_or(HashRejected::UnsupportedHash)?)?;
        Salted::suffixed(Algorithm::Sha256, digest, salt.as_bytes())
    }
}
