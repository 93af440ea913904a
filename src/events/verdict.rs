//! What becomes of a run that came: decided on values, by nobody's clock.

use super::ids::Digest;
use super::run::CheckedRun;
use super::stamp::Origin;

/// What a node knows when a run comes.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// The node's own life.
    pub own: Origin,
    /// How far the run's origin is known here: the last number and its header's digest; 0 and
    /// zeros where nothing is.
    pub end: (u64, Digest),
    /// Whether the origin was seen to have told two stories.
    pub forked: bool,
    /// The latest time that is let in, in milliseconds since 1970: the wall clock and a bound.
    pub admitted_until_ms: u64,
}

/// What to do with a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Append it without its first `skip` events, which are here.
    Apply {
        /// How many of them.
        skip: usize,
    },
    /// All of it is here.
    Duplicate,
    /// Events before it are missing: they are to be fetched, and this run with them.
    Gap {
        /// The last event of the origin that is here.
        have: u64,
    },
    /// It is this node's own life, which nobody else can continue.
    OwnEcho,
    /// Something in it is later than may be let in: the origin waits until then.
    Future {
        /// The latest time in it.
        latest_ms: u64,
    },
    /// It continues another story than the one that is here. Nothing more of the origin is taken.
    Forked {
        /// The number at which the stories differ, or a later one.
        sequence: u64,
    },
}

/// Judges a run whose seal is right.
pub fn judge(run: &CheckedRun, known: &Known) -> Verdict {
    let (have, head) = known.end;
    let seal = &run.run.seal;
    if run.origin() == known.own {
        return Verdict::OwnEcho;
    }
    let next = have.saturating_add(1);
    let differs = if seal.sequence == have {
        seal.head != head
    } else if run.first == next {
        run.previous != head
    } else {
        run.first < next && seal.sequence >= next && previous_of(run, next) != Some(head)
    };
    if known.forked || differs {
        return Verdict::Forked { sequence: seal.sequence.min(next) };
    }
    if seal.sequence < next {
        return Verdict::Duplicate;
    }
    if run.first > next {
        return Verdict::Gap { have };
    }
    if run.latest_ms > known.admitted_until_ms {
        return Verdict::Future { latest_ms: run.latest_ms };
    }
    Verdict::Apply { skip: usize::try_from(next - run.first).unwrap_or(usize::MAX) }
}

/// The digest of the header before the event of this number, which is not the run's first.
fn previous_of(run: &CheckedRun, sequence: u64) -> Option<Digest> {
    let at = usize::try_from(sequence.checked_sub(run.first)?.checked_sub(1)?).ok()?;
    run.run.records.get(at).map(|record| super::codec::digest(&record.header))
}
