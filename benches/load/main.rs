//! Measures the built program from outside: `scripts/bench writes`.
//!
//! | file | holds |
//! |---|---|
//! | `http` `drive` | a light client, many connections, closed and open loop |
//! | `node` | the program in a folder of its own, and its users |
//! | `bare` `raw` | what the web framework and the disk can do at best |
//! | `broker` | RabbitMQ, and what its queue can do at best |
//! | `ldap` | slapd, where it is installed |
//! | `login` `writes` `start` `lookup` `mixed` `overload` `log` `replay` `replication` `sync` | one each |
//! | `report` | table and JSON |
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    unreachable_pub,
    reason = "a measurement prints what it found"
)]

mod bare;
mod broker;
mod drive;
mod http;
mod ldap;
mod log;
mod login;
mod lookup;
mod mixed;
mod node;
mod overload;
mod raw;
mod replay;
mod replication;
mod report;
mod sign;
mod start;
mod sync;
mod writes;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Measures jcas.
#[derive(Parser)]
#[command(name = "scripts/bench")]
struct Cli {
    #[command(subcommand)]
    what: What,
    /// Given by cargo.
    #[arg(long, global = true, hide = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum What {
    /// Logins, beside one bcrypt, a plain service, slapd and PHP.
    Login(Options),
    /// Durable profile writes over HTTP, beside the disk's and the framework's limits.
    Writes(Options),
    /// Starts after a clean stop and after a kill; memory and disk.
    Start {
        #[command(flatten)]
        options: Options,
        /// Seconds of writes and look-ups of all users before memory is looked at.
        #[arg(long, default_value_t = 30)]
        load_s: u64,
    },
    /// Look-ups and reads over HTTP, beside the framework's limit.
    Lookup(Options),
    /// Logins of a company while another sends ten times what the node can do.
    Overload(Options),
    /// The log by itself: appends beside the disk's limit, and folding.
    Log(Options),
    /// A whole log folded in memory, one user found in it, all verified, beside reading the bytes.
    Replay(Options),
    /// Two nodes with a RabbitMQ each: lag and catching up, beside a queue's own round trip.
    Replication(Options),
    /// Bulk sync: new users, and the same file again.
    Sync(Options),
    /// All kinds of calls at once, each an open loop at its own rate, beside a bulk sync.
    Mixed {
        #[command(flatten)]
        options: Options,
        /// Calls a second: 40% look-ups, 25% reads, 15% writes, 12% logins, 3% wrong passwords, 5%
        /// registrations. A fifth are bcrypts.
        #[arg(long, default_value_t = 200.0)]
        rate: f64,
    },
    /// Serve the bare handler (started by the other measurements).
    #[command(hide = true)]
    Bare {
        /// Check passwords, too.
        #[arg(long)]
        logins: bool,
    },
}

/// What may be set.
#[derive(Args)]
pub struct Options {
    /// Connections, or writers.
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// Seconds a measurement takes, each round.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Rounds; the middle one counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Users in the state.
    #[arg(long)]
    users: Option<usize>,
    /// Where data and figures go: the disk that is measured.
    #[arg(long, default_value = concat!(env!("CARGO_TARGET_TMPDIR"), "/bench"))]
    folder: PathBuf,
    /// The program that is measured, to compare builds.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_jcas"))]
    program: PathBuf,
    /// Use the users that an earlier run made.
    #[arg(long)]
    keep: bool,
}

impl Options {
    /// The data folder with so many users.
    fn data(&self, users: usize) -> PathBuf {
        self.folder.join(format!("users-{users}"))
    }
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().what {
        What::Login(options) => login::run(&options),
        What::Writes(options) => writes::run(&options),
        What::Start { options, load_s } => start::run(&options, load_s),
        What::Lookup(options) => lookup::run(&options),
        What::Overload(options) => overload::run(&options),
        What::Log(options) => log::run(&options),
        What::Replay(options) => replay::run(&options),
        What::Replication(options) => replication::run(&options),
        What::Sync(options) => sync::run(&options),
        What::Mixed { options, rate } => mixed::run(&options, rate),
        What::Bare { logins } => bare::serve(logins),
    }
}
