//! Who owns what: actors, each a mailbox around a plain engine.
//!
//! A [`shard`] owns a slice of users, the [`registry`] owns companies and keys. The [`directory`]
//! is no actor: it keeps two commands from deciding about one identity at once. What is on its way
//! to the disk waits in a [`lane`]. Others speak to them through [`House`] and see neither
//! addresses nor actix.
//!
//! ```text
//!   accounts --Ask--> shard --append--> log writer --Logged--> shard --> state, answer
//! ```
//!
//! This room must never know HTTP, clear text or keys.

pub mod absorb;
pub mod answers;
pub mod checkpointer;
pub mod directory;
pub mod eraser;
pub mod eraser_bounds;
mod eraser_scan;
pub mod failure;
pub mod feed;
pub mod holds;
pub mod house;
pub mod inbox;
mod inbox_bodies;
pub mod inbox_parts;
pub mod journal;
pub mod known;
pub mod lane;
pub mod lanes;
pub mod linker;
pub mod members;
pub mod parked;
pub mod publisher;
pub mod rebuilding;
pub mod reconciler;
pub mod recovery;
pub mod registry;
pub mod replica;
pub mod replica_parts;
pub mod replica_view;
pub mod replicas;
pub mod replicating;
pub mod runs;
pub mod shard;
pub mod shard_mailbox;
pub mod shard_reads;
pub mod standing;
pub mod sync_job;

pub use failure::{Failure, Unavailable};
pub use house::House;
