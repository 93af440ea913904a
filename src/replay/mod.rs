//! Replay: folds a log or an export in memory, to look at what happened.
//!
//! Nothing is needed but the files: no keys, no network, no actors, no store. By the law that the
//! state is a pure function of the set of events, what is folded here has the state hash of every
//! node that holds the same events, also when the bodies of keys were left out of an export.
//!
//! ```text
//!   files -> LogReader -> facts --fold--> users and registry in memory -> state hash, summary
//!                              \-> timeline of one user
//! ```
//!
//! It must never know a key or a clear text, and it writes nothing.

pub mod chart;
pub mod conflicts;
pub mod coverage;
pub mod differences;
pub mod fold;
pub mod held;
pub mod history;
pub mod index;
pub mod invariants;
pub mod logins;
pub mod memory;
pub mod parts;
pub mod summary;
pub mod timeline;

#[cfg(test)]
mod index_test;
