//! What a user's events fold to.
//!
//! Every part is a register with a mark of its own, so that two regions which change different
//! things lose nothing. Nothing here is derived from several registers: what follows from them
//! (who owns an identity, which credential counts) is asked of `account`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::cell::{Cell, Mark};
use super::event::{Sealed, UserRegistered};
use super::ids::{BlindIndex, CompanyId, FieldName, HashProfileId, Slot, UserId, UserKeyId};
use super::stamp::{EventRef, Origin, Revision, Stamp};
use super::vec_map::VecMap;

/// One user, as the set of its events says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UserState {
    /// Who created it. None: events of it are here, but not the first one yet.
    pub registered: Option<Cell<UserRegistered>>,
    /// Set once the user is erased; then only it and the links are kept.
    pub erased: Option<Cell<()>>,
    /// Disablings and liftings.
    pub status: Status,
    /// The central credential.
    pub secret: Option<Cell<Credential>>,
    /// A credential a (company, country).
    pub legacy: VecMap<Slot, Cell<Credential>>,
    /// What was said of each identity.
    pub claims: VecMap<BlindIndex, Claims>,
    /// Profile fields; a removed one is there without a value.
    pub profile: VecMap<FieldName, Cell<Option<Sealed>>>,
    /// Companies it is or was a customer of.
    pub memberships: VecMap<CompanyId, Cell<bool>>,
    /// Its keys. The wrapped keys are in the log alone: this state is kept in files whose dead
    /// bytes stay readable.
    pub keys: VecMap<UserKeyId, Mark>,
    /// What is between it and other users.
    pub links: VecMap<UserId, Cell<Link>>,
    /// The greatest revision of any event of it, also of those that lost: what a reader has seen
    /// never goes back.
    pub greatest: Revision,
    /// The stamp at and below which its credentials no longer count, since it was unlinked.
    pub credential_floor: Option<Stamp>,
}

/// A credential as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// The sealed hash.
    pub hash: Sealed,
    /// How it was computed, where the hash does not say.
    pub profile: Option<HashProfileId>,
    /// The events it rests on, its own last.
    pub lineage: Vec<EventRef>,
}

/// Whether the user is shut out: by every disabling that nothing lifted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Status {
    /// The disablings that stand, by where and when they were recorded.
    pub disablings: BTreeMap<(Origin, Revision), Mark>,
    /// Per origin, the greatest disabling that was lifted.
    pub lifted: BTreeMap<Origin, Revision>,
}

impl Status {
    /// Whether every disabling is lifted.
    pub fn is_active(&self) -> bool {
        self.disablings.is_empty()
    }

    /// Drops the disablings that are lifted: what stands does not depend on what came first.
    pub(super) fn settle(&mut self) {
        let Self { disablings, lifted } = self;
        disablings.retain(|(origin, revision), _| {
            lifted.get(origin).is_none_or(|greatest| revision > greatest)
        });
    }
}

/// What was said of one identity of one user.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Claims {
    /// The claims above the last release.
    pub live: VecMap<Mark, Claim>,
    /// The greatest release.
    pub released: Option<Mark>,
}

/// One claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Whether it was verified.
    pub verified: bool,
    /// The identity.
    pub value: Sealed,
    /// When and where it was first claimed, where this claim repeats an older one.
    pub since: Option<(Revision, Origin)>,
}

impl Claims {
    /// Whether the identity is this user's.
    pub fn is_live(&self) -> bool {
        !self.live.is_empty()
    }

    /// Whether a live claim is verified.
    pub fn is_verified(&self) -> bool {
        self.live.values().any(|claim| claim.verified)
    }

    /// When and where the identity was first claimed since its last release: the lowest reading
    /// among the live claims.
    pub fn since(&self) -> Option<(Revision, Origin)> {
        let since = |(mark, claim): (&Mark, &Claim)| {
            claim.since.unwrap_or((mark.stamp.revision, mark.stamp.origin))
        };
        self.live.iter().map(since).min()
    }

    /// The identity's value, as the first live claim has it.
    pub fn value(&self) -> Option<&Sealed> {
        self.live.values().next().map(|claim| &claim.value)
    }
}

/// What is between two users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Link {
    /// They are one person.
    Linked {
        /// Whether the system concluded it.
        automatic: bool,
    },
    /// They are no longer.
    Unlinked,
    /// A person said they are not.
    Declined,
}

impl UserState {
    /// Whether this user exists and is not erased.
    pub const fn is_live(&self) -> bool {
        self.registered.is_some() && self.erased.is_none()
    }

    /// Whether nothing is known of it at all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The company that created it.
    pub fn creator(&self) -> Option<CompanyId> {
        self.registered.as_ref().map(|cell| cell.value.company)
    }

    /// Whether it is a company's customer.
    pub fn is_member(&self, company: CompanyId) -> bool {
        self.memberships.get(&company).is_some_and(|cell| cell.value)
    }

    /// Its live identities.
    pub fn identities(&self) -> impl Iterator<Item = (&BlindIndex, &Claims)> {
        self.claims.iter().filter(|(_, claims)| claims.is_live())
    }

    /// The users it is directly linked with.
    pub fn linked(&self) -> impl Iterator<Item = UserId> + '_ {
        let linked = |cell: &Cell<Link>| matches!(cell.value, Link::Linked { .. });
        self.links.iter().filter(move |(_, cell)| linked(cell)).map(|(user, _)| *user)
    }

    /// Its profile fields that have a value.
    pub fn fields(&self) -> impl Iterator<Item = (&FieldName, &Cell<Option<Sealed>>)> {
        self.profile.iter().filter(|(_, cell)| cell.value.is_some())
    }
}
