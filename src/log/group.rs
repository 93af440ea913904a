//! Builds what one write holds: the frames of many batches and the commit frame behind them.
//! Numbers and chains what is this node's own, checks what is others'. No file.

use std::sync::Arc;

use crate::events::codec::{self, CodecError};
use crate::events::ids::DeploymentId;
use crate::events::record::{LogPosition, Record};
use crate::events::stamp::{EventRef, Origin, Revision};

use super::batch::{Batch, BatchError, NewRecord, Placed};
use super::chain::{ChainEnd, Staged, Vector, next_end};
use super::erase::Erased;
use super::frame::{COMMIT_BYTES, Commit, Cover, push_record, push_seal};

/// What a group is built against.
pub(super) struct Ground<'a> {
    pub(super) deployment: DeploymentId,
    /// This node's life.
    pub(super) origin: Origin,
    /// Where the group will lie: the durable end.
    pub(super) start: LogPosition,
    pub(super) durable: &'a Vector,
    pub(super) erased: &'a Erased,
}

/// One write in the making.
pub(super) struct Group<'a> {
    ground: Ground<'a>,
    bytes: Vec<u8>,
    cover: Cover,
    staged: Staged,
    greatest: Revision,
    outcomes: Vec<Result<Vec<Placed>, BatchError>>,
}

/// One write, ready.
pub(super) struct Built {
    /// All frames; empty when no record is in it.
    pub(super) bytes: Vec<u8>,
    pub(super) records: u32,
    /// Where the commit frame will end.
    pub(super) end: LogPosition,
    /// What the durable vector becomes.
    pub(super) staged: Staged,
    pub(super) greatest: Revision,
    /// What became of each batch, in order.
    pub(super) outcomes: Vec<Result<Vec<Placed>, BatchError>>,
}

impl<'a> Group<'a> {
    /// An empty group that reuses `bytes`.
    pub(super) fn new(ground: Ground<'a>, mut bytes: Vec<u8>) -> Self {
        bytes.clear();
        let (cover, staged) = (Cover::default(), Staged::default());
        let greatest = Revision::ZERO;
        Self { ground, bytes, cover, staged, greatest, outcomes: Vec::new() }
    }

    /// Adds a batch. An own record that cannot be laid out fails the group, since what comes behind
    /// it was decided on it; a batch of others' records that does not fit fails alone.
    pub(super) fn add(&mut self, batch: &Batch) -> Result<(), CodecError> {
        let outcome = match batch {
            Batch::Own(records) => Ok(self.add_own(records)?),
            Batch::Foreign(records) => self.add_foreign(records, None),
            Batch::Sealed(records, seal) => self.add_foreign(records, Some(seal)),
        };
        self.outcomes.push(outcome);
        Ok(())
    }

    fn add_own(&mut self, records: &[NewRecord]) -> Result<Vec<Placed>, CodecError> {
        let origin = self.ground.origin;
        let mut last = self.end_of(&origin);
        let mut placed = Vec::with_capacity(records.len());
        for record in records {
            let header = record.header(self.ground.deployment, origin, last);
            let bytes = codec::encode_header(&header)?;
            let position = self.here();
            push_record(&mut self.bytes, &mut self.cover, &bytes, Some(&record.body)).map_err(
                |_| CodecError::Oversize {
                    what: "body",
                    len: record.body.len(),
                    max: codec::BODY_BYTES_MAX,
                },
            )?;
            last = ChainEnd { sequence: header.sequence, head: codec::digest(&bytes) };
            self.greatest = self.greatest.max(header.revision);
            placed.push(Placed { reference: header.reference(), position });
        }
        if !records.is_empty() {
            self.staged.set(origin, last);
        }
        Ok(placed)
    }

    fn add_foreign(
        &mut self,
        records: &[Record],
        seal: Option<&[u8]>,
    ) -> Result<Vec<Placed>, BatchError> {
        let (bytes, cover, greatest) = (self.bytes.len(), self.cover, self.greatest);
        let mut staged = Staged::default();
        let mut placed: Result<Vec<Placed>, BatchError> =
            records.iter().map(|record| self.add_one_foreign(record, &mut staged)).collect();
        if let Some(seal) = seal.filter(|_| placed.is_ok())
            && let Err(fault) = push_seal(&mut self.bytes, &mut self.cover, seal)
        {
            placed = Err(BatchError::Frame(fault));
        }
        if placed.is_ok() {
            staged.stack_on(&mut self.staged);
        } else {
            self.bytes.truncate(bytes);
            (self.cover, self.greatest) = (cover, greatest);
        }
        placed
    }

    fn add_one_foreign(
        &mut self,
        record: &Record,
        staged: &mut Staged,
    ) -> Result<Placed, BatchError> {
        let header = codec::decode_header(&record.header)
            .map_err(|source| BatchError::Header(Arc::new(source)))?;
        let reference = header.reference();
        if header.deployment != self.ground.deployment {
            return Err(BatchError::Foreign { reference, deployment: header.deployment });
        }
        if header.origin == self.ground.origin {
            return Err(BatchError::Echo { reference });
        }
        let last = staged.end(&header.origin, |origin| self.end_of(origin));
        let end = next_end(last, &header, &record.header)?;
        let body = self.admitted_body(record, &reference);
        if body.is_some_and(|bytes| codec::digest(bytes) != header.body) {
            return Err(BatchError::Body { reference });
        }
        let position = self.here();
        push_record(&mut self.bytes, &mut self.cover, &record.header, body)
            .map_err(BatchError::Frame)?;
        staged.set(header.origin, end);
        self.greatest = self.greatest.max(header.revision);
        Ok(Placed { reference, position })
    }

    /// The body, unless it was erased here: then it does not come back by any way.
    fn admitted_body<'r>(&self, record: &'r Record, reference: &EventRef) -> Option<&'r [u8]> {
        record.body.as_deref().filter(|_| !self.ground.erased.is_barred(reference))
    }

    fn end_of(&self, origin: &Origin) -> ChainEnd {
        let durable = |origin: &Origin| self.ground.durable.get(origin).copied();
        self.staged.end(origin, |origin| durable(origin).unwrap_or(ChainEnd::EMPTY))
    }

    /// Where the next frame will lie.
    fn here(&self) -> LogPosition {
        let len = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        let start = self.ground.start;
        LogPosition::new(start.segment(), start.offset().saturating_add(len))
    }

    /// Closes the group with its commit frame.
    pub(super) fn finish(mut self) -> Built {
        let previous = self.ground.start;
        let mut end = previous;
        if self.cover.records > 0 {
            let offset = self.here().offset().saturating_add(COMMIT_BYTES);
            end = LogPosition::new(previous.segment(), offset);
            Commit { previous, end, cover: self.cover }
                .push(self.ground.deployment, &mut self.bytes);
        }
        Built {
            bytes: self.bytes,
            records: self.cover.records,
            end,
            staged: self.staged,
            greatest: self.greatest,
            outcomes: self.outcomes,
        }
    }
}
