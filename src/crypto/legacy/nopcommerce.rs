//! nopCommerce: `H(p . salt)` in hex, upper case, the salt in its own column as the text it is.
//!
//! Source: nopSolutions/nopCommerce `src/Libraries/Nop.Services/Security/EncryptionService.cs`. The
//! digest is the shop's setting: SHA-1 once, SHA-512 now. Without one in the profile, a hash's
//! length says it.

use serde::{Deserialize, Serialize};

use super::hashes::Algorithm;
use super::salted::{Salted, from_hex};
use super::{HashRejected, Scheme, Stored};

/// The scheme `nopcommerce` and its parameter.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Nopcommerce {
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Algorithm>,
}

impl Scheme for Nopcommerce {
    type Hash = Salted;

    fn parse(&self, stored: Stored<'_>) -> Result<Salted, HashRejected> {
        let digest = from_hex(stored.hash)?;
        let algorithm = self.digest.or(Algorithm::of_output_bytes(digest.len()));
        let algorithm = algorithm
            .filter(|algorithm| algorithm.output_bytes() == digest.len())
            .ok_or(HashRejected::UnsupportedHash)?;
        let salt = stored.salt.ok_or(HashRejected::SaltRequired)?;
        Salted::suffixed(algorithm, digest, salt.as_bytes())
    }
}
