//! All machines, what is between them, and what happens: one seed decides everything.

use std::sync::Arc;

use jcas::crypto::seals::Sealer;
use jcas::events::decide_registry::RegistryCommand;
use jcas::events::ids::{DeploymentId, NodeName, UserId};

use crate::commands::EARLY_MS;
use crate::invariants;
use crate::ledger::{Checked, Entry, Ledger, ensure, text};
use crate::life::{Birth, Deployment, Life};
use crate::machine::{End, Machine};
use crate::net::SimNet;
use crate::points::{Point, Points};
use crate::sim_disk::{Faults, Seeded};

const DEPLOYMENT: DeploymentId = DeploymentId([7; 16]);

/// The nodes there may be. Two regions have two each.
const NODES: [&str; 5] = ["eu/n1", "us/n1", "eu/n2", "in/n1", "us/n2"];

/// Everything.
pub(crate) struct World {
    pub(crate) random: Seeded,
    pub(crate) machines: Vec<Machine>,
    pub(crate) deployment: Deployment,
    pub(crate) ledger: Ledger,
    pub(crate) points: Points,
    /// What happened, a line each.
    pub(crate) trace: Vec<String>,
    /// Everybody registered so far.
    pub(crate) users: Vec<UserId>,
    /// Commands asked so far.
    pub(crate) numbers: u64,
    /// The right time.
    pub(crate) now_ms: u64,
    /// Steps so far.
    pub(crate) steps: u64,
}

impl World {
    /// A world before its first step.
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Seeded::new(seed);
        let now_ms = EARLY_MS + 10_000_000;
        let count = 2 + random.below(NODES.len() - 1);
        let names: Vec<NodeName> =
            NODES.iter().take(count).map(|name| name.parse().unwrap()).collect();
        let sealer = |(number, region): (usize, &str)| {
            let seed = [u8::try_from(number).unwrap() + 1; 32];
            (region.parse().unwrap(), Sealer::new(DEPLOYMENT, &seed))
        };
        let sealers: Vec<_> = ["eu", "us", "in"].into_iter().enumerate().map(sealer).collect();
        let net = SimNet::new(random.draw(), names.iter().copied(), DEPLOYMENT, sealers.clone());
        let machines =
            names.iter().map(|name| Machine::new(*name, now_ms, random.draw())).collect();
        let sealers = sealers.into_iter().collect();
        Self {
            random,
            machines,
            deployment: Deployment { id: DEPLOYMENT, nodes: names, sealers, net },
            ledger: Ledger::default(),
            points: Points::default(),
            trace: Vec::new(),
            users: Vec::new(),
            numbers: 0,
            now_ms,
            steps: 0,
        }
    }

    /// Adds a line to the trace.
    pub(crate) fn note(&mut self, line: impl Into<String>) {
        self.trace.push(line.into());
    }

    /// A phase in which anything goes wrong, then healing, then everything must hold.
    pub(crate) fn run(&mut self) -> Checked {
        for machine in 0..self.machines.len() {
            self.start(machine, false)?;
        }
        self.found()?;
        for _ in 0..150 + self.random.below(250) {
            self.steps += 1;
            self.step()?;
        }
        self.heal()?;
        invariants::check(self)?;
        for machine in 0..self.machines.len() {
            self.end(machine, End::Stopped)?;
        }
        let net = self.deployment.net.points();
        self.points.add(&net);
        Ok(())
    }

    /// Sets the companies up, at the first node.
    fn found(&mut self) -> Checked {
        for command in crate::commands::founding() {
            let Some(mut life) = self.machines[0].life.take() else { return Ok(()) };
            let number = self.number();
            life.ask_registry(number, command);
            self.drain(0, &mut life)?;
            self.machines[0].life = Some(life);
        }
        Ok(())
    }

    /// The next command's number, with a place in the ledger.
    pub(crate) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.ledger.entries.insert(self.numbers, Entry::default());
        self.numbers
    }

    /// Lets time pass everywhere.
    pub(crate) fn advance(&mut self, millis: u64) {
        self.now_ms += millis;
        for machine in &self.machines {
            machine.clock.advance(millis);
        }
        self.deployment.net.advance(millis);
    }

    /// Starts a machine's node. It may lose power on the way.
    pub(crate) fn start(&mut self, at: usize, faults: bool) -> Checked {
        let (power, rebuild) = (self.random.below(100), self.random.chance(8));
        let power_off_after = Some(self.random.below(16)).filter(|_| faults && power < 12);
        let checked = self.random.chance(60);
        let (tag, machine) = (self.random.draw(), &mut self.machines[at]);
        let tag = u32::try_from(tag & 0xffff_ffff).unwrap();
        machine.disk.set_faults(Faults { power_off_after, ..Faults::default() });
        let Some((recovered, opened)) = machine.recover(&self.deployment, rebuild)? else {
            self.points.hit(Point::PowerWhileStarting);
            self.crash(at, End::PowerLost);
            return Ok(());
        };
        if checked {
            invariants::state::check_recovered(&recovered, &machine.disk)?;
        }
        if rebuild {
            self.points.hit(Point::Rebuilt);
        }
        let machine = &mut self.machines[at];
        let birth = Birth {
            name: machine.name,
            clock: Arc::<crate::clock::SimClock>::clone(&machine.clock),
            entropy: Arc::<crate::inputs::SeededEntropy>::clone(&machine.entropy),
            tag,
        };
        let cursor = machine.cursor;
        let (mut life, opening) = Life::start(recovered, birth, &self.deployment)?;
        self.note(format!("{} starts at {}", life.own, opened.end));
        let number = self.number();
        life.ask_registry(number, RegistryCommand::OpenOrigin(opening));
        self.drain(at, &mut life)?;
        ensure!(life.pending.is_empty(), "the new life was not recorded");
        life.replicate(&self.deployment, cursor)?;
        self.machines[at].life = Some(life);
        Ok(())
    }

    /// Lets everything that waits in a node without its link come to an end.
    pub(crate) fn drain(&mut self, at: usize, life: &mut Life) -> Checked {
        for _ in 0..3 {
            life.turn();
            self.observe(at, life)?;
            self.deliver_all(life)?;
        }
        Ok(())
    }

    /// Looks at what became durable at a node.
    pub(crate) fn observe(&mut self, at: usize, life: &Life) -> Checked {
        let machine = &mut self.machines[at];
        let log = &life.checkpoints.log;
        if machine.observed >= log.durable() {
            return Ok(());
        }
        for stored in log.reader().scan(machine.observed, None) {
            let stored = stored.map_err(text)?;
            let header = jcas::events::codec::decode_header(&stored.record.header).map_err(text)?;
            self.ledger.observe(&stored.record, &header)?;
            machine.readings.next(&header, Some(life.own))?;
            invariants::future::check_admitted(&header, life.own, &machine.clock)?;
            let other_life = header.origin.name() == machine.name && header.origin != life.own;
            let known = machine.known.get(&header.origin).map_or(0, |end| end.sequence);
            if other_life && header.sequence > known {
                self.points.hit(Point::GivenBack);
            }
            machine.observed = stored.next;
        }
        machine.known = log.vector();
        Ok(())
    }

    /// Ends a life, if there is one.
    pub(crate) fn end(&mut self, at: usize, end: End) -> Checked {
        let Some(mut life) = self.machines[at].life.take() else { return Ok(()) };
        self.note(format!("{} ends: {end:?}", life.own));
        if end == End::Stopped {
            self.drain(at, &mut life)?;
            life.checkpoints.take(|| true).map_err(text)?;
        }
        invariants::refusals::check_life(&life)?;
        self.count(&life);
        if end != End::Stopped {
            self.machines[at].disk.cut_off();
        }
        life.close();
        self.crash(at, end);
        Ok(())
    }

    fn count(&mut self, life: &Life) {
        let Some(replica) = &life.replica else { return };
        let view = replica.view();
        self.points.hits(Point::Conflict, life.lost());
        self.points.hits(Point::Gap, view.inbox.gaps);
        self.points.hits(Point::Fetched, view.reconciler.fetches);
        self.points.hits(Point::Duplicate, view.inbox.duplicates);
        self.points.hits(Point::Echo, view.inbox.echoes);
        self.points.hits(Point::Held, view.inbox.futures);
        self.points.hits(Point::Compared, view.reconciler.compared);
    }

    fn crash(&mut self, at: usize, end: End) {
        let (disk, trees) = (self.random.draw(), self.random.draw());
        let reverts = self.random.chance(30);
        let machine = &mut self.machines[at];
        match end {
            End::PowerLost => machine.disk.crash(disk),
            End::Killed | End::Stopped => machine.disk.restart(),
        }
        machine.trees.crash(trees, &mut self.points);
        if reverts && end == End::PowerLost {
            // It is kept without a sync.
            machine.cursor = jcas::events::record::LogPosition::START;
        }
        self.deployment.net.ended(machine.name);
        self.points.hit(match end {
            End::PowerLost => Point::PowerLost,
            End::Killed => Point::Killed,
            End::Stopped => Point::Stopped,
        });
    }
}
