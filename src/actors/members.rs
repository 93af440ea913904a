//! A company's customers, in parts: the state is walked in the order of ids, so many users at a
//! time.

use std::sync::Arc;

use crate::events::ids::{CompanyId, UserId};
use crate::events::state::UserState;
use crate::state::error::StateError;
use crate::state::store::Store;

/// Customers among the users that were looked at.
#[derive(Debug, Default)]
pub struct Members {
    /// The live ones.
    pub members: Vec<(UserId, Arc<UserState>)>,
    /// How many users were looked at.
    pub users: u64,
    /// Behind whom to look on; none: all users were looked at.
    pub next: Option<UserId>,
}

/// A company's customers among the `users_max` users behind `after`.
pub(super) fn of(
    store: &Store,
    company: CompanyId,
    after: Option<UserId>,
    users_max: usize,
) -> Result<Members, StateError> {
    let (mut found, mut last) = (Members::default(), after);
    let from = after.unwrap_or(UserId::from_bytes([0; 16]));
    let behind = move |user: UserId| after.is_none_or(|after| user > after);
    for entry in store.users_from(from) {
        let (user, state) = entry?;
        if !behind(user) {
            continue;
        }
        if found.users >= u64::try_from(users_max).unwrap_or(u64::MAX) {
            found.next = last;
            break;
        }
        found.users += 1;
        last = Some(user);
        if state.is_live() && state.is_member(company) {
            found.members.push((user, Arc::new(state)));
        }
    }
    Ok(found)
}
