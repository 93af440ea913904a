//! `jcas log conflicts`: rival writes that were refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use crate::accounts::view::rfc3339;
use crate::cli::out::{self, Lines};
use crate::cli::progress::Meter;
use crate::events::record::Header;
use crate::files::{Disk, Files};
use crate::log::LogReader;
use crate::replay::conflicts::{Conflict, conflicts};

/// List the rival writes that were refused: what lost, to what, about whom.
#[derive(Debug, Args)]
#[command(after_help = "Needs nothing but the files. Works beside a running node.

A write is refused where one with a greater stamp stood already when it came: look at the log of
the region that recorded the winner. In a log that was filled from other nodes, a write may stand
here that its winner's author knew and replaced.

Examples:
  jcas log conflicts
  jcas log conflicts /backup/log
  jcas log conflicts --json | jq 'select(.register == \"profile\")'")]
pub(super) struct ConflictsArgs {
    /// A log's folder, a segment, an export or a data folder; without it, the configured node's.
    path: Option<PathBuf>,
    /// Print JSON, one conflict a line.
    #[arg(long)]
    json: bool,
}

/// Lists them.
pub(super) fn run(settings: Option<&Path>, args: &ConflictsArgs) -> anyhow::Result<()> {
    let path = super::place(settings, args.path.as_deref())?;
    let files: Arc<dyn Files> = Arc::new(Disk);
    let reader = LogReader::open_path(&files, &path)?;
    let mut meter = Meter::events("replaying");
    let found = conflicts(&reader, |events| meter.set(events));
    meter.finish();
    let found = found?;
    let mut lines = Lines::default();
    for conflict in &found {
        let line = if args.json { as_json(conflict).to_string() } else { as_line(conflict) };
        if !lines.line(&line)? {
            return Ok(());
        }
    }
    lines.finish()?;
    out::note(&counts(&found));
    Ok(())
}

fn counts(found: &[Conflict]) -> String {
    let mut by_register: BTreeMap<&str, u64> = BTreeMap::new();
    for conflict in found {
        *by_register.entry(conflict.register).or_default() += 1;
    }
    let named: Vec<_> = by_register.iter().map(|(name, count)| format!("{name} {count}")).collect();
    match named.as_slice() {
        [] => "no write was refused for a rival".to_owned(),
        named => format!("{} refused: {}", found.len(), named.join(", ")),
    }
}

fn event_json(header: &Header) -> Value {
    json!({
        "at": rfc3339(header.revision.unix_ms()),
        "effective_at": header.effective.is_change().then(|| rfc3339(header.effective.unix_ms())),
        "origin": header.origin.to_string(),
        "sequence": header.sequence,
        "company": header.cause.company,
        "kind": header.kind.name(),
    })
}

fn as_json(conflict: &Conflict) -> Value {
    json!({
        "register": conflict.register,
        "part": conflict.part,
        "user": conflict.user,
        "segment": conflict.position.segment(),
        "offset": conflict.position.offset(),
        "loser": event_json(&conflict.loser),
        "winner": conflict.winner.as_ref().map(event_json),
    })
}

fn event_text(header: &Header) -> String {
    let company = header.cause.company.map_or_else(|| "-".to_owned(), |id| id.to_string());
    format!("{:?} {} {company}", header.reference(), rfc3339(header.revision.unix_ms()))
}

fn as_line(conflict: &Conflict) -> String {
    let user = conflict.user.map_or_else(String::new, |user| format!("user {user} "));
    let winner = conflict.winner.as_ref().map_or_else(|| "-".to_owned(), event_text);
    let loser = event_text(&conflict.loser);
    format!("{user}{}: {loser}  lost to  {winner}", conflict.part)
}
