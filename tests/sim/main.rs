//! Several nodes, simulated: the shipped core, log, recovery, store, shards, registry, directory
//! and replication, with clocks, disks, trees and the link in the test's hands.
//!
//! One seed decides a run: how many nodes, what is asked of which, what goes wrong and where. After
//! a phase in which anything does, everything is healed, and within a bounded number of steps what
//! must hold is compared (`invariants`, one a file).
//!
//! Runs are deterministic: time and randomness are inputs, and the log's writers, the only other
//! threads, move only when they are told to (`life`). One test runs a seed twice and compares the
//! traces.
//!
//! `scripts/sim` runs more seeds than a test run does (`JCAS_SIM_SEEDS`), one with its trace
//! (`JCAS_SIM_SEED`), or any number until something does not hold. A failure prints its seed.
//! `scripts/mutants` breaks what is simulated, one thing at a time, and shows that these tests then
//! fail.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may stop at what must not happen and tell how far it is, also in helpers"
)]

use jcas::files;
use jcas::state::{error, kv};

#[path = "../crash/inputs.rs"]
#[expect(dead_code, reason = "shared: clocks are others here")]
mod inputs;
#[path = "../support/lossy_kv.rs"]
#[expect(dead_code, reason = "shared: the tests of the state use what these do not")]
mod lossy_kv;
#[path = "../support/sim_disk.rs"]
#[expect(dead_code, reason = "shared: the tests of the log use what these do not")]
mod sim_disk;
#[path = "../support/lossy_trees.rs"]
#[expect(dead_code, reason = "shared: the simulation of crashes uses what this does not")]
mod trees;

mod clock;
mod commands;
mod heal;
mod invariants;
mod ledger;
mod life;
mod machine;
mod mail;
mod net;
mod points;
mod replication;
mod steps;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use points::{Point, Points};
use world::World;

/// Seeds of a default run.
const SEEDS: u64 = 120;

fn from_environment(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    if value == "forever" {
        return Some(u64::MAX);
    }
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is not a number: {value}")))
}

/// Runs one seed. What does not hold comes back with the end of the trace.
fn run(seed: u64) -> Result<World, String> {
    let mut world = World::new(seed);
    match world.run() {
        Ok(()) => Ok(world),
        Err(error) => {
            let last: Vec<_> = world.trace.iter().rev().take(60).rev().cloned().collect();
            Err(format!("seed {seed}: {error}\nlast:\n{}", last.join("\n")))
        }
    }
}

/// What many runs came to.
#[derive(Default)]
struct Sum {
    seeds: u64,
    steps: u64,
    points: Points,
}

#[test]
fn whatever_happens_between_nodes_they_come_to_hold_the_same_and_nothing_is_lost() {
    if let Some(seed) = from_environment("JCAS_SIM_SEED") {
        let world = run(seed).unwrap_or_else(|error| panic!("{error}"));
        println!("{}\n{:?}", world.trace.join("\n"), world.points);
        return;
    }
    let seeds = from_environment("JCAS_SIM_SEEDS").unwrap_or(SEEDS);
    let (next, sum, began) = (AtomicU64::new(0), Mutex::new(Sum::default()), Instant::now());
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
                    match run(seed) {
                        Ok(world) => add(&mut sum.lock().unwrap(), &world, began),
                        Err(error) => *failed.lock().unwrap() = Some(error),
                    }
                }
            });
        }
    });
    let sum = sum.into_inner().unwrap();
    println!("{} seeds, {} steps, {:?}", sum.seeds, sum.steps, began.elapsed());
    println!("{:?}", sum.points);
    if let Some(error) = failed.into_inner().unwrap() {
        panic!("{error}");
    }
    if seeds >= SEEDS {
        for point in Point::ALL {
            assert!(sum.points.of(point) > 0, "{seeds} seeds never came to {point:?}");
        }
    }
}

/// Adds a run, and tells now and then how far it is.
fn add(sum: &mut Sum, world: &World, began: Instant) {
    sum.seeds += 1;
    sum.steps += world.steps;
    sum.points.add(&world.points);
    if sum.seeds.is_multiple_of(1000) {
        println!("{} seeds, {} steps, {:?}", sum.seeds, sum.steps, began.elapsed());
        println!("{:?}", sum.points);
    }
}

#[test]
fn a_seed_always_gives_the_same_run() {
    for seed in [1, 17, 99] {
        let runs = [(); 2].map(|()| run(seed));
        let traces = runs.map(|run| run.unwrap_or_else(|error| panic!("{error}")).trace);
        let [one, other] = traces;
        for (line, (one, other)) in one.iter().zip(&other).enumerate() {
            assert_eq!(one, other, "seed {seed}, line {line}");
        }
        assert_eq!(one.len(), other.len(), "seed {seed}");
    }
}
