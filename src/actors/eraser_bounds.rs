//! The bounds of erasing: how many users an hour, and how full the disk.

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
    fn a_second_state_must_leave_the_log_its_room() {
        let space = Space { total: 1000, free: 300 };
        assert_eq!(fits(space, 250, 95), Ok(()));
        assert_eq!(fits(space, 251, 95), Err(NoRoom { need: 251, room: 250, fill_percent: 95 }));
        assert!(fits(Space { total: 1000, free: 20 }, 1, 95).is_err());
    }
}
