//! osCommerce 2.2 and Zen Cart: `md5(salt . p):salt`, with a salt of two characters.
//!
//! Source: osCommerce/oscommerce2 `catalog/includes/functions/password_funcs.php`. Newer rows are
//! phpass.

use serde::{Deserialize, Serialize};

use super::hashes::Algorithm;
use super::salted::{Salted, hex_and_salt};
use super::{HashRejected, Scheme, Stored};

/// The scheme `oscommerce`; no parameters.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Oscommerce {}

impl Scheme for Oscommerce {
    type Hash = Salted;

    fn parse(&self, stored: Stored<'_>) -> Result<Salted, HashRejected> {
        let text = stored.without_salt()?;
        // Without a salt it is another shop's hash.
        if !text.contains(':') {
            return Err(HashRejected::UnsupportedHash);
        }
        let (digest, salt) = hex_and_salt(text)?;
        Salted::prefixed(Algorithm::Md5, digest, salt.as_bytes())
    }
}
