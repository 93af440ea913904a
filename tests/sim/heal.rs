//! Healing: nothing goes wrong any more, clocks are right, every node runs. Within a bounded number
//! of steps all nodes hold the same.

use std::fmt::Write as _;

use jcas::events::stamp::Revision;
use jcas::log::Vector;

use crate::ledger::{Checked, ensure};
use crate::life::FUTURE_LIMIT_MS;
use crate::world::World;

/// Rounds until everybody must have everything.
const ROUNDS_MAX: usize = 1200;

impl World {
    /// Heals everything and waits until all nodes hold the same.
    pub(crate) fn heal(&mut self) -> Checked {
        self.note("healing");
        self.deployment.net.heal();
        for at in 0..self.machines.len() {
            let clock = &self.machines[at].clock;
            clock.freeze(false);
            clock.drift(1000);
            clock.set(self.now_ms);
            if self.machines[at].life.is_none() {
                self.start(at, false)?;
            }
        }
        self.catch_up_with_the_future();
        for round in 0..ROUNDS_MAX {
            self.advance(if round < 100 { 50 } else { 500 });
            self.steps += 1;
            self.round()?;
            if self.is_healed() {
                self.note(format!("healed after {round} rounds"));
                return self.compare_hashes();
            }
        }
        Err(format!("not healed after {ROUNDS_MAX} rounds: {}", self.differences()))
    }

    /// Time goes on until nothing in any log is of the future any more.
    fn catch_up_with_the_future(&mut self) {
        let greatest = self.machines.iter().filter_map(|machine| machine.life.as_ref());
        let greatest = greatest.map(|life| life.checkpoints.clock.last()).max();
        let latest = greatest.map_or(0, Revision::unix_ms);
        let ahead = latest.saturating_sub(self.now_ms);
        if ahead > FUTURE_LIMIT_MS {
            self.advance(ahead);
        }
    }

    fn vectors(&self) -> Vec<Vector> {
        let lives = self.machines.iter().filter_map(|machine| machine.life.as_ref());
        lives.map(|life| life.checkpoints.log.vector()).collect()
    }

    fn is_healed(&self) -> bool {
        let mut lives = self.machines.iter().filter_map(|machine| machine.life.as_ref());
        let rests = lives.all(super::life::Life::is_at_rest);
        let vectors = self.vectors();
        rests && vectors.windows(2).all(|it| it[0] == it[1])
    }

    /// The nodes themselves compare their states.
    fn compare_hashes(&mut self) -> Checked {
        for machine in &self.machines {
            let Some(life) = &machine.life else { continue };
            let hash = crate::invariants::state::state_hash(life)?;
            life.state_hash.send_replace(Some((life.checkpoints.log.vector(), hash)));
        }
        for _ in 0..12 {
            self.advance(500);
            self.round()?;
        }
        for machine in &self.machines {
            let Some(replica) = machine.life.as_ref().and_then(|life| life.replica.as_ref()) else {
                continue;
            };
            let counts = replica.view().reconciler;
            ensure!(counts.diverged == 0, "{} says a peer's state is another", machine.name);
            ensure!(counts.compared > 0, "{} compared its state with nobody's", machine.name);
        }
        Ok(())
    }

    fn differences(&self) -> String {
        let mut text = String::new();
        for machine in &self.machines {
            let Some(life) = &machine.life else { continue };
            let _ = write!(text, "\n{}:", machine.name);
            for (origin, end) in life.checkpoints.log.vector() {
                let _ = write!(text, " {origin}:{}", end.sequence);
            }
            if let Some(replica) = &life.replica {
                let mut view = replica.view();
                view.parked.messages.clear();
                let _ = write!(text, "\n  rest {} {view:?}", life.is_at_rest());
            }
        }
        text
    }
}
