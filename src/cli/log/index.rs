//! `jcas log index`: makes the indexes by which a replay finds a user's events.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use crate::cli::interrupted;
use crate::cli::out;
use crate::cli::progress::Meter;
use crate::files::{Disk, Files};
use crate::log::LogReader;
use crate::replay::index::BY_USER;

/// Make the indexes by which `jcas replay --user` finds a user's events at once.
#[derive(Debug, Args)]
#[command(after_help = "A node makes them itself, beside its segments. For a log that has none, a
copy or one of an older node, this does; what is there and right is left. They are for speed alone:
without them, or where one is damaged or another log's, a replay says the same and takes longer. The
last segment has none, nor has an export.

Example:
  jcas log index jcas-data/log")]
pub(super) struct IndexArgs {
    /// A log's folder or a data folder; without it, the configured node's.
    path: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What was made.
#[derive(Debug, Default, Serialize)]
struct Made {
    /// Segments that have a right one now.
    segments: u32,
    /// Of these, how many were made now.
    made: u32,
}

/// Makes those that lack.
pub(super) fn run(settings: Option<&Path>, args: &IndexArgs) -> anyhow::Result<()> {
    interrupted::clean_up_when_told_to_end()?;
    let path = super::place(settings, args.path.as_deref())?;
    let files: Arc<dyn Files> = Arc::new(Disk);
    let reader = LogReader::open_path(&files, &path)?;
    anyhow::ensure!(path.is_dir(), "{} is no log's folder: only that has indexes", path.display());
    let (first, last) = reader.segments();
    let mut meter = Meter::segments("indexing", u64::from(last.saturating_sub(first)));
    let mut made = Made::default();
    for segment in first..last {
        made.made += u32::from(reader.make_index(segment, &BY_USER)?);
        made.segments += 1;
        meter.set(u64::from(made.segments));
    }
    meter.finish();
    if args.json {
        return out::line(&serde_json::to_string(&made)?);
    }
    let Made { segments, made } = made;
    out::line(&format!("{segments} full segments have an index, {made} of them made now"))
}
