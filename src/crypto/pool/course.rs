//! A job on its course: which bcrypt is computed for it now, and what follows from its digest.
//!
//! ```text
//! begin(job) --> Bcrypt(course, work) --a lane computes it--> course.resume(digest) --+
//!       |               ^                                                             |
//!       |               +-------------------------------------------------------------+
//!       +--> Done(outcome) <----------------------------------------------------------+
//! ```
//!
//! A course never waits and computes no bcrypt itself, so one thread can have several under way.
//! What is no bcrypt it computes on the spot.

use bcrypt_lanes::{Digest, Work};

use super::job::{Budget, Candidate, Failure, Job, Outcome};
use crate::crypto::bcrypt::Trial;
use crate::crypto::legacy::Trials;
use crate::crypto::secret::{Cost, HashError, Making, Password};

/// What comes next for a job.
pub(super) enum Step {
    /// This is to be computed; then [`Course::resume`].
    Bcrypt(Course, Work),
    /// It is done.
    Done(Outcome),
}

/// A job under way.
pub(super) enum Course {
    /// A new secret is made, and then the job ends.
    Hashing(Making),
    /// Candidates are tried in turn.
    Trying(Box<Trying>),
    /// A candidate matched, and a new secret is made of its password.
    Upgrading { matched: Matched, making: Making },
}

/// The candidates of a job, and how far it is with them.
pub(super) struct Trying {
    password: Password,
    candidates: Vec<Candidate>,
    budget: Budget,
    /// The cost that what matches is brought to; none where it is left as it is.
    cost: Option<Cost>,
    /// The candidate that is tried.
    at: usize,
    /// How many were tried, equal ones once.
    tried: usize,
    spent: u32,
    /// What is computed for it now.
    trial: Option<Trial>,
    /// What else may show that it matches.
    trials: Vec<Trial>,
}

/// The candidate that matched.
#[derive(Clone, Copy)]
pub(super) struct Matched {
    index: usize,
    tag: u64,
}

/// Begins a job.
pub(super) fn begin(job: Job) -> Step {
    match job {
        Job::Hash { password, cost } => match Making::begin(&password, cost) {
            Ok((making, work)) => Step::Bcrypt(Course::Hashing(making), work),
            Err(HashError::Refused(refused)) => Step::Done(Outcome::Refused(refused)),
            Err(HashError::Random(_)) => Step::Done(Outcome::Failed(Failure::NoRandomness)),
        },
        Job::Verify { password, candidates, budget } => {
            Trying::new(password, candidates, budget, None).next_candidate()
        }
        Job::VerifyThenHash { password, candidates, budget, cost } => {
            Trying::new(password, candidates, budget, Some(cost)).next_candidate()
        }
    }
}

impl Course {
    /// Goes on with what was computed.
    pub(super) fn resume(self, computed: &Digest) -> Step {
        match self {
            Self::Hashing(making) => Step::Done(Outcome::Hashed(making.finish(computed))),
            Self::Trying(trying) => trying.resume(computed),
            Self::Upgrading { matched: Matched { index, tag }, making } => {
                let upgrade = Some(making.finish(computed));
                Step::Done(Outcome::Matched { index, tag, upgrade })
            }
        }
    }
}

impl Trying {
    fn new(
        password: Password,
        candidates: Vec<Candidate>,
        budget: Budget,
        cost: Option<Cost>,
    ) -> Box<Self> {
        let (at, tried, spent) = (0, 0, 0);
        let (trial, trials) = (None, Vec::new());
        Box::new(Self { password, candidates, budget, cost, at, tried, spent, trial, trials })
    }

    /// Goes through the candidates in their order until one takes a bcrypt. The first is tried
    /// whatever it costs: a single hash within the bounds of admission must not lock its user out
    /// because the budget is set low.
    fn next_candidate(mut self: Box<Self>) -> Step {
        while let Some((before, [candidate, ..])) = self.candidates.split_at_checked(self.at) {
            if before.iter().any(|seen| seen.hash == candidate.hash) {
                self.at += 1;
                continue;
            }
            self.spent = self.spent.saturating_add(candidate.hash.relative_cost());
            if self.spent > self.budget.0 && self.tried > 0 {
                return Step::Done(Outcome::BudgetExhausted { tried: self.at });
            }
            self.tried += 1;
            match candidate.hash.begin_verify(&self.password) {
                Trials::Known(true) => return self.matched(),
                Trials::Known(false) => self.at += 1,
                Trials::Bcrypts(trials) => {
                    self.trials = trials;
                    return self.next_trial();
                }
            }
        }
        Step::Done(Outcome::Mismatched)
    }

    fn next_trial(mut self: Box<Self>) -> Step {
        self.trial = self.trials.pop();
        if let Some(trial) = &self.trial {
            let work = trial.work().clone();
            return Step::Bcrypt(Course::Trying(self), work);
        }
        self.at += 1;
        self.next_candidate()
    }

    fn resume(self: Box<Self>, computed: &Digest) -> Step {
        if self.trial.as_ref().is_some_and(|trial| trial.agrees(computed)) {
            self.matched()
        } else {
            self.next_trial()
        }
    }

    /// Makes the new secret where one is due. Without one the login is no less right: a password
    /// that cannot be a secret goes on with the hash it has, and so does one that met no
    /// randomness.
    fn matched(self: Box<Self>) -> Step {
        let Some(candidate) = self.candidates.get(self.at) else {
            return Step::Done(Outcome::Mismatched);
        };
        let (index, tag) = (self.at, candidate.tag);
        let due = self.cost.filter(|cost| candidate.hash.needs_upgrade(*cost));
        match due.and_then(|cost| Making::begin(&self.password, cost).ok()) {
            Some((making, work)) => {
                Step::Bcrypt(Course::Upgrading { matched: Matched { index, tag }, making }, work)
            }
            None => Step::Done(Outcome::Matched { index, tag, upgrade: None }),
        }
    }
}
