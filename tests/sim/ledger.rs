//! What is known from outside: every command with its answer, every event that was durable
//! anywhere, and what was destroyed with a disk.

use std::collections::BTreeMap;

use jcas::actors::failure::{Failure, Unavailable};
use jcas::actors::registry::RegistryFailure;
use jcas::actors::shard::Answer;
use jcas::events::codec;
use jcas::events::command::{Outcome, Rejection};
use jcas::events::ids::Digest;
use jcas::events::record::{Fact, Header, Record};
use jcas::events::stamp::{EventRef, Origin, Revision};
use jcas::log::Vector;

use crate::commands::{self, Wish};

/// A property that does not hold, in words.
pub(crate) type Checked<T = ()> = Result<T, String>;

/// Returns with a message unless something holds.
macro_rules! ensure {
    ($holds:expr, $($message:tt)+) => {
        if !$holds {
            return Err(format!($($message)+));
        }
    };
}
pub(crate) use ensure;

/// An error with what caused it.
pub(crate) fn text(error: impl std::error::Error) -> String {
    jcas::actors::journal::chain(&error)
}

/// An event as a log holds it.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    pub(crate) header: Header,
    pub(crate) fact: Fact,
}

/// What was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answered {
    /// Done.
    Done(Outcome),
    /// Refused by the rules.
    Refused,
    /// Refused, since a policy does not reach so far.
    Denied,
    /// Not done: nothing of it may ever show.
    NotDone,
    /// The node stopped meanwhile: it may have been done.
    Unknown,
}

impl From<Unavailable> for Answered {
    fn from(why: Unavailable) -> Self {
        match why {
            Unavailable::Overloaded
            | Unavailable::ReadOnly
            | Unavailable::ClockUnsafe
            | Unavailable::Storage => Self::NotDone,
            Unavailable::NotReady => Self::Unknown,
        }
    }
}

impl From<Result<Answer, Failure>> for Answered {
    fn from(result: Result<Answer, Failure>) -> Self {
        match result {
            Ok(answer) => Self::Done(answer.outcome),
            Err(failure) => Self::from(failure),
        }
    }
}

impl From<Failure> for Answered {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Rejected(Rejection::PolicyDenied { .. }) => Self::Denied,
            Failure::Rejected(_) => Self::Refused,
            Failure::Unavailable(why) => Self::from(why),
        }
    }
}

impl From<Result<Outcome, RegistryFailure>> for Answered {
    fn from(result: Result<Outcome, RegistryFailure>) -> Self {
        match result {
            Ok(outcome) => Self::Done(outcome),
            Err(RegistryFailure::Rejected(_)) => Self::Refused,
            Err(RegistryFailure::Unavailable(why)) => Self::from(why),
        }
    }
}

/// One command.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// What was asked of a user; none for what was asked of the registry.
    pub(crate) wish: Option<Wish>,
    pub(crate) answered: Option<Answered>,
    /// Its events, wherever they were seen.
    pub(crate) events: Vec<EventRef>,
}

/// Everything that was asked and seen.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// By number.
    pub(crate) entries: BTreeMap<u64, Entry>,
    /// Every event that was durable anywhere, with its header's digest.
    pub(crate) seen: BTreeMap<EventRef, Digest>,
    /// Lives whose events above a number were on no disk any more when a disk was replaced.
    pub(crate) destroyed: BTreeMap<Origin, u64>,
}

impl Ledger {
    /// Notes that an event is durable at some node.
    pub(crate) fn observe(&mut self, record: &Record, header: &Header) -> Checked {
        let (reference, digest) = (header.reference(), codec::digest(&record.header));
        if let Some(known) = self.seen.insert(reference, digest) {
            ensure!(known == digest, "{reference:?} is two events");
        } else if let Some(number) = commands::number(&header.cause) {
            let entry = self.entries.get_mut(&number);
            let entry = entry.ok_or_else(|| format!("nobody asked for {header:?}"))?;
            entry.events.push(reference);
        }
        // It is on a disk again, or never was gone: it must stay.
        if let Some(above) = self.destroyed.get_mut(&reference.origin) {
            *above = reference.sequence.max(*above);
        }
        Ok(())
    }

    /// A disk is replaced by a copy: says how many events are on no disk now.
    pub(crate) fn destroy<'a>(
        &mut self,
        old: &Vector,
        copy: &Vector,
        others: &(impl Iterator<Item = &'a Vector> + Clone),
    ) -> u64 {
        let mut destroyed = 0;
        for (origin, end) in old {
            let of = |vector: &Vector| vector.get(origin).map_or(0, |end| end.sequence);
            let kept = others.clone().map(of).max().unwrap_or_default().max(of(copy));
            if kept < end.sequence {
                destroyed += end.sequence - kept;
                let above = self.destroyed.entry(*origin).or_insert(kept);
                *above = kept.min(*above);
            }
        }
        destroyed
    }

    /// Whether an event may be missing.
    pub(crate) fn may_miss(&self, event: &EventRef) -> bool {
        self.destroyed.get(&event.origin).is_some_and(|above| event.sequence > *above)
    }
}

/// Readings of one node, as its log tells them.
#[derive(Debug, Default)]
pub(crate) struct Readings {
    greatest: Revision,
}

impl Readings {
    /// Takes the next event of a log. What the node's life `own` recorded is never earlier than
    /// anything before it.
    pub(crate) fn next(&mut self, header: &Header, own: Option<Origin>) -> Checked {
        let ours = own == Some(header.origin);
        let rises = header.revision >= self.greatest;
        ensure!(!ours || rises, "{header:?} goes back behind {}", self.greatest);
        self.greatest = self.greatest.max(header.revision);
        Ok(())
    }
}
