//! A job of the hash pool: a password, and what to compute of it.
//!
//! Every job is bounded before it starts: hashes have their costs checked when they are parsed, and
//! a list of candidates has a budget. It must never know where its candidates come from.

use std::fmt;

use crate::crypto::bcrypt;
use crate::crypto::legacy::{self, LegacyHash};
use crate::crypto::secret::{self, Cost, HashError, Password, PasswordRefused, SecretHash};

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
pub struct Budget(u32);

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

    fn verify(&self, password: &Password) -> bool {
        match self {
            Self::Secret(hash) => secret::verify(password, hash),
            Self::Legacy(hash) => legacy::verify(hash, password),
        }
    }

    fn needs_upgrade(&self, current: Cost) -> bool {
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
    /// What it takes if no candidate matches, in microseconds on one core of the machine it was
    /// measured on.
    pub(super) fn work(&self) -> u32 {
        match self {
            Self::Hash { cost, .. } => bcrypt::work(*cost),
            Self::Verify { candidates, .. } | Self::VerifyThenHash { candidates, .. } => {
                let costs = candidates.iter().map(|candidate| candidate.hash.relative_cost());
                costs.fold(0, u32::saturating_add)
            }
        }
    }

    /// Computes it, on the calling thread.
    pub(super) fn run(self) -> Outcome {
        match self {
            Self::Hash { password, cost } => match secret::hash(&password, cost) {
                Ok(hash) => Outcome::Hashed(hash),
                Err(HashError::Refused(refused)) => Outcome::Refused(refused),
                Err(HashError::Random(_)) => Outcome::Failed(Failure::NoRandomness),
            },
            Self::Verify { password, candidates, budget } => {
                match find(&password, &candidates, budget) {
                    Ok((index, candidate)) => {
                        Outcome::Matched { index, tag: candidate.tag, upgrade: None }
                    }
                    Err(unmatched) => unmatched,
                }
            }
            Self::VerifyThenHash { password, candidates, budget, cost } => {
                match find(&password, &candidates, budget) {
                    Ok((index, candidate)) => Outcome::Matched {
                        index,
                        tag: candidate.tag,
                        upgrade: upgrade(candidate, &password, cost),
                    },
                    Err(unmatched) => unmatched,
                }
            }
        }
    }
}

/// Tries the candidates in their order. The first is tried whatever it costs: a single hash within
/// the bounds of admission must not lock its user out because the budget is set low.
fn find<'a>(
    password: &Password,
    candidates: &'a [Candidate],
    budget: Budget,
) -> Result<(usize, &'a Candidate), Outcome> {
    let mut spent = 0_u32;
    let mut seen: Vec<&CandidateHash> = Vec::new();
    for (index, candidate) in candidates.iter().enumerate() {
        if seen.contains(&&candidate.hash) {
            continue;
        }
        spent = spent.saturating_add(candidate.hash.relative_cost());
        if spent > budget.0 && !seen.is_empty() {
            return Err(Outcome::BudgetExhausted { tried: index });
        }
        if candidate.hash.verify(password) {
            return Ok((index, candidate));
        }
        seen.push(&candidate.hash);
    }
    Err(Outcome::Mismatched)
}

/// The new secret for a login that was right. Without one the login is no less right: a password
/// that cannot be a secret goes on with the hash it has, and so does one that met no randomness.
fn upgrade(matched: &Candidate, password: &Password, cost: Cost) -> Option<SecretHash> {
    if matched.hash.needs_upgrade(cost) { secret::hash(password, cost).ok() } else { None }
}
