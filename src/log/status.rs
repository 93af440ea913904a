//! What the log has done so far, for people and for the checkpoint.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::events::record::LogPosition;

use super::error::LogError;
use super::lock;
use super::space::LogStatus;

/// A position that one thread moves and others read.
#[derive(Debug, Default)]
pub(super) struct Mark(AtomicU64);

impl Mark {
    pub(super) fn get(&self) -> LogPosition {
        LogPosition::from_bits(self.0.load(Ordering::Acquire))
    }

    pub(super) fn set(&self, position: LogPosition) {
        self.0.store(position.to_bits(), Ordering::Release);
    }
}

/// Counters since the log was opened.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) groups: AtomicU64,
    pub(super) batches: AtomicU64,
    pub(super) records: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) syncs: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) refused_batches: AtomicU64,
    last_error: Mutex<Option<String>>,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64, amount: usize) {
        counter.fetch_add(u64::try_from(amount).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Keeps an error with what caused it, for the snapshot.
    pub(super) fn failed(&self, error: &LogError) {
        Self::add(&self.failures, 1);
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(inner) = cause {
            text.push_str(": ");
            text.push_str(&inner.to_string());
            cause = inner.source();
        }
        *lock(&self.last_error) = Some(text);
    }

    pub(super) fn last_error(&self) -> Option<String> {
        lock(&self.last_error).clone()
    }
}

/// How the log is, at one moment. Counters are since it was opened.
#[derive(Debug, Clone, Serialize)]
pub struct LogSnapshot {
    /// Whether it takes appends.
    #[serde(flatten)]
    pub status: LogStatus,
    /// How many times everything queued failed.
    pub epoch: u64,
    /// Commit frames written.
    pub groups: u64,
    /// Appends that became durable.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes written, frames included.
    pub bytes: u64,
    /// Waits for the disk.
    pub syncs: u64,
    /// Failed writes and syncs.
    pub failures: u64,
    /// Batches that were refused alone.
    pub refused_batches: u64,
    /// The last failure.
    pub last_error: Option<String>,
    /// Appends waiting.
    pub queue_appends: usize,
    /// What they take, in bytes, roughly.
    pub queue_bytes: usize,
    /// Everything before is durable.
    pub durable: LogPosition,
    /// Everything before was answered.
    pub delivered: LogPosition,
}
