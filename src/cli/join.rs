//! `jcas join`: makes the data folder of a node that joins.

use std::path::PathBuf;

use clap::Args;

use crate::app;
use crate::config::Config;
use crate::deployment::bundle;

use super::{init, out};

/// Who joins, and where.
#[derive(Debug, Args)]
#[command(after_help = "\
A bundle is made by `jcas init --with`, `jcas bundle` or `jcas regions add`. It says which node of
which region this is. Only its owner may be able to read it (mode 0600).

Example: jcas join eu.n2.bundle --data /var/lib/jcas")]
pub struct JoinArgs {
    /// The bundle that was made for this node.
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
    /// The data folder to make. Left out: `node.data_dir` of the settings.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Makes the data folder and says what to do next.
pub fn run(config: &Config, args: JoinArgs) -> anyhow::Result<()> {
    let mut config = config.clone();
    let is_elsewhere = args.data.is_some();
    if let Some(folder) = args.data {
        config.node.data_dir = folder;
    }
    let folder = app::data_folder(&config);
    let deployment = bundle::join(&args.bundle, &folder, &mut getrandom::fill)?;
    let description = deployment.description();
    out::note(&format!(
        "node \"{}\" of region \"{}\" joined deployment \"{}\" ({}) in {}",
        description.node,
        description.region,
        description.deployment.name,
        description.deployment.id,
        deployment.folder().display(),
    ));
    out::note(&format!(
        "delete {} now, and every copy of it: whoever has it is a node of region \"{}\"",
        args.bundle.display(),
        description.region,
    ));
    init::next(&deployment, is_elsewhere);
    Ok(())
}
