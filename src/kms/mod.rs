//! The key management service: wraps a branch key for any region, opens it in one's own.
//!
//! A branch key leaves a node only in this form, once for every region of the deployment. What a
//! wrapping was made for (deployment, purpose, key) is bound into it as its encryption context: it
//! opens with the same context or not at all.
//!
//! | file | holds |
//! |---|---|
//! | `local` | regions as X25519 key pairs, wrappings by HPKE: no service to ask |
//! | `aws` | AWS KMS, a client and a key a region (cargo feature `aws`) |
//! | `guard` | deadlines, counts, and pauses for a service that is silent |
//!
//! ```text
//!   branch key + context --wrap(region)--> wrapped key --(log, replication)--> unwrap + context
//! ```
//!
//! It must never know what the keys open, keep a key, or decide what to do when one does not open.

#[cfg(feature = "aws")]
pub mod aws;
pub mod guard;
pub mod local;

use std::error::Error;
use std::fmt;
use std::pin::Pin;

use zeroize::Zeroizing;

use crate::events::ids::{BranchKeyId, DeploymentId, RegionId};

/// Bytes of a key that is wrapped.
pub const KEY_BYTES: usize = 32;

/// What a KMS promises to answer. Boxed, so that one `dyn Kms` serves every backend.
pub type KmsFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, KmsError>> + Send + 'a>>;

/// A key management service as one region reaches it.
///
/// A backend that asks over a network sets its own deadline and answers
/// [`KmsError::Unavailable`] when that has passed: no call stays open for ever.
pub trait Kms: Send + Sync {
    /// The region whose wrappings are opened here.
    fn region(&self) -> RegionId;

    /// Wraps `key` so that only `region` can open it, and only with an equal context. Two wrappings
    /// of one key differ.
    fn wrap_key<'a>(
        &'a self,
        region: RegionId,
        key: &'a KeyMaterial,
        context: &'a EncryptionContext,
    ) -> KmsFuture<'a, Box<[u8]>>;

    /// Opens what was wrapped for this region with an equal context.
    ///
    /// That it opens says that someone who knows this region's public half wrapped it, not who. The
    /// caller compares the key with the id it has for it.
    fn unwrap_key<'a>(
        &'a self,
        wrapped: &'a [u8],
        context: &'a EncryptionContext,
    ) -> KmsFuture<'a, KeyMaterial>;

    /// What a wrapping for this region shows. Asks nobody.
    fn sight(&self, wrapped: &[u8], context: &EncryptionContext) -> Sight;
}

/// What a wrapping shows without anybody being asked.
#[derive(Debug)]
pub enum Sight {
    /// It is not by the master key that wraps now.
    Former,
    /// It says that it is by the master key that wraps now. Whether it opens, only the KMS knows.
    Named,
    /// The master key that wraps now opens it, to this.
    Opens(KeyMaterial),
}

/// Why a key was not wrapped or unwrapped. The kind says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum KmsError {
    /// There was no answer in time, or none that settles it. To be asked again later.
    #[error("the KMS of region {region} cannot be asked now; it is asked again later")]
    Unavailable {
        /// Whose KMS.
        region: RegionId,
        /// What went wrong.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The KMS was asked and said no: rights, a disabled key, a key it cannot use. Asking again
    /// changes nothing until an operator does.
    #[error("the KMS of region {region} refused; check the region's key and the rights on it")]
    Refused {
        /// Whose KMS.
        region: RegionId,
        /// Its reason.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// No key of that region is known here.
    #[error(
        "no wrapping key of region {0} is known here; add the region to this node's deployment"
    )]
    NoSuchRegion(RegionId),
    /// The wrapping does not open: damaged, for another region, of another context, or of a newer
    /// version. One error for all of them, since telling them apart would help a forger. To its
    /// reader it is a hole, to be filled from another region.
    #[error("the wrapped key does not open for this region and context")]
    Malformed,
}

impl KmsError {
    /// What went wrong, with what caused it.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

/// What a wrapping is bound to. The region it is for is bound in beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncryptionContext {
    /// The deployment the key is of.
    pub deployment: DeploymentId,
    /// What the key is for.
    pub purpose: Purpose,
    /// The key's name.
    pub key: BranchKeyId,
}

/// What a wrapped key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Wraps user keys.
    BranchKey,
}

impl Purpose {
    /// The number bound into wrappings. Never changes.
    pub const fn number(self) -> u8 {
        match self {
            Self::BranchKey => 1,
        }
    }

    /// The word bound into wrappings where a backend takes text. Never changes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BranchKey => "branch-key",
        }
    }
}

/// A key in clear: what goes into a wrapping and comes out of one. Wiped when dropped.
#[derive(Clone)]
pub struct KeyMaterial(Zeroizing<[u8; KEY_BYTES]>);

impl KeyMaterial {
    /// The key with these bytes; the caller wipes its own copy.
    pub fn new(bytes: &[u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(*bytes))
    }

    /// The bytes of the key.
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyMaterial([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_never_shows_in_debug() {
        let shown = format!("{:?}", KeyMaterial::new(&[0xab; KEY_BYTES]));
        assert_eq!(shown, "KeyMaterial([redacted])");
    }

    #[test]
    fn a_backend_fits_behind_a_shared_dyn_reference() {
        fn shareable<T: Send + Sync + ?Sized>() {}
        shareable::<dyn Kms>();
        shareable::<KmsError>();
    }
}
