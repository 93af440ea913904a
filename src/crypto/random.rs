//! Fresh random bytes from the operating system, the only source of randomness in this room.
//!
//! It must never know what its bytes are used for.

use thiserror::Error;
use zeroize::Zeroizing;

use crate::clock::{Entropy as _, NoEntropy, OsEntropy};

/// The operating system gave no randomness. Nothing may be sealed or hashed without it.
#[derive(Debug, Error)]
#[error("the operating system gave no randomness")]
pub struct RandomError(#[source] NoEntropy);

/// `N` fresh bytes, wiped when dropped: whether they become a key or a salt is the caller's affair.
pub(super) fn bytes<const N: usize>() -> Result<Zeroizing<[u8; N]>, RandomError> {
    let mut fresh = Zeroizing::new([0; N]);
    OsEntropy.fill(fresh.as_mut_slice()).map_err(RandomError)?;
    Ok(fresh)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        assert_ne!(*bytes::<16>().unwrap(), *bytes::<16>().unwrap());
    }
}
