//! Replication without its task: publisher, inbox and reconciler around one link, as plain data.
//!
//! [`ReplicaEngine`] is told what came, what became of appends and what time it is, and speaks to a
//! [`Link`]; it never waits. The replication actor (`replica`) drives it, and so does the
//! simulation.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::events::codec;
use crate::events::ids::{Digest, NodeName};
use crate::events::message::{Message, News, SentRun, UsedToken, Why};
use crate::events::record::LogPosition;
use crate::events::stamp::Origin;
use crate::log::Vector;
use crate::replication::link::{Confirm, Delivery, LinkError, Receipt};
use crate::replication::relay::Ticket as Sent;

use super::answers::Answer;
use super::inbox::{Heard, Step, Ticket};
use super::reconciler::Outgoing;
use super::replica_parts::EngineParts;
use super::replica_view::ReplicaStatus;

/// Runs of others that may be on their way to the disk at once.
const APPENDS_MAX: usize = 64;

/// How long to wait after something could not be published: doubled up to the second one.
const RETRY_MS: (u64, u64) = (100, 5_000);

/// Answers to fetches at once.
const ANSWERS_MAX: usize = 8;

/// A run that is on its way to the disk, or waits to be taken again.
struct Pending {
    bytes: Bytes,
    receipt: Receipt,
    node: NodeName,
    why: Why,
}

/// Replication without its task.
pub struct ReplicaEngine {
    pub(super) parts: EngineParts,
    appending: BTreeMap<Ticket, Pending>,
    later: VecDeque<Delivery>,
    answering: VecDeque<Answer>,
    /// Lives whose nodes wait to hear that an event is here.
    asked: BTreeMap<Origin, u64>,
    publish_after_ms: u64,
    retry_ms: u64,
    pub(super) unknown_messages: u64,
}

impl ReplicaEngine {
    /// An engine of these parts.
    pub const fn new(parts: EngineParts) -> Self {
        Self {
            parts,
            appending: BTreeMap::new(),
            later: VecDeque::new(),
            answering: VecDeque::new(),
            asked: BTreeMap::new(),
            publish_after_ms: 0,
            retry_ms: RETRY_MS.0,
            unknown_messages: 0,
        }
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.parts.clock.unix_ms()
    }

    /// Publishes what there is to publish. What becomes of each message is to be told to
    /// [`Self::confirmed`].
    pub fn publish(&mut self) -> Vec<(Sent, Confirm)> {
        let mut published = Vec::new();
        if self.publish_after_ms > 0 && self.now_ms() < self.publish_after_ms {
            return published;
        }
        loop {
            let asked = self.parts.replicas.is_asked();
            match self.parts.publisher.next(asked) {
                Ok(Some((sent, bytes))) => {
                    published.push((sent, self.parts.link.publish(bytes.into())));
                }
                Ok(None) => return published,
                Err(error) => {
                    let error = super::journal::chain(&error);
                    tracing::error!(error, "what was recorded cannot be published");
                    self.publish_after_ms = self.now_ms().saturating_add(RETRY_MS.1);
                    return published;
                }
            }
        }
    }

    /// A broker accepted a message, or none did.
    pub fn confirmed(&mut self, sent: Sent, result: Result<(), LinkError>) {
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

    /// Whether a delivery may be taken now.
    pub fn has_room(&self) -> bool {
        self.appending.len() < APPENDS_MAX && self.later.is_empty()
    }

    /// How many deliveries are taken and not settled: on their way to the disk, or to be taken
    /// again.
    pub fn unsettled(&self) -> usize {
        self.appending.len() + self.later.len()
    }

    /// Takes what came over the link.
    pub fn take(&mut self, delivery: Delivery) {
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
            Message::Unknown(kind) => {
                tracing::warn!(kind, "a message of a kind that is not known here");
                self.unknown_messages += 1;
                receipt.ack();
            }
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
        let EngineParts { reconciler, inbox, .. } = &mut self.parts;
        let outgoing = reconciler.missing(now_ms, &vector, |node| inbox.admits(node, now_ms));
        self.send_all(outgoing);
    }

    /// The inbox heard something.
    pub fn heard(&mut self, heard: Heard) {
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
            Heard::Absorbed(origin, last) => {
                self.parts.inbox.absorbed(origin, last);
                self.tell_asked(origin.name());
            }
        }
    }

    /// Tells a node that asked what of its lives callers see here, once it is all it asked about.
    fn tell_asked(&mut self, node: NodeName) {
        let of_node = self.asked.iter().filter(|(life, _)| life.name() == node);
        let asked: Vec<_> = of_node.map(|(life, asked)| (*life, *asked)).collect();
        for (life, asked) in asked {
            let sequence = self.parts.inbox.shown(&life);
            if sequence >= asked {
                self.asked.remove(&life);
                self.send(node, &News::Have { life, sequence });
            }
        }
    }

    fn news(&mut self, from: NodeName, news: News) {
        match news {
            News::Vector(vector) => {
                // What callers see here is told apart: what is durable may still be on its way.
                let (life, sequence) = (vector.life, self.parts.inbox.shown(&vector.life));
                if life.name() == from && sequence > 0 {
                    self.send(from, &News::Have { life, sequence });
                }
                let (now_ms, here) = (self.now_ms(), self.parts.log.vector());
                let hash = self.state_hash(&here);
                let EngineParts { reconciler, inbox, .. } = &mut self.parts;
                let admits = |node| inbox.admits(node, now_ms);
                let comparison = reconciler.heard(from, vector, now_ms, &here, hash, admits);
                for (origin, sequence) in comparison.forked {
                    self.parts.inbox.fork(origin, sequence);
                }
                if comparison.diverged {
                    tracing::error!(peer = %from, "equal events, another state: compare the two");
                }
                self.send_all(comparison.outgoing);
            }
            News::Fetch(fetch) if self.answering.len() < ANSWERS_MAX => {
                let vector = self.parts.log.vector();
                match self.parts.answers.begin(from, fetch, &vector) {
                    Ok(answer) => self.answering.extend(answer),
                    Err(error) => cannot_answer(&error),
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

    /// Tells the region's other nodes of signed calls that were taken.
    pub fn tell_tokens(&self, tokens: Vec<UsedToken>) {
        let own = self.parts.own.name();
        let news = News::Tokens(tokens);
        let present = self.parts.replicas.present();
        let nodes = present.filter(|node| node.region == own.region);
        nodes.for_each(|node| self.send(node, &news));
    }

    /// Whether answers wait to be sent.
    pub fn is_answering(&self) -> bool {
        !self.answering.is_empty()
    }

    /// Sends one run of one answer, so that nobody waits for a long one.
    pub fn answer(&mut self) {
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
            Err(error) => cannot_answer(&error),
        }
    }

    /// What time brings.
    pub fn tick(&mut self) {
        let again = std::mem::take(&mut self.later);
        for delivery in again {
            self.take(delivery);
        }
        let (now_ms, vector) = (self.now_ms(), self.parts.log.vector());
        let hash = self.state_hash(&vector);
        let EngineParts { reconciler, inbox, .. } = &mut self.parts;
        let outgoing = reconciler.tick(now_ms, &vector, hash, |node| inbox.admits(node, now_ms));
        self.send_all(outgoing);
    }

    fn state_hash(&self, vector: &Vector) -> Option<Digest> {
        let known = self.parts.state_hash.borrow();
        known.as_ref().filter(|(of, _)| of == vector).map(|(_, hash)| *hash)
    }

    /// How replication is. Whoever records or waits by it is told too.
    pub fn status(&self) -> ReplicaStatus {
        let EngineParts { reconciler, inbox, replicas, log, clock_limit_ms, .. } = &self.parts;
        let now_ms = self.now_ms();
        let clock_unsafe = reconciler.is_clock_unsafe(now_ms, *clock_limit_ms);
        inbox.parts().clock.set_unsafe(clock_unsafe);
        reconciler.presence(now_ms, |node, present| replicas.note_present(node, present));
        let caught_up = reconciler.is_caught_up(now_ms, &log.vector());
        ReplicaStatus { clock_unsafe, caught_up }
    }

    /// How far everything was accepted: to be kept over a restart.
    pub const fn cursor(&self) -> LogPosition {
        self.parts.publisher.cursor()
    }

    /// Whether everything that was recorded was accepted.
    pub fn is_idle(&self) -> bool {
        self.parts.publisher.is_idle()
    }

    /// The parts.
    pub const fn parts(&self) -> &EngineParts {
        &self.parts
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

    /// Takes parked messages again. Says how many there were.
    pub fn retry(&mut self) -> usize {
        let again = self.parts.parked.take_all();
        let count = again.len();
        let unclaimed = |bytes| Delivery { bytes, receipt: Receipt::unclaimed() };
        again.into_iter().map(unclaimed).for_each(|delivery| self.take(delivery));
        count
    }
}

fn cannot_answer(error: &super::runs::RunError) {
    let error = super::journal::chain(error);
    tracing::error!(error, "what a peer misses cannot be read");
}
