//! What a start does with the state it finds: a pure decision, so that every case can be tested.

use std::fmt;

use crate::events::ids::DeploymentId;
use crate::events::record::LogPosition;

use super::checkpoint::{Checkpoint, Reading};

/// What a start does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Plan {
    /// Use the trees as they are, and fold the log from a position on.
    Open {
        /// Where the trees are and what they hold.
        checkpoint: Checkpoint,
        /// The first position that may not be applied yet.
        replay_from: LogPosition,
    },
    /// Fold the whole log into a new folder.
    Rebuild {
        /// Why.
        reason: Reason,
    },
}

/// Why the state is rebuilt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// There is no checkpoint: a new node, or one that never came to its first.
    NoCheckpoint,
    /// The checkpoint is damaged.
    CheckpointDamaged,
    /// Checkpoint and state are of another version of this program.
    OtherVersion,
    /// The state is of another deployment.
    OtherDeployment {
        /// The state's.
        found: DeploymentId,
        /// The log's.
        expected: DeploymentId,
    },
    /// The log ends below the checkpoint: it was cut or exchanged.
    BeyondLog,
    /// The log ends below what the trees know: durable events are gone from it.
    KnowsMore,
    /// The trees do not open.
    DoesNotOpen,
    /// A check found the state at odds with the log, or an operator asked.
    Asked,
}

/// What the log says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogBounds {
    /// The deployment it is of.
    pub deployment: DeploymentId,
    /// Where it ends.
    pub end: LogPosition,
}

/// What came of opening the trees that the checkpoint names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trees {
    /// That was not tried yet.
    Untried,
    /// They do not open.
    Shut,
    /// They opened.
    Open {
        /// The log position from which on they know of nothing.
        reach: LogPosition,
    },
}

/// Decides what to do.
pub fn plan(reading: &Reading, log: LogBounds, trees: Trees) -> Plan {
    let rebuild = |reason| Plan::Rebuild { reason };
    let checkpoint = match reading {
        Reading::Absent => return rebuild(Reason::NoCheckpoint),
        Reading::Damaged => return rebuild(Reason::CheckpointDamaged),
        Reading::OtherVersion { .. } => return rebuild(Reason::OtherVersion),
        Reading::Valid(checkpoint) => *checkpoint,
    };
    if checkpoint.deployment != log.deployment {
        let (found, expected) = (checkpoint.deployment, log.deployment);
        return rebuild(Reason::OtherDeployment { found, expected });
    }
    if checkpoint.applied_below > log.end {
        return rebuild(Reason::BeyondLog);
    }
    match trees {
        Trees::Shut => rebuild(Reason::DoesNotOpen),
        Trees::Open { reach } if reach > log.end => rebuild(Reason::KnowsMore),
        Trees::Open { .. } | Trees::Untried => {
            Plan::Open { checkpoint, replay_from: checkpoint.applied_below }
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoCheckpoint => "there is no checkpoint",
            Self::CheckpointDamaged => "the checkpoint is damaged",
            Self::OtherVersion => "the state is of another version",
            Self::OtherDeployment { found, expected } => {
                return write!(f, "the state belongs to deployment {found}, not to {expected}");
            }
            Self::BeyondLog => "the log ends below the checkpoint",
            Self::KnowsMore => "the log ends below what the state knows: durable events are gone",
            Self::DoesNotOpen => "the stored trees do not open",
            Self::Asked => "it was asked for",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::fixtures::{DEPLOYMENT, checkpoint};

    const END: LogPosition = LogPosition::new(9, 0);

    fn planned(reading: Reading, end: LogPosition, trees: Trees) -> Plan {
        plan(&reading, LogBounds { deployment: DEPLOYMENT, end }, trees)
    }

    #[test]
    fn a_valid_checkpoint_is_opened_and_replayed_from() {
        let found = checkpoint(4);
        let expected = Plan::Open { checkpoint: found, replay_from: found.applied_below };
        for trees in [Trees::Untried, Trees::Open { reach: found.applied_below }] {
            assert_eq!(planned(Reading::Valid(found), END, trees), expected);
            let end = found.applied_below;
            assert_eq!(planned(Reading::Valid(found), end, trees), expected, "at the log's end");
        }
        let all = Trees::Open { reach: END };
        assert_eq!(planned(Reading::Valid(found), END, all), expected, "all of the log is known");
    }

    #[test]
    fn everything_else_is_rebuilt_with_its_reason() {
        let valid = Reading::Valid(checkpoint(4));
        let (found, expected) = (DeploymentId([8; 16]), DEPLOYMENT);
        let foreigner = Reason::OtherDeployment { found, expected };
        let foreign = Checkpoint { deployment: DeploymentId([8; 16]), ..checkpoint(4) };
        let other = Reading::OtherVersion { layout: 1, fold: 0 };
        let cases = [
            (Reading::Absent, END, Trees::Untried, Reason::NoCheckpoint),
            (Reading::Damaged, END, Trees::Untried, Reason::CheckpointDamaged),
            (other, END, Trees::Untried, Reason::OtherVersion),
            (Reading::Valid(foreign), END, Trees::Untried, foreigner),
            (valid, LogPosition::START, Trees::Untried, Reason::BeyondLog),
            (valid, END, Trees::Shut, Reason::DoesNotOpen),
            (valid, END, Trees::Open { reach: LogPosition::new(9, 1) }, Reason::KnowsMore),
        ];
        for (reading, end, trees, reason) in cases {
            assert_eq!(planned(reading, end, trees), Plan::Rebuild { reason });
        }
    }
}
