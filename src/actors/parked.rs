//! Messages that could not be taken: kept aside with their reasons, a bounded number of them.
//!
//! They were acknowledged, so they block nothing. Whatever of them is worth having is fetched when
//! vectors are compared; they are kept so that somebody can see what came and from what it was cut.

use std::collections::VecDeque;

use bytes::Bytes;
use serde::Serialize;

use crate::events::codec;

/// Most messages that are kept. Older ones make room.
const MESSAGES_MAX: usize = 100;

/// Most bytes that are kept of them.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// The messages that are kept.
#[derive(Debug, Default)]
pub struct Parked {
    messages: VecDeque<(ParkedMessage, Bytes)>,
    bytes: usize,
    total: u64,
}

/// One message.
#[derive(Debug, Clone, Serialize)]
pub struct ParkedMessage {
    /// SHA-256 of its bytes.
    pub digest: String,
    /// How long it is, in bytes.
    pub bytes: usize,
    /// Why it was not taken.
    pub reason: String,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

/// All of them, as they are shown.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ParkedView {
    /// How many there were since the start.
    pub total: u64,
    /// Those that are kept, oldest first.
    pub messages: Vec<ParkedMessage>,
}

impl Parked {
    /// Keeps a message.
    pub fn park(&mut self, bytes: &Bytes, reason: &str, at_ms: u64) {
        let digest = codec::digest(bytes).to_string();
        let message =
            ParkedMessage { digest, bytes: bytes.len(), reason: reason.to_owned(), at_ms };
        self.bytes += bytes.len();
        self.total += 1;
        self.messages.push_back((message, bytes.clone()));
        while self.messages.len() > MESSAGES_MAX || self.bytes > BYTES_MAX {
            let Some((_, gone)) = self.messages.pop_front() else { break };
            self.bytes -= gone.len();
        }
    }

    /// Gives all messages back, to be taken again.
    pub fn take_all(&mut self) -> Vec<Bytes> {
        self.bytes = 0;
        self.messages.drain(..).map(|(_, bytes)| bytes).collect()
    }

    /// How it is shown.
    pub fn view(&self) -> ParkedView {
        let messages = self.messages.iter().map(|(message, _)| message.clone()).collect();
        ParkedView { total: self.total, messages }
    }
}
