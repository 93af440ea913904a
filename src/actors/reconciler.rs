//! The reconciler: peers tell each other where they stand, and what is missing is fetched.
//!
//! A queue may have dropped something, a broker may have died after it confirmed, a node may have
//! been away for months or begin with nothing: all of it shows as a difference between two vectors,
//! and is mended the same way, by asking anybody who has more. [`ReconcilerEngine`] is plain data:
//! it is told what came and what time it is, and says what to send.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::events::ids::{Digest, NodeName};
use crate::events::message::{News, NodeEnd, VectorNews};
use crate::events::stamp::Origin;
use crate::log::Vector;

use super::standing::{self, Standing};

/// How often, at what intervals.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How often a vector is told.
    pub vector: Duration,
    /// How long an answer to a fetch may take to go on.
    pub fetch: Duration,
    /// After this time without a word a peer is taken for away.
    pub away: Duration,
}

/// The longest wait after fetches that brought nothing.
const BACKOFF_MAX_MS: u64 = 60_000;

/// To whom something is to be sent.
pub type Outgoing = (NodeName, News);

/// What came of a peer's vector.
#[derive(Debug, Default)]
pub struct Comparison {
    /// What to send.
    pub outgoing: Vec<Outgoing>,
    /// Lives that told two stories, with the number where it shows.
    pub forked: Vec<(Origin, u64)>,
    /// Whether the state hashes differ though the vectors are equal, and did not before.
    pub diverged: bool,
}

/// The reconciler without its link.
pub struct ReconcilerEngine {
    own: Origin,
    pace: Pace,
    peers: BTreeMap<NodeName, Peer>,
    fetches: BTreeMap<NodeName, Fetching>,
    told_ms: Option<u64>,
    view: ReconcilerCounts,
}

#[derive(Debug, Clone, Default)]
struct Peer {
    heard_ms: Option<u64>,
    /// How far its clock was ahead of this one's when it was heard, in milliseconds.
    ahead_ms: i64,
    nodes: Vec<NodeEnd>,
    life: Option<Origin>,
    /// Since when it has something that this node has not.
    behind_since_ms: Option<u64>,
    /// The state hash that was equal last, and when.
    agreed: Option<(Digest, u64)>,
    /// Since when its state hash is another one.
    diverged_ms: Option<u64>,
    /// Whether it told a state hash at this node's vector, which knows none.
    asks_hash: bool,
}

/// A node whose events are being fetched.
#[derive(Debug, Clone, Copy)]
struct Fetching {
    /// Whom it was asked of.
    of: NodeName,
    /// When it was asked or brought something last.
    moved_ms: u64,
    /// Fetches in a row that brought nothing.
    empty: u32,
    /// Whether an answer is awaited.
    open: bool,
    /// Whether the answer brought something.
    brought: bool,
}

/// What the reconciler did so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ReconcilerCounts {
    /// Vectors told.
    pub vectors: u64,
    /// Fetches sent.
    pub fetches: u64,
    /// Fetches that nobody answered in time.
    pub unanswered: u64,
    /// Times a peer's state hash was compared at equal vectors.
    pub compared: u64,
    /// Times it was another one.
    pub diverged: u64,
}

/// A peer as it is shown.
#[derive(Debug, Clone, Serialize)]
pub struct PeerView {
    /// The peer.
    pub node: NodeName,
    /// Whether it was heard lately.
    pub connected: bool,
    /// When it was heard last, in milliseconds since 1970.
    pub heard_ms: Option<u64>,
    /// How far its clock is ahead, in milliseconds.
    pub ahead_ms: i64,
    /// Events that it has and this node has not.
    pub behind_events: u64,
    /// How long it has had something that this node has not, in milliseconds.
    pub behind_ms: u64,
    /// Events that this node has and it has not, as far as it told.
    pub ahead_events: u64,
    /// When its state hash was equal last, in milliseconds since 1970.
    pub agreed_ms: Option<u64>,
    /// The state hash that was equal then.
    pub agreed_hash: Option<Digest>,
    /// Since when its state hash is another one at equal vectors, in milliseconds since 1970.
    pub diverged_ms: Option<u64>,
    /// Whether it told a state hash at this node's vector, which knows none to compare.
    pub asks_hash: bool,
}

impl ReconcilerEngine {
    /// A reconciler of the life `own` with these peers.
    pub fn new(own: Origin, peers: impl IntoIterator<Item = NodeName>, pace: Pace) -> Self {
        let peers = peers.into_iter().filter(|peer| *peer != own.name());
        Self {
            own,
            pace,
            peers: peers.map(|peer| (peer, Peer::default())).collect(),
            fetches: BTreeMap::new(),
            told_ms: None,
            view: ReconcilerCounts::default(),
        }
    }

    /// What time brings: vectors to tell, fetches to try again. `admits` says of a node whether its
    /// events are let in now.
    pub fn tick(
        &mut self,
        now_ms: u64,
        own: &Vector,
        state_hash: Option<Digest>,
        admits: impl Fn(NodeName) -> bool,
    ) -> Vec<Outgoing> {
        let mut outgoing = Vec::new();
        let every = millis(self.pace.vector);
        if self.told_ms.is_none_or(|told| now_ms.saturating_sub(told) >= every || told > now_ms) {
            let news = News::Vector(self.vector(now_ms, own, state_hash, self.told_ms.is_none()));
            self.told_ms = Some(now_ms);
            self.view.vectors += 1;
            outgoing.extend(self.peers.keys().map(|peer| (*peer, news.clone())));
        }
        for fetching in self.fetches.values_mut() {
            let late = now_ms.saturating_sub(fetching.moved_ms) >= millis(self.pace.fetch);
            if fetching.open && late {
                fetching.open = false;
                fetching.empty = if fetching.brought { 0 } else { fetching.empty + 1 };
                self.view.unanswered += 1;
            }
        }
        self.peers.values_mut().for_each(|peer| peer.note_behind(now_ms, own));
        outgoing.extend(self.missing(now_ms, own, admits));
        outgoing
    }

    fn vector(
        &self,
        now_ms: u64,
        own: &Vector,
        state_hash: Option<Digest>,
        asks: bool,
    ) -> VectorNews {
        VectorNews { life: self.own, now_ms, nodes: standing::told(own), state_hash, asks }
    }

    /// A peer told where it stands.
    pub fn heard(
        &mut self,
        from: NodeName,
        news: VectorNews,
        now_ms: u64,
        own: &Vector,
        state_hash: Option<Digest>,
        admits: impl Fn(NodeName) -> bool,
    ) -> Comparison {
        let mut comparison = Comparison::default();
        if from == self.own.name() {
            return comparison;
        }
        let answer = self.vector(now_ms, own, state_hash, false);
        let Some(peer) = self.peers.get_mut(&from) else { return comparison };
        if news.asks {
            comparison.outgoing.push((from, News::Vector(answer)));
        }
        let of = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        peer.heard_ms = Some(now_ms);
        peer.ahead_ms = of(news.now_ms).saturating_sub(of(now_ms));
        peer.life = Some(news.life);
        let told = news.state_hash.filter(|_| standing::is_equal(own, &news.nodes));
        if let (Some(here), Some(there)) = (state_hash, told) {
            self.view.compared += 1;
            comparison.diverged = peer.compare(here, there, now_ms);
            self.view.diverged += u64::from(comparison.diverged);
        }
        peer.asks_hash = state_hash.is_none() && told.is_some();
        peer.nodes = news.nodes;
        peer.note_behind(now_ms, own);
        for end in &peer.nodes {
            if let Standing::Forked(origin) = standing::standing(own, end) {
                comparison.forked.push((origin, end.sequence));
            }
        }
        comparison.outgoing.extend(self.missing(now_ms, own, admits));
        comparison
    }

    /// Asks for everything that some peer has and this node has not, as far as it is not asked for.
    pub fn missing(
        &mut self,
        now_ms: u64,
        own: &Vector,
        admits: impl Fn(NodeName) -> bool,
    ) -> Vec<Outgoing> {
        let mut wanted: BTreeMap<NodeName, Vec<NodeName>> = BTreeMap::new();
        for (peer, state) in &self.peers {
            let lately = self.is_present(state, now_ms);
            for end in state.nodes.iter().filter(|_| lately) {
                if matches!(standing::standing(own, end), Standing::Behind | Standing::Differs) {
                    wanted.entry(end.newest.name()).or_default().push(*peer);
                }
            }
        }
        self.fetches.retain(|node, fetching| fetching.open || wanted.contains_key(node));
        let mut outgoing = Vec::new();
        for (node, peers) in wanted {
            if admits(node)
                && let Some(of) = self.ask_whom(node, &peers, now_ms)
            {
                self.view.fetches += 1;
                outgoing.push((of, News::Fetch(standing::fetch(own, node))));
            }
        }
        outgoing
    }

    /// Whom to ask for a node's events now, if anybody: the next in turn after whoever was asked
    /// last, so that one that does not answer is passed over.
    fn ask_whom(&mut self, node: NodeName, peers: &[NodeName], now_ms: u64) -> Option<NodeName> {
        let last = self.fetches.get(&node).copied();
        if let Some(last) = last {
            let wait = match last.empty {
                0 => 0,
                empty => (250_u64 << empty.min(8)).min(BACKOFF_MAX_MS),
            };
            if last.open || now_ms.saturating_sub(last.moved_ms) < wait {
                return None;
            }
        }
        let of = match last {
            Some(last) if last.empty == 0 && peers.contains(&last.of) => Some(last.of),
            Some(last) => peers.iter().find(|peer| **peer > last.of).or(peers.first()).copied(),
            // The node itself knows best, if it is there.
            None => peers.iter().find(|peer| **peer == node).or(peers.first()).copied(),
        }?;
        let empty = last.map_or(0, |last| last.empty);
        let fetching = Fetching { of, moved_ms: now_ms, empty, open: true, brought: false };
        self.fetches.insert(node, fetching);
        Some(of)
    }

    /// A run came in answer to a fetch and was taken in, or was not.
    pub fn fetched(&mut self, node: NodeName, brought: bool, last: bool, now_ms: u64) {
        if let Some(fetching) = self.fetches.get_mut(&node) {
            fetching.moved_ms = now_ms;
            fetching.brought |= brought;
            if last {
                fetching.open = false;
                fetching.empty = if fetching.brought { 0 } else { fetching.empty + 1 };
            }
        }
    }

    /// Events of a node are missing before what came: they are asked for at once, of whoever is
    /// known to have them.
    pub fn gap(&mut self, node: NodeName, now_ms: u64, own: &Vector) -> Vec<Outgoing> {
        let known = self.peers.contains_key(&node);
        let peers: Vec<_> = known.then_some(node).into_iter().collect();
        match self.ask_whom(node, &peers, now_ms) {
            Some(of) => {
                self.view.fetches += 1;
                vec![(of, News::Fetch(standing::fetch(own, node)))]
            }
            None => Vec::new(),
        }
    }

    /// Tells of each peer whether it was heard lately.
    pub fn presence(&self, now_ms: u64, mut told: impl FnMut(NodeName, bool)) {
        for (node, peer) in &self.peers {
            told(*node, self.is_present(peer, now_ms));
        }
    }

    fn is_present(&self, peer: &Peer, now_ms: u64) -> bool {
        peer.heard_ms.is_some_and(|heard| now_ms.saturating_sub(heard) < millis(self.pace.away))
    }

    /// Whether most peers that were heard lately are behind this node's clock by more than
    /// `limit_ms`: then it is this clock that is wrong.
    pub fn is_clock_unsafe(&self, now_ms: u64, limit_ms: u64) -> bool {
        let limit = i64::try_from(limit_ms).unwrap_or(i64::MAX);
        let present = self.peers.values().filter(|peer| self.is_present(peer, now_ms));
        let (behind, all) = present.fold((0, 0), |(behind, all), peer| {
            (behind + u32::from(peer.ahead_ms < -limit), all + 1)
        });
        behind * 2 > all
    }

    /// Whether nothing can be missing here that a peer has that was heard lately, and at least one
    /// was, or there is none.
    pub fn is_caught_up(&self, now_ms: u64, own: &Vector) -> bool {
        let mut present = self.peers.values().filter(|peer| self.is_present(peer, now_ms));
        let heard = self.peers.is_empty() || present.clone().next().is_some();
        heard
            && present.all(|peer| {
                let lacks = |end| {
                    matches!(standing::standing(own, end), Standing::Behind | Standing::Differs)
                };
                !peer.nodes.iter().any(lacks)
            })
    }

    /// The peers, as they are shown.
    pub fn peers(&self, now_ms: u64, own: &Vector) -> Vec<PeerView> {
        let view = |(node, peer): (&NodeName, &Peer)| {
            let here = |end: &NodeEnd| own.get(&end.newest).map_or(0, |here| here.sequence);
            let behind = |end: &NodeEnd| end.sequence.saturating_sub(here(end));
            PeerView {
                node: *node,
                connected: self.is_present(peer, now_ms),
                heard_ms: peer.heard_ms,
                ahead_ms: peer.ahead_ms,
                behind_events: peer.nodes.iter().map(behind).sum(),
                behind_ms: peer.behind_since_ms.map_or(0, |since| now_ms.saturating_sub(since)),
                ahead_events: standing::ahead(own, &peer.nodes),
                agreed_ms: peer.agreed.map(|(_, at)| at),
                agreed_hash: peer.agreed.map(|(hash, _)| hash),
                diverged_ms: peer.diverged_ms,
                asks_hash: peer.asks_hash,
            }
        };
        self.peers.iter().map(view).collect()
    }

    /// What was done so far.
    pub const fn counts(&self) -> ReconcilerCounts {
        self.view
    }
}

impl Peer {
    /// Takes a state hash at equal vectors. Says whether it is news that it is another one.
    fn compare(&mut self, here: Digest, there: Digest, now_ms: u64) -> bool {
        if here == there {
            (self.agreed, self.diverged_ms) = (Some((here, now_ms)), None);
            return false;
        }
        let is_news = self.diverged_ms.is_none();
        self.diverged_ms.get_or_insert(now_ms);
        is_news
    }

    fn note_behind(&mut self, now_ms: u64, own: &Vector) {
        let behind = |end: &NodeEnd| matches!(standing::standing(own, end), Standing::Behind);
        if self.nodes.iter().any(behind) {
            self.behind_since_ms.get_or_insert(now_ms);
        } else {
            self.behind_since_ms = None;
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
