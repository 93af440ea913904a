//! Whether there is room to write: watermarks, a full disk, and the way back.

use std::time::Duration;

use serde::Serialize;

use crate::files::Space;

/// Least time between two looks at the device.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// Whether the log takes appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "status")]
pub enum LogStatus {
    /// It does.
    Writable,
    /// It does, but the device fills up.
    Warned {
        /// How full the device is.
        used_percent: u8,
    },
    /// It does not; where space is missing, it does again by itself once there is some.
    ReadOnly {
        /// Why.
        reason: ReadOnlyReason,
    },
    /// It does not before the process is started anew.
    Stopped,
}

/// Why a log is read-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum ReadOnlyReason {
    /// A write found no room.
    #[error("the disk is full")]
    DiskFull,
    /// The device is filled beyond the watermark.
    #[error("the disk is {used_percent}% full")]
    Watermark {
        /// How full it is.
        used_percent: u8,
    },
    /// Its owner writes nothing.
    #[error("the node was filled from an export without keys")]
    Forbidden,
}

/// What was last seen of the device.
#[derive(Debug)]
pub(super) struct SpaceGuard {
    warn_percent: u8,
    stop_percent: u8,
    used_percent: u8,
    /// A write found no room since the last look.
    full: bool,
    /// Nothing is to be written, whatever room there is.
    forbidden: bool,
    checked_at: Option<Duration>,
}

impl SpaceGuard {
    pub(super) const fn new(warn_percent: u8, stop_percent: u8) -> Self {
        Self {
            warn_percent,
            stop_percent,
            used_percent: 0,
            full: false,
            forbidden: false,
            checked_at: None,
        }
    }

    /// Whether it is time to look again, on a clock that never goes back.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.checked_at.is_none_or(|at| now.saturating_sub(at) >= CHECK_EVERY)
    }

    /// Takes notice of a look at the device; none is one that failed and changes nothing.
    pub(super) fn observe(&mut self, now: Duration, seen: Option<Space>) {
        self.checked_at = Some(now);
        if let Some(space) = seen {
            self.used_percent = used_percent(space);
            self.full = false;
        }
    }

    /// Takes notice of a write that found no room.
    pub(super) fn filled(&mut self, now: Duration) {
        self.checked_at = Some(now);
        self.full = true;
    }

    /// Nothing is to be written from now on.
    pub(super) fn forbid(&mut self) {
        self.forbidden = true;
    }

    /// What follows from it. Never `Stopped`.
    pub(super) const fn status(&self) -> LogStatus {
        let used_percent = self.used_percent;
        if self.forbidden {
            LogStatus::ReadOnly { reason: ReadOnlyReason::Forbidden }
        } else if self.full {
            LogStatus::ReadOnly { reason: ReadOnlyReason::DiskFull }
        } else if used_percent >= self.stop_percent {
            LogStatus::ReadOnly { reason: ReadOnlyReason::Watermark { used_percent } }
        } else if used_percent >= self.warn_percent {
            LogStatus::Warned { used_percent }
        } else {
            LogStatus::Writable
        }
    }
}

fn used_percent(space: Space) -> u8 {
    let used = u128::from(space.total.saturating_sub(space.free));
    let percent = (used * 100).checked_div(u128::from(space.total)).unwrap_or(0);
    u8::try_from(percent).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(used: u64) -> Space {
        Space { total: 1000, free: 1000 - used }
    }

    #[test]
    fn watermarks_warn_stop_and_let_go() {
        let mut guard = SpaceGuard::new(80, 95);
        let at = Duration::from_secs;
        guard.observe(at(0), Some(used(799)));
        assert_eq!(guard.status(), LogStatus::Writable);
        guard.observe(at(1), Some(used(800)));
        assert_eq!(guard.status(), LogStatus::Warned { used_percent: 80 });
        guard.observe(at(2), Some(used(950)));
        let reason = ReadOnlyReason::Watermark { used_percent: 95 };
        assert_eq!(guard.status(), LogStatus::ReadOnly { reason });
        guard.observe(at(3), None);
        assert_eq!(guard.status(), LogStatus::ReadOnly { reason });
        guard.observe(at(4), Some(used(10)));
        assert_eq!(guard.status(), LogStatus::Writable);
    }

    #[test]
    fn the_device_is_looked_at_once_a_second() {
        let mut guard = SpaceGuard::new(80, 95);
        assert!(guard.is_due(Duration::ZERO));
        guard.observe(Duration::ZERO, Some(used(0)));
        assert!(!guard.is_due(Duration::from_millis(999)));
        assert!(guard.is_due(Duration::from_secs(1)));
    }

    #[test]
    fn a_device_of_no_size_is_not_full() {
        assert_eq!(used_percent(Space { total: 0, free: 0 }), 0);
        assert_eq!(used_percent(Space { total: u64::MAX, free: 0 }), 100);
    }
}
