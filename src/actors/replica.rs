//! The replication actor: publisher, inbox and reconciler of a node around one link.
//!
//! One task drives the three engines, so each of them is plain data that nobody else touches. What
//! is slow happens elsewhere: the log's writer thread appends, shards fold, brokers confirm.
//!
//! ```text
//!   log durable ---nudge--> publisher --publish--> link        link --Delivery--> inbox --> log
//!   tick -----------------> reconciler --send----> link              \--News----> reconciler
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde::Serialize;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::clock::Clock;
use crate::crypto::seals::Sealer;
use crate::events::codec;
use crate::events::ids::{DeploymentId, Digest, NodeName};
use crate::events::message::{Message, News, SentRun, UsedToken, Why};
use crate::events::record::LogPosition;
use crate::events::stamp::Origin;
use crate::log::{Log, Vector};
use crate::replication::link::{Delivery, Link, LinkError, Receipt, Way};
use crate::replication::relay::Ticket as Sent;

use super::answers::{Answer, Answers};
use super::inbox::{Heard, InboxCounts, InboxEngine, Step, Ticket};
use super::parked::{Parked, ParkedView};
use super::publisher::{PublisherEngine, PublisherView};
use super::reconciler::{Outgoing, PeerView, ReconcilerCounts, ReconcilerEngine};
use super::replicas::Replicas;

/// Runs of others that may be on their way to the disk at once.
const APPENDS_MAX: usize = 64;

/// How often what needs no occasion is looked at.
const TICK: Duration = Duration::from_millis(100);

/// How long to wait after something could not be published: doubled up to the second one.
const RETRY_MS: (u64, u64) = (100, 5_000);

/// Signed calls that wait to be told to other nodes, and how many are told at once.
const TOKENS_WAITING_MAX: usize = 4096;
const TOKENS_AT_ONCE: usize = 1024;

/// Answers to fetches at once.
const ANSWERS_MAX: usize = 8;

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

/// How replication is, as far as calls depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplicaStatus {
    /// Whether this node's clock runs ahead of most peers'.
    pub clock_unsafe: bool,
    /// Whether nothing is known to be missing.
    pub caught_up: bool,
}

enum Ask {
    Observe(oneshot::Sender<ReplicaView>),
    Retry(oneshot::Sender<usize>),
    Stop(oneshot::Sender<()>),
}

/// Replication as it is shown.
#[derive(Debug, Clone, Serialize)]
pub struct ReplicaView {
    /// The node's life.
    pub life: String,
    /// Whether this node's clock runs ahead of most peers'.
    pub clock_unsafe: bool,
    /// Whether nothing is known to be missing.
    pub caught_up: bool,
    /// The ways to other nodes.
    pub ways: Vec<Way>,
    /// The other nodes.
    pub peers: Vec<PeerView>,
    /// What goes out.
    pub publisher: PublisherView,
    /// What came in.
    pub inbox: InboxCounts,
    /// What was reconciled.
    pub reconciler: ReconcilerCounts,
    /// Lives that wait for time to catch up, with their latest time in Unix milliseconds.
    pub held: BTreeMap<String, u64>,
    /// Lives that told two stories.
    pub forked: Vec<String>,
    /// Messages that could not be taken.
    pub parked: ParkedView,
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

/// A run that is on its way to the disk, or waits to be taken again.
struct Pending {
    bytes: Bytes,
    receipt: Receipt,
    node: NodeName,
    why: Why,
}

struct Actor {
    parts: ReplicaParts,
    status: watch::Sender<ReplicaStatus>,
    confirms: FuturesUnordered<Confirmed>,
    appending: BTreeMap<Ticket, Pending>,
    later: VecDeque<Delivery>,
    answering: VecDeque<Answer>,
    /// Lives whose nodes wait to hear that an event is here.
    asked: BTreeMap<Origin, u64>,
    publish_after_ms: u64,
    retry_ms: u64,
    kept: Option<LogPosition>,
}

/// Starts the actor on the current runtime.
pub fn start(parts: ReplicaParts) -> Replica {
    let (asks, asked) = mpsc::channel(16);
    let (tokens, told) = mpsc::channel(TOKENS_WAITING_MAX);
    let (sender, status) = watch::channel(ReplicaStatus::default());
    let replica = Replica { asks, replicas: parts.replicas.clone(), tokens, status };
    let actor = Actor {
        parts,
        status: sender,
        confirms: FuturesUnordered::new(),
        appending: BTreeMap::new(),
        later: VecDeque::new(),
        answering: VecDeque::new(),
        asked: BTreeMap::new(),
        publish_after_ms: 0,
        retry_ms: RETRY_MS.0,
        kept: None,
    };
    tokio::spawn(actor.run(asked, told));
    replica
}

impl Actor {
    async fn run(mut self, mut asks: mpsc::Receiver<Ask>, mut tokens: mpsc::Receiver<UsedToken>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let nudge = Arc::clone(&self.parts.nudge);
        loop {
            let has_room = self.appending.len() < APPENDS_MAX && self.later.is_empty();
            tokio::select! {
                Some(heard) = self.parts.heard.recv() => self.heard(heard),
                Some((sent, result)) = self.confirms.next() => self.confirmed(sent, result),
                () = nudge.notified() => {}
                Some(token) = tokens.recv() => self.tell(token, &mut tokens),
                Some(delivery) = self.parts.incoming.recv(), if has_room => self.take(delivery),
                () = std::future::ready(()), if !self.answering.is_empty() => self.answer(),
                _ = ticks.tick() => self.tick(),
                ask = asks.recv() => match ask {
                    Some(Ask::Observe(reply)) => drop(reply.send(self.view())),
                    Some(Ask::Retry(reply)) => drop(reply.send(self.retry())),
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
        while !self.parts.publisher.is_idle() {
            let next = tokio::time::timeout_at(deadline, self.confirms.next()).await;
            match next {
                Ok(Some((sent, result))) => self.confirmed(sent, result),
                Ok(None) | Err(_) => break,
            }
            self.publish();
        }
        self.keep(true);
        self.parts.link.shut();
    }

    fn now_ms(&self) -> u64 {
        self.parts.clock.unix_ms()
    }

    fn publish(&mut self) {
        if self.publish_after_ms > 0 && self.now_ms() < self.publish_after_ms {
            return;
        }
        loop {
            let asked = self.parts.replicas.is_asked();
            match self.parts.publisher.next(asked) {
                Ok(Some((sent, bytes))) => {
                    let confirm = self.parts.link.publish(bytes.into());
                    self.confirms.push(Box::pin(async move { (sent, confirm.await) }));
                }
                Ok(None) => return,
                Err(error) => {
                    let error = super::journal::chain(&error);
                    tracing::error!(error, "what was recorded cannot be published");
                    self.publish_after_ms = self.now_ms().saturating_add(RETRY_MS.1);
                    return;
                }
            }
        }
    }

    fn confirmed(&mut self, sent: Sent, result: Result<(), LinkError>) {
        match result {
            Ok(()) => {
                self.parts.publisher.accepted(sent);
                (self.publish_after_ms, self.retry_ms) = (0, RETRY_MS.0);
            }
            Err(error) => {
                if self.parts.publisher.failed(sent) {
                    tracing::debug!(%error, "a run was not accepted and is sent again");
                    self.publish_after_ms = self.now_ms().saturating_add(self.retry_ms);
                    self.retry_ms = self.retry_ms.saturating_mul(2).min(RETRY_MS.1);
                }
            }
        }
    }

    fn take(&mut self, delivery: Delivery) {
        let Delivery { bytes, receipt } = delivery;
        let incoming = match codec::decode_message(&bytes) {
            Ok(incoming) => incoming,
            Err(error) => return self.park(&bytes, receipt, &super::journal::chain(&error)),
        };
        match incoming.message {
            Message::Run(SentRun { run, why }) => {
                let node = run.seal.origin.name();
                if let Why::Published { asked: true } = why {
                    let asked = self.asked.entry(run.seal.origin).or_default();
                    *asked = run.seal.sequence.max(*asked);
                }
                let pending = Pending { bytes, receipt, node, why };
                let step = self.parts.inbox.take(incoming.deployment, run);
                self.step(step, pending);
            }
            Message::News { from, news, signed, signature } => {
                let parts = self.parts.inbox.parts();
                let known = parts.verifiers.get(&from.region);
                let ours = incoming.deployment == self.parts.deployment;
                if ours && known.is_some_and(|key| key.is_news(&signed, signature)) {
                    receipt.ack();
                    self.news(from, news);
                } else {
                    self.park(&bytes, receipt, "its signature is not its region's");
                }
            }
            // Of a newer version: what it says is told again to those who know it.
            Message::Unknown(_) => receipt.ack(),
        }
    }

    fn step(&mut self, step: Step, pending: Pending) {
        match step {
            Step::Appending(ticket) => {
                self.appending.insert(ticket, pending);
            }
            Step::Done => self.settled(pending, false),
            Step::Missing(node) => {
                self.settled(pending, false);
                let vector = self.parts.log.vector();
                let outgoing = self.parts.reconciler.gap(node, self.now_ms(), &vector);
                self.send_all(outgoing);
            }
            Step::Park(reason) => self.park(&pending.bytes, pending.receipt, &reason),
            Step::Later => {
                let Pending { bytes, receipt, .. } = pending;
                self.later.push_back(Delivery { bytes, receipt });
            }
        }
    }

    fn park(&mut self, bytes: &Bytes, receipt: Receipt, reason: &str) {
        tracing::warn!(reason, bytes = bytes.len(), "a message is parked");
        self.parts.parked.park(bytes, reason, self.parts.clock.unix_ms());
        receipt.ack();
    }

    /// A run needs no more work.
    fn settled(&mut self, pending: Pending, brought: bool) {
        pending.receipt.ack();
        if let Why::Fetched { last, .. } = pending.why {
            let now_ms = self.now_ms();
            self.parts.reconciler.fetched(pending.node, brought, last, now_ms);
            if last {
                self.fetch();
            }
        } else if let Why::Published { asked: true } = pending.why
            && !brought
        {
            self.tell_asked(pending.node);
        }
    }

    /// Asks for what is missing, as far as it is not asked for.
    fn fetch(&mut self) {
        let (now_ms, vector) = (self.now_ms(), self.parts.log.vector());
        let ReplicaParts { reconciler, inbox, .. } = &mut self.parts;
        let outgoing = reconciler.missing(now_ms, &vector, |node| inbox.admits(node, now_ms));
        self.send_all(outgoing);
    }

    fn heard(&mut self, heard: Heard) {
        match heard {
            Heard::Logged(ticket, result) => {
                let taken = self.parts.inbox.logged(ticket, &result);
                let Some(pending) = self.appending.remove(&ticket) else { return };
                if taken {
                    self.settled(pending, true);
                } else {
                    let Pending { bytes, receipt, .. } = pending;
                    self.later.push_back(Delivery { bytes, receipt });
                }
            }
            Heard::Absorbed(origin, sequence) => {
                let asked = self.asked.get(&origin).copied();
                if let Some(asked) = asked {
                    if asked <= sequence {
                        self.asked.remove(&origin);
                    }
                    self.send(origin.name(), &News::Have { life: origin, sequence });
                }
            }
        }
    }

    /// A run that was here already is asked about: says what is here.
    fn tell_asked(&mut self, node: NodeName) {
        let asked: Vec<_> =
            self.asked.keys().filter(|origin| origin.name() == node).copied().collect();
        for life in asked {
            self.asked.remove(&life);
            if let Some(end) = self.parts.log.chain_end(&life) {
                self.send(node, &News::Have { life, sequence: end.sequence });
            }
        }
    }

    fn news(&mut self, from: NodeName, news: News) {
        match news {
            News::Vector(vector) => {
                let own = self.parts.own;
                if let Some(end) = vector.nodes.iter().find(|end| end.newest == own) {
                    self.parts.replicas.note(from, end.sequence);
                }
                let (now_ms, here) = (self.now_ms(), self.parts.log.vector());
                let hash = self.state_hash(&here);
                let ReplicaParts { reconciler, inbox, .. } = &mut self.parts;
                let admits = |node| inbox.admits(node, now_ms);
                let comparison = reconciler.heard(from, vector, now_ms, &here, hash, admits);
                for (origin, sequence) in comparison.forked {
                    self.parts.inbox.fork(origin, sequence);
                }
                if comparison.diverged {
                    tracing::error!(peer = %from, "equal events, another state: compare the two");
                }
                self.send_all(comparison.outgoing);
                self.update_status();
            }
            News::Fetch(fetch) if self.answering.len() < ANSWERS_MAX => {
                let vector = self.parts.log.vector();
                match self.parts.answers.begin(from, fetch, &vector) {
                    Ok(answer) => self.answering.extend(answer),
                    Err(error) => self.cannot_answer(&error),
                }
            }
            // It asks again.
            News::Fetch(_) => {}
            News::Have { life, sequence } => {
                if life == self.parts.own {
                    self.parts.replicas.note(from, sequence);
                }
            }
            News::Tokens(tokens) => {
                // A region answers for what it took, and for no other's calls.
                if from.region == self.parts.own.region {
                    (self.parts.take_tokens)(tokens);
                }
            }
        }
    }

    /// Tells the region's other nodes of signed calls that were taken, all that wait at once.
    fn tell(&self, first: UsedToken, more: &mut mpsc::Receiver<UsedToken>) {
        let own = self.parts.own.name();
        let present = self.parts.replicas.present();
        let nodes: Vec<_> = present.filter(|node| node.region == own.region).collect();
        let mut tokens = vec![first];
        while tokens.len() < TOKENS_AT_ONCE
            && let Ok(token) = more.try_recv()
        {
            tokens.push(token);
        }
        let news = News::Tokens(tokens);
        nodes.into_iter().for_each(|node| self.send(node, &news));
    }

    fn cannot_answer(&self, error: &super::runs::RunError) {
        let error = super::journal::chain(error);
        tracing::error!(error, "what a peer misses cannot be read");
    }

    /// Sends one run of one answer, so that nobody waits for a long one.
    fn answer(&mut self) {
        let Some(mut answer) = self.answering.pop_front() else { return };
        match self.parts.answers.next(&mut answer) {
            Ok(Some(run)) => {
                let sent = codec::encode_run(self.parts.deployment, &run);
                if let Ok(bytes) = sent
                    && self.parts.link.send(answer.to, bytes.into()).is_ok()
                {
                    self.answering.push_back(answer);
                }
                // Otherwise the answer ends here and is asked for again.
            }
            Ok(None) => {}
            Err(error) => self.cannot_answer(&error),
        }
    }

    fn tick(&mut self) {
        let again = std::mem::take(&mut self.later);
        again.into_iter().for_each(|delivery| self.take(delivery));
        let (now_ms, vector) = (self.now_ms(), self.parts.log.vector());
        let hash = self.state_hash(&vector);
        let ReplicaParts { reconciler, inbox, .. } = &mut self.parts;
        let outgoing = reconciler.tick(now_ms, &vector, hash, |node| inbox.admits(node, now_ms));
        self.send_all(outgoing);
        self.update_status();
        self.keep(false);
    }

    fn state_hash(&self, vector: &Vector) -> Option<Digest> {
        let known = self.parts.state_hash.borrow();
        known.as_ref().filter(|(of, _)| of == vector).map(|(_, hash)| *hash)
    }

    fn update_status(&self) {
        let now_ms = self.now_ms();
        let status = ReplicaStatus {
            clock_unsafe: self.parts.reconciler.is_clock_unsafe(now_ms, self.parts.clock_limit_ms),
            caught_up: self.parts.reconciler.is_caught_up(now_ms, &self.parts.log.vector()),
        };
        self.parts.inbox.parts().clock.set_unsafe(status.clock_unsafe);
        self.parts.reconciler.presence(now_ms, |node, present| {
            self.parts.replicas.note_present(node, present);
        });
        self.status.send_if_modified(|known| std::mem::replace(known, status) != status);
    }

    fn keep(&mut self, ending: bool) {
        let cursor = self.parts.publisher.cursor();
        if self.kept != Some(cursor) && (self.parts.keep_cursor)(cursor, ending) {
            self.kept = Some(cursor);
        }
    }

    fn send_all(&self, outgoing: Vec<Outgoing>) {
        for (to, news) in outgoing {
            self.send(to, &news);
        }
    }

    fn send(&self, to: NodeName, news: &News) {
        let sealer = &self.parts.sealer;
        let sign = |digest: &Digest| sealer.sign_news(digest);
        let from = self.parts.own.name();
        match codec::encode_news(self.parts.deployment, from, news, sign) {
            // What is lost is told again.
            Ok(bytes) => drop(self.parts.link.send(to, bytes.into())),
            Err(error) => tracing::error!(%error, "news cannot be laid out"),
        }
    }

    /// Takes parked messages again.
    fn retry(&mut self) -> usize {
        let again = self.parts.parked.take_all();
        let count = again.len();
        let unclaimed = |bytes| Delivery { bytes, receipt: Receipt::unclaimed() };
        again.into_iter().map(unclaimed).for_each(|delivery| self.take(delivery));
        count
    }

    fn view(&self) -> ReplicaView {
        let ReplicaStatus { clock_unsafe, caught_up } = *self.status.borrow();
        let parts = &self.parts;
        let held = parts.inbox.held().map(|(origin, held)| (origin.to_string(), held.latest_ms));
        ReplicaView {
            life: parts.own.to_string(),
            clock_unsafe,
            caught_up,
            ways: parts.link.ways(),
            peers: parts.reconciler.peers(self.now_ms(), &parts.log.vector()),
            publisher: parts.publisher.view(),
            inbox: parts.inbox.counts(),
            reconciler: parts.reconciler.counts(),
            held: held.collect(),
            forked: parts.inbox.forked().iter().map(Origin::to_string).collect(),
            parked: parts.parked.view(),
        }
    }
}
