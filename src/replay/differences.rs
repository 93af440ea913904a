//! In what two states differ, and which events only one of two histories has.

use std::collections::{BTreeMap, BTreeSet};

use crate::events::ids::{Digest, UserId};
use crate::events::record::Header;
use crate::events::registry::RegistryState;
use crate::events::stamp::EventRef;
use crate::events::state::UserState;

use super::coverage::{Coverage, Gap, Lane, Run};
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
            for there in others.get(&origin).map_or(&[][..], |lane| &lane.runs) {
                if there.to < from || there.from > run.to {
                    continue;
                }
                if there.from > from {
                    only.push(Gap { origin, from, to: there.from - 1 });
                }
                from = there.to.saturating_add(1);
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
        let sequences = [
            differs_within(&lane.runs, &other.runs),
            differs_before(lane, other),
            differs_before(other, lane),
        ];
        let sequence = sequences.into_iter().flatten().min()?;
        Some(EventRef { origin: lane.origin, sequence })
    };
    one.lanes().filter_map(first).collect()
}

/// The first event that both have and that is another one in each. Both are walked in step.
fn differs_within(one: &[Run], other: &[Run]) -> Option<u64> {
    let (mut ones, mut others) = (one.iter().peekable(), other.iter().peekable());
    while let (Some(a), Some(b)) = (ones.peek(), others.peek()) {
        let from = a.from.max(b.from);
        let prints = |run: &Run| usize::try_from(from - run.from).unwrap_or(usize::MAX);
        let (of_a, of_b) = (a.prints.iter().skip(prints(a)), b.prints.iter().skip(prints(b)));
        if from <= a.to.min(b.to)
            && let Some(at) = of_a.zip(of_b).position(|(a, b)| a != b)
        {
            return Some(from.saturating_add(at as u64));
        }
        if a.to <= b.to {
            ones.next();
        } else {
            others.next();
        }
    }
    None
}

/// The first event of `lane` that follows another one than the one that `other` has before it.
fn differs_before(lane: &Lane, other: &Lane) -> Option<u64> {
    let follows = |run: &&Run| {
        let before = run.from.checked_sub(1).and_then(|before| other.print_of(before));
        before.is_some_and(|before| before != run.before)
    };
    lane.runs.iter().find(follows).map(|run| run.from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(from: u64, prints: &[u64]) -> Run {
        let to = from + prints.len() as u64 - 1;
        Run { from, to, before: 0, prints: prints.to_vec() }
    }

    #[test]
    fn runs_with_other_holes_are_compared_where_both_have_events() {
        let whole = [run(1, &[1, 2, 3, 4, 5, 6, 7, 8])];
        let parts = [run(1, &[1, 2]), run(4, &[4]), run(6, &[6, 7, 8])];
        assert_eq!(differs_within(&whole, &parts), None);
        assert_eq!(differs_within(&parts, &whole), None);
        let other = [run(1, &[1]), run(4, &[4]), run(6, &[6, 70, 80])];
        assert_eq!(differs_within(&whole, &other), Some(7));
        assert_eq!(differs_within(&other, &whole), Some(7));
        assert_eq!(differs_within(&other, &parts), Some(7));
        assert_eq!(differs_within(&[run(1, &[9])], &[run(2, &[8])]), None);
        assert_eq!(differs_within(&[], &whole), None);
    }
}
