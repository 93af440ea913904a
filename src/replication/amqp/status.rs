//! How a way is: what its two connections report, and what others read of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::events::ids::RegionId;
use crate::replication::link::{Way, WayState};

use super::trouble::Trouble;

/// One of a way's two connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// What publishes. A broker that is short of memory or disk stops reading from it.
    Out,
    /// What consumes.
    In,
}

impl Side {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::In => "in",
        }
    }
}

/// What is known of one way.
#[derive(Debug)]
pub(super) struct Status {
    broker: RegionId,
    shape: Mutex<Shape>,
    /// Messages sent, received; connections made.
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
    connections: AtomicU64,
}

#[derive(Debug)]
struct Shape {
    outgoing: bool,
    incoming: bool,
    blocked: bool,
    state: WayState,
    since: Instant,
    trouble: Option<String>,
    waiting: Option<u64>,
}

impl Shape {
    fn changed(&mut self) {
        let state = match (self.outgoing && self.incoming, self.blocked) {
            (true, false) => WayState::Connected,
            (true, true) => WayState::Blocked,
            (false, _) => WayState::Down,
        };
        if state != self.state {
            self.state = state;
            self.since = Instant::now();
        }
        if state == WayState::Connected {
            self.trouble = None;
        }
    }
}

impl Status {
    pub(super) fn new(broker: RegionId) -> Self {
        let shape = Shape {
            outgoing: false,
            incoming: false,
            blocked: false,
            state: WayState::Down,
            since: Instant::now(),
            trouble: None,
            waiting: None,
        };
        let zero = || AtomicU64::new(0);
        let shape = Mutex::new(shape);
        Self { broker, shape, sent: zero(), received: zero(), connections: zero() }
    }

    /// A connection is there and may be used.
    pub(super) fn connected(&self, side: Side) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        let mut shape = self.shape();
        match side {
            Side::Out => (shape.outgoing, shape.blocked) = (true, false),
            Side::In => shape.incoming = true,
        }
        shape.changed();
        drop(shape);
        tracing::info!(broker = %self.broker, side = side.as_str(), "connected to a broker");
    }

    /// A connection was lost, or could not be made.
    pub(super) fn lost(&self, side: Side, trouble: &Trouble) {
        let mut shape = self.shape();
        match side {
            Side::Out => (shape.outgoing, shape.blocked) = (false, false),
            Side::In => (shape.incoming, shape.waiting) = (false, None),
        }
        shape.changed();
        let text = trouble.to_string();
        let is_news = shape.trouble.as_ref() != Some(&text);
        shape.trouble = Some(text);
        drop(shape);
        if is_news {
            let (broker, side) = (self.broker, side.as_str());
            tracing::warn!(%broker, side, error = %trouble, "no connection to a broker");
        }
    }

    /// The broker takes nothing for now, or does again.
    pub(super) fn blocked(&self, blocked: bool) {
        let mut shape = self.shape();
        shape.blocked = blocked;
        shape.changed();
        drop(shape);
        if blocked {
            tracing::warn!(broker = %self.broker, "the broker takes nothing for now");
        } else {
            tracing::info!(broker = %self.broker, "the broker takes messages again");
        }
    }

    /// So many messages wait for this node.
    pub(super) fn waiting(&self, count: u64) {
        self.shape().waiting = Some(count);
    }

    /// Whether messages can be given to it, and where not, whether that is because the broker
    /// takes none.
    pub(super) fn outgoing(&self) -> WayState {
        let shape = self.shape();
        match (shape.outgoing, shape.blocked) {
            (true, false) => WayState::Connected,
            (true, true) => WayState::Blocked,
            (false, _) => WayState::Down,
        }
    }

    /// All of it, for people.
    pub(super) fn way(&self) -> Way {
        let shape = self.shape();
        Way {
            broker: self.broker,
            state: shape.state,
            lasting: shape.since.elapsed(),
            trouble: shape.trouble.clone(),
            waiting: shape.waiting,
            sent: self.sent.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
            connections: self.connections.load(Ordering::Relaxed),
        }
    }

    fn shape(&self) -> MutexGuard<'_, Shape> {
        self.shape.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
