//! One user's events, and what each of them did.

use std::collections::HashMap;
use std::fmt;

use crate::events::cell::{Effect, Mark};
use crate::events::codec;
use crate::events::event::Event;
use crate::events::evolve::evolve;
use crate::events::ids::{BlindIndex, CompanyId, FieldName, IdentityKind, Slot, UserId, UserKeyId};
use crate::events::pair::Pair;
use crate::events::record::{Fact, Header, LogPosition, Register, Subject};
use crate::events::registry::{Distrust, RegistryState};
use crate::events::stamp::{EventRef, Origin, Revision};
use crate::events::state::UserState;
use crate::log::LogReader;

use super::fold::{ReplayError, Touched, knowing_distrust, note_distrust, users_of};

/// One event of a user.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Where it lies.
    pub position: LogPosition,
    /// Everything about it but its content.
    pub header: Header,
    /// What it did.
    pub did: Did,
}

/// What an event did to a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Did {
    /// It wrote these parts of the state, or tried to.
    Wrote(Vec<Written>),
    /// Nothing, for this reason.
    Nothing(&'static str),
}

/// What an event did to one part of a user's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The part.
    pub part: Part,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It prevailed, over this event if there was one before.
    Changed(Option<EventRef>),
    /// This event, with a greater stamp, stands; none where it is not in what was read.
    Lost(Option<EventRef>),
    /// It was there already.
    Known,
}

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

/// The timeline of a user, in the order of the log. `progress` is told how many events were read.
pub fn timeline(
    reader: &LogReader,
    user: UserId,
    mut progress: impl FnMut(u64),
) -> Result<Vec<Entry>, ReplayError> {
    knowing_distrust(|known| {
        let mut fold = UserFold::new(user);
        let mut registry = RegistryState::default();
        let mut events = 0_u64;
        for stored in reader.scan(LogPosition::START, None) {
            let (stored, wrong) = (stored?, ReplayError::record);
            let position = stored.position;
            events += 1;
            progress(events);
            let header = codec::decode_header(&stored.record.header).map_err(wrong(position))?;
            if matches!(header.subject, Subject::User(other) if other != user) {
                continue;
            }
            let body = stored.record.body.as_deref();
            let event = body.map(|body| codec::decode_body(&header, body)).transpose();
            let fact = Fact::new(&header, event.map_err(wrong(position))?.flatten());
            note_distrust(&mut registry, &fact);
            let touched = match users_of(&fact) {
                Touched::Registry => false,
                Touched::One(_) => true,
                Touched::Several(users) => users.contains(&user),
            };
            if touched {
                fold.take(position, header, &fact, known);
            }
        }
        Ok((fold.entries, registry.distrust))
    })
}

/// One user's state in the making.
struct UserFold {
    user: UserId,
    state: UserState,
    /// Which event a mark is of.
    events: HashMap<Mark, EventRef>,
    entries: Vec<Entry>,
}

impl UserFold {
    fn new(user: UserId) -> Self {
        let (state, events) = (UserState::default(), HashMap::new());
        Self { user, state, events, entries: Vec::new() }
    }

    fn take(&mut self, position: LogPosition, header: Header, fact: &Fact, known: &Distrust) {
        let did = if known.counts(fact) {
            self.fold(fact)
        } else {
            Did::Nothing("its life was cut off, or what it rests on")
        };
        self.entries.push(Entry { position, header, did });
    }

    fn fold(&mut self, fact: &Fact) -> Did {
        let parts = parts(self.user, fact);
        let mine = Mark::of(fact);
        let before: Vec<_> = parts.iter().map(|part| standing(&self.state, part, mine)).collect();
        let was_erased = self.state.erased.is_some();
        let effect = evolve(&mut self.state, self.user, fact);
        self.events.insert(mine, fact.reference);
        if effect == Effect::Ignored {
            return Did::Nothing(match (was_erased, &fact.event) {
                (true, _) => "the user is erased",
                (false, None) => "its body is blanked or of a newer version",
                (false, Some(_)) => "it says nothing of this user",
            });
        }
        let written = parts.into_iter().zip(before).map(|(part, before)| {
            let outcome = self.outcome(&part, before, mine, effect);
            Written { part, outcome }
        });
        Did::Wrote(written.collect())
    }

    fn outcome(&self, part: &Part, before: Option<Mark>, mine: Mark, effect: Effect) -> Outcome {
        let event = |mark: Mark| self.events.get(&mark).copied();
        // These two keep no mark of their own: the whole event has one effect.
        if matches!(part, Part::Enabling | Part::CredentialFloor) {
            return match effect {
                Effect::Prevailed => Outcome::Changed(None),
                _ => Outcome::Known,
            };
        }
        match standing(&self.state, part, mine) {
            Some(after) if after == mine && before == Some(mine) => Outcome::Known,
            Some(after) if after == mine => Outcome::Changed(before.and_then(event)),
            Some(after) => Outcome::Lost(event(after)),
            None => Outcome::Lost(None),
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
