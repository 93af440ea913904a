//! Calls that are made again: a node is started anew, has no room, or asks to wait.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cli::out;

use super::Answered;

/// Statuses after which the same call may come to something else: the node's own 408, 429 and 503,
/// and what those say who stand before a node that is away.
const AGAIN: [u16; 5] = [408, 429, 502, 503, 504];

/// The first wait where the answer names none, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(5));

/// How long calls are made again without getting on.
pub(super) struct Patience {
    limit: Duration,
    /// Whether there was an answer at all: before that, nobody may be there.
    heard: bool,
    /// Since when nothing gets on.
    since: Option<Instant>,
    wait: Duration,
    told: String,
}

impl Patience {
    pub(super) const fn new(limit: Duration) -> Self {
        Self { limit, heard: false, since: None, wait: WAITS.0, told: String::new() }
    }

    /// Makes a call until its answer is final, or patience ends. Comes back with the last answer,
    /// or why there is none.
    pub(super) fn ask(
        &mut self,
        mut call: impl FnMut() -> anyhow::Result<Answered>,
    ) -> anyhow::Result<Answered> {
        let answered = self.ask_on(&mut call);
        if answered.as_ref().is_ok_and(|it| !AGAIN.contains(&it.status)) {
            self.got_on();
        }
        answered
    }

    /// The same for a question whose answer gets nothing on.
    pub(super) fn ask_on(
        &mut self,
        mut call: impl FnMut() -> anyhow::Result<Answered>,
    ) -> anyhow::Result<Answered> {
        loop {
            let answered = call();
            let is_final = answered.as_ref().is_ok_and(|it| !AGAIN.contains(&it.status));
            if is_final || !self.waits_after(&answered) {
                return answered;
            }
        }
    }

    /// Something came of a call.
    pub(super) fn got_on(&mut self) {
        if self.since.is_some() {
            out::note("it goes on");
        }
        *self = Self { heard: true, ..Self::new(self.limit) };
    }

    /// Waits until the call may be made again. False: that would take too long, or nobody ever
    /// answered.
    pub(super) fn waits_after(&mut self, answered: &anyhow::Result<Answered>) -> bool {
        let (why, named) = match answered {
            Ok(answer) => (said(answer), answer.retry_after),
            Err(_) if !self.heard => return false,
            Err(error) => (format!("{error:#}"), None),
        };
        self.heard = true;
        let since = *self.since.get_or_insert_with(Instant::now);
        let wait = named.unwrap_or(self.wait);
        if since.elapsed() + wait > self.limit {
            return false;
        }
        if why != self.told {
            out::note(&format!("{why}; asking again"));
            self.told = why;
        }
        self.wait = WAITS.1.min(self.wait * 2);
        pause(wait);
        true
    }
}

/// What an answer says in a problem's words.
fn said(answer: &Answered) -> String {
    let problem: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    match problem.get("detail").and_then(Value::as_str) {
        Some(detail) => detail.to_owned(),
        None => format!("the answer has status {}", answer.status),
    }
}

#[expect(clippy::disallowed_methods, reason = "a command that waits for a service has no events")]
pub(super) fn pause(time: Duration) {
    std::thread::sleep(time);
}
