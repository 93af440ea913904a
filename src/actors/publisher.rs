//! The publisher: what this node recorded goes out, in order, from where it stopped.
//!
//! It reads the log rather than being told, so nothing is forgotten: what an earlier life of the
//! node left unpublished lies before what this one records, and goes first. [`PublisherEngine`] is
//! tested without a link; the replication actor carries what it gives.

use serde::Serialize;

use crate::events::codec;
use crate::events::ids::{DeploymentId, NodeName};
use crate::events::message::{SentRun, Why};
use crate::events::record::LogPosition;
use crate::replication::relay::{Relay, Ticket};

use super::runs::{ReadRun, RunError, RunReader};

/// The publisher without its link.
pub struct PublisherEngine {
    deployment: DeploymentId,
    own: NodeName,
    runs: RunReader,
    relay: Relay,
    view: PublisherView,
}

/// What the publisher shows of itself.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct PublisherView {
    /// Runs that were accepted.
    pub runs: u64,
    /// Events handed to the link, repeats included.
    pub events: u64,
    /// Times something was not accepted.
    pub failures: u64,
    /// Runs on their way.
    pub on_the_way: usize,
    /// Bytes of the log that were not looked at yet, within the segment at hand.
    pub backlog_bytes: u64,
}

impl PublisherEngine {
    /// A publisher of `own`'s events that goes on at `cursor`.
    pub fn new(
        deployment: DeploymentId,
        own: NodeName,
        runs: RunReader,
        cursor: LogPosition,
        window: usize,
    ) -> Self {
        // A cursor beyond the end is of a log that is not this one any more: what was cut may have
        // been replaced, so everything goes again. Receivers drop what they have.
        let cursor = if cursor > runs.log().end() { LogPosition::START } else { cursor };
        let (relay, view) = (Relay::new(cursor, window), PublisherView::default());
        Self { deployment, own, runs, relay, view }
    }

    /// The next message, if there is one and room for it. `asked`: somebody waits to hear who has
    /// what is in it.
    pub fn next(&mut self, asked: bool) -> Result<Option<(Ticket, Vec<u8>)>, RunError> {
        if !self.relay.has_room() || self.relay.read() >= self.runs.log().end() {
            return Ok(None);
        }
        let own = self.own;
        let read = self.runs.next(self.relay.read(), |origin, _| origin.name() == own)?;
        let ReadRun { run: Some(run), next } = read else {
            self.relay.passed(read.next);
            return Ok(None);
        };
        self.view.events += run.records.len() as u64;
        let sent = SentRun { run, why: Why::Published { asked } };
        let bytes = codec::encode_run(self.deployment, &sent)?;
        Ok(Some((self.relay.sent(next), bytes)))
    }

    /// A broker accepted a message.
    pub fn accepted(&mut self, ticket: Ticket) {
        self.view.runs += 1;
        self.relay.accepted(ticket);
    }

    /// None did, or nobody knows. Says whether it is news.
    pub fn failed(&mut self, ticket: Ticket) -> bool {
        let news = self.relay.failed(ticket);
        self.view.failures += u64::from(news);
        news
    }

    /// Everything before was accepted: where the next start goes on.
    pub const fn cursor(&self) -> LogPosition {
        self.relay.cursor()
    }

    /// Whether everything in the log was accepted.
    pub fn is_idle(&self) -> bool {
        self.relay.cursor() >= self.runs.log().end()
    }

    /// A snapshot.
    pub fn view(&self) -> PublisherView {
        let (read, end) = (self.relay.read().to_bits(), self.runs.log().end().to_bits());
        let backlog_bytes = end.saturating_sub(read);
        PublisherView { on_the_way: self.relay.on_the_way(), backlog_bytes, ..self.view }
    }
}
