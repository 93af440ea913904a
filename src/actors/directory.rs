//! The directory: the actor that knows who claims which identity, and keeps two commands from
//! deciding about one identity at once.
//!
//! It derives owners from the index in the state and stores nothing. A command that would claim an
//! identity holds it from before it is decided until it is durable or failed; whoever else wants
//! it waits that long and then sees what became of it. [`DirectoryEngine`] is one slice of blind
//! indexes without its mailbox.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use actix::{Actor, AsyncContext, Context, Handler, Message};
use serde::Serialize;
use tokio::sync::oneshot;

use crate::events::account::Claimant;
use crate::events::ids::{BlindIndex, CompanyId};
use crate::state::store::Store;

use super::failure::Unavailable;
use super::lane::{Reply, send};

/// Asks who claims an identity.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Find {
    /// The identity.
    pub index: BlindIndex,
    /// For whom: says which claimants are its customers.
    pub company: CompanyId,
    /// Where the claimants go.
    pub reply: Reply<Vec<Claimant>, Unavailable>,
}

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

/// Ends a reservation.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Release(BlindIndex);

/// Asks for a snapshot.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Observe(pub oneshot::Sender<DirectoryView>);

/// What a directory slice shows of itself.
#[derive(Debug, Clone, Default, Serialize)]
pub struct DirectoryView {
    /// Identities held now.
    pub held: usize,
    /// Commands that wait for one.
    pub waiting: usize,
    /// Look-ups answered.
    pub found: u64,
    /// Reservations refused because too many waited.
    pub refused: u64,
}

/// An identity that is held. It ends when this is dropped: when the command that took it is
/// durable, refused, failed or gone.
#[derive(Debug)]
pub struct Reserved {
    /// Who claims the identity.
    pub claimants: Vec<Claimant>,
    hold: Hold,
}

impl Reserved {
    /// The identity that is held.
    pub const fn index(&self) -> BlindIndex {
        self.hold.index
    }
}

struct Hold {
    index: BlindIndex,
    end: Ender,
}

impl std::fmt::Debug for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hold({:?})", self.index)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        (self.end)(self.index);
    }
}

/// Tells the slice that a reservation ended.
pub type Ender = Arc<dyn Fn(BlindIndex) + Send + Sync>;

/// One slice of blind indexes.
pub struct DirectoryEngine {
    store: Arc<Store>,
    /// The identities held, with those who wait for them.
    held: HashMap<BlindIndex, VecDeque<Reserve>>,
    waiting_max: usize,
    end: Ender,
    view: DirectoryView,
}

impl DirectoryEngine {
    /// A slice where at most `waiting_max` wait for one identity.
    pub fn new(store: Arc<Store>, waiting_max: usize, end: Ender) -> Self {
        Self { store, held: HashMap::new(), waiting_max, end, view: DirectoryView::default() }
    }

    /// Who claims an identity.
    pub fn find(
        &mut self,
        index: BlindIndex,
        company: CompanyId,
    ) -> Result<Vec<Claimant>, Unavailable> {
        self.view.found += 1;
        self.store.claimants(index, company).map_err(|error| {
            tracing::error!(%error, "an identity cannot be looked up");
            Unavailable::Storage
        })
    }

    /// Gives the identity to whoever asks first; others wait in line.
    pub fn reserve(&mut self, reserve: Reserve) {
        match self.held.get_mut(&reserve.index) {
            Some(line) if line.len() >= self.waiting_max => {
                self.view.refused += 1;
                send(reserve.reply, Err(Unavailable::Overloaded));
            }
            Some(line) => line.push_back(reserve),
            None => {
                self.held.insert(reserve.index, VecDeque::new());
                self.grant(reserve);
            }
        }
    }

    /// A reservation ended: the next in line that still wants it is given it.
    pub fn release(&mut self, index: BlindIndex) {
        let Some(line) = self.held.get_mut(&index) else { return };
        while let Some(next) = line.pop_front() {
            if !next.reply.is_closed() {
                return self.grant(next);
            }
        }
        self.held.remove(&index);
    }

    /// Answers with a reservation. If nobody takes it, dropping it ends it.
    fn grant(&mut self, reserve: Reserve) {
        let Reserve { index, company, reply } = reserve;
        let hold = Hold { index, end: Arc::clone(&self.end) };
        let found = self.find(index, company);
        send(reply, found.map(|claimants| Reserved { claimants, hold }));
    }

    /// A snapshot.
    pub fn view(&self) -> DirectoryView {
        let waiting = self.held.values().map(VecDeque::len).sum();
        DirectoryView { held: self.held.len(), waiting, ..self.view.clone() }
    }
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
        let end: Ender = Arc::new(move |index| address.do_send(Release(index)));
        self.engine = Some(DirectoryEngine::new(Arc::clone(&self.store), self.waiting_max, end));
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

handle!(Find, |engine, find| {
    let found = engine.find(find.index, find.company);
    send(find.reply, found);
});
handle!(Reserve, |engine, reserve| engine.reserve(reserve));
handle!(Release, |engine, release| engine.release(release.0));
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

    /// A slice over an empty state, and the ends of reservations as they come.
    fn slice(
        waiting_max: usize,
    ) -> (tempfile::TempDir, DirectoryEngine, mpsc::Receiver<BlindIndex>) {
        let folder = tempfile::tempdir().unwrap();
        let files: Arc<dyn Files> = Arc::new(Disk);
        let kv = SledKv::open(&files, &folder.path().join("sled"), 8 << 20).unwrap();
        let (ended, ends) = mpsc::channel();
        let end: Ender = Arc::new(move |index| ended.send(index).unwrap_or_default());
        let engine = DirectoryEngine::new(Arc::new(Store::new(Arc::new(kv))), waiting_max, end);
        (folder, engine, ends)
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
        engine.release(ends.try_recv().unwrap());
        let held = second.try_recv().unwrap().unwrap();
        assert!(third.try_recv().is_err(), "it was given twice");
        drop(held);
        engine.release(ends.try_recv().unwrap());
        assert!(third.try_recv().unwrap().is_ok());
    }

    #[test]
    fn whoever_went_away_while_waiting_is_passed_over() {
        let (_folder, mut engine, ends) = slice(8);
        let first = reserve(&mut engine, 1).try_recv().unwrap().unwrap();
        drop(reserve(&mut engine, 1));
        let mut third = reserve(&mut engine, 1);
        drop(first);
        engine.release(ends.try_recv().unwrap());
        assert!(third.try_recv().unwrap().is_ok());
    }

    #[test]
    fn a_reservation_that_nobody_takes_ends() {
        let (_folder, mut engine, ends) = slice(8);
        drop(reserve(&mut engine, 1));
        // Granted to a caller that was gone: the grant was dropped and ends by itself.
        engine.release(ends.try_recv().unwrap());
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
}
