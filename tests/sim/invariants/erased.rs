//! Who was erased anywhere is erased everywhere, whatever was changed elsewhere or came late, and
//! nothing finds it. Whom it is linked with stays, with what is its own, and both stay connected.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use jcas::events::account::Account;
use jcas::events::event::Event;
use jcas::events::ids::UserId;
use jcas::events::state::UserState;

use super::End;
use crate::commands;
use crate::ledger::{Checked, ensure, text};
use crate::life::Life;
use crate::points::{Point, Points};

pub(crate) fn check(end: &End<'_>, points: &mut Points) -> Checked {
    for user in &end.users {
        let erasing = |event: &Option<Event>| matches!(event, Some(Event::UserErased(())));
        let is_erased = end.of_user(*user).any(|recorded| erasing(&recorded.fact.event));
        for life in &end.lives {
            let state = life.checkpoints.store.user(*user).map_err(text)?.unwrap_or_default();
            ensure!(
                state.erased.is_some() == is_erased,
                "{}: {user} should be erased: {is_erased}, and is {state:?}",
                life.own
            );
        }
        if is_erased {
            points.hit(Point::Erased);
            for life in &end.lives {
                check_unfound(*user, life)?;
                check_linked(*user, life, points)?;
            }
        }
    }
    Ok(())
}

fn check_unfound(user: UserId, life: &Life) -> Checked {
    for index in commands::identities() {
        let entered = life.checkpoints.store.entered(index).map_err(text)?;
        ensure!(!entered.contains(&user), "{}: {user} is found by {index:?}", life.own);
    }
    Ok(())
}

/// The users that links connect with one.
fn connected(user: UserId, life: &Life) -> Checked<BTreeMap<UserId, UserState>> {
    let (mut users, mut found) = (BTreeMap::new(), vec![user]);
    while let Some(user) = found.pop() {
        let Entry::Vacant(place) = users.entry(user) else { continue };
        let state = life.checkpoints.store.user(user).map_err(text)?.unwrap_or_default();
        found.extend(state.linked());
        place.insert(state);
    }
    Ok(users)
}

/// An account with an erased user in it is that of the others, and found by each of them.
fn check_linked(user: UserId, life: &Life, points: &mut Points) -> Checked {
    let users = connected(user, life)?;
    let lives = |user: &UserId| users.get(user).is_some_and(UserState::is_live);
    let others: Vec<_> = users.keys().filter(|user| lives(user)).collect();
    points.hits(Point::ErasedOfLinked, u64::from(!others.is_empty()));
    let account = Account::of(&users);
    let canonical = account.canonical();
    ensure!(
        canonical.is_some() != others.is_empty() && canonical.as_ref().is_none_or(lives),
        "{}: {canonical:?} speaks for {users:?}",
        life.own
    );
    let shown = account.linked_ids().into_iter();
    let shown = shown.chain(account.profile().into_values().map(|(user, _)| user));
    let shown = shown.chain(account.identities().into_iter().map(|identity| identity.user));
    let mut shown = shown.chain(account.credentials(None).into_iter().map(|it| it.user));
    ensure!(shown.all(|user| lives(&user)), "{}: of {user} something is shown", life.own);
    for other in others {
        let from_there = connected(*other, life)?;
        ensure!(from_there.contains_key(&user), "{}: {user} is no joint for {other}", life.own);
    }
    Ok(())
}
