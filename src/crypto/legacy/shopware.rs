//! Shopware 4 and 5, and their hashes in Shopware 6 (`legacy_encoder`).
//!
//! ```text
//! shopware-md5      hex:salt or hex          md5(p . salt)
//! shopware-sha256   iterations:salt:hex      h = ''; iterations + 1 times
//!                                            h = hex(SHA256(h . p . salt))
//! ```
//!
//! Source: shopware5/shopware `engine/Shopware/Components/Password/Encoder`. Its encoder
//! `StripTags` is bcrypt under a profile with `"pre_transform": "strip_tags"`.

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::encoding::decimal;
use super::hashes::{Algorithm, Chain};
use super::salted::{Salted, from_hex, hex_and_salt};
use super::{HashRejected, Parsed, Scheme, Stored, cost};

/// The scheme `shopware-md5`; no parameters.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ShopwareMd5 {}

/// The scheme `shopware-sha256`; no parameters.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ShopwareSha256 {}

/// A hash of the scheme `shopware-sha256`.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub(super) struct Iterated {
    /// Beside the first one.
    rounds: u32,
    salt: Vec<u8>,
    digest: Vec<u8>,
}

impl Scheme for ShopwareMd5 {
    type Hash = Salted;

    fn parse(&self, stored: Stored<'_>) -> Result<Salted, HashRejected> {
        let (digest, salt) = hex_and_salt(stored.without_salt()?)?;
        Salted::suffixed(Algorithm::Md5, digest, salt.as_bytes())
    }
}

impl Scheme for ShopwareSha256 {
    type Hash = Iterated;

    fn parse(&self, stored: Stored<'_>) -> Result<Iterated, HashRejected> {
        let malformed = || HashRejected::UnsupportedHash;
        let (rounds, rest) = stored.without_salt()?.split_once(':').ok_or_else(malformed)?;
        let (salt, digest) = rest.rsplit_once(':').ok_or_else(malformed)?;
        let digest = from_hex(digest)?;
        let whole = digest.len() == Algorithm::Sha256.output_bytes();
        let asked = decimal(rounds).filter(|_| whole).ok_or_else(malformed)?;
        Ok(Iterated { rounds: cost::rounds(asked)?, salt: salt.as_bytes().to_vec(), digest })
    }
}

impl Parsed for Iterated {
    fn verify(&self, password: &[u8]) -> bool {
        let message = Zeroizing::new([password, &self.salt].concat());
        let first = Algorithm::Sha256.digest(&[&message]);
        let digest = Algorithm::Sha256.iterate(first, self.rounds, Chain::Hex, &message);
        digest.ct_eq(&self.digest).into()
    }

    fn cost(&self, password_bytes: usize) -> u32 {
        let bytes = 64 + password_bytes + self.salt.len();
        cost::digests(Algorithm::Sha256, self.rounds.saturating_add(1), bytes)
    }
}
