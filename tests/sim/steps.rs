//! What happens in one step.

use std::time::Duration;

use futures_util::FutureExt as _;
use jcas::actors::failure::Failure;
use jcas::actors::linker::Recording;
use jcas::actors::registry::RegistryView;
use jcas::clock::Clock as _;
use jcas::events::codec;
use jcas::events::command::{Command, Outcome};
use jcas::events::ids::CompanyId;
use jcas::events::message::{Message, Why};
use jcas::events::policy::Policies;
use jcas::events::record::{LogPosition, Subject};
use jcas::events::registry::CompanyState;
use tokio::sync::oneshot::error::TryRecvError;

use crate::commands::{self, Ground};
use crate::ledger::{Answered, Checked, ensure, text};
use crate::life::{Asking, Life, Pending, Reply, Reserving, SHARDS};
use crate::machine::End;
use crate::net::Harm;
use crate::points::Point;
use crate::sim_disk::Faults;
use crate::world::World;

/// How often a node looks at what needs no occasion.
const TICK: Duration = Duration::from_millis(100);

impl World {
    /// One step of the phase in which anything goes wrong.
    pub(crate) fn step(&mut self) -> Checked {
        let most = [60, 60, 60, 60, 60, 60, 400, 400, 400, 3000][self.random.below(10)];
        let millis = self.random.draw() % most;
        self.advance(millis);
        let at = self.random.below(self.machines.len());
        let Some(mut life) = self.machines[at].life.take() else {
            return if self.random.chance(30) { self.start(at, true) } else { Ok(()) };
        };
        let mut end = None;
        match self.random.below(100) {
            0..32 => self.wish(at, &mut life)?,
            32..36 => self.link(at, &mut life)?,
            36..39 => self.administer(at, &mut life)?,
            39..50 => {
                let engine = self.random.below(SHARDS + 1);
                self.deliver(&mut life, engine)?;
            }
            50..60 => end = self.turn(at, &mut life)?,
            60..84 => self.exchange(at, &mut life, 4)?,
            84..87 if self.random.chance(70) => self.checkpoint(&mut life)?,
            84..87 => self.blank(&life)?,
            87..90 => self.break_or_mend(at),
            90..93 => end = Some(self.draw_end()),
            93 => self.machines[at].copy = Some(self.machines[at].copied()),
            94 => {
                self.machines[at].life = Some(life);
                return self.restore(at);
            }
            _ => {
                self.machines[at].life = Some(life);
                return self.round();
            }
        }
        self.machines[at].life = Some(life);
        end.map_or(Ok(()), |end| self.end(at, end))
    }

    fn draw_end(&mut self) -> End {
        [End::PowerLost, End::PowerLost, End::Killed, End::Stopped][self.random.below(4)]
    }

    /// Every running node does what it has to do.
    pub(crate) fn round(&mut self) -> Checked {
        for at in 0..self.machines.len() {
            let Some(mut life) = self.machines[at].life.take() else { continue };
            self.deliver_all(&mut life)?;
            self.exchange(at, &mut life, 64)?;
            life.turn();
            self.observe(at, &life)?;
            self.deliver_all(&mut life)?;
            life.hear();
            life.publish();
            self.machines[at].life = Some(life);
        }
        Ok(())
    }

    /// Somebody wants something of a user, at a node.
    fn wish(&mut self, at: usize, life: &mut Life) -> Checked {
        let number = self.number();
        let now_ms = self.machines[at].clock.unix_ms();
        let ground = Ground { users: &self.users, number, now_ms };
        let view = std::sync::Arc::clone(&life.view.borrow());
        let policies = |company| policies(&view, company);
        let read = |user| life.read(user).unwrap_or_default();
        let wish = commands::draw(&mut self.random, ground, read, policies);
        let mut needs = wish.needs();
        needs.reverse();
        if let Some(entry) = self.ledger.entries.get_mut(&number) {
            entry.wish = Some(wish.clone());
        }
        self.note(format!("{number} at {at}: {}", name(&wish.command)));
        match (needs.pop(), wish.company()) {
            (Some(first), company) => {
                let company = company.unwrap_or_else(commands::shop);
                let granted = life.reserve(first, company);
                let reserving = Reserving { number, wish, needs, held: Vec::new(), granted };
                life.pending.push(Pending::Reserving(Box::new(reserving)));
            }
            (None, _) => life.ask(number, wish, Vec::new()),
        }
        self.poll(life)
    }

    /// Somebody says something of two users, at a node.
    fn link(&mut self, at: usize, life: &mut Life) -> Checked {
        if self.users.is_empty() {
            return Ok(());
        }
        let number = self.number();
        let view = std::sync::Arc::clone(&life.view.borrow());
        let policies = |company| policies(&view, company);
        let read = |user| life.read(user).unwrap_or_default();
        let wish = commands::draw_link(&mut self.random, &self.users, read, policies);
        self.note(format!("{number} at {at}: {:?} {} {}", wish.command, wish.one, wish.other));
        life.ask_link(number, &wish);
        self.poll(life)
    }

    fn administer(&mut self, at: usize, life: &mut Life) -> Checked {
        let number = self.number();
        let command = commands::draw_registry(&mut self.random);
        self.note(format!("{number} at {at}: registry"));
        life.ask_registry(number, command);
        self.poll(life)
    }

    fn deliver(&mut self, life: &mut Life, engine: usize) -> Checked<bool> {
        let Some(in_flight) = life.deliver(engine) else { return Ok(false) };
        self.points.hits(Point::AbsorbedInFlight, u64::from(in_flight));
        self.poll(life)?;
        Ok(true)
    }

    pub(crate) fn deliver_all(&mut self, life: &mut Life) -> Checked {
        for engine in 0..=SHARDS {
            while self.deliver(life, engine)? {}
        }
        Ok(())
    }

    /// Lets the writer write, perhaps until the power goes.
    fn turn(&mut self, at: usize, life: &mut Life) -> Checked<Option<End>> {
        let power_off_after = Some(self.random.below(6)).filter(|_| self.random.chance(8));
        let disk = self.machines[at].disk.clone();
        disk.set_faults(Faults { power_off_after, ..Faults::default() });
        life.turn();
        if disk.is_off() {
            self.points.hit(Point::PowerWhileWriting);
            return Ok(Some(End::PowerLost));
        }
        disk.set_faults(Faults::default());
        self.observe(at, life)?;
        ensure!(life.fatal().is_none(), "the node stops: {:?}", life.fatal());
        Ok(None)
    }

    /// A node speaks with the others.
    pub(crate) fn exchange(&mut self, at: usize, life: &mut Life, most: usize) -> Checked {
        life.hear();
        for _ in 0..most {
            if !life
                .replica
                .as_ref()
                .is_some_and(jcas::actors::replicating::ReplicaEngine::has_room)
            {
                break;
            }
            let Some(taken) = self.deployment.net.take(self.machines[at].name) else { break };
            let wrong = matches!(taken.harm, Some(Harm::Forged | Harm::Foreign));
            match codec::decode_message(&taken.delivery.bytes).map(|it| it.message) {
                Err(_) => life.came.unreadable += 1,
                Ok(Message::Run(sent)) => {
                    life.came.runs += 1;
                    life.came.wrong += u64::from(wrong);
                    let fetched = matches!(sent.why, Why::Fetched { .. });
                    let third = fetched && sent.run.seal.origin.name() != taken.from;
                    self.points.hits(Point::FetchedOfThird, u64::from(third));
                }
                Ok(Message::News { .. }) => {
                    life.came.unreadable += u64::from(taken.harm.is_some());
                }
                Ok(Message::Unknown(_)) => life.came.unknown += 1,
            }
            if let Some(replica) = &mut life.replica {
                replica.take(taken.delivery);
            }
        }
        self.tick(at, life)?;
        life.hear();
        life.publish();
        Ok(())
    }

    fn tick(&mut self, at: usize, life: &mut Life) -> Checked {
        let machine = &mut self.machines[at];
        let now = machine.clock.monotonic();
        if now < machine.ticked + TICK {
            return Ok(());
        }
        machine.ticked = now;
        let Some(replica) = &mut life.replica else { return Ok(()) };
        for _ in 0..8 {
            if replica.is_answering() {
                replica.answer();
            }
        }
        if self.random.chance(50) {
            machine.cursor = replica.cursor();
        }
        if life.is_at_rest() && self.random.chance(20) {
            let hash = crate::invariants::state::state_hash(life)?;
            life.state_hash.send_replace(Some((life.checkpoints.log.vector(), hash)));
        }
        if let Some(replica) = &mut life.replica {
            replica.tick();
            // Asked for as the actor asks: whoever records is told.
            let _status = replica.status();
        }
        Ok(())
    }

    fn checkpoint(&mut self, life: &mut Life) -> Checked {
        let checkpoints = std::sync::Arc::clone(&life.checkpoints);
        let mut settled = Ok(());
        checkpoints
            .take(|| {
                settled = self.deliver_all(life);
                true
            })
            .map_err(text)?;
        settled?;
        self.points.hit(Point::Checkpoint);
        Ok(())
    }

    /// A node takes what erasure blanks off its disk, for all who are erased as far as it knows.
    fn blank(&mut self, life: &Life) -> Checked {
        let log = &life.checkpoints.log;
        let mut positions = Vec::new();
        for stored in log.reader().scan(LogPosition::START, None) {
            let stored = stored.map_err(text)?;
            let header = codec::decode_header(&stored.record.header).map_err(text)?;
            let Subject::User(user) = header.subject else { continue };
            let has_body = header.kind.is_blanked_by_erasure() && stored.record.body.is_some();
            let state = life.checkpoints.store.user(user).map_err(text)?.unwrap_or_default();
            if has_body && state.erased.is_some() {
                positions.push(stored.position);
            }
        }
        self.points.hits(Point::Blanked, u64::try_from(positions.len()).unwrap_or(u64::MAX));
        log.blank(&positions).map_err(text)
    }

    /// Something between the nodes or a clock goes wrong, or right again.
    fn break_or_mend(&mut self, at: usize) {
        let (now_ms, random) = (self.now_ms, self.random.draw());
        let clock = std::sync::Arc::clone(&self.machines[at].clock);
        let other = self.random.below(self.machines.len());
        match self.random.below(12) {
            0..4 if other != at => {
                let (one, other) = (self.machines[at].name, self.machines[other].name);
                self.deployment.net.toggle_cut(one, other);
            }
            4 => self.deployment.net.vanish(self.machines[at].name),
            5 => {
                clock.set(clock.unix_ms().saturating_sub(random % 60_000));
                self.points.hit(Point::ClockBack);
            }
            6 => {
                clock.set(now_ms + 12_000 + random % 60_000);
                self.points.hit(Point::LyingClock);
            }
            7 => {
                clock.freeze(true);
                self.points.hit(Point::FrozenClock);
            }
            8 => clock.drift(900 + random % 200),
            _ => {
                clock.freeze(false);
                clock.drift(1000);
                clock.set(now_ms);
            }
        }
    }

    /// A node goes on with an old copy of its log.
    fn restore(&mut self, at: usize) -> Checked {
        if self.machines[at].copy.is_none() {
            return Ok(());
        }
        // A state that stays was flushed: what a crash leaves of one says nothing of its reach.
        let with_state = self.random.chance(40) && self.machines[at].life.is_some();
        self.end(at, if with_state { End::Stopped } else { End::Killed })?;
        let Some(copy) = self.machines[at].copy.take() else { return Ok(()) };
        let others = self.machines.iter().enumerate().filter(|(other, _)| *other != at);
        let others = others.map(|(_, machine)| &machine.known);
        let destroyed = self.ledger.destroy(&self.machines[at].known, &copy.vector, &others);
        self.points.hit(Point::Restored);
        self.points.hits(Point::Destroyed, destroyed);
        self.note(format!("{at} is put back, {destroyed} events are gone"));
        self.machines[at].put_back(&copy, with_state)
    }

    /// Takes whatever answers are there, and goes on with what waited for an identity.
    pub(crate) fn poll(&mut self, life: &mut Life) -> Checked {
        loop {
            let mut moved = false;
            for pending in std::mem::take(&mut life.pending) {
                moved |= match pending {
                    Pending::Reserving(reserving) => Self::poll_reserving(life, reserving),
                    Pending::Asked(asking) => self.poll_asked(life, asking)?,
                };
            }
            if !moved {
                return Ok(());
            }
        }
    }

    fn poll_reserving(life: &mut Life, mut reserving: Box<Reserving>) -> bool {
        match (&mut reserving.granted).now_or_never() {
            None => {
                life.pending.push(Pending::Reserving(reserving));
                false
            }
            // Too many wait: the caller is told so and nothing was asked.
            Some(Err(_)) => true,
            Some(Ok(reserved)) => {
                reserving.wish.put_rivals(reserved.index(), &reserved.claimants);
                reserving.held.push(reserved);
                match reserving.needs.pop() {
                    None => life.ask(reserving.number, reserving.wish, reserving.held),
                    Some(next) => {
                        let company = reserving.wish.company().unwrap_or_else(commands::shop);
                        reserving.granted = life.reserve(next, company);
                        life.pending.push(Pending::Reserving(reserving));
                    }
                }
                true
            }
        }
    }

    fn poll_asked(&mut self, life: &mut Life, mut asking: Asking) -> Checked<bool> {
        let number = asking.number;
        let received = match &mut asking.reply {
            Reply::User(answer) => answer.try_recv().map(Answered::from),
            Reply::Registry(answer) => answer.try_recv().map(Answered::from),
            Reply::Link(recording) => recorded(recording),
        };
        let answered = match received {
            Ok(answered) => answered,
            Err(TryRecvError::Empty) => {
                life.pending.push(Pending::Asked(asking));
                return Ok(false);
            }
            Err(TryRecvError::Closed) => {
                ensure!(life.fatal().is_some(), "command {number} will never be answered");
                Answered::Unknown
            }
        };
        self.note(format!("{number}: {answered:?}"));
        self.points.hits(Point::PolicyDenied, u64::from(answered == Answered::Denied));
        let is_unsafe = life.replica.as_ref().is_some_and(|replica| replica.status().clock_unsafe);
        let unsafe_now = is_unsafe && answered == Answered::NotDone;
        self.points.hits(Point::ClockUnsafe, u64::from(unsafe_now));
        let Some(entry) = self.ledger.entries.get_mut(&number) else { return Ok(true) };
        entry.answered = Some(answered);
        let durable = !entry.events.is_empty();
        if let (Answered::Done(_), Some(wish)) = (answered, &entry.wish)
            && matches!(wish.command, Command::Register(_))
        {
            self.users.push(wish.user);
        }
        match answered {
            Answered::Done(Outcome::Applied) => {
                ensure!(durable, "command {number} was answered before it was durable");
            }
            Answered::Done(_) | Answered::Unknown => {}
            Answered::Refused | Answered::Denied | Answered::NotDone => {
                ensure!(!durable, "command {number} was not done and is in a log");
            }
        }
        Ok(true)
    }
}

/// What a node lets a company do.
fn policies(view: &RegistryView, company: CompanyId) -> Policies {
    view.state.companies.get(&company).map_or(Policies::DEFAULT, CompanyState::policies)
}

/// What became of something that was said of two users.
fn recorded(recording: &mut Result<Recording, Failure>) -> Result<Answered, TryRecvError> {
    match recording {
        Err(failure) => Ok(Answered::from(*failure)),
        Ok(Recording { outcome, recorded: None }) => Ok(Answered::Done(*outcome)),
        Ok(Recording { outcome, recorded: Some(recorded) }) => {
            let recorded = recorded.try_recv()?;
            Ok(recorded.map_or_else(Answered::from, |()| Answered::Done(*outcome)))
        }
    }
}

fn name(command: &Command) -> String {
    let text = format!("{command:?}");
    text.split(['(', '{']).next().unwrap_or_default().to_owned()
}
