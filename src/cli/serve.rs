//! `jcas serve`: runs a node until it is told to stop.

use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::app::Node;
use crate::app::ending::Ending;
use crate::app::listeners::Listeners;
use crate::config::Config;
use crate::config::logging::LogFormat;
use crate::config::metrics::MetricsConfig;
use crate::deployment::Deployment;

use super::{logging, out};

/// Runs a node. The first signal stops it softly; the second ends it at once.
pub fn run(config: &Config) -> anyhow::Result<()> {
    logging::start(&config.logging);
    no_core_dumps()?;
    let listeners = Listeners::bind(config)?;
    let metrics = metrics(&config.metrics)?;
    let system = actix::System::new();
    let ended = system.block_on(async move {
        let node = Node::start(config, listeners, metrics).await?;
        warn_of_secrets(&node.deployment);
        announce(&node, config.logging.format);
        run_until_stopped(node).await
    })?;
    match ended {
        Ended::Stopped => Ok(()),
        Ended::Anew(reason) => {
            out::note(&format!("{reason}: the node starts again"));
            Err(start_again())
        }
    }
}

/// A core dump would hold every key that is in memory. Neither this process nor what takes its
/// place can allow them again.
fn no_core_dumps() -> anyhow::Result<()> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).context("core dumps cannot be turned off")
}

/// How a node ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It was told to.
    Stopped,
    /// It has to start again, for this reason.
    Anew(&'static str),
}

/// Puts a new start of the program in this process's place. Returns why it could not: whoever
/// watches over the node starts it then.
fn start_again() -> anyhow::Error {
    let again = |program| Command::new(program).args(std::env::args_os().skip(1)).exec();
    let error = std::env::current_exe().map_or_else(|error| error, again);
    anyhow::Error::new(error).context("the node could not start again by itself; start it")
}

/// Renders what is counted.
pub(super) type Metrics = Box<dyn Fn() -> String + Send + Sync>;

/// Starts counting, where the settings say so. The recorder keeps every single latency until it is
/// summed up, which happens each `sample_s`: where nobody reads the page it would grow without end.
pub(super) fn metrics(config: &MetricsConfig) -> anyhow::Result<Option<Metrics>> {
    if !config.enabled {
        return Ok(None);
    }
    let every = Duration::from_secs(config.sample_s);
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().install_recorder()?;
    let (running, ended) = channel::<()>();
    let summing = recorder.clone();
    std::thread::Builder::new().name("metrics".to_owned()).spawn(move || {
        while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
            summing.run_upkeep();
        }
    })?;
    Ok(Some(Box::new(move || {
        // Held by what renders the page: when that is gone, the thread ends.
        let _held = &running;
        recorder.render()
    })))
}

/// Names the secrets in the data folder that have no business on a running node.
fn warn_of_secrets(deployment: &Deployment) {
    if let Some(path) = deployment.operator_key_left_here() {
        tracing::warn!(path = %path.display(), "the operator key is on this node: take it offline");
    }
    for path in deployment.bundles_left_here() {
        tracing::warn!(path = %path.display(), "a bundle is on this node: delete it when used");
    }
}

fn announce(node: &Node, format: LogFormat) {
    let description = node.deployment.description();
    let (deployment, version) = (&description.deployment.name, env!("CARGO_PKG_VERSION"));
    let (region, name) = (&description.region, &description.node);
    let companies = node.company_url();
    let spoken = if node.is_tls { "TLS" } else { "plain HTTP: put TLS in front of it" };
    let operators = format!("http://{}", node.operator_address);
    let data = node.deployment.folder().display().to_string();
    match format {
        LogFormat::Json => tracing::info!(
            version,
            %deployment,
            %region,
            node = %name,
            companies,
            operators,
            data,
            "ready"
        ),
        LogFormat::Text => out::note(&format!(
            "jcas {version} is ready: \
             deployment \"{deployment}\", region \"{region}\", node \"{name}\"\n\
             companies: {companies} ({spoken})\n\
             operators: {operators} (token in {})\n\
             data:      {data}",
            node.deployment.folder().join("operator-token").display(),
        )),
    }
}

/// Waits for a signal or for the node to give up, then stops it.
pub(super) async fn run_until_stopped(mut node: Node) -> anyhow::Result<Ended> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let ended = tokio::select! {
        _ = terminate.recv() => Ended::Stopped,
        _ = interrupt.recv() => Ended::Stopped,
        _ = node.fatal.changed() => match node.fatal.borrow().clone() {
            Some(Ending::Anew(reason)) => Ended::Anew(reason),
            Some(Ending::Failed(reason)) => anyhow::bail!("the node stopped: {reason}"),
            None => anyhow::bail!("the node stopped"),
        }
    };
    out::note("stopping: calls under way are finished (a second signal ends it at once)");
    tokio::select! {
        stopped = node.stop() => stopped?,
        _ = terminate.recv() => anyhow::bail!("ended before it had stopped"),
        _ = interrupt.recv() => anyhow::bail!("ended before it had stopped"),
    }
    Ok(ended)
}
