//! Goes through a whole log and lists everything that is wrong with it. Changes nothing.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::events::codec;
use crate::events::ids::DeploymentId;
use crate::events::record::LogPosition;
use crate::events::stamp::{EventRef, Revision};
use crate::files::Files;

use super::chain::{ChainEnd, Vector};
use super::cursor::{Cursor, Frame, Halt};
use super::erase::Erased;
use super::error::{Fault, LogError};
use super::export::is_finished;
use super::frame::Commit;
use super::head::{FileKind, SegmentHead};
use super::packed::BadBlock;
use super::segments::{Found, Segments};
use super::told;

/// Most findings that are listed; more are counted.
const FINDINGS_MAX: usize = 1000;

/// How often progress is told, in bytes.
const PROGRESS_BYTES: u64 = 16 * 1024 * 1024;

/// How far a verification is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The segment at hand.
    pub segment: u32,
    /// The last segment.
    pub segments: u32,
    /// Bytes of all segments that are done.
    pub bytes: u64,
}

/// One thing that is wrong, or at least worth knowing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where.
    #[serde(serialize_with = "told::position")]
    pub position: LogPosition,
    /// What.
    pub problem: Problem,
}

/// What can be wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "problem")]
pub enum Problem {
    /// Something that was durable cannot be read.
    #[error("damaged: {fault}")]
    Damage {
        /// What is wrong there.
        fault: Fault,
    },
    /// A block of a packed export cannot be unpacked.
    #[error("damaged at byte {at} of the file: {fault}")]
    Block {
        /// Bytes from the file's start.
        at: u64,
        /// What is wrong there.
        fault: Fault,
    },
    /// The end of the last segment was never durable; opening the log cuts it.
    #[error("torn tail of {bytes} bytes")]
    TornTail {
        /// How long it is.
        bytes: u64,
    },
    /// The export was cut, or is still being written.
    #[error("the file ends before the export does")]
    Unfinished,
    /// A segment's head, or a record's header, cannot be read.
    #[error("unreadable: {reason}")]
    Unreadable {
        /// Why.
        reason: String,
    },
    /// Events are missing.
    #[error("{reference:?} where {expected} is next")]
    Gap {
        /// The event that was found.
        reference: EventRef,
        /// The number that was expected.
        expected: u64,
    },
    /// The event follows another header than the one before it.
    #[error("{reference:?} does not follow the header before it")]
    ChainBreak {
        /// The event.
        reference: EventRef,
    },
    /// The body is not the one the header names.
    #[error("{reference:?} has another body than its header names")]
    BodyDigest {
        /// The event.
        reference: EventRef,
    },
    /// The record belongs to another deployment.
    #[error("{reference:?} belongs to deployment {deployment}")]
    Foreign {
        /// The event.
        reference: EventRef,
        /// Whose it is.
        deployment: DeploymentId,
    },
}

/// What a log holds and what is wrong with it.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Whose it is.
    pub deployment: DeploymentId,
    /// How many segments.
    pub segments: u32,
    /// Records that a commit frame follows.
    pub records: u64,
    /// Of these, how many are blanked.
    pub blanked: u64,
    /// Commit frames.
    pub commits: u64,
    /// Bytes of all segments.
    pub bytes: u64,
    /// The greatest revision.
    #[serde(serialize_with = "told::revision")]
    pub greatest_revision: Revision,
    /// Where the last valid commit frame ends.
    #[serde(serialize_with = "told::position")]
    pub end: LogPosition,
    /// Every origin's last event.
    #[serde(serialize_with = "told::vector")]
    pub vector: Vector,
    /// What is wrong: the first thousand things.
    pub findings: Vec<Finding>,
    /// How many things are wrong.
    pub findings_total: u64,
}

impl Report {
    /// Whether nothing is wrong. A torn tail is nothing wrong.
    pub fn is_sound(&self) -> bool {
        let torn = |finding: &Finding| matches!(finding.problem, Problem::TornTail { .. });
        self.findings_total <= 1 && self.findings.iter().all(torn)
    }
}

/// Verifies a log's folder, one segment or an export. Only what prevents any reading is an error;
/// everything else is a finding, and reading goes on behind it. In an export gaps are no findings.
pub fn verify(
    files: &Arc<dyn Files>,
    path: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, LogError> {
    let found = Found::at(files, path)?;
    let (segments, first, last) = (&found.segments, found.first, found.last);
    if let Some(packed) = segments.in_packed()
        && packed.is_without_blocks()
    {
        packed.expect_sound()?;
        return Err(LogError::Nothing { path: path.to_owned() });
    }
    let head = SegmentHead::read(segments.open(first)?.as_ref(), &segments.path(first))?;
    if let Some(packed) = segments.in_packed() {
        packed.go_on_behind_damage();
    }
    let mut check = Check::new(segments, found.erased(head.deployment)?, &head, last);
    for segment in first..=last {
        check.segment(segment, progress)?;
    }
    if head.kind == FileKind::Export && !is_finished(&found, head.deployment)? {
        check.find(check.report.end, Problem::Unfinished);
    }
    Ok(check.report)
}

/// A verification in progress.
struct Check<'a> {
    segments: &'a Segments,
    erased: Erased,
    last: u32,
    /// An export holds a selection: gaps are expected.
    selection: bool,
    report: Report,
    /// Bytes told to `progress` last.
    told: u64,
    pending: Pending,
    /// The first fault behind the durable end. It is damage once a commit frame names more.
    fault: Option<(LogPosition, Fault)>,
}

/// What was read and is not known to be durable yet.
#[derive(Default)]
struct Pending {
    records: u64,
    blanked: u64,
    commits: u64,
    greatest: Revision,
    vector: Vector,
    findings: Vec<Finding>,
}

impl<'a> Check<'a> {
    fn new(segments: &'a Segments, erased: Erased, head: &SegmentHead, last: u32) -> Self {
        let report = Report {
            deployment: head.deployment,
            segments: 0,
            records: 0,
            blanked: 0,
            commits: 0,
            bytes: 0,
            greatest_revision: head.greatest_revision,
            end: LogPosition::new(head.segment, head.len()),
            vector: Vector::new(),
            findings: Vec::new(),
            findings_total: 0,
        };
        let selection = head.kind == FileKind::Export;
        let pending = Pending::default();
        Self { segments, erased, last, selection, report, told: 0, pending, fault: None }
    }

    fn find(&mut self, position: LogPosition, problem: Problem) {
        self.report.findings_total += 1;
        if self.report.findings.len() < FINDINGS_MAX {
            self.report.findings.push(Finding { position, problem });
        }
    }

    fn segment(&mut self, number: u32, progress: &mut dyn FnMut(Progress)) -> Result<(), LogError> {
        let path = self.segments.path(number);
        let file = self.segments.open(number)?;
        let len = file.len().map_err(LogError::io("measure", &path))?;
        let done = self.report.bytes;
        self.report.bytes += len;
        self.report.segments += 1;
        let deployment = self.report.deployment;
        let read = SegmentHead::read(file.as_ref(), &path)
            .and_then(|head| head.expect(&path, deployment, number).map(|()| head))
            .and_then(|head| head.read_vector(file.as_ref(), &path).map(|vector| (head, vector)));
        let (head, vector) = match read {
            Ok(read) => read,
            Err(error @ LogError::Io { .. }) => return Err(error),
            Err(error) => {
                let reason = error.to_string();
                self.find(LogPosition::new(number, 0), Problem::Unreadable { reason });
                return Ok(());
            }
        };
        self.begin(&head, vector);
        let end = u32::try_from(len).unwrap_or(u32::MAX);
        let mut cursor = Cursor::new(file, deployment, number, head.len(), end, true);
        loop {
            let bytes = done + u64::from(cursor.offset());
            if bytes >= self.told + PROGRESS_BYTES {
                self.told = bytes;
                progress(Progress { segment: number, segments: self.last, bytes });
            }
            if self.step(&mut cursor, number).map_err(LogError::io("read", &path))? {
                break;
            }
        }
        self.end_segment(number, len);
        self.blocks();
        progress(Progress { segment: number, segments: self.last, bytes: self.report.bytes });
        Ok(())
    }

    /// Tells what is wrong with the blocks of a packed export.
    fn blocks(&mut self) {
        let wrong = self.segments.in_packed().map(|packed| packed.take_wrong());
        for BadBlock { position, at, fault } in wrong.unwrap_or_default() {
            self.find(position, Problem::Block { at, fault });
        }
    }

    /// Compares a segment's head with what was read before it.
    fn begin(&mut self, head: &SegmentHead, vector: Vector) {
        let end = self.report.end;
        let follows = end.segment().saturating_add(1) == head.segment;
        if follows && end.offset() != head.previous_end {
            self.find(end, Problem::Damage { fault: Fault::Short });
        }
        // What the head says is what its writer knew; after damage it is the better source.
        self.report.vector.extend(vector);
        self.report.end = LogPosition::new(head.segment, head.len());
        self.report.greatest_revision = self.report.greatest_revision.max(head.greatest_revision);
        self.pending = Pending::default();
    }

    /// Takes one frame; true at the end.
    fn step(&mut self, cursor: &mut Cursor, number: u32) -> std::io::Result<bool> {
        let at = LogPosition::new(number, cursor.offset());
        let in_batch = cursor.in_batch();
        let fault = match cursor.next() {
            Ok(Some(Frame::Record { position, header, body, .. })) => {
                let settled = self.erased.settle(position, header, body);
                self.record(position, header, settled.as_ref().ok().copied().flatten());
                self.pending.records += 1;
                match settled {
                    Ok(Some(_)) => {}
                    Ok(None) => self.pending.blanked += 1,
                    Err(fault) => self.fault = self.fault.or(Some((position, fault))),
                }
                return Ok(false);
            }
            Ok(Some(Frame::Seal { .. })) => return Ok(false),
            Ok(Some(Frame::Commit(commit))) => {
                self.commit(&commit);
                return Ok(false);
            }
            Ok(None) if !in_batch => return Ok(true),
            Ok(None) => Fault::NoCommit,
            Err(Halt::Fault(fault)) => fault,
            Err(Halt::Io(source)) => return Err(source),
        };
        self.fault = self.fault.or(Some((at, fault)));
        self.pending = Pending::default();
        let Some(commit) = cursor.resync()? else { return Ok(true) };
        self.commit(&commit);
        Ok(false)
    }

    /// Takes over what was pending, unless a fault lies in it and this frame does not say yet that
    /// it was durable.
    fn commit(&mut self, commit: &Commit) {
        self.pending.commits += 1;
        let names_more = commit.previous > self.report.end || commit.end.segment() < self.last;
        if self.fault.is_some() && !names_more {
            return;
        }
        if let Some((position, fault)) = self.fault.take() {
            self.find(position, Problem::Damage { fault });
        }
        let Pending { records, blanked, commits, greatest, vector, findings } =
            std::mem::take(&mut self.pending);
        for Finding { position, problem } in findings {
            self.find(position, problem);
        }
        let report = &mut self.report;
        report.records += records;
        report.blanked += blanked;
        report.commits += commits;
        report.greatest_revision = report.greatest_revision.max(greatest);
        report.vector.extend(vector);
        report.end = commit.end;
    }

    /// What is left behind the last commit frame is torn at the end of the log, damage elsewhere.
    fn end_segment(&mut self, number: u32, len: u64) {
        self.pending = Pending::default();
        let Some((position, fault)) = self.fault.take() else { return };
        let end = self.report.end;
        if number < self.last {
            self.find(position, Problem::Damage { fault });
        } else {
            let bytes = len.saturating_sub(end.offset().into());
            self.find(end, Problem::TornTail { bytes });
        }
    }

    /// Checks a record's place in its chain, and its body.
    fn record(&mut self, position: LogPosition, bytes: &[u8], body: Option<&[u8]>) {
        let header = match codec::decode_header(bytes) {
            Ok(header) => header,
            Err(error) => {
                let problem = Problem::Unreadable { reason: error.to_string() };
                return self.pending.findings.push(Finding { position, problem });
            }
        };
        let mut find = |problem| self.pending.findings.push(Finding { position, problem });
        let (origin, reference) = (header.origin, header.reference());
        if header.deployment != self.report.deployment {
            find(Problem::Foreign { reference, deployment: header.deployment });
        }
        let known = self.pending.vector.get(&origin).or_else(|| self.report.vector.get(&origin));
        let last = known.copied().unwrap_or(ChainEnd::EMPTY);
        let expected = last.sequence.saturating_add(1);
        if header.sequence == expected {
            if header.previous != last.head {
                find(Problem::ChainBreak { reference });
            }
        } else if !self.selection {
            find(Problem::Gap { reference, expected });
        }
        if body.is_some_and(|body| codec::digest(body) != header.body) {
            find(Problem::BodyDigest { reference });
        }
        let end = ChainEnd { sequence: header.sequence, head: codec::digest(bytes) };
        self.pending.vector.insert(origin, end);
        self.pending.greatest = self.pending.greatest.max(header.revision);
    }
}
