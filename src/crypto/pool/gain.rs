//! How much more a thread gets done with several lanes than with one.
//!
//! What is learnt about jobs while each has a thread to itself must say something about the moment
//! when all lanes are taken, or the first wave of a flood would be told to wait four times too
//! long. So the work of a job counts as if it had been alone, and how fast a backlog goes down
//! counts all lanes. Where a machine gains more or less, both are off by the same factor and it
//! cancels out.

use std::time::Duration;

/// Times the work of one lane, in tenths, by lanes in use (measured at cost 10).
const TENTHS: [u32; 9] = [10, 10, 19, 27, 33, 38, 41, 41, 41];

/// Tenths of what one lane gets done, by this many.
pub(super) fn tenths(lanes: usize) -> u32 {
    TENTHS.get(lanes).or(TENTHS.last()).copied().unwrap_or(10)
}

/// What a job would have taken alone that was one of `lanes` for so long.
pub(super) fn alone(time: Duration, lanes: usize) -> Duration {
    let count = u32::try_from(lanes.max(1)).unwrap_or(u32::MAX);
    time * tenths(lanes) / count.saturating_mul(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_lanes_get_more_done_and_each_of_them_less() {
        let second = Duration::from_secs(1);
        assert_eq!(alone(second, 0), second);
        assert_eq!(alone(second, 1), second);
        for lanes in 2..=bcrypt_lanes::LANES {
            assert!(tenths(lanes) >= tenths(lanes - 1));
            assert!(alone(second, lanes) < alone(second, lanes - 1), "{lanes}");
        }
    }
}
