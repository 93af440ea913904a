//! What may be asked for, and what is known when it is decided.

use super::account::{Claimant, Seen};
use super::cell::Mark;
use super::event::{Cause, FieldChange, IdentityClaimed, Sealed, UserKeyCreated};
use super::ids::{BlindIndex, CompanyId, Country, HashProfileId, Slot, UserId};
use super::policy::{Policies, Policy};
use super::stamp::{EventRef, Revision};
use super::sync::SyncRow;

/// Everything that can be asked of one user. Secrets were hashed and values sealed before.
#[derive(Debug, Clone)]
pub enum Command {
    /// Make the user.
    Register(Register),
    /// Make the user a customer of a company (it logged in there).
    Join(CompanyId),
    /// Write profile fields.
    UpdateProfile(Vec<FieldChange>),
    /// Set the password.
    SetPassword(SetPassword),
    /// Replace a verified credential by a better hash of the same password.
    UpgradePassword(UpgradePassword),
    /// Add a company's hash.
    AddLegacyHash(AddLegacyHash),
    /// Claim an identity.
    ClaimIdentity(NewClaim),
    /// Release an identity.
    ReleaseIdentity(BlindIndex),
    /// Shut the user out.
    Disable,
    /// Let the user in again.
    Enable,
    /// End the user's membership of a company.
    Leave(CompanyId),
    /// Forget the person.
    Erase,
    /// Say that this node holds nothing any more of an erased user.
    ConfirmErasure,
    /// Bring a user in line with a row of a bulk sync.
    Sync(Box<SyncRow>),
}

impl Command {
    /// The policy that a company needs for it. A password may always be set with the current one,
    /// and a new user is nobody's yet; what JCAS itself does is no company's. Of a bulk sync's row
    /// each part is held to a policy of its own.
    pub const fn policy(&self) -> Option<Policy> {
        match self {
            Self::Register(_)
            | Self::Join(_)
            | Self::Leave(_)
            | Self::UpgradePassword(_)
            | Self::ConfirmErasure
            | Self::Sync(_)
            // Which users it reaches is not all there is to it: see `decide`.
            | Self::Erase => None,
            Self::UpdateProfile(_) => Some(Policy::Profile),
            Self::SetPassword(set) if set.proof.is_some() => None,
            Self::SetPassword(_) | Self::AddLegacyHash(_) => Some(Policy::Password),
            Self::ClaimIdentity(_) | Self::ReleaseIdentity(_) => Some(Policy::Identity),
            Self::Disable | Self::Enable => Some(Policy::Status),
        }
    }
}

/// A new user.
#[derive(Debug, Clone)]
pub struct Register {
    /// The company that makes it.
    pub company: CompanyId,
    /// The country it is made in.
    pub country: Country,
    /// Its first key.
    pub key: UserKeyCreated,
    /// Its identities, at least one.
    pub claims: Vec<NewClaim>,
    /// The bcrypt hash of its password.
    pub secret: Option<Sealed>,
    /// The hash the company has of it.
    pub legacy: Option<AddLegacyHash>,
    /// Its profile.
    pub profile: Vec<FieldChange>,
}

/// An identity to claim.
#[derive(Debug, Clone)]
pub struct NewClaim {
    /// The claim, verified as the company says: whether that counts is decided.
    pub claim: IdentityClaimed,
    /// Everyone who claims the identity now.
    pub rivals: Vec<Claimant>,
}

/// A password to set.
#[derive(Debug, Clone)]
pub struct SetPassword {
    /// Its bcrypt hash.
    pub secret: Sealed,
    /// The credential that the current password was verified against.
    pub proof: Option<Proof>,
}

/// Says which credential of which user a password was verified against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof {
    /// The user whose credential it is.
    pub user: UserId,
    /// The credential.
    pub mark: Mark,
}

/// A better hash of a password that was just verified.
#[derive(Debug, Clone)]
pub struct UpgradePassword {
    /// The credential it was verified against.
    pub verified: Mark,
    /// The slot of that credential; none for the central one.
    pub slot: Option<Slot>,
    /// The events that credential rests on.
    pub lineage: Vec<EventRef>,
    /// The new bcrypt hash.
    pub secret: Sealed,
}

/// A company's hash to add.
#[derive(Debug, Clone)]
pub struct AddLegacyHash {
    /// Whose.
    pub slot: Slot,
    /// The hash and its salt, sealed.
    pub hash: Sealed,
    /// How it was computed.
    pub profile: Option<HashProfileId>,
    /// When the company changed it, in Unix milliseconds; none for an import.
    pub changed_at_unix_ms: Option<u64>,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// A company, with its policies.
    Company(CompanyId, Policies),
    /// An operator.
    Operator,
    /// JCAS itself, for what follows from a company's call (joining, upgrading).
    System,
}

/// What is known when a command is decided.
#[derive(Debug, Clone)]
pub struct Context {
    /// The reading this command is recorded at.
    pub now: Revision,
    /// Who asks.
    pub caller: Caller,
    /// What is kept of the request.
    pub cause: Cause,
    /// What the caller must have seen for the command to be taken.
    pub if_seen: Option<Seen>,
    /// The other users of the account.
    pub rest: Rest,
}

/// What the other users of an account say, for one that is linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rest {
    /// What a reader has seen of them.
    pub seen: Seen,
    /// Whether one of them was created by another company than this user was.
    pub of_others: bool,
}

impl Rest {
    /// Nobody else.
    pub const NONE: Self = Self { seen: Seen::NOTHING, of_others: false };
}

/// What became of a command that was not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It changed something.
    Applied,
    /// Something newer stands; what was asked is recorded if it may still matter.
    Older,
    /// It was so already.
    Unchanged,
}

/// Why a command was refused. All of these are the caller's to mend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// No such user.
    #[error("there is no such user")]
    UserNotFound,
    /// The user was erased.
    #[error("the user was erased")]
    UserErased,
    /// The company's policies do not allow it.
    #[error("the company's policy \"{policy}\" does not allow this for this user")]
    PolicyDenied {
        /// The policy.
        policy: Policy,
    },
    /// The caller has not seen the newest revision.
    #[error("the user has changed since; its revision is {current}")]
    RevisionMismatch {
        /// What it would have to have seen.
        current: Seen,
    },
    /// Somebody who cannot be displaced has this identity.
    #[error("the identity belongs to another user")]
    IdentityTaken {
        /// That user.
        by: UserId,
    },
    /// A user keeps at least one identity.
    #[error("it is the user's last identity")]
    LastIdentity,
    /// The user does not have this identity.
    #[error("the user has no such identity")]
    IdentityNotFound,
    /// The current password is no longer the one that was verified.
    #[error("the current password was changed meanwhile")]
    ProofOutdated,
    /// A user is not linked with itself.
    #[error("a user is not linked with itself")]
    SameUser,
    /// They are one person already: what joined them is taken apart, not declined.
    #[error("the two users are linked; take them apart with unlink")]
    Linked,
    /// The account would have too many users.
    #[error("an account has at most {max} users")]
    TooManyLinked {
        /// The bound.
        max: usize,
    },
    /// Other companies have the person too.
    #[error("the user is another company's customer too")]
    LinkedElsewhere,
    /// The profile would have too many fields.
    #[error("a profile has at most {max} fields")]
    TooManyFields {
        /// The bound.
        max: usize,
    },
}
