//! The parts of a user's state that are written as a whole, and what stands in them.

use std::fmt;

use crate::events::cell::Mark;
use crate::events::event::Event;
use crate::events::ids::{BlindIndex, CompanyId, FieldName, IdentityKind, Slot, UserId, UserKeyId};
use crate::events::pair::Pair;
use crate::events::record::{Fact, Register};
use crate::events::stamp::{Origin, Revision};
use crate::events::state::UserState;

/// A part of a user's state that is written as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Who created the user.
    Registration,
    /// The tombstone.
    Erasure,
    /// The central credential.
    Secret,
    /// A company's credential.
    Legacy(Slot),
    /// An identity. Which one is not said.
    Identity(BlindIndex),
    /// A profile field.
    Field(FieldName),
    /// Whether it is a company's customer.
    Membership(CompanyId),
    /// One of its keys.
    Key(UserKeyId),
    /// What is between it and another user.
    Link(UserId),
    /// At and below which stamp its credentials no longer count.
    CredentialFloor,
    /// A disabling, by where and when it was recorded.
    Disabling(Origin, Revision),
    /// What lifts disablings.
    Enabling,
}

impl Part {
    /// What it is, in a word.
    pub const fn register(&self) -> &'static str {
        match self {
            Self::Registration => "registration",
            Self::Erasure => "erasure",
            Self::Secret => "secret",
            Self::Legacy(_) => "legacy",
            Self::Identity(_) => "identity",
            Self::Field(_) => "profile",
            Self::Membership(_) => "membership",
            Self::Key(_) => "key",
            Self::Link(_) => "link",
            Self::CredentialFloor => "credential floor",
            Self::Disabling(..) | Self::Enabling => "status",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registration => f.write_str("registration"),
            Self::Erasure => f.write_str("erasure"),
            Self::Secret => f.write_str("secret"),
            Self::Legacy(slot) => write!(f, "legacy {slot}"),
            Self::Identity(BlindIndex { kind: IdentityKind::Email, .. }) => f.write_str("email"),
            Self::Identity(BlindIndex { kind: IdentityKind::Phone, .. }) => f.write_str("phone"),
            Self::Field(field) => write!(f, "profile {field}"),
            Self::Membership(company) => write!(f, "membership {company}"),
            Self::Key(key) => write!(f, "key {key}"),
            Self::Link(other) => write!(f, "link {other}"),
            Self::CredentialFloor => f.write_str("credential floor"),
            Self::Disabling(..) | Self::Enabling => f.write_str("status"),
        }
    }
}

/// The parts of a user's state that an event writes.
pub(super) fn parts(user: UserId, fact: &Fact) -> Vec<Part> {
    match fact.register {
        Register::Erasure => return vec![Part::Erasure],
        Register::UserKey(key) => return vec![Part::Key(key)],
        _ => {}
    }
    let link = |pair: &Pair| pair.other(user).map(Part::Link);
    let Some(event) = &fact.event else { return Vec::new() };
    match event {
        Event::UserRegistered(_) => vec![Part::Registration],
        Event::CompanyJoined(company) | Event::CompanyLeft(company) => {
            vec![Part::Membership(*company)]
        }
        Event::IdentityClaimed(claimed) => vec![Part::Identity(claimed.index)],
        Event::IdentityReleased(index) => vec![Part::Identity(*index)],
        Event::PasswordSet(_) => vec![Part::Secret],
        Event::LegacyHashAdded(added) => vec![Part::Legacy(added.slot)],
        Event::ProfileUpdated(changes) => {
            changes.iter().map(|change| Part::Field(change.field.clone())).collect()
        }
        Event::UserDisabled(()) => {
            vec![Part::Disabling(fact.reference.origin, fact.revision)]
        }
        Event::UserEnabled(_) => vec![Part::Enabling],
        Event::UsersLinked(linked) => link(&linked.pair).into_iter().collect(),
        Event::LinkDeclined(pair) => link(pair).into_iter().collect(),
        Event::UsersUnlinked(unlinked) => {
            let floor = unlinked.floors.iter().any(|(of, _)| *of == user);
            let links = unlinked.pairs.iter().filter_map(link);
            links.chain(floor.then_some(Part::CredentialFloor)).collect()
        }
        // Written by their registers, above, or not about users.
        Event::UserKeyCreated(_)
        | Event::UserErased(())
        | Event::ErasureConfirmed(())
        | Event::CompanyRegistered(_)
        | Event::PolicySet(_)
        | Event::ApiKeyIssued(_)
        | Event::ApiKeyRevoked(_)
        | Event::HashProfileDeclared(_)
        | Event::OriginOpened(_)
        | Event::BranchKeyCreated(_)
        | Event::BranchKeyWrapped(_)
        | Event::OriginDistrusted(_) => Vec::new(),
    }
}

/// The mark that stands in a part: `mine`, if it is among those that do.
pub(super) fn standing(state: &UserState, part: &Part, mine: Mark) -> Option<Mark> {
    match part {
        Part::Registration => state.registered.as_ref().map(|cell| cell.mark),
        Part::Erasure => state.erased.as_ref().map(|cell| cell.mark),
        Part::Secret => state.secret.as_ref().map(|cell| cell.mark),
        Part::Legacy(slot) => state.legacy.get(slot).map(|cell| cell.mark),
        Part::Identity(index) => {
            let claims = state.claims.get(index)?;
            if claims.live.contains_key(&mine) { Some(mine) } else { claims.released }
        }
        Part::Field(field) => state.profile.get(field).map(|cell| cell.mark),
        Part::Membership(company) => state.memberships.get(company).map(|cell| cell.mark),
        Part::Key(key) => state.keys.get(key).copied(),
        Part::Link(other) => state.links.get(other).map(|cell| cell.mark),
        Part::Disabling(origin, revision) => {
            state.status.disablings.get(&(*origin, *revision)).copied()
        }
        Part::CredentialFloor | Part::Enabling => None,
    }
}
