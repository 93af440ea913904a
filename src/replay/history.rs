//! One log, or several of one deployment read as one: every event once.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::events::codec;
use crate::events::ids::{DeploymentId, UserId};
use crate::events::record::{Header, LogPosition};
use crate::events::stamp::Revision;
use crate::files::Files;
use crate::log::{LogReader, Scan, StoredRecord};

use super::coverage::{Coverage, Meeting};
use super::fold::ReplayError;
use super::index::Way;

/// Logs of one deployment.
#[derive(Clone)]
pub struct History {
    sources: Vec<Source>,
    deployment: DeploymentId,
    until: Option<Revision>,
    /// Whether events are told apart by more than their numbers.
    compared: bool,
}

#[derive(Clone)]
struct Source {
    path: PathBuf,
    reader: LogReader,
}

impl History {
    /// Opens logs' folders, segments and exports. All must be of one deployment.
    pub fn open(files: &Arc<dyn Files>, paths: &[PathBuf]) -> Result<Self, ReplayError> {
        let mut sources: Vec<Source> = Vec::new();
        for path in paths {
            let reader = LogReader::open_path(files, path)?;
            if let Some(first) = sources.first()
                && first.reader.deployment() != reader.deployment()
            {
                return Err(ReplayError::Mixed {
                    path: path.clone(),
                    found: reader.deployment(),
                    first: first.path.clone(),
                    expected: first.reader.deployment(),
                });
            }
            sources.push(Source { path: path.clone(), reader });
        }
        let deployment = sources.first().map(|source| source.reader.deployment());
        let deployment = deployment.ok_or(ReplayError::Nothing)?;
        let compared = sources.len() > 1;
        Ok(Self { sources, deployment, until: None, compared })
    }

    /// The same, to be compared with another history: what is met can be told apart by more than
    /// its number, which takes eight bytes an event.
    #[must_use]
    pub fn compared(self) -> Self {
        Self { compared: true, ..self }
    }

    /// The same without the events recorded after a reading.
    #[must_use]
    pub fn until(&self, until: Option<Revision>) -> Self {
        Self { until, ..self.clone() }
    }

    /// Whether it is of one log alone, whose order is the one in which its node heard of things.
    pub const fn is_of_one_log(&self) -> bool {
        self.sources.len() == 1
    }

    /// Whose events they are.
    pub const fn deployment(&self) -> DeploymentId {
        self.deployment
    }

    /// The file or folder at a place among those given.
    pub fn path(&self, source: usize) -> Option<&Path> {
        self.sources.get(source).map(|source| source.path.as_path())
    }

    /// The log at a place among those given.
    pub fn reader(&self, source: usize) -> Option<&LogReader> {
        self.sources.get(source).map(|source| &source.reader)
    }

    /// Every event, log after log, each where it is met first.
    pub(super) fn events(&self) -> Events<'_> {
        let coverage = Coverage::new(self.compared);
        Events { history: self, at: 0, of: None, walk: None, passed_end: false, coverage }
    }

    /// The events about some users, and maybe others. One log's indexes are asked; where logs are
    /// compared, every event tells something.
    pub(super) fn events_of<'a>(&'a self, users: &'a BTreeSet<UserId>) -> Events<'a> {
        let of = (self.is_of_one_log() && !self.compared).then_some(users);
        Events { of, ..self.events() }
    }
}

/// An event and where it was met.
#[derive(Debug)]
pub struct Met {
    /// The log, by its place among those given.
    pub source: usize,
    /// Where it lies there, and its bytes.
    pub stored: StoredRecord,
    /// Everything about it but its content.
    pub header: Header,
    /// Whether something recorded after the history's end lies before it in that log.
    pub is_late: bool,
}

/// The events of a history.
pub(super) struct Events<'a> {
    history: &'a History,
    at: usize,
    /// Whose events are looked for; everybody's if none.
    of: Option<&'a BTreeSet<UserId>>,
    walk: Option<Walk>,
    /// Whether something recorded after the history's end was passed in this log.
    passed_end: bool,
    coverage: Coverage,
}

/// How a log is gone through.
enum Walk {
    /// From end to end.
    Scan(Box<Scan>),
    /// By its indexes.
    Way(Box<Way>),
}

impl Events<'_> {
    /// Which events were met.
    pub(super) fn into_coverage(self) -> Coverage {
        self.coverage
    }

    fn read(&mut self) -> Result<Option<Met>, ReplayError> {
        loop {
            let Some(source) = self.history.sources.get(self.at) else { return Ok(None) };
            let (until, of) = (self.history.until, self.of);
            let walk = self.walk.get_or_insert_with(|| match of {
                Some(users) => Walk::Way(Box::new(Way::new(&source.reader, users, until))),
                None => Walk::Scan(Box::new(source.reader.scan(LogPosition::START, None))),
            });
            let stored = match walk {
                Walk::Scan(scan) => scan.next(),
                Walk::Way(way) => way.next().inspect(|_| self.passed_end |= way.is_behind_end()),
            };
            let Some(stored) = stored else {
                (self.at, self.walk, self.passed_end) = (self.at + 1, None, false);
                continue;
            };
            let stored = stored?;
            let header = codec::decode_header(&stored.record.header)
                .map_err(ReplayError::record(stored.position))?;
            if self.history.until.is_some_and(|until| header.revision > until) {
                self.passed_end = true;
                continue;
            }
            if self.coverage.meet(self.at, &header, &stored.record.header) == Meeting::New {
                let is_late = self.passed_end;
                return Ok(Some(Met { source: self.at, stored, header, is_late }));
            }
        }
    }
}

impl Iterator for Events<'_> {
    type Item = Result<Met, ReplayError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}
