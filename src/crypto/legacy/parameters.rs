//! Types of schemes' parameters, each with the value that a profile may leave out.

use serde::{Deserialize, Serialize};

use super::InvalidProfile;
use super::hashes::Algorithm;

/// A number that is `DEFAULT` where the profile does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Count<const DEFAULT: u32>(pub(super) u32);

impl<const DEFAULT: u32> Default for Count<DEFAULT> {
    fn default() -> Self {
        Self(DEFAULT)
    }
}

impl<const DEFAULT: u32> Count<DEFAULT> {
    /// Whether it is within 1..=`most`, under the name the profile gives it.
    pub(super) fn check(self, name: &'static str, most: u32) -> Result<(), InvalidProfile> {
        if (1..=most).contains(&self.0) { Ok(()) } else { Err(InvalidProfile::OutOfBounds(name)) }
    }
}

/// A digest algorithm that is SHA-512 where the profile does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Sha512ByDefault(pub(super) Algorithm);

impl Default for Sha512ByDefault {
    fn default() -> Self {
        Self(Algorithm::Sha512)
    }
}
