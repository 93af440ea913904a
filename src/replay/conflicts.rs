//! Rival writes that were refused: which event lost, to which other, in what.
//!
//! What counts is the log at hand. An event is refused when one with a greater stamp stands already
//! as it comes; where the two came the other way round, the later one simply replaced the earlier.
//! So a conflict shows in the log of the node that recorded the winner, and in the logs that took
//! the winner first.

use std::collections::HashMap;

use crate::events::cell::{Effect, Mark};
use crate::events::codec;
use crate::events::event::Event;
use crate::events::ids::{Digest, UserId};
use crate::events::record::{Fact, Header, LogPosition, Register, Subject};
use crate::events::registry::{Distrust, RegistryState};
use crate::events::state::UserState;
use crate::log::LogReader;

use super::fold::{ReplayError, Touched, knowing_distrust, users_of};
use super::memory::MemoryState;
use super::parts::{Part, parts, standing};

/// A refused rival write.
#[derive(Debug, Clone)]
pub struct Conflict {
    /// Where the loser lies.
    pub position: LogPosition,
    /// Everything about the loser but its content.
    pub loser: Header,
    /// Everything about the winner but its content; none where it is a set of events, or not in
    /// what was read.
    pub winner: Option<Header>,
    /// What both wrote, in a word.
    pub register: &'static str,
    /// What both wrote, precisely.
    pub part: String,
    /// The user, where it is about one.
    pub user: Option<UserId>,
}

/// A conflict whose winner is known by its mark.
struct Found {
    conflict: Conflict,
    winner: Option<Mark>,
}

/// Every refused rival write of a log, in its order. `progress` is told how many events were read.
pub fn conflicts(
    reader: &LogReader,
    mut progress: impl FnMut(u64),
) -> Result<Vec<Conflict>, ReplayError> {
    let mut events = 0;
    let mut read = || {
        events += 1;
        progress(events);
    };
    let found = knowing_distrust(|known| find(reader, known, &mut read))?;
    let mut winners: HashMap<Digest, Header> = HashMap::new();
    let wanted: std::collections::HashSet<Digest> =
        found.iter().filter_map(|it| it.winner.map(|mark| mark.digest)).collect();
    if !wanted.is_empty() {
        for stored in reader.scan(LogPosition::START, None) {
            let stored = stored?;
            let header = codec::decode_header(&stored.record.header)
                .map_err(ReplayError::record(stored.position))?;
            if wanted.contains(&header.body) {
                winners.insert(header.body, header);
            }
        }
    }
    let named = found.into_iter().map(|Found { mut conflict, winner }| {
        conflict.winner = winner.and_then(|mark| winners.get(&mark.digest).cloned());
        conflict
    });
    Ok(named.collect())
}

fn find(
    reader: &LogReader,
    known: &Distrust,
    read: &mut impl FnMut(),
) -> Result<(Vec<Found>, Distrust), ReplayError> {
    let (mut state, mut found) = (MemoryState::default(), Vec::new());
    for stored in reader.scan(LogPosition::START, None) {
        let (stored, wrong) = (stored?, ReplayError::record);
        let position = stored.position;
        let decoded = codec::decode_record(&stored.record).map_err(wrong(position))?;
        let (header, fact) = decoded;
        read();
        if !known.counts(&fact) {
            continue;
        }
        for Refused { register, part, user, winner } in fold(&mut state, &fact) {
            let loser = header.clone();
            let conflict = Conflict { position, loser, winner: None, register, part, user };
            found.push(Found { conflict, winner });
        }
    }
    let distrust = state.registry.distrust;
    Ok((found, distrust))
}

/// What a fact wrote in vain.
struct Refused {
    register: &'static str,
    part: String,
    user: Option<UserId>,
    winner: Option<Mark>,
}

/// Folds a fact and says what of it was refused. What is between users is said once.
fn fold(state: &mut MemoryState, fact: &Fact) -> Vec<Refused> {
    let users = match users_of(fact) {
        Touched::Registry => return fold_registry(&mut state.registry, fact),
        Touched::One(user) => vec![user],
        Touched::Several(users) => users,
    };
    let mut said = Vec::new();
    for user in users {
        let refused = fold_user(state.user_mut(user), user, fact);
        if said.is_empty() {
            said = refused;
        }
    }
    said
}

fn fold_user(state: &mut UserState, user: UserId, fact: &Fact) -> Vec<Refused> {
    let refused = |part: &Part, winner| Refused {
        register: part.register(),
        part: part.to_string(),
        user: Some(user),
        winner,
    };
    let erased = state.erased.as_ref().map(|cell| cell.mark);
    let (parts, mine) = (parts(user, fact), Mark::of(fact));
    let effect = crate::events::evolve::evolve(state, user, fact);
    if effect == Effect::Ignored {
        // Whoever recorded it after the erasure had not seen that. What is older may have come
        // late.
        let rival = erased.filter(|erasure| fact.revision > erasure.stamp.revision);
        return parts
            .iter()
            .map(|part| refused(part, rival))
            .filter(|it| it.winner.is_some())
            .collect();
    }
    let lost = |part: &Part| match standing(state, part, mine) {
        Some(after) if after > mine => Some(refused(part, Some(after))),
        // Disabled where somebody who knew of it had enabled already.
        None if effect == Effect::Lost => Some(refused(part, None)),
        _ => None,
    };
    parts.iter().filter_map(lost).collect()
}

fn fold_registry(registry: &mut RegistryState, fact: &Fact) -> Vec<Refused> {
    if registry.evolve(fact) != Effect::Lost {
        return Vec::new();
    }
    let register = match fact.register {
        Register::Company => "company",
        Register::Policy => "policy",
        Register::ApiKey(_) => "api key",
        Register::HashProfile(_) => "hash profile",
        Register::BranchKey(_) => "branch key",
        _ => "deployment",
    };
    let part = match fact.subject {
        Subject::Company(company) => format!("{register} {company}"),
        _ => register.to_owned(),
    };
    let winner = standing_in_registry(registry, fact);
    vec![Refused { register, part, user: None, winner }]
}

/// The mark that stands where a fact about a company was refused.
fn standing_in_registry(registry: &RegistryState, fact: &Fact) -> Option<Mark> {
    let Subject::Company(company) = fact.subject else { return None };
    let company = registry.companies.get(&company)?;
    match fact.event.as_ref()? {
        Event::CompanyRegistered(_) => company.registered.as_ref().map(|cell| cell.mark),
        Event::PolicySet(_) => company.policies.as_ref().map(|cell| cell.mark),
        Event::HashProfileDeclared(declared) => {
            let at = (declared.slot.country, declared.name);
            company.profiles.get(&at).map(|cell| cell.mark)
        }
        _ => None,
    }
}
