//! Who was erased anywhere is erased everywhere, whatever was changed elsewhere or came late, and
//! nothing finds it.

use jcas::events::event::Event;

use super::End;
use crate::commands;
use crate::ledger::{Checked, ensure, text};
use crate::points::{Point, Points};

pub(crate) fn check(end: &End<'_>, points: &mut Points) -> Checked {
    for user in &end.users {
        let erasing = |event: &Option<Event>| matches!(event, Some(Event::UserErased(())));
        if !end.of_user(*user).any(|recorded| erasing(&recorded.fact.event)) {
            continue;
        }
        points.hit(Point::Erased);
        for life in &end.lives {
            let store = &life.checkpoints.store;
            let state = store.user(*user).map_err(text)?.unwrap_or_default();
            ensure!(state.erased.is_some(), "{}: {user} came back: {state:?}", life.own);
            for index in commands::identities() {
                let entered = store.entered(index).map_err(text)?;
                ensure!(!entered.contains(user), "{}: {user} is found by {index:?}", life.own);
            }
        }
    }
    Ok(())
}
