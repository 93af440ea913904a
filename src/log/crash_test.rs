//! Whatever was acknowledged survives any loss of power, and a batch survives whole or not at all.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, mpsc};

use crate::events::codec;
use crate::events::ids::Digest;
use crate::events::record::LogPosition;

use super::fixture::{HandClock, disk_files, folder, foreign, new_record, open, options, origin};
use super::sim_disk::{Faults, Seeded, SimDisk};
use super::*;

/// A batch that was given to the log: its bodies' digests, and whether it must be there.
struct Given {
    bodies: Vec<Digest>,
    acknowledged: bool,
}

/// Appends from the writer's own thread, so that one seed always gives the same run.
struct Run {
    writer: Option<LogWriter>,
    seeded: Seeded,
    epoch: u64,
    left: usize,
    outstanding: usize,
    number: u64,
    peer: ChainEnd,
    /// Whether a foreign batch is under way: the next one follows it.
    peer_waits: bool,
    given: Vec<Given>,
    positions: Vec<LogPosition>,
    finished: mpsc::Sender<()>,
}

fn bodies_of(batch: &Batch) -> Vec<Digest> {
    match batch {
        Batch::Own(records) => records.iter().map(|record| record.digest).collect(),
        Batch::Foreign(records) | Batch::Sealed(records, _) => {
            records.iter().map(|record| codec::digest(record.body.as_ref().unwrap())).collect()
        }
    }
}

impl Run {
    fn batch(&mut self) -> (Batch, Option<ChainEnd>) {
        let count = 1 + self.seeded.below(4);
        if !self.peer_waits && self.seeded.chance(20) {
            self.peer_waits = true;
            let (records, end) = foreign(origin("peer", 1), self.peer, count as u64);
            return (Batch::Foreign(records), Some(end));
        }
        let mut records = Vec::new();
        for _ in 0..count {
            self.number += 1;
            let size = if self.seeded.chance(10) { 3000 } else { self.seeded.below(300) };
            records.push(new_record(self.number, size));
        }
        (Batch::Own(records), None)
    }
}

/// Gives the log up to three more batches.
fn submit(shared: &Arc<Mutex<Run>>) {
    let mut run = lock(shared);
    for _ in 0..=run.seeded.below(3) {
        if run.left == 0 {
            break;
        }
        run.left -= 1;
        let (batch, peer) = run.batch();
        let bodies = bodies_of(&batch);
        let index = run.given.len();
        let again = Arc::clone(shared);
        let done = Box::new(move |result| settle(&again, index, peer, result));
        let writer = run.writer.clone().unwrap();
        match writer.append(Append { epoch: run.epoch, batch, done }) {
            Ok(()) => {
                run.outstanding += 1;
                run.given.push(Given { bodies, acknowledged: false });
            }
            Err(refused) => {
                assert_eq!(refused.reason, Refusal::Stopped);
                run.left = 0;
            }
        }
    }
    if run.outstanding == 0 {
        run.writer = None;
        run.finished.send(()).unwrap();
    }
}

fn settle(
    shared: &Arc<Mutex<Run>>,
    index: usize,
    peer: Option<ChainEnd>,
    result: Result<Committed, AppendError>,
) {
    {
        let mut run = lock(shared);
        run.outstanding -= 1;
        if peer.is_some() {
            run.peer_waits = false;
        }
        match result {
            Ok(committed) => {
                run.given[index].acknowledged = true;
                run.positions.extend(committed.placed.iter().map(|placed| placed.position));
                run.peer = peer.unwrap_or(run.peer);
            }
            Err(AppendError::Failed { epoch, .. }) => run.epoch = epoch,
            Err(_) => {}
        }
    }
    submit(shared);
}

/// What must hold over all lives of one disk.
#[derive(Default)]
struct Model {
    given: Vec<Given>,
    positions: Vec<LogPosition>,
    blanked: BTreeSet<LogPosition>,
    number: u64,
}

impl Model {
    /// Compares a freshly opened log with what must be there.
    fn check(&mut self, log: &Log, opened: &Opened) -> Result<(), String> {
        let scan = log.reader().scan(LogPosition::START, None);
        let stored: Vec<StoredRecord> =
            scan.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
        let headers: Vec<_> =
            stored.iter().map(|s| codec::decode_header(&s.record.header).unwrap()).collect();
        let index: HashMap<Digest, usize> =
            headers.iter().enumerate().map(|(index, header)| (header.body, index)).collect();
        let mut found = 0;
        for given in &mut self.given {
            let places: Vec<Option<&usize>> =
                given.bodies.iter().map(|body| index.get(body)).collect();
            let there = places.iter().flatten().count();
            if there != 0 && there != places.len() {
                return Err(format!("{there} of a batch of {} survived", places.len()));
            }
            if there == 0 && given.acknowledged {
                return Err("an acknowledged batch is lost".into());
            }
            // What is there once stays for ever.
            given.acknowledged = there > 0;
            found += there;
        }
        self.given.retain(|given| given.acknowledged);
        if found != stored.len() {
            return Err(format!("{} records, {found} were given", stored.len()));
        }
        for (stored, header) in stored.iter().zip(&headers) {
            if stored.record.body.is_some() && self.blanked.contains(&stored.position) {
                return Err(format!("the body at {} is back", stored.position));
            }
            let end = opened.vector.get(&header.origin).ok_or("an origin is not in the vector")?;
            if header.sequence > end.sequence {
                return Err("the vector is behind".into());
            }
        }
        Ok(())
    }

    /// One life: open, compare, append until the power goes, perhaps blank something.
    fn live(
        &mut self,
        disk: &SimDisk,
        seeded: &mut Seeded,
        ignore_sync: bool,
    ) -> Result<(), String> {
        let power_off_after = Some(seeded.below(60));
        disk.set_faults(Faults { power_off_after, ignore_sync, ..Faults::default() });
        let mut options = options(&HandClock::default());
        options.segment_bytes = 4096;
        options.group_bytes = 2048;
        let (log, opened) = match open(disk, options) {
            Ok(opened) => opened,
            Err(LogError::Io { .. }) => return Ok(()),
            Err(error) => return Err(format!("cannot open: {error}")),
        };
        self.check(&log, &opened)?;
        let life = origin("n1", 1);
        let last = opened.last_life(life.region, life.node);
        let counter = last.map_or(1, |(last, _)| last.incarnation.counter + 1);
        let peer = opened.vector.get(&origin("peer", 1)).copied().unwrap_or(ChainEnd::EMPTY);
        let writer = log.start_writer(origin("n1", counter), Box::new(|_| {})).unwrap();
        let (finished, wait) = mpsc::channel();
        let run = Arc::new(Mutex::new(Run {
            writer: Some(writer.clone()),
            seeded: seeded.clone(),
            epoch: 0,
            left: 60,
            outstanding: 0,
            number: self.number,
            peer,
            peer_waits: false,
            given: Vec::new(),
            positions: Vec::new(),
            finished,
        }));
        // From the writer's thread like all others, or the seed would not decide the order.
        let first = Arc::clone(&run);
        let (batch, done) = (Batch::Own(Vec::new()), Box::new(move |_| submit(&first)));
        writer.append(Append { epoch: 0, batch, done }).unwrap();
        wait.recv().unwrap();
        writer.close();
        let mut run = lock(&run);
        self.given.append(&mut run.given);
        self.positions.append(&mut run.positions);
        self.number = run.number;
        seeded.draw();
        if !self.positions.is_empty() && seeded.chance(50) {
            let one = self.positions[seeded.below(self.positions.len())];
            if log.blank(&[one]).is_ok() {
                self.blanked.insert(one);
            }
        }
        Ok(())
    }
}

/// Many lives of one disk, each ended by a loss of power.
fn lives(seed: u64, ignore_sync: bool) -> Result<(), String> {
    let (disk, mut seeded) = (SimDisk::new(), Seeded::new(seed));
    let mut model = Model::default();
    for _ in 0..8 {
        model.live(&disk, &mut seeded, ignore_sync)?;
        disk.crash(seeded.draw());
    }
    let (log, opened) = open(&disk, options(&HandClock::default())).map_err(|e| e.to_string())?;
    model.check(&log, &opened)?;
    let report = verify(&disk_files(&disk), &folder(), &mut |_| {}).map_err(|e| e.to_string())?;
    if report.findings.is_empty() && report.vector == opened.vector {
        Ok(())
    } else {
        Err(format!("findings: {:?}", report.findings))
    }
}

#[test]
fn every_acknowledged_batch_survives_any_crash_and_every_batch_is_whole() {
    for seed in 0..100 {
        if let Err(lost) = lives(seed, false) {
            panic!("seed {seed}: {lost}");
        }
    }
}

#[test]
fn a_disk_that_ignores_syncs_is_noticed() {
    let noticed = (0..20).filter(|seed| lives(*seed, true).is_err()).count();
    assert!(noticed >= 10, "only {noticed} of 20 seeds noticed that syncs do nothing");
}
