//! Which broker a message goes by.
//!
//! What is published goes by this region's own broker, and by another one only while that one is
//! away, takes nothing or does not confirm: one that accepts is enough. What is for one node goes
//! by the broker that this node was last heard by, since it listens where it speaks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::events::ids::NodeName;
use crate::replication::link::{LinkError, WayState};

use super::status::Status;

/// How long it counts by which broker a node was heard.
const HEARD_FOR: Duration = Duration::from_secs(15);

/// Letters that wait for one broker.
pub(super) const LETTERS_MAX: usize = 64;

/// A message to all, on its way to whichever broker accepts it.
pub(super) struct Parcel {
    pub(super) bytes: Bytes,
    reply: oneshot::Sender<Result<(), LinkError>>,
    /// Which ways were tried, a bit each.
    tried: u64,
    /// Why the last one did not take it.
    error: Option<LinkError>,
    /// Its place among what may be under way.
    _place: OwnedSemaphorePermit,
}

impl Parcel {
    pub(super) fn new(
        bytes: Bytes,
        place: OwnedSemaphorePermit,
    ) -> (Self, oneshot::Receiver<Result<(), LinkError>>) {
        let (reply, answer) = oneshot::channel();
        (Self { bytes, reply, tried: 0, error: None, _place: place }, answer)
    }

    /// A broker has it.
    pub(super) fn accepted(self) {
        // Whoever published may have stopped waiting.
        let _unheard = self.reply.send(Ok(()));
    }

    /// The way it was given to did not take it.
    pub(super) fn refused(mut self, error: LinkError) -> Self {
        self.error = Some(error);
        self
    }
}

/// A message to one node.
pub(super) struct Letter {
    pub(super) to: NodeName,
    pub(super) bytes: Bytes,
}

/// Where a way takes messages.
pub(super) struct Entrance {
    pub(super) status: Arc<Status>,
    /// Bounded by the places among what may be under way.
    pub(super) parcels: mpsc::UnboundedSender<Parcel>,
    pub(super) letters: mpsc::Sender<Letter>,
}

/// All ways, this region's first.
pub(super) struct Router {
    entrances: Vec<Entrance>,
    /// By which way each peer was last heard, and when.
    heard: Mutex<BTreeMap<NodeName, Option<(usize, Instant)>>>,
    turn: AtomicUsize,
}

impl Router {
    /// A router over at most 64 ways.
    pub(super) fn new(entrances: Vec<Entrance>, peers: &[NodeName]) -> Self {
        let heard = peers.iter().map(|peer| (*peer, None)).collect();
        Self { entrances, heard: Mutex::new(heard), turn: AtomicUsize::new(0) }
    }

    /// The states of all ways.
    pub(super) fn statuses(&self) -> impl Iterator<Item = &Status> {
        self.entrances.iter().map(|entrance| &*entrance.status)
    }

    /// Gives a parcel to the first way that is open and was not tried, or back to its sender.
    pub(super) fn route(&self, mut parcel: Parcel) {
        let mut blocked = false;
        for (way, entrance) in self.entrances.iter().enumerate() {
            let bit = 1_u64 << (way % 64);
            if parcel.tried & bit != 0 {
                continue;
            }
            match entrance.status.outgoing() {
                WayState::Down => continue,
                WayState::Blocked => {
                    blocked = true;
                    continue;
                }
                WayState::Connected => {}
            }
            parcel.tried |= bit;
            match entrance.parcels.send(parcel) {
                Ok(()) => return,
                Err(mpsc::error::SendError(back)) => parcel = back,
            }
        }
        let away = if blocked { LinkError::Blocked } else { LinkError::Down };
        let _unheard = parcel.reply.send(Err(parcel.error.unwrap_or(away)));
    }

    /// Gives a letter to a way that its receiver is likely to listen at.
    pub(super) fn send(&self, letter: Letter) -> Result<(), LinkError> {
        let heard = {
            let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            *heard.get(&letter.to).ok_or(LinkError::UnknownNode)?
        };
        let heard = heard.filter(|(_, at)| at.elapsed() < HEARD_FOR).map(|(way, _)| way);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = self.entrances.len();
        let in_turn = (0..count).map(|step| turn.wrapping_add(step) % count.max(1));
        let mut letter = letter;
        let mut error = LinkError::Down;
        for entrance in heard.into_iter().chain(in_turn).filter_map(|way| self.entrances.get(way)) {
            match entrance.status.outgoing() {
                WayState::Down => continue,
                WayState::Blocked => {
                    error = LinkError::Blocked;
                    continue;
                }
                WayState::Connected => {}
            }
            letter = match entrance.letters.try_send(letter) {
                Ok(()) => return Ok(()),
                Err(mpsc::error::TrySendError::Full(back)) => {
                    error = LinkError::Busy;
                    back
                }
                Err(mpsc::error::TrySendError::Closed(back)) => back,
            };
        }
        Err(error)
    }

    /// Something of a node's came by this way.
    pub(super) fn heard(&self, from: NodeName, way: usize) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = heard.get_mut(&from) {
            *last = Some((way, Instant::now()));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::super::status::Side;
    use super::super::trouble::Trouble;
    use super::*;

    struct World {
        router: Router,
        ends: Vec<(mpsc::UnboundedReceiver<Parcel>, mpsc::Receiver<Letter>)>,
    }

    fn peer() -> NodeName {
        "us/a".parse().unwrap()
    }

    fn world(ways: usize) -> World {
        let mut entrances = Vec::new();
        let mut ends = Vec::new();
        for way in 0..ways {
            let status = Arc::new(Status::new(format!("r{way}").parse().unwrap()));
            status.connected(Side::Out);
            status.connected(Side::In);
            let (parcels, parcels_out) = mpsc::unbounded_channel();
            let (letters, letters_out) = mpsc::channel(2);
            entrances.push(Entrance { status, parcels, letters });
            ends.push((parcels_out, letters_out));
        }
        World { router: Router::new(entrances, &[peer()]), ends }
    }

    fn parcel() -> (Parcel, oneshot::Receiver<Result<(), LinkError>>) {
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        Parcel::new(Bytes::from_static(b"run"), place)
    }

    fn letter() -> Letter {
        Letter { to: peer(), bytes: Bytes::from_static(b"vector") }
    }

    impl World {
        fn status(&self, way: usize) -> &Status {
            self.router.statuses().nth(way).unwrap()
        }

        /// The way that a letter went by.
        fn sent(&mut self) -> Result<usize, LinkError> {
            self.router.send(letter())?;
            Ok(self.ends.iter_mut().position(|(_, letters)| letters.try_recv().is_ok()).unwrap())
        }
    }

    #[test]
    fn a_parcel_goes_by_the_own_broker_and_by_others_only_when_that_fails() {
        let mut world = world(3);
        let (first, mut answer) = parcel();
        world.router.route(first);
        let first = world.ends[0].0.try_recv().unwrap();
        world.router.route(first.refused(LinkError::Timeout));
        let first = world.ends[1].0.try_recv().unwrap();
        first.accepted();
        assert_eq!(answer.try_recv().unwrap(), Ok(()));

        let (second, _answer) = parcel();
        world.router.route(second);
        assert!(world.ends[0].0.try_recv().is_ok(), "the own broker comes first again");
    }

    #[test]
    fn a_parcel_that_nobody_takes_comes_back_with_the_last_reason() {
        let mut world = world(2);
        let (parcel, mut answer) = parcel();
        world.router.route(parcel);
        let parcel = world.ends[0].0.try_recv().unwrap();
        world.router.route(parcel.refused(LinkError::Timeout));
        let parcel = world.ends[1].0.try_recv().unwrap();
        world.router.route(parcel.refused(LinkError::Returned));
        assert_eq!(answer.try_recv().unwrap(), Err(LinkError::Returned));
    }

    #[test]
    fn ways_that_are_away_or_blocked_are_passed_over() {
        let mut world = world(2);
        world.status(0).blocked(true);
        let (one, _answer) = parcel();
        world.router.route(one);
        assert!(world.ends[1].0.try_recv().is_ok());
        world.status(1).lost(Side::Out, &Trouble::Slow("connect"));
        for expected in [LinkError::Blocked, LinkError::Down] {
            let (another, mut answer) = parcel();
            world.router.route(another);
            assert_eq!(answer.try_recv().unwrap(), Err(expected));
            assert_eq!(world.sent(), Err(expected));
            world.status(0).lost(Side::Out, &Trouble::Slow("connect"));
        }
    }

    #[test]
    fn a_letter_goes_where_its_receiver_was_heard_and_else_by_each_in_turn() {
        let mut world = world(3);
        let in_turn = [0; 3].map(|_| world.sent().unwrap());
        assert_eq!(in_turn, [0, 1, 2]);
        world.router.heard(peer(), 2);
        assert_eq!([0; 2].map(|_| world.sent().unwrap()), [2, 2]);
        world.status(2).lost(Side::Out, &Trouble::Slow("connect"));
        assert_ne!(world.sent().unwrap(), 2);
        let stranger = Letter { to: "ap/x".parse().unwrap(), bytes: Bytes::new() };
        assert_eq!(world.router.send(stranger), Err(LinkError::UnknownNode));
    }

    #[test]
    fn letters_are_bounded() {
        let world = world(1);
        let sent = [0; 3].map(|_| world.router.send(letter()));
        assert_eq!(sent, [Ok(()), Ok(()), Err(LinkError::Busy)]);
    }
}
