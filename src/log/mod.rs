//! The log: an append-only store of records in segment files. It is the truth; everything else is
//! folded from it.
//!
//! One writer thread numbers and chains what all shards have waiting, writes once, syncs once and
//! answers all. Readers see what is durable and nothing past it. All files are reached through
//! [`crate::files::Files`], so that a test can lose power at any step.
//!
//! It must never know what an event means, which actor wrote it or how it travels: it reads
//! headers for their origin, number and chain, and never a body.
//!
//! ```text
//!   append --> queue --> writer thread: number, chain, one write, one sync --> done (in order)
//!                              |                                    |
//!                              v                                    v
//!                     log/00000001.seg ...                  durable mark --> readers
//!   blank --> log/erase.list (synced) --> bodies zeroed in place
//! ```
//!
//! # Layout
//!
//! All numbers are little endian; every CRC is CRC32C. A segment file is a head and then frames;
//! an export is such segments, packed (`pack`), or one of them as it is. `NNNNNNNN.new` is a
//! segment whose head is not durable yet; it is renamed once it is, so a segment's head is never
//! torn.
//!
//! | segment head | bytes | |
//! |---|---|---|
//! | magic | 8 | `JCASLOG` and a zero byte |
//! | format version | 2 | 1 |
//! | kind | 2 | 1 segment of a log, 2 export |
//! | deployment | 16 | |
//! | segment number | 4 | from 1 |
//! | previous end | 4 | where the frames of the segment before end; 0 for the first |
//! | greatest revision | 8 | of all records before this segment |
//! | vector bytes | 4 | length of the entries below |
//! | vector entries | 4 | how many |
//! | vector CRC | 4 | over the entries |
//! | reserved | 4 | 0 |
//! | head CRC | 4 | over the 60 bytes before it; these 64 are the same in every version |
//! | per origin | 50 + names | origin; last sequence 8; its header's digest 32 |
//!
//! An origin is: region length 1, region, node length 1, node, life's counter 4, life's tag 4.
//!
//! | record frame | bytes | |
//! |---|---|---|
//! | tag | 2 | `EC 52` |
//! | header length | 2 | 1 to 1024 |
//! | body length | 4 | at most 262,144 |
//! | body CRC | 4 | over the body as it was written |
//! | header CRC | 4 | over the 12 bytes before it and the header |
//! | header | | |
//! | mark | 1 | `B` a body follows, 0 blanked |
//! | body | | zeroed when blanked |
//!
//! | seal frame | bytes | |
//! |---|---|---|
//! | tag | 2 | `EC 53` |
//! | seal length | 2 | 1 to 1024 |
//! | CRC | 4 | over the 4 bytes before it and the seal |
//! | seal | | over the last record of its origin before it |
//!
//! | commit frame | bytes | |
//! |---|---|---|
//! | magic | 8 | `EC 43 4A 43 41 53 0D 0A` |
//! | previous durable end | 8 | segment (high half) and offset: where this batch starts |
//! | own end | 8 | segment and offset: where this frame ends |
//! | records | 4 | in the batch |
//! | cover | 4 | CRC over the 16 + header bytes of each (not mark and body), and over seals |
//! | CRC | 4 | over the deployment's 16 bytes and the 32 before it |
//!
//! | erase list | bytes | |
//! |---|---|---|
//! | magic, version, zeros, deployment, CRC | 8, 2, 2, 16, 4 | the head |
//! | per entry | 100 | as follows |
//! | origin | 74 | as above, but each name filled up to 32 with zeros |
//! | sequence | 8 | |
//! | position | 8 | segment (high half) and offset |
//! | reserved | 2 | 0 |
//! | durable entries | 4 | how many before this one were durable |
//! | CRC | 4 | over the 96 bytes before it |
//!
//! | packed export | bytes | |
//! |---|---|---|
//! | magic, version, zeros, CRC | 8, 2, 2, 4 | `JCASPACK`, 1 |
//! | block: magic | 8 | `EC 42 4A 43 41 53 0D 0A` |
//! | segment, offset, length, packed length | 4, 4, 4, 4 | of at most 1 MiB of a segment |
//! | digest, CRC | 32, 4 | of the packed bytes; over the 56 before it |
//! | packed bytes | | raw deflate |
//! | end: magic, blocks | 8, 4 | `EC 45 4A 43 41 53 0D 0A`; how many blocks |
//! | digest, CRC | 32, 4 | over all blocks' heads; over the 44 before it |
//!
//! | index | bytes | |
//! |---|---|---|
//! | magic, version, version of the keys | 8, 2, 2 | `JCASIDX` and a zero byte |
//! | entries, digest of the two heads, CRC of the entries, CRC | 4, 32, 4, 4 | |
//! | per entry | 8 | offset 4, key 4 |
//!
//! # What is damage and what is torn
//!
//! A commit frame names as durable what lies before its own batch. What cannot be read below the
//! place that a later valid commit frame names is *damage*: an error with segment and offset, and
//! nothing is touched. What follows the last valid commit frame, with no later one naming more, is
//! a *torn tail*: it was never acknowledged, is cut and reported. The erase list has the same rule:
//! each entry names how many before it were durable.

mod batch;
mod blank;
mod chain;
mod copy;
mod cursor;
mod erase;
mod error;
mod export;
mod frame;
mod gate;
mod group;
mod head;
mod index;
mod open;
mod pack;
mod packed;
mod reader;
mod record_at;
mod segments;
mod space;
mod status;
mod tail;
mod told;
mod verify;
mod writer;

pub use batch::{
    Append, AppendError, AppendRefused, Batch, BatchError, Committed, Done, NewRecord, Placed,
    Refusal, Urgency,
};
pub use chain::{ChainEnd, Vector, last_life};
pub use copy::{Copied, copy};
pub use error::{Fault, LogError};
pub use export::{Choose, ExportReport, export};
pub use index::{Index, Key, Keys};
pub use open::{Log, LogOptions, Opened};
pub use reader::{Entries, Entry, LogReader, Scan, StoredRecord};
pub use segments::length;
pub use space::{LogStatus, ReadOnlyReason};
pub use status::LogSnapshot;
pub use verify::{Finding, Problem, Progress, Report, verify};
pub use writer::{LogWriter, OnFatal};

// The simulated disk is shared with the integration tests and takes the trait from its parent.
#[cfg(test)]
use crate::files;
#[cfg(test)]
#[path = "../../tests/support/sim_disk.rs"]
#[expect(dead_code, reason = "shared: the crash tests use what these do not")]
mod sim_disk;

#[cfg(test)]
mod crash_test;
#[cfg(test)]
mod damage_test;
#[cfg(test)]
mod erase_test;
#[cfg(test)]
mod failing_test;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod log_test;
#[cfg(test)]
mod offline_test;
#[cfg(test)]
mod packed_test;
#[cfg(test)]
mod seal_test;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, also when a thread died while it held the lock: every guarded value here is whole
/// between two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
