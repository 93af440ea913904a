//! `jcas log show`: prints events.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;

use crate::cli::out::Lines;
use crate::events::codec;
use crate::events::event::Event;
use crate::events::ids::UserId;
use crate::events::record::{Header, LogPosition, Subject};
use crate::events::stamp::{EventRef, Origin};
use crate::files::{Disk, Files};
use crate::log::LogReader;

use super::shown::Shown;

/// Print events, oldest first: who, when and what, never a secret.
#[derive(Debug, Args)]
#[command(after_help = "Works beside a running node.

Examples:
  jcas log show --limit 20
  jcas log show --user 0199b5b0-4a49-7aa4-b6a1-3d2f0a1c9e11
  jcas log show --origin local/node-1#3.0badcafe --from-sequence 100 --to-sequence 200
  jcas log show export.jcas --json | jq .kind")]
pub(super) struct ShowArgs {
    /// A log's folder, a segment, an export or a data folder; without it, the configured node's.
    path: Option<PathBuf>,
    /// Only events about this user.
    #[arg(long, value_name = "ID")]
    user: Option<UserId>,
    /// Only events recorded by this life of a node: region/node#counter.tag
    #[arg(long)]
    origin: Option<Origin>,
    /// Only events with this number or a greater one in their origin.
    #[arg(long, value_name = "N", default_value_t = 1)]
    from_sequence: u64,
    /// Only events with this number or a lesser one in their origin.
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    to_sequence: u64,
    /// Print no more than so many.
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    limit: u64,
    /// Print JSON, one event a line.
    #[arg(long)]
    json: bool,
}

/// Prints them.
pub(super) fn run(settings: Option<&Path>, args: &ShowArgs) -> anyhow::Result<()> {
    let path = super::place(settings, args.path.as_deref())?;
    let files: Arc<dyn Files> = Arc::new(Disk);
    let reader = LogReader::open_path(&files, &path)?;
    let from = match args.origin {
        Some(origin) => reader.near(&EventRef { origin, sequence: args.from_sequence })?,
        None => LogPosition::START,
    };
    let (mut lines, mut printed) = (Lines::default(), 0);
    for stored in reader.scan(from, None) {
        if printed >= args.limit {
            break;
        }
        let stored = stored?;
        let position = stored.position;
        let unreadable = || format!("cannot read the record at {position}");
        let (header, fact) = codec::decode_record(&stored.record).with_context(unreadable)?;
        if !args.wants(&header, fact.event.as_ref()) {
            continue;
        }
        let shown = Shown::new(position, &header, fact.event.as_ref());
        let line = if args.json { serde_json::to_string(&shown)? } else { shown.line() };
        printed += 1;
        if !lines.line(&line)? {
            return Ok(());
        }
    }
    lines.finish()
}

impl ShowArgs {
    fn wants(&self, header: &Header, event: Option<&Event>) -> bool {
        (self.from_sequence..=self.to_sequence).contains(&header.sequence)
            && self.origin.is_none_or(|origin| origin == header.origin)
            && self.user.is_none_or(|user| concerns(user, header, event))
    }
}

/// Whether an event is about a user.
pub(super) fn concerns(user: UserId, header: &Header, event: Option<&Event>) -> bool {
    let by_subject = match header.subject {
        Subject::User(of) => of == user,
        Subject::Pair(pair) => pair.other(user).is_some(),
        Subject::Company(_) | Subject::Deployment | Subject::Other(_) => false,
    };
    by_subject || event.is_some_and(|event| event.touched_users().contains(&user))
}
