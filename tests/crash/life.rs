//! One life of a node: the shipped engines over the shipped log, stepped by hand.
//!
//! The log's writer is a thread. It is kept in step by *holds*: appends that write nothing and
//! whose `done` does not return before the test says so. While the test acts, the writer stands in
//! a hold; when the test lets it go, the next hold is in the queue already. So what one turn of the
//! writer takes is decided by the test alone, and its outcomes are all there when the turn is over.

use std::collections::VecDeque;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use jcas::actors::checkpointer::Checkpoints;
use jcas::actors::directory::{Directory, Reserved};
use jcas::actors::failure::{Failure, Unavailable};
use jcas::actors::journal::{Journal, Outcome};
use jcas::actors::known::Known;
use jcas::actors::recovery::Recovered;
use jcas::actors::registry::{self, RegistryEngine, RegistryFailure, RegistryParts, RegistryView};
use jcas::actors::shard::{self, Answer, Notify, OnFatal, ShardEngine, ShardParts};
use jcas::clock::{Clock, Entropy, NodeClock};
use jcas::events::command::Rest;
use jcas::events::decide_registry::RegistryCommand;
use jcas::events::event::{Cause, OriginOpened};
use jcas::events::ids::{BlindIndex, UserId};
use jcas::events::record::LogPosition;
use jcas::events::state::UserState;
use jcas::log::{Append, Batch, LogWriter};
use tokio::sync::{oneshot, watch};

use crate::commands::{self, Wish};
use crate::ledger::{Asked, Checked};
use crate::trees::LossyTrees;

/// Shards of a node.
pub(crate) const SHARDS: usize = 2;

/// Most commands in line for one user.
const WAITING_PER_USER_MAX: usize = 5;

/// Users whose states a shard keeps in memory: fewer than it has.
const KNOWN_USERS_MAX: usize = 2;

/// What the log says, on its way to an engine.
#[derive(Clone, Default)]
pub(crate) struct Mailbox(Arc<Mutex<VecDeque<Outcome>>>);

impl Mailbox {
    fn notify(&self) -> Notify {
        let mailbox = Arc::clone(&self.0);
        Arc::new(move |outcome| {
            mailbox.lock().unwrap_or_else(PoisonError::into_inner).push_back(outcome);
        })
    }

    fn take(&self) -> Option<Outcome> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn holds_failure(&self) -> bool {
        let outcomes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        outcomes.iter().any(|outcome| outcome.result.is_err())
    }
}

/// Keeps the writer where it is.
pub(crate) struct Hold {
    entered: mpsc::Receiver<()>,
    /// Lets the writer go on when it is dropped.
    _release: mpsc::Sender<()>,
}

/// A command on its way.
pub(crate) enum Pending {
    /// It waits for an identity.
    Reserving(Box<Reserving>),
    /// It was asked.
    Asked(Asking),
}

/// A command that waits for an identity.
pub(crate) struct Reserving {
    pub(crate) wish: Wish,
    /// The identities it needs besides.
    pub(crate) needs: Vec<BlindIndex>,
    /// Those it holds.
    pub(crate) held: Vec<Reserved>,
    pub(crate) granted: BoxFuture<'static, Result<Reserved, Unavailable>>,
}

/// A command that was asked and has no answer yet.
pub(crate) struct Asking {
    pub(crate) number: u64,
    pub(crate) reply: Reply,
    /// What it holds until it is answered.
    _held: Vec<Reserved>,
    /// Whether it was looked at before.
    pub(crate) waited: bool,
}

/// Where an answer comes.
pub(crate) enum Reply {
    User(oneshot::Receiver<Result<Answer, Failure>>),
    Registry(oneshot::Receiver<Result<jcas::events::command::Outcome, RegistryFailure>>),
}

/// The engines that hear from the log, each with its mailbox.
pub(crate) struct Engines {
    shards: Vec<ShardEngine>,
    registry: RegistryEngine,
    /// The shards' and behind them the registry's.
    mailboxes: Vec<Mailbox>,
}

impl Engines {
    /// Hands an engine the oldest thing the log has for it. False: there is nothing.
    pub(crate) fn deliver(&mut self, engine: usize) -> bool {
        let Some(outcome) = self.mailboxes[engine].take() else { return false };
        match self.shards.get_mut(engine) {
            Some(shard) => shard.logged(outcome),
            None => self.registry.logged(outcome),
        }
        true
    }

    /// Hands every engine everything.
    pub(crate) fn deliver_all(&mut self) {
        for engine in 0..=SHARDS {
            while self.deliver(engine) {}
        }
    }

    /// What a reader sees of a user.
    pub(crate) fn read(&mut self, user: UserId) -> Result<Arc<UserState>, Unavailable> {
        self.shards[shard_of(user)].read(user)
    }
}

fn shard_of(user: UserId) -> usize {
    usize::from(user.as_bytes()[15]) % SHARDS
}

/// A running node.
pub(crate) struct Life {
    pub(crate) checkpoints: Checkpoints<LossyTrees>,
    pub(crate) writer: LogWriter,
    pub(crate) engines: Engines,
    pub(crate) directory: Directory,
    pub(crate) pending: Vec<Pending>,
    pub(crate) view: watch::Receiver<Arc<RegistryView>>,
    /// The steps that a full disk stays full.
    pub(crate) full_for: Option<usize>,
    /// Whether the disk was full and has space again, and nothing was written since.
    pub(crate) had_space_again: bool,
    /// How far the log is known to be durable on the disk.
    pub(crate) durable: LogPosition,
    fatal: Arc<Mutex<Option<String>>>,
    held: Option<Hold>,
    next: Option<Hold>,
}

impl Life {
    /// Starts the engines as a node does. The event that opens the life is asked for by the caller.
    pub(crate) fn start(
        recovered: Recovered<LossyTrees>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        tag: u32,
    ) -> Checked<(Self, OriginOpened)> {
        let (region, node) = ("eu".parse().unwrap(), "n1".parse().unwrap());
        let (origin, previous) = recovered.next_life(region, node, tag);
        let clock = NodeClock::starting_after(recovered.greatest, clock);
        let fatal: Arc<Mutex<Option<String>>> = Arc::default();
        let stop = Arc::clone(&fatal);
        let on_fatal: OnFatal = Arc::new(move |error| {
            *stop.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
        });
        let stop = Arc::clone(&on_fatal);
        let writer = recovered.log.start_writer(origin, Box::new(move |error| stop(error)));
        let writer = writer.map_err(|error| error.to_string())?;
        let journal = Journal::new(writer.clone(), origin, clock.clone(), entropy);
        let mailboxes: Vec<Mailbox> = (0..=SHARDS).map(|_| Mailbox::default()).collect();
        let shard = |mailbox: &Mailbox| {
            let parts = ShardParts {
                store: Arc::clone(&recovered.store),
                reader: recovered.log.reader(),
                journal: journal.clone(),
                waiting_per_user_max: WAITING_PER_USER_MAX,
                known: Arc::new(Known::new(KNOWN_USERS_MAX)),
                on_fatal: Arc::clone(&on_fatal),
            };
            ShardEngine::new(parts, mailbox.notify())
        };
        let shards = mailboxes.iter().take(SHARDS).map(shard).collect();
        let (published, view) = watch::channel(Arc::default());
        let parts = RegistryParts {
            store: Arc::clone(&recovered.store),
            journal: journal.clone(),
            state: recovered.registry.clone(),
            published,
            on_fatal: Arc::clone(&on_fatal),
        };
        let registry = RegistryEngine::new(parts, mailboxes[SHARDS].notify());
        let directory = Directory::new(Arc::clone(&recovered.store), 8);
        let durable = recovered.log.durable();
        let checkpoints = Checkpoints {
            store: recovered.store,
            folder: recovered.folder,
            generation: recovered.generation,
            log: recovered.log,
            clock,
        };
        let mut life = Self {
            checkpoints,
            writer,
            engines: Engines { shards, registry, mailboxes },
            directory,
            pending: Vec::new(),
            view,
            full_for: None,
            had_space_again: false,
            durable,
            fatal,
            held: None,
            next: None,
        };
        life.turn();
        Ok((life, OriginOpened { previous, verifying_key: [9; 32] }))
    }

    /// Why the node cannot go on.
    pub(crate) fn fatal(&self) -> Option<String> {
        self.fatal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn queue_hold(&self) -> Option<Hold> {
        let (entered_sender, entered) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let done = Box::new(move |_| {
            // Both end with an error when the test has let go already.
            let _unheard = entered_sender.send(());
            let _released = released.recv();
        });
        let epoch = self.writer.epoch();
        let append = Append { epoch, batch: Batch::Own(Vec::new()), done };
        self.writer.append(append).ok().map(|()| Hold { entered, _release: release })
    }

    /// Puts the next hold in the queue before what is asked from now on: the queue may then be
    /// filled up, and what the next turn writes is delivered in the one after it.
    pub(crate) fn hold_early(&mut self) {
        if self.next.is_none() {
            self.next = self.queue_hold();
        }
    }

    /// Lets the writer write what waits.
    pub(crate) fn turn(&mut self) {
        let next = match self.next.take() {
            Some(hold) => Some(hold),
            None => self.queue_hold(),
        };
        self.held = None;
        self.held = next.filter(|hold| hold.entered.recv().is_ok());
        if self.held.is_none() {
            self.writer.close();
        }
    }

    /// Ends the writer. What waits is written if the disk lets it.
    pub(crate) fn close(mut self) {
        (self.held, self.next) = (None, None);
        self.writer.close();
    }

    /// Whether a failed append has not been heard of yet where this is decided.
    pub(crate) fn has_failure_under_way(&self, asked: &Asked) -> bool {
        let engine = match asked {
            Asked::User { user, .. } => shard_of(*user),
            Asked::Registry(_) => SHARDS,
        };
        self.engines.mailboxes[engine].holds_failure()
    }

    /// Asks to hold an identity. It stands in line from when it is polled first.
    pub(crate) fn reserve(
        &self,
        index: BlindIndex,
    ) -> BoxFuture<'static, Result<Reserved, Unavailable>> {
        let directory = self.directory.clone();
        Box::pin(async move { directory.reserve(index, commands::shop()).await })
    }

    /// Asks a shard.
    pub(crate) fn ask(&mut self, number: u64, wish: Wish, held: Vec<Reserved>) {
        let Wish { user, command, caller, if_seen } = wish;
        let (reply, answer) = oneshot::channel();
        let (cause, rest) = (commands::cause(number), Rest::NONE);
        let ask = shard::Ask { user, command, caller, cause, if_seen, rest, reply };
        self.engines.shards[shard_of(user)].ask(ask);
        let reply = Reply::User(answer);
        self.pending.push(Pending::Asked(Asking { number, reply, _held: held, waited: false }));
    }

    /// Asks the registry; without a number it is what the node itself records.
    pub(crate) fn ask_registry(&mut self, number: Option<u64>, command: RegistryCommand) {
        let (reply, answer) = oneshot::channel();
        let cause = number.map_or_else(Cause::default, commands::cause);
        self.engines.registry.ask(registry::Ask { command, cause, reply });
        let (number, reply) = (number.unwrap_or_default(), Reply::Registry(answer));
        let asking = Asking { number, reply, _held: Vec::new(), waited: false };
        self.pending.push(Pending::Asked(asking));
    }
}
