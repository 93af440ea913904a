//! `jcas log tail`: prints events as a node records them.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use crate::cli::out::Lines;
use crate::cli::screen::{Line, Screen};
use crate::events::codec;
use crate::events::ids::{CompanyId, UserId};
use crate::events::record::LogPosition;
use crate::files::{Disk, Files};
use crate::log::{LogReader, StoredRecord};

use super::show::concerns;
use super::shown::Shown;

/// How long after one look at the files the next one is.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Print the last events, then every further one as soon as it is durable.
#[derive(Debug, Args)]
#[command(after_help = "Works beside a running node and needs nothing of it. End it with Ctrl-C.

Examples:
  jcas log tail
  jcas log tail --lines 0 --company shop
  jcas log tail --json | jq --unbuffered -r .kind")]
pub(super) struct TailArgs {
    /// A log's folder or a data folder; without it, the configured node's.
    path: Option<PathBuf>,
    /// How many events that are there already are printed first.
    #[arg(long, value_name = "N", default_value_t = 10)]
    lines: usize,
    /// Only events about this user.
    #[arg(long, value_name = "ID")]
    user: Option<UserId>,
    /// Only events that this company asked for.
    #[arg(long, value_name = "COMPANY")]
    company: Option<CompanyId>,
    /// End when all that is there is printed.
    #[arg(long)]
    no_follow: bool,
    /// Print JSON, one event a line.
    #[arg(long)]
    json: bool,
}

/// Prints them until nobody reads any more.
pub(super) fn run(settings: Option<&Path>, args: &TailArgs) -> anyhow::Result<()> {
    let path = super::place(settings, args.path.as_deref())?;
    let files: Arc<dyn Files> = Arc::new(Disk);
    // Nobody ever sends: it is what the waiting ends by.
    let (_open, waiting) = mpsc::channel::<()>();
    let mut reader = LogReader::open_path(&files, &path)?;
    for shown in args.last(&reader)? {
        if !args.print(&shown)? {
            return Ok(());
        }
    }
    if args.no_follow {
        return Ok(());
    }
    let (mut from, mut known) = (reader.end(), None);
    loop {
        // Only a file that has changed is looked at, and only what is new in it.
        if let Some(now) = reader.opened_again(&files, &path, &mut known)? {
            reader = now;
            for stored in reader.scan(from, None) {
                let Some(shown) = args.shown(&stored?)? else { continue };
                if !args.print(&shown)? {
                    return Ok(());
                }
            }
            from = from.max(reader.end());
        }
        let _ = waiting.recv_timeout(LOOK_EVERY);
    }
}

impl TailArgs {
    /// The last events that are there, segment by segment from the end until they are enough.
    fn last(&self, reader: &LogReader) -> anyhow::Result<VecDeque<Shown>> {
        let (first, last) = reader.segments();
        let mut all = VecDeque::new();
        for segment in (first..=last).rev() {
            let missing = self.lines - all.len();
            if missing == 0 {
                break;
            }
            let mut found = VecDeque::new();
            let start = |segment: u32| LogPosition::new(segment, 0);
            let until = (segment < last).then(|| start(segment + 1));
            for stored in reader.scan(start(segment), until) {
                found.extend(self.shown(&stored?)?);
                if found.len() > missing {
                    found.pop_front();
                }
            }
            found.append(&mut all);
            all = found;
        }
        Ok(all)
    }

    /// What is printed of an event, if it is one that is asked for.
    fn shown(&self, stored: &StoredRecord) -> anyhow::Result<Option<Shown>> {
        let position = stored.position;
        let unreadable = || format!("cannot read the record at {position}");
        let (header, fact) = codec::decode_record(&stored.record).with_context(unreadable)?;
        let event = fact.event.as_ref();
        let by = self.company.is_none_or(|company| header.cause.company == Some(company));
        let about = self.user.is_none_or(|user| concerns(user, &header, event));
        Ok((by && about).then(|| Shown::new(position, &header, event)))
    }

    /// Prints an event at once. False: nobody reads any more.
    fn print(&self, shown: &Shown) -> anyhow::Result<bool> {
        if self.json {
            let mut lines = Lines::default();
            let open = lines.line(&serde_json::to_string(shown)?)?;
            return Ok(lines.flush()? && open);
        }
        let mut screen = Screen::default();
        screen.print(&Line::plain(shown.line()))?;
        screen.flush()
    }
}
