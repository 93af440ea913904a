//! Answers to fetches: what a peer lacks of a node, as sealed runs, a bounded number at a time.

use std::collections::BTreeMap;
use std::collections::VecDeque;

use crate::events::ids::NodeName;
use crate::events::message::{Fetch, SentRun, Why};
use crate::events::record::LogPosition;
use crate::events::run::Run;
use crate::events::stamp::{EventRef, Incarnation, Origin};

use crate::log::Vector;

use super::runs::{RunError, RunReader};
use super::standing;

/// Most runs in an answer: whoever wants more asks again.
const RUNS_MAX: usize = 32;

/// Answers that are remembered, so that whoever asks again is served from there on.
const PLACES_MAX: usize = 64;

/// Makes answers from the log.
pub struct Answers {
    runs: RunReader,
    /// Where the last answers ended: what the asker has by then, and where the log goes on.
    places: VecDeque<(NodeName, BTreeMap<Incarnation, u64>, LogPosition)>,
}

/// An answer in the making: one run at a time, so that others are not kept waiting.
pub struct Answer {
    /// Who asked.
    pub to: NodeName,
    node: NodeName,
    have: BTreeMap<Incarnation, u64>,
    at: LogPosition,
    left: usize,
    /// The run after the one that was given: whether there is one decides what is said.
    ahead: Option<Run>,
}

impl Answers {
    /// Answers from `runs`.
    pub const fn new(runs: RunReader) -> Self {
        Self { runs, places: VecDeque::new() }
    }

    /// Begins an answer from a log with this vector. None: the asker lacks nothing that is here.
    pub fn begin(
        &mut self,
        to: NodeName,
        fetch: Fetch,
        vector: &Vector,
    ) -> Result<Option<Answer>, RunError> {
        let (node, have) = (fetch.node, fetch.have.into_iter().collect::<BTreeMap<_, _>>());
        let known =
            |it: &(NodeName, BTreeMap<Incarnation, u64>, LogPosition)| it.0 == node && it.1 == have;
        let at = match self.places.iter().position(known).and_then(|at| self.places.remove(at)) {
            Some((_, _, at)) => at,
            None => match self.start(node, &have, vector)? {
                Some(start) => start,
                None => return Ok(None),
            },
        };
        let mut answer = Answer { to, node, have, at, left: RUNS_MAX, ahead: None };
        answer.ahead = answer.read(&self.runs)?;
        Ok(answer.ahead.is_some().then_some(answer))
    }

    /// Where the first event lies that the asker lacks, about; none where there is no such event.
    fn start(
        &self,
        node: NodeName,
        have: &BTreeMap<Incarnation, u64>,
        vector: &Vector,
    ) -> Result<Option<LogPosition>, RunError> {
        let mut start: Option<LogPosition> = None;
        for (origin, end) in standing::lives(vector, node) {
            let known = have.get(&origin.incarnation).copied().unwrap_or(0);
            if known < end.sequence {
                let next = EventRef { origin: *origin, sequence: known.saturating_add(1) };
                let near = self.runs.log().near(&next)?;
                start = Some(start.map_or(near, |start| start.min(near)));
            }
        }
        Ok(start)
    }

    /// The answer's next message; none when it is over.
    pub fn next(&mut self, answer: &mut Answer) -> Result<Option<SentRun>, RunError> {
        let Some(run) = answer.ahead.take() else { return Ok(None) };
        let origin = run.seal.origin;
        answer.have.insert(origin.incarnation, run.seal.sequence);
        answer.left = answer.left.saturating_sub(1);
        let place = answer.at;
        answer.ahead = answer.read(&self.runs)?;
        let more = answer.ahead.is_some();
        let last = answer.left == 0 || !more;
        if last {
            answer.ahead = None;
            self.places.push_back((answer.node, answer.have.clone(), place));
            if self.places.len() > PLACES_MAX {
                self.places.pop_front();
            }
        }
        Ok(Some(SentRun { run, why: Why::Fetched { last, more } }))
    }
}

impl Answer {
    fn read(&mut self, runs: &RunReader) -> Result<Option<Run>, RunError> {
        let (node, have) = (self.node, &self.have);
        let lacks = |origin: &Origin, sequence: u64| {
            let known = have.get(&origin.incarnation).copied().unwrap_or(0);
            origin.name() == node && sequence > known
        };
        let read = runs.next(self.at, lacks)?;
        self.at = read.next;
        Ok(read.run)
    }
}
