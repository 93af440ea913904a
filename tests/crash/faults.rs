//! What goes wrong within a life: writes, syncs, checkpoints, blanking, a full disk.

use std::cell::RefCell;

use jcas::actors::rebuilding::{Around, Rebuilt};
use jcas::events::codec;
use jcas::events::event::Event;
use jcas::events::record::LogPosition;
use jcas::log::{LogError, LogStatus};

use crate::commands;
use crate::ledger::{Checked, ensure};
use crate::life::Life;
use crate::points::Point;
use crate::sim_disk::{Faults, Op};
use crate::steps::Next;
use crate::world::{DEVICE_BYTES, Erased, World, segment_path};

/// What was made to go wrong in a turn of the writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Power,
    Full,
    Late,
    Sync,
}

impl World {
    /// Lets the writer write, perhaps with something going wrong.
    pub(crate) fn turn(&mut self, life: &mut Life) -> Checked<Next> {
        let fault = self.arm_turn();
        self.disk.take_struck();
        life.turn();
        let struck = self.disk.take_struck();
        if let Some((op, path)) = &struck {
            self.note(format!("{fault:?} at {op:?} of {}", path.display()));
            let making = path.extension().is_some_and(|extension| extension == "new");
            self.points.hit(match (fault, op) {
                (Fault::Full, _) => Point::DiskFull,
                (Fault::Late, _) => Point::LateError,
                (Fault::Sync, _) => Point::SyncFailed,
                (_, Op::Create | Op::Rename | Op::Remove | Op::SyncFolder) => Point::Roll,
                _ if making => Point::Roll,
                (_, Op::Write) => Point::AppendWrite,
                _ => Point::AppendSync,
            });
        }
        if self.disk.is_off() {
            return Ok(Next::Ends(self.draw_crash()));
        }
        self.arm(Faults::default());
        let durable = life.writer.durable();
        self.check_durable(life.durable, durable)?;
        life.durable = durable;
        if fault == Fault::Full && struck.is_some() {
            self.disk.set_space(DEVICE_BYTES, 0);
            life.full_for = Some(3 + self.random.below(10));
        }
        if let Some(error) = life.fatal() {
            ensure!(fault == Fault::Sync && struck.is_some(), "the node stops: {error}");
            life.engines.deliver_all();
            self.poll(life)?;
            return Ok(Next::Ends(self.draw_crash()));
        }
        let stopped = fault == Fault::Sync && struck.is_some();
        ensure!(!stopped, "a failed sync did not stop the node");
        Ok(Next::GoesOn)
    }

    fn arm_turn(&mut self) -> Fault {
        let some = |count| Some(count);
        let faults = Faults::default();
        let (fault, faults) = match self.random.below(100) {
            0..9 => {
                let power_off_after = some(self.random.below(7));
                (Fault::Power, Faults { power_off_after, ..faults })
            }
            9..13 => {
                let full_after_writes = some(self.random.below(3));
                (Fault::Full, Faults { full_after_writes, ..faults })
            }
            13..18 => {
                let late_error_after_writes = some(self.random.below(3));
                (Fault::Late, Faults { late_error_after_writes, ..faults })
            }
            18..21 => {
                let sync_fails_after = some(self.random.below(4));
                (Fault::Sync, Faults { sync_fails_after, ..faults })
            }
            _ => (Fault::None, faults),
        };
        self.arm(faults);
        fault
    }

    /// The disk is full for a while: reads go on, and it ends by itself.
    pub(crate) fn disk_fills_and_empties(&mut self, life: &mut Life) -> Checked {
        match &mut life.full_for {
            None if self.random.chance(1) => {
                self.note("the disk fills up");
                self.disk.set_space(DEVICE_BYTES, 0);
                life.full_for = Some(3 + self.random.below(10));
            }
            None => {}
            Some(0) => {
                self.note("the disk has space again");
                self.disk.set_space(DEVICE_BYTES, DEVICE_BYTES);
                (life.full_for, life.had_space_again) = (None, true);
                self.clock.advance(1000);
                let status = life.writer.status();
                ensure!(status == LogStatus::Writable, "there is space, and the log is {status:?}");
            }
            Some(left) => {
                *left -= 1;
                for user in commands::users() {
                    ensure!(life.engines.read(user).is_ok(), "a full disk stops readers");
                }
            }
        }
        Ok(())
    }

    /// Takes a checkpoint beside commands under way, perhaps with something going wrong.
    pub(crate) fn take_checkpoint(&mut self, life: &mut Life) -> Checked<Next> {
        let fault = self.random.below(100);
        if fault < 25 {
            let power_off_after = Some(self.random.below(7));
            self.arm(Faults { power_off_after, ..Faults::default() });
        }
        self.disk.take_struck();
        let kv = self.trees.newest();
        let Life { checkpoints, engines, .. } = &mut *life;
        let taken = checkpoints.take(|| {
            engines.deliver_all();
            if let Some(kv) = kv.filter(|_| (25..33).contains(&fault)) {
                kv.fail_after(Some(0));
            }
            true
        });
        match taken {
            Ok(Some(below)) => {
                self.note(format!("checkpoint at {below}"));
                self.checkpoint = Some(below);
                self.arm(Faults::default());
                self.poll(life)?;
                Ok(Next::GoesOn)
            }
            Ok(None) => Err("the engines did not settle".into()),
            Err(error) => {
                ensure!(self.is_struck(), "no checkpoint: {error}");
                self.points.hit(match self.disk.take_struck() {
                    None => Point::BeforeFlush,
                    Some((Op::Remove | Op::Create, _)) => Point::BetweenFlushAndFile,
                    Some((Op::Write | Op::Sync | Op::SetLen, _)) => Point::CheckpointFile,
                    Some((Op::Rename | Op::SyncFolder, _)) => Point::CheckpointReplaced,
                });
                self.note("no checkpoint");
                Ok(Next::Ends(self.draw_crash()))
            }
        }
    }

    /// Folds the log into new trees beside commands under way and puts them in the place of the old
    /// ones, perhaps with something going wrong.
    pub(crate) fn rebuild(&mut self, life: &mut Life) -> Checked<Next> {
        if self.random.below(100) < 40 {
            let power_off_after = Some(self.random.below(12));
            self.arm(Faults { power_off_after, ..Faults::default() });
        }
        self.disk.take_struck();
        let Life { checkpoints, engines, view, .. } = &mut *life;
        let registry = std::sync::Arc::clone(&view.borrow());
        let engines = RefCell::new(engines);
        let settle = || {
            engines.borrow_mut().deliver_all();
            true
        };
        let (distrust, read_below) = (&registry.state.distrust, LogPosition::START);
        let around = Around { distrust, read_below, settle: &settle, stopped: &|| false };
        let rebuilt = checkpoints.rebuild(&around).map_err(|error| error.to_string());
        let removed = rebuilt.and_then(|rebuilt| {
            let Some(Rebuilt { below, retired }) = rebuilt else { return Ok(None) };
            drop(retired);
            let removed = checkpoints.folder.remove_all_but(Some(checkpoints.generation));
            removed.map_err(|error| error.to_string())?;
            Ok(Some(below))
        });
        match removed {
            Ok(Some(below)) => {
                self.note(format!("trees exchanged at {below}"));
                self.points.hit(Point::Exchanged);
                self.checkpoint = Some(below);
                self.arm(Faults::default());
                self.poll(life)?;
                Ok(Next::GoesOn)
            }
            Ok(None) => Err("the engines did not settle".into()),
            Err(error) => {
                ensure!(self.is_struck(), "no rebuild: {error}");
                self.points.hit(Point::ExchangeFailed);
                self.note("no rebuild");
                Ok(Next::Ends(self.draw_crash()))
            }
        }
    }

    /// Blanks the body of a key, perhaps with something going wrong.
    pub(crate) fn blank(&mut self, life: &mut Life) -> Checked<Next> {
        let user = commands::user(self.random.below(6));
        let keys = life.checkpoints.store.key_positions(user).map_err(|error| error.to_string())?;
        let Some((_, position)) = keys.first().copied() else { return Ok(Next::GoesOn) };
        let log = std::sync::Arc::clone(&life.checkpoints.log);
        let stored = log.reader().scan(position, None).next();
        let stored = stored.ok_or("a key is nowhere")?.map_err(|error| error.to_string())?;
        let decoded = codec::decode_record(&stored.record).map_err(|error| error.to_string())?;
        let (header, fact) = decoded;
        let Some(Event::UserKeyCreated(created)) = fact.event else { return Ok(Next::GoesOn) };
        let faults = match self.random.below(100) {
            0..40 => Faults { power_off_after: Some(self.random.below(4)), ..Faults::default() },
            40..55 => Faults { sync_fails_after: Some(1), ..Faults::default() },
            _ => Faults::default(),
        };
        self.arm(faults);
        self.disk.take_struck();
        let mut blanked = log.blank(&[position]);
        let struck = self.disk.take_struck();
        if self.disk.is_off() {
            let list = struck.is_some_and(|(_, path)| path.ends_with("erase.list"));
            self.points.hit(if list { Point::BlankList } else { Point::BlankBodies });
            self.note("blanking ends");
            return Ok(Next::Ends(self.draw_crash()));
        }
        self.arm(Faults::default());
        if blanked.is_err() && struck.is_some() {
            blanked = log.blank(&[position]);
        }
        blanked.map_err(|error: LogError| format!("cannot blank: {error}"))?;
        self.note(format!("blanked {position}"));
        let whole = |at: LogPosition| usize::try_from(at.offset()).unwrap_or(usize::MAX);
        let range = whole(position)..whole(stored.next);
        let durable = self.disk.is_durable(&segment_path(position.segment()), range);
        ensure!(durable, "a body is said to be gone and may come back");
        let (reference, bytes) = (header.reference(), created.wrapped);
        self.erased.push(Erased { reference, position, bytes });
        Ok(Next::GoesOn)
    }

    /// The trees take a few more changes and then fail: the node must stop.
    pub(crate) fn fail_trees(&mut self, life: &mut Life) -> Checked<Next> {
        let Some(kv) = self.trees.newest() else { return Ok(Next::GoesOn) };
        let changes = u64::try_from(self.random.below(6)).unwrap_or_default();
        kv.fail_after(Some(changes));
        for _ in 0..3 {
            life.engines.deliver_all();
            self.poll(life)?;
            life.turn();
            self.note_durable(life)?;
        }
        life.engines.deliver_all();
        self.poll(life)?;
        if kv.is_off() {
            self.note("the trees failed");
            self.points.hit(Point::InsertFailed);
        }
        Ok(Next::Ends(self.draw_crash()))
    }
}
