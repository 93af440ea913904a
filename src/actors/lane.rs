//! A state while events of it are on their way to the disk.
//!
//! Later commands are decided on what will be (`ahead`), readers see what is (`durable`), and an
//! answer waits in line behind every event it rests on. If an event fails, everything in line
//! behind it fails with it. What will be is folded only when somebody asks for it: most events are
//! durable before the next command comes.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use crate::events::record::Fact;

/// Names one append of one actor.
pub type Ticket = u64;

/// Where an answer goes. Nobody listening any more is no fault: the command holds all the same.
pub type Reply<A, E> = oneshot::Sender<Result<A, E>>;

/// One subject's line. `S` is its state, `A` what is answered, `E` why not.
#[derive(Debug)]
pub struct Lane<S, A, E> {
    durable: S,
    /// None while nobody has asked since the line began.
    ahead: Option<S>,
    line: VecDeque<Waiting<A, E>>,
}

/// Something that waits in line.
#[derive(Debug)]
enum Waiting<A, E> {
    /// Events that the log has not confirmed, and what is answered then.
    Events { ticket: Ticket, facts: Vec<Fact>, answer: A, reply: Reply<A, E> },
    /// An answer that rests on the events before it.
    Answer { result: Result<A, E>, reply: Reply<A, E> },
}

impl<A, E> Waiting<A, E> {
    fn facts(&self) -> &[Fact] {
        match self {
            Self::Events { facts, .. } => facts,
            Self::Answer { .. } => &[],
        }
    }
}

/// The events a confirmation was for, and whom to answer.
#[derive(Debug)]
pub struct Confirmed<A, E> {
    /// The facts, as they were decided: their references are not known yet.
    pub facts: Vec<Fact>,
    /// What to answer.
    pub answer: A,
    /// Where to.
    pub reply: Reply<A, E>,
}

impl<S: Clone, A, E> Lane<S, A, E> {
    /// A line with nobody in it.
    pub const fn new(durable: S) -> Self {
        Self { durable, ahead: None, line: VecDeque::new() }
    }

    /// What is on disk.
    pub const fn durable(&self) -> &S {
        &self.durable
    }

    /// What is on disk, to fold confirmed events into.
    pub const fn durable_mut(&mut self) -> &mut S {
        &mut self.durable
    }

    /// Folds what came from elsewhere into what is on disk; what will be is folded anew.
    pub fn absorb(&mut self, fold: impl FnOnce(&mut S)) {
        fold(&mut self.durable);
        self.ahead = None;
    }

    /// What will be when everything in line is on disk: what commands are decided on.
    pub fn ahead(&mut self, fold: impl Fn(&mut S, &Fact)) -> &S {
        let Self { durable, ahead, line } = self;
        let in_line = || line.iter().flat_map(Waiting::facts);
        if ahead.is_none() && in_line().next().is_none() {
            return durable;
        }
        ahead.get_or_insert_with(|| {
            let mut ahead = durable.clone();
            for fact in in_line() {
                fold(&mut ahead, fact);
            }
            ahead
        })
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.line.len()
    }

    /// Whether nobody waits, so that the line may be forgotten.
    pub fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// Puts events in line that the log has taken. They are part of what will be.
    pub fn append(
        &mut self,
        ticket: Ticket,
        facts: Vec<Fact>,
        answer: A,
        reply: Reply<A, E>,
        fold: impl Fn(&mut S, &Fact),
    ) {
        if let Some(ahead) = &mut self.ahead {
            for fact in &facts {
                fold(ahead, fact);
            }
        }
        self.line.push_back(Waiting::Events { ticket, facts, answer, reply });
    }

    /// Answers now if nobody is in line, else behind the last one.
    pub fn answer(&mut self, result: Result<A, E>, reply: Reply<A, E>) {
        if self.line.is_empty() {
            send(reply, result);
        } else {
            self.line.push_back(Waiting::Answer { result, reply });
        }
    }

    /// Takes the events of a ticket out of line. None: they are not there any more, since the line
    /// failed meanwhile.
    pub fn confirm(&mut self, confirmed: Ticket) -> Option<Confirmed<A, E>> {
        match self.line.pop_front() {
            Some(Waiting::Events { ticket, facts, answer, reply }) if ticket == confirmed => {
                Some(Confirmed { facts, answer, reply })
            }
            Some(other) => {
                self.line.push_front(other);
                None
            }
            None => None,
        }
    }

    /// Sends the answers that rested on what was confirmed just now.
    pub fn send_ready(&mut self) {
        while let Some(Waiting::Answer { .. }) = self.line.front() {
            if let Some(Waiting::Answer { result, reply }) = self.line.pop_front() {
                send(reply, result);
            }
        }
    }

    /// Fails everybody in line: what they rest on did not reach the disk.
    pub fn fail(self, error: impl Fn() -> E) {
        for waiting in self.line {
            let (Waiting::Events { reply, .. } | Waiting::Answer { reply, .. }) = waiting;
            send(reply, Err(error()));
        }
    }
}

/// Answers. A caller that went away does not matter to what was done.
pub fn send<A, E>(reply: Reply<A, E>, result: Result<A, E>) {
    drop(reply.send(result));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::ids::{Digest, UserId};
    use crate::events::record::{Register, Subject};
    use crate::events::stamp::{EffectiveTime, EventRef, Incarnation, Origin, Revision, Stamp};

    fn fact() -> Fact {
        let incarnation = Incarnation { counter: 1, tag: 1 };
        let origin =
            Origin { region: "eu".parse().unwrap(), node: "a".parse().unwrap(), incarnation };
        let revision = Revision::from_unix_ms(1);
        let effective = EffectiveTime::LOWEST;
        Fact {
            subject: Subject::User(UserId::new(1, [0; 10])),
            register: Register::Profile,
            stamp: Stamp { effective, revision, origin, generation: 0 },
            digest: Digest::ZERO,
            reference: EventRef { origin, sequence: 0 },
            revision,
            idempotency: None,
            event: None,
        }
    }

    fn add(state: &mut u32, _: &Fact) {
        *state += 1;
    }

    #[test]
    fn readers_see_what_is_and_deciders_what_will_be() {
        let mut lane: Lane<u32, (), ()> = Lane::new(0);
        assert_eq!(*lane.ahead(add), 0);
        lane.append(1, vec![fact()], (), oneshot::channel().0, add);
        assert_eq!((*lane.durable(), *lane.ahead(add)), (0, 1));
    }

    #[test]
    fn what_will_be_is_the_same_whenever_it_is_asked_for() {
        let (mut asked, mut not_asked) = (Lane::<u32, (), ()>::new(0), Lane::<u32, (), ()>::new(0));
        for ticket in 1..4 {
            asked.append(ticket, vec![fact(), fact()], (), oneshot::channel().0, add);
            not_asked.append(ticket, vec![fact(), fact()], (), oneshot::channel().0, add);
            asked.ahead(add);
        }
        for lane in [&mut asked, &mut not_asked] {
            let confirmed = lane.confirm(1).unwrap();
            for fact in &confirmed.facts {
                add(lane.durable_mut(), fact);
            }
        }
        assert_eq!((*asked.durable(), *asked.ahead(add)), (2, 6));
        assert_eq!((*not_asked.durable(), *not_asked.ahead(add)), (2, 6));
    }

    #[test]
    fn an_answer_waits_for_the_events_it_rests_on() {
        let mut lane: Lane<u32, &str, &str> = Lane::new(0);
        let (first, _first) = oneshot::channel();
        let (second, mut answer) = oneshot::channel();
        lane.append(7, vec![fact()], "done", first, add);
        lane.answer(Err("taken"), second);
        assert!(answer.try_recv().is_err(), "it was answered before the disk");
        assert!(lane.confirm(7).is_some());
        lane.send_ready();
        assert_eq!(answer.try_recv().unwrap(), Err("taken"));
    }

    #[test]
    fn a_failure_fails_everybody_behind_it() {
        let mut lane: Lane<u32, &str, &str> = Lane::new(0);
        let (first, mut one) = oneshot::channel();
        let (second, mut two) = oneshot::channel();
        lane.append(7, vec![fact()], "done", first, add);
        lane.answer(Err("taken"), second);
        lane.fail(|| "the disk is full");
        assert_eq!(one.try_recv().unwrap(), Err("the disk is full"));
        assert_eq!(two.try_recv().unwrap(), Err("the disk is full"));
    }

    #[test]
    fn a_late_confirmation_of_what_failed_is_nothing() {
        let mut lane: Lane<u32, (), ()> = Lane::new(0);
        lane.append(2, vec![fact()], (), oneshot::channel().0, add);
        assert!(lane.confirm(1).is_none());
        assert_eq!(lane.len(), 1);
    }
}
