//! The composition root: builds a node from its settings, runs it, stops it.
//!
//! ```text
//! lock the folder -> deployment -> log (a torn tail is cut) -> state (opened or rebuilt)
//!   -> fold what came after the checkpoint -> a new life -> actors -> listeners
//! ```
//!
//! Everything is stopped in the opposite order, and a last checkpoint makes the next start short.

pub mod backup;
pub mod catching_up;
pub mod compare;
pub mod distrust;
pub mod ending;
pub mod identities;
pub mod import;
pub mod listeners;
pub mod recovered;
pub mod replication;
pub mod upkeep;

mod indexing;
mod keys;
mod parts;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actix::Arbiter;
use actix_server::ServerHandle;
use actix_web::web;
use tokio::sync::watch;

use crate::accounts::Accounts;
use crate::accounts::replication::Following;
use crate::actors::checkpointer::{Checkpointer, Checkpoints};
use crate::actors::journal::{Journal, chain};
use crate::actors::recovery::RecoveryError;
use crate::actors::replica::Replica;
use crate::clock::{Clock, NodeClock, OsEntropy, SystemClock};
use crate::config::Config;
use crate::deployment::description::named_near;
use crate::deployment::error::DeploymentError;
use crate::deployment::lock::{DataLock, lock};
use crate::deployment::names::Named;
use crate::deployment::{self, Deployment, InitOptions};
use crate::events::decide_registry::RegistryCommand;
use crate::events::event::Cause;
use crate::events::ids::NodeName;
use crate::events::stamp::Origin;
use crate::gauges::Gauges;
use crate::health::NodeHealth;
use crate::log::{Log, LogError, LogWriter};
use crate::replication::amqp::AmqpError;
use crate::state::error::StateError;
use crate::tls::TlsError;

use self::catching_up::CatchingUp;
use self::compare::StateHashes;
use self::ending::{Ending, ending};
use self::indexing::Indexer;
use self::keys::keep_keys;
use self::listeners::{Listeners, addresses, serve};
use self::parts::{
    eraser, feed_and_links, keep_fresh, make_accounts, make_api, new_life, start_actors,
    start_checkpointer, used_tokens,
};
use self::recovered::recover;
use self::replication::{Connect, Ground, Wires};

pub use crate::http::openapi::OPENAPI;

/// Where the log lies in a data folder.
pub const LOG_FOLDER: &str = "log";

/// Where the state lies in a data folder.
pub const STATE_FOLDER: &str = "state";

/// Where the used tokens lie in a data folder.
pub const TOKENS_FOLDER: &str = "tokens";

/// Why a node did not start or stop.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The deployment's files are not as they must be.
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
    /// The certificate cannot be served.
    #[error("TLS: {}", .0.chain())]
    Tls(#[from] TlsError),
    /// The data is another deployment's.
    #[error("{} belongs to deployment {found}, not to {expected}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: Box<Named>,
        /// Whose it should be.
        expected: Box<Named>,
    },
    /// The log is not as it must be.
    #[error("the log does not open")]
    Log(#[source] LogError),
    /// The state is not as it must be.
    #[error("the state does not open")]
    State(#[from] StateError),
    /// The log could not be folded.
    #[error("the log could not be folded into the state")]
    Recovery(#[from] RecoveryError),
    /// A listener could not be opened.
    #[error(
        "cannot listen on {address}: {source}; is another jcas running? set {setting} to another \
         address, for example JCAS__HTTP__{}=127.0.0.1:0", setting.to_uppercase()
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The setting it came from.
        setting: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The way to other nodes cannot be opened as it is set.
    #[error(transparent)]
    Link(#[from] AmqpError),
    /// The KMS cannot be used as it is set.
    #[error("the KMS cannot be used: {0}")]
    Kms(String),
    /// The operating system refused something.
    #[error("cannot {doing}")]
    System {
        /// What was being done.
        doing: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The first event of this life could not be recorded.
    #[error("the node's start could not be recorded: {0}")]
    NotOpened(String),
}

impl From<LogError> for AppError {
    /// Where it is another deployment's, both are named as far as the data folder tells names.
    fn from(error: LogError) -> Self {
        match error {
            LogError::Foreign { path, found, expected } => {
                let [found, expected] = [found, expected].map(|id| named_near(&path, id).into());
                Self::Foreign { path, found, expected }
            }
            other => Self::Log(other),
        }
    }
}

impl AppError {
    fn system(doing: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::System { doing, source }
    }
}

/// A running node.
pub struct Node {
    /// Where companies call.
    pub company_address: SocketAddr,
    /// Whether they call over TLS.
    pub is_tls: bool,
    /// Where operators call.
    pub operator_address: SocketAddr,
    /// The use cases, for what runs in the same process.
    pub accounts: Arc<Accounts>,
    /// The deployment it is of.
    pub deployment: Arc<Deployment>,
    /// Fires when the node cannot go on.
    pub fatal: watch::Receiver<Option<Ending>>,
    servers: Vec<ServerHandle>,
    checkpointer: Checkpointer,
    indexer: Indexer,
    writer: LogWriter,
    arbiters: Vec<Arbiter>,
    /// Replication, where the node has peers.
    pub replica: Option<Replica>,
    _lock: DataLock,
}

/// The data folder's deployment; one is made where there is none and the settings name no other
/// nodes: whoever has peers forgot to join them, and a second deployment would be of no use to him.
pub fn open_or_init(config: &Config) -> Result<(Deployment, bool), AppError> {
    let folder = data_folder(config);
    match deployment::open(&folder) {
        Err(DeploymentError::NoDeployment { .. }) if config.replication.peers.is_empty() => {
            Ok((init(config, &[])?, true))
        }
        opened => Ok((opened?, false)),
    }
}

/// Makes a new deployment as the settings say, with a bundle for each further node.
pub fn init(config: &Config, further: &[NodeName]) -> Result<Deployment, AppError> {
    let name = config.node.deployment.parse().map_err(|_| AppError::System {
        doing: "use the deployment's name",
        source: std::io::ErrorKind::InvalidInput.into(),
    })?;
    let first = NodeName { region: config.node.region, node: config.node.name };
    let options = InitOptions { name, first, further: further.to_vec() };
    Ok(deployment::init(&data_folder(config), &options, &mut getrandom::fill)?)
}

/// The data folder, from the root.
pub fn data_folder(config: &Config) -> PathBuf {
    std::path::absolute(&config.node.data_dir).unwrap_or_else(|_| config.node.data_dir.clone())
}

impl Node {
    /// Starts a node on a data folder that nobody else uses. Must be called within an actix
    /// system.
    pub async fn start(
        config: &Config,
        listeners: Listeners,
        metrics: Option<Box<dyn Fn() -> String + Send + Sync>>,
    ) -> Result<Self, AppError> {
        let (deployment, made) = open_or_init(config)?;
        if made {
            let name = &deployment.description().deployment.name;
            tracing::info!(%name, folder = %deployment.folder().display(), "made a deployment");
        }
        let wires = Wires::configured(config, deployment.description().node_name());
        Self::start_deployment(config, deployment, listeners, metrics, wires).await
    }

    /// The same with given ways to other nodes instead of the configured ones.
    pub async fn start_wired(
        config: &Config,
        listeners: Listeners,
        metrics: Option<Box<dyn Fn() -> String + Send + Sync>>,
        peers: Vec<NodeName>,
        connect: Connect,
    ) -> Result<Self, AppError> {
        let (deployment, _) = open_or_init(config)?;
        let wires = Wires { peers, connect: Some(connect) };
        Self::start_deployment(config, deployment, listeners, metrics, wires).await
    }

    async fn start_deployment(
        config: &Config,
        deployment: Deployment,
        listeners: Listeners,
        metrics: Option<Box<dyn Fn() -> String + Send + Sync>>,
        wires: Wires,
    ) -> Result<Self, AppError> {
        deployment.check_not_retired()?;
        let data_lock = lock(deployment.folder())?;
        upkeep::remove_leftovers(deployment.folder())?;
        let wall: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let recovered = recover(config, &deployment, &wall, false)?;
        recovered.checkpoint()?;
        let deployment = Arc::new(deployment);
        let clock = NodeClock::starting_after(recovered.greatest, Arc::clone(&wall));
        let (on_fatal, fatal) = ending();
        let (origin, opening) = new_life(&deployment, &recovered);
        // A clock that starts too low must not let older tokens in.
        let now = wall.unix_ms().max(recovered.greatest.unix_ms());
        let tokens = used_tokens(config, &deployment, opening.previous.is_none(), now)?;
        let stopping = Arc::clone(&on_fatal);
        let writer =
            recovered.log.start_writer(origin, Box::new(move |error| stopping(&chain(error))))?;
        let journal = Journal::new(writer.clone(), origin, clock.clone(), Arc::new(OsEntropy));
        let (house, mut arbiters) =
            start_actors(config, &deployment, &recovered, &journal, &on_fatal);
        let opened = house.administer(RegistryCommand::OpenOrigin(opening), Cause::default()).await;
        opened.map_err(|error| AppError::NotOpened(error.to_string()))?;
        let wires = wires.unless_read_only(deployment.folder(), &writer);
        let (known, state_hash) = watch::channel(None);
        let ground = Ground {
            config: &config.replication,
            deployment: &deployment,
            own: origin,
            log: &recovered.log,
            writer: &writer,
            house: &house,
            clock: &clock,
            wall: &wall,
            tokens: &tokens,
            state_hash,
        };
        let (replica, arbiter) = replication::start(ground, wires).await?.unzip();
        let catching_up = CatchingUp::begin(deployment.folder().to_owned(), replica.clone());
        let following = following(config, replica.clone(), origin, &recovered.log);
        let told = feed_and_links(&recovered.log, origin, &house, &journal);
        let (accounts, jobs) =
            make_accounts(config, &deployment, &house, &wall, tokens, following, told)?;
        arbiters.extend(arbiter.into_iter().chain(jobs));
        let (eraser, erasures) = eraser(config, origin, &accounts);
        let checkpoints = Checkpoints {
            store: Arc::clone(&recovered.store),
            folder: recovered.folder,
            generation: recovered.generation,
            log: Arc::clone(&recovered.log),
            clock: clock.clone(),
        };
        let checkpointer = start_checkpointer(config, checkpoints, &house, eraser)?;
        let indexer = Indexer::start(&recovered.log).map_err(AppError::system("start a thread"))?;
        let gauge_clock = clock.clone();
        let log = Arc::clone(&recovered.log);
        let hashes = Arc::new(StateHashes { log, store: recovered.store, house, known });
        let every = Duration::from_mins(config.replication.compare_minutes);
        if let Some(replica) = replica.clone().filter(|_| !every.is_zero()) {
            actix::spawn(Arc::clone(&hashes).run(replica, every));
        }
        let health = Arc::new(NodeHealth {
            log: Arc::clone(&recovered.log),
            clock,
            accounts: Arc::clone(&accounts),
            tls: listeners.tls.clone(),
            deployment: Arc::clone(&deployment),
            own: origin,
            replica: replica.clone(),
            hashes,
            catching_up,
        });
        keep_fresh(listeners.tls.as_ref(), Duration::from_secs(config.http.tls.reload_s));
        let gauges = Gauges::new(Arc::clone(&recovered.log), gauge_clock, Arc::clone(&accounts))
            .with_tls(listeners.tls.clone())
            .with_replica(replica.clone())
            .with_erasures(erasures);
        if config.metrics.enabled {
            actix::spawn(gauges.run(Duration::from_secs(config.metrics.sample_s)));
        }
        actix::spawn(keep_keys(Arc::clone(&accounts), config.keys.clone()));
        let api = make_api(config, &deployment, &accounts, health, metrics)?;
        let (company_address, operator_address) = addresses(&listeners)?;
        let is_tls = listeners.tls.is_some();
        let servers = serve(config, &web::Data::new(api), listeners)?;
        Ok(Self {
            company_address,
            is_tls,
            operator_address,
            accounts,
            deployment,
            fatal,
            servers,
            checkpointer,
            indexer,
            writer,
            arbiters,
            replica,
            _lock: data_lock,
        })
    }

    /// Where companies call, as they write it.
    pub fn company_url(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}", self.company_address)
    }

    /// Stops: calls under way are finished, a last checkpoint is taken, the log is closed.
    pub async fn stop(self) -> Result<(), AppError> {
        self.accounts.stop_waiting();
        for server in &self.servers {
            server.stop(true).await;
        }
        if let Some(replica) = &self.replica {
            replica.stop().await;
        }
        let (checkpointer, indexer) = (self.checkpointer, self.indexer);
        let finished = tokio::task::spawn_blocking(move || {
            indexer.finish();
            checkpointer.finish()
        });
        let finished = finished.await;
        self.writer.close();
        for arbiter in &self.arbiters {
            arbiter.stop();
        }
        self.accounts.pool().shutdown();
        Ok(finished.unwrap_or(Ok(()))?)
    }
}

/// How writes are followed to other nodes.
fn following(config: &Config, replica: Option<Replica>, own: Origin, log: &Arc<Log>) -> Following {
    let log = Arc::clone(log);
    Following {
        replica,
        region: own.region,
        recorded: Arc::new(move || log.chain_end(&own).map_or(0, |end| end.sequence)),
        wait_region: Duration::from_millis(config.replication.wait_ms),
        wait_all: Duration::from_millis(config.replication.wait_all_ms),
    }
}

/// The log's folder in a data folder.
pub fn log_folder(data: &Path) -> PathBuf {
    data.join(LOG_FOLDER)
}
