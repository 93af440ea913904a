//! `jcas keys`: branch keys and master keys.

use anyhow::bail;
use clap::{Args, Subcommand};
use serde::Deserialize;

use crate::app;
use crate::config::Config;
use crate::config::keys::KmsKind;
use crate::deployment::{self, Deployment};

use super::operator::Operator;
use super::regions::SigningArgs;
use super::{out, table};

/// Branch keys and master keys.
#[derive(Debug, Args)]
pub(super) struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Show the branch keys, who can open them, and how the KMS of each region is.
    #[command(after_help = "Examples:
  jcas keys status
  jcas keys status --json")]
    Status {
        /// Print what the node answered, as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Give this node's region a new wrapping key, with `keys.kms = "local"`.
    #[command(after_help = "\
The new key and an update are made; the old key stays and goes on opening what it wrapped. Copy
the key to the region's other nodes, have every other node `jcas regions accept` the update, start
all anew: the region's nodes then wrap every branch key for the new key. `jcas keys status` says how
many are left. When none is, and every node of every region has the update, `--finish` removes the
old key's file.

Examples:
  jcas keys rotate --operator-key /media/stick/operator.key
  jcas keys rotate --finish")]
    Rotate(RotateArgs),
}

#[derive(Debug, Args)]
struct RotateArgs {
    /// Remove the files of the keys of before; the node must run and have nothing left to renew.
    #[arg(long, conflicts_with_all = ["operator_key", "out"])]
    finish: bool,
    #[command(flatten)]
    signing: SigningArgs,
}

/// `jcas keys ..`
pub(super) fn run(config: &Config, args: KeysArgs) -> anyhow::Result<()> {
    match args.command {
        KeysCommand::Status { json } => status(config, json),
        KeysCommand::Rotate(args) => rotate(config, args),
    }
}

/// What a node says of its keys, as far as it is shown.
#[derive(Deserialize)]
struct Report {
    region: String,
    wrapping_key: String,
    holes: usize,
    to_renew: usize,
    regions: Vec<Region>,
    branch_keys: Vec<BranchKey>,
}

#[derive(Deserialize)]
struct Region {
    #[serde(rename = "region")]
    name: String,
    wrapped: usize,
    kms: Kms,
}

#[derive(Deserialize)]
struct Kms {
    wraps: u64,
    unwraps: u64,
    unanswered: u64,
    refused: u64,
    spared: u64,
    silent_for_ms: Option<u64>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct BranchKey {
    key: String,
    made_by: String,
    age_ms: u64,
    in_memory: bool,
    to_renew: bool,
    regions: Vec<String>,
    holes: Vec<Hole>,
}

#[derive(Deserialize)]
struct Hole {
    region: String,
    why: String,
}

fn rotate(config: &Config, args: RotateArgs) -> anyhow::Result<()> {
    if config.keys.kms != KmsKind::Local {
        bail!(
            "the master key is not a file here: set the new key in keys.aws.regions, name the one \
             before under `former`, and start the region's nodes anew"
        );
    }
    let mut deployment = deployment::open(&app::data_folder(config))?;
    if args.finish {
        return finish(config, &mut deployment);
    }
    if deployment.former_wrapping_keys() > 0 && !is_interrupted(&deployment) {
        bail!("the rotation before is not finished; see `jcas keys status` and --finish");
    }
    let operator = args.signing.key(&deployment)?;
    let folder = args.signing.folder(&deployment);
    let made = deployment.rotate_wrapping_key(&operator, &folder, &mut getrandom::fill)?;
    out::note(&format!(
        "copy the key {} into keys/ of the region's other nodes; it is as secret as the one before",
        made.key.display()
    ));
    let version = deployment.description().deployment.version;
    out::note(&format!(
        "then let every other node of the deployment take the update (version {version}): \
         jcas regions accept; start every node anew, this one too"
    ));
    out::line(&made.key.display().to_string())?;
    out::line(&made.update.display().to_string())
}

/// Whether the only other key here is one that was made for the next version and not yet named.
fn is_interrupted(deployment: &Deployment) -> bool {
    deployment.former_wrapping_keys() == 1 && deployment.has_next_wrapping_key()
}

fn finish(config: &Config, deployment: &mut Deployment) -> anyhow::Result<()> {
    if deployment.former_wrapping_keys() == 0 {
        out::note("there is no key of before");
        return Ok(());
    }
    if is_interrupted(deployment) {
        bail!("the rotation was interrupted before it took effect; run it again");
    }
    let answer = Operator::of(config)?.call("GET", "keys", None)?;
    let report: Report = serde_json::from_value(answer)?;
    if report.wrapping_key != deployment.wrapping_key().to_string() {
        bail!("the node runs with the key of before: start it anew");
    }
    if report.to_renew > 0 {
        bail!("{} branch keys are not wrapped anew yet", report.to_renew);
    }
    let dropped = deployment.drop_former_wrapping_keys()?;
    out::note(&format!("removed {dropped} key files; remove them on the region's other nodes too"));
    Ok(())
}

fn status(config: &Config, json: bool) -> anyhow::Result<()> {
    let answer = Operator::of(config)?.call("GET", "keys", None)?;
    if json {
        return out::line(&serde_json::to_string_pretty(&answer)?);
    }
    let report: Report = serde_json::from_value(answer)?;
    let count = report.branch_keys.len();
    let Report { region, holes, to_renew, .. } = &report;
    out::line(&format!(
        "region {region}: {count} branch keys, {holes} holes, {to_renew} to renew"
    ))?;
    out::line("")?;
    print_regions(&report.regions, count)?;
    if count > 0 {
        out::line("")?;
        print_keys(&report.branch_keys)?;
    }
    let holes = report.branch_keys.iter().flat_map(|key| key.holes.iter().map(|it| (&key.key, it)));
    for (key, hole) in holes {
        out::line(&format!("{key} has no wrapping for {}: {}", hole.region, hole.why))?;
    }
    Ok(())
}

fn print_regions(regions: &[Region], count: usize) -> anyhow::Result<()> {
    let rows = regions.iter().map(|it| {
        let state = match (it.kms.silent_for_ms, &it.kms.error) {
            (Some(ms), _) => format!("silent, asked again in {}", table::duration(ms)),
            (None, Some(error)) => error.clone(),
            (None, None) => "ok".to_owned(),
        };
        vec![
            it.name.clone(),
            format!("{} of {count}", it.wrapped),
            it.kms.wraps.to_string(),
            it.kms.unwraps.to_string(),
            it.kms.unanswered.to_string(),
            it.kms.refused.to_string(),
            it.kms.spared.to_string(),
            state,
        ]
    });
    let heads = ["region", "wrapped", "wraps", "opens", "silent", "refused", "spared", "KMS"];
    table::print(&heads, &rows.collect::<Vec<_>>())
}

fn print_keys(keys: &[BranchKey]) -> anyhow::Result<()> {
    let rows = keys.iter().map(|key| {
        let mut notes = Vec::new();
        notes.extend(key.in_memory.then_some("in memory"));
        notes.extend(key.to_renew.then_some("to renew"));
        vec![
            key.key.clone(),
            key.made_by.clone(),
            table::duration(key.age_ms),
            key.regions.join(","),
            notes.join(", "),
        ]
    });
    let heads = ["branch key", "made by", "age", "wrapped for", ""];
    table::print(&heads, &rows.collect::<Vec<_>>())
}
