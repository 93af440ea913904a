//! Which signed tokens were used: each is taken once, also after a restart.
//!
//! ```text
//! DATA/tokens/
//!   known            what the files below are known to hold: boot id, two times
//!   176384210.used   the digests of used tokens that end in one span of ten seconds
//! ```
//!
//! A token is written to its file before its call goes on, so a kill loses none. Nothing is synced:
//! a loss of power is noticed at the next start, because the machine's boot id is another one, and
//! then every token that may have been used before is refused. The same is done where the folder is
//! missing, and where a token could not be written.
//!
//! A token is forgotten when it has ended, and not before: where there is no room for more, a call
//! is refused. What ended before something that was forgotten is refused too, so that a clock set
//! back brings no old token to life.
//!
//! | file | holds |
//! |---|---|
//! | `used` | the tokens in memory |
//! | `disk` | the folder |
//!
//! This room must never know what a token says beside its times, or who may sign one.

mod disk;
mod used;

pub use disk::boot_id;
pub use used::{Spent, Start, Token, UsedTokens};

/// How far a caller's clock may be off, in milliseconds.
pub const LEEWAY_MS: u64 = 30_000;

/// How long a token may be good for, in milliseconds: from its `iat` to its `exp`.
pub const LIFETIME_MS: u64 = 60_000;

#[cfg(test)]
#[path = "tokens_test.rs"]
mod tests;
