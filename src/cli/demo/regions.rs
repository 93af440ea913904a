//! The two regions of the demo: their data folders, and their nodes on a link within the process.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, ensure};

use crate::app::listeners::Listeners;
use crate::app::replication::{MemoryHub, Wire};
use crate::app::{self, Node};
use crate::cli::serve::{self, Metrics};
use crate::config::Config;
use crate::deployment::error::DeploymentError;
use crate::deployment::{self, bundle};
use crate::events::ids::NodeName;

/// Each region's only node.
const NODE: &str = "n1";

/// What a data folder is known by.
const DESCRIPTION: &str = "deployment.json";

/// Two running regions.
pub(super) struct Regions {
    /// The first one, in which everybody is loaded.
    pub(super) eu: Node,
    /// The other one.
    pub(super) us: Node,
    hub: MemoryHub,
}

/// The settings of each region's node.
pub(super) fn settings(config: &Config) -> anyhow::Result<[Config; 2]> {
    let of = |region: &str| {
        let mut own = config.clone();
        own.node.data_dir = config.demo.data_dir.join(region);
        (own.node.region, own.node.name) = (region.parse()?, NODE.parse()?);
        anyhow::Ok(own)
    };
    let (eu, mut us) = (of("eu")?, of("us")?);
    us.http.listen.set_port(0);
    us.http.operator_listen.set_port(0);
    Ok([eu, us])
}

const fn name(config: &Config) -> NodeName {
    NodeName { region: config.node.region, node: config.node.name }
}

/// Makes the data folders where they are missing. What a kill left half made is made whole.
fn make(eu: &Config, us: &Config) -> anyhow::Result<()> {
    let whole = eu.demo.data_dir.join(DESCRIPTION);
    ensure!(
        !whole.exists(),
        "it holds the demo of one region that an earlier version made; this one has two"
    );
    let here = app::data_folder(eu);
    let first = match deployment::open(&here) {
        Err(DeploymentError::NoDeployment { .. }) => app::init(eu, &[name(us)])?,
        opened => opened?,
    };
    let there = app::data_folder(us);
    match deployment::open(&there) {
        Err(DeploymentError::NoDeployment { .. }) => {
            let bundle = first.bundles_left_here().first();
            let bundle = bundle.context("region us is gone, and what it joined with, too")?;
            bundle::join(bundle, &there, &mut getrandom::fill)?;
        }
        opened => drop(opened?),
    }
    first.bundles_left_here().iter().try_for_each(|used| remove(used))
}

fn remove(used: &Path) -> anyhow::Result<()> {
    fs::remove_file(used).with_context(|| format!("cannot delete {}", used.display()))
}

impl Regions {
    /// Starts both. Figures are of the whole process; the first one shows them.
    pub(super) async fn start(
        settings: [Config; 2],
        listeners: [Listeners; 2],
        metrics: Option<Metrics>,
    ) -> anyhow::Result<Self> {
        let [eu, us] = &settings;
        make(eu, us)?;
        let hub = MemoryHub::default();
        let [at_eu, at_us] = listeners;
        let start = |own: &Config, listeners, metrics, other: &Config| {
            let (own, other, hub) = (own.clone(), name(other), hub.clone());
            let connect = move || {
                let (link, incoming) = hub.attach(name(&own));
                Ok(Wire { link: Arc::new(link), incoming })
            };
            (listeners, metrics, vec![other], Box::new(connect))
        };
        let (listeners, metrics, peers, connect) = start(eu, at_eu, metrics, us);
        let first = Node::start_wired(eu, listeners, metrics, peers, connect).await?;
        let (listeners, metrics, peers, connect) = start(us, at_us, None, eu);
        match Node::start_wired(us, listeners, metrics, peers, connect).await {
            Ok(second) => Ok(Self { eu: first, us: second, hub }),
            Err(error) => {
                first.stop().await?;
                Err(error.into())
            }
        }
    }

    fn names(&self) -> (NodeName, NodeName) {
        let of = |node: &Node| node.deployment.description().node_name();
        (of(&self.eu), of(&self.us))
    }

    /// From now on they do not hear each other.
    pub(super) fn cut(&self) {
        let (eu, us) = self.names();
        self.hub.cut(eu, us);
    }

    /// They do again.
    pub(super) fn heal(&self) {
        let (eu, us) = self.names();
        self.hub.heal(eu, us);
    }

    /// Stops both.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        let (eu, us) = (self.eu.stop().await, self.us.stop().await);
        eu?;
        Ok(us?)
    }

    /// Both serve until they are told to stop, or one cannot go on.
    pub(super) async fn run_until_stopped(self) -> anyhow::Result<()> {
        let Self { eu, us, .. } = self;
        let mut fatal = us.fatal.clone();
        let ended = tokio::select! {
            ended = serve::run_until_stopped(eu) => ended?,
            _ = fatal.changed() => anyhow::bail!("region us stopped: {:?}", *fatal.borrow()),
        };
        us.stop().await?;
        match ended {
            serve::Ended::Stopped => Ok(()),
            serve::Ended::Anew(reason) => anyhow::bail!("{reason}: start the demo again"),
        }
    }
}
