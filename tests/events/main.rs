//! The tests of the core, `src/events/`: rules, fold, accounts, formats, clock.
//!
//! Property tests run the same cases every time. `PROPTEST_CASES=5000` runs more of them,
//! `PROPTEST_RNG_SEED=7` others; a failure prints its seed and the smallest case found.
//!
//! The files under tests/golden/v1 hold bytes that every later version must read.
//! `UPDATE_GOLDEN=1 cargo test --test events golden` writes those that are missing or differ: right
//! for a new kind of event, and for nothing else once a version is released.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at what must not happen, also in its helpers"
)]

mod fixtures;
mod generator;
mod harness;
mod scenario;
mod world;

mod accounts;
mod clock;
mod codec;
mod coverage;
mod decide_erase;
mod decide_identity;
mod decide_link;
mod decide_password;
mod decide_register;
mod decide_registry;
mod decide_sync;
mod decide_user;
mod fold;
mod golden;
