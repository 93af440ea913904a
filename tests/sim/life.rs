//! One life of a node: the shipped engines over the shipped log and the shipped replication,
//! stepped by hand.
//!
//! The log's writer is a thread. It is kept in step by *holds*, as in the simulation of crashes:
//! appends that write nothing and whose `done` does not return before the test says so. So what one
//! turn of the writer takes is decided by the test alone.

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use jcas::actors::checkpointer::Checkpoints;
use jcas::actors::directory::{Directory, Reserved};
use jcas::actors::failure::{Failure, Unavailable};
use jcas::actors::inbox::Heard;
use jcas::actors::journal::Journal;
use jcas::actors::known::Known;
use jcas::actors::linker::{Linker, Recording};
use jcas::actors::recovery::Recovered;
use jcas::actors::registry::{self, RegistryEngine, RegistryFailure, RegistryParts, RegistryView};
use jcas::actors::replicating::ReplicaEngine;
use jcas::actors::shard::{self, Answer, OnFatal, ShardEngine, ShardParts};
use jcas::clock::{Clock, Entropy, NodeClock};
use jcas::crypto::seals::Sealer;
use jcas::events::command::{Caller, Context, Rest};
use jcas::events::decide_link::{Between, decide_link};
use jcas::events::decide_registry::RegistryCommand;
use jcas::events::event::OriginOpened;
use jcas::events::ids::{BlindIndex, CompanyId, DeploymentId, Digest, NodeName, RegionId, UserId};
use jcas::events::stamp::Origin;
use jcas::events::state::UserState;
use jcas::log::{Append, Batch, LogWriter, Vector};
use jcas::replication::link::Confirm;
use jcas::replication::relay::Ticket;
use tokio::sync::{oneshot, watch};

use crate::commands::{self, LinkWish, Wish};
use crate::ledger::Checked;
use crate::mail::{Mail, Mailbox, absorb};
use crate::net::SimNet;
use crate::trees::LossyTrees;

/// Shards of a node.
pub(crate) const SHARDS: usize = 2;

/// How far ahead of a node's clock a time may be that is let in.
pub(crate) const FUTURE_LIMIT_MS: u64 = 10_000;

/// Users whose states a shard keeps in memory: fewer than it has.
const KNOWN_USERS_MAX: usize = 2;

/// Most commands in line for one user.
const WAITING_PER_USER_MAX: usize = 5;

/// Keeps the writer where it is.
struct Hold {
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
    pub(crate) number: u64,
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
}

/// Where an answer comes.
pub(crate) enum Reply {
    User(oneshot::Receiver<Result<Answer, Failure>>),
    Registry(oneshot::Receiver<Result<jcas::events::command::Outcome, RegistryFailure>>),
    Link(Result<Recording, Failure>),
}

/// What all nodes of a deployment know.
pub(crate) struct Deployment {
    pub(crate) id: DeploymentId,
    pub(crate) nodes: Vec<NodeName>,
    pub(crate) sealers: BTreeMap<RegionId, Sealer>,
    pub(crate) net: SimNet,
}

/// What a life is made from, beside what was recovered.
pub(crate) struct Birth {
    pub(crate) name: NodeName,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) tag: u32,
}

/// What replication starts with once the life is recorded.
pub(crate) struct Unborn {
    pub(crate) clock: NodeClock,
    pub(crate) heard: Arc<Mutex<VecDeque<Heard>>>,
}

/// A running node.
pub(crate) struct Life {
    pub(crate) own: Origin,
    pub(crate) checkpoints: Arc<Checkpoints<LossyTrees>>,
    pub(crate) writer: LogWriter,
    pub(crate) directory: Directory,
    pub(crate) pending: Vec<Pending>,
    pub(crate) view: watch::Receiver<Arc<RegistryView>>,
    /// Replication, once the life is recorded.
    pub(crate) replica: Option<ReplicaEngine>,
    pub(crate) confirms: Vec<(Ticket, Confirm)>,
    pub(crate) state_hash: watch::Sender<Option<(Vector, Digest)>>,
    /// What came over the link: runs, other things that are none of ours, and how many forgeries.
    pub(crate) came: Came,
    shards: Vec<ShardEngine>,
    registry: RegistryEngine,
    linker: Linker,
    /// The shards' and behind them the registry's.
    pub(crate) mailboxes: Vec<Mailbox>,
    fatal: Arc<Mutex<Option<String>>>,
    pub(crate) unborn: Unborn,
    held: Option<Hold>,
    next: Option<Hold>,
}

/// What came to a life.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Came {
    /// Messages that can be read as runs.
    pub(crate) runs: u64,
    /// Runs whose seals are wrong, or that are another deployment's, on purpose.
    pub(crate) wrong: u64,
    /// Messages that cannot be read, or news with a wrong signature.
    pub(crate) unreadable: u64,
    /// Messages of kinds that nobody knows.
    pub(crate) unknown: u64,
}

/// Whose a user is.
pub(crate) fn shard_of(user: UserId) -> usize {
    usize::from(user.as_bytes()[15]) % SHARDS
}

impl Life {
    /// Starts the engines as a node does. The event that opens the life is asked for by the caller.
    pub(crate) fn start(
        recovered: Recovered<LossyTrees>,
        birth: Birth,
        deployment: &Deployment,
    ) -> Checked<(Self, OriginOpened)> {
        let Birth { name, clock, entropy, tag } = birth;
        let (origin, previous) = recovered.next_life(name.region, name.node, tag);
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
            journal,
            state: recovered.registry.clone(),
            published,
            on_fatal: Arc::clone(&on_fatal),
        };
        let boxes = mailboxes.clone();
        let put = Arc::new(move |sorted, absorbed: &_| absorb(&boxes, sorted, absorbed));
        let linker = Linker::new(parts.journal.clone(), put);
        let registry = RegistryEngine::new(parts, mailboxes[SHARDS].notify());
        let directory = Directory::new(Arc::clone(&recovered.store), 8);
        let checkpoints = Arc::new(Checkpoints {
            store: recovered.store,
            folder: recovered.folder,
            generation: recovered.generation,
            log: recovered.log,
            clock: clock.clone(),
        });
        let mut life = Self {
            own: origin,
            checkpoints,
            writer,
            directory,
            pending: Vec::new(),
            view,
            replica: None,
            confirms: Vec::new(),
            state_hash: watch::Sender::new(None),
            came: Came::default(),
            shards,
            registry,
            linker,
            mailboxes,
            fatal,
            unborn: Unborn { clock, heard: Arc::default() },
            held: None,
            next: None,
        };
        life.turn();
        let sealer = deployment.sealers.get(&name.region).ok_or("a region without a key")?;
        Ok((life, OriginOpened { previous, verifying_key: sealer.verifying_key() }))
    }

    /// Hands an engine the oldest thing that waits for it. None: there is nothing. Otherwise says
    /// whether it came from elsewhere while something of the engine was on its way to the disk.
    pub(crate) fn deliver(&mut self, engine: usize) -> Option<bool> {
        let mail = self.mailboxes[engine].lock().pop_front()?;
        let shard = self.shards.get_mut(engine);
        Some(match (mail, shard) {
            (Mail::Logged(outcome), Some(shard)) => {
                shard.logged(outcome);
                false
            }
            (Mail::Logged(outcome), None) => {
                self.registry.logged(outcome);
                false
            }
            (Mail::Absorb(absorb), Some(shard)) => {
                let in_flight = shard.view().in_flight > 0;
                shard.absorb(absorb);
                in_flight
            }
            (Mail::Registry(absorb), _) => {
                self.registry.absorb(&absorb);
                false
            }
            (Mail::Absorb(_), None) => false,
        })
    }

    /// Whether nothing waits anywhere in this node.
    pub(crate) fn is_at_rest(&self) -> bool {
        let mail = self.mailboxes.iter().any(|mailbox| !mailbox.lock().is_empty());
        let heard = self.unborn.heard.lock().unwrap_or_else(PoisonError::into_inner).len();
        let replica = self.replica.as_ref();
        let replicated = replica.is_some_and(|it| it.is_idle() && it.unsettled() == 0);
        !mail && heard == 0 && self.pending.is_empty() && replicated
    }

    /// What a reader sees of a user.
    pub(crate) fn read(&mut self, user: UserId) -> Result<Arc<UserState>, Unavailable> {
        self.shards[shard_of(user)].read(user)
    }

    /// Events that lost against a rival write.
    pub(crate) fn lost(&self) -> u64 {
        self.shards.iter().map(|shard| shard.view().lost).sum()
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
        let append = Append { epoch: self.writer.epoch(), batch: Batch::Own(Vec::new()), done };
        self.writer.append(append).ok().map(|()| Hold { entered, _release: release })
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

    /// Asks to hold an identity. It stands in line from when it is polled first.
    pub(crate) fn reserve(
        &self,
        index: BlindIndex,
        company: CompanyId,
    ) -> BoxFuture<'static, Result<Reserved, Unavailable>> {
        let directory = self.directory.clone();
        Box::pin(async move { directory.reserve(index, company).await })
    }

    /// Asks a shard.
    pub(crate) fn ask(&mut self, number: u64, wish: Wish, held: Vec<Reserved>) {
        let cause = commands::cause(number, wish.company());
        let Wish { user, command, caller, .. } = wish;
        let (reply, answer) = oneshot::channel();
        let rest = jcas::events::command::Rest::NONE;
        let ask = shard::Ask { user, command, caller, cause, if_seen: None, rest, reply };
        self.shards[shard_of(user)].ask(ask);
        self.pending.push(Pending::Asked(Asking {
            number,
            reply: Reply::User(answer),
            _held: held,
        }));
    }

    /// Asks the registry.
    pub(crate) fn ask_registry(&mut self, number: u64, command: RegistryCommand) {
        let (reply, answer) = oneshot::channel();
        let cause = commands::cause(number, None);
        self.registry.ask(registry::Ask { command, cause, reply });
        let reply = Reply::Registry(answer);
        self.pending.push(Pending::Asked(Asking { number, reply, _held: Vec::new() }));
    }

    /// Asks for something between two users, decided on what a reader sees of both accounts.
    pub(crate) fn ask_link(&mut self, number: u64, wish: &LinkWish) {
        let LinkWish { one, other, command, caller } = *wish;
        let (mut users, mut found) = (BTreeMap::new(), vec![one, other]);
        while let Some(user) = found.pop() {
            if let (false, Ok(state)) = (users.contains_key(&user), self.read(user)) {
                found.extend(state.linked());
                users.insert(user, state);
            }
        }
        let company = match caller {
            Caller::Company(company, _) => Some(company),
            Caller::Operator | Caller::System => None,
        };
        let cause = commands::cause(number, company);
        let recording = self.linker.begin(|now| {
            let context = Context { now, caller, cause, if_seen: None, rest: Rest::NONE };
            decide_link(&Between { users: &users, one, other }, command, &context)
        });
        let reply = Reply::Link(recording);
        self.pending.push(Pending::Asked(Asking { number, reply, _held: Vec::new() }));
    }
}
