//! `jcas bundle`: what another node of this node's region joins with.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;

use crate::app;
use crate::config::Config;
use crate::deployment::{self, BUNDLES_FOLDER};
use crate::events::ids::{NodeId, RegionId};

use super::out;

/// Which node is to join.
#[derive(Debug, Args)]
#[command(after_help = "\
The node may run meanwhile. A node has the secrets of its own region alone, so a bundle for another
region is made on a node of that one; a new region's first is made by `jcas regions add`.

Example: jcas bundle --node n3")]
pub struct BundleArgs {
    /// The new node's name in the region. Each node has one of its own, for ever.
    #[arg(long)]
    node: NodeId,
    /// The new node's region: this node's.
    #[arg(long)]
    region: Option<RegionId>,
    /// The folder to write the bundle into. Left out: `bundles` in the data folder.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Makes it, says where it is and what to do with it.
pub fn run(config: &Config, args: BundleArgs) -> anyhow::Result<()> {
    let deployment = deployment::open(&app::data_folder(config))?;
    let own = deployment.description().region;
    if let Some(other) = args.region.filter(|region| *region != own) {
        bail!(
            "this is a node of region {own} and has no secrets of {other}; make the bundle on a \
             node of {other}"
        );
    }
    let folder = args.out.unwrap_or_else(|| deployment.folder().join(BUNDLES_FOLDER));
    let path = deployment.write_bundle(args.node, &folder)?;
    out::note(&format!(
        "take the bundle to the machine of {own}/{}, run `jcas join` there, then delete it here \
         and there: whoever has it is a node of region {own}",
        args.node
    ));
    out::line(&path.display().to_string())
}
