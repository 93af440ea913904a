//! The replication of a node, put together: engines, actor, and what they need of the house.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actix::Arbiter;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::actors::House;
use crate::actors::answers::Answers;
use crate::actors::inbox::{InboxEngine, InboxParts};
use crate::actors::parked::Parked;
use crate::actors::publisher::PublisherEngine;
use crate::actors::reconciler::{Pace, ReconcilerEngine};
use crate::actors::replica::{self, Replica, ReplicaParts};
use crate::actors::replicas::Replicas;
use crate::actors::runs::RunReader;
use crate::clock::{Clock, NodeClock};
use crate::config::Config;
use crate::config::replication::ReplicationConfig;
use crate::crypto::seals::{SealVerifier, Sealer, operator_signed};
use crate::deployment::{Deployment, read_only};
use crate::events::ids::{Digest, NodeName};
use crate::events::message::UsedToken;
use crate::events::record::LogPosition;
use crate::events::stamp::Origin;
use crate::log::{Log, LogWriter, Vector};
use crate::replication::amqp::{AmqpLink, AmqpSettings, CONFIRM_LIMIT};
use crate::replication::link::{Delivery, Link};
use crate::tokens::{Token, UsedTokens};

use super::AppError;

pub use crate::replication::memory::MemoryHub;

/// Where the publisher's cursor lies in a data folder.
pub(super) const REPLICATION_FOLDER: &str = "replication";

/// The file of the cursor.
pub(super) const CURSOR_FILE: &str = "cursor";

/// Messages of other nodes that wait for this one's inbox; more stay at the brokers.
const DELIVERIES_MAX: usize = 64;

/// How often the cursor is written at most: what was published since goes again after a kill.
const CURSOR_EVERY: Duration = Duration::from_secs(1);

/// A way to the other nodes, opened: the link and what comes by it.
pub struct Wire {
    /// The link.
    pub link: Arc<dyn Link>,
    /// What comes.
    pub incoming: mpsc::Receiver<Delivery>,
}

/// Opens a link on the runtime that it is to run on.
pub type Connect = Box<dyn FnOnce() -> Result<Wire, AppError> + Send>;

/// The ways to other nodes.
pub(super) struct Wires {
    pub(super) peers: Vec<NodeName>,
    /// None: this node is alone.
    pub(super) connect: Option<Connect>,
}

impl Wires {
    /// Those of the settings: by brokers, where there are other nodes.
    pub(super) fn configured(config: &Config, own: NodeName) -> Self {
        let peers = config.replication.peers.iter().copied().filter(|peer| *peer != own);
        let peers: Vec<_> = peers.collect();
        let settings = amqp_settings(&config.replication, own);
        let connect: Connect = Box::new(move || {
            let (deliveries, incoming) = mpsc::channel(DELIVERIES_MAX);
            let link = AmqpLink::start(&settings, &deliveries)?;
            Ok(Wire { link: Arc::new(link), incoming })
        });
        Self { connect: (!peers.is_empty()).then_some(connect), peers }
    }

    /// None, where the data folder says that the node is read-only; the log then takes nothing
    /// more.
    pub(super) fn unless_read_only(self, folder: &Path, writer: &LogWriter) -> Self {
        if !read_only::is_marked(folder) {
            return self;
        }
        tracing::warn!("filled from an export without keys: no writes, no other nodes");
        writer.forbid();
        Self { peers: Vec::new(), connect: None }
    }
}

fn amqp_settings(config: &ReplicationConfig, own: NodeName) -> AmqpSettings {
    AmqpSettings {
        own,
        peers: config.peers.clone(),
        brokers: config.brokers.iter().map(|it| (it.region, it.url.clone())).collect(),
        credentials_file: config.credentials_file.clone(),
        ca_file: config.ca_file.clone(),
        queue_bytes: config.queue_mib << 20,
        keep: Duration::from_hours(config.queue_hours),
        prefetch: u16::try_from(config.prefetch).unwrap_or(u16::MAX),
        // What was given up and sent again is under way twice for a while.
        under_way_max: config.window.saturating_mul(4),
        confirm_limit: CONFIRM_LIMIT,
    }
}

/// What replication is put together from.
pub(super) struct Ground<'a> {
    pub(super) config: &'a ReplicationConfig,
    pub(super) deployment: &'a Deployment,
    pub(super) own: Origin,
    pub(super) log: &'a Arc<Log>,
    pub(super) writer: &'a LogWriter,
    pub(super) house: &'a House,
    pub(super) clock: &'a NodeClock,
    pub(super) wall: &'a Arc<dyn Clock>,
    pub(super) tokens: &'a Arc<UsedTokens>,
    pub(super) state_hash: watch::Receiver<Option<(Vector, Digest)>>,
}

/// Starts the replication actor on a thread of its own, where there is a way to other nodes.
pub(super) async fn start(
    ground: Ground<'_>,
    wires: Wires,
) -> Result<Option<(Replica, Arbiter)>, AppError> {
    let Wires { peers, connect: Some(connect) } = wires else { return Ok(None) };
    let unlinked = unlinked(&ground, peers)?;
    let arbiter = Arbiter::new();
    let (reply, started) = oneshot::channel();
    arbiter.spawn(async move {
        let replica = connect().map(|wire| replica::start(unlinked(wire)));
        // Nobody waits any more where the start was given up.
        let _unheard = reply.send(replica);
    });
    let replica = started.await.map_err(|_| AppError::System {
        doing: "start the thread of replication",
        source: std::io::ErrorKind::Other.into(),
    })??;
    Ok(Some((replica, arbiter)))
}

/// Everything but the link, which is opened on the actor's own thread.
fn unlinked(
    ground: &Ground<'_>,
    peers: Vec<NodeName>,
) -> Result<impl FnOnce(Wire) -> ReplicaParts + Send + 'static, AppError> {
    let Ground { config, deployment, own, log, writer, house, clock, wall, tokens, state_hash } =
        ground;
    let description = deployment.description();
    let id = description.deployment.id;
    let sealer = Sealer::new(id, deployment.region_signing_seed().expose());
    let verifier = |keys: &crate::deployment::description::RegionKeys| {
        Some((keys.region, SealVerifier::new(id, keys.signing_key.as_bytes())?))
    };
    let verifiers = description.deployment.regions.iter().filter_map(verifier).collect();
    let operator = *description.deployment.operator_key.as_bytes();
    let (heard_by, heard) = mpsc::unbounded_channel();
    let (absorbing, asked) = ((*house).clone(), (*house).clone());
    let limit_ms = config.future_limit_s.saturating_mul(1000);
    let inbox = InboxEngine::new(InboxParts {
        deployment: id,
        own: *own,
        verifiers,
        is_operators: Arc::new(move |cut| operator_signed(&operator, id, cut)),
        is_erased: Arc::new(move |user| asked.is_erased(user)),
        clock: (*clock).clone(),
        future_limit_ms: limit_ms,
        log: Arc::clone(log),
        writer: (*writer).clone(),
        registry: house.registry_watch(),
        absorb: Arc::new(move |sorted, absorbed| absorbing.absorb(sorted, absorbed)),
        notify: Arc::new(move |news| drop(heard_by.send(news))),
    });
    let runs = RunReader::new(log.reader(), sealer.clone(), description.region);
    let folder = deployment.folder().join(REPLICATION_FOLDER);
    let cursor =
        Cursor::open(&folder).map_err(AppError::system("open the folder of replication"))?;
    let publisher =
        PublisherEngine::new(id, own.name(), runs.clone(), cursor.read(), config.window);
    let pace = Pace {
        vector: Duration::from_millis(config.vector_ms),
        fetch: Duration::from_millis(config.fetch_ms),
        away: Duration::from_secs(config.away_s),
    };
    let nudge = Arc::new(Notify::new());
    let bell = Arc::clone(&nudge);
    writer.on_durable(move || bell.notify_one());
    let (log, wall, own, state_hash) =
        (Arc::clone(log), Arc::clone(wall), *own, state_hash.clone());
    let mut cursor = cursor;
    let (tokens, now) = (Arc::clone(tokens), Arc::clone(&wall));
    Ok(move |wire: Wire| ReplicaParts {
        deployment: id,
        own,
        sealer,
        link: wire.link,
        incoming: wire.incoming,
        publisher,
        inbox,
        heard,
        reconciler: ReconcilerEngine::new(own, peers.iter().copied(), pace),
        answers: Answers::new(runs),
        replicas: Replicas::new(peers),
        parked: Parked::default(),
        log,
        nudge,
        clock: wall,
        clock_limit_ms: limit_ms,
        keep_cursor: Box::new(move |position, ending| cursor.keep(position, ending)),
        take_tokens: Box::new(move |used| take_tokens(&tokens, now.unix_ms(), &used)),
        state_hash,
    })
}

/// Signed calls that another node of the region took are refused here too.
fn take_tokens(tokens: &UsedTokens, now_ms: u64, used: &[UsedToken]) {
    for it in used {
        let UsedToken { name: digest, company, issued_ms: issued, ends_ms: ends } = *it;
        // One that is known, or that cannot be remembered, is refused already.
        let _known = tokens.spend(&Token { digest, company, issued, ends }, now_ms);
    }
}

/// The publisher's cursor in its file: a decimal number. A file that is missing or damaged means
/// that everything is published again, which receivers do not mind.
struct Cursor {
    path: PathBuf,
    written: Option<std::time::Instant>,
}

impl Cursor {
    fn open(folder: &Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        Ok(Self { path: folder.join(CURSOR_FILE), written: None })
    }

    fn read(&self) -> LogPosition {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        LogPosition::from_bits(text.trim().parse().unwrap_or(0))
    }

    /// Writes it where that is due. Says whether it was.
    fn keep(&mut self, position: LogPosition, ending: bool) -> bool {
        if !ending && self.written.is_some_and(|written| written.elapsed() < CURSOR_EVERY) {
            return false;
        }
        self.written = Some(std::time::Instant::now());
        let unborn = self.path.with_extension("new");
        let kept = std::fs::write(&unborn, format!("{}\n", position.to_bits()))
            .and_then(|()| std::fs::rename(&unborn, &self.path));
        if let Err(error) = &kept {
            tracing::warn!(%error, "how far events were published could not be kept");
        }
        kept.is_ok()
    }
}
