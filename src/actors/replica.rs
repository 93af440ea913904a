//! The replication actor: publisher, inbox and reconciler of a node around one link.
//!
//! One task drives the three engines, so each of them is plain data that nobody else touches. What
//! is slow happens elsewhere: the log's writer thread appends, shards fold, brokers confirm.
//!
//! ```text
//!   log durable ---nudge--> publisher --publish--> link        link --Delivery--> inbox --> log
//!   tick -----------------> reconciler --send----> link              \--News----> reconciler
//! ```

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::clock::Clock;
use crate::crypto::seals::Sealer;
use crate::events::ids::{DeploymentId, Digest};
use crate::events::message::UsedToken;
use crate::events::record::LogPosition;
use crate::events::stamp::Origin;
use crate::log::{Log, Vector};
use crate::replication::link::{Delivery, Link, LinkError};
use crate::replication::relay::Ticket as Sent;

use super::answers::Answers;
use super::inbox::{Heard, InboxEngine};
use super::parked::Parked;
use super::publisher::PublisherEngine;
use super::reconciler::ReconcilerEngine;
use super::replica_parts::EngineParts;
use super::replicas::Replicas;
use super::replicating::ReplicaEngine;

pub use super::replica_view::{ReplicaStatus, ReplicaView};

/// How often what needs no occasion is looked at.
const TICK: Duration = Duration::from_millis(100);

/// Signed calls that wait to be told to other nodes, and how many are told at once.
const TOKENS_WAITING_MAX: usize = 4096;
const TOKENS_AT_ONCE: usize = 1024;

/// What the actor is made of.
pub struct ReplicaParts {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The node's life.
    pub own: Origin,
    /// Signs news.
    pub sealer: Sealer,
    /// The way to the others.
    pub link: Arc<dyn Link>,
    /// What comes from them.
    pub incoming: mpsc::Receiver<Delivery>,
    /// Sends what the node recorded.
    pub publisher: PublisherEngine,
    /// Takes what others recorded.
    pub inbox: InboxEngine,
    /// What the inbox hears of its appends.
    pub heard: mpsc::UnboundedReceiver<Heard>,
    /// Finds what is missing.
    pub reconciler: ReconcilerEngine,
    /// Gives what others miss.
    pub answers: Answers,
    /// Who has what.
    pub replicas: Replicas,
    /// Messages that could not be taken.
    pub parked: Parked,
    /// The log.
    pub log: Arc<Log>,
    /// Rung when more is durable.
    pub nudge: Arc<Notify>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// How far the clocks of most peers may be behind this one, in milliseconds.
    pub clock_limit_ms: u64,
    /// Keeps the publisher's cursor, where that is due or the actor ends; says whether it did.
    pub keep_cursor: Box<dyn FnMut(LogPosition, bool) -> bool + Send>,
    /// Takes signed calls that other nodes of the region took.
    pub take_tokens: Box<dyn FnMut(Vec<UsedToken>) + Send>,
    /// The state hash and the vector it is of, as computed last.
    pub state_hash: watch::Receiver<Option<(Vector, Digest)>>,
}

/// A way to the actor. Cheap to clone.
#[derive(Clone)]
pub struct Replica {
    asks: mpsc::Sender<Ask>,
    replicas: Replicas,
    tokens: mpsc::Sender<UsedToken>,
    status: watch::Receiver<ReplicaStatus>,
}

enum Ask {
    Observe(oneshot::Sender<ReplicaView>),
    Retry(oneshot::Sender<usize>),
    Stop(oneshot::Sender<()>),
}

impl Replica {
    /// Who has what.
    pub const fn replicas(&self) -> &Replicas {
        &self.replicas
    }

    /// How replication is.
    pub fn status(&self) -> ReplicaStatus {
        *self.status.borrow()
    }

    /// Tells the region's other nodes of a signed call that was taken. Never waits: those that
    /// cannot be told are not.
    pub fn tell_token(&self, token: UsedToken) {
        let _untold = self.tokens.try_send(token);
    }

    /// A snapshot; none where the actor has ended.
    pub async fn observe(&self) -> Option<ReplicaView> {
        let (reply, answer) = oneshot::channel();
        self.asks.send(Ask::Observe(reply)).await.ok()?;
        answer.await.ok()
    }

    /// Takes parked messages again. Says how many there were; none where the actor has ended.
    pub async fn retry_parked(&self) -> Option<usize> {
        let (reply, answer) = oneshot::channel();
        self.asks.send(Ask::Retry(reply)).await.ok()?;
        answer.await.ok()
    }

    /// Ends the actor: what was recorded and can be published within `limit` still is.
    pub async fn stop(&self) {
        let (reply, answer) = oneshot::channel();
        if self.asks.send(Ask::Stop(reply)).await.is_ok() {
            let _ended = answer.await;
        }
    }
}

type Confirmed = Pin<Box<dyn Future<Output = (Sent, Result<(), LinkError>)> + Send>>;

struct Actor {
    engine: ReplicaEngine,
    incoming: mpsc::Receiver<Delivery>,
    heard: mpsc::UnboundedReceiver<Heard>,
    nudge: Arc<Notify>,
    keep_cursor: Box<dyn FnMut(LogPosition, bool) -> bool + Send>,
    link: Arc<dyn Link>,
    status: watch::Sender<ReplicaStatus>,
    confirms: FuturesUnordered<Confirmed>,
    kept: Option<LogPosition>,
}

/// Starts the actor on the current runtime.
pub fn start(parts: ReplicaParts) -> Replica {
    let (asks, asked) = mpsc::channel(16);
    let (sender, status) = watch::channel(ReplicaStatus::default());
    let (tokens, told) = mpsc::channel(TOKENS_WAITING_MAX);
    let replica = Replica { asks, replicas: parts.replicas.clone(), tokens, status };
    let ReplicaParts { incoming, heard, nudge, keep_cursor, link, .. } = parts;
    let engine = ReplicaEngine::new(EngineParts {
        deployment: parts.deployment,
        own: parts.own,
        sealer: parts.sealer,
        link: Arc::clone(&link),
        publisher: parts.publisher,
        inbox: parts.inbox,
        reconciler: parts.reconciler,
        answers: parts.answers,
        replicas: parts.replicas,
        parked: parts.parked,
        log: parts.log,
        clock: parts.clock,
        clock_limit_ms: parts.clock_limit_ms,
        take_tokens: parts.take_tokens,
        state_hash: parts.state_hash,
    });
    let actor = Actor {
        engine,
        incoming,
        heard,
        nudge,
        keep_cursor,
        link,
        status: sender,
        confirms: FuturesUnordered::new(),
        kept: None,
    };
    tokio::spawn(actor.run(asked, told));
    replica
}

impl Actor {
    async fn run(mut self, mut asks: mpsc::Receiver<Ask>, mut tokens: mpsc::Receiver<UsedToken>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let nudge = Arc::clone(&self.nudge);
        loop {
            let (has_room, answers) = (self.engine.has_room(), self.engine.is_answering());
            tokio::select! {
                Some(heard) = self.heard.recv() => self.engine.heard(heard),
                Some((sent, result)) = self.confirms.next() => self.engine.confirmed(sent, result),
                () = nudge.notified() => {}
                Some(token) = tokens.recv() => self.tell(token, &mut tokens),
                Some(delivery) = self.incoming.recv(), if has_room => self.engine.take(delivery),
                () = std::future::ready(()), if answers => self.engine.answer(),
                _ = ticks.tick() => self.tick(),
                ask = asks.recv() => match ask {
                    Some(Ask::Observe(reply)) => drop(reply.send(self.engine.view())),
                    Some(Ask::Retry(reply)) => drop(reply.send(self.engine.retry())),
                    Some(Ask::Stop(reply)) => {
                        self.end().await;
                        let _unheard = reply.send(());
                        return;
                    }
                    None => return self.end().await,
                },
            }
            self.publish();
        }
    }

    /// Gives brokers a moment to accept what is on its way.
    async fn end(&mut self) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(2);
        self.publish();
        while !self.engine.is_idle() {
            let next = tokio::time::timeout_at(deadline, self.confirms.next()).await;
            match next {
                Ok(Some((sent, result))) => self.engine.confirmed(sent, result),
                Ok(None) | Err(_) => break,
            }
            self.publish();
        }
        self.keep(true);
        self.link.shut();
    }

    fn publish(&mut self) {
        for (sent, confirm) in self.engine.publish() {
            self.confirms.push(Box::pin(async move { (sent, confirm.await) }));
        }
    }

    /// Tells of signed calls that were taken, all that wait at once.
    fn tell(&self, first: UsedToken, more: &mut mpsc::Receiver<UsedToken>) {
        let mut tokens = vec![first];
        while tokens.len() < TOKENS_AT_ONCE
            && let Ok(token) = more.try_recv()
        {
            tokens.push(token);
        }
        self.engine.tell_tokens(tokens);
    }

    fn tick(&mut self) {
        self.engine.tick();
        self.update_status();
        self.keep(false);
    }

    fn update_status(&self) {
        let status = self.engine.status();
        self.status.send_if_modified(|known| std::mem::replace(known, status) != status);
    }

    fn keep(&mut self, ending: bool) {
        let cursor = self.engine.cursor();
        if self.kept != Some(cursor) && (self.keep_cursor)(cursor, ending) {
            self.kept = Some(cursor);
        }
    }
}
