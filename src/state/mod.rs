//! The state: what the log folds to, kept in sled so that a start need not read all of history.
//!
//! It can be deleted at any time and is rebuilt from the log. It knows nothing of shards, of the
//! log's files, of keys or of clear text, and nothing that opens a sealed value enters it: sled
//! keeps dead bytes readable.
//!
//! ```text
//!   facts -> Store -> Kv (SledKv; in tests one that loses writes)
//!              |
//!   take_checkpoint: flush, then replace the small file that says what is in which folder
//!   start:           read that file -> plan -> open and replay the rest, or rebuild
//! ```
//!
//! Writes are plain inserts, so a crash may leave an event half applied. That is harmless: folding
//! it again ends right, because index entries are written and removed whether or not the row
//! changed, a tombstone keeps the list of its entries, and readers check an entry against its row.

pub mod checkpoint;
pub mod erasures;
pub mod error;
pub mod folder;
pub mod kv;
pub mod layout;
pub mod plan;
mod reach;
pub mod repeats;
pub mod sled_kv;
pub mod store;
pub mod trees;
pub mod verify;

#[cfg(test)]
mod crash_test;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
#[path = "../../tests/support/lossy_kv.rs"]
#[expect(dead_code, reason = "shared: the crash tests use what these do not")]
mod lossy_kv;
