//! The command line: one file a subcommand.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong use. What is asked for goes to standard output, everything
//! else to standard error.

pub mod backup;
pub mod bundle;
pub mod check_config;
pub mod client;
pub mod demo;
pub mod health;
pub mod init;
mod interrupted;
pub mod join;
mod key;
mod keys;
pub mod log;
pub mod logging;
mod moment;
pub mod operator;
pub mod out;
pub mod progress;
pub mod regions;
pub mod replay;
pub mod replication;
mod report;
mod screen;
pub mod serve;
pub mod state;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Config;

/// JCAS, a central authentication service: many companies, one account and one login per person.
#[derive(Debug, Parser)]
#[command(name = "jcas", version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    /// A settings file; ./jcas.toml is read where none is given and that file exists.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  jcas demo                                    see what it does, on sample data
  jcas serve                                   run a node on ./jcas-data
  jcas company add shop --country NG,KE        let a company in
  jcas key issue shop --scopes login,read,write
  jcas call POST /v1/login '{\"country\":\"NG\",\"email\":\"a@example.com\",\"password\":\"..\"}'

Settings: built-in defaults < --config FILE or ./jcas.toml < JCAS__SECTION__KEY.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what JCAS does, on sample customers of three companies.
    Demo(demo::DemoArgs),
    /// Run a node.
    #[command(after_help = "\
Examples:
  jcas serve                                   on ./jcas-data, at 127.0.0.1:8080
  jcas --config /etc/jcas/jcas.toml serve
  JCAS__HTTP__LISTEN=127.0.0.1:9000 jcas serve

SIGTERM or SIGINT stops it when the calls under way are finished; a second one at once.")]
    Serve,
    /// Ask the running node how it is.
    Health(health::HealthArgs),
    /// Make a new deployment: its first node's data folder, and a bundle for each further node.
    Init(init::InitArgs),
    /// Let a node in: make its data folder from the bundle that was made for it.
    Join(join::JoinArgs),
    /// Make the bundle that another node of this node's region joins with.
    Bundle(bundle::BundleArgs),
    /// How replication is; and the deployment's regions: show, add, retire, accept, distrust.
    Regions(regions::RegionsArgs),
    /// List lives that are held back because their clocks are ahead.
    Held(replication::HeldArgs),
    /// Messages from other nodes that could not be taken: list, retry.
    Parked(replication::ParkedArgs),
    /// Read the settings and name everything that is wrong with them.
    #[command(after_help = "Example: jcas --config /etc/jcas/jcas.toml check-config")]
    CheckConfig,
    /// Print the contract as OpenAPI 3.1.
    #[command(after_help = "Example: jcas openapi > openapi.json")]
    Openapi,
    /// Companies: add, list, show, report, policy.
    Company(operator::CompanyArgs),
    /// API keys: issue, revoke, list.
    Key(operator::KeyArgs),
    /// Branch keys and master keys: status, rotate.
    Keys(keys::KeysArgs),
    /// Hash profiles: how a company computed its hashes.
    HashProfile(operator::HashProfileArgs),
    /// Send a company's call.
    Call(client::CallArgs),
    /// Send a file of rows, follow its job and print what became of them.
    Sync(client::sync::SyncArgs),
    /// The log: show, tail, find, verify, conflicts, export, import.
    Log(log::LogArgs),
    /// The state: verify it against the log, or rebuild it.
    State(state::StateArgs),
    /// Fold a log or an export in memory and say what came of it.
    Replay(replay::ReplayArgs),
    /// Copy what a node cannot do without into a new folder, also while the node runs.
    Backup(backup::BackupArgs),
    /// Make a node's data folder from a backup.
    Restore(backup::RestoreArgs),
}

/// Reads the command line, does what it says, and says how it went.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::CheckConfig => return check_config::run(cli.config.as_deref()),
        Command::Openapi => out::line(crate::app::OPENAPI),
        Command::Call(args) => client::run(&args),
        Command::Sync(args) => client::sync::run(&args),
        Command::Log(args) => log::run(cli.config.as_deref(), args),
        Command::Replay(args) => replay::run(&args),
        command => load(cli.config.as_deref()).and_then(|config| with_config(command, &config)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            out::error(&error);
            ExitCode::FAILURE
        }
    }
}

fn with_config(command: Command, config: &Config) -> anyhow::Result<()> {
    match command {
        Command::Demo(args) => demo::run(config, &args),
        Command::Serve => serve::run(config),
        Command::Health(args) => health::run(config, &args),
        Command::Init(args) => init::run(config, args),
        Command::Join(args) => join::run(config, args),
        Command::Bundle(args) => bundle::run(config, args),
        Command::Regions(args) => regions::run(config, args),
        Command::Held(args) => replication::held(config, &args),
        Command::Parked(args) => replication::parked(config, &args),
        Command::Company(args) => operator::company(config, args),
        Command::Key(args) => operator::keys(config, args),
        Command::Keys(args) => keys::run(config, args),
        Command::HashProfile(args) => operator::hash_profile(config, args),
        Command::State(args) => state::run(config, &args),
        Command::Backup(args) => backup::backup(config, &args),
        Command::Restore(args) => backup::restore(config, &args),
        Command::CheckConfig
        | Command::Openapi
        | Command::Call(_)
        | Command::Sync(_)
        | Command::Log(_)
        | Command::Replay(_) => Ok(()),
    }
}

fn load(file: Option<&std::path::Path>) -> anyhow::Result<Config> {
    Ok(Config::load(file, std::env::vars_os())?)
}
