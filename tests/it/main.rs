//! What holds from outside: the built binary, real sockets, real kills.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::needless_pass_by_value,
    unreachable_pub,
    reason = "a test ends where something is not as it should be, and says so"
)]

mod brokers;
mod browser;
mod commands;
mod history_tools;
mod leak;
mod log_faults;
mod mariadb;
#[cfg(feature = "aws")]
mod moto;
mod node;
mod problem;
mod schema;
mod syncing;

mod attacks;
mod backups;
mod bad_input;
mod balanced;
mod canary;
mod certificates;
mod changes;
mod clock;
mod compose;
mod contract;
mod conventions;
mod demo;
mod denied;
mod deployments;
mod disk;
mod docs;
mod docs_page;
mod erasure;
mod erasure_brokers;
mod erasure_faults;
mod erasure_regions;
mod exports;
mod guessing;
mod hash_formats;
mod hashes;
mod indexes;
mod keys;
mod kill;
#[cfg(feature = "aws")]
mod kms;
mod limits;
mod link;
mod linking;
mod log_tools;
mod loglines;
mod migration;
mod openapi;
mod operating;
mod operators;
mod overload;
mod python;
mod quantum;
mod races;
mod readme;
mod region_brokers;
mod regions;
mod repeats;
mod replay_page;
mod replay_tools;
mod report;
mod rights;
#[cfg(feature = "aws")]
mod roles;
mod seed_scale;
mod signed;
mod slow;
mod sync;
mod sync_attacks;
mod sync_command;
mod sync_disk;
mod sync_faults;
mod sync_intake;
mod sync_judging;
mod sync_keeping;
mod sync_story;
mod tidy;
mod tls;
mod uploads;
mod values;
mod ways;
