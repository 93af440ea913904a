//! One broker: where it is, who this node is there, and how a connection to it is made.
//!
//! The user and password are read anew for every connection, so that they can be changed without a
//! restart. They are never printed: what is logged of a broker is its region, and what the broker
//! or the system says when something fails.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use lapin::tcp::AsyncTcpStream;
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Channel, Connection, ConnectionProperties};
use rustls::ClientConfig;
use tokio::runtime::Handle;

use crate::events::ids::{NodeName, RegionId};

use super::credentials::{CredentialsFile, User};
use super::socket::{self, Grip};
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
    /// How TLS is spoken, and who is trusted; none where the address is without it.
    tls: Option<Arc<ClientConfig>>,
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
        tls: Option<Arc<ClientConfig>>,
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
        Ok(Self { region, address, credentials, tls, own })
    }

    /// Whether what is said to it, the password too, can be read on its way.
    pub(super) fn is_overheard(&self) -> bool {
        let host = bare(&self.address.authority.host);
        let address: Result<IpAddr, _> = host.parse();
        let is_near = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
        matches!(self.address.scheme, AMQPScheme::AMQP) && !is_near
    }

    /// A connection.
    pub(super) async fn connect(&self, side: &'static str) -> Result<Session, Trouble> {
        let User { name, password } = self.credentials.user(self.region)?;
        let mut address = self.address.clone();
        address.authority.userinfo.username = name;
        address.authority.userinfo.password = password.to_string();
        let properties = ConnectionProperties::default()
            .with_connection_name(format!("jcas {} {side}", self.own).into());
        let (grip, tls) = (Grip::default(), self.tls.clone());
        let kept = grip.clone();
        let connecting = Connection::connector(
            address,
            socket::runtime(),
            async move |uri: AMQPUri, _| {
                let host = bare(&uri.authority.host);
                let connecting = socket::connect(host, uri.authority.port, &kept);
                let stream = match (uri.scheme, &tls) {
                    (AMQPScheme::AMQP, _) => socket::clear(connecting.await?),
                    (AMQPScheme::AMQPS, Some(tls)) => {
                        socket::encrypted(connecting.await?, host, tls).await?
                    }
                    (AMQPScheme::AMQPS, None) => return Err(socket::no_tls().into()),
                };
                Ok(AsyncTcpStream::Plain(stream))
            },
            properties,
        );
        let connected = tokio::time::timeout(CONNECT_LIMIT, connecting).await;
        let failure = match connected {
            Ok(Ok(connection)) => return Ok(Session { connection: Some(connection), grip }),
            Ok(Err(source)) => Trouble::Failed { doing: "connect", source },
            Err(_) => Trouble::Slow("connect"),
        };
        // Who waits for a broker that does not speak is woken by the end of the stream.
        grip.end();
        Err(failure)
    }
}

/// A host as it is looked up: an address of IPv6 has brackets in a URL alone.
fn bare(host: &str) -> &str {
    host.trim_matches(['[', ']'])
}

/// A connection. Dropped, it says goodbye where the broker still listens, and ends in any case.
pub(super) struct Session {
    connection: Option<Connection>,
    grip: Grip,
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
        let (connection, grip) = (self.connection.take(), self.grip.clone());
        let (Some(connection), Ok(runtime)) = (connection, Handle::try_current()) else {
            return grip.end();
        };
        runtime.spawn(async move {
            let closing = connection.close(200, "the way is given up".into());
            // Whatever comes of it, the socket ends.
            let _closed = tokio::time::timeout(CLOSE_LIMIT, closing).await;
            grip.end();
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
