//! Bodies that are missing in what came, though nobody knows of an erasure.
//!
//! Seals and chains are over headers, so that a body can be blanked and what vouches for it stays
//! whole. So whoever passes a run on can leave out what erasure blanks, of anybody. A node with
//! nothing yet cannot tell: the tombstone may be in a run that comes later. Therefore such a run is
//! not taken at first, and others are asked for it. What nobody brings whole is taken as it is.

use std::collections::BTreeMap;

use crate::events::ids::{NodeName, UserId};
use crate::events::record::{Register, Subject};
use crate::events::run::CheckedRun;
use crate::events::stamp::Origin;

/// So long a run with its bodies is waited for: whoever is there has been asked by then.
const WAIT_MS: u64 = 15_000;

/// So long nobody waits any more for runs of a node of which nobody had the bodies. A node that
/// fills itself meets many, and their tombstones come last.
const TAKEN_MS: u64 = 10 * 60 * 1000;

/// What is known of nodes whose runs lacked bodies.
#[derive(Debug, Default)]
pub(super) struct MissingBodies {
    nodes: BTreeMap<NodeName, Waiting>,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    /// How far the node's events were here then.
    have: (Origin, u64),
    since_ms: u64,
    taken_until_ms: u64,
}

impl MissingBodies {
    /// Whether a run, the next after `have`, waits for one that has its bodies.
    pub(super) fn waits(
        &mut self,
        run: &CheckedRun,
        have: u64,
        is_erased: &dyn Fn(UserId) -> bool,
        now_ms: u64,
    ) -> bool {
        if !lacks_bodies(run, is_erased) {
            return false;
        }
        let have = (run.origin(), have);
        let fresh = Waiting { have, since_ms: now_ms, taken_until_ms: 0 };
        let waiting = self.nodes.entry(run.node()).or_insert(fresh);
        if now_ms < waiting.taken_until_ms {
            return false;
        }
        // A clock that was set back begins anew.
        if waiting.have != have || now_ms < waiting.since_ms {
            *waiting = fresh;
        }
        if now_ms - waiting.since_ms < WAIT_MS {
            return true;
        }
        waiting.taken_until_ms = now_ms.saturating_add(TAKEN_MS);
        let origin = run.origin();
        tracing::warn!(%origin, "nobody has bodies of events whose users are not known as erased");
        false
    }
}

/// Whether bodies are missing in a run of users of whom neither it nor the node has a tombstone.
fn lacks_bodies(run: &CheckedRun, is_erased: &dyn Fn(UserId) -> bool) -> bool {
    let subject = |subject| match subject {
        Subject::User(user) => Some(user),
        _ => None,
    };
    let erased_in_it = |user| {
        let erasing = |fact: &&crate::events::record::Fact| fact.register == Register::Erasure;
        run.facts.iter().filter(erasing).any(|fact| subject(fact.subject) == Some(user))
    };
    let events = run.run.records.iter().zip(&run.facts);
    let mut without = events.filter(|(record, _)| record.body.is_none());
    without.any(|(_, fact)| match subject(fact.subject) {
        Some(user) => !is_erased(user) && !erased_in_it(user),
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::ids::{Digest, UserKeyId};
    use crate::events::record::{Fact, Record};
    use crate::events::run::{Run, Seal, Signature};
    use crate::events::stamp::{EffectiveTime, EventRef, Incarnation, Revision, Stamp};

    fn user(number: u8) -> UserId {
        UserId::new(1, [number; 10])
    }

    /// A run of one event: a user's key without its body, or a tombstone.
    fn run(events: &[(Register, UserId)]) -> CheckedRun {
        let incarnation = Incarnation { counter: 1, tag: 9 };
        let (region, node) = ("us".parse().unwrap(), "n1".parse().unwrap());
        let origin = Origin { region, node, incarnation };
        let revision = Revision::from_unix_ms(1);
        let effective = EffectiveTime::at(revision);
        let fact = |(register, user): &(Register, UserId)| Fact {
            subject: Subject::User(*user),
            register: *register,
            stamp: Stamp { effective, revision, origin, generation: 0 },
            digest: Digest::ZERO,
            reference: EventRef { origin, sequence: 1 },
            revision,
            idempotency: None,
            event: None,
        };
        let record = |(register, _): &(Register, UserId)| {
            let body = (*register == Register::Erasure).then(|| vec![1].into());
            Record { header: vec![1].into(), body }
        };
        let signature = Signature::from_bytes(&[0; 64]);
        let seal = Seal { origin, sequence: 1, head: Digest::ZERO, signature };
        CheckedRun {
            run: Run { records: events.iter().map(record).collect(), seal },
            facts: events.iter().map(fact).collect(),
            previous: Digest::ZERO,
            first: 1,
            latest_ms: 1,
        }
    }

    fn key(number: u8) -> (Register, UserId) {
        (Register::UserKey(UserKeyId([number; 8])), user(number))
    }

    #[test]
    fn who_is_known_as_erased_needs_no_body() {
        let mut missing = MissingBodies::default();
        let mut waits =
            |run: &CheckedRun, erased: UserId| missing.waits(run, 0, &|user| user == erased, 1_000);
        assert!(!waits(&run(&[key(1)]), user(1)));
        assert!(!waits(&run(&[key(1), (Register::Erasure, user(1))]), user(9)));
        assert!(waits(&run(&[key(1), (Register::Erasure, user(2))]), user(9)));
        assert!(waits(&run(&[key(1), key(2)]), user(1)));
    }

    #[test]
    fn what_nobody_brings_whole_is_taken_in_the_end_and_then_for_a_while() {
        let mut missing = MissingBodies::default();
        let mut waits =
            |have: u64, at_ms: u64| missing.waits(&run(&[key(1)]), have, &|_| false, at_ms);
        assert!(waits(0, 1_000));
        assert!(waits(0, 1_000 + WAIT_MS - 1));
        // What was brought whole meanwhile says that somebody has them.
        assert!(waits(5, 1_000 + WAIT_MS));
        assert!(waits(5, 1_000 + 2 * WAIT_MS - 1));
        let taken = 1_000 + 2 * WAIT_MS;
        assert!(!waits(5, taken));
        assert!(!waits(9, taken + TAKEN_MS - 1));
        assert!(waits(10, taken + TAKEN_MS));
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nobody_wait_for_ever() {
        let mut missing = MissingBodies::default();
        let mut waits = |at_ms: u64| missing.waits(&run(&[key(1)]), 0, &|_| false, at_ms);
        assert!(waits(1_000_000));
        assert!(waits(5_000));
        assert!(!waits(5_000 + WAIT_MS));
    }
}
