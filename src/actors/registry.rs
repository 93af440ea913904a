//! The registry: the actor that owns companies, API keys, policies, hash profiles and the node's
//! knowledge of branch keys and lives.
//!
//! It is small and wholly in memory. Everybody reads it through [`RegistryWatch`], a snapshot that
//! is replaced whenever something became durable.

use std::collections::HashMap;
use std::sync::Arc;

use actix::{Actor, AsyncContext, Context, Handler, Message};
use serde::Serialize;
use tokio::sync::{oneshot, watch};

use crate::events::command::Outcome;
use crate::events::decide_registry::{RegistryCommand, RegistryRejection, decide_registry};
use crate::events::event::{ApiKeyIssued, Cause, Event};
use crate::events::ids::{ApiKeyId, CompanyId};
use crate::events::record::Fact;
use crate::events::registry::{CompanyState, RegistryState};
use crate::log::Committed;
use crate::state::store::Store;

use super::absorb::AbsorbRegistry;
use super::failure::Unavailable;
use super::journal::{self, Journal};
use super::lane::{Reply, send};
use super::lanes::Lanes;
use super::shard::{Notify, OnFatal};

/// What `on_fatal` is told where nothing failed: what was folded did not know who is cut off, and
/// only a start folds everything anew, knowing.
pub const FOLD_ANEW: &str = "an operator cut a life off: everything is folded anew";

/// A command for the registry.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Ask {
    /// What is asked.
    pub command: RegistryCommand,
    /// What is kept of the request.
    pub cause: Cause,
    /// Where the answer goes.
    pub reply: Reply<Outcome, RegistryFailure>,
}

/// A registry command was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RegistryFailure {
    /// It may not be.
    #[error(transparent)]
    Rejected(#[from] RegistryRejection),
    /// It could not be, now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// What everybody reads: the registry as it is on disk, indexed.
#[derive(Debug, Clone, Default)]
pub struct RegistryView {
    /// The state itself.
    pub state: RegistryState,
    keys: HashMap<ApiKeyId, CompanyId>,
}

impl RegistryView {
    /// The view of a state.
    pub fn new(state: RegistryState) -> Self {
        let owned = |(id, company): (&CompanyId, &CompanyState)| {
            company.live_keys().map(|key| (key.key, *id)).collect::<Vec<_>>()
        };
        let keys = state.companies.iter().flat_map(owned).collect();
        Self { state, keys }
    }

    /// A standing API key and its company.
    pub fn api_key(&self, id: ApiKeyId) -> Option<(&ApiKeyIssued, &CompanyState)> {
        let company = self.state.companies.get(self.keys.get(&id)?)?;
        let key = company.keys.get(&id).filter(|key| key.revoked.is_none())?;
        key.issued.as_ref().map(|cell| (&cell.value, company))
    }
}

/// Where the newest view is found.
pub type RegistryWatch = watch::Receiver<Arc<RegistryView>>;

/// The message in which the log's answer comes back.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Logged(journal::Outcome);

/// Asks to answer once everything that the log delivered before is in the store.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Barrier(pub oneshot::Sender<()>);

/// Asks for a snapshot.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Observe(pub oneshot::Sender<RegistrySnapshot>);

/// What the registry shows of itself.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct RegistrySnapshot {
    /// Companies.
    pub companies: usize,
    /// API keys that stand.
    pub keys: usize,
    /// Branch keys.
    pub branch_keys: usize,
    /// Lives of nodes.
    pub lives: usize,
}

/// The registry without its mailbox.
pub struct RegistryEngine {
    store: Arc<Store>,
    journal: Journal,
    state: RegistryState,
    lanes: Lanes<(), RegistryState, Outcome, RegistryFailure>,
    published: watch::Sender<Arc<RegistryView>>,
    notify: Notify,
    on_fatal: OnFatal,
    /// The store could not follow the log: nothing may be decided any more.
    behind: bool,
}

/// What the registry is made of.
pub struct RegistryParts {
    /// Where positions of its events are kept.
    pub store: Arc<Store>,
    /// The log, to write to.
    pub journal: Journal,
    /// What its events fold to, up to the log's end.
    pub state: RegistryState,
    /// Where the views go.
    pub published: watch::Sender<Arc<RegistryView>>,
    /// Called when the store cannot follow the log.
    pub on_fatal: OnFatal,
}

impl RegistryEngine {
    /// An engine that hears of its appends through `notify`.
    pub fn new(parts: RegistryParts, notify: Notify) -> Self {
        let RegistryParts { store, journal, state, published, on_fatal } = parts;
        published.send_replace(Arc::new(RegistryView::new(state.clone())));
        let (lanes, behind) = (Lanes::default(), false);
        Self { store, journal, state, lanes, published, notify, on_fatal, behind }
    }

    /// Decides a command; the answer comes when what it rests on is durable.
    pub fn ask(&mut self, ask: Ask) {
        let Ask { command, cause, reply } = ask;
        if self.behind {
            return send(reply, Err(Unavailable::NotReady.into()));
        }
        let state = &self.state;
        let Ok(lane) = self.lanes.enter((), || Ok::<_, Unavailable>(state.clone())) else { return };
        match decide_registry(lane.ahead(fold), command, self.journal.now(), cause) {
            Ok((drafts, outcome)) if drafts.is_empty() => lane.answer(Ok(outcome), reply),
            Ok((drafts, outcome)) => self.append(drafts, outcome, reply),
            Err(rejection) => lane.answer(Err(rejection.into()), reply),
        }
        self.lanes.settle(());
    }

    fn append(
        &mut self,
        drafts: Vec<crate::events::event::Draft>,
        outcome: Outcome,
        reply: Reply<Outcome, RegistryFailure>,
    ) {
        let ticket = self.lanes.ticket(());
        let notify = Arc::clone(&self.notify);
        let done = move |result| notify(journal::Outcome { ticket, result });
        let (journal, lanes) = (&self.journal, &mut self.lanes);
        let taken = journal.prepare(drafts).and_then(|prepared| {
            journal.append(lanes.epoch(), prepared, done, |epoch| lanes.catch_up(ticket, epoch))
        });
        match taken {
            Ok(facts) => {
                let state = &self.state;
                if let Ok(lane) = self.lanes.enter((), || Ok::<_, Unavailable>(state.clone())) {
                    lane.append(ticket, facts, outcome, reply, fold);
                }
            }
            Err(unavailable) => {
                self.lanes.withdraw(ticket);
                send(reply, Err(unavailable.into()));
            }
        }
    }

    /// Folds what other origins recorded. It is durable already and cannot be refused.
    pub fn absorb(&mut self, absorb: &AbsorbRegistry) {
        if self.behind {
            return;
        }
        for (fact, position) in &absorb.facts {
            if cuts_off(&self.state, fact) {
                return self.fall_behind(&FOLD_ANEW);
            }
            self.state.evolve(fact);
            if let Some(lane) = self.lanes.get_mut(()) {
                lane.absorb(|durable| {
                    durable.evolve(fact);
                });
            }
            let durable = self.journal.log().durable();
            let noted = self.store.note_reach(durable);
            if let Err(error) = noted.and_then(|()| self.store.record_registry(*position)) {
                return self.fall_behind(&error);
            }
        }
        self.published.send_replace(Arc::new(RegistryView::new(self.state.clone())));
    }

    /// Nothing may be decided any more on a state without an event that is durable.
    fn fall_behind(&mut self, error: &dyn std::fmt::Display) {
        self.behind = true;
        self.journal.log().shut();
        (self.on_fatal)(error);
        self.lanes.give_up(|| Unavailable::NotReady.into());
    }

    /// A snapshot.
    pub fn view(&self) -> RegistrySnapshot {
        let companies = &self.state.companies;
        RegistrySnapshot {
            companies: companies.len(),
            keys: companies.values().map(|company| company.live_keys().count()).sum(),
            branch_keys: self.state.branch_keys.len(),
            lives: self.state.lives.len(),
        }
    }

    /// The log says what became of an append.
    pub fn logged(&mut self, outcome: journal::Outcome) {
        let journal::Outcome { ticket, result } = outcome;
        match result {
            Ok(committed) => self.durable(ticket, &committed),
            Err(error) => {
                let (epoch, unavailable) = self.journal.failed(&error);
                self.lanes.fail(ticket, epoch, || unavailable.into());
            }
        }
    }

    fn durable(&mut self, ticket: u64, committed: &Committed) {
        let Some(((), lane, confirmed)) = self.lanes.confirm(ticket) else { return };
        for (mut fact, placed) in confirmed.facts.into_iter().zip(&committed.placed) {
            fact.reference = placed.reference;
            if cuts_off(lane.durable(), &fact) {
                send(confirmed.reply, Ok(confirmed.answer));
                return self.fall_behind(&FOLD_ANEW);
            }
            lane.durable_mut().evolve(&fact);
            let durable = self.journal.log().durable();
            let noted = self.store.note_reach(durable);
            if let Err(error) = noted.and_then(|()| self.store.record_registry(placed.position)) {
                send(confirmed.reply, Err(Unavailable::NotReady.into()));
                return self.fall_behind(&error);
            }
        }
        self.state = lane.durable().clone();
        self.published.send_replace(Arc::new(RegistryView::new(self.state.clone())));
        send(confirmed.reply, Ok(confirmed.answer));
        self.lanes.settle(());
    }
}

/// Whether a fact cuts a life off that was not cut off so before. The store is not told of it, nor
/// is a checkpoint taken from then on: the next start must meet it in the log and fold anew.
fn cuts_off(state: &RegistryState, fact: &Fact) -> bool {
    matches!(&fact.event, Some(Event::OriginDistrusted(cut)) if !state.distrust.has(cut))
}

fn fold(state: &mut RegistryState, fact: &Fact) {
    state.evolve(fact);
}

/// The registry's mailbox.
pub struct Registry {
    parts: Option<RegistryParts>,
    engine: Option<RegistryEngine>,
    mailbox: usize,
}

impl Registry {
    /// A registry whose mailbox holds at most `mailbox` messages.
    pub const fn new(parts: RegistryParts, mailbox: usize) -> Self {
        Self { parts: Some(parts), engine: None, mailbox }
    }
}

impl Actor for Registry {
    type Context = Context<Self>;

    #[expect(
        clippy::disallowed_methods,
        reason = "what the log says of an append must arrive; appends are bounded by its queue"
    )]
    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(self.mailbox);
        let address = context.address();
        let notify: Notify = Arc::new(move |outcome| address.do_send(Logged(outcome)));
        self.engine = self.parts.take().map(|parts| RegistryEngine::new(parts, notify));
    }
}

impl Handler<Ask> for Registry {
    type Result = ();

    fn handle(&mut self, ask: Ask, _: &mut Self::Context) {
        if let Some(engine) = &mut self.engine {
            engine.ask(ask);
        }
    }
}

impl Handler<AbsorbRegistry> for Registry {
    type Result = ();

    fn handle(&mut self, absorb: AbsorbRegistry, _: &mut Self::Context) {
        if let Some(engine) = &mut self.engine {
            engine.absorb(&absorb);
        }
    }
}

impl Handler<Logged> for Registry {
    type Result = ();

    fn handle(&mut self, logged: Logged, _: &mut Self::Context) {
        if let Some(engine) = &mut self.engine {
            engine.logged(logged.0);
        }
    }
}

impl Handler<Barrier> for Registry {
    type Result = ();

    fn handle(&mut self, barrier: Barrier, _: &mut Self::Context) {
        // Unanswered where the store lacks what the log delivered: then no checkpoint may say else.
        if self.engine.as_ref().is_some_and(|engine| !engine.behind) {
            barrier.0.send(()).unwrap_or_default();
        }
    }
}

impl Handler<Observe> for Registry {
    type Result = ();

    fn handle(&mut self, observe: Observe, _: &mut Self::Context) {
        if let Some(engine) = &self.engine {
            // Nobody listening any more is no fault.
            let _unheard = observe.0.send(engine.view());
        }
    }
}
