//! In what two states differ, and which events only one of two histories has.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::events::ids::{Digest, UserId};
use crate::events::record::Header;
use crate::events::registry::RegistryState;
use crate::events::stamp::EventRef;
use crate::events::state::UserState;

use super::coverage::{Coverage, Gap, Lane};
use super::fold::ReplayError;
use super::held::{Held, held_by};
use super::history::History;
use super::memory::MemoryState;

/// In what a user differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserDifference {
    /// The user.
    pub user: UserId,
    /// The parts, in order.
    pub parts: Vec<PartDifference>,
}

/// In what a part of a user's state differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartDifference {
    /// The part.
    pub part: String,
    /// What only the first state holds there.
    pub one: Vec<Held>,
    /// What only the second one does.
    pub other: Vec<Held>,
}

/// The parts in which two states of one user differ.
pub fn of_user(one: &UserState, other: &UserState) -> Vec<PartDifference> {
    let held = |state| held_by(state).into_iter().collect::<BTreeSet<_>>();
    let (one, other) = (held(one), held(other));
    let mut parts: BTreeMap<&str, (Vec<Held>, Vec<Held>)> = BTreeMap::new();
    for held in one.difference(&other) {
        parts.entry(&held.part).or_default().0.push(held.clone());
    }
    for held in other.difference(&one) {
        parts.entry(&held.part).or_default().1.push(held.clone());
    }
    let named = parts.into_iter();
    named.map(|(part, (one, other))| PartDifference { part: part.to_owned(), one, other }).collect()
}

/// The users in which two states differ, in the order of their ids.
pub fn of_users(one: &MemoryState, other: &MemoryState) -> Vec<UserDifference> {
    let users: BTreeSet<UserId> = one.users().chain(other.users()).map(|(user, _)| *user).collect();
    let nothing = UserState::default();
    let mut found = Vec::new();
    for user in users {
        let (one, other) = (one.user(user), other.user(user));
        let parts = of_user(one.unwrap_or(&nothing), other.unwrap_or(&nothing));
        if !parts.is_empty() {
            found.push(UserDifference { user, parts });
        }
    }
    found
}

/// In what two registries differ, in words.
pub fn of_registries(one: &RegistryState, other: &RegistryState) -> Vec<String> {
    let mut found = Vec::new();
    let (ones, others) = (&one.companies, &other.companies);
    for id in ones.keys().chain(others.keys()).collect::<BTreeSet<_>>() {
        let (one, other) = (ones.get(id), others.get(id));
        let mut differs = |what: &str, is: bool| {
            if is {
                found.push(format!("company {id}: {what}"));
            }
        };
        let mark = |of: Option<&crate::events::registry::CompanyState>| {
            of.and_then(|it| it.registered.as_ref()).map(|cell| cell.mark)
        };
        differs("registration", mark(one) != mark(other));
        differs("policies", one.map(|it| &it.policies) != other.map(|it| &it.policies));
        let keys = |of: Option<&crate::events::registry::CompanyState>| {
            let keys = of.map(|it| it.keys.iter());
            keys.map(|keys| keys.map(|(id, key)| (*id, key.events.clone())).collect::<Vec<_>>())
        };
        differs("API keys", keys(one) != keys(other));
        differs("hash profiles", one.map(|it| &it.profiles) != other.map(|it| &it.profiles));
    }
    let branch = |of: &RegistryState| {
        let keys = of.branch_keys.iter();
        keys.map(|(id, key)| (*id, key.events.clone())).collect::<BTreeMap<_, _>>()
    };
    let lists = [
        ("branch keys", branch(one) != branch(other)),
        ("lives of nodes", !one.lives.keys().eq(other.lives.keys())),
        ("lives cut off", one.distrust != other.distrust),
    ];
    found.extend(lists.into_iter().filter(|(_, is)| *is).map(|(what, _)| what.to_owned()));
    found
}

/// The headers of the events whose bodies have these digests: who wrote what two states differ in.
pub fn headers(
    history: &History,
    wanted: &BTreeSet<Digest>,
    found: &mut BTreeMap<Digest, Header>,
) -> Result<(), ReplayError> {
    let mut left = wanted.iter().filter(|digest| !found.contains_key(*digest)).count();
    let mut events = history.events();
    while left > 0 {
        let Some(met) = events.next().transpose()? else { break };
        if wanted.contains(&met.header.body) && found.insert(met.header.body, met.header).is_none()
        {
            left -= 1;
        }
    }
    Ok(())
}

/// The numbers of events that one history has and another has not. Both must have been compared.
pub fn only_in(one: &Coverage, other: &Coverage) -> Vec<Gap> {
    let others: BTreeMap<_, _> = other.lanes().map(|lane| (lane.origin, lane)).collect();
    let mut only = Vec::new();
    for lane in one.lanes() {
        let origin = lane.origin;
        for run in &lane.runs {
            let mut from = run.from;
            for hole in others.get(&origin).map_or(&[][..], |lane| &lane.runs) {
                if hole.to < from || hole.from > run.to {
                    continue;
                }
                if hole.from > from {
                    only.push(Gap { origin, from, to: hole.from - 1 });
                }
                from = hole.to.saturating_add(1);
            }
            if from <= run.to {
                only.push(Gap { origin, from, to: run.to });
            }
        }
    }
    only
}

/// The first event of each life that differs between two histories that have been compared.
pub fn forks(one: &Coverage, other: &Coverage) -> Vec<EventRef> {
    let others: BTreeMap<_, _> = other.lanes().map(|lane| (lane.origin, lane)).collect();
    let first = |lane: &Lane| {
        let other = others.get(&lane.origin)?;
        let prints: HashMap<u64, u64> = other.runs.iter().flat_map(numbered).collect();
        let differs = |(sequence, print): &(u64, u64)| {
            prints.get(sequence).is_some_and(|other| other != print)
        };
        let at = lane.runs.iter().flat_map(numbered).find(differs)?;
        Some(EventRef { origin: lane.origin, sequence: at.0 })
    };
    one.lanes().filter_map(first).collect()
}

fn numbered(run: &super::coverage::Run) -> impl Iterator<Item = (u64, u64)> + '_ {
    (run.from..).zip(run.prints.iter().copied())
}
