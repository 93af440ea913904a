//! Drives a server from many connections: as fast as it answers (closed loop), or at a given rate
//! whether it keeps up or not (open loop).
//!
//! All connections live on one thread. In the open loop a request's latency counts from the moment
//! it was due, so a server that stalls is charged for everything it kept waiting.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use hdrhistogram::Histogram;
use tokio::sync::Semaphore;
use tokio::task::LocalSet;

use crate::http::Connection;

/// Takes the body that was answered to the request with a number.
pub type Take = Box<dyn Fn(u64, &[u8])>;

/// What is called: by numbers, none of them twice within a drive.
pub struct Calls {
    /// Makes the request with a number.
    pub make: Box<dyn Fn(u64) -> Vec<u8>>,
    /// Is given what was answered.
    pub took: Take,
}

impl Calls {
    /// Calls whose answers nobody keeps.
    pub fn new(make: impl Fn(u64) -> Vec<u8> + 'static) -> Self {
        Self { make: Box::new(make), took: Box::new(|_, _| {}) }
    }
}

/// How a server is driven.
pub struct Drive<'a> {
    /// Where it listens.
    pub address: &'a str,
    /// Connections.
    pub clients: usize,
    /// For how long.
    pub lasting: Duration,
    /// Requests a second in the open loop; none is the closed loop.
    pub rate: Option<f64>,
    /// The status every answer must have.
    pub status: u16,
    /// Another status that answers may have, counted apart.
    pub refusal: Option<u16>,
    /// At most so many requests.
    pub limit: u64,
}

/// What came of it.
pub struct Driven {
    /// When the first request was due.
    pub start: Instant,
    /// Requests answered as expected.
    pub answered: u64,
    /// From the first request to the last answer.
    pub seconds: f64,
    /// Latencies in microseconds.
    latency: Histogram<u64>,
    /// Those of refusals.
    pub refused: Histogram<u64>,
}

impl Driven {
    /// Answers a second.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub fn rate(&self) -> f64 {
        self.answered as f64 / self.seconds
    }

    /// Adds what came of another drive.
    pub fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.answered += other.answered;
        self.seconds += other.seconds;
        self.latency.add(&other.latency)?;
        Ok(self.refused.add(&other.refused)?)
    }

    /// A quantile of the latency, in milliseconds.
    #[expect(clippy::cast_precision_loss, reason = "microseconds are far below 2^52")]
    pub fn ms(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1000.0
    }
}

/// What the connections share.
struct Shared {
    start: Instant,
    end: Instant,
    status: u16,
    refusal: Option<u16>,
    limit: u64,
    next: RefCell<u64>,
    due: Option<(f64, Arc<Semaphore>)>,
    latency: RefCell<Histogram<u64>>,
    refused: RefCell<Histogram<u64>>,
}

impl Shared {
    fn take(&self) -> Option<u64> {
        let mut next = self.next.borrow_mut();
        if *next >= self.limit || (self.due.is_none() && Instant::now() >= self.end) {
            return None;
        }
        *next += 1;
        Some(*next - 1)
    }

    /// The next request and the moment it is due. None when the drive is over.
    async fn next(&self) -> Option<(u64, Instant)> {
        let Some((rate, due)) = &self.due else { return Some((self.take()?, Instant::now())) };
        due.acquire().await.ok()?.forget();
        let number = self.take()?;
        // The pacer lets the first one go when the first interval is over.
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let after = Duration::from_secs_f64((number + 1) as f64 / rate);
        Some((number, self.start + after))
    }
}

/// Drives a server. An answer that is not as expected ends it.
pub fn drive(drive: &Drive<'_>, calls: Calls) -> anyhow::Result<Driven> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, connected(drive, Rc::new(calls)))
}

async fn connected(drive: &Drive<'_>, calls: Rc<Calls>) -> anyhow::Result<Driven> {
    let mut connections = Vec::with_capacity(drive.clients);
    for _ in 0..drive.clients {
        connections.push(Connection::open(drive.address).await?);
    }
    let start = Instant::now();
    let due = drive.rate.map(|rate| (rate, Arc::new(Semaphore::new(0))));
    let pacer = due.as_ref().map(|(rate, due)| pace(*rate, drive, due));
    let due_at_all = drive.rate.map_or(u64::MAX, |rate| whole(rate * drive.lasting.as_secs_f64()));
    let shared = Rc::new(Shared {
        start,
        end: start + drive.lasting,
        status: drive.status,
        refusal: drive.refusal,
        limit: drive.limit.min(due_at_all),
        next: RefCell::new(0),
        due,
        latency: RefCell::new(Histogram::new(3)?),
        refused: RefCell::new(Histogram::new(3)?),
    });
    let running = connections.into_iter().map(|connection| {
        let (shared, calls) = (Rc::clone(&shared), Rc::clone(&calls));
        tokio::task::spawn_local(client(connection, shared, calls))
    });
    for client in running.collect::<Vec<_>>() {
        client.await??;
    }
    let seconds = start.elapsed().as_secs_f64();
    if let Some(pacer) = pacer {
        pacer.end();
    }
    let shared = Rc::into_inner(shared).context("a client is still running")?;
    let (latency, refused) = (shared.latency.into_inner(), shared.refused.into_inner());
    if latency.is_empty() {
        bail!("nothing was answered");
    }
    Ok(Driven { start, answered: latency.len(), seconds, latency, refused })
}

async fn client(
    mut connection: Connection,
    shared: Rc<Shared>,
    calls: Rc<Calls>,
) -> anyhow::Result<()> {
    while let Some((number, due)) = shared.next().await {
        let request = (calls.make)(number);
        let reply = connection.send(&request).await?;
        let is_refused = shared.refusal == Some(reply.status);
        if reply.status != shared.status && !is_refused {
            bail!("answered {}: {}", reply.status, String::from_utf8_lossy(reply.body));
        }
        let took = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
        if is_refused {
            shared.refused.borrow_mut().record(took.max(1))?;
            continue;
        }
        (calls.took)(number, reply.body);
        shared.latency.borrow_mut().record(took.max(1))?;
    }
    Ok(())
}

/// Lets requests go when they are due.
struct Pacer {
    stop: mpsc::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Pacer {
    fn end(self) {
        drop(self.stop);
        // It only counts; there is nothing that could have failed.
        let _ = self.thread.join();
    }
}

/// How often the pacer looks: what it adds to a latency at most, beside scheduling.
const LOOK_EVERY: Duration = Duration::from_micros(200);

fn pace(rate: f64, drive: &Drive<'_>, due: &Arc<Semaphore>) -> Pacer {
    let (stop, stopped) = mpsc::channel::<()>();
    let (due, lasting, clients) = (Arc::clone(due), drive.lasting, drive.clients);
    let thread = std::thread::spawn(move || {
        let start = Instant::now();
        let mut released = 0;
        loop {
            let elapsed = start.elapsed().min(lasting);
            let total = usize::try_from(whole(elapsed.as_secs_f64() * rate)).unwrap_or(usize::MAX);
            due.add_permits(total.saturating_sub(released));
            released = total;
            if elapsed >= lasting {
                // One more for each client, with which it learns that there is nothing left.
                return due.add_permits(clients);
            }
            if stopped.recv_timeout(LOOK_EVERY) == Err(mpsc::RecvTimeoutError::Disconnected) {
                return;
            }
        }
    });
    Pacer { stop, thread }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates and times are positive and their product is small"
)]
fn whole(count: f64) -> u64 {
    count as u64
}
