//! The core: what can happen, what it does to a state, and what may be asked for.
//!
//! It does no I/O and cannot fail for reasons outside: it sees no clock, no randomness, no key and
//! no clear text. Time, ids, policies and sealed values come in as values.
//!
//! ```text
//!   command + state + context --decide--> drafts --log--> records --evolve--> state
//!                              \-> rejection
//! ```

#[macro_use]
mod event_macro;
#[macro_use]
mod name_macros;

pub mod account;
pub mod cell;
pub mod codec;
pub mod command;
pub mod decide;
pub mod decide_link;
pub mod decide_registry;
mod decide_sync;
pub mod event;
pub mod evolve;
pub mod ids;
pub mod message;
pub mod pair;
pub mod policy;
mod raw_bytes;
pub mod record;
pub mod registry;
pub mod run;
pub mod stamp;
pub mod state;
pub mod state_hash;
pub mod sync;
pub mod vec_map;
pub mod verdict;
pub mod wire;
