//! `jcas log import`: fills an empty node from an export.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::app::import::{self, Imported};
use crate::cli::interrupted;
use crate::cli::out;
use crate::cli::progress::Meter;

/// Fill the log of a node that holds no event yet from an export.
#[derive(Debug, Args)]
#[command(
    after_help = "The data folder must be one of the same deployment, with its key files, and
nobody may run there. From an export made with --with-keys the node works; it answers companies
once it has what the other nodes have. Without keys it is read-only: operators can ask for its
state, it takes no writes and hears no other node.

To restore a node that was lost, use `jcas backup` and `jcas restore`: they keep what an export
does not hold.

Example:
  jcas log import events.jcas"
)]
pub(super) struct ImportArgs {
    /// The export.
    file: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Fills it.
pub(super) fn run(settings: Option<&Path>, args: &ImportArgs) -> anyhow::Result<()> {
    interrupted::clean_up_when_told_to_end()?;
    let config = super::load(settings)?;
    let mut meter = Meter::events("importing");
    let imported = import::import(&config, &args.file, &mut |done| meter.set(done));
    meter.finish();
    let imported = imported?;
    let Imported { events, keys_without_body, unsealed } = imported;
    if args.json {
        out::line(&serde_json::to_string(&imported)?)?;
    } else {
        out::line(&format!("imported {events} events; the next start folds them into the state"))?;
    }
    if keys_without_body > 0 {
        out::note(&format!(
            "warning: the export left the bodies of {keys_without_body} keys out: this node opens \
             nothing that is sealed with them, takes no writes and hears no other node"
        ));
    }
    if unsealed > 0 {
        out::note(&format!(
            "warning: {unsealed} events of other regions came without their seals: other nodes get \
             them from where they were recorded, not from here"
        ));
    }
    Ok(())
}
