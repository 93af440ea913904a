//! `jcas init`: makes a new deployment in the data folder.

use std::path::PathBuf;

use clap::Args;

use crate::app;
use crate::config::Config;
use crate::deployment::Deployment;
use crate::deployment::names::DeploymentName;
use crate::events::ids::{NodeId, NodeName, RegionId};

use super::out;

/// What a new deployment is made of. What is left out is as the settings say.
#[derive(Debug, Args)]
#[command(after_help = "\
A first `jcas serve` makes a deployment of one node by itself. What is left out is as the settings
say (node.data_dir, node.deployment, node.region, node.name).

Each node of --with gets a bundle in DIR/bundles. Take it to the node's machine, run `jcas join`
there, and delete it: whoever has it is a node of that region.

Examples:
  jcas init
  jcas init /var/lib/jcas --name shops --region eu --node n1 --with eu/n2 --with us/n1")]
pub struct InitArgs {
    /// The data folder to make.
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
    /// The deployment's name.
    #[arg(long)]
    name: Option<DeploymentName>,
    /// The first node's region.
    #[arg(long)]
    region: Option<RegionId>,
    /// The first node's name in its region.
    #[arg(long)]
    node: Option<NodeId>,
    /// A further node to make a bundle for, and its region's keys where it is the region's first.
    #[arg(long, value_name = "REGION/NODE")]
    with: Vec<NodeName>,
}

/// Makes it and says what to do next.
pub fn run(config: &Config, args: InitArgs) -> anyhow::Result<()> {
    let mut config = config.clone();
    let is_elsewhere = args.folder.is_some();
    if let Some(folder) = args.folder {
        config.node.data_dir = folder;
    }
    if let Some(name) = args.name {
        config.node.deployment = name.into();
    }
    config.node.region = args.region.unwrap_or(config.node.region);
    config.node.name = args.node.unwrap_or(config.node.name);
    let deployment = app::init(&config, &args.with)?;
    let description = deployment.description();
    out::note(&format!(
        "made deployment \"{}\" ({}) with region \"{}\" and node \"{}\" in {}",
        description.deployment.name,
        description.deployment.id,
        description.region,
        description.node,
        deployment.folder().display(),
    ));
    for bundle in deployment.bundles_left_here() {
        out::note(&format!(
            "take {} to its node's machine, run `jcas join` there, then delete it here and there",
            bundle.display()
        ));
    }
    if let Some(path) = deployment.operator_key_left_here() {
        out::note(&format!(
            "keep the operator key offline: move {} to a safe place now; \
             no node needs it to run",
            path.display()
        ));
    }
    next(&deployment, is_elsewhere);
    Ok(())
}

/// Says how the node is started.
pub(super) fn next(deployment: &Deployment, is_elsewhere: bool) {
    if is_elsewhere {
        let folder = deployment.folder().display();
        out::note(&format!("next: jcas serve, with node.data_dir = \"{folder}\" in the settings"));
    } else {
        out::note("next: jcas serve");
    }
}
