//! What verifying costs, and how much of it is admitted.
//!
//! A cost is microseconds on one core of the machine it was measured on (an Intel Xeon, by
//! `cargo bench --bench hashes`). It is computed from the parameters of a hash and the length of
//! the password, never clocked, so that a busy machine decides as an idle one.
//!
//! It must never know a format's spelling.

use super::HashRejected;
use super::hashes::Algorithm;

/// The length of a password that stated costs are for, in bytes. A longer one costs more where a
/// format hashes the whole of it in every round.
pub(super) const USUAL_PASSWORD_BYTES: usize = 64;

/// The most rounds of an iterated digest.
pub(super) const MAX_ROUNDS: u32 = 1_000_000;

/// A password so long that it would make a hash cost more than this, in microseconds, matches none:
/// it is not one that a person set. Hashes that cost more with every password are not meant.
pub(super) const MAX_MICROS_FOR_LENGTH: u32 = 5_000_000;

/// The most passes and lanes of an Argon2.
const MAX_ARGON2_PASSES: u64 = 10;
const MAX_ARGON2_LANES: u64 = 16;

/// The most of scrypt's N, of N times r (which is 128 MiB), of p.
const MAX_SCRYPT_N: u64 = 1 << 17;
const MAX_SCRYPT_BLOCKS: u64 = 1 << 20;
const MAX_SCRYPT_P: u64 = 10;

/// How much of the memory-hard and of PBKDF2 is admitted: what an operator may raise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Memory of one Argon2, in KiB.
    pub argon2_kib: u32,
    /// Iterations of one PBKDF2.
    pub pbkdf2_iterations: u32,
}

impl Default for Limits {
    /// 64 MiB and two million iterations.
    fn default() -> Self {
        Self { argon2_kib: 64 * 1024, pbkdf2_iterations: 2_000_000 }
    }
}

/// A number of rounds within 1..=[`MAX_ROUNDS`].
pub(super) fn rounds(asked: u64) -> Result<u32, HashRejected> {
    match u32::try_from(asked) {
        Ok(0) => Err(HashRejected::UnsupportedHash),
        Ok(rounds @ ..=MAX_ROUNDS) => Ok(rounds),
        _ => Err(HashRejected::CostOutOfBounds),
    }
}

impl Limits {
    /// PBKDF2's iterations, if they are within bounds.
    pub(super) fn iterations(self, asked: u64) -> Result<u32, HashRejected> {
        match u32::try_from(asked) {
            Ok(0) => Err(HashRejected::UnsupportedHash),
            Ok(iterations) if iterations <= self.pbkdf2_iterations => Ok(iterations),
            _ => Err(HashRejected::CostOutOfBounds),
        }
    }

    /// Argon2's memory in KiB, passes and lanes, if they are within bounds.
    pub(super) fn argon2(
        self,
        memory_kib: u64,
        passes: u64,
        lanes: u64,
    ) -> Result<[u32; 3], HashRejected> {
        let too_much = memory_kib > self.argon2_kib.into()
            || passes > MAX_ARGON2_PASSES
            || lanes > MAX_ARGON2_LANES;
        if too_much {
            return Err(HashRejected::CostOutOfBounds);
        }
        // By its definition, each lane has 8 KiB at least.
        if passes == 0 || lanes == 0 || memory_kib < 8 * lanes {
            return Err(HashRejected::UnsupportedHash);
        }
        narrow([memory_kib, passes, lanes])
    }
}

/// The logarithm of scrypt's N, its r and its p, if they are within bounds.
pub(super) fn scrypt(n: u64, r: u64, p: u64) -> Result<(u8, u32, u32), HashRejected> {
    if n < 2 || !n.is_power_of_two() || r == 0 || p == 0 {
        return Err(HashRejected::UnsupportedHash);
    }
    if n > MAX_SCRYPT_N || n.saturating_mul(r) > MAX_SCRYPT_BLOCKS || p > MAX_SCRYPT_P {
        return Err(HashRejected::CostOutOfBounds);
    }
    let [r, p] = narrow([r, p])?;
    let log_n = u8::try_from(n.trailing_zeros()).map_err(|_| HashRejected::CostOutOfBounds)?;
    Ok((log_n, r, p))
}

fn narrow<const N: usize>(numbers: [u64; N]) -> Result<[u32; N], HashRejected> {
    let mut narrowed = [0; N];
    for (to, from) in narrowed.iter_mut().zip(numbers) {
        *to = u32::try_from(from).map_err(|_| HashRejected::CostOutOfBounds)?;
    }
    Ok(narrowed)
}

/// What `count` digests of `bytes` each take.
pub(super) fn digests(algorithm: Algorithm, count: u32, bytes: usize) -> u32 {
    let (block_bytes, padding, call, block) = match algorithm {
        Algorithm::Md5 => (64, 9, 80, 100),
        Algorithm::Sha1 => (64, 9, 80, 40),
        Algorithm::Sha224 | Algorithm::Sha256 => (64, 9, 80, 50),
        Algorithm::Sha384 | Algorithm::Sha512 => (128, 17, 100, 220),
    };
    let blocks = bytes.saturating_add(padding).div_ceil(block_bytes);
    let blocks = u64::try_from(blocks).unwrap_or(u64::MAX);
    micros(blocks.saturating_mul(block).saturating_add(call).saturating_mul(count.into()))
}

/// What a PBKDF2 of so many bytes of key takes.
pub(super) fn pbkdf2(algorithm: Algorithm, iterations: u32, key_bytes: usize) -> u32 {
    let nanos: u64 = match algorithm {
        Algorithm::Md5 => 230,
        Algorithm::Sha1 => 110,
        Algorithm::Sha224 | Algorithm::Sha256 => 130,
        Algorithm::Sha384 | Algorithm::Sha512 => 500,
    };
    let blocks = key_bytes.div_ceil(algorithm.output_bytes());
    let blocks = u64::try_from(blocks).unwrap_or(u64::MAX);
    micros(blocks.saturating_mul(nanos).saturating_mul(iterations.into()))
}

/// What filling this much memory, so many times over, takes: Argon2, and scrypt with its two passes
/// counted as one.
pub(super) fn memory(kib: u64, passes: u64, nanos_per_kib: u64) -> u32 {
    micros(kib.saturating_mul(passes).saturating_mul(nanos_per_kib))
}

/// At least one.
fn micros(nanos: u64) -> u32 {
    u32::try_from(nanos / 1000).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_where_they_are_said_to_be() {
        assert_eq!(rounds(0), Err(HashRejected::UnsupportedHash));
        assert_eq!(rounds(1_000_000), Ok(1_000_000));
        assert_eq!(rounds(1_000_001), Err(HashRejected::CostOutOfBounds));
        assert_eq!(rounds(u64::MAX), Err(HashRejected::CostOutOfBounds));
        let limits = Limits::default();
        assert_eq!(limits.iterations(2_000_000), Ok(2_000_000));
        assert_eq!(limits.iterations(2_000_001), Err(HashRejected::CostOutOfBounds));
        assert_eq!(limits.argon2(65_536, 10, 16), Ok([65_536, 10, 16]));
        for (memory, passes, lanes) in [(65_537, 1, 1), (64, 11, 1), (1024, 1, 17), (1 << 22, 1, 1)]
        {
            let refused = limits.argon2(memory, passes, lanes);
            assert_eq!(refused, Err(HashRejected::CostOutOfBounds));
        }
        assert_eq!(limits.argon2(31, 1, 4), Err(HashRejected::UnsupportedHash));
        let raised = Limits { argon2_kib: 102_400, ..limits };
        assert_eq!(raised.argon2(102_400, 2, 8), Ok([102_400, 2, 8]));
        assert_eq!(scrypt(1 << 17, 8, 10), Ok((17, 8, 10)));
        assert_eq!(scrypt(1 << 14, 32, 1), Ok((14, 32, 1)));
        for (n, r, p) in [(1 << 18, 1, 1), (1 << 17, 9, 1), (2, 1 << 21, 1), (2, 1, 11)] {
            assert_eq!(scrypt(n, r, p), Err(HashRejected::CostOutOfBounds));
        }
        for (n, r, p) in [(0, 1, 1), (1, 1, 1), (3, 1, 1), (2, 0, 1), (2, 1, 0)] {
            assert_eq!(scrypt(n, r, p), Err(HashRejected::UnsupportedHash));
        }
    }

    #[test]
    fn more_work_never_costs_less() {
        for algorithm in Algorithm::ALL {
            assert!(digests(algorithm, 1, 0) >= 1);
            assert!(digests(algorithm, 1_000_000, 64) > digests(algorithm, 100_000, 64));
            assert!(digests(algorithm, 1_000_000, 4096) > digests(algorithm, 1_000_000, 64));
            assert!(pbkdf2(algorithm, 2_000_000, 65) > pbkdf2(algorithm, 2_000_000, 16));
        }
        assert_eq!(memory(u64::MAX, 2, 3), u32::MAX);
    }
}
