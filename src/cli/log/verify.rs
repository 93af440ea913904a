//! `jcas log verify`: checks every byte of a log.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::bail;
use clap::Args;

use crate::app;
use crate::cli::out::Lines;
use crate::cli::progress::Meter;
use crate::deployment::{self, description::named_near};
use crate::files::{Disk, Files};
use crate::log::{self, Report};

/// Check every byte and name all that is wrong. Changes nothing.
#[derive(Debug, Args)]
#[command(after_help = "Works beside a running node: what it is writing at the moment may show as
a torn tail, which is nothing wrong. Ends with 1 when something is wrong.

Examples:
  jcas log verify
  jcas log verify /backup/log
  jcas log verify export.jcas --json")]
pub(super) struct VerifyArgs {
    /// A log's folder, a segment, an export or a data folder; without it, the configured node's.
    path: Option<PathBuf>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// Checks it. What is wrong is an error.
pub(super) fn run(settings: Option<&Path>, args: &VerifyArgs) -> anyhow::Result<()> {
    let path = super::place(settings, args.path.as_deref())?;
    let files: Arc<dyn Files> = Arc::new(Disk);
    let mut meter = Meter::bytes("checking", super::bytes(&path));
    let report = log::verify(&files, &path, &mut |progress| meter.set(progress.bytes));
    meter.finish();
    let report = report.map_err(app::AppError::from)?;
    print(&report, args.json)?;
    if args.path.is_none() {
        is_own(settings, &report, &path)?;
    }
    if !report.is_sound() {
        let (count, at) = (report.findings_total, path.display());
        bail!("{count} things are wrong with {at}; nothing was changed");
    }
    Ok(())
}

/// The configured node's log must be of its deployment.
fn is_own(settings: Option<&Path>, report: &Report, path: &Path) -> anyhow::Result<()> {
    let own = deployment::open(&app::data_folder(&super::load(settings)?))?;
    if report.deployment != own.id() {
        let (found, expected) = (named_near(path, report.deployment), own.named());
        bail!("{} belongs to deployment {found}, not to {expected}", path.display());
    }
    Ok(())
}

fn print(report: &Report, as_json: bool) -> anyhow::Result<()> {
    let mut lines = Lines::default();
    if as_json {
        lines.line(&serde_json::to_string_pretty(report)?)?;
        return lines.finish();
    }
    for finding in &report.findings {
        lines.line(&format!("{}: {}", finding.position, finding.problem))?;
    }
    let listed = u64::try_from(report.findings.len()).unwrap_or(u64::MAX);
    if report.findings_total > listed {
        lines.line(&format!("and {} more", report.findings_total - listed))?;
    }
    let Report { deployment, segments, records, blanked, bytes, end, .. } = report;
    lines.line(&format!(
        "deployment {deployment}: {records} events ({blanked} without a body) in {segments} \
         segments of {bytes} bytes, up to {end}"
    ))?;
    for (origin, last) in &report.vector {
        lines.line(&format!("origin {origin} up to {}", last.sequence))?;
    }
    lines.line(if report.is_sound() { "sound" } else { "damaged" })?;
    lines.finish()
}
