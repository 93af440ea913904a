//! A place in time: as people write it, or as an event has it.

use std::str::FromStr;

use crate::accounts::view::rfc3339;
use crate::events::stamp::Revision;

/// A time or a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Moment {
    /// All of a millisecond.
    Time(u64),
    /// Just this reading.
    Revision(Revision),
}

impl Moment {
    /// The least revision that is not earlier.
    pub(in crate::cli) const fn start(self) -> Revision {
        match self {
            Self::Time(unix_ms) => Revision::from_unix_ms(unix_ms),
            Self::Revision(revision) => revision,
        }
    }

    /// The greatest revision that is not later.
    pub(in crate::cli) const fn revision(self) -> Revision {
        match self {
            Self::Time(unix_ms) => {
                let next = Revision::from_unix_ms(unix_ms.saturating_add(1));
                Revision::from_bits(next.to_bits().saturating_sub(1))
            }
            Self::Revision(revision) => revision,
        }
    }
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Time(unix_ms) => f.write_str(&rfc3339(*unix_ms)),
            Self::Revision(revision) => revision.fmt(f),
        }
    }
}

/// A text that is neither.
#[derive(Debug, thiserror::Error)]
#[error("neither a time as in 2026-03-01T12:00:00Z nor a revision, 16 hexadecimal digits")]
pub(in crate::cli) struct NoMoment;

impl FromStr for Moment {
    type Err = NoMoment;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(revision) = text.parse() {
            return Ok(Self::Revision(revision));
        }
        let time: jiff::Timestamp = text.parse().map_err(|_| NoMoment)?;
        let unix_ms = u64::try_from(time.as_millisecond()).map_err(|_| NoMoment)?;
        // What a revision has no room for is later than everything.
        if unix_ms >= 1 << 48 { Err(NoMoment) } else { Ok(Self::Time(unix_ms)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_takes_its_whole_millisecond_and_a_revision_itself() {
        let time: Moment = "1970-01-01T00:00:00.007Z".parse().unwrap();
        assert_eq!(time.revision().to_bits(), (8 << 16) - 1);
        let revision: Moment = "0000000000070001".parse().unwrap();
        assert_eq!(revision.revision().to_bits(), (7 << 16) + 1);
        for wrong in ["yesterday", "2026-03-01", "1969-12-31T23:00:00Z", "123"] {
            assert!(wrong.parse::<Moment>().is_err(), "{wrong}");
        }
    }
}
