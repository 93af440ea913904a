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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::codec;
    use crate::events::event::{Cause, Event, Upgrade};
    use crate::events::event::{PasswordSet, Sealed};
    use crate::events::ids::{DeploymentId, Fingerprint, UserId};
    use crate::events::record::{Header, Record, Subject};
    use crate::events::run::{MalformedRun, Run, Seal, Signature};
    use crate::events::stamp::{EffectiveTime, Incarnation, Revision, Stamp};

    const DEPLOYMENT: DeploymentId = DeploymentId([7; 16]);

    fn origin(node: &str) -> Origin {
        let incarnation = Incarnation { counter: 1, tag: 9 };
        Origin { region: "us".parse().unwrap(), node: node.parse().unwrap(), incarnation }
    }

    fn subject() -> Subject {
        Subject::User(UserId::new(1, [3; 10]))
    }

    /// `count` records of a chain that stands at `end`, recorded at second `first`, `first` + 1,
    /// ...
    fn records((last, mut head): (u64, Digest), count: u64, event: &Event) -> Vec<Record> {
        let mut made = Vec::new();
        for sequence in last + 1..=last + count {
            let (body, digest) =
                codec::encode_body([sequence.to_le_bytes()[0]; 16], event).unwrap();
            let revision = Revision::from_unix_ms(sequence * 1000);
            let header = codec::encode_header(&Header {
                deployment: DEPLOYMENT,
                origin: origin("n1"),
                sequence,
                previous: head,
                subject: subject(),
                register: event.register(),
                revision,
                effective: EffectiveTime::at(revision),
                cause: Cause::default(),
                kind: event.kind(),
                schema: codec::schema(),
                body: digest,
            })
            .unwrap();
            head = codec::digest(&header);
            made.push(Record { header, body: Some(body) });
        }
        made
    }

    fn sealed(records: Vec<Record>) -> Run {
        let last = records.last().unwrap();
        let header = codec::decode_header(&last.header).unwrap();
        let (sequence, head) = (header.sequence, codec::digest(&last.header));
        let signature = Signature::from_bytes(&[0; 64]);
        Run { records, seal: Seal { origin: header.origin, sequence, head, signature } }
    }

    fn chain(count: u64) -> Vec<Record> {
        records((0, Digest::ZERO), count, &Event::UserDisabled(()))
    }

    fn end(records: &[Record]) -> (u64, Digest) {
        let head = records.last().map_or(Digest::ZERO, |last| codec::digest(&last.header));
        (records.len() as u64, head)
    }

    fn verdict(records: &[Record], end: (u64, Digest)) -> Verdict {
        let run = sealed(records.to_vec()).check(DEPLOYMENT).unwrap();
        let own = origin("n2");
        judge(&run, &Known { own, end, forked: false, admitted_until_ms: u64::MAX })
    }

    #[test]
    fn what_is_next_is_applied_without_what_is_here() {
        let all = chain(5);
        assert_eq!(verdict(&all, (0, Digest::ZERO)), Verdict::Apply { skip: 0 });
        assert_eq!(verdict(&all[2..], end(&all[..2])), Verdict::Apply { skip: 0 });
        assert_eq!(verdict(&all, end(&all[..2])), Verdict::Apply { skip: 2 });
        assert_eq!(verdict(&all, end(&all)), Verdict::Duplicate);
        assert_eq!(verdict(&all[1..2], end(&all)), Verdict::Duplicate);
        assert_eq!(verdict(&all[3..], end(&all[..2])), Verdict::Gap { have: 2 });
    }

    #[test]
    fn another_story_is_a_fork_wherever_it_parts() {
        let all = chain(5);
        let other = |from: usize| {
            let lifted = Event::UserEnabled(Vec::new());
            let mut story = all[..from].to_vec();
            story.extend(records(end(&all[..from]), 5 - from as u64, &lifted));
            story
        };
        let forked = |verdict| matches!(verdict, Verdict::Forked { .. });
        for from in 0..5 {
            let story = other(from);
            assert!(forked(verdict(&story, end(&all))), "the same number, parted at {from}");
            assert!(forked(verdict(&story[4..], end(&all[..4]))) == (from < 4), "next, {from}");
            assert!(forked(verdict(&story, end(&all[..3]))) == (from < 3), "with overlap, {from}");
        }
    }

    #[test]
    fn an_origin_that_forked_is_believed_nothing_and_the_own_life_is_nobodys_to_tell() {
        let run = sealed(chain(2)).check(DEPLOYMENT).unwrap();
        let known = Known {
            own: origin("n2"),
            end: (0, Digest::ZERO),
            forked: true,
            admitted_until_ms: u64::MAX,
        };
        assert!(matches!(judge(&run, &known), Verdict::Forked { .. }));
        let own = Known { own: origin("n1"), ..known };
        assert_eq!(judge(&run, &own), Verdict::OwnEcho);
    }

    #[test]
    fn what_is_later_than_may_be_waits() {
        let run = sealed(chain(3)).check(DEPLOYMENT).unwrap();
        let known = |admitted_until_ms| Known {
            own: origin("n2"),
            end: (0, Digest::ZERO),
            forked: false,
            admitted_until_ms,
        };
        assert_eq!(judge(&run, &known(2999)), Verdict::Future { latest_ms: 3000 });
        assert_eq!(judge(&run, &known(3000)), Verdict::Apply { skip: 0 });
    }

    #[test]
    fn a_run_that_is_none_says_why() {
        let check = |run: Run| run.check(DEPLOYMENT).unwrap_err();
        let all = chain(4);
        let gap = [&all[..1], &all[2..]].concat();
        assert!(matches!(check(sealed(gap)), MalformedRun::Order { at: 1 }));
        let mut elsewhere = sealed(all.clone());
        elsewhere.seal.sequence = 3;
        assert!(matches!(check(elsewhere), MalformedRun::SealElsewhere));
        let none = Run { records: Vec::new(), seal: sealed(all.clone()).seal };
        assert!(matches!(check(none), MalformedRun::Empty));
        let mut bodiless = all.clone();
        bodiless[2].body = None;
        assert!(matches!(check(sealed(bodiless)), MalformedRun::Bodiless { at: 2 }));
        let mut exchanged = all.clone();
        exchanged[1].body.clone_from(&all[2].body);
        assert!(matches!(check(sealed(exchanged)), MalformedRun::Record { at: 1, .. }));
        let foreign = sealed(all).check(DeploymentId([8; 16]));
        assert!(matches!(foreign, Err(MalformedRun::Order { at: 0 })));
    }

    #[test]
    fn an_upgrade_of_what_was_not_there_yet_is_refused() {
        let later = Revision::from_unix_ms(9_000);
        let verified = Stamp {
            effective: EffectiveTime::at(later),
            revision: later,
            origin: origin("n3"),
            generation: 0,
        };
        let secret = Sealed { bytes: Box::new([1]), fingerprint: Fingerprint([0; 16]) };
        let upgrade = Some(Upgrade { verified, lineage: Vec::new() });
        let event = Event::PasswordSet(PasswordSet { secret, upgrade });
        let run = sealed(records((0, Digest::ZERO), 1, &event));
        let refused = run.check(DEPLOYMENT).unwrap_err();
        assert!(matches!(refused, MalformedRun::LaterThanItself { at: 0 }));
    }
}
