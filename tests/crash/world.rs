//! One machine and its lives: starts, crashes, and what must hold in between. One seed decides
//! everything.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jcas::actors::recovery::{self, Recovered, RecoveryError};
use jcas::clock::Clock;
use jcas::events::decide_registry::RegistryCommand;
use jcas::events::ids::DeploymentId;
use jcas::events::record::LogPosition;
use jcas::events::stamp::EventRef;
use jcas::files::Files;
use jcas::log::{Log, LogError, LogOptions, LogReader, Opened, export};
use jcas::state::checkpoint::{self, Reading};
use jcas::state::error::StateError;
use jcas::state::folder::StateFolder;

use crate::checks::{check_state, read_log};
use crate::commands::EARLY_MS;
use crate::inputs::{HandClock, SeededEntropy};
use crate::ledger::{Checked, Ledger, ensure};
use crate::life::Life;
use crate::points::{Point, Points};
use crate::sim_disk::{Faults, Seeded, SimDisk};
use crate::trees::LossyTrees;

const DEPLOYMENT: DeploymentId = DeploymentId([7; 16]);

/// Most appends that wait in the log's queue.
pub(crate) const QUEUE_APPENDS: usize = 16;

/// What the simulated device holds, in bytes.
pub(crate) const DEVICE_BYTES: u64 = 1 << 40;

/// What is broken on purpose, to see that it is noticed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sabotage {
    /// Syncs of files and folders do nothing.
    pub(crate) ignore_sync: bool,
    /// Flushes of the trees do nothing.
    pub(crate) ignore_flush: bool,
}

/// A body that must be gone.
pub(crate) struct Erased {
    pub(crate) reference: EventRef,
    pub(crate) position: LogPosition,
    pub(crate) bytes: Box<[u8]>,
}

/// The machine, and everything the test knows of it.
pub(crate) struct World {
    pub(crate) random: Seeded,
    pub(crate) disk: SimDisk,
    pub(crate) trees: LossyTrees,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) ledger: Ledger,
    pub(crate) points: Points,
    /// What happened, a line each.
    pub(crate) trace: Vec<String>,
    pub(crate) erased: Vec<Erased>,
    /// Commands asked so far.
    pub(crate) numbers: u64,
    /// Where the last checkpoint that was reported as taken ends.
    pub(crate) checkpoint: Option<LogPosition>,
    entropy: Arc<SeededEntropy>,
    sabotage: Sabotage,
}

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    PowerLost,
    Killed,
    Stopped,
}

/// Where a log lies on the simulated disk.
pub(crate) fn log_folder() -> PathBuf {
    PathBuf::from("/data/log")
}

fn state_folder() -> PathBuf {
    PathBuf::from("/data/state")
}

impl World {
    /// A new machine.
    pub(crate) fn new(seed: u64, sabotage: Sabotage) -> Self {
        let disk = SimDisk::new();
        let mut random = Seeded::new(seed);
        let entropy = Arc::new(SeededEntropy::new(random.draw()));
        let trees = LossyTrees::new(disk.clone(), &state_folder(), sabotage.ignore_flush);
        Self {
            random,
            disk,
            trees,
            clock: Arc::new(HandClock::new(EARLY_MS + 10_000_000)),
            ledger: Ledger::default(),
            points: Points::default(),
            trace: Vec::new(),
            erased: Vec::new(),
            numbers: 0,
            checkpoint: None,
            entropy,
            sabotage,
        }
    }

    /// Adds a line to the trace.
    pub(crate) fn note(&mut self, line: impl Into<String>) {
        self.trace.push(line.into());
    }

    /// Faults for what comes next.
    pub(crate) fn arm(&self, faults: Faults) {
        self.disk.set_faults(Faults { ignore_sync: self.sabotage.ignore_sync, ..faults });
    }

    /// Several lives, each ended somehow, and a last look at what is left.
    pub(crate) fn run(&mut self) -> Checked {
        let lives = 4 + self.random.below(4);
        for _ in 0..lives {
            if let Some(mut life) = self.start(true)? {
                let end = self.live(&mut life)?;
                self.end(life, end)?;
            }
        }
        let Some(life) = self.start(false)? else { return Err("it does not start".into()) };
        self.end(life, End::PowerLost)
    }

    /// Starts a node. None: it crashed on the way.
    fn start(&mut self, faults: bool) -> Checked<Option<Life>> {
        self.arm(Faults::default());
        self.disk.set_space(DEVICE_BYTES, DEVICE_BYTES);
        self.check_checkpoint()?;
        if faults {
            self.arm_start();
        }
        let Some(recovered) = self.recover()? else { return Ok(None) };
        self.arm(Faults::default());
        if let Some(kv) = self.trees.newest() {
            kv.fail_after(None);
        }
        if faults && self.random.chance(8) {
            let power_off_after = Some(self.random.below(5));
            self.arm(Faults { power_off_after, ..Faults::default() });
        }
        let tag = u32::try_from(self.random.draw() & 0xffff_ffff).unwrap();
        let clock: Arc<dyn Clock> = self.clock.clone();
        let (mut life, opened) = Life::start(recovered, clock, self.entropy.clone(), tag)?;
        life.ask_registry(None, RegistryCommand::OpenOrigin(opened));
        life.turn();
        if self.disk.is_off() {
            self.points.hit(Point::NewLife);
            self.note("no new life");
            let end = self.draw_crash();
            self.end(life, end)?;
            return Ok(None);
        }
        self.arm(Faults::default());
        life.engines.deliver_all();
        self.poll(&mut life)?;
        ensure!(life.pending.is_empty(), "the new life was not recorded");
        Ok(Some(life))
    }

    fn arm_start(&mut self) {
        match self.random.below(100) {
            0..25 => {
                let power_off_after = Some(self.random.below(16));
                self.arm(Faults { power_off_after, ..Faults::default() });
            }
            25..40 => {
                let changes = u64::try_from(self.random.below(25)).unwrap();
                self.trees.fail_next_after(Some(changes));
            }
            _ => {}
        }
    }

    /// Opens log and state as a node does, and compares both with what is known.
    fn recover(&mut self) -> Checked<Option<Recovered<LossyTrees>>> {
        let files: Arc<dyn Files> = Arc::new(self.disk.clone());
        let clock = Arc::clone(&self.clock);
        let options = LogOptions {
            segment_bytes: 4096,
            group_bytes: 2048,
            queue_appends: QUEUE_APPENDS,
            ..LogOptions::new(DEPLOYMENT, Arc::new(move || clock.monotonic()))
        };
        let (log, opened) = match Log::open(Arc::clone(&files), &log_folder(), options) {
            Ok(opened) => opened,
            Err(LogError::Io { .. }) if self.disk.is_off() => {
                return self.crashed_at(Point::RecoveryOfLog);
            }
            Err(error) => return Err(format!("the log does not open: {error:?}")),
        };
        self.note(format!("opened at {}, cut {}", opened.end, opened.cut_bytes));
        self.check_opened(&log, &opened)?;
        let reach = self.trees.reach()?;
        ensure!(reach <= opened.end, "a state knows of what lies below {reach}");
        let rebuild = self.random.chance(10);
        let folder = StateFolder::over(&state_folder(), files, self.trees.clone());
        let folder = folder.map_err(|error| error.to_string())?;
        let recovered = match recovery::recover(log, &opened, folder, rebuild, |_| {}) {
            Ok(recovered) => recovered,
            Err(RecoveryError::State(StateError::Store { .. } | StateError::File { .. }))
                if self.is_struck() =>
            {
                return self.crashed_at(Point::RecoveryOfState);
            }
            Err(error) => return Err(format!("no recovery: {error:?}")),
        };
        if rebuild {
            self.points.hit(Point::Rebuilt);
        }
        self.check_recovered(&recovered)?;
        if let Err(error) = recovered.checkpoint() {
            ensure!(self.is_struck(), "no first checkpoint: {error:?}");
            drop(recovered);
            return self.crashed_at(Point::RecoveryCheckpoint);
        }
        self.checkpoint = Some(recovered.log.durable());
        Ok(Some(recovered))
    }

    /// Whether a fault has ended the process.
    pub(crate) fn is_struck(&self) -> bool {
        self.disk.is_off() || self.trees.newest().is_some_and(|kv| kv.is_off())
    }

    fn crashed_at<T>(&mut self, point: Point) -> Checked<Option<T>> {
        self.points.hit(point);
        self.note(format!("crashed: {point:?}"));
        let end = self.draw_crash();
        self.crash(end)?;
        Ok(None)
    }

    /// What an opened log shows is on the disk, and what was erased is not.
    fn check_opened(&self, log: &Log, opened: &Opened) -> Checked {
        ensure!(opened.end == log.durable(), "opened at {}, durable elsewhere", opened.end);
        self.check_durable(LogPosition::START, opened.end)?;
        let list = log_folder().join("erase.list");
        let len = self.disk.content(&list).map_or(0, |content| content.len());
        ensure!(self.disk.is_durable(&list, 0..len), "the erase list is not durable");
        for Erased { reference, position, .. } in &self.erased {
            ensure!(log.is_barred(reference), "{reference:?} may come back");
            let record = log.reader().read_at(*position).map_err(|error| error.to_string())?;
            ensure!(record.body.is_none(), "the body of {reference:?} is back");
        }
        Ok(())
    }

    fn check_recovered(&mut self, recovered: &Recovered<LossyTrees>) -> Checked {
        let log = read_log(&self.disk, &log_folder())?;
        let greatest = log.iter().map(|it| it.header.revision).max().unwrap_or_default();
        ensure!(recovered.greatest >= greatest, "the clock would go back behind {greatest}");
        let expected = self.ledger.check(&log)?;
        let Recovered { store, registry, .. } = recovered;
        check_state(store, registry, &recovered.log.reader(), &expected)
    }

    /// A checkpoint that was reported as taken is there, with its trees.
    fn check_checkpoint(&self) -> Checked {
        let Some(taken) = self.checkpoint else { return Ok(()) };
        let read = checkpoint::read(&self.disk, &state_folder());
        let Ok(Reading::Valid(found)) = read else {
            return Err(format!("a checkpoint at {taken} was taken, found was {read:?}"));
        };
        let below = found.applied_below;
        ensure!(below >= taken, "a checkpoint at {taken} was taken, found was one at {below}");
        ensure!(self.trees.has(found.generation), "the trees of the checkpoint are gone");
        Ok(())
    }

    /// Everything between two places of the log is on the disk, whatever happens now.
    pub(crate) fn check_durable(&self, from: LogPosition, to: LogPosition) -> Checked {
        for segment in from.segment().max(1)..=to.segment() {
            let path = segment_path(segment);
            let len = self.disk.content(&path).map_or(0, |content| content.len());
            let whole = |position: LogPosition| usize::try_from(position.offset()).unwrap();
            let start = if segment == from.segment() { whole(from) } else { 0 };
            let end = if segment == to.segment() { whole(to) } else { len };
            let durable = self.disk.is_durable(&path, start..end);
            ensure!(durable, "segment {segment} is said to be durable to {end} and is not");
        }
        Ok(())
    }

    /// The log and the state of a running node agree with each other and with what was answered.
    pub(crate) fn check_running(&mut self, life: &Life) -> Checked {
        let log = read_log(&self.disk, &log_folder())?;
        let expected = self.ledger.check(&log)?;
        let registry = Arc::clone(&life.view.borrow());
        let reader = life.checkpoints.log.reader();
        self.check_export(&reader, log.len())?;
        check_state(&life.checkpoints.store, &registry.state, &reader, &expected)
    }

    /// A copy of the log that is said to be made is on the disk.
    fn check_export(&self, reader: &LogReader, records: usize) -> Checked {
        let files: Arc<dyn Files> = Arc::new(self.disk.clone());
        let (path, all) = (PathBuf::from("/data/copy.seg"), (LogPosition::START, None));
        let report = export(&files, &path, reader, all, &mut |_, _| true, &mut |_, _| true);
        let report = report.map_err(|error| error.to_string())?;
        ensure!(report.records == records as u64, "{records} records, copied were {report:?}");
        let len = usize::try_from(report.bytes).map_err(|error| error.to_string())?;
        ensure!(self.disk.is_durable(&path, 0..len), "the copy is not durable");
        Ok(())
    }

    pub(crate) fn draw_crash(&mut self) -> End {
        if self.random.chance(60) { End::PowerLost } else { End::Killed }
    }

    /// Ends a life.
    fn end(&mut self, mut life: Life, end: End) -> Checked {
        self.note(format!("{end:?}, durable {}", life.checkpoints.log.durable()));
        self.trees.check_notes()?;
        if end == End::Stopped {
            self.arm(Faults::default());
            self.stop(&mut life)?;
            life.close();
        } else {
            self.disk.cut_off();
            life.close();
        }
        self.crash(end)
    }

    fn crash(&mut self, end: End) -> Checked {
        let (disk, trees) = (self.random.draw(), self.random.draw());
        match end {
            End::PowerLost => self.disk.crash(disk),
            End::Stopped if self.random.chance(50) => self.disk.crash(disk),
            End::Killed | End::Stopped => self.disk.restart(),
        }
        self.trees.crash(trees, &mut self.points);
        self.points.hit(match end {
            End::PowerLost => Point::PowerLost,
            End::Killed => Point::Killed,
            End::Stopped => Point::Stopped,
        });
        for Erased { reference, position, bytes } in &self.erased {
            let content = self.disk.content(&segment_path(position.segment()));
            let content = content.unwrap_or_default();
            let back = content.windows(bytes.len()).any(|window| *window == **bytes);
            ensure!(!back, "the body of {reference:?} is on the disk again");
        }
        Ok(())
    }
}

/// A segment's file.
pub(crate) fn segment_path(segment: u32) -> PathBuf {
    Path::new(&log_folder()).join(format!("{segment:08}.seg"))
}
