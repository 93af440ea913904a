//! The bounds of erasing: how many users an hour, how full the disk, and how often again after a
//! failure.

use std::time::Duration;

use crate::files::Space;
use crate::state::erasures::Blanked;

use super::checkpointer::Checkpoints;
use super::eraser::EraseError;

/// The time over which the number of users is bounded, in milliseconds.
const HOUR_MS: u64 = 60 * 60 * 1000;

/// The hour that runs, and how many users may be blanked in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hour {
    counted: Blanked,
    per_hour: u64,
}

impl Hour {
    /// The hour that a node is in, after what earlier looks and lives counted. A clock that was set
    /// back does not make it longer, and forgets nobody.
    pub fn of(counted: Option<Blanked>, now_ms: u64, per_hour: u64) -> Self {
        let fresh = Blanked { since_ms: now_ms, users: 0 };
        let counted = match counted {
            Some(counted) if counted.since_ms > now_ms => Blanked { since_ms: now_ms, ..counted },
            Some(counted) if now_ms - counted.since_ms < HOUR_MS => counted,
            _ => fresh,
        };
        Self { counted, per_hour }
    }

    /// How many more may be blanked in it.
    pub const fn left(self) -> u64 {
        self.per_hour.saturating_sub(self.counted.users)
    }

    /// What is to be remembered when so many more are.
    pub const fn and(self, more: u64) -> Blanked {
        let Blanked { since_ms, users } = self.counted;
        Blanked { since_ms, users: users.saturating_add(more) }
    }
}

/// How long is waited after an attempt that failed. Each reads the whole log, so the wait doubles
/// with each further failure ...
const PAUSE: Duration = Duration::from_secs(10);

/// ... up to this: a KMS may be away for hours.
const PAUSE_MAX: Duration = Duration::from_mins(10);

/// What lies between attempts that fail.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pauses {
    /// The next attempt, and how long the pause before it is; none after one that did not fail.
    until: Option<(Duration, Duration)>,
}

impl Pauses {
    /// Whether nothing is to be tried now.
    pub fn is_one(self, now: Duration) -> bool {
        self.until.is_some_and(|(next, _)| now < next)
    }

    /// An attempt ended now.
    pub fn ended(&mut self, well: bool, now: Duration) {
        let next = self.until.map_or(PAUSE, |(_, last)| PAUSE_MAX.min(last.saturating_mul(2)));
        self.until = (!well).then(|| (now.saturating_add(next), next));
    }
}

/// A second state beside the one in use would fill the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no room to fold the state anew: it takes about {} MiB, and {} MiB can be written \
     before the disk is {fill_percent}% full",
    need >> 20,
    room >> 20
)]
pub struct NoRoom {
    need: u64,
    room: u64,
    fill_percent: u8,
}

/// Refuses to begin what would fill the disk beyond what the log bears.
pub fn require_room(checkpoints: &Checkpoints, fill_percent: u8) -> Result<(), EraseError> {
    let need = checkpoints.folder.bytes_on_disk(checkpoints.generation)?;
    Ok(fits(checkpoints.folder.space()?, need, fill_percent)?)
}

fn fits(space: Space, need: u64, fill_percent: u8) -> Result<(), NoRoom> {
    let room = space.room(fill_percent);
    if need <= room { Ok(()) } else { Err(NoRoom { need, room, fill_percent }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_blanked_in_an_hour_counts_until_it_is_over() {
        let counted = Some(Blanked { since_ms: 1_000, users: 7 });
        assert_eq!(Hour::of(counted, 1_000 + HOUR_MS - 1, 10).left(), 3);
        assert_eq!(Hour::of(counted, 1_000 + HOUR_MS - 1, 5).left(), 0);
        assert_eq!(Hour::of(counted, 1_000 + HOUR_MS, 10).left(), 10);
        assert_eq!(Hour::of(None, 5, 10).and(2), Blanked { since_ms: 5, users: 2 });
        let more = Hour::of(counted, 2_000, 10).and(3);
        assert_eq!(more, Blanked { since_ms: 1_000, users: 10 });
    }

    #[test]
    fn a_clock_that_was_set_back_forgets_nobody_and_makes_no_hour_longer() {
        let counted = Some(Blanked { since_ms: 900_000_000, users: 7 });
        let hour = Hour::of(counted, 1_000, 10);
        assert_eq!((hour.left(), hour.and(1)), (3, Blanked { since_ms: 1_000, users: 8 }));
    }

    #[test]
    fn what_fails_again_and_again_is_tried_seldom_until_it_does_not() {
        let mut pauses = Pauses::default();
        let mut now = Duration::from_secs(100);
        let mut waited = Vec::new();
        for _ in 0..8 {
            assert!(!pauses.is_one(now));
            pauses.ended(false, now);
            let began = now;
            while pauses.is_one(now) {
                now += Duration::from_secs(1);
            }
            waited.push(now.saturating_sub(began).as_secs());
        }
        assert_eq!(waited, [10, 20, 40, 80, 160, 320, 600, 600]);
        pauses.ended(true, now);
        assert!(!pauses.is_one(now));
        pauses.ended(false, now);
        assert!(pauses.is_one(now + Duration::from_secs(9)));
        assert!(!pauses.is_one(now + Duration::from_secs(10)));
    }

    #[test]
    fn a_second_state_must_leave_the_log_its_room() {
        let space = Space { total: 1000, free: 300 };
        assert_eq!(fits(space, 250, 95), Ok(()));
        assert_eq!(fits(space, 251, 95), Err(NoRoom { need: 251, room: 250, fill_percent: 95 }));
        assert!(fits(Space { total: 1000, free: 20 }, 1, 95).is_err());
    }
}
