//! `jcas log export`: writes events to a file that is read like a log.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::bail;
use clap::Args;

use crate::cli::interrupted;
use crate::cli::moment::Moment;
use crate::cli::out;
use crate::cli::progress::Meter;
use crate::events::codec;
use crate::events::ids::{CompanyId, UserId};
use crate::events::record::{Header, LogPosition, Record, Register};
use crate::events::stamp::Origin;
use crate::files::{Disk, Files};
use crate::log::{self, LogReader};

use super::show::concerns;

/// Write events to a file that can be replayed elsewhere.
#[derive(Debug, Args)]
#[command(after_help = "Works beside a running node. Without --with-keys the bodies of user keys,
branch keys and API keys are left out: nobody can open a sealed value with such a file or call
with a key from it, and it still has the same state hash.

Examples:
  jcas log export events.jcas                    to replay on another machine
  jcas log export ada.jcas --user 0199b5b0-4a49-7aa4-b6a1-3d2f0a1c9e11
  jcas log export day.jcas --from 2026-03-01T00:00:00Z --until 2026-03-02T00:00:00Z
  jcas log export shop.jcas --company shop --origin eu/node-1#3.0badcafe
  jcas log export whole.jcas --with-keys         for `jcas log import`

The file is compressed, as long as it takes, and has a digest over all of it, which every reader
checks. To be able to restore a node, use `jcas backup`.")]
pub(super) struct ExportArgs {
    /// The file to make. It must not be there yet.
    file: PathBuf,
    /// A log's folder, a segment, an export or a data folder; without it, the configured node's.
    path: Option<PathBuf>,
    /// Leave the bodies of keys out; the default.
    #[arg(long, conflicts_with = "with_keys")]
    redact: bool,
    /// Keep the bodies of keys: with the region's key files, everything sealed can then be opened.
    #[arg(long)]
    with_keys: bool,
    /// Only events about this user. A file with some events only can be replayed, not imported.
    #[arg(long, value_name = "ID")]
    user: Option<UserId>,
    /// Only events that this company asked for.
    #[arg(long, value_name = "COMPANY")]
    company: Option<CompanyId>,
    /// Only events recorded by this life of a node: region/node#counter.tag
    #[arg(long)]
    origin: Option<Origin>,
    /// Only events recorded then or later: a time, RFC 3339, or a revision.
    #[arg(long, value_name = "TIME|REVISION")]
    from: Option<Moment>,
    /// Only events recorded then or earlier.
    #[arg(long, value_name = "TIME|REVISION")]
    until: Option<Moment>,
    /// Print what was exported as JSON.
    #[arg(long)]
    json: bool,
}

/// Writes it.
pub(super) fn run(settings: Option<&Path>, args: &ExportArgs) -> anyhow::Result<()> {
    if args.file.exists() {
        bail!("{} is there already; name a file that is not", args.file.display());
    }
    interrupted::clean_up_when_told_to_end()?;
    let path = super::place(settings, args.path.as_deref())?;
    let files: Arc<dyn Files> = Arc::new(Disk);
    let reader = LogReader::open_path(&files, &path)?;
    let mut meter = Meter::events("exporting");
    let mut seen = 0;
    let mut select = |header: &Header, record: &Record| {
        seen += 1;
        meter.set(seen);
        args.wants(header, record)
    };
    let mut keep_body = |header: &Header, _: &Record| args.with_keys || !holds_key(header);
    let all = (LogPosition::START, None);
    let report = log::export(&files, &args.file, &reader, all, &mut select, &mut keep_body)?;
    meter.finish();
    let (records, bytes) = (report.records, report.bytes);
    let (blanked, file) = (report.blanked, args.file.display());
    if args.json {
        out::line(&serde_json::to_string(&report)?)?;
    } else {
        let (unpacked, digest) = (report.unpacked_bytes, hex::encode(report.digest.0));
        out::line(&format!(
            "{file}: {records} events ({blanked} without a body), {bytes} bytes ({unpacked} \
             unpacked)"
        ))?;
        out::line(&format!("digest {digest}"))?;
    }
    if args.with_keys {
        out::note(
            "warning: the file holds keys. With the region's key files it opens every sealed \
             value: keep it as you keep those",
        );
    }
    Ok(())
}

impl ExportArgs {
    fn wants(&self, header: &Header, record: &Record) -> bool {
        self.company.is_none_or(|company| header.cause.company == Some(company))
            && self.origin.is_none_or(|origin| header.origin == origin)
            && self.from.is_none_or(|from| header.revision >= from.start())
            && self.until.is_none_or(|until| header.revision <= until.revision())
            && self.user.is_none_or(|user| is_about(user, header, record))
    }
}

/// Whether an event's body holds what opens something.
pub(super) const fn holds_key(header: &Header) -> bool {
    matches!(header.register, Register::UserKey(_) | Register::BranchKey(_) | Register::ApiKey(_))
}

fn is_about(user: UserId, header: &Header, record: &Record) -> bool {
    if concerns(user, header, None) {
        return true;
    }
    // A link that is severed names further users in the body.
    let body = record.body.as_deref().filter(|_| header.register == Register::Link);
    let event = body.and_then(|body| codec::decode_body(header, body).ok()).flatten();
    concerns(user, header, event.as_ref())
}
