//! The door of a listener: from a connection that was accepted to one that calls come over.
//!
//! ```text
//! accepted -> counted, or turned away -> handshake, where TLS is spoken -> calls
//! ```

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::http::flow::Flow;
use crate::http::frame::turned_away;

use super::crowd::{Crowd, TurnedAway};
use super::timed::{TimeLimits, Timed};

/// How long somebody who is turned away is given to read why.
const FAREWELL: Duration = Duration::from_secs(1);

/// What the first byte of a TLS connection is: a handshake record.
const TLS_HANDSHAKE: u8 = 22;

/// What plain HTTP is answered with where TLS is spoken.
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\
    Connection: close\r\nContent-Length: 37\r\n\r\nthis port speaks TLS: call https://.\n";

/// How connections are let in. One a worker.
#[derive(Clone)]
pub(super) struct Door(Rc<Parts>);

struct Parts {
    crowd: Arc<Crowd>,
    limits: TimeLimits,
    tls: Option<(TlsAcceptor, Duration)>,
}

/// A connection that calls come over.
pub(super) enum Connection {
    Plain(Timed),
    Tls(Box<TlsStream<Timed>>),
}

impl Door {
    /// A door; with TLS, and how long its handshake may take.
    pub(super) fn new(
        crowd: Arc<Crowd>,
        limits: TimeLimits,
        tls: Option<(TlsAcceptor, Duration)>,
    ) -> Self {
        Self(Rc::new(Parts { crowd, limits, tls }))
    }

    /// Lets a connection in. One that is not has been answered and counted already.
    pub(super) async fn enter(
        self,
        stream: TcpStream,
    ) -> io::Result<(Connection, Option<SocketAddr>)> {
        let peer = stream.peer_addr().ok();
        let address = peer.map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| peer.ip());
        let guest = match self.0.crowd.enter(address) {
            Ok(guest) => guest,
            Err(why) => {
                let refused = refused(match why {
                    TurnedAway::Full => "full",
                    TurnedAway::TooManyOfOne => "address",
                });
                if why == TurnedAway::Full && self.0.tls.is_none() {
                    say(stream, &turned_away()).await;
                }
                return Err(refused);
            }
        };
        let timed = |stream| Timed::new(stream, self.0.limits, guest);
        let connection = match &self.0.tls {
            None => Connection::Plain(timed(stream)),
            Some((acceptor, patience)) => {
                let opened = timeout(*patience, shake_hands(acceptor, stream, timed)).await;
                let tls = opened.unwrap_or_else(|_| Err(refused("slow_handshake")))?;
                Connection::Tls(Box::new(tls))
            }
        };
        connection.flow().head_is_due();
        Ok((connection, peer))
    }
}

/// A connection that was not let in, counted.
fn refused(reason: &'static str) -> io::Error {
    metrics::counter!("jcas_connections_refused_total", "reason" => reason).increment(1);
    io::Error::new(io::ErrorKind::ConnectionRefused, reason)
}

async fn shake_hands(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    timed: impl FnOnce(TcpStream) -> Timed,
) -> io::Result<TlsStream<Timed>> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 1 && first != [TLS_HANDSHAKE] {
        let refused = refused("plain_http");
        say(stream, PLAIN).await;
        return Err(refused);
    }
    acceptor.accept(timed(stream)).await.map_err(|error| {
        tracing::debug!(%error, "a handshake failed");
        refused("handshake")
    })
}

/// Says something and closes. What still comes is read, for a while: closing with unread bytes
/// would take what was said back.
async fn say(mut stream: TcpStream, answer: &[u8]) {
    let saying = async {
        stream.write_all(answer).await?;
        stream.shutdown().await?;
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    // Whoever does not listen is not told.
    drop(timeout(FAREWELL, saying).await);
}

impl Connection {
    /// What the connection is doing.
    pub(super) fn flow(&self) -> &Flow {
        match self {
            Self::Plain(timed) => timed.flow(),
            Self::Tls(tls) => tls.get_ref().0.flow(),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(timed) => Pin::new(timed).poll_read(context, buffer),
            Self::Tls(tls) => Pin::new(tls).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(timed) => Pin::new(timed).poll_write(context, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(timed) => Pin::new(timed).poll_flush(context),
            Self::Tls(tls) => Pin::new(tls).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(timed) => Pin::new(timed).poll_shutdown(context),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(context),
        }
    }
}
