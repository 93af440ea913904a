//! Records what is between users.
//!
//! Such an event touches users of several shards, so none of them decides it: it is decided on what
//! is on disk, appended, and put to everybody it touches as other nodes' events are. Decisions that
//! cross each other end the same everywhere, in whatever order they are folded.

use tokio::sync::oneshot;

use crate::events::command::{Outcome, Rejection};
use crate::events::decide::Decision;
use crate::events::record::Fact;
use crate::events::stamp::Revision;
use crate::log::{AppendError, Committed};

use super::absorb::{Absorbed, Sorted};
use super::failure::{Failure, Unavailable};
use super::house::House;
use super::journal::Journal;

/// The way to record what is between users.
pub struct Linker {
    journal: Journal,
    house: House,
}

impl Linker {
    /// One that writes by this way and puts what it wrote to these actors.
    pub const fn new(journal: Journal, house: House) -> Self {
        Self { journal, house }
    }

    /// Decides something between users, at the reading `decide` is given, and answers when it is
    /// durable and everybody it touches has it.
    pub async fn record(
        &self,
        decide: impl FnOnce(Revision) -> Result<Decision, Rejection>,
    ) -> Result<Outcome, Failure> {
        let Decision { drafts, outcome } = decide(self.journal.now())?;
        if drafts.is_empty() {
            return Ok(outcome);
        }
        let prepared = self.journal.prepare(drafts)?;
        let facts = prepared.facts().to_vec();
        let (told, recorded) = oneshot::channel();
        let (house, journal) = (self.house.clone(), self.journal.clone());
        let done = move |result: Result<Committed, AppendError>| match result {
            Ok(committed) => put(&house, facts, &committed, told),
            Err(error) => {
                // Nobody waits any more where the caller was given up.
                let _unheard = told.send(Err(journal.failed(&error).1));
            }
        };
        // It rests on nothing that is on its way, so any epoch will do.
        self.journal.append(self.journal.log().epoch(), prepared, done, |_| true)?;
        recorded.await.map_err(|_| Unavailable::NotReady)??;
        Ok(outcome)
    }
}

/// On the writer's thread, before the log says that it has delivered: a checkpoint never claims
/// more than the state holds.
fn put(
    house: &House,
    facts: Vec<Fact>,
    committed: &Committed,
    told: oneshot::Sender<Result<(), Unavailable>>,
) {
    let placed = facts.into_iter().zip(&committed.placed);
    let placed = placed
        .map(|(fact, placed)| (Fact { reference: placed.reference, ..fact }, placed.position));
    let absorbed = Absorbed::new(move || {
        let _unheard = told.send(Ok(()));
    });
    house.absorb(Sorted::of(placed), &absorbed);
}
