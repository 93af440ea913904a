//! The core: what can happen, what it does to a state, and what may be asked for.
//!
//! It does no I/O and cannot fail for reasons outside: it sees no clock, no randomness, no key and
//! no clear text. Time, ids, policies and sealed values come in as values.
//!
//! ```text
//!   command + state + context --decide--> drafts --log--> records --evolve--> state
//!                              \-> rejection
//! ```

pub mod ids;
pub mod stamp;
pub mod policy;
pub mod event;
pub mod record;
pub mod codec;
pub mod cell;
pub mod state;
pub mod evolve;
pub mod state_hash;
pub mod account;
