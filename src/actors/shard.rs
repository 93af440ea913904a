//! A shard: the actor that owns a slice of users.
//!
//! It decides commands, appends what happened, and once that is durable folds it into the state,
//! writes the state and answers. [`ShardEngine`] does all of it and is tested without actix;
//! its mailbox is in `shard_mailbox`.

use std::sync::Arc;

use actix::Message;
use serde::Serialize;
use tokio::sync::oneshot;

use crate::events::account::Seen;
use crate::events::cell::Effect;
use crate::events::command::{Caller, Command, Context, Outcome, Rest};
use crate::events::decide::{Decision, decide};
use crate::events::event::Cause;
use crate::events::evolve::evolve;
use crate::events::ids::UserId;
use crate::events::record::{Fact, LogPosition};
use crate::events::state::UserState;
use crate::log::{Committed, LogReader, Urgency};
use crate::state::error::StateError;
use crate::state::store::Store;

use super::absorb::Absorb;
use super::failure::{Failure, Unavailable};
use super::journal::{self, Journal};
use super::known::Known;
use super::lane::{Reply, send};
use super::lanes::Lanes;

/// A command for one user.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Ask {
    /// The user.
    pub user: UserId,
    /// What is asked.
    pub command: Command,
    /// Who asks.
    pub caller: Caller,
    /// What is kept of the request.
    pub cause: Cause,
    /// What the caller must have seen.
    pub if_seen: Option<Seen>,
    /// The other users of the account.
    pub rest: Rest,
    /// Where the answer goes.
    pub reply: Reply<Answer, Failure>,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Whether it changed something.
    pub outcome: Outcome,
    /// What a reader of this user sees now.
    pub seen: Seen,
    /// The user as the command left it.
    pub state: Arc<UserState>,
}

/// Asks for a user's state, as it is on disk.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Read {
    /// The user.
    pub user: UserId,
    /// Where the state goes; the empty one is of a user of whom nothing is known.
    pub reply: Reply<Arc<UserState>, Unavailable>,
}

/// Asks a shard to answer once everything that the log delivered to it before is in the store.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Barrier(pub oneshot::Sender<()>);

/// Asks for a snapshot.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Observe(pub oneshot::Sender<ShardView>);

/// What a shard shows of itself.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ShardView {
    /// Users with something on its way to the disk.
    pub in_flight: usize,
    /// Commands that recorded something.
    pub applied: u64,
    /// Commands refused.
    pub rejected: u64,
    /// Commands that could not be carried out.
    pub unavailable: u64,
    /// Events that lost against a rival write.
    pub lost: u64,
    /// Times a user's state took what other origins recorded.
    pub absorbed: u64,
}

/// The message in which the log's answer comes back.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Logged(pub journal::Outcome);

/// How an engine hears of what it appended.
pub type Notify = Arc<dyn Fn(journal::Outcome) + Send + Sync>;

/// What the node does when its state can no longer follow its log: it stops.
pub type OnFatal = Arc<dyn Fn(&dyn std::fmt::Display) + Send + Sync>;

/// A shard without its mailbox.
pub struct ShardEngine {
    pub(super) store: Arc<Store>,
    pub(super) reader: LogReader,
    journal: Journal,
    lanes: Lanes<UserId, Arc<UserState>, Answer, Failure>,
    known: Arc<Known>,
    waiting_per_user_max: usize,
    notify: Notify,
    on_fatal: OnFatal,
    /// The state could not follow the log: nothing may be told or decided on it any more.
    behind: bool,
    view: ShardView,
}

/// What a shard is made of.
pub struct ShardParts {
    /// The state.
    pub store: Arc<Store>,
    /// The log, to read keys and histories from.
    pub reader: LogReader,
    /// The log, to write to.
    pub journal: Journal,
    /// Most commands in line for one user.
    pub waiting_per_user_max: usize,
    /// The states that are kept in memory. Nobody else puts any there.
    pub known: Arc<Known>,
    /// Called when the state cannot follow the log.
    pub on_fatal: OnFatal,
}

impl ShardEngine {
    /// An engine that hears of its appends through `notify`.
    pub fn new(parts: ShardParts, notify: Notify) -> Self {
        let ShardParts { store, reader, journal, waiting_per_user_max, .. } = parts;
        Self {
            store,
            reader,
            journal,
            lanes: Lanes::default(),
            known: parts.known,
            waiting_per_user_max,
            notify,
            on_fatal: parts.on_fatal,
            behind: false,
            view: ShardView::default(),
        }
    }

    /// Decides a command; the answer comes when what it rests on is durable.
    pub fn ask(&mut self, ask: Ask) {
        let Ask { user, command, caller, cause, if_seen, rest, reply } = ask;
        if self.behind {
            self.view.unavailable += 1;
            return send(reply, Err(Unavailable::NotReady.into()));
        }
        let lane = match self.lanes.enter(user, || self.known.load(&self.store, user)) {
            Ok(lane) if lane.len() >= self.waiting_per_user_max => {
                self.view.unavailable += 1;
                return send(reply, Err(Unavailable::Overloaded.into()));
            }
            Ok(lane) => lane,
            Err(unavailable) => {
                self.view.unavailable += 1;
                return send(reply, Err(unavailable.into()));
            }
        };
        let urgency = urgency_of(&command);
        let context = Context { now: self.journal.now(), caller, cause, if_seen, rest };
        let fold = |state: &mut Arc<UserState>, fact: &Fact| fold(state, user, fact);
        match decide(lane.ahead(fold), user, command, &context) {
            Ok(Decision { drafts, outcome }) if drafts.is_empty() => {
                let state = Arc::clone(lane.ahead(fold));
                let answer = Answer { outcome, seen: Seen::of(user, &state), state };
                lane.answer(Ok(answer), reply);
            }
            Ok(decision) => self.append(user, decision, urgency, reply),
            Err(rejection) => {
                self.view.rejected += 1;
                lane.answer(Err(rejection.into()), reply);
            }
        }
        self.lanes.settle(user);
    }

    fn append(
        &mut self,
        user: UserId,
        decision: Decision,
        urgency: Urgency,
        reply: Reply<Answer, Failure>,
    ) {
        let ticket = self.lanes.ticket(user);
        let notify = Arc::clone(&self.notify);
        let done = move |result| notify(journal::Outcome { ticket, result });
        let (journal, lanes) = (&self.journal, &mut self.lanes);
        let taken = journal.prepare(decision.drafts).and_then(|prepared| {
            let prepared = prepared.durable(urgency);
            journal.append(lanes.epoch(), prepared, done, |epoch| lanes.catch_up(ticket, epoch))
        });
        let facts = match taken {
            Ok(facts) => facts,
            Err(unavailable) => {
                self.view.unavailable += 1;
                self.lanes.withdraw(ticket);
                return send(reply, Err(unavailable.into()));
            }
        };
        // What a reader sees is known once it is durable: `logged` fills it in.
        let (outcome, state) = (decision.outcome, Arc::default());
        let answer = Answer { outcome, seen: Seen::NOTHING, state };
        if let Ok(lane) = self.lanes.enter(user, || self.known.load(&self.store, user)) {
            lane.append(ticket, facts, answer, reply, |state, fact| fold(state, user, fact));
        }
    }

    /// The log says what became of an append.
    pub fn logged(&mut self, outcome: journal::Outcome) {
        let journal::Outcome { ticket, result } = outcome;
        match result {
            Ok(committed) => self.durable(ticket, &committed),
            Err(error) => {
                let (epoch, unavailable) = self.journal.failed(&error);
                if self.lanes.fail(ticket, epoch, || unavailable.into()) {
                    self.view.unavailable += 1;
                }
            }
        }
    }

    fn durable(&mut self, ticket: u64, committed: &Committed) {
        let Some((user, lane, confirmed)) = self.lanes.confirm(ticket) else { return };
        let before = Arc::clone(lane.durable());
        let mut facts = Vec::with_capacity(confirmed.facts.len());
        for (mut fact, placed) in confirmed.facts.into_iter().zip(&committed.placed) {
            fact.reference = placed.reference;
            if evolve(Arc::make_mut(lane.durable_mut()), user, &fact) == Effect::Lost {
                self.view.lost += 1;
            }
            facts.push((fact, placed.position));
        }
        let after = lane.durable();
        let durable = self.journal.log().durable();
        let written = self.store.note_reach(durable).and_then(|()| {
            self.store.apply(user, Some(&before), after, facts.iter().map(|(fact, at)| (fact, *at)))
        });
        if let Err(error) = written {
            // The event is in the log and the state cannot take it: only a restart, which folds
            // the log anew, brings the two together. The caller is not told that nothing happened,
            // and until then nothing may be decided on a state without the event: the reservation
            // that ends with this answer would let a rival in.
            self.behind = true;
            self.known.forget();
            self.journal.log().shut();
            (self.on_fatal)(&error);
            send(confirmed.reply, Err(Unavailable::NotReady.into()));
            return self.lanes.give_up(|| Unavailable::NotReady.into());
        }
        self.known.keep(user, after);
        self.view.applied += 1;
        let (seen, state) = (Seen::of(user, after), Arc::clone(after));
        send(confirmed.reply, Ok(Answer { seen, state, ..confirmed.answer }));
        self.lanes.settle(user);
    }

    /// Folds what other origins recorded. It is durable already and cannot be refused.
    pub fn absorb(&mut self, absorb: Absorb) {
        if self.behind {
            return;
        }
        for (user, facts) in absorb.users {
            if let Err(error) = self.absorb_user(user, &facts) {
                // As with an own event that the state cannot take: only a restart brings it there.
                self.behind = true;
                self.known.forget();
                self.journal.log().shut();
                (self.on_fatal)(&error);
                return self.lanes.give_up(|| Unavailable::NotReady.into());
            }
        }
    }

    fn absorb_user(
        &mut self,
        user: UserId,
        facts: &[(Fact, LogPosition)],
    ) -> Result<(), StateError> {
        let before = match self.lanes.get(user) {
            Some(lane) => Arc::clone(lane.durable()),
            None => self.known.read(&self.store, user)?,
        };
        let mut after = Arc::clone(&before);
        for (fact, _) in facts {
            if evolve(Arc::make_mut(&mut after), user, fact) == Effect::Lost {
                self.view.lost += 1;
            }
        }
        let placed = facts.iter().map(|(fact, position)| (fact, *position));
        self.store.note_reach(self.journal.log().durable())?;
        self.store.apply(user, Some(&before), &after, placed)?;
        self.known.keep(user, &after);
        self.view.absorbed += 1;
        if let Some(lane) = self.lanes.get_mut(user) {
            lane.absorb(|durable| *durable = after);
        }
        Ok(())
    }

    /// A user's state as it is on disk.
    pub fn read(&mut self, user: UserId) -> Result<Arc<UserState>, Unavailable> {
        if self.behind {
            return Err(Unavailable::NotReady);
        }
        match self.lanes.get(user) {
            Some(lane) => Ok(Arc::clone(lane.durable())),
            None => self.known.load(&self.store, user),
        }
    }

    /// A snapshot.
    pub fn view(&self) -> ShardView {
        ShardView { in_flight: self.lanes.len(), ..self.view.clone() }
    }
}

/// A bulk sync has many rows under way, and nobody waits for one of them.
const fn urgency_of(command: &Command) -> Urgency {
    match command {
        Command::Sync(_) => Urgency::Gathered,
        _ => Urgency::AtOnce,
    }
}

pub(super) fn fold(state: &mut Arc<UserState>, user: UserId, fact: &Fact) {
    evolve(Arc::make_mut(state), user, fact);
}

pub(super) fn unreadable(user: UserId, error: &dyn std::error::Error) -> Unavailable {
    tracing::error!(%user, error = %journal::chain(error), "a user cannot be read");
    Unavailable::Storage
}
