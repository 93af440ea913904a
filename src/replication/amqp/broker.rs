//! One broker: where it is, who this node is there, and how a connection to it is made.
//!
//! The user and password are read anew for every connection, so that they can be changed without a
//! restart. They are never printed: what is logged of a broker is its region, and what the broker
//! or the system says when something fails.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Shutdown};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lapin::tcp::{AsyncTcpStream, OwnedTLSConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Channel, Connection, ConnectionProperties};
use tokio::runtime::Handle;

use crate::events::ids::{NodeName, RegionId};

use super::credentials::{CredentialsFile, User};
use super::trouble::{AmqpError, Trouble};

/// How long any one call to a broker may take.
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(5);

/// How long a connection may take in all, from the look-up of its name on.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// How often both ends show that they are there, in seconds. Twice without is a lost connection.
const HEARTBEAT_S: u16 = 10;

/// How long a connection that is no longer wanted may take to end well.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// A broker, not connected.
#[derive(Clone)]
pub(super) struct Broker {
    region: RegionId,
    /// Without user and password.
    address: AMQPUri,
    credentials: CredentialsFile,
    /// PEM; what brokers' certificates may be signed by.
    trusted: Option<Arc<str>>,
    /// What it is told who this is.
    own: NodeName,
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("region", &self.region).finish_non_exhaustive()
    }
}

impl Broker {
    /// The broker of `region` at `url`, as this node knows it.
    pub(super) fn new(
        region: RegionId,
        url: &str,
        credentials: CredentialsFile,
        trusted: Option<Arc<str>>,
        own: NodeName,
    ) -> Result<Self, AmqpError> {
        // The parser's error would quote the address.
        let parsed: Result<AMQPUri, _> = url.parse();
        let mut address = parsed.map_err(|_| AmqpError::Address(region))?;
        if url.contains('@') {
            return Err(AmqpError::Address(region));
        }
        address.query.heartbeat = Some(HEARTBEAT_S);
        credentials.user(region)?;
        Ok(Self { region, address, credentials, trusted, own })
    }

    /// Whether what is said to it, the password too, can be read on its way.
    pub(super) fn is_overheard(&self) -> bool {
        let host = self.address.authority.host.trim_matches(['[', ']']);
        let address: Result<IpAddr, _> = host.parse();
        let is_near = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
        matches!(self.address.scheme, AMQPScheme::AMQP) && !is_near
    }

    /// A connection.
    pub(super) async fn connect(&self, side: &'static str) -> Result<Session, Trouble> {
        let socket = Socket::default();
        let User { name, password } = self.credentials.user(self.region)?;
        let mut address = self.address.clone();
        address.authority.userinfo.username = name;
        address.authority.userinfo.password = password.to_string();
        let properties = ConnectionProperties::default()
            .with_connection_name(format!("jcas {} {side}", self.own).into());
        let tls = OwnedTLSConfig {
            identity: None,
            cert_chain: self.trusted.as_deref().map(str::to_owned),
        };
        let kept = socket.clone();
        let runtime =
            lapin::runtime::default_runtime().map_err(Trouble::failed("find a runtime"))?;
        let connecting = Connection::connector(
            address,
            runtime,
            async move |uri: AMQPUri, runtime| {
                let host = uri.authority.host.trim_matches(['[', ']']);
                let found = tokio::net::lookup_host((host, uri.authority.port)).await?;
                let connecting = AsyncTcpStream::connect(&runtime, found.collect::<Vec<_>>());
                let connected = tokio::time::timeout(CONNECT_LIMIT, connecting).await;
                let stream = connected.map_err(|_| io::Error::from(ErrorKind::TimedOut))??;
                if let AsyncTcpStream::Plain(plain) = &stream {
                    kept.keep(plain.get_ref())?;
                }
                Ok(match uri.scheme {
                    AMQPScheme::AMQP => stream,
                    AMQPScheme::AMQPS => stream.into_tls(host, tls.as_ref()).await?,
                })
            },
            properties,
        );
        let connected = tokio::time::timeout(CONNECT_LIMIT, connecting).await;
        let failure = match connected {
            Ok(Ok(connection)) => return Ok(Session { connection: Some(connection), socket }),
            Ok(Err(source)) => Trouble::Failed { doing: "connect", source },
            Err(_) => Trouble::Slow("connect"),
        };
        // Who waits for a broker that does not speak is woken by the end of the stream.
        socket.end();
        Err(failure)
    }
}

/// A second handle of a connection's socket. A connection whose broker does not read any more ends
/// only by this.
#[derive(Clone, Default)]
struct Socket(Arc<Mutex<Handed>>);

#[derive(Default)]
enum Handed {
    /// Nothing is connected yet.
    #[default]
    Awaited,
    Open(std::net::TcpStream),
    /// It is not wanted any more, nor is one that comes now.
    Ended,
}

impl Socket {
    fn keep(&self, stream: &tokio::net::TcpStream) -> io::Result<()> {
        let second = stream.as_fd().try_clone_to_owned()?;
        let mut handed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*handed, Handed::Ended) {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        *handed = Handed::Open(second.into());
        Ok(())
    }

    fn end(&self) {
        let mut handed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Handed::Open(stream) = std::mem::replace(&mut *handed, Handed::Ended) {
            // One that is closed already is as well.
            let _closed = stream.shutdown(Shutdown::Both);
        }
    }
}

/// A connection. Dropped, it says goodbye where the broker still listens, and ends in any case.
pub(super) struct Session {
    connection: Option<Connection>,
    socket: Socket,
}

impl Session {
    /// A new channel.
    pub(super) async fn channel(&self) -> Result<Channel, Trouble> {
        let connection = self.connection().ok_or(Trouble::Shut)?;
        limited("open a channel", connection.create_channel()).await
    }

    /// The connection, as long as this is not dropped.
    pub(super) const fn connection(&self) -> Option<&Connection> {
        self.connection.as_ref()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let (connection, socket) = (self.connection.take(), self.socket.clone());
        let (Some(connection), Ok(runtime)) = (connection, Handle::try_current()) else {
            return socket.end();
        };
        runtime.spawn(async move {
            let closing = connection.close(200, "the way is given up".into());
            // Whatever comes of it, the socket ends.
            let _closed = tokio::time::timeout(CLOSE_LIMIT, closing).await;
            socket.end();
        });
    }
}

/// A call within its time limit.
pub(super) async fn limited<T>(
    doing: &'static str,
    call: impl Future<Output = lapin::Result<T>>,
) -> Result<T, Trouble> {
    match tokio::time::timeout(CALL_LIMIT, call).await {
        Ok(done) => done.map_err(Trouble::failed(doing)),
        Err(_) => Err(Trouble::Slow(doing)),
    }
}
