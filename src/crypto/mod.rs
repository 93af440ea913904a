//! Everything secret is made, checked and compared here.
//!
//! | file | holds |
//! |---|---|
//! | `sealing` | what is stored sealed: user keys, branch keys, and how they seal |
//! | `blind` | keyed digests: how an identity is found without being kept in clear |
//! | `normalise` | the one spelling of an e-mail address and of a phone number |
//! | `secret` | the central password hash, and what a new password must be |
//! | `legacy` | the companies' old password hashes: admit one, verify one |
//! | `jws` | signed tokens: companies' calls, the region's answers |
//! | `seals` | signatures between nodes: over runs and news |
//! | `pool` | the threads on which password hashes are computed |
//! | `bcrypt`, `keyed`, `random` | shared by the rooms above |
//!
//! ```text
//!   text of a hash ---> legacy::admit / SecretHash::parse ---> Candidate --+
//!   password ------------------------------------------------> Job --------+--> HashPool
//!                                                              Outcome <---+
//! ```
//!
//! This room knows bytes, never who they belong to: no user, no company, no event, no storage, no
//! clock. Its callers bring keys and contexts and keep what comes back. A type that holds a secret
//! wipes it when dropped, prints `[redacted]`, and is compared in constant time where an outsider
//! could measure the answer.

pub mod blind;
pub mod jws;
pub mod legacy;
pub mod normalise;
pub mod pool;
pub mod sealing;
pub mod seals;
pub mod secret;

mod bcrypt;
mod keyed;
mod random;

pub use random::RandomError;
