//! `jcas log ..`: looks at a log, checks it, and takes events out of it or into it.

mod conflicts;
mod export;
mod find;
mod import;
mod index;
mod show;
pub(super) mod shown;
mod tail;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};

use crate::app;
use crate::config::Config;
use crate::files::{Disk, Files};
use crate::log;

/// The log.
#[derive(Debug, Args)]
pub struct LogArgs {
    #[command(subcommand)]
    command: LogCommand,
}

#[derive(Debug, Subcommand)]
enum LogCommand {
    /// Print events, oldest first: who, when and what, never a secret.
    Show(show::ShowArgs),
    /// Print the last events, then every further one as soon as it is durable.
    Tail(tail::TailArgs),
    /// Say which users ever claimed an e-mail address or a phone number.
    Find(find::FindArgs),
    /// Check every byte and name all that is wrong. Changes nothing.
    Verify(verify::VerifyArgs),
    /// Write events to a file that can be replayed elsewhere.
    Export(export::ExportArgs),
    /// List the rival writes that were refused: what lost, to what, about whom.
    Conflicts(conflicts::ConflictsArgs),
    /// Make the indexes by which a replay finds a user's events at once.
    Index(index::IndexArgs),
    /// Fill the log of a node that holds no event yet from an export.
    Import(import::ImportArgs),
}

/// `jcas log ..`
pub fn run(settings: Option<&Path>, args: LogArgs) -> anyhow::Result<()> {
    match args.command {
        LogCommand::Show(args) => show::run(settings, &args),
        LogCommand::Tail(args) => tail::run(settings, &args),
        LogCommand::Find(args) => find::run(settings, &args),
        LogCommand::Verify(args) => verify::run(settings, &args),
        LogCommand::Export(args) => export::run(settings, &args),
        LogCommand::Conflicts(args) => conflicts::run(settings, &args),
        LogCommand::Index(args) => index::run(settings, &args),
        LogCommand::Import(args) => import::run(settings, &args),
    }
}

/// The log that is meant: where `path` points to, or the one in the data folder of the settings.
pub(super) fn place(settings: Option<&Path>, path: Option<&Path>) -> anyhow::Result<PathBuf> {
    match path {
        Some(path) => Ok(within(path)),
        None => Ok(app::log_folder(&app::data_folder(&load(settings)?))),
    }
}

/// A data folder means the log in it.
pub(super) fn within(path: &Path) -> PathBuf {
    let inner = app::log_folder(path);
    if inner.is_dir() { inner } else { path.to_owned() }
}

/// How long the log is unpacked, for the bar alone: what cannot be measured counts as nothing.
pub(super) fn bytes(path: &Path) -> u64 {
    let files: Arc<dyn Files> = Arc::new(Disk);
    log::length(&files, path).unwrap_or(0)
}

fn load(settings: Option<&Path>) -> anyhow::Result<Config> {
    Ok(Config::load(settings, std::env::vars_os())?)
}
