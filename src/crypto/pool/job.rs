//! A job of the hash pool: a password, and what to compute of it.
//!
//! Every job is bounded before it starts: hashes have their costs checked when they are parsed, and
//! a list of candidates has a budget. It must never know where its candidates come from.

use std::fmt;

use crate::crypto::bcrypt::Begun;
use crate::crypto::legacy::{self, LegacyHash, Trials};
use crate::crypto::secret::{self, Cost, Password, PasswordRefused, SecretHash};

/// What is to be computed.
#[derive(Debug)]
pub enum Job {
    /// Make a new secret.
    Hash {
        /// The new password; one that cannot be a secret is [`Outcome::Refused`].
        password: Password,
        /// The deployment's current cost.
        cost: Cost,
    },
    /// Find the candidate that the password has.
    Verify {
        /// The password as given.
        password: Password,
        /// Tried in this order, equal ones once.
        candidates: Vec<Candidate>,
        /// How much work this may be.
        budget: Budget,
    },
    /// Find all candidates that the password has.
    Probe {
        /// The password as given.
        password: Password,
        /// Tried in this order.
        candidates: Vec<Candidate>,
        /// How much work this may be. One that does not fit is left out, cheaper ones after it are
        /// not.
        budget: Budget,
    },
    /// As [`Job::Verify`]; and where what matched is not a secret at the current cost, make one of
    /// the same password.
    VerifyThenHash {
        /// The password as given.
        password: Password,
        /// Tried in this order, equal ones once.
        candidates: Vec<Candidate>,
        /// How much work verifying may be; the new secret comes on top.
        budget: Budget,
        /// The deployment's current cost.
        cost: Cost,
    },
}

/// A hash to try.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The caller's own name for it; comes back with the outcome.
    pub tag: u64,
    /// The hash.
    pub hash: CandidateHash,
}

/// A hash of either kind.
#[derive(Clone, PartialEq, Eq)]
pub enum CandidateHash {
    /// A central secret, or a decoy.
    Secret(SecretHash),
    /// What a company brought.
    Legacy(LegacyHash),
}

/// How much verifying one job may take, in the units of `relative_cost`: microseconds on one core
/// of the machine it was measured on. Estimated and not clocked, so that a busy machine tries as
/// much as an idle one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget(pub(super) u32);

/// What became of a job.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The new secret of [`Job::Hash`].
    Hashed(SecretHash),
    /// A candidate matched.
    Matched {
        /// Its place in the list, the first of equal ones.
        index: usize,
        /// Its tag.
        tag: u64,
        /// The new secret of [`Job::VerifyThenHash`]; none where the match is a secret at the
        /// current cost or the password cannot be a secret.
        upgrade: Option<SecretHash>,
    },
    /// No candidate matched; all were tried.
    Mismatched,
    /// None matched of those the budget was enough for.
    BudgetExhausted {
        /// How many of the list were dealt with.
        tried: usize,
    },
    /// What [`Job::Probe`] found.
    Probed {
        /// The places in the list of those that matched.
        matched: Vec<usize>,
        /// Whether the budget was enough for all.
        complete: bool,
    },
    /// The password of [`Job::Hash`] cannot be a secret.
    Refused(PasswordRefused),
    /// The job could not be done.
    Failed(Failure),
}

/// Why a job could not be done; neither is the caller's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The operating system gave no randomness for a salt.
    NoRandomness,
    /// The computation panicked; the pool goes on.
    Panicked,
}

impl Budget {
    /// So many microseconds.
    pub const fn from_micros(micros: u32) -> Self {
        Self(micros)
    }

    /// What each of so many jobs may take, that together they take no more.
    #[must_use]
    pub const fn shared_by(self, jobs: u32) -> Self {
        match self.0.checked_div(jobs) {
            Some(each) => Self(each),
            None => self,
        }
    }

    /// So many milliseconds, at most 71 minutes of them.
    pub const fn from_millis(millis: u32) -> Self {
        Self(millis.saturating_mul(1000))
    }
}

impl CandidateHash {
    /// What trying it takes, in microseconds on one core of the machine it was measured on.
    pub fn relative_cost(&self) -> u32 {
        match self {
            Self::Secret(hash) => hash.relative_cost(),
            Self::Legacy(hash) => hash.relative_cost(),
        }
    }

    /// The same for this password: some formats cost more where it is long.
    pub(super) fn cost_for(&self, password: &Password) -> u32 {
        match self {
            Self::Secret(hash) => hash.relative_cost(),
            Self::Legacy(hash) => hash.cost_for(password),
        }
    }

    /// Begins verifying: what is no bcrypt is computed here.
    pub(super) fn begin_verify(&self, password: &Password) -> Trials {
        match self {
            Self::Secret(hash) => match secret::begin_verify(password, hash) {
                Begun::Known(known) => Trials::Known(known),
                Begun::Trial(trial) => Trials::Bcrypts(vec![trial]),
            },
            Self::Legacy(hash) => legacy::begin_verify(hash, password),
        }
    }

    pub(super) fn needs_upgrade(&self, current: Cost) -> bool {
        match self {
            Self::Secret(hash) => secret::needs_rehash(hash, current),
            Self::Legacy(_) => true,
        }
    }
}

impl fmt::Debug for CandidateHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(hash) => hash.fmt(out),
            Self::Legacy(hash) => hash.fmt(out),
        }
    }
}

impl Job {
    /// What it takes if nothing matches, in microseconds on one core of the machine it was measured
    /// on.
    pub(super) fn work(&self) -> u32 {
        match self {
            Self::Hash { cost, .. } => cost.relative_cost(),
            Self::Verify { candidates, .. }
            | Self::Probe { candidates, .. }
            | Self::VerifyThenHash { candidates, .. } => {
                let costs = candidates.iter().map(|candidate| candidate.hash.relative_cost());
                costs.fold(0, u32::saturating_add)
            }
        }
    }

    /// What it takes at most, or nearly so, in microseconds on one core of the machine it was
    /// measured on: as though nothing matched before the end, and an upgrade were made where one
    /// may be.
    pub(super) fn relative_cost(&self) -> u32 {
        let (candidates, budget, new) = match self {
            Self::Hash { cost, .. } => return cost.relative_cost(),
            Self::Verify { candidates, budget, .. } | Self::Probe { candidates, budget, .. } => {
                (candidates, budget, None)
            }
            Self::VerifyThenHash { candidates, budget, cost, .. } => {
                (candidates, budget, Some(*cost))
            }
        };
        let all = candidates.iter().map(|it| it.hash.relative_cost());
        let verifying = all.fold(0, u32::saturating_add);
        let first = candidates.first().map_or(0, |it| it.hash.relative_cost());
        let upgrading = new.filter(|new| candidates.iter().any(|it| it.hash.needs_upgrade(*new)));
        verifying.min(budget.0.max(first)).saturating_add(upgrading.map_or(0, Cost::relative_cost))
    }
}
