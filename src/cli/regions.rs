//! `jcas regions ..`: how replication is, and the regions that a deployment has.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;

use crate::app;
use crate::config::Config;
use crate::deployment::key_file::SecretKey;
use crate::deployment::regions::Accepted;
use crate::deployment::{self, BUNDLES_FOLDER, Deployment};
use crate::events::ids::{NodeName, RegionId};

use super::out;

/// The regions.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Without a command: how the running node stands to the others. Per peer, what each of the two misses,
since when, how far its clock is ahead, and when the states were equal last; per broker, the way's
state and what waits there.

Examples:
  jcas regions
  jcas regions --json | jq .replication.peers
  jcas regions --compare                       and again some seconds later
  jcas regions show"
)]
pub struct RegionsArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Compute the hash of the whole state now and tell it to the peers, to be compared.
    #[arg(long)]
    compare: bool,
    #[command(subcommand)]
    command: Option<RegionsCommand>,
}

#[derive(Debug, Subcommand)]
enum RegionsCommand {
    /// Print the regions that this node knows, and the version of the description it has them from.
    #[command(after_help = "Example: jcas regions show")]
    Show,
    /// Add a region: its keys, the bundle of its first node, and the update for all others.
    #[command(after_help = "\
Needs the operator key. The update is public and is taken by every other node with
`jcas regions accept`; start each node anew afterwards: with that it wraps its keys for the new
region.

Example: jcas regions add us/n1 --operator-key /media/stick/operator.key")]
    Add(AddArgs),
    /// Retire a region: no key is wrapped for it any more, what it signed stays valid.
    #[command(after_help = "\
Needs the operator key. Stop the region's nodes first, once all others have their events. A retired
region never comes back and its name is not given again.

Example: jcas regions retire us --operator-key /media/stick/operator.key")]
    Retire(RetireArgs),
    /// Cut a life of a node off from an event on: a stolen node, or one that told two stories.
    #[command(after_help = "\
Needs the operator key. Every node then folds as if those events had never been recorded, nor any
password that was upgraded from one of them: it starts again by itself for that, and answers with
503 not_ready meanwhile. This cannot be taken back. `jcas log show --origin ORIGIN` prints what is
about to go.

Examples:
  jcas regions distrust us/n1#3.0badcafe --from 4711 --operator-key /media/stick/operator.key
  jcas regions distrust us/n1#3.0badcafe --from 1 --and-later --operator-key operator.key")]
    Distrust(super::replication::DistrustArgs),
    /// Take an update that `add` or `retire` made on another node.
    #[command(after_help = "\
The node may run meanwhile and knows of it when it starts next. Refused: an update that this
deployment's operator did not sign, one that is older than what is known, another deployment's.

Example: jcas regions accept regions-2.json")]
    Accept {
        /// The update.
        #[arg(value_name = "FILE")]
        update: PathBuf,
    },
}

#[derive(Debug, Args)]
struct AddArgs {
    /// The new region and its first node.
    #[arg(value_name = "REGION/NODE")]
    first: NodeName,
    #[command(flatten)]
    signing: SigningArgs,
}

#[derive(Debug, Args)]
struct RetireArgs {
    /// The region.
    region: RegionId,
    #[command(flatten)]
    signing: SigningArgs,
}

#[derive(Debug, Args)]
pub(super) struct SigningArgs {
    /// The operator key's file. Left out: the one in the data folder, if it was left there.
    #[arg(long, value_name = "FILE")]
    operator_key: Option<PathBuf>,
    /// The folder to write into. Left out: `bundles` in the data folder.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl SigningArgs {
    pub(super) fn key(&self, deployment: &Deployment) -> anyhow::Result<SecretKey> {
        let path = self.operator_key.clone().or_else(|| deployment.operator_key_left_here());
        let path = path.context("the operator key is not on this node; name it: --operator-key")?;
        Ok(deployment.read_operator_key(&path)?)
    }

    pub(super) fn folder(self, deployment: &Deployment) -> PathBuf {
        self.out.unwrap_or_else(|| deployment.folder().join(BUNDLES_FOLDER))
    }
}

/// `jcas regions ..`
pub fn run(config: &Config, args: RegionsArgs) -> anyhow::Result<()> {
    let Some(command) = args.command else {
        return super::replication::status(config, args.json, args.compare);
    };
    let mut deployment = deployment::open(&app::data_folder(config))?;
    match command {
        RegionsCommand::Show => show(&deployment),
        RegionsCommand::Add(args) => add(&mut deployment, args),
        RegionsCommand::Retire(args) => retire(&mut deployment, args),
        RegionsCommand::Distrust(args) => super::replication::distrust(config, &args),
        RegionsCommand::Accept { update } => {
            match deployment.accept(&update)? {
                Accepted::Taken(version) => out::note(&format!(
                    "this node has version {version} of the description now; \
                     if it runs, start it anew"
                )),
                Accepted::Known(version) => {
                    out::note(&format!("this node has version {version} already"));
                }
            }
            Ok(())
        }
    }
}

fn show(deployment: &Deployment) -> anyhow::Result<()> {
    let description = deployment.description();
    let common = &description.deployment;
    let shown = json!({
        "deployment": common.name,
        "id": common.id,
        "version": common.version,
        "node": description.node_name(),
        "regions": common.regions,
    });
    out::line(&serde_json::to_string_pretty(&shown)?)
}

fn add(deployment: &mut Deployment, args: AddArgs) -> anyhow::Result<()> {
    let (first, operator) = (args.first, args.signing.key(deployment)?);
    let folder = args.signing.folder(deployment);
    let added = deployment.add_region(first, &operator, &folder, &mut getrandom::fill)?;
    out::note(&format!(
        "take the bundle to the machine of {first}, run `jcas join` there, then delete it here and \
         there: whoever has it is a node of region {}",
        first.region
    ));
    let version = deployment.description().deployment.version;
    all_others(version);
    out::line(&added.bundle.display().to_string())?;
    out::line(&added.update.display().to_string())
}

fn retire(deployment: &mut Deployment, args: RetireArgs) -> anyhow::Result<()> {
    let operator = args.signing.key(deployment)?;
    let folder = args.signing.folder(deployment);
    let update = deployment.retire_region(args.region, &operator, &folder)?;
    all_others(deployment.description().deployment.version);
    out::line(&update.display().to_string())
}

fn all_others(version: u32) {
    out::note(&format!(
        "version {version} of the description: run `jcas regions accept` with the update on every \
         other node, then start all of them anew, this one too"
    ));
}
