//! The composition root: builds a node from its settings, runs it, stops it.
//!
//! ```text
//! lock the folder -> deployment -> log (a torn tail is cut) -> state (opened or rebuilt)
//!   -> fold what came after the checkpoint -> a new life -> actors -> listeners
//! ```
//!
//! Everything is stopped in the opposite order, and a last checkpoint makes the next start short.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Arbiter};
use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer, web};
use tokio::sync::watch;

use crate::accounts::vault::{Vault, VaultParts};
use crate::accounts::{Accounts, AccountsParts, Settings};
use crate::actors::checkpointer::{CheckpointParts, Checkpointer, Checkpoints};
use crate::actors::directory::Directory;
use crate::actors::house::House;
use crate::actors::journal::{Journal, chain};
use crate::actors::recovery::{self, Recovered, RecoveryError};
use crate::actors::registry::{Registry, RegistryParts, RegistryView};
use crate::actors::shard::{OnFatal, Shard, ShardParts};
use crate::clock::{Clock, NodeClock, OsEntropy, SystemClock, random};
use crate::config::Config;
use crate::crypto::blind::IndexKey;
use crate::crypto::pool::{Budget, HashPool, PoolConfig};
use crate::crypto::secret::Cost;
use crate::deployment::error::DeploymentError;
use crate::deployment::lock::{DataLock, lock};
use crate::deployment::token::operator_token;
use crate::deployment::{self, Deployment, InitOptions};
use crate::events::decide_registry::RegistryCommand;
use crate::events::event::{Cause, OriginOpened};
use crate::events::stamp::Origin;
use crate::files::{Disk, Files};
use crate::gauges::Gauges;
use crate::health::NodeHealth;
use crate::http::api::Api;
use crate::http::body::BodyLimit;
use crate::http::operator::operator_routes;
use crate::http::{company_routes, frame};
use crate::log::{Log, LogError, LogOptions, LogWriter};
use crate::state::error::StateError;
use crate::state::folder::StateFolder;

/// Where the log lies in a data folder.
pub const LOG_FOLDER: &str = "log";

/// Where the state lies in a data folder.
pub const STATE_FOLDER: &str = "state";

/// Why a node did not start or stop.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The deployment's files are not as they must be.
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
    /// The log is not as it must be.
    #[error("the log does not open")]
    Log(#[from] LogError),
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

impl AppError {
    fn system(doing: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::System { doing, source }
    }
}

/// The listeners of a node, opened before it starts so that a port in use is known at once.
pub struct Listeners {
    /// For companies.
    pub company: TcpListener,
    /// For operators.
    pub operator: TcpListener,
}

impl Listeners {
    /// Opens both.
    pub fn bind(config: &Config) -> Result<Self, AppError> {
        let bind = |address, setting| {
            TcpListener::bind(address).map_err(|source| AppError::Listen {
                address,
                setting,
                source,
            })
        };
        Ok(Self {
            company: bind(config.http.listen, "listen")?,
            operator: bind(config.http.operator_listen, "operator_listen")?,
        })
    }
}

/// A running node.
pub struct Node {
    /// Where companies call.
    pub company_address: SocketAddr,
    /// Where operators call.
    pub operator_address: SocketAddr,
    /// The use cases, for what runs in the same process.
    pub accounts: Arc<Accounts>,
    /// The deployment it is of.
    pub deployment: Arc<Deployment>,
    /// Fires once when the node cannot go on.
    pub fatal: watch::Receiver<Option<String>>,
    servers: Vec<ServerHandle>,
    checkpointer: Checkpointer,
    writer: LogWriter,
    arbiters: Vec<Arbiter>,
    _lock: DataLock,
}

/// The data folder's deployment; one is made where there is none.
pub fn open_or_init(config: &Config) -> Result<(Deployment, bool), AppError> {
    let folder = data_folder(config);
    match deployment::open(&folder) {
        Err(DeploymentError::NoDeployment { .. }) => Ok((init(config)?, true)),
        opened => Ok((opened?, false)),
    }
}

/// Makes a new deployment as the settings say.
pub fn init(config: &Config) -> Result<Deployment, AppError> {
    let name = config.node.deployment.parse().map_err(|_| AppError::System {
        doing: "use the deployment's name",
        source: std::io::ErrorKind::InvalidInput.into(),
    })?;
    let options = InitOptions { name, region: config.node.region, node: config.node.name };
    Ok(deployment::init(&data_folder(config), options, &mut getrandom::fill)?)
}

/// The data folder, from the root.
pub fn data_folder(config: &Config) -> PathBuf {
    std::path::absolute(&config.node.data_dir).unwrap_or_else(|_| config.node.data_dir.clone())
}

/// Opens the log and brings the state up to it. `rebuild` folds everything anew.
pub fn recover(
    config: &Config,
    deployment: &Deployment,
    clock: &Arc<dyn Clock>,
    rebuild: bool,
) -> Result<Recovered, AppError> {
    let files: Arc<dyn Files> = Arc::new(Disk);
    let data = deployment.folder().to_owned();
    let id = deployment.description().deployment.id;
    let monotonic = Arc::clone(clock);
    let options = LogOptions {
        segment_bytes: u32::try_from(config.log.segment_mib << 20).unwrap_or(u32::MAX),
        warn_percent: u8::try_from(config.log.warn_percent).unwrap_or(100),
        stop_percent: u8::try_from(config.log.stop_percent).unwrap_or(100),
        queue_appends: config.log.queue_events,
        ..LogOptions::new(id, Arc::new(move || monotonic.monotonic()))
    };
    let (log, opened) = Log::open(Arc::clone(&files), &data.join(LOG_FOLDER), options)?;
    if opened.cut_bytes > 0 {
        tracing::warn!(bytes = opened.cut_bytes, "cut what a crash left unfinished in the log");
    }
    let folder = StateFolder::open(&data.join(STATE_FOLDER), files, config.state.cache_mib << 20)?;
    let mut progress = Progress::default();
    let told = |records| progress.tell(records);
    Ok(recovery::recover(log, &opened, folder, rebuild, told)?)
}

/// Says from time to time how far a long fold is.
#[derive(Default)]
struct Progress {
    told: u64,
}

impl Progress {
    fn tell(&mut self, records: u64) {
        if records >= self.told + 250_000 {
            self.told = records;
            tracing::info!(records, "folding the log");
        }
    }
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
        Self::start_deployment(config, deployment, listeners, metrics).await
    }

    async fn start_deployment(
        config: &Config,
        deployment: Deployment,
        listeners: Listeners,
        metrics: Option<Box<dyn Fn() -> String + Send + Sync>>,
    ) -> Result<Self, AppError> {
        let data_lock = lock(deployment.folder())?;
        let wall: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let recovered = recover(config, &deployment, &wall, false)?;
        recovered.checkpoint()?;
        let deployment = Arc::new(deployment);
        let clock = NodeClock::starting_after(recovered.greatest, Arc::clone(&wall));
        let (fatal_sender, fatal) = watch::channel(None);
        let on_fatal: OnFatal = Arc::new(move |error| {
            let error = error.to_string();
            tracing::error!(error, "the node cannot go on and stops");
            fatal_sender.send_replace(Some(error));
        });
        let (origin, opening) = new_life(&deployment, &recovered);
        let stopping = Arc::clone(&on_fatal);
        let writer =
            recovered.log.start_writer(origin, Box::new(move |error| stopping(&chain(error))))?;
        let journal = Journal::new(writer.clone(), origin, clock.clone(), Arc::new(OsEntropy));
        let (house, arbiters) = start_actors(config, &deployment, &recovered, &journal, &on_fatal);
        let opened = house.administer(RegistryCommand::OpenOrigin(opening), Cause::default()).await;
        opened.map_err(|error| AppError::NotOpened(error.to_string()))?;
        let accounts = Arc::new(make_accounts(config, &deployment, &house, origin, &wall)?);
        let checkpointer = Checkpointer::start(CheckpointParts {
            checkpoints: Checkpoints {
                store: Arc::clone(&recovered.store),
                folder: recovered.folder,
                generation: recovered.generation,
                log: Arc::clone(&recovered.log),
                clock: clock.clone(),
            },
            house: house.clone(),
            every: Duration::from_secs(config.state.checkpoint_s),
            every_events: config.state.checkpoint_events,
        })
        .map_err(AppError::system("start the checkpoint thread"))?;
        let gauge_clock = clock.clone();
        let health = Arc::new(NodeHealth {
            log: Arc::clone(&recovered.log),
            store: recovered.store,
            clock,
            accounts: Arc::clone(&accounts),
        });
        if metrics.is_some() {
            let gauges =
                Gauges::new(Arc::clone(&recovered.log), gauge_clock, Arc::clone(&accounts));
            actix::spawn(gauges.run(Duration::from_secs(config.metrics.sample_s)));
        }
        let api = make_api(&deployment, &accounts, health, metrics)?;
        let (company_address, operator_address) = addresses(&listeners)?;
        let servers = serve(config, web::Data::new(api), listeners)?;
        Ok(Self {
            company_address,
            operator_address,
            accounts,
            deployment,
            fatal,
            servers,
            checkpointer,
            writer,
            arbiters,
            _lock: data_lock,
        })
    }

    /// Stops: calls under way are finished, a last checkpoint is taken, the log is closed.
    pub async fn stop(self) -> Result<(), AppError> {
        for server in &self.servers {
            server.stop(true).await;
        }
        let finished = tokio::task::spawn_blocking(move || self.checkpointer.finish()).await;
        self.writer.close();
        for arbiter in &self.arbiters {
            arbiter.stop();
        }
        self.accounts.pool().shutdown();
        Ok(finished.unwrap_or(Ok(()))?)
    }
}

/// A new life of this node, and the event that opens it.
fn new_life(deployment: &Deployment, recovered: &Recovered) -> (Origin, OriginOpened) {
    let description = deployment.description();
    let tag = random(&OsEntropy).map(u32::from_be_bytes).unwrap_or_default();
    let (origin, previous) = recovered.next_life(description.region, description.node, tag);
    let verifying =
        crate::deployment::names::VerifyingKey::of_seed(deployment.region_signing_seed().expose());
    (origin, OriginOpened { previous, verifying_key: *verifying.as_bytes() })
}

fn start_actors(
    config: &Config,
    deployment: &Deployment,
    recovered: &Recovered,
    journal: &Journal,
    on_fatal: &OnFatal,
) -> (House, Vec<Arbiter>) {
    let cores = cores(0);
    let arbiters: Vec<_> = (0..cores).map(|_| Arbiter::new()).collect();
    let mut homes = arbiters.iter().map(Arbiter::handle).cycle();
    let shards = usize::from(deployment.description().deployment.shards.get());
    let mut shard_addresses = Vec::with_capacity(shards);
    for home in homes.by_ref().take(shards) {
        let parts = ShardParts {
            store: Arc::clone(&recovered.store),
            reader: recovered.log.reader(),
            journal: journal.clone(),
            waiting_per_user_max: config.actors.pending_per_user,
            on_fatal: Arc::clone(on_fatal),
        };
        let shard = Shard::new(parts, config.actors.shard_mailbox);
        shard_addresses.push(Shard::start_in_arbiter(&home, |_| shard));
    }
    let mut directories = Vec::with_capacity(cores);
    for home in homes.by_ref().take(cores) {
        let store = Arc::clone(&recovered.store);
        let waiting_max = config.actors.pending_per_user;
        let directory = Directory::new(store, waiting_max, config.actors.directory_mailbox);
        directories.push(Directory::start_in_arbiter(&home, |_| directory));
    }
    let (published, view) = watch::channel(Arc::new(RegistryView::default()));
    let registry = Registry::new(
        RegistryParts {
            store: Arc::clone(&recovered.store),
            journal: journal.clone(),
            state: recovered.registry.clone(),
            published,
            on_fatal: Arc::clone(on_fatal),
        },
        config.actors.shard_mailbox,
    );
    let registry = match homes.next() {
        Some(home) => Registry::start_in_arbiter(&home, |_| registry),
        None => registry.start(),
    };
    (House::new(shard_addresses, directories, registry, view), arbiters)
}

fn make_accounts(
    config: &Config,
    deployment: &Deployment,
    house: &House,
    origin: Origin,
    wall: &Arc<dyn Clock>,
) -> Result<Accounts, AppError> {
    let description = deployment.description();
    let day_ms = 24 * 60 * 60 * 1000;
    let vault = Vault::new(VaultParts {
        deployment: description.deployment.id,
        origin,
        kms: Arc::new(deployment.local_kms()),
        regions: description.deployment.regions.iter().map(|keys| keys.region).collect(),
        house: house.clone(),
        clock: Arc::clone(wall),
        cached_users: config.keys.user_key_cache_entries,
        branch_lifetime_ms: u64::from(config.keys.branch_key_days) * day_ms,
    });
    let at_least_one =
        |count| std::num::NonZeroUsize::new(count).unwrap_or(std::num::NonZeroUsize::MIN);
    let pool = HashPool::start(PoolConfig {
        threads: at_least_one(cores(config.hash.threads)),
        queue: at_least_one(config.hash.queue_jobs),
    })
    .map_err(AppError::system("start the hash pool"))?;
    let renumberings = &config.phone.renumberings;
    let settings = Settings {
        cost: Cost::new(config.hash.bcrypt_cost).map_err(|_| AppError::System {
            doing: "use the bcrypt cost",
            source: std::io::ErrorKind::InvalidInput.into(),
        })?,
        verify_budget: Budget::from_millis(
            u32::try_from(config.hash.verify_budget_ms).unwrap_or(u32::MAX),
        ),
        failure_quantum: Duration::from_millis(config.hash.failure_quantum_ms),
        renumberings: renumberings.iter().map(|it| (it.from.clone(), it.to.clone())).collect(),
    };
    Ok(Accounts::new(AccountsParts {
        house: house.clone(),
        vault,
        pool,
        index_key: index_key(deployment),
        clock: Arc::clone(wall),
        entropy: Arc::new(OsEntropy),
        settings,
    }))
}

fn index_key(deployment: &Deployment) -> IndexKey {
    let key = deployment.index_key();
    IndexKey::from_bytes(key.version, *key.secret.expose())
}

fn make_api(
    deployment: &Deployment,
    accounts: &Arc<Accounts>,
    health: Arc<NodeHealth>,
    metrics: Option<Box<dyn Fn() -> String + Send + Sync>>,
) -> Result<Api, AppError> {
    let token = operator_token(deployment.folder())?;
    Ok(Api {
        accounts: Arc::clone(accounts),
        index_key: index_key(deployment),
        deployment: deployment.description().deployment.name.to_string(),
        region: deployment.description().region,
        health: health.clone(),
        metrics,
        operator_token: token.expose().to_owned(),
        operations: health,
    })
}

fn addresses(listeners: &Listeners) -> Result<(SocketAddr, SocketAddr), AppError> {
    let of = |listener: &TcpListener| {
        listener.local_addr().map_err(AppError::system("read a listener's address"))
    };
    Ok((of(&listeners.company)?, of(&listeners.operator)?))
}

fn serve(
    config: &Config,
    api: web::Data<Api>,
    listeners: Listeners,
) -> Result<Vec<ServerHandle>, AppError> {
    let http = &config.http;
    let limit = BodyLimit(http.body_limit_kib * 1024);
    let workers = cores(http.workers);
    let operator_api = api.clone();
    let company = HttpServer::new(move || {
        App::new()
            .app_data(api.clone())
            .app_data(limit)
            .wrap(actix_web::middleware::from_fn(frame::frame))
            .configure(company_routes)
    })
    .workers(workers)
    .max_connections(http.max_connections.div_ceil(workers))
    .client_request_timeout(Duration::from_secs(http.client_request_s))
    .keep_alive(Duration::from_secs(http.keep_alive_s))
    .shutdown_timeout(http.shutdown_s)
    .disable_signals()
    .listen(listeners.company)
    .map_err(AppError::system("serve companies"))?
    .run();
    let operator = HttpServer::new(move || {
        App::new()
            .app_data(operator_api.clone())
            .app_data(limit)
            .wrap(actix_web::middleware::from_fn(frame::frame))
            .configure(operator_routes)
    })
    .workers(1)
    .shutdown_timeout(http.shutdown_s)
    .disable_signals()
    .listen(listeners.operator)
    .map_err(AppError::system("serve operators"))?
    .run();
    let handles = vec![company.handle(), operator.handle()];
    actix::spawn(async move {
        drop(company.await);
    });
    actix::spawn(async move {
        drop(operator.await);
    });
    Ok(handles)
}

/// How many threads a setting means: zero is one for each core.
fn cores(setting: usize) -> usize {
    match setting {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get),
        threads => threads,
    }
}

/// The log's folder in a data folder.
pub fn log_folder(data: &Path) -> PathBuf {
    data.join(LOG_FOLDER)
}
