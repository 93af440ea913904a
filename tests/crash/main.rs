//! Crashes, simulated: the shipped log, shards, registry, directory, recovery, store and checkpoint
//! live many lives on a disk that loses what was not synced.
//!
//! One seed decides a run: what is asked and when, what goes wrong and where, what a crash keeps.
//! After every crash the node is started as `app` starts it, and everything that must hold is
//! compared with what the callers were told (`ledger`) and with a plain fold of the log (`checks`).
//!
//! Runs are deterministic. Time and randomness are inputs. The only other thread is the log's
//! writer, and it moves only between two holds (`life`), so what it takes at once, and the order of
//! everything, follow from the seed; one test runs a seed twice and compares the traces.
//!
//! `JCAS_CRASH_SEEDS=5000` runs more seeds, `JCAS_CRASH_SEED=7` one. A failure prints its seed.
//! `scripts/teeth` takes the syncs out of the log and the state one by one and shows that these
//! tests then fail.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at what must not happen, also in its helpers"
)]

use jcas::files;
use jcas::state::{error, kv};

#[path = "../support/lossy_kv.rs"]
#[expect(dead_code, reason = "shared: the tests of the state use what these do not")]
mod lossy_kv;
#[path = "../support/sim_disk.rs"]
#[expect(dead_code, reason = "shared: the tests of the log use what these do not")]
mod sim_disk;

#[path = "../support/lossy_trees.rs"]
#[expect(dead_code, reason = "shared: the simulation of several nodes uses what this does not")]
mod trees;

mod checks;
mod commands;
mod faults;
mod inputs;
mod ledger;
mod life;
mod platter;
mod points;
mod steps;
mod swap;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use points::{Point, Points};
use world::{Sabotage, World};

/// Seeds of a default run.
const SEEDS: u64 = 200;

fn from_environment(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is not a number: {value}")))
}

/// Runs one seed. What does not hold comes back with the end of the trace.
fn run(seed: u64, sabotage: Sabotage) -> Result<World, String> {
    let mut world = World::new(seed, sabotage);
    match world.run() {
        Ok(()) => Ok(world),
        Err(error) => {
            let last: Vec<_> = world.trace.iter().rev().take(40).rev().cloned().collect();
            Err(format!("seed {seed}: {error}\nlast:\n{}", last.join("\n")))
        }
    }
}

#[test]
fn what_was_answered_survives_every_crash_and_nothing_else_shows() {
    if let Some(seed) = from_environment("JCAS_CRASH_SEED") {
        run(seed, Sabotage::default()).unwrap_or_else(|error| panic!("{error}"));
        return;
    }
    let seeds = from_environment("JCAS_CRASH_SEEDS").unwrap_or(SEEDS);
    let (next, points) = (AtomicU64::new(0), Mutex::new(Points::default()));
    let failed = Mutex::new(None);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= seeds || failed.lock().unwrap().is_some() {
                        break;
                    }
                    match run(seed, Sabotage::default()) {
                        Ok(world) => points.lock().unwrap().add(&world.points),
                        Err(error) => *failed.lock().unwrap() = Some(error),
                    }
                }
            });
        }
    });
    if let Some(error) = failed.into_inner().unwrap() {
        panic!("{error}");
    }
    let points = points.into_inner().unwrap();
    println!("{points:?}");
    if seeds >= SEEDS {
        for point in Point::ALL {
            assert!(points.of(point) > 0, "{seeds} seeds never hit {point:?}");
        }
    }
}

#[test]
fn a_seed_always_gives_the_same_run() {
    for seed in [1, 17, 99] {
        let runs = [(); 2].map(|()| run(seed, Sabotage::default()));
        let traces = runs.map(|run| run.unwrap_or_else(|error| panic!("{error}")).trace);
        let [one, other] = traces;
        for (line, (one, other)) in one.iter().zip(&other).enumerate() {
            assert_eq!(one, other, "seed {seed}, line {line}");
        }
        assert_eq!(one.len(), other.len(), "seed {seed}");
    }
}

#[test]
fn a_disk_that_ignores_syncs_and_trees_that_ignore_flushes_are_noticed() {
    let noticed = |sabotage| (0..20).filter(|seed| run(*seed, sabotage).is_err()).count();
    let syncs = noticed(Sabotage { ignore_sync: true, ..Sabotage::default() });
    let flushes = noticed(Sabotage { ignore_flush: true, ..Sabotage::default() });
    // A crash may keep, by chance, all that was lost on purpose.
    assert!(syncs >= 15 && flushes >= 10, "noticed {syncs} and {flushes} of 20 each");
}
