//! What happens within a life, step by step.

use futures_util::FutureExt as _;
use jcas::actors::directory::Reserved;
use jcas::events::codec;
use jcas::events::command::Outcome;
use jcas::log::LogStatus;
use tokio::sync::oneshot::error::TryRecvError;

use crate::commands::{self, Wish};
use crate::ledger::{Answered, Asked, Checked, ensure};
use crate::life::{Asking, Life, Pending, Reply, Reserving, SHARDS};
use crate::points::Point;
use crate::world::{End, QUEUE_APPENDS, World};

/// How a step leaves the node.
pub(crate) enum Next {
    GoesOn,
    Ends(End),
}

impl World {
    /// Lives until something ends it.
    pub(crate) fn live(&mut self, life: &mut Life) -> Checked<End> {
        for _ in 0..25 + self.random.below(60) {
            self.clock.advance(self.random.draw() % 400);
            if let Next::Ends(end) = self.step(life)? {
                return Ok(end);
            }
        }
        Ok(match self.random.below(10) {
            0..3 => End::Stopped,
            _ => self.draw_crash(),
        })
    }

    fn step(&mut self, life: &mut Life) -> Checked<Next> {
        self.disk_fills_and_empties(life)?;
        match self.random.below(103) {
            0..50 => self.wish(life)?,
            50..54 => self.administer(life)?,
            54..70 => {
                let engine = self.random.below(SHARDS + 1);
                life.engines.deliver(engine);
                self.poll(life)?;
            }
            70..90 => return self.turn(life),
            90 | 91 | 102 => return self.take_checkpoint(life),
            92 => return self.rebuild(life),
            93..95 => return self.blank(life),
            95 | 96 => life.hold_early(),
            100 | 101 => self.flood(life)?,
            97 => {
                let back = self.random.draw() % 3_600_000;
                self.clock.set_back(back);
            }
            98 => return self.fail_trees(life),
            _ => {
                self.settle(life)?;
                self.check_running(life)?;
                self.probe(life)?;
            }
        }
        Ok(Next::GoesOn)
    }

    /// Somebody wants something of a user.
    fn wish(&mut self, life: &mut Life) -> Checked {
        let number = self.random.draw() >> 8;
        let random = &mut self.random;
        let wish =
            commands::draw(random, number, |user| life.engines.read(user).unwrap_or_default());
        let mut needs = wish.needs();
        needs.reverse();
        match needs.pop() {
            None => self.ask(life, wish, Vec::new()),
            Some(first) => {
                let granted = life.reserve(first);
                let reserving = Reserving { wish, needs, held: Vec::new(), granted };
                life.pending.push(Pending::Reserving(Box::new(reserving)));
            }
        }
        self.poll(life)
    }

    fn ask(&mut self, life: &mut Life, wish: Wish, held: Vec<Reserved>) {
        self.numbers += 1;
        let number = self.numbers;
        let Wish { user, command, caller, if_seen } = wish.clone();
        let asked = Asked::User { user, command, caller, if_seen };
        self.asked(life, number, &asked);
        self.ledger.ask(number, asked);
        life.ask(number, wish, held);
    }

    fn administer(&mut self, life: &mut Life) -> Checked {
        self.numbers += 1;
        let number = self.numbers;
        let command = commands::draw_registry(&mut self.random);
        let asked = Asked::Registry(command.clone());
        self.asked(life, number, &asked);
        self.ledger.ask(number, asked);
        life.ask_registry(Some(number), command);
        self.poll(life)
    }

    fn asked(&mut self, life: &Life, number: u64, asked: &Asked) {
        let snapshot = life.writer.snapshot();
        if snapshot.queue_appends >= QUEUE_APPENDS {
            self.points.hit(Point::QueueFull);
        }
        if life.has_failure_under_way(asked) && life.writer.status() == LogStatus::Writable {
            self.points.hit(Point::Stale);
        }
        let text = format!("{asked:?}");
        let digest = codec::digest(text.as_bytes());
        self.note(format!("ask {number} {} {digest}", text.split('{').next().unwrap_or_default()));
    }

    /// More commands at once than the queue holds.
    fn flood(&mut self, life: &mut Life) -> Checked {
        life.hold_early();
        for _ in 0..QUEUE_APPENDS + 6 {
            self.wish(life)?;
        }
        Ok(())
    }

    /// Takes whatever answers are there, and goes on with what waited for an identity.
    pub(crate) fn poll(&mut self, life: &mut Life) -> Checked {
        loop {
            let mut moved = false;
            for pending in std::mem::take(&mut life.pending) {
                moved |= match pending {
                    Pending::Reserving(reserving) => self.poll_reserving(life, reserving),
                    Pending::Asked(asking) => self.poll_asked(life, asking)?,
                };
            }
            if !moved {
                return Ok(());
            }
        }
    }

    fn poll_reserving(&mut self, life: &mut Life, mut reserving: Box<Reserving>) -> bool {
        match (&mut reserving.granted).now_or_never() {
            None => {
                self.points.hit(Point::IdentityAwaited);
                life.pending.push(Pending::Reserving(reserving));
                false
            }
            // Too many wait: the caller is told so and nothing was asked.
            Some(Err(_)) => true,
            Some(Ok(reserved)) => {
                reserving.wish.put_rivals(reserved.index(), &reserved.claimants);
                reserving.held.push(reserved);
                match reserving.needs.pop() {
                    None => self.ask(life, reserving.wish, reserving.held),
                    Some(next) => {
                        reserving.granted = life.reserve(next);
                        life.pending.push(Pending::Reserving(reserving));
                    }
                }
                true
            }
        }
    }

    fn poll_asked(&mut self, life: &mut Life, mut asking: Asking) -> Checked<bool> {
        let answered = self.poll_reply(life, asking.number, &mut asking.reply, asking.waited)?;
        if !answered {
            asking.waited = true;
            life.pending.push(Pending::Asked(asking));
        }
        Ok(answered)
    }

    fn poll_reply(
        &mut self,
        life: &mut Life,
        number: u64,
        reply: &mut Reply,
        waited: bool,
    ) -> Checked<bool> {
        let received = match reply {
            Reply::User(answer) => answer.try_recv().map(Answered::from),
            Reply::Registry(answer) => answer.try_recv().map(Answered::from),
        };
        let answered = match received {
            Ok(Answered::Unknown) if life.fatal().is_none() => {
                return Err(format!("command {number} was given up by a node that goes on"));
            }
            Ok(answered) => answered,
            Err(TryRecvError::Empty) => return Ok(false),
            Err(TryRecvError::Closed) => {
                ensure!(life.fatal().is_some(), "command {number} will never be answered");
                Answered::Unknown
            }
        };
        if waited {
            match answered {
                Answered::Refused(..) => self.points.hit(Point::RefusedBehind),
                Answered::NotDone => self.points.hit(Point::FailedBehind),
                _ => {}
            }
        }
        if life.had_space_again && matches!(answered, Answered::Done(Outcome::Applied, _)) {
            life.had_space_again = false;
            self.points.hit(Point::FullDiskEnded);
        }
        let durable = life.durable;
        self.note(format!("answer {number} {answered:?} at {durable}"));
        if number > 0 {
            self.ledger.answer(number, answered, durable);
        } else {
            let opened = matches!(answered, Answered::Done(Outcome::Applied, _));
            ensure!(opened, "the life was not opened: {answered:?}");
        }
        Ok(true)
    }

    /// Waits for everything that is under way.
    pub(crate) fn settle(&mut self, life: &mut Life) -> Checked {
        for _ in 0..40 {
            life.engines.deliver_all();
            let before = life.pending.len();
            self.poll(life)?;
            if before >= 2 && life.pending.is_empty() {
                self.note("settled");
            }
            if life.pending.is_empty() {
                // What the writer did last is known to have been delivered after one more turn.
                life.turn();
                return self.note_durable(life);
            }
            life.turn();
            self.note_durable(life)?;
        }
        Err(format!("{} commands are never answered", life.pending.len()))
    }

    /// Nothing is stuck: with space on the disk, everybody's profile can be written.
    fn probe(&mut self, life: &mut Life) -> Checked {
        if life.writer.status() != LogStatus::Writable {
            return Ok(());
        }
        for user in commands::users() {
            let state = life.engines.read(user).map_err(|error| error.to_string())?;
            if state.registered.is_none() {
                continue;
            }
            let touch = commands::touch(&mut self.random, user);
            self.ask(life, touch, Vec::new());
            let number = self.numbers;
            self.settle(life)?;
            let done = self.ledger.was_applied(number);
            ensure!(done, "command {number} on a node at rest was not carried out");
            self.points.hit(Point::Probed);
        }
        Ok(())
    }

    pub(crate) fn note_durable(&mut self, life: &mut Life) -> Checked {
        let durable = life.writer.durable();
        self.check_durable(life.durable, durable)?;
        life.durable = durable;
        Ok(())
    }

    /// Stops a node as it should be.
    pub(crate) fn stop(&mut self, life: &mut Life) -> Checked {
        self.settle(life)?;
        self.check_running(life)?;
        let taken = life.checkpoints.take(|| true).map_err(|error| error.to_string())?;
        self.checkpoint = taken;
        Ok(())
    }
}
