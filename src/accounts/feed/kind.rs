//! What an event is to a company that hears of its user.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::actors::feed::Group;
use crate::actors::shard_reads::Recorded;
use crate::events::event::Event;
use crate::events::ids::{CompanyId, UserId};
use crate::events::record::{Fact, Register, Subject};
use crate::events::stamp::Stamp;

/// What happened to a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It came into being, or became the company's customer.
    Registered,
    /// An identity was claimed or released.
    Identity,
    /// The password was set: sessions are to end.
    Password,
    /// A credential came or was hashed anew; the password is the same.
    Credential,
    /// Profile fields were written.
    Profile,
    /// It was shut out or let in again.
    Status,
    /// It was linked with another.
    Linked,
    /// It was severed from others.
    Unlinked,
    /// The person asked to be forgotten.
    Erased,
}

/// The users that a command touched, in the order of their ids.
pub(super) fn touched(group: &Group) -> BTreeSet<UserId> {
    group.facts.iter().flat_map(users_of).collect()
}

fn users_of(fact: &Fact) -> Vec<UserId> {
    match fact.subject {
        Subject::User(user) => vec![user],
        Subject::Pair(_) => fact.event.as_ref().map(Event::touched_users).unwrap_or_default(),
        Subject::Company(_) | Subject::Deployment | Subject::Other(_) => Vec::new(),
    }
}

/// What a command did to a user. A company's changed password is one where `was_password` says so.
pub(super) fn kinds(
    group: &Group,
    user: UserId,
    company: CompanyId,
    was_password: impl Fn(Stamp) -> bool,
) -> BTreeSet<Kind> {
    let of_user = group.facts.iter().filter(|fact| users_of(fact).contains(&user));
    let kind = |fact: &Fact| {
        kind(fact.register, fact.event.as_ref(), || was_password(fact.stamp), company)
    };
    of_user.filter_map(kind).collect()
}

/// What an event of a user's history did to it.
pub(super) fn kind_of(
    recorded: &Recorded,
    company: CompanyId,
    was_password: impl Fn(Stamp) -> bool,
) -> Option<Kind> {
    let header = &recorded.header;
    let stamp = Stamp {
        effective: header.effective,
        revision: header.revision,
        origin: header.origin,
        generation: 0,
    };
    kind(header.register, recorded.event.as_ref(), || was_password(stamp), company)
}

/// Whose customer somebody else's customer became is not the company's business.
fn kind(
    register: Register,
    event: Option<&Event>,
    was_password: impl FnOnce() -> bool,
    company: CompanyId,
) -> Option<Kind> {
    if register == Register::Erasure {
        return Some(Kind::Erased);
    }
    match event? {
        Event::UserRegistered(_) => Some(Kind::Registered),
        Event::CompanyJoined(joined) if *joined == company => Some(Kind::Registered),
        Event::IdentityClaimed(_) | Event::IdentityReleased(_) => Some(Kind::Identity),
        Event::PasswordSet(set) if set.upgrade.is_some() => Some(Kind::Credential),
        Event::PasswordSet(_) => Some(Kind::Password),
        // A change is a new password that a company knew first, unless there was a newer one here.
        Event::LegacyHashAdded(_) if was_password() => Some(Kind::Password),
        Event::LegacyHashAdded(_) => Some(Kind::Credential),
        Event::ProfileUpdated(_) => Some(Kind::Profile),
        Event::UserDisabled(()) | Event::UserEnabled(_) => Some(Kind::Status),
        Event::UsersLinked(_) => Some(Kind::Linked),
        Event::UsersUnlinked(_) => Some(Kind::Unlinked),
        _ => None,
    }
}
