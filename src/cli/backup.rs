//! `jcas backup` and `jcas restore`.

use std::path::PathBuf;

use clap::Args;

use crate::app::backup::{self as backups, Doing, Manifest};
use crate::app::{data_folder, log_folder};
use crate::config::Config;

use super::progress::Meter;
use super::{interrupted, out};

/// What is copied where.
#[derive(Debug, Args)]
#[command(after_help = "\
Works beside a running node: what it records meanwhile may be in the copy or not, and the copy is
checked. Keys are left out; keep them elsewhere, as docs/keys.md says: without them a backup shows
nobody, with them everything.

Examples:
  jcas backup /mnt/backup/2026-11-22
  jcas backup /mnt/vault/2026-11-22 --with-keys")]
pub struct BackupArgs {
    /// The folder to make. It must not be there yet, or be empty.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Copy the region's keys, too. The operator key never is.
    #[arg(long)]
    with_keys: bool,
    /// Print what was copied as JSON.
    #[arg(long)]
    json: bool,
}

/// What is made from what.
#[derive(Debug, Args)]
#[command(after_help = "\
Makes the data folder that the settings name (`node.data_dir`), which must not be there yet, or be
empty. The node's next start is a new life. It fetches what it misses from the other nodes, and
answers no company before it has it.

The node that the backup was made from must not run any more.

Examples:
  jcas restore /mnt/vault/2026-11-22
  jcas restore /mnt/backup/2026-11-22 --keys /mnt/vault/keys")]
pub struct RestoreArgs {
    /// The backup.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The folder of the region's key files, where the backup holds none.
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    /// Print what was restored as JSON.
    #[arg(long)]
    json: bool,
}

/// Makes a backup.
pub fn backup(config: &Config, args: &BackupArgs) -> anyhow::Result<()> {
    interrupted::clean_up_when_told_to_end()?;
    let mut shown = Shown::of(&log_folder(&data_folder(config)));
    let made = backups::backup(config, &args.folder, args.with_keys, &mut |doing, bytes| {
        shown.set(doing, bytes);
    });
    shown.finish();
    let made = made?;
    if args.json {
        out::line(&serde_json::to_string_pretty(&made)?)?;
    } else {
        let Manifest { events, bytes, node, .. } = &made;
        let folder = args.folder.display();
        out::line(&format!("{folder}: {events} events of {node} in {bytes} bytes, checked"))?;
    }
    if made.with_keys {
        out::note(
            "warning: the backup holds the region's keys. Whoever has it opens every sealed value \
             and is a node of the region",
        );
    }
    Ok(())
}

/// Makes a data folder.
pub fn restore(config: &Config, args: &RestoreArgs) -> anyhow::Result<()> {
    interrupted::clean_up_when_told_to_end()?;
    let mut shown = Shown::of(&log_folder(&args.folder));
    let keys = args.keys.as_deref();
    let restored = backups::restore(config, &args.folder, keys, &mut |doing, bytes| {
        shown.set(doing, bytes);
    });
    shown.finish();
    let restored = restored?;
    let Manifest { events, node, made_at, deployment, .. } = &restored;
    let folder = data_folder(config);
    if args.json {
        out::line(&serde_json::to_string_pretty(&restored)?)?;
    } else {
        out::line(&format!(
            "{}: {events} events of {node} in deployment {deployment}, as of {made_at}",
            folder.display()
        ))?;
    }
    out::note(
        "start it with `jcas serve`; where it has peers it answers no company before it has what \
         they have",
    );
    Ok(())
}

/// A meter for each of the two parts.
struct Shown {
    total: u64,
    at: Option<(Doing, Meter)>,
}

impl Shown {
    fn of(log: &std::path::Path) -> Self {
        Self { total: super::log::bytes(log), at: None }
    }

    fn set(&mut self, doing: Doing, bytes: u64) {
        if self.at.as_ref().is_none_or(|(now, _)| *now != doing) {
            self.finish();
            let what = match doing {
                Doing::Copying => "copying",
                Doing::Checking => "checking",
            };
            self.at = Some((doing, Meter::bytes(what, self.total)));
        }
        if let Some((_, meter)) = &mut self.at {
            meter.set(bytes);
        }
    }

    fn finish(&mut self) {
        if let Some((_, meter)) = self.at.take() {
            meter.finish();
        }
    }
}
