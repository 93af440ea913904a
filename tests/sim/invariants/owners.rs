//! All nodes agree who owns an identity, and it is who should: verified first, then who claimed it
//! first.

use std::collections::{BTreeMap, BTreeSet};

use jcas::events::account::{owner, tried};
use jcas::events::event::Event;
use jcas::events::ids::{BlindIndex, UserId};
use jcas::events::stamp::{Origin, Revision};

use super::End;
use crate::commands;
use crate::ledger::{Checked, ensure, text};
use crate::points::{Point, Points};

/// When something of an identity was said, and in what order equal times count.
type At = (Revision, Origin, jcas::events::ids::Digest);

/// Who should own an identity, from the events alone.
fn expected(end: &End<'_>, index: BlindIndex) -> Option<UserId> {
    let mut released: BTreeMap<UserId, At> = BTreeMap::new();
    let mut claimed: Vec<(UserId, At, bool)> = Vec::new();
    let mut registered: BTreeSet<UserId> = BTreeSet::new();
    let mut erased: BTreeSet<UserId> = BTreeSet::new();
    for user in &end.users {
        for recorded in end.of_user(*user) {
            let header = &recorded.header;
            let at = (header.revision, header.origin, header.body);
            match &recorded.fact.event {
                Some(Event::UserRegistered(_)) => {
                    registered.insert(*user);
                }
                Some(Event::UserErased(())) => {
                    erased.insert(*user);
                }
                Some(Event::IdentityClaimed(claim)) if claim.index == index => {
                    claimed.push((*user, at, claim.verified));
                }
                Some(Event::IdentityReleased(released_index)) if *released_index == index => {
                    let last = released.entry(*user).or_insert(at);
                    *last = at.max(*last);
                }
                _ => {}
            }
        }
    }
    claimed.retain(|(user, at, _)| {
        let lives = registered.contains(user) && !erased.contains(user);
        lives && released.get(user).is_none_or(|released| at > released)
    });
    let mut claimants: BTreeMap<UserId, (bool, (Revision, Origin))> = BTreeMap::new();
    for (user, (revision, origin, _), verified) in claimed {
        let of = claimants.entry(user).or_insert((false, (revision, origin)));
        of.0 |= verified;
        of.1 = of.1.min((revision, origin));
    }
    let rank = |(user, (verified, since)): &(UserId, (bool, (Revision, Origin)))| {
        (!*verified, *since, *user)
    };
    claimants.into_iter().min_by_key(rank).map(|(user, _)| user)
}

pub(crate) fn check(end: &End<'_>, points: &mut Points) -> Checked {
    for index in commands::identities() {
        let expected = expected(end, index);
        let mut all = BTreeMap::new();
        for life in &end.lives {
            let store = &life.checkpoints.store;
            let claimants = store.claimants(index, commands::shop()).map_err(text)?;
            points.hits(Point::RivalClaims, u64::from(claimants.len() > 1));
            let found = owner(&claimants).map(|owner| owner.user);
            ensure!(
                found == expected,
                "{}: {index:?} is {found:?}'s and should be {expected:?}'s",
                life.own
            );
            for company in commands::companies() {
                let claimants = store.claimants(index, company).map_err(text)?;
                let tried: Vec<UserId> = tried(&claimants).iter().map(|it| it.user).collect();
                let first = all.entry(company).or_insert_with(|| tried.clone());
                ensure!(*first == tried, "{}: {company} tries {tried:?}, not {first:?}", life.own);
            }
        }
    }
    Ok(())
}
