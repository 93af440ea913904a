//! The parts of a node, put together as the settings say.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use actix::{Actor, Arbiter};
use tokio::sync::watch;

use crate::accounts::guessing::{Rules, Schedule};
use crate::accounts::limits::{Rate, Rates};
use crate::accounts::replication::Following;
use crate::accounts::signing::AnswerKeys;
use crate::accounts::sync::upload::UploadParts;
use crate::accounts::sync::{Bounds, SyncParts};
use crate::accounts::vault::{Vault, VaultParts};
use crate::accounts::{Accounts, AccountsParts, Settings};
use crate::actors::checkpointer::{CheckpointParts, Checkpointer, Checkpoints};
use crate::actors::directory::Directory;
use crate::actors::eraser::{Eraser, ErasureRules, ErasureView, Memory};
use crate::actors::feed::Feed;
use crate::actors::house::{House, ShardAddress};
use crate::actors::journal::Journal;
use crate::actors::known::Known;
use crate::actors::linker::Linker;
use crate::actors::registry::{Registry, RegistryParts, RegistryView};
use crate::actors::shard::{OnFatal, ShardParts};
use crate::actors::shard_mailbox::Shard;
use crate::actors::sync_job::JobHome;
use crate::clock::{Clock, OsEntropy, random};
use crate::config::Config;
use crate::config::erasure::ErasureConfig;
use crate::config::guessing::GuessingConfig;
use crate::config::limits::LimitsConfig;
use crate::config::sync::SyncConfig;
use crate::crypto::blind::IndexKey;
use crate::crypto::legacy::Limits;
use crate::crypto::pool::{Budget, HashPool, PoolConfig};
use crate::crypto::secret::Cost;
use crate::deployment::Deployment;
use crate::deployment::token::operator_token;
use crate::events::event::OriginOpened;
use crate::events::ids::UserId;
use crate::events::stamp::Origin;
use crate::files::Disk;
use crate::health::NodeHealth;
use crate::http::api::Api;
use crate::log::Log;
use crate::spool::Spool;
use crate::tokens::{Start, UsedTokens, boot_id};

use super::{AppError, TOKENS_FOLDER, keys};
use crate::actors::recovery::Recovered;
use crate::tls::Tls;

/// A new life of this node, and the event that opens it.
pub(super) fn new_life(deployment: &Deployment, recovered: &Recovered) -> (Origin, OriginOpened) {
    let description = deployment.description();
    let tag = random(&OsEntropy).map(u32::from_be_bytes).unwrap_or_default();
    let (origin, previous) = recovered.next_life(description.region, description.node, tag);
    let verifying =
        crate::deployment::names::VerifyingKey::of_seed(deployment.region_signing_seed().expose());
    (origin, OriginOpened { previous, verifying_key: *verifying.as_bytes() })
}

pub(super) fn start_actors(
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
        let known = Arc::new(Known::new(config.actors.cached_users.div_ceil(shards)));
        let parts = ShardParts {
            store: Arc::clone(&recovered.store),
            reader: recovered.log.reader(),
            journal: journal.clone(),
            waiting_per_user_max: config.actors.pending_per_user,
            known: Arc::clone(&known),
            on_fatal: Arc::clone(on_fatal),
        };
        let shard = Shard::new(parts, config.actors.shard_mailbox);
        let mailbox = Shard::start_in_arbiter(&home, |_| shard);
        shard_addresses.push(ShardAddress { mailbox, known });
    }
    let directory = Directory::new(Arc::clone(&recovered.store), config.actors.pending_per_user);
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
    let read = (Arc::clone(&recovered.store), recovered.log.reader());
    (House::new(shard_addresses, directory, (registry, view), read), arbiters)
}

/// The log as companies hear of it, and what records links.
pub(super) fn feed_and_links(
    log: &Arc<Log>,
    own: Origin,
    house: &House,
    journal: &Journal,
) -> (Arc<Feed>, Linker) {
    let feed = Arc::new(Feed::new(Arc::clone(log), own, house.clone()));
    let bell = feed.bell();
    journal.log().on_durable(move || bell.notify_one());
    let absorbing = house.clone();
    let absorb = Arc::new(move |sorted, absorbed: &_| absorbing.absorb(sorted, absorbed));
    (feed, Linker::new(journal.clone(), absorb))
}

pub(super) fn make_accounts(
    config: &Config,
    deployment: &Deployment,
    house: &House,
    wall: &Arc<dyn Clock>,
    tokens: Arc<UsedTokens>,
    following: Following,
    (feed, linker): (Arc<Feed>, Linker),
) -> Result<(Arc<Accounts>, Vec<Arbiter>), AppError> {
    let description = deployment.description();
    let day_ms = 24 * 60 * 60 * 1000;
    let vault = Vault::new(VaultParts {
        deployment: description.deployment.id,
        origin: feed.own(),
        kms: keys::kms(config, deployment, wall)?,
        regions: description.deployment.active_regions().map(|keys| keys.region).collect(),
        records: Arc::new(house.clone()),
        clock: Arc::clone(wall),
        cached_users: config.keys.user_key_cache_entries,
        branch_lifetime_ms: u64::from(config.keys.branch_key_days) * day_ms,
        branch_kept: Duration::from_mins(config.keys.branch_key_minutes),
    });
    let at_least_one =
        |count| std::num::NonZeroUsize::new(count).unwrap_or(std::num::NonZeroUsize::MIN);
    let pool = HashPool::start(PoolConfig {
        threads: at_least_one(cores(config.hash.threads)),
        lanes: at_least_one(config.hash.lanes),
        queue: at_least_one(config.hash.queue_jobs),
        max_wait: Duration::from_millis(config.hash.max_wait_ms),
    })
    .map_err(AppError::system("start the hash pool"))?;
    let renumberings = &config.phone.renumberings;
    let settings = Settings {
        cost: Cost::new(config.hash.bcrypt_cost).map_err(|_| AppError::System {
            doing: "use the bcrypt cost",
            source: std::io::ErrorKind::InvalidInput.into(),
        })?,
        limits: Limits {
            argon2_kib: config.hash.argon2_max_mib.saturating_mul(1024),
            pbkdf2_iterations: config.hash.pbkdf2_max_iterations,
        },
        verify_budget: Budget::from_millis(
            u32::try_from(config.hash.verify_budget_ms).unwrap_or(u32::MAX),
        ),
        failure_quantum: Duration::from_millis(config.hash.failure_quantum_ms),
        renumberings: renumberings.iter().map(|it| (it.from.clone(), it.to.clone())).collect(),
        guessing: guessing_rules(&config.guessing),
        rates: rates(&config.limits),
    };
    let parts = AccountsParts {
        house: house.clone(),
        vault,
        pool,
        index_key: index_key(deployment),
        tokens,
        following,
        feed,
        linker,
        clock: Arc::clone(wall),
        entropy: Arc::new(OsEntropy),
        settings,
    };
    let (sync, arbiters) = sync_parts(config, deployment)?;
    let accounts = Arc::new(Accounts::new(parts, sync));
    accounts.find_syncs();
    accounts.find_uploads();
    actix::spawn(Arc::clone(&accounts).keep_uploads());
    actix::spawn(Arc::clone(&accounts).keep_syncs());
    actix::spawn(Arc::clone(&accounts).follow_changes());
    Ok((accounts, arbiters))
}

/// What carries erasures out on this node, and where it shows how they stand.
pub(super) fn eraser(
    config: &Config,
    own: Origin,
    accounts: &Arc<Accounts>,
) -> (Eraser, Arc<ErasureView>) {
    let ErasureConfig { grace_hours, users_per_hour, rebuild_minutes } = config.erasure;
    let (forgetting, view) = (Arc::clone(accounts), Arc::new(ErasureView::default()));
    let syncing = Arc::clone(accounts);
    let eraser = Eraser {
        own: own.name(),
        house: accounts.house().clone(),
        rules: ErasureRules {
            grace_ms: grace_hours.saturating_mul(60 * 60 * 1000),
            per_hour: users_per_hour,
            rebuild_every: Duration::from_secs(rebuild_minutes.saturating_mul(60)),
            fill_percent: u8::try_from(config.log.stop_percent).unwrap_or(100),
        },
        forget: Arc::new(move |user| forgetting.vault().forget(user)),
        rows_since: Arc::new(move || syncing.sync_rows_since()),
        forget_in_verdicts: forget_in_verdicts(accounts),
        view: Arc::clone(&view),
        memory: Memory::default(),
    };
    (eraser, view)
}

/// Runs where the node's other work does: the thread that erases has no timers.
fn forget_in_verdicts(
    accounts: &Arc<Accounts>,
) -> Arc<dyn Fn(BTreeSet<UserId>) -> bool + Send + Sync> {
    let (accounts, runtime) = (Arc::clone(accounts), tokio::runtime::Handle::current());
    Arc::new(move |users| {
        let (accounts, (said, heard)) = (Arc::clone(&accounts), mpsc::channel());
        runtime.spawn(async move {
            let done = accounts.forget_in_verdicts(users).await;
            if let Err(error) = &done {
                tracing::warn!(%error, "verdicts of bulk syncs still name who was erased");
            }
            // Nobody waits any more where the node stops.
            let _unheard = said.send(done.is_ok());
        });
        heard.recv().unwrap_or(false)
    })
}

/// Starts what takes checkpoints and carries erasures out.
pub(super) fn start_checkpointer(
    config: &Config,
    checkpoints: Checkpoints,
    house: &House,
    eraser: Eraser,
) -> Result<Checkpointer, AppError> {
    let every = Duration::from_secs(config.state.checkpoint_s);
    let every_events = config.state.checkpoint_events;
    let parts = CheckpointParts { checkpoints, house: house.clone(), every, every_events, eraser };
    Checkpointer::start(parts).map_err(AppError::system("start the checkpoint thread"))
}

/// The signed tokens that earlier lives of the node took.
pub(super) fn used_tokens(
    config: &Config,
    deployment: &Deployment,
    first_life: bool,
    now: u64,
) -> Result<Arc<UsedTokens>, AppError> {
    let max = config.http.signed_calls_remembered;
    let start = Start { now, boot: boot_id(), first_life, max };
    let opened = UsedTokens::open(Arc::new(Disk), deployment.folder().join(TOKENS_FOLDER), start);
    opened.map(Arc::new).map_err(AppError::system("open the folder of used tokens"))
}

/// Where the rows and verdicts of bulk syncs lie in a data folder.
const SYNC_FOLDER: &str = "sync";

/// Where, below that, rows lie that come in parts.
const UPLOADS_FOLDER: &str = "uploads";

/// What bulk syncs are made of, and the threads that their jobs share.
fn sync_parts(
    config: &Config,
    deployment: &Deployment,
) -> Result<(SyncParts, Vec<Arbiter>), AppError> {
    let SyncConfig { company_mib, total_mib, lines_max, .. } = config.sync;
    let day_ms = 24 * 60 * 60 * 1000;
    let bounds = Bounds {
        company_bytes: company_mib << 20,
        total_bytes: total_mib << 20,
        lines: lines_max,
        at_once: config.sync.jobs_at_once,
        company_at_once: config.sync.company_jobs_at_once,
        company_jobs: config.sync.company_jobs,
        in_flight: config.sync.rows_at_once,
        keep_ms: u64::from(config.sync.keep_days) * day_ms,
        upload: Duration::from_secs(config.sync.upload_s),
        fill_percent: u8::try_from(config.log.stop_percent).unwrap_or(100),
    };
    let description = deployment.description();
    let folder = deployment.folder().join(SYNC_FOLDER);
    let open = |folder: PathBuf| {
        let spool = Spool::open(Arc::new(Disk), folder, description.deployment.id.0);
        spool.map(Arc::new).map_err(AppError::system("open the folder of bulk syncs"))
    };
    let (spool, parts) = (open(folder.clone())?, open(folder.join(UPLOADS_FOLDER))?);
    let keep_ms = u64::from(config.sync.upload_hours) * 60 * 60 * 1000;
    let uploads = UploadParts { spool: parts, keep_ms };
    let first = Arbiter::new();
    let mut arbiters: Vec<_> = (1..cores(0)).map(|_| Arbiter::new()).collect();
    let home = JobHome::new(&first, &arbiters);
    arbiters.push(first);
    Ok((SyncParts { spool, uploads, home, node: description.node, bounds }, arbiters))
}

fn guessing_rules(config: &GuessingConfig) -> Rules {
    let schedule = Schedule {
        free: config.free_failures,
        first_delay: Duration::from_millis(config.first_delay_ms),
        longest_delay: Duration::from_secs(config.longest_delay_s),
        at_once: config.attempts_at_once,
        pause: Duration::from_secs(config.pause_s),
    };
    let (count, burst) = (config.client_failures_per_minute, config.client_failures_burst);
    Rules {
        schedule,
        failures_max: config.failures_max,
        client: Rate::new(count, Duration::from_mins(1), burst),
        tracked: config.tracked,
        known_clients: config.known_clients,
    }
}

fn rates(config: &LimitsConfig) -> Rates {
    let (second, minute) = (Duration::from_secs(1), Duration::from_mins(1));
    Rates {
        calls: Rate::new(config.calls_per_second, second, config.calls_burst),
        misses: Rate::new(config.misses_per_minute, minute, config.misses_burst),
        claims: Rate::new(config.claims_per_second, second, config.claims_burst),
        failed_logins: Rate::new(
            config.failed_logins_per_second,
            second,
            config.failed_logins_burst,
        ),
    }
}

pub(super) fn index_key(deployment: &Deployment) -> IndexKey {
    IndexKey::from_bytes(deployment.index_key_version(), *deployment.index_key().expose())
}

pub(super) fn make_api(
    config: &Config,
    deployment: &Deployment,
    accounts: &Arc<Accounts>,
    health: Arc<NodeHealth>,
    metrics: Option<Box<dyn Fn() -> String + Send + Sync>>,
) -> Result<Api, AppError> {
    let token = operator_token(deployment.folder())?;
    let description = deployment.description();
    let (name, region) = (&description.deployment.name, description.region);
    let seed = deployment.region_signing_seed();
    Ok(Api {
        accounts: Arc::clone(accounts),
        deployment: name.to_string(),
        region,
        audiences: [format!("jcas:{name}"), format!("jcas:{region}")],
        answer_keys: AnswerKeys::derive(seed.expose(), config.keys.answer_key),
        health: health.clone(),
        metrics,
        operator_token: token.expose().to_owned(),
        operations: health,
    })
}

/// How many threads a setting means: zero is one for each core.
pub(super) fn cores(setting: usize) -> usize {
    match setting {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get),
        threads => threads,
    }
}

/// Looks for a newer certificate from now on, where there is one.
pub(super) fn keep_fresh(tls: Option<&Arc<Tls>>, every: Duration) {
    let Some(tls) = tls else { return };
    if tls.snapshot().expires_in_ms <= 0 {
        tracing::error!("the certificate has expired: callers that check will refuse it");
    }
    actix::spawn(Arc::clone(tls).watch(every));
}
