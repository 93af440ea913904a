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
use super::inbox_parts::Absorb;
use super::journal::Journal;

/// The way to record what is between users.
pub struct Linker {
    journal: Journal,
    absorb: Absorb,
}

/// Something between users that is on its way to the disk.
#[derive(Debug)]
pub struct Recording {
    /// What to answer then.
    pub outcome: Outcome,
    /// Says when everybody has it; none where nothing is to be recorded.
    pub recorded: Option<oneshot::Receiver<Result<(), Unavailable>>>,
}

impl Linker {
    /// One that writes by this way and puts what it wrote to everybody it touches by `absorb`.
    pub const fn new(journal: Journal, absorb: Absorb) -> Self {
        Self { journal, absorb }
    }

    /// Decides something between users, at the reading `decide` is given, and answers when it is
    /// durable and everybody it touches has it.
    pub async fn record(
        &self,
        decide: impl FnOnce(Revision) -> Result<Decision, Rejection>,
    ) -> Result<Outcome, Failure> {
        let Recording { outcome, recorded } = self.begin(decide)?;
        if let Some(recorded) = recorded {
            recorded.await.map_err(|_| Unavailable::NotReady)??;
        }
        Ok(outcome)
    }

    /// The same, without waiting.
    pub fn begin(
        &self,
        decide: impl FnOnce(Revision) -> Result<Decision, Rejection>,
    ) -> Result<Recording, Failure> {
        let Decision { drafts, outcome } = decide(self.journal.now())?;
        if drafts.is_empty() {
            return Ok(Recording { outcome, recorded: None });
        }
        let prepared = self.journal.prepare(drafts)?;
        let facts = prepared.facts().to_vec();
        let (told, recorded) = oneshot::channel();
        let (absorb, journal) = (Absorb::clone(&self.absorb), self.journal.clone());
        let done = move |result: Result<Committed, AppendError>| match result {
            Ok(committed) => put(&absorb, facts, &committed, told),
            Err(error) => {
                // Nobody waits any more where the caller was given up.
                let _unheard = told.send(Err(journal.failed(&error).1));
            }
        };
        // It rests on nothing that is on its way, so any epoch will do.
        self.journal.append(self.journal.log().epoch(), prepared, done, |_| true)?;
        Ok(Recording { outcome, recorded: Some(recorded) })
    }
}

/// On the writer's thread, before the log says that it has delivered: a checkpoint never claims
/// more than the state holds.
fn put(
    absorb: &Absorb,
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
    absorb(Sorted::of(placed), &absorbed);
}
