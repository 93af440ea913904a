//! The bench of one thread: who sits there while a lane computes a bcrypt for them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use bcrypt_lanes::{LANES, Lanes};
use tokio::sync::oneshot;

use super::Computed;
use super::course::{Course, Step};
use super::gain;
use super::job::{Failure, Outcome};
use super::queue::Turn;

/// A job under way, as far as the executor is concerned.
pub(super) struct Guest {
    pub(super) turn: Turn,
    pub(super) reply: oneshot::Sender<Computed>,
    /// What it takes if nothing matches, as estimated.
    pub(super) work: u32,
    /// How long it waited until it was begun, and when that was.
    pub(super) waited: Duration,
    pub(super) begun: Instant,
    /// What it would have taken so far with a thread to itself.
    pub(super) took: Duration,
}

/// The jobs of one thread.
#[derive(Default)]
pub(super) struct Bench {
    /// Each bcrypt's name is the number of its seat.
    lanes: Lanes<usize>,
    seats: [Option<(Guest, Course)>; LANES],
}

impl Bench {
    /// How many jobs are under way.
    pub(super) fn busy(&self) -> usize {
        self.lanes.busy()
    }

    /// Gives a job a lane for its next bcrypt. Where it needs none, or where none is free, it comes
    /// back with its outcome.
    pub(super) fn seat(&mut self, guest: Guest, step: Step) -> Option<(Guest, Outcome)> {
        let (course, work) = match step {
            Step::Bcrypt(course, work) => (course, work),
            Step::Done(outcome) => return Some((guest, outcome)),
        };
        let free = self.seats.iter().position(Option::is_none);
        let seat = free.filter(|seat| self.lanes.join(*seat, work).is_ok());
        match seat.and_then(|seat| self.seats.get_mut(seat)) {
            Some(seat) => {
                *seat = Some((guest, course));
                None
            }
            // The executor takes no more jobs than there are lanes.
            None => Some((guest, Outcome::Failed(Failure::Panicked))),
        }
    }

    /// Takes every bcrypt one step on. A job whose bcrypt is done goes on or ends.
    pub(super) fn step(&mut self, mut ended: impl FnMut(Guest, Outcome)) {
        let started = Instant::now();
        let beside = self.busy();
        let mut done = Vec::new();
        let lanes = &mut self.lanes;
        let step = || lanes.step(|seat, digest| done.push((seat, digest)));
        if catch_unwind(AssertUnwindSafe(step)).is_err() {
            // Nothing is known of what the lanes hold.
            self.lanes = Lanes::default();
            for (guest, _) in self.seats.iter_mut().filter_map(Option::take) {
                ended(guest, Outcome::Failed(Failure::Panicked));
            }
            return;
        }
        let each = gain::alone(started.elapsed(), beside);
        for (guest, _) in self.seats.iter_mut().flatten() {
            guest.took += each;
        }
        for (seat, digest) in done {
            let Some((mut guest, course)) = self.seats.get_mut(seat).and_then(Option::take) else {
                continue;
            };
            let started = Instant::now();
            let next = catch_unwind(AssertUnwindSafe(|| course.resume(&digest)))
                .unwrap_or(Step::Done(Outcome::Failed(Failure::Panicked)));
            guest.took += started.elapsed();
            if let Some((guest, outcome)) = self.seat(guest, next) {
                ended(guest, outcome);
            }
        }
    }
}
