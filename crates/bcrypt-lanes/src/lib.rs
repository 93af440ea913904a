//! bcrypt, several at a time in one thread.
//!
//! A single bcrypt leaves most of a core idle: each of its steps waits for table loads that depend
//! on the step before. Independent bcrypts fill each other's waits. On the machine it was written
//! on, two or three take the time of one, and six to eight give more than four times the hashes
//! that one thread gets from computing them in turn.
//!
//! ```
//! use bcrypt_lanes::{Lanes, Work};
//!
//! let mut lanes = Lanes::default();
//! for (name, password) in [("ann", "hunter2"), ("bob", "hunter3")] {
//!     let work = Work::new(4, [7; 16], password.as_bytes());
//!     assert!(lanes.join(name, work).is_ok());
//! }
//! let mut done = Vec::new();
//! while lanes.busy() > 0 {
//!     lanes.step(|name, digest| done.push((name, digest)));
//! }
//! assert_eq!(done.len(), 2);
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `pi` | where Blowfish starts |
//! | `cipher` | Blowfish for several keys side by side |
//! | `lanes` | who runs in which lane, and for how long |

mod cipher;
mod lanes;
mod pi;

pub use lanes::{Digest, LANES, Lanes, PASSWORD_BYTES_MAX, Work};
