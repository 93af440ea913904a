//! `jcas init`: makes a new deployment in the data folder.

use crate::app;
use crate::config::Config;

use super::out;

/// Makes it and says what to do next.
pub fn run(config: &Config) -> anyhow::Result<()> {
    let deployment = app::init(config)?;
    let description = deployment.description();
    out::note(&format!(
        "made deployment \"{}\" ({}) with region \"{}\" and node \"{}\" in {}",
        description.deployment.name,
        description.deployment.id,
        description.region,
        description.node,
        deployment.folder().display(),
    ));
    if let Some(path) = deployment.operator_key_left_here() {
        out::note(&format!(
            "keep the operator key offline: move {} to a safe place now; \
             no node needs it to run",
            path.display()
        ));
    }
    out::note("next: jcas serve");
    Ok(())
}
