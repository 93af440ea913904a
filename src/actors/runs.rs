//! Runs out of the log: consecutive events of one life with the seal over their end.
//!
//! A node can seal what its own region recorded, at the end of any command. What others recorded
//! ends where a seal that came with it lies.

use crate::crypto::seals::Sealer;
use crate::events::codec::{self, CodecError};
use crate::events::ids::{Digest, RegionId};
use crate::events::record::{LogPosition, Record};
use crate::events::run::{Run, Seal};
use crate::events::stamp::{Origin, Revision};
use crate::log::{Entry, LogError, LogReader};

/// From this length on a run takes no further command, in bytes.
pub const RUN_BYTES: usize = 240 * 1024;

/// How much of another region's origin is read in search of a seal, in bytes: more than any run
/// that came sealed.
const UNSEALED_BYTES_MAX: usize = codec::MESSAGE_BYTES_MAX;

/// About what a record takes in a message beside its header and body, in bytes.
const RECORD_BYTES_ABOUT: usize = 16;

/// Why a run could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Log(#[from] LogError),
    /// Something in it is not what it should be.
    #[error("the log holds what cannot be decoded")]
    Codec(#[from] CodecError),
}

/// Reads runs from a log.
#[derive(Clone)]
pub struct RunReader {
    reader: LogReader,
    sealer: Sealer,
    region: RegionId,
}

/// A run and where it was.
#[derive(Debug)]
pub struct ReadRun {
    /// The run; none where nothing more was chosen.
    pub run: Option<Run>,
    /// Where the next one is to be looked for.
    pub next: LogPosition,
}

/// A run in the making.
struct Making {
    origin: Origin,
    records: Vec<Record>,
    bytes: usize,
    /// Of the last record.
    sequence: u64,
    head: Digest,
    revision: Revision,
    /// How many records lie before the last seal, that seal, and where it ends.
    sealed: Option<(usize, Seal, LogPosition)>,
}

impl RunReader {
    /// A reader of `region`'s log.
    pub const fn new(reader: LogReader, sealer: Sealer, region: RegionId) -> Self {
        Self { reader, sealer, region }
    }

    /// The log beneath.
    pub const fn log(&self) -> &LogReader {
        &self.reader
    }

    /// The next run from `from` on of events that `choose` takes, by life and number.
    pub fn next(
        &self,
        from: LogPosition,
        mut choose: impl FnMut(&Origin, u64) -> bool,
    ) -> Result<ReadRun, RunError> {
        let end = self.reader.end();
        let mut at = from;
        let mut making: Option<Making> = None;
        let mut entries = self.reader.entries(from, Some(end));
        // Behind the last entry lies a commit frame: whoever has read it all is at the end.
        let ended = loop {
            let Some(entry) = entries.next() else { break true };
            match entry? {
                Entry::Seal { seal, next } => {
                    if let Some(making) = &mut making {
                        let seal = codec::decode_seal(&seal)?;
                        if making.take_seal(seal, next) && making.bytes >= RUN_BYTES {
                            break false;
                        }
                    }
                    at = next;
                }
                Entry::Record(stored) => {
                    let header = codec::decode_header(&stored.record.header)?;
                    if !choose(&header.origin, header.sequence) {
                        at = stored.next;
                        continue;
                    }
                    let full = making.as_ref().is_some_and(|making| {
                        let ours = header.origin.region == self.region;
                        let ends = header.revision != making.revision;
                        making.origin != header.origin || (ours && ends && making.is_full())
                    });
                    if full {
                        break false;
                    }
                    at = stored.next;
                    let head = codec::digest(&stored.record.header);
                    let making = making.get_or_insert_with(|| Making::new(header.origin));
                    making.take(stored.record, header.sequence, head, header.revision);
                    if making.bytes >= UNSEALED_BYTES_MAX {
                        break false;
                    }
                }
            }
        };
        if ended {
            at = at.max(end);
        }
        let run = making.and_then(|making| making.finish(self, &mut at));
        Ok(ReadRun { run, next: at })
    }
}

impl Making {
    const fn new(origin: Origin) -> Self {
        Self {
            origin,
            records: Vec::new(),
            bytes: 0,
            sequence: 0,
            head: Digest::ZERO,
            revision: Revision::ZERO,
            sealed: None,
        }
    }

    const fn is_full(&self) -> bool {
        self.bytes >= RUN_BYTES
    }

    fn take(&mut self, record: Record, sequence: u64, head: Digest, revision: Revision) {
        let body = record.body.as_ref().map_or(0, |body| body.len());
        self.bytes += record.header.len() + body + RECORD_BYTES_ABOUT;
        self.records.push(record);
        (self.sequence, self.head, self.revision) = (sequence, head, revision);
    }

    /// Takes a seal if it is over the last record.
    fn take_seal(&mut self, seal: Seal, next: LogPosition) -> bool {
        let fits = seal.origin == self.origin && seal.sequence == self.sequence;
        if fits {
            self.sealed = Some((self.records.len(), seal, next));
        }
        fits
    }

    /// The run, up to the last place where it can be sealed.
    fn finish(mut self, reader: &RunReader, at: &mut LogPosition) -> Option<Run> {
        if self.origin.region == reader.region {
            let seal = reader.sealer.seal(self.origin, self.sequence, self.head);
            return Some(Run { records: self.records, seal });
        }
        let (count, seal, next) = self.sealed?;
        if count < self.records.len() {
            // What lies behind the last seal waits for one of its own.
            *at = next;
        }
        self.records.truncate(count);
        Some(Run { records: self.records, seal })
    }
}
