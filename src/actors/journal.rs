//! How an actor writes: drafts in, facts out, a message to itself when they are durable.

use std::sync::Arc;

use crate::clock::{Entropy, NodeClock, random};
use crate::events::event::Draft;
use crate::events::record::Fact;
use crate::events::stamp::{Origin, Revision};
use crate::log::{Append, AppendError, Batch, Committed, LogWriter, NewRecord, Refusal, Urgency};

use super::failure::Unavailable;

/// The way to the log, for actors of one node life. Cheap to clone.
#[derive(Clone)]
pub struct Journal {
    log: LogWriter,
    origin: Origin,
    clock: NodeClock,
    entropy: Arc<dyn Entropy>,
}

/// What the log says of an append, sent to the actor that made it.
#[derive(Debug)]
pub struct Outcome {
    /// The append.
    pub ticket: super::lane::Ticket,
    /// Where the records are, or why they are not.
    pub result: Result<Committed, AppendError>,
}

/// Drafts with their bodies laid out, and the facts they will be.
#[derive(Debug)]
pub struct Prepared {
    records: Vec<NewRecord>,
    /// The facts, to decide later commands on.
    pub facts: Vec<Fact>,
    urgency: Urgency,
}

impl Prepared {
    /// The same, durable as soon as this says.
    #[must_use]
    pub fn durable(self, urgency: Urgency) -> Self {
        Self { urgency, ..self }
    }

    /// The facts that they will be.
    pub fn facts(&self) -> &[Fact] {
        &self.facts
    }
}

impl Journal {
    /// A way to `log` for the life `origin`.
    pub fn new(
        log: LogWriter,
        origin: Origin,
        clock: NodeClock,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { log, origin, clock, entropy }
    }

    /// The reading a command is recorded at.
    pub fn now(&self) -> Revision {
        self.clock.tick()
    }

    /// The writer beneath.
    pub const fn log(&self) -> &LogWriter {
        &self.log
    }

    /// Lays the bodies out.
    pub fn prepare(&self, drafts: Vec<Draft>) -> Result<Prepared, Unavailable> {
        let (records, facts, urgency) = (Vec::new(), Vec::new(), Urgency::default());
        let mut prepared = Prepared { records, facts, urgency };
        for draft in drafts {
            let nonce = random(self.entropy.as_ref()).map_err(|_| Unavailable::Storage)?;
            let record = NewRecord::new(&draft, nonce).map_err(|error| {
                tracing::error!(%error, "an event could not be laid out");
                Unavailable::Storage
            })?;
            prepared.facts.push(Fact::pending(draft, self.origin, record.digest));
            prepared.records.push(record);
        }
        Ok(prepared)
    }

    /// Hands records to the log; `done` is called on the writer's thread once their fate is known.
    /// The facts come back when the log has taken them.
    ///
    /// After a failed write of anybody's the log is in a new epoch. `catch_up` says whether the
    /// actor can follow it there, which it can when nothing of its own is on its way.
    pub fn append(
        &self,
        epoch: u64,
        prepared: Prepared,
        done: impl FnOnce(Result<Committed, AppendError>) + Send + 'static,
        catch_up: impl FnOnce(u64) -> bool,
    ) -> Result<Vec<Fact>, Unavailable> {
        if self.clock.is_unsafe() {
            return Err(Unavailable::ClockUnsafe);
        }
        let Prepared { records, facts, urgency } = prepared;
        let append = Append { epoch, batch: Batch::Own(records), done: Box::new(done) };
        let refused = match self.log.append_when(append, urgency) {
            Ok(()) => return Ok(facts),
            Err(refused) => refused,
        };
        let reason = match refused.reason {
            Refusal::Stale { epoch, .. } if catch_up(epoch) => {
                match self.log.append_when(Append { epoch, ..refused.append }, urgency) {
                    Ok(()) => return Ok(facts),
                    Err(refused) => refused.reason,
                }
            }
            reason => reason,
        };
        Err(match reason {
            Refusal::Busy => Unavailable::Overloaded,
            Refusal::ReadOnly(_) | Refusal::Stale { disk_full: true, .. } => Unavailable::ReadOnly,
            Refusal::Stale { disk_full: false, .. } | Refusal::TooLarge { .. } => {
                Unavailable::Storage
            }
            Refusal::Stopped => Unavailable::NotReady,
        })
    }

    /// What a failed append means to whoever waits for it, and the epoch to go on in.
    pub fn failed(&self, error: &AppendError) -> (u64, Unavailable) {
        tracing::warn!(error = %chain(error), "an append failed");
        match error {
            AppendError::Failed { epoch, source } if source.is_full() => {
                (*epoch, Unavailable::ReadOnly)
            }
            AppendError::Failed { epoch, .. } => (*epoch, Unavailable::Storage),
            AppendError::Refused(_) => (self.log.epoch(), Unavailable::Storage),
            // Whether the last write reached the disk is not known: nobody is told it did not.
            AppendError::Stopped(_) => (self.log.epoch(), Unavailable::NotReady),
        }
    }
}

/// An error with what caused it, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
