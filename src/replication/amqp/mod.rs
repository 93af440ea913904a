//! The link over RabbitMQ.
//!
//! ```text
//!                 |                 a way, one a broker                  |
//!   publish ----> |        | parcels --> | out: confirms | ==> broker    | --> other nodes
//!                 | router |             |               |               |
//!   send -------> |        | letters --> |               | ==> broker    |
//!                 |                                                      |
//!   deliveries <- | <----------------- | incoming: tags | <== broker     | <-- other nodes
//! ```
//!
//! A way has two connections, since a broker that is short of memory or disk stops reading from
//! those that publish, acknowledgements among them. Each is supervised by a task of its own: every
//! call has a time limit, and whatever goes wrong ends the connection, which is then made anew
//! after a wait, with everything declared again. The library's own recovery is not used: it stalled
//! for longer than a broker takes to restart.

mod backoff;
mod broker;
mod confirms;
mod credentials;
mod declare;
mod incoming;
mod out;
mod router;
mod socket;
mod status;
mod tags;
mod trouble;
mod trusted;

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;

use crate::events::ids::{NodeName, RegionId};
use crate::replication::link::{Confirm, Delivery, Link, LinkError, Way};
use crate::replication::topology::Topology;

pub use self::trouble::AmqpError;

use self::broker::Broker;
use self::credentials::CredentialsFile;
use self::incoming::Incoming;
use self::out::{Out, OutQueues};
use self::router::{Entrance, LETTERS_MAX, Letter, Parcel, Router};
use self::status::Status;

/// How long a broker may take to confirm a message, before another one is given it.
pub const CONFIRM_LIMIT: Duration = Duration::from_secs(3);

/// The most that one message may hold, in bytes: what every supported broker takes.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// What a link is started with.
#[derive(Debug, Clone)]
pub struct AmqpSettings {
    /// This node.
    pub own: NodeName,
    /// All other nodes.
    pub peers: Vec<NodeName>,
    /// Each region's broker, by its address without user and password. At most 64 count.
    pub brokers: Vec<(RegionId, String)>,
    /// Who this node is at each; an empty path means `guest`.
    pub credentials_file: PathBuf,
    /// Who may have signed brokers' certificates; an empty path means those the system trusts.
    pub ca_file: PathBuf,
    /// The size of each queue of events.
    pub queue_bytes: u64,
    /// How long events wait for a node in a queue. It fetches what is older.
    pub keep: Duration,
    /// Deliveries from each queue ahead of their acknowledgement.
    pub prefetch: u16,
    /// Messages that may be published ahead of their confirmation.
    pub under_way_max: usize,
    /// How long a broker may take to confirm one: [`CONFIRM_LIMIT`].
    pub confirm_limit: Duration,
}

/// The way to all other nodes by their regions' brokers.
pub struct AmqpLink {
    router: Arc<Router>,
    /// Places among what may be under way.
    places: Arc<Semaphore>,
    tasks: Mutex<Vec<AbortHandle>>,
    shut: AtomicBool,
}

impl fmt::Debug for AmqpLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpLink").finish_non_exhaustive()
    }
}

impl AmqpLink {
    /// Starts a link on the runtime this is called in. It connects in its own time; what comes goes
    /// to `deliveries`, and the link ends when nobody listens there any more.
    pub fn start(
        settings: &AmqpSettings,
        deliveries: &mpsc::Sender<Delivery>,
    ) -> Result<Self, AmqpError> {
        let runtime = Handle::try_current().map_err(|_| AmqpError::NoRuntime)?;
        let brokers = brokers(settings)?;
        let topology = Topology::new(settings.own, &settings.peers, settings.queue_bytes);
        let topology = Arc::new(topology);
        let mut entrances = Vec::new();
        let mut ends = Vec::new();
        for (region, broker) in brokers {
            let status = Arc::new(Status::new(region));
            let (parcels, parcels_end) = mpsc::unbounded_channel();
            let (letters, letters_end) = mpsc::channel(LETTERS_MAX);
            entrances.push(Entrance { status: Arc::clone(&status), parcels, letters });
            let queues = OutQueues { parcels: parcels_end, letters: letters_end };
            ends.push((broker, status, queues));
        }
        let router = Arc::new(Router::new(entrances, &settings.peers));
        let mut tasks = Vec::new();
        for (way, (broker, status, queues)) in ends.into_iter().enumerate() {
            let incoming = Incoming {
                broker: broker.clone(),
                own: settings.own,
                way,
                topology: Arc::clone(&topology),
                status: Arc::clone(&status),
                router: Arc::clone(&router),
                prefetch: settings.prefetch,
                deliveries: deliveries.clone(),
            };
            let out = Out {
                broker,
                own: settings.own,
                topology: Arc::clone(&topology),
                status,
                router: Arc::clone(&router),
                confirm_limit: settings.confirm_limit,
                keep: settings.keep,
                queues,
            };
            tasks.push(runtime.spawn(incoming.run()).abort_handle());
            tasks.push(runtime.spawn(out.run()).abort_handle());
        }
        let places = Arc::new(Semaphore::new(settings.under_way_max.max(1)));
        Ok(Self { router, places, tasks: Mutex::new(tasks), shut: AtomicBool::new(false) })
    }
}

/// The brokers, the own region's first.
fn brokers(settings: &AmqpSettings) -> Result<Vec<(RegionId, Broker)>, AmqpError> {
    let credentials = CredentialsFile::new(&settings.credentials_file);
    let with_tls = settings.brokers.iter().any(|(_, url)| url.starts_with("amqps:"));
    let tls = if with_tls { Some(trusted::client_config(&settings.ca_file)?) } else { None };
    let mut brokers = Vec::new();
    for (region, url) in settings.brokers.iter().take(64) {
        let broker = Broker::new(*region, url, credentials.clone(), tls.clone(), settings.own)?;
        if broker.is_overheard() {
            tracing::warn!(
                broker = %region,
                "the password for this broker can be read on its way: use amqps://"
            );
        }
        brokers.push((*region, broker));
    }
    if brokers.is_empty() {
        return Err(AmqpError::NoBroker);
    }
    brokers.sort_by_key(|(region, _)| *region != settings.own.region);
    Ok(brokers)
}

impl Link for AmqpLink {
    fn publish(&self, bytes: Bytes) -> Confirm {
        let refused = |error| -> Confirm { Box::pin(std::future::ready(Err(error))) };
        if self.shut.load(Ordering::Acquire) {
            return refused(LinkError::Down);
        }
        if bytes.len() > MESSAGE_BYTES_MAX {
            return refused(LinkError::TooLarge);
        }
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return refused(LinkError::Busy);
        };
        let (parcel, answer) = Parcel::new(bytes, place);
        self.router.route(parcel);
        Box::pin(async move { answer.await.unwrap_or(Err(LinkError::Down)) })
    }

    fn send(&self, to: NodeName, bytes: Bytes) -> Result<(), LinkError> {
        if self.shut.load(Ordering::Acquire) {
            return Err(LinkError::Down);
        }
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(LinkError::TooLarge);
        }
        self.router.send(Letter { to, bytes })
    }

    fn ways(&self) -> Vec<Way> {
        self.router.statuses().map(Status::way).collect()
    }

    fn shut(&self) {
        self.shut.store(true, Ordering::Release);
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        for task in tasks.drain(..) {
            task.abort();
        }
    }
}

impl Drop for AmqpLink {
    fn drop(&mut self) {
        self.shut();
    }
}
