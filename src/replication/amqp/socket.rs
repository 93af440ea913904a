//! Sockets to brokers: in clear or with TLS, and with a second handle.
//!
//! The library that speaks AMQP can do TLS itself, but not without trusting certificates that
//! nobody named here, and built without it, it takes an address with TLS and speaks in clear. So
//! it gets streams that are encrypted already, by the same library that companies are served with,
//! in place of its sockets.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_compat::CompatExt as _;
use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::Stream;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long it may take to find and reach a host.
const REACH_LIMIT: Duration = Duration::from_secs(5);

/// Bytes both ways.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A stream to a broker, encrypted or not.
pub(super) type BrokerStream = Box<dyn Duplex>;

/// The runtime this is called in, with streams of our own for sockets.
pub(super) fn runtime() -> Runtime<RuntimeParts<Tokio, Streams>> {
    Runtime::new(RuntimeParts::new(Tokio::current(), Streams(Tokio::current())))
}

/// Tokio's reactor, whose sockets are boxed.
#[derive(Clone)]
pub(super) struct Streams(Tokio);

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Streams")
    }
}

impl Reactor for Streams {
    type TcpStream = BrokerStream;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        self.0.register(socket)
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let connecting = self.0.tcp_connect_addr(address);
        async move { Ok(Box::new(connecting.await?) as BrokerStream) }
    }
}

/// A connected socket, of which `grip` has a second handle.
pub(super) async fn connect(host: &str, port: u16, grip: &Grip) -> io::Result<TcpStream> {
    let connecting = TcpStream::connect((host, port));
    let connected = tokio::time::timeout(REACH_LIMIT, connecting).await;
    let stream = connected.map_err(|_| io::Error::from(ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    grip.take(&stream)?;
    Ok(stream)
}

/// The stream of a socket, as it is.
pub(super) fn clear(socket: TcpStream) -> BrokerStream {
    Box::new(socket.compat())
}

/// The stream of a socket with TLS, when the broker has shown that it is this host.
pub(super) async fn encrypted(
    socket: TcpStream,
    host: &str,
    tls: &Arc<ClientConfig>,
) -> io::Result<BrokerStream> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| io::Error::new(ErrorKind::InvalidInput, error))?;
    let stream = TlsConnector::from(Arc::clone(tls)).connect(name, socket).await?;
    Ok(Box::new(stream.compat()))
}

/// There is nothing to speak TLS with.
pub(super) fn no_tls() -> io::Error {
    io::Error::new(ErrorKind::Unsupported, "no certificate is trusted")
}

/// A second handle of a connection's socket. A connection whose broker does not read any more ends
/// only by this.
#[derive(Clone, Default)]
pub(super) struct Grip(Arc<Mutex<Gripped>>);

#[derive(Default)]
enum Gripped {
    /// Nothing is connected yet.
    #[default]
    Nothing,
    Socket(std::net::TcpStream),
    /// It is not wanted any more, nor is one that comes now.
    Ended,
}

impl Grip {
    fn take(&self, stream: &TcpStream) -> io::Result<()> {
        let second = stream.as_fd().try_clone_to_owned()?;
        let mut gripped = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*gripped, Gripped::Ended) {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        *gripped = Gripped::Socket(second.into());
        Ok(())
    }

    /// Ends the connection, now or when it comes.
    pub(super) fn end(&self) {
        let mut gripped = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Gripped::Socket(stream) = std::mem::replace(&mut *gripped, Gripped::Ended) {
            // One that is closed already is as well.
            let _closed = stream.shutdown(Shutdown::Both);
        }
    }
}
