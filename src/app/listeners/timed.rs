//! A connection with time limits: for the head of a call, for doing nothing, and for not taking
//! what is answered.
//!
//! The framework bounds the first head and idle connections by itself, more politely (408, an
//! orderly close); what it leaves open is bounded here: the heads of later calls, what is sent
//! after an answer, answers that are never read. A connection that is past its limit is cut.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::http::flow::{Flow, Phase};

use super::crowd::Guest;

/// How much later than the framework this cuts a connection off.
const GRACE: Duration = Duration::from_secs(1);

/// How long a caller may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct TimeLimits {
    /// For the head of a call.
    pub(super) head: Duration,
    /// For nothing, between two calls.
    pub(super) idle: Duration,
    /// Until it takes the next part of an answer.
    pub(super) stall: Duration,
}

/// A connection with time limits.
pub(super) struct Timed {
    stream: TcpStream,
    flow: Flow,
    limits: TimeLimits,
    /// Since when what is to be sent finds no room.
    stalled: Option<Instant>,
    /// Wakes the connection when a limit may have passed. It is put off only when it fires: limits
    /// mostly move away, with every call.
    alarm: Pin<Box<Sleep>>,
    alarm_at: Instant,
    _guest: Guest,
}

impl Timed {
    pub(super) fn new(stream: TcpStream, limits: TimeLimits, guest: Guest) -> Self {
        let alarm_at = Instant::now() + limits.head.min(limits.stall) + GRACE;
        Self {
            stream,
            flow: Flow::new(),
            limits,
            stalled: None,
            alarm: Box::pin(sleep_until(alarm_at)),
            alarm_at,
            _guest: guest,
        }
    }

    /// What the connection is doing.
    pub(super) const fn flow(&self) -> &Flow {
        &self.flow
    }

    /// When the connection is past a limit, and which.
    fn limit(&self) -> Option<(Instant, &'static str)> {
        let by_phase = match self.flow.phase() {
            Phase::Head(since) => Some((since + self.limits.head + GRACE, "slow_head")),
            Phase::Idle(since) => Some((since + self.limits.idle + GRACE, "idle")),
            Phase::Opening | Phase::Call => None,
        };
        let stalled = self.stalled.map(|since| (since + self.limits.stall, "unread_answer"));
        by_phase.into_iter().chain(stalled).min()
    }

    /// Fails when a limit has passed; else the task is woken when one may have.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        // Without a limit now there will be one later: looked at again before it can have passed.
        let rest = self.limits.head.min(self.limits.stall);
        loop {
            let limit = self.limit();
            let at = limit.map_or_else(|| Instant::now() + rest, |(at, _)| at);
            if at < self.alarm_at {
                self.set_alarm(at);
            }
            if self.alarm.as_mut().poll(context).is_pending() {
                return Ok(());
            }
            if let Some((at, reason)) = limit
                && at <= Instant::now()
            {
                metrics::counter!("jcas_connections_cut_total", "reason" => reason).increment(1);
                return Err(io::Error::new(io::ErrorKind::TimedOut, reason));
            }
            self.set_alarm(at);
        }
    }

    fn set_alarm(&mut self, at: Instant) {
        self.alarm.as_mut().reset(at);
        self.alarm_at = at;
    }

    /// Notes whether what is to be sent found room.
    fn sent<T>(&mut self, outcome: &Poll<io::Result<T>>) {
        self.stalled = match outcome {
            Poll::Pending => self.stalled.or_else(|| Some(Instant::now())),
            Poll::Ready(_) => None,
        };
    }
}

impl AsyncRead for Timed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(context, buffer);
        if outcome.is_ready() && buffer.filled().len() > before {
            self.flow.bytes_came();
        }
        self.check(context)?;
        outcome
    }
}

impl AsyncWrite for Timed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.sent(&outcome);
        self.check(context)?;
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.sent(&outcome);
        self.check(context)?;
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
