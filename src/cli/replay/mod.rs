//! `jcas replay`: folds logs and exports in memory and says what came of it.

mod bisect;
mod differences;
mod login;
mod summary;
mod timeline;
mod web;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::bail;
use clap::Args;

use crate::events::ids::UserId;
use crate::files::{Disk, Files};
use crate::replay::history::History;

use self::bisect::Which;
use self::login::AtCompany;
use super::log::within;
use super::moment::Moment;

/// Fold a log or an export in memory and say what came of it.
#[derive(Debug, Args)]
#[command(
    after_help = "Needs nothing but the files: no settings, no keys, no network. Works beside a
running node and writes nothing. Several logs of one deployment are read as one: every event counts
once, and what is missing or contradicts itself is said. The state hash is that of every node that
holds the same events.

Examples:
  jcas replay jcas-data
  jcas replay eu.jcas us.jcas --state-hash
  jcas replay jcas-data/log --user 0199b5b0-4a49-7aa4-b6a1-3d2f0a1c9e11
  jcas replay events.jcas --until 2026-03-01T12:00:00Z
  jcas replay events.jcas --diff 2026-03-01T00:00:00Z 2026-03-02T00:00:00Z
  jcas replay eu.jcas --against us.jcas
  jcas replay events.jcas --user 0199b5b0-4a49-7aa4-b6a1-3d2f0a1c9e11 --login-as shop/NG \\
      --at 2026-03-01T12:00:00Z
  jcas replay events.jcas --bisect all
  jcas replay events.jcas --web
  jcas replay events.jcas --json | jq .events_by_kind

It is explained on a sample log in docs/replay.md."
)]
pub struct ReplayArgs {
    /// Logs' folders, segments, exports or data folders, of one deployment.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Print this user's events and what each of them did.
    #[arg(long, value_name = "ID")]
    user: Option<UserId>,
    /// Leave out what was recorded later: a time, RFC 3339, or a revision.
    #[arg(long, value_name = "TIME|REVISION")]
    until: Option<Moment>,
    /// In what the state differs between two times or revisions; with --user that user's alone.
    #[arg(long, num_args = 2, value_names = ["FROM", "TO"], conflicts_with = "until",
        group = "question")]
    diff: Option<Vec<Moment>>,
    /// Which events only one of two logs has, and which users differ by that.
    #[arg(long, value_name = "LOG", conflicts_with = "user", group = "question")]
    against: Option<PathBuf>,
    /// Which credentials would have counted for --user at --at, and what stood before the others.
    #[arg(long, value_name = "COMPANY/CC", requires_all = ["user", "at"], conflicts_with = "until",
        group = "question")]
    login_as: Option<AtCompany>,
    /// When the login was: a time, RFC 3339, or a revision.
    #[arg(long, value_name = "TIME|REVISION", requires = "login_as")]
    at: Option<Moment>,
    /// The first event after which something no longer holds: credential, owner, registered, key,
    /// link, or all.
    #[arg(long, value_name = "NAME", conflicts_with = "user", group = "question")]
    bisect: Option<Which>,
    /// Print the state hash and nothing else; with --json an object with it.
    #[arg(long, conflicts_with = "user", group = "question")]
    state_hash: bool,
    /// Show it as a page to a browser on this machine: events over time, users, their states.
    #[arg(long, group = "question", conflicts_with_all = ["user", "json"])]
    web: bool,
    /// Where the page is served: an address of this machine alone.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8090", requires = "web")]
    listen: SocketAddr,
    /// Print JSON; with --user alone one event a line.
    #[arg(long)]
    json: bool,
}

/// Answers what is asked.
pub fn run(args: &ReplayArgs) -> anyhow::Result<()> {
    let history = open(&args.paths)?;
    let json = args.json;
    if let Some(moments) = &args.diff {
        let [from, to] = moments.as_slice() else { bail!("--diff takes two times") };
        return differences::between(&history, args.user, (*from, *to), json);
    }
    if let Some(other) = &args.against {
        let other = open(std::slice::from_ref(other))?;
        let until = args.until.map(Moment::revision);
        return differences::against(&history.until(until), &other.until(until), json);
    }
    if let (Some(company), Some(at), Some(user)) = (args.login_as, args.at, args.user) {
        return login::run(&history, user, company, at, json);
    }
    let history = history.until(args.until.map(Moment::revision));
    if let Some(which) = args.bisect {
        return bisect::run(&history, which, json);
    }
    if let Some(user) = args.user {
        return timeline::run(&history, user, args.until.is_some(), json);
    }
    if args.web {
        return web::run(history, args.listen);
    }
    if args.state_hash {
        return summary::state_hash(&history, json);
    }
    summary::run(&history, json)
}

/// Opens logs, each of which may be a data folder's.
fn open(paths: &[PathBuf]) -> anyhow::Result<History> {
    let files: Arc<dyn Files> = Arc::new(Disk);
    let paths: Vec<PathBuf> = paths.iter().map(|path| within(path)).collect();
    Ok(History::open(&files, &paths)?)
}

/// A log's path as people gave it.
fn path(history: &History, source: usize) -> String {
    history.path(source).map_or_else(String::new, |path: &Path| path.display().to_string())
}
