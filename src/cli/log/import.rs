//! `jcas log import`: fills an empty node from an export.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::app::upkeep;
use crate::cli::out;
use crate::cli::progress::Meter;

/// Fill the log of a node that holds no event yet from an export.
#[derive(Debug, Args)]
#[command(
    after_help = "The data folder must be one of the same deployment, with its key files, and
nobody may run there. An export made with --with-keys gives a node that works as the exported one
did; without, one that cannot open what is sealed.

Example:
  jcas log import backup.jcas"
)]
pub(super) struct ImportArgs {
    /// The export.
    file: PathBuf,
}

/// Fills it.
pub(super) fn run(settings: Option<&Path>, args: &ImportArgs) -> anyhow::Result<()> {
    let config = super::load(settings)?;
    let mut meter = Meter::events("importing");
    let imported = upkeep::import(&config, &args.file, &mut |done| meter.set(done));
    meter.finish();
    let upkeep::Imported { events, keys_without_body } = imported?;
    out::line(&format!("imported {events} events; the next start folds them into the state"))?;
    if keys_without_body > 0 {
        out::note(&format!(
            "warning: the export left the bodies of {keys_without_body} keys out: this node will \
             not open what is sealed with them"
        ));
    }
    Ok(())
}
