//! `given(events).when(command).then(outcome, drafts)`: one command of one user, decided.
//!
//! Given events are recorded one a millisecond, from millisecond 1000 on, at `eu/n1`, and count
//! from when they are recorded unless `Given` says otherwise. The command is decided at
//! millisecond `NOW_MS`.

use jcas::events::account::Seen;
use jcas::events::cell::Mark;
use jcas::events::command::{Caller, Command, Context, Outcome, Rejection, Rest};
use jcas::events::decide::{Decision, decide};
use jcas::events::event::Event;
use jcas::events::evolve::evolve;
use jcas::events::policy::{Policies, Policy, Reach};
use jcas::events::record::{Fact, Subject};
use jcas::events::stamp::{EffectiveTime, EventRef, Origin, Stamp};
use jcas::events::state::UserState;

use crate::fixtures::{at, cause, company, digest, origin, policies, user};

/// When commands are decided.
pub(crate) const NOW_MS: u64 = 5_000;

/// An event and when it counts as made; none: when it was recorded.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    pub(crate) event: Event,
    pub(crate) effective: Option<EffectiveTime>,
    pub(crate) origin: Origin,
}

impl From<Event> for Given {
    fn from(event: Event) -> Self {
        Self { event, effective: None, origin: origin("eu/n1") }
    }
}

/// An event that a company or the system gave no time for.
pub(crate) fn without_time(event: Event) -> Given {
    Given { effective: Some(EffectiveTime::LOWEST), ..event.into() }
}

/// An event that counts from an earlier millisecond.
pub(crate) fn made_at(unix_ms: u64, event: Event) -> Given {
    Given { effective: Some(EffectiveTime::at(at(unix_ms))), ..event.into() }
}

/// An event recorded by another node.
pub(crate) fn recorded_by(node: &str, event: Event) -> Given {
    Given { origin: origin(node), ..event.into() }
}

/// A user, what is known of it, and who asks.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) state: UserState,
    marks: Vec<Mark>,
    references: Vec<EventRef>,
    caller: Caller,
    if_seen: Option<Seen>,
    rest: Rest,
}

/// The user of every scenario.
pub(crate) fn subject() -> jcas::events::ids::UserId {
    user(1)
}

/// A user of which these events are known. The operator asks, unless `by` says otherwise.
pub(crate) fn given<G: Into<Given>>(events: impl IntoIterator<Item = G>) -> Scenario {
    let nothing = Scenario {
        state: UserState::default(),
        marks: Vec::new(),
        references: Vec::new(),
        caller: Caller::Operator,
        if_seen: None,
        rest: Rest::NONE,
    };
    events.into_iter().fold(nothing, Scenario::and)
}

/// A user of which nothing is known.
pub(crate) fn given_nothing() -> Scenario {
    given(Vec::<Given>::new())
}

impl Scenario {
    /// One more event.
    pub(crate) fn and(mut self, given: impl Into<Given>) -> Self {
        let Given { event, effective, origin } = given.into();
        let number = self.marks.len() as u64;
        let revision = at(1_000 + number);
        let stamp = Stamp {
            effective: effective.unwrap_or(EffectiveTime::at(revision)),
            revision,
            origin,
            generation: 0,
        };
        let stamp = match &event {
            Event::PasswordSet(set) => {
                set.upgrade.as_ref().map_or(stamp, |u| u.verified.upgraded())
            }
            _ => stamp,
        };
        let fact = Fact {
            subject: Subject::User(subject()),
            register: event.register(),
            stamp,
            digest: digest(number),
            reference: EventRef { origin, sequence: number + 1 },
            revision,
            idempotency: None,
            event: Some(event),
        };
        evolve(&mut self.state, subject(), &fact);
        self.marks.push(Mark::of(&fact));
        self.references.push(fact.reference);
        self
    }

    /// A company asks whose policies all reach `reach`.
    pub(crate) fn by(self, name: &str, reach: Reach) -> Self {
        self.by_company(name, policies(reach, false))
    }

    /// A company asks.
    pub(crate) fn by_company(self, name: &str, policies: Policies) -> Self {
        Self { caller: Caller::Company(company(name), policies), ..self }
    }

    /// JCAS itself asks.
    pub(crate) fn by_system(self) -> Self {
        Self { caller: Caller::System, ..self }
    }

    /// The user is linked with others'.
    pub(crate) fn linked_with_others(self) -> Self {
        Self { rest: Rest { of_others: true, ..self.rest }, ..self }
    }

    /// The user is linked with users of which a reader has seen this.
    pub(crate) fn with_rest(self, seen: Seen) -> Self {
        Self { rest: Rest { seen, ..self.rest }, ..self }
    }

    /// The caller must have seen this.
    pub(crate) fn if_seen(self, seen: Seen) -> Self {
        Self { if_seen: Some(seen), ..self }
    }

    /// What a reader of the user has seen now.
    pub(crate) fn seen(&self) -> Seen {
        Seen::of(subject(), &self.state)
    }

    /// The mark of the given event with this number, from 0.
    pub(crate) fn mark(&self, number: usize) -> Mark {
        self.marks[number]
    }

    /// Where the given event with this number stands.
    pub(crate) fn reference(&self, number: usize) -> EventRef {
        self.references[number]
    }

    /// What a company with these identities would be told: decides.
    pub(crate) fn when(self, command: Command) -> Decided {
        let context = Context {
            now: at(NOW_MS),
            caller: self.caller,
            cause: cause("asker"),
            if_seen: self.if_seen,
            rest: self.rest,
        };
        let decision = decide(&self.state, subject(), command, &context);
        Decided { scenario: self, decision }
    }
}

/// What became of a command.
#[derive(Debug)]
pub(crate) struct Decided {
    scenario: Scenario,
    decision: Result<Decision, Rejection>,
}

impl Decided {
    /// Exactly these events are recorded, with these effective times, by the one who asked, now.
    #[track_caller]
    pub(crate) fn then<D: Into<Expected>>(
        self,
        outcome: Outcome,
        drafts: impl IntoIterator<Item = D>,
    ) {
        let decision = self.decision.expect("the command was refused");
        let expected: Vec<Expected> = drafts.into_iter().map(Into::into).collect();
        let found = decision.drafts.iter();
        let found: Vec<_> = found.map(|it| Expected(it.effective, it.event.clone())).collect();
        assert_eq!(found, expected, "the events");
        assert_eq!(decision.outcome, outcome, "the outcome");
        for draft in &decision.drafts {
            assert_eq!(draft.subject, Subject::User(subject()), "whom it is about");
            assert_eq!(draft.revision, at(NOW_MS), "when it is recorded");
            assert_eq!(draft.cause, cause("asker"), "who asked");
        }
    }

    /// Nothing is recorded, since it is so already.
    #[track_caller]
    pub(crate) fn then_unchanged(self) {
        self.then(Outcome::Unchanged, Vec::<Expected>::new());
    }

    /// Nothing is recorded, since something newer stands.
    #[track_caller]
    pub(crate) fn then_older(self) {
        self.then(Outcome::Older, Vec::<Expected>::new());
    }

    /// It is refused.
    #[track_caller]
    pub(crate) fn then_rejected(self, why: Rejection) {
        assert_eq!(self.decision.expect_err("the command was taken"), why);
    }

    /// It is refused by this policy.
    #[track_caller]
    pub(crate) fn then_denied(self, policy: Policy) {
        self.then_rejected(Rejection::PolicyDenied { policy });
    }

    /// What was decided becomes part of what is known.
    #[track_caller]
    pub(crate) fn and_recorded(self) -> Scenario {
        let decision = self.decision.expect("the command was refused");
        decision.drafts.into_iter().fold(self.scenario, |scenario, draft| {
            let effective = Some(draft.effective);
            scenario.and(Given { effective, ..draft.event.into() })
        })
    }
}

/// An event that is to be recorded, and when it counts as made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expected(pub(crate) EffectiveTime, pub(crate) Event);

impl From<Event> for Expected {
    fn from(event: Event) -> Self {
        Self(EffectiveTime::at(at(NOW_MS)), event)
    }
}

/// The event, with the lowest effective time.
pub(crate) fn lowest(event: Event) -> Expected {
    Expected(EffectiveTime::LOWEST, event)
}

/// The event, made at this millisecond.
pub(crate) fn as_of(unix_ms: u64, event: Event) -> Expected {
    Expected(EffectiveTime::at(at(unix_ms)), event)
}
