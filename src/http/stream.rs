//! A stream of rows on its way in.
//!
//! What comes is gathered, and a thread that may wait for the disk opens, seals and writes it,
//! while the next is gathered. So a stream takes no time of the threads that answer calls, no
//! thread for longer than it has work for it, and memory for a few hundred KiB.

use std::io::Write as _;

use actix_web::web;
use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use futures_util::StreamExt as _;
use sha2::{Digest as _, Sha256};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, timeout_at};

use crate::accounts::error::AccountError;
use crate::accounts::sync::Receiving;

use super::body::BodyLimits;
use super::error::ApiError;

/// Compressed bytes that are opened at once: they become a thousand times as many at most.
const GZIP_BYTES: usize = 1024;

/// Bytes that are gathered while others are written. What comes beyond them waits at its sender.
const GATHERED_BYTES: usize = 128 * 1024;

/// Takes a stream to its end. Comes back with the digest of what was sent. What fails leaves
/// nothing by the time it is told.
pub(super) async fn take(
    receiving: Receiving,
    is_gzip: bool,
    payload: web::Payload,
    limits: BodyLimits,
) -> Result<(Receiving, [u8; 32]), ApiError> {
    let started = Instant::now();
    let ends = started + receiving.time_max();
    let gzip = is_gzip.then(|| MultiGzDecoder::new(Vec::new()));
    let intake = Intake { receiving, gzip, sent: 0, digest: Sha256::new() };
    let mut incoming =
        Incoming { payload, limits, started, ends, came: 0, gathered: Vec::new(), waiting: 0 };
    let mut desk = Desk::Free(Box::new(intake));
    match incoming.hand_over_all(&mut desk).await {
        Ok(()) => {
            let intake = desk.free().await?;
            spawn_blocking(move || intake.finish()).await.map_err(|_| ApiError::Internal)?
        }
        Err(error) => {
            if let Ok(intake) = desk.free().await {
                leave(intake.receiving).await?;
            }
            Err(error)
        }
    }
}

/// Leaves a stream. Its files are removed by a thread that may wait.
pub(super) async fn leave(receiving: Receiving) -> Result<(), ApiError> {
    spawn_blocking(move || drop(receiving)).await.map_err(|_| ApiError::Internal)
}

/// What comes from the sender.
struct Incoming {
    payload: web::Payload,
    limits: BodyLimits,
    started: Instant,
    ends: Instant,
    came: u64,
    gathered: Vec<Bytes>,
    waiting: usize,
}

impl Incoming {
    async fn hand_over_all(&mut self, desk: &mut Desk) -> Result<(), ApiError> {
        let mut is_over = false;
        while !is_over || self.waiting > 0 {
            tokio::select! {
                done = desk.done(), if desk.is_busy() => done?,
                over = self.gather(), if !is_over && self.waiting < GATHERED_BYTES => {
                    is_over = over?;
                }
                else => return Err(ApiError::Internal),
            }
            if self.waiting > 0 && desk.take(&mut self.gathered) {
                self.waiting = 0;
            }
        }
        Ok(())
    }

    /// Waits for the next bytes. True where there are none any more.
    async fn gather(&mut self) -> Result<bool, ApiError> {
        let deadline = (self.started + self.limits.patience_for(self.came)).min(self.ends);
        let next = timeout_at(deadline, self.payload.next()).await;
        let Some(chunk) = next.map_err(|_| ApiError::RequestTimeout)? else { return Ok(true) };
        let chunk = chunk.map_err(|_| broken("the stream did not arrive whole"))?;
        self.came += chunk.len() as u64;
        self.waiting += chunk.len();
        if !chunk.is_empty() {
            self.gathered.push(chunk);
        }
        Ok(false)
    }
}

/// Where the stream is written: nobody is at it, or a thread is.
enum Desk {
    Free(Box<Intake>),
    Busy(JoinHandle<Result<Box<Intake>, ApiError>>),
    /// What was there failed, and is gone.
    Left,
}

impl Desk {
    const fn is_busy(&self) -> bool {
        matches!(self, Self::Busy(_))
    }

    /// Gives it what was gathered, if nobody is at it.
    fn take(&mut self, gathered: &mut Vec<Bytes>) -> bool {
        match std::mem::replace(self, Self::Left) {
            Self::Free(mut intake) => {
                let chunks = std::mem::take(gathered);
                // Where it fails, what it has is dropped there.
                let writing = spawn_blocking(move || intake.write(&chunks).map(|()| intake));
                *self = Self::Busy(writing);
                true
            }
            other => {
                *self = other;
                false
            }
        }
    }

    /// Waits until nobody is at it.
    async fn done(&mut self) -> Result<(), ApiError> {
        let Self::Busy(writing) = self else { return Ok(()) };
        let written = writing.await;
        *self = Self::Left;
        *self = Self::Free(written.map_err(|_| ApiError::Internal)??);
        Ok(())
    }

    async fn free(mut self) -> Result<Box<Intake>, ApiError> {
        self.done().await?;
        match self {
            Self::Free(intake) => Ok(intake),
            Self::Busy(_) | Self::Left => Err(ApiError::Internal),
        }
    }
}

/// A stream as it is written.
struct Intake {
    receiving: Receiving,
    gzip: Option<MultiGzDecoder<Vec<u8>>>,
    sent: u64,
    digest: Sha256,
}

impl Intake {
    fn write(&mut self, chunks: &[Bytes]) -> Result<(), ApiError> {
        for chunk in chunks {
            self.sent += chunk.len() as u64;
            // A gzip may have any number of parts that hold nothing.
            if self.sent > self.receiving.bytes_max() {
                let detail = "a stream is longer than a company may have";
                return Err(AccountError::SyncTooLong(detail).into());
            }
            self.digest.update(chunk);
            let Some(gzip) = &mut self.gzip else {
                self.receiving.write(chunk)?;
                continue;
            };
            for part in chunk.chunks(GZIP_BYTES) {
                gzip.write_all(part).map_err(|_| broken("the stream is no gzip"))?;
                self.receiving.write(gzip.get_ref())?;
                gzip.get_mut().clear();
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(Receiving, [u8; 32]), ApiError> {
        if let Some(gzip) = self.gzip.take() {
            let rest = gzip.finish().map_err(|_| broken("the stream's gzip is cut off"))?;
            self.receiving.write(&rest)?;
        }
        Ok((self.receiving, self.digest.finalize().into()))
    }
}

fn broken(detail: &str) -> ApiError {
    ApiError::MalformedJson(detail.to_owned())
}
