//! The inbox: what other nodes recorded comes in.
//!
//! A run is read, its seal verified, its place judged; what is next in its origin's chain is
//! appended with its seal. When that is durable its facts go to the actors, and only then is it
//! acknowledged. [`InboxEngine`] does all of it and is tested without a link.
//!
//! ```text
//!   bytes -> decode -> whose seal? -> judge -> append -> durable -> shards, registry -> ack
//!               |          |            \-> duplicate, gap, echo, future, fork: ack, counted
//!               \----------+-> malformed: parked, ack
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;

use crate::events::codec;
use crate::events::event::Event;
use crate::events::ids::{DeploymentId, NodeName};
use crate::events::record::{Fact, LogPosition};
use crate::events::run::{CheckedRun, Run};
use crate::events::stamp::Origin;
use crate::events::verdict::{Known, Verdict, judge};
use crate::log::{Append, AppendError, Batch, BatchError, ChainEnd, Committed, Refusal};

pub use super::inbox_parts::{Absorb, Heard, InboxParts, IsOperators, Notify, Ticket};

use super::absorb::{Absorbed, Sorted};
use super::inbox_bodies::MissingBodies;

/// The inbox without its link.
pub struct InboxEngine {
    parts: InboxParts,
    /// Ends of chains whose last events are on their way to the disk.
    ahead: BTreeMap<Origin, Ahead>,
    tickets: BTreeMap<Ticket, (Origin, u64)>,
    /// Appends whose facts are not with all actors yet: the first number by the last one.
    unshown: BTreeMap<Origin, BTreeMap<u64, u64>>,
    next: Ticket,
    forked: BTreeSet<Origin>,
    held: BTreeMap<Origin, Held>,
    missing: MissingBodies,
    view: InboxCounts,
}

#[derive(Debug, Clone, Copy)]
struct Ahead {
    end: ChainEnd,
    appends: usize,
}

/// An origin that waits until time has caught up with it.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Held {
    /// The latest time in the run that was not let in, in milliseconds since 1970.
    pub latest_ms: u64,
}

/// What became of runs so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct InboxCounts {
    /// Runs appended.
    pub applied: u64,
    /// Events in them.
    pub events: u64,
    /// Runs that were here already.
    pub duplicates: u64,
    /// Runs that came before what they follow.
    pub gaps: u64,
    /// Runs of this node's own life.
    pub echoes: u64,
    /// Runs of regions that the deployment does not have.
    pub unknown_origins: u64,
    /// Runs without bodies of users who are not known to be erased: others were asked for them.
    pub bodiless: u64,
    /// Runs from the future.
    pub futures: u64,
    /// Runs that contradict what is here.
    pub forks: u64,
    /// Runs that are none.
    pub malformed: u64,
    /// Messages of other deployments.
    pub foreign: u64,
}

/// What is to be done about a run that came.
#[derive(Debug)]
pub enum Step {
    /// It is on its way to the log: [`Heard::Logged`] follows. Until then it is not acknowledged.
    Appending(Ticket),
    /// It is to be acknowledged.
    Done,
    /// It is to be acknowledged; what is missing before it is to be fetched.
    Missing(NodeName),
    /// It is to be acknowledged, kept aside, and its reason shown.
    Park(String),
    /// The log takes nothing now: the same again later.
    Later,
}

impl InboxEngine {
    /// An inbox of these parts.
    pub fn new(parts: InboxParts) -> Self {
        Self {
            parts,
            ahead: BTreeMap::new(),
            tickets: BTreeMap::new(),
            unshown: BTreeMap::new(),
            next: 0,
            forked: BTreeSet::new(),
            held: BTreeMap::new(),
            missing: MissingBodies::default(),
            view: InboxCounts::default(),
        }
    }

    /// Takes a run that came in a message of `deployment`.
    pub fn take(&mut self, deployment: DeploymentId, run: Run) -> Step {
        if deployment != self.parts.deployment {
            self.view.foreign += 1;
            return Step::Park(format!("it belongs to deployment {deployment}"));
        }
        let Some(verifier) = self.parts.verifiers.get(&run.seal.origin.region) else {
            self.view.unknown_origins += 1;
            let region = run.seal.origin.region;
            return Step::Park(format!("the deployment has no region {region}"));
        };
        if !verifier.is_seal(&run.seal) {
            return self.malformed("its seal is not its region's");
        }
        let run = match run.check(deployment) {
            Ok(run) => run,
            Err(error) => return self.malformed(&super::journal::chain(&error)),
        };
        if let Some(reason) = self.unsigned(&run) {
            return self.malformed(reason);
        }
        self.judge(run)
    }

    /// Says what is wrong with an event that needs more than its origin's word.
    fn unsigned(&self, run: &CheckedRun) -> Option<&'static str> {
        let key = self.parts.verifiers.get(&run.origin().region)?.verifying_key();
        run.facts.iter().find_map(|fact| match &fact.event {
            Some(Event::OriginDistrusted(cut)) if !(self.parts.is_operators)(cut) => {
                Some("it cuts a life off without the operator's signature")
            }
            Some(Event::OriginOpened(opened)) if opened.verifying_key != key => {
                Some("it opens a life with a key that is not its region's")
            }
            _ => None,
        })
    }

    fn malformed(&mut self, reason: &str) -> Step {
        self.view.malformed += 1;
        Step::Park(reason.to_owned())
    }

    fn judge(&mut self, run: CheckedRun) -> Step {
        let origin = run.origin();
        let end = self.end(&origin);
        let now = self.parts.clock.wall().unix_ms();
        let known = Known {
            own: self.parts.own,
            end: (end.sequence, end.head),
            forked: self.forked.contains(&origin),
            admitted_until_ms: now.saturating_add(self.parts.future_limit_ms),
        };
        match judge(&run, &known) {
            Verdict::Apply { skip } => {
                self.held.remove(&origin);
                let run = run.without_first(skip);
                let is_erased = &*self.parts.is_erased;
                if self.missing.waits(&run, end.sequence, is_erased, now) {
                    self.view.bodiless += 1;
                    return Step::Missing(origin.name());
                }
                self.append(run)
            }
            Verdict::Duplicate => {
                self.view.duplicates += 1;
                Step::Done
            }
            Verdict::Gap { .. } => {
                self.view.gaps += 1;
                Step::Missing(origin.name())
            }
            Verdict::OwnEcho => {
                self.view.echoes += 1;
                Step::Done
            }
            Verdict::Future { latest_ms } => {
                self.view.futures += 1;
                self.held.insert(origin, Held { latest_ms });
                Step::Done
            }
            Verdict::Forked { sequence } => {
                self.fork(origin, sequence);
                Step::Done
            }
        }
    }

    /// An origin told two stories: nothing more of it is taken.
    pub fn fork(&mut self, origin: Origin, sequence: u64) {
        self.view.forks += 1;
        if self.forked.insert(origin) {
            tracing::error!(%origin, sequence, "an origin forked: nothing more of it is taken");
        }
    }

    fn end(&self, origin: &Origin) -> ChainEnd {
        let durable = || self.parts.log.chain_end(origin).unwrap_or(ChainEnd::EMPTY);
        self.ahead.get(origin).map_or_else(durable, |ahead| ahead.end)
    }

    fn append(&mut self, run: CheckedRun) -> Step {
        let CheckedRun { run: Run { records, seal }, facts, .. } = run;
        let Ok(sealed) = codec::encode_seal(&seal) else {
            return self.malformed("its seal cannot be written");
        };
        // What is decided from now on is later than what comes in.
        if let Some(greatest) = facts.iter().map(|fact| fact.revision).max() {
            self.parts.clock.observe(greatest);
        }
        self.next += 1;
        let (ticket, events) = (self.next, records.len() as u64);
        let done = self.done(ticket, seal.origin, seal.sequence, facts);
        let batch = Batch::Sealed(records, sealed);
        if !self.hand_over(Append { epoch: self.parts.writer.epoch(), batch, done }) {
            return Step::Later;
        }
        let end = ChainEnd { sequence: seal.sequence, head: seal.head };
        let ahead = self.ahead.entry(seal.origin).or_insert(Ahead { end, appends: 0 });
        ahead.end = end;
        ahead.appends += 1;
        self.tickets.insert(ticket, (seal.origin, seal.sequence));
        let first = seal.sequence.saturating_sub(events).saturating_add(1);
        self.unshown.entry(seal.origin).or_default().insert(seal.sequence, first);
        self.view.events += events;
        Step::Appending(ticket)
    }

    /// What others recorded rests on no decision here, so an epoch that is over is no matter.
    fn hand_over(&self, append: Append) -> bool {
        match self.parts.writer.append(append) {
            Ok(()) => true,
            Err(refused) => match refused.reason {
                Refusal::Stale { epoch, .. } => {
                    self.parts.writer.append(Append { epoch, ..refused.append }).is_ok()
                }
                _ => false,
            },
        }
    }

    /// What happens on the writer's thread when the append's fate is known.
    fn done(
        &self,
        ticket: Ticket,
        origin: Origin,
        sequence: u64,
        facts: Vec<Fact>,
    ) -> crate::log::Done {
        let InboxParts { absorb, notify, registry, .. } = &self.parts;
        let (absorb, notify) = (Arc::clone(absorb), Arc::clone(notify));
        let registry = registry.clone();
        Box::new(move |result: Result<Committed, AppendError>| {
            let result = result.map(|committed| {
                let told = Arc::clone(&notify);
                let absorbed = Absorbed::new(move || told(Heard::Absorbed(origin, sequence)));
                let distrust = registry.borrow().state.distrust.clone();
                let places = committed.placed.iter().map(|placed| placed.position);
                let counting = facts.into_iter().zip(places);
                let counting = counting.filter(|(fact, _)| distrust.counts(fact));
                absorb(Sorted::of(counting), &absorbed);
            });
            notify(Heard::Logged(ticket, result));
        })
    }

    /// The log says what became of an append. False: it did not happen, and the run is to be taken
    /// again.
    pub fn logged(&mut self, ticket: Ticket, result: &Result<(), AppendError>) -> bool {
        let Some((origin, last)) = self.tickets.remove(&ticket) else { return true };
        match result {
            Ok(()) => {
                self.view.applied += 1;
                if let Some(ahead) = self.ahead.get_mut(&origin) {
                    ahead.appends -= 1;
                    if ahead.appends == 0 {
                        self.ahead.remove(&origin);
                    }
                }
                true
            }
            Err(error) => {
                self.absorbed(origin, last);
                // What was appended behind it fails too: the chain is what is on the disk.
                self.ahead.remove(&origin);
                if let AppendError::Refused(BatchError::Forked { reference }) = error {
                    self.fork(origin, reference.sequence);
                }
                false
            }
        }
    }

    /// Everybody has what an append brought, or it brought nothing.
    pub fn absorbed(&mut self, origin: Origin, last: u64) {
        if let Some(unshown) = self.unshown.get_mut(&origin) {
            unshown.remove(&last);
            if unshown.is_empty() {
                self.unshown.remove(&origin);
            }
        }
    }

    /// Up to which event of a life this node's callers see what it recorded.
    pub fn shown(&self, origin: &Origin) -> u64 {
        let first = self.unshown.get(origin).and_then(|unshown| unshown.values().min());
        let durable = || self.parts.log.chain_end(origin).map_or(0, |end| end.sequence);
        first.map_or_else(durable, |first| first.saturating_sub(1))
    }

    /// Whether a life waits for time to catch up, and until when, in milliseconds since 1970.
    pub fn held(&self) -> impl Iterator<Item = (&Origin, &Held)> {
        self.held.iter()
    }

    /// Whether a node's newest events may be asked for again.
    pub fn admits(&self, node: NodeName, now_ms: u64) -> bool {
        let limit = now_ms.saturating_add(self.parts.future_limit_ms);
        let mut held = self.held.iter().filter(|(origin, _)| origin.name() == node);
        held.all(|(_, held)| held.latest_ms <= limit)
    }

    /// Lives that told two stories.
    pub const fn forked(&self) -> &BTreeSet<Origin> {
        &self.forked
    }

    /// How many appends are on their way.
    pub fn on_the_way(&self) -> usize {
        self.tickets.len()
    }

    /// What became of runs so far.
    pub const fn counts(&self) -> InboxCounts {
        self.view
    }

    /// The parts, for news that are not runs.
    pub const fn parts(&self) -> &InboxParts {
        &self.parts
    }

    /// Where the log ends.
    pub fn durable(&self) -> LogPosition {
        self.parts.log.durable()
    }
}
