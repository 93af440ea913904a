//! The link: brokers and ways that lose, delay, repeat, reorder, alter and make up messages.
//!
//! Every node has a queue at a broker that outlives it. What is published goes into the queues of
//! all others, and is confirmed, or not, whatever became of it. A delivery that is not acknowledged
//! when its node ends comes again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use jcas::crypto::seals::Sealer;
use jcas::events::codec;
use jcas::events::ids::{DeploymentId, NodeName, RegionId};
use jcas::events::message::{Message, SentRun};
use jcas::replication::link::{Confirm, Delivery, Link, LinkError, Receipt, Way};
use tokio::sync::oneshot;

use crate::points::{Point, Points};
use crate::sim_disk::Seeded;

/// Most messages in a queue: the oldest make room.
const QUEUE_MAX: usize = 80;

/// What was done to a message on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Harm {
    /// A byte is another.
    Altered,
    /// It is a run that nobody with its region's key made.
    Forged,
    /// It is another deployment's.
    Foreign,
}

struct Queued {
    id: u64,
    from: NodeName,
    at_ms: u64,
    bytes: Bytes,
    harm: Option<Harm>,
}

/// A delivery, and what was done to it.
pub(crate) struct Taken {
    pub(crate) delivery: Delivery,
    pub(crate) from: NodeName,
    pub(crate) harm: Option<Harm>,
}

/// What a broker will say of a message, and when.
struct Awaited {
    at_ms: u64,
    sender: oneshot::Sender<Result<(), LinkError>>,
    result: Result<(), LinkError>,
}

struct Inner {
    random: Seeded,
    now_ms: u64,
    faulty: bool,
    deployment: DeploymentId,
    /// The regions' keys, to forge others' runs with.
    sealers: Vec<(RegionId, Sealer)>,
    queues: BTreeMap<NodeName, Vec<Queued>>,
    unacknowledged: BTreeMap<u64, (NodeName, Queued)>,
    confirms: Vec<Awaited>,
    cuts: BTreeSet<(NodeName, NodeName)>,
    next: u64,
    points: Points,
}

/// All brokers and all ways. Clones are the same ones.
#[derive(Clone)]
pub(crate) struct SimNet(Arc<Mutex<Inner>>);

fn pair(one: NodeName, other: NodeName) -> (NodeName, NodeName) {
    (one.min(other), one.max(other))
}

impl SimNet {
    /// The net of these nodes. `sealers` are the regions' keys.
    pub(crate) fn new(
        seed: u64,
        nodes: impl IntoIterator<Item = NodeName>,
        deployment: DeploymentId,
        sealers: Vec<(RegionId, Sealer)>,
    ) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            random: Seeded::new(seed),
            now_ms: 0,
            faulty: true,
            deployment,
            sealers,
            queues: nodes.into_iter().map(|node| (node, Vec::new())).collect(),
            unacknowledged: BTreeMap::new(),
            confirms: Vec::new(),
            cuts: BTreeSet::new(),
            next: 0,
            points: Points::default(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A node's end.
    pub(crate) fn link(&self, own: NodeName) -> Arc<dyn Link> {
        Arc::new(SimLink { net: self.clone(), own })
    }

    /// Lets time pass.
    pub(crate) fn advance(&self, millis: u64) {
        let mut inner = self.lock();
        inner.now_ms += millis;
        let now_ms = inner.now_ms;
        let (due, later) = std::mem::take(&mut inner.confirms)
            .into_iter()
            .partition::<Vec<_>, _>(|awaited| awaited.at_ms <= now_ms);
        inner.confirms = later;
        drop(inner);
        for Awaited { sender, result, .. } in due {
            // Whoever waited may be gone.
            let _gone = sender.send(result);
        }
    }

    /// Two nodes do not hear each other, or do again.
    pub(crate) fn toggle_cut(&self, one: NodeName, other: NodeName) {
        let mut inner = self.lock();
        let pair = pair(one, other);
        if !inner.cuts.remove(&pair) {
            inner.cuts.insert(pair);
            inner.points.hit(Point::Partition);
        }
    }

    /// A node's queue is gone, with all that was in it.
    pub(crate) fn vanish(&self, node: NodeName) {
        let mut inner = self.lock();
        let queue = inner.queues.get_mut(&node).map(std::mem::take).unwrap_or_default();
        inner.points.hits(Point::QueueVanished, u64::from(!queue.is_empty()));
    }

    /// From now on nothing goes wrong.
    pub(crate) fn heal(&self) {
        let mut inner = self.lock();
        inner.faulty = false;
        inner.cuts.clear();
    }

    /// A node's process has ended: what it did not acknowledge comes again.
    pub(crate) fn ended(&self, node: NodeName) {
        let mut inner = self.lock();
        let all = std::mem::take(&mut inner.unacknowledged);
        for (id, (to, queued)) in all {
            if to == node {
                inner.queues.entry(to).or_default().push(queued);
            } else {
                inner.unacknowledged.insert(id, (to, queued));
            }
        }
    }

    /// The next message that is due for a node.
    pub(crate) fn take(&self, to: NodeName) -> Option<Taken> {
        let mut inner = self.lock();
        let Inner { queues, cuts, now_ms, .. } = &mut *inner;
        let queue = queues.get_mut(&to)?;
        let due = |it: &Queued| it.at_ms <= *now_ms && !cuts.contains(&pair(it.from, to));
        let (at, _) = queue
            .iter()
            .enumerate()
            .filter(|(_, it)| due(it))
            .min_by_key(|(_, it)| (it.at_ms, it.id))?;
        let queued = queue.remove(at);
        let (id, from, harm, bytes) = (queued.id, queued.from, queued.harm, queued.bytes.clone());
        inner.unacknowledged.insert(id, (to, queued));
        drop(inner);
        let net = self.clone();
        let receipt = Receipt::new(move || drop(net.lock().unacknowledged.remove(&id)));
        Some(Taken { delivery: Delivery { bytes, receipt }, from, harm })
    }

    /// How many deliveries a node took and did not acknowledge.
    pub(crate) fn unacknowledged(&self, node: NodeName) -> usize {
        self.lock().unacknowledged.values().filter(|(to, _)| *to == node).count()
    }

    /// What happened on the ways.
    pub(crate) fn points(&self) -> Points {
        self.lock().points.clone()
    }
}

impl Inner {
    /// Puts a message into a queue, with whatever goes wrong.
    fn put(&mut self, from: NodeName, to: NodeName, bytes: &Bytes, loss: usize) {
        if !self.faulty {
            return self.queue(from, to, bytes.clone(), 1, None);
        }
        if self.random.chance(loss) {
            return self.points.hit(Point::LostAfterConfirm);
        }
        let most = if self.random.chance(15) { 4000 } else { 250 };
        let delay_ms = 1 + self.random.draw() % most;
        match self.random.below(100) {
            0..5 => {
                self.points.hit(Point::Repeated);
                let again = delay_ms + self.random.draw() % 1000;
                self.queue(from, to, bytes.clone(), again, None);
            }
            5 | 6 => {
                self.points.hit(Point::Altered);
                let mut altered = bytes.to_vec();
                let at = self.random.below(altered.len());
                altered[at] ^= 1 << self.random.below(8);
                return self.queue(from, to, altered.into(), delay_ms, Some(Harm::Altered));
            }
            7..10 => {
                // Besides the true one, which may come before or after it.
                if let Some((forged, harm)) = self.forge(bytes) {
                    let soon = self.random.draw() % 300;
                    self.queue(from, to, forged.into(), soon, Some(harm));
                }
            }
            _ => {}
        }
        self.queue(from, to, bytes.clone(), delay_ms, None);
    }

    fn queue(
        &mut self,
        from: NodeName,
        to: NodeName,
        bytes: Bytes,
        delay_ms: u64,
        harm: Option<Harm>,
    ) {
        self.next += 1;
        let queued = Queued { id: self.next, from, at_ms: self.now_ms + delay_ms, bytes, harm };
        let queue = self.queues.entry(to).or_default();
        queue.push(queued);
        if queue.len() > QUEUE_MAX {
            queue.remove(0);
        }
    }

    /// Makes another run of one that passes: its last event says something else, and the seal fits
    /// it, but is the old one's or by a key that is not the region's.
    fn forge(&mut self, bytes: &Bytes) -> Option<(Vec<u8>, Harm)> {
        let Message::Run(SentRun { mut run, why }) = codec::decode_message(bytes).ok()?.message
        else {
            return None;
        };
        if self.random.chance(25) {
            self.points.hit(Point::Foreign);
            let elsewhere = DeploymentId([99; 16]);
            let bytes = codec::encode_run(elsewhere, &SentRun { run, why }).ok()?;
            return Some((bytes, Harm::Foreign));
        }
        let last = run.records.last_mut()?;
        let mut body = last.body.take()?.to_vec();
        // The first bytes are the nonce: what the event says stays readable.
        *body.first_mut()? ^= 1;
        let mut header = codec::decode_header(&last.header).ok()?;
        header.body = codec::digest(&body);
        last.body = Some(body.into());
        last.header = codec::encode_header(&header).ok()?;
        run.seal.head = codec::digest(&last.header);
        let others = self.sealers.iter().filter(|(region, _)| *region != run.seal.origin.region);
        let others: Vec<_> = others.collect();
        let which = self.random.below(others.len() + 1);
        if let Some((_, sealer)) = others.get(which) {
            run.seal = sealer.seal(run.seal.origin, run.seal.sequence, run.seal.head);
        }
        self.points.hit(Point::Forged);
        let bytes = codec::encode_run(self.deployment, &SentRun { run, why }).ok()?;
        Some((bytes, Harm::Forged))
    }

    /// What the broker says of a message, and when.
    fn draw_confirm(&mut self) -> (bool, Result<(), LinkError>, u64) {
        if !self.faulty {
            return (true, Ok(()), 1);
        }
        let after_ms = 1 + self.random.draw() % 120;
        match self.random.below(100) {
            0..3 => (false, Err(LinkError::Refused), after_ms),
            3..6 => (false, Err(LinkError::Down), 0),
            6..10 => (true, Err(LinkError::Timeout), 1500),
            _ => (true, Ok(()), after_ms),
        }
    }
}

struct SimLink {
    net: SimNet,
    own: NodeName,
}

impl Link for SimLink {
    fn publish(&self, bytes: Bytes) -> Confirm {
        let mut inner = self.net.lock();
        let (routed, result, after_ms) = inner.draw_confirm();
        match (routed, result) {
            (false, _) => inner.points.hit(Point::Refused),
            (true, Err(_)) => inner.points.hit(Point::TimedOut),
            _ => {}
        }
        if routed {
            let others: Vec<_> =
                inner.queues.keys().copied().filter(|to| *to != self.own).collect();
            for to in others {
                inner.put(self.own, to, &bytes, 5);
            }
        }
        let (sender, confirm) = oneshot::channel();
        let at_ms = inner.now_ms + after_ms;
        inner.confirms.push(Awaited { at_ms, sender, result });
        Box::pin(async move { confirm.await.unwrap_or(Err(LinkError::Down)) })
    }

    fn send(&self, to: NodeName, bytes: Bytes) -> Result<(), LinkError> {
        let mut inner = self.net.lock();
        if inner.faulty && inner.random.chance(3) {
            return Err(LinkError::Down);
        }
        if !inner.cuts.contains(&pair(self.own, to)) {
            inner.put(self.own, to, &bytes, 8);
        }
        Ok(())
    }

    fn ways(&self) -> Vec<Way> {
        Vec::new()
    }

    fn shut(&self) {}
}
