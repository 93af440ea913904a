//! The directory: the actor that knows who claims which identity, and keeps two commands from
//! deciding about one identity at once.
//!
//! It derives owners from the index in the state and stores nothing. A command that would claim an
//! identity holds it from before it is decided until it is durable or failed; whoever else wants
//! it waits that long and then sees what became of it. A command with an idempotency key holds that
//! key in the same way, so that its repeat finds what it recorded. Who only wants to know who
//! claims an identity needs no turn and does not come here (`House::find`). [`DirectoryEngine`] is
//! one slice of blind indexes and keys without its mailbox.

use std::sync::Arc;

use actix::{Actor, AsyncContext, Context, Handler, Message};
use serde::Serialize;
use tokio::sync::oneshot;

use crate::events::account::Claimant;
use crate::events::ids::{BlindIndex, CompanyId, KeyedDigest};
use crate::state::error::StateError;
use crate::state::store::Store;

use super::failure::Unavailable;
use super::holds::{Ender, Hold, Holds, Turn};
use super::lane::{Reply, send};

pub use crate::state::repeats::Repeat;

/// Asks to hold an identity, and who claims it then.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Reserve {
    /// The identity.
    pub index: BlindIndex,
    /// For whom: says which claimants are its customers.
    pub company: CompanyId,
    /// Where the reservation goes.
    pub reply: Reply<Reserved, Unavailable>,
}

/// Asks to hold an idempotency key, and what was recorded under it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Begin {
    /// The digest of the key.
    pub key: KeyedDigest,
    /// Where the hold goes.
    pub reply: Reply<Begun, Unavailable>,
}

/// Ends a reservation.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Release(BlindIndex);

/// Ends the hold of an idempotency key.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct End(KeyedDigest);

/// Asks for a snapshot.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Observe(pub oneshot::Sender<DirectoryView>);

/// What a directory slice shows of itself.
#[derive(Debug, Clone, Default, Serialize)]
pub struct DirectoryView {
    /// Identities and idempotency keys held now.
    pub held: usize,
    /// Commands that wait for one.
    pub waiting: usize,
    /// Commands refused because too many waited.
    pub refused: u64,
}

/// An identity that is held, until this is dropped.
#[derive(Debug)]
pub struct Reserved {
    /// Who claims the identity.
    pub claimants: Vec<Claimant>,
    hold: Hold<BlindIndex>,
}

impl Reserved {
    /// The identity that is held.
    pub const fn index(&self) -> BlindIndex {
        self.hold.key()
    }
}

/// An idempotency key that is held, until this is dropped.
#[derive(Debug)]
pub struct Begun {
    /// What was recorded under the key, the oldest first.
    pub repeats: Vec<Repeat>,
    _hold: Hold<KeyedDigest>,
}

/// How a slice hears that what it gave to hold is held no more.
#[derive(Clone)]
pub struct Ends {
    /// Of an identity.
    pub identity: Ender<BlindIndex>,
    /// Of an idempotency key.
    pub key: Ender<KeyedDigest>,
}

/// One slice of blind indexes and idempotency keys.
pub struct DirectoryEngine {
    store: Arc<Store>,
    identities: Holds<BlindIndex, Reserve>,
    keys: Holds<KeyedDigest, Begin>,
    ends: Ends,
    view: DirectoryView,
}

impl DirectoryEngine {
    /// A slice where at most `waiting_max` wait for one identity or key.
    pub fn new(store: Arc<Store>, waiting_max: usize, ends: Ends) -> Self {
        let (identities, keys) = (Holds::new(waiting_max), Holds::new(waiting_max));
        Self { store, identities, keys, ends, view: DirectoryView::default() }
    }

    /// Gives the identity to whoever asks first; others wait in line.
    pub fn reserve(&mut self, reserve: Reserve) {
        match self.identities.take(reserve.index, reserve) {
            Turn::Now(reserve) => self.grant(reserve),
            Turn::Later => {}
            Turn::Never(reserve) => {
                self.view.refused += 1;
                send(reserve.reply, Err(Unavailable::Overloaded));
            }
        }
    }

    /// A reservation ended: the next in line that still wants it is given it.
    pub fn release(&mut self, index: BlindIndex) {
        if let Some(next) = self.identities.release(index, |next| !next.reply.is_closed()) {
            self.grant(next);
        }
    }

    /// Answers with a reservation. If nobody takes it, dropping it ends it.
    fn grant(&self, reserve: Reserve) {
        let Reserve { index, company, reply } = reserve;
        let hold = Hold::new(index, &self.ends.identity);
        let found = self.store.claimants(index, company).map_err(|error| unreadable(&error));
        send(reply, found.map(|claimants| Reserved { claimants, hold }));
    }

    /// Gives an idempotency key to whoever asks first; others wait in line.
    pub fn begin(&mut self, begin: Begin) {
        match self.keys.take(begin.key, begin) {
            Turn::Now(begin) => self.start(begin),
            Turn::Later => {}
            Turn::Never(begin) => {
                self.view.refused += 1;
                send(begin.reply, Err(Unavailable::Overloaded));
            }
        }
    }

    /// A command with an idempotency key ended: the next in line sees what it recorded.
    pub fn end(&mut self, key: KeyedDigest) {
        if let Some(next) = self.keys.release(key, |next| !next.reply.is_closed()) {
            self.start(next);
        }
    }

    fn start(&self, begin: Begin) {
        let Begin { key, reply } = begin;
        let hold = Hold::new(key, &self.ends.key);
        let found = self.store.repeats(key).map_err(|error| unreadable(&error));
        send(reply, found.map(|repeats| Begun { repeats, _hold: hold }));
    }

    /// A snapshot.
    pub fn view(&self) -> DirectoryView {
        let held = self.identities.held() + self.keys.held();
        let waiting = self.identities.waiting() + self.keys.waiting();
        DirectoryView { held, waiting, ..self.view.clone() }
    }
}

pub(super) fn unreadable(error: &StateError) -> Unavailable {
    tracing::error!(%error, "the directory cannot be read");
    Unavailable::Storage
}

/// A slice's mailbox.
pub struct Directory {
    store: Arc<Store>,
    waiting_max: usize,
    mailbox: usize,
    engine: Option<DirectoryEngine>,
}

impl Directory {
    /// A slice whose mailbox holds at most `mailbox` messages.
    pub const fn new(store: Arc<Store>, waiting_max: usize, mailbox: usize) -> Self {
        Self { store, waiting_max, mailbox, engine: None }
    }
}

impl Actor for Directory {
    type Context = Context<Self>;

    #[expect(
        clippy::disallowed_methods,
        reason = "the end of a reservation must arrive; there are no more of them than grants"
    )]
    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(self.mailbox);
        let address = context.address();
        let other = address.clone();
        let identity: Ender<BlindIndex> = Arc::new(move |index| address.do_send(Release(index)));
        let key: Ender<KeyedDigest> = Arc::new(move |key| other.do_send(End(key)));
        let (store, ends) = (Arc::clone(&self.store), Ends { identity, key });
        self.engine = Some(DirectoryEngine::new(store, self.waiting_max, ends));
    }
}

/// Declares what a message does with the engine.
macro_rules! handle {
    ($message:ty, |$engine:ident, $it:ident| $body:expr) => {
        impl Handler<$message> for Directory {
            type Result = ();

            fn handle(&mut self, $it: $message, _: &mut Self::Context) {
                if let Some($engine) = &mut self.engine {
                    $body
                }
            }
        }
    };
}

handle!(Reserve, |engine, reserve| engine.reserve(reserve));
handle!(Release, |engine, release| engine.release(release.0));
handle!(Begin, |engine, begin| engine.begin(begin));
handle!(End, |engine, end| engine.end(end.0));
handle!(Observe, |engine, observe| drop(observe.0.send(engine.view())));

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::events::ids::{Digest, IdentityKind};
    use crate::files::{Disk, Files};
    use crate::state::sled_kv::SledKv;

    fn index(number: u8) -> BlindIndex {
        BlindIndex { kind: IdentityKind::Email, version: 1, mac: Digest([number; 32]) }
    }

    /// What is no longer held.
    enum Ended {
        Identity(BlindIndex),
        Key(KeyedDigest),
    }

    /// A slice over an empty state, and the ends of holds as they come.
    fn slice(waiting_max: usize) -> (tempfile::TempDir, DirectoryEngine, mpsc::Receiver<Ended>) {
        let folder = tempfile::tempdir().unwrap();
        let files: Arc<dyn Files> = Arc::new(Disk);
        let kv = SledKv::open(&files, &folder.path().join("sled"), 8 << 20).unwrap();
        let (ended, ends) = mpsc::channel();
        let other = ended.clone();
        let identity: Ender<BlindIndex> =
            Arc::new(move |index| other.send(Ended::Identity(index)).unwrap_or_default());
        let key: Ender<KeyedDigest> =
            Arc::new(move |key| ended.send(Ended::Key(key)).unwrap_or_default());
        let store = Arc::new(Store::new(Arc::new(kv)));
        let engine = DirectoryEngine::new(store, waiting_max, Ends { identity, key });
        (folder, engine, ends)
    }

    /// Tells the slice of one end, as its mailbox does.
    fn tell(engine: &mut DirectoryEngine, ends: &mpsc::Receiver<Ended>) {
        match ends.try_recv().unwrap() {
            Ended::Identity(index) => engine.release(index),
            Ended::Key(key) => engine.end(key),
        }
    }

    type Granted = oneshot::Receiver<Result<Reserved, Unavailable>>;

    fn reserve(engine: &mut DirectoryEngine, number: u8) -> Granted {
        let (reply, granted) = oneshot::channel();
        let company = "shop".parse().unwrap();
        engine.reserve(Reserve { index: index(number), company, reply });
        granted
    }

    #[test]
    fn an_identity_is_held_by_one_and_goes_to_the_next_in_line() {
        let (_folder, mut engine, ends) = slice(8);
        let first = reserve(&mut engine, 1).try_recv().unwrap().unwrap();
        let mut second = reserve(&mut engine, 1);
        let mut third = reserve(&mut engine, 1);
        let mut other = reserve(&mut engine, 2);
        let _other = other.try_recv().unwrap().expect("another identity is free");
        assert!(second.try_recv().is_err(), "it was given twice");
        drop(first);
        tell(&mut engine, &ends);
        let held = second.try_recv().unwrap().unwrap();
        assert!(third.try_recv().is_err(), "it was given twice");
        drop(held);
        tell(&mut engine, &ends);
        assert!(third.try_recv().unwrap().is_ok());
    }

    #[test]
    fn whoever_went_away_while_waiting_is_passed_over() {
        let (_folder, mut engine, ends) = slice(8);
        let first = reserve(&mut engine, 1).try_recv().unwrap().unwrap();
        drop(reserve(&mut engine, 1));
        let mut third = reserve(&mut engine, 1);
        drop(first);
        tell(&mut engine, &ends);
        assert!(third.try_recv().unwrap().is_ok());
    }

    #[test]
    fn a_reservation_that_nobody_takes_ends() {
        let (_folder, mut engine, ends) = slice(8);
        drop(reserve(&mut engine, 1));
        // Granted to a caller that was gone: the grant was dropped and ends by itself.
        tell(&mut engine, &ends);
        assert_eq!(engine.view().held, 0);
        assert!(reserve(&mut engine, 1).try_recv().unwrap().is_ok());
    }

    #[test]
    fn a_full_line_is_refused_at_once() {
        let (_folder, mut engine, _ends) = slice(1);
        let _first = reserve(&mut engine, 1).try_recv().unwrap().unwrap();
        let _second = reserve(&mut engine, 1);
        let refused = reserve(&mut engine, 1).try_recv().unwrap();
        assert_eq!(refused.err(), Some(Unavailable::Overloaded));
        let view = engine.view();
        assert_eq!((view.held, view.waiting, view.refused), (1, 1, 1));
    }

    fn begin(
        engine: &mut DirectoryEngine,
        key: u8,
    ) -> oneshot::Receiver<Result<Begun, Unavailable>> {
        let (reply, begun) = oneshot::channel();
        engine.begin(Begin { key: KeyedDigest([key; 16]), reply });
        begun
    }

    #[test]
    fn a_repeat_waits_for_the_first_and_a_full_line_is_refused() {
        let (_folder, mut engine, ends) = slice(1);
        let first = begin(&mut engine, 1).try_recv().unwrap().unwrap();
        let mut second = begin(&mut engine, 1);
        let third = begin(&mut engine, 1).try_recv().unwrap();
        assert_eq!(third.err(), Some(Unavailable::Overloaded));
        assert!(begin(&mut engine, 2).try_recv().unwrap().is_ok(), "another key is free");
        tell(&mut engine, &ends);
        assert!(second.try_recv().is_err(), "it did not wait");
        drop(first);
        tell(&mut engine, &ends);
        assert!(second.try_recv().unwrap().is_ok());
        tell(&mut engine, &ends);
        assert_eq!((engine.view().held, engine.view().waiting, engine.view().refused), (0, 0, 1));
    }
}
