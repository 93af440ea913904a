//! What is given to the writer and what comes back.

use std::sync::Arc;

use crate::events::codec::{self, CodecError, NONCE_BYTES};
use crate::events::event::{Cause, Draft, EventKind};
use crate::events::ids::{DeploymentId, Digest};
use crate::events::record::{Header, LogPosition, Record, Register, Subject};
use crate::events::stamp::{EffectiveTime, EventRef, Origin, Revision};

use super::chain::ChainEnd;
use super::error::{Fault, LogError};
use super::space::ReadOnlyReason;

/// An event of this node that has a body, but no number and no place in the chain yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// Whom it is about.
    pub subject: Subject,
    /// Which part of the state it writes.
    pub register: Register,
    /// When it is recorded.
    pub revision: Revision,
    /// When it counts as made.
    pub effective: EffectiveTime,
    /// Who asked.
    pub cause: Cause,
    /// What kind of event it is.
    pub kind: EventKind,
    /// Version of the body.
    pub schema: u16,
    /// The body's bytes, nonce first.
    pub body: Box<[u8]>,
    /// Their digest.
    pub digest: Digest,
}

impl NewRecord {
    /// Lays a draft's body out. It is done here rather than in the writer, which all shards share.
    pub fn new(draft: &Draft, nonce: [u8; NONCE_BYTES]) -> Result<Self, CodecError> {
        let (body, digest) = codec::encode_body(nonce, &draft.event)?;
        Ok(Self {
            subject: draft.subject,
            register: draft.event.register(),
            revision: draft.revision,
            effective: draft.effective,
            cause: draft.cause.clone(),
            kind: draft.event.kind(),
            schema: codec::schema(),
            body,
            digest,
        })
    }

    /// The header it has after `last` in `origin`'s chain.
    pub(super) fn header(
        &self,
        deployment: DeploymentId,
        origin: Origin,
        last: ChainEnd,
    ) -> Header {
        Header {
            deployment,
            origin,
            sequence: last.sequence.saturating_add(1),
            previous: last.head,
            subject: self.subject,
            register: self.register,
            revision: self.revision,
            effective: self.effective,
            cause: self.cause.clone(),
            kind: self.kind,
            schema: self.schema,
            body: self.digest,
        }
    }
}

/// Records that lie in one commit frame: all of them are durable, or none is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Batch {
    /// This node's own: the writer numbers and chains them. An empty one writes nothing and is done
    /// once everything before it is.
    Own(Vec<NewRecord>),
    /// Other origins' (or an import's): stored as they are, if each is next in its origin's chain.
    Foreign(Vec<Record>),
    /// The same, of one origin, with the seal over the last of them: kept behind it as it is.
    Sealed(Vec<Record>, Box<[u8]>),
}

/// About what a record takes beside its body: only queue bounds are counted with it.
const RECORD_BYTES_ABOUT: usize = 256;

impl Batch {
    /// How many records.
    pub const fn len(&self) -> usize {
        match self {
            Self::Own(records) => records.len(),
            Self::Foreign(records) | Self::Sealed(records, _) => records.len(),
        }
    }

    /// Whether nothing is to be written.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What it takes in the queue and in a segment, in bytes, roughly.
    pub fn bytes_about(&self) -> usize {
        let bodies: usize = match self {
            Self::Own(records) => records.iter().map(|record| record.body.len()).sum(),
            Self::Foreign(records) | Self::Sealed(records, _) => {
                records.iter().map(|record| record.body.as_ref().map_or(0, |b| b.len())).sum()
            }
        };
        bodies.saturating_add(self.len().saturating_mul(RECORD_BYTES_ABOUT))
    }
}

/// Called once from the writer's thread: it must be quick, must not block and must not panic.
pub type Done = Box<dyn FnOnce(Result<Committed, AppendError>) + Send>;

/// How soon a batch is to be durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Urgency {
    /// As soon as the disk can: somebody waits for it.
    #[default]
    AtOnce,
    /// With whatever comes within a few milliseconds. It is for work of which much is under way at
    /// once: every write and sync that is saved is time for others.
    Gathered,
}

/// One request to append.
pub struct Append {
    /// The writer's epoch that the batch was decided in.
    pub epoch: u64,
    /// What to append.
    pub batch: Batch,
    /// What to do when it is durable or has failed.
    pub done: Done,
}

impl std::fmt::Debug for Append {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { epoch, batch, done: _ } = self;
        f.debug_struct("Append").field("epoch", epoch).field("records", &batch.len()).finish()
    }
}

/// Where a record came to lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// Which event it is.
    pub reference: EventRef,
    /// Where it lies.
    pub position: LogPosition,
}

/// A batch is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Its records, in the order given.
    pub placed: Vec<Placed>,
    /// Everything before this position is durable.
    pub durable: LogPosition,
}

/// An append that was not taken; nothing of it happened and `done` was not called.
#[derive(Debug, thiserror::Error)]
#[error("the log did not take {} records", append.batch.len())]
pub struct AppendRefused {
    /// Why.
    #[source]
    pub reason: Refusal,
    /// What was given, whole.
    pub append: Append,
}

/// Why an append was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The queue is full: come again later.
    #[error("the log's queue is full")]
    Busy,
    /// There is no space on the disk.
    #[error("the log is read-only")]
    ReadOnly(#[source] ReadOnlyReason),
    /// It was decided before a failure: drop what was decided on the failed events first.
    #[error("the append was decided before the log's epoch {epoch}")]
    Stale {
        /// The writer's epoch.
        epoch: u64,
        /// Whether it began because there was no room on the disk.
        disk_full: bool,
    },
    /// Longer than the queue will ever hold.
    #[error("the append has about {bytes} bytes, at most {max} are taken")]
    TooLarge {
        /// About how many bytes it has.
        bytes: usize,
        /// How many are taken.
        max: usize,
    },
    /// The writer has ended.
    #[error("the log's writer has stopped")]
    Stopped,
}

/// A batch that was taken and did not become durable.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The write failed. It and everything queued behind it is undone, the file as well.
    #[error("the log could not be written; its epoch is now {epoch}")]
    Failed {
        /// The writer's epoch from now on.
        epoch: u64,
        /// Why.
        #[source]
        source: Arc<LogError>,
    },
    /// This batch alone was refused; the epoch is the same.
    #[error("the batch does not fit the log")]
    Refused(#[from] BatchError),
    /// The writer has ended. Whether the batch is durable shows when the log is opened again.
    #[error("the log's writer has stopped")]
    Stopped(#[source] Arc<LogError>),
}

/// Why a batch of other origins' records was refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BatchError {
    /// A duplicate or a gap.
    #[error("{reference:?} is not next in its chain, {expected} is")]
    NotNext {
        /// The record.
        reference: EventRef,
        /// The number that is next.
        expected: u64,
    },
    /// It follows another header than the one that is here.
    #[error("{reference:?} follows another header than the one stored")]
    Forked {
        /// The record.
        reference: EventRef,
    },
    /// It is said to be from this very life, which only the writer numbers.
    #[error("{reference:?} is of this node's own life")]
    Echo {
        /// The record.
        reference: EventRef,
    },
    /// It is another deployment's.
    #[error("{reference:?} belongs to deployment {deployment}")]
    Foreign {
        /// The record.
        reference: EventRef,
        /// Whose it is.
        deployment: DeploymentId,
    },
    /// Its body is not the one its header names.
    #[error("{reference:?} has another body than its header names")]
    Body {
        /// The record.
        reference: EventRef,
    },
    /// Its header does not decode.
    #[error("a record's header cannot be read")]
    Header(#[source] Arc<CodecError>),
    /// It is longer than a record may be.
    #[error("a record cannot be framed")]
    Frame(#[source] Fault),
}
