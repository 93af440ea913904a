//! Which erasures this node still has to carry out: notes beside the state, of this node alone.
//!
//! A tombstone leaves one, and so does whatever comes later for an erased user with something in it
//! that is to be blanked. Folding the log anew leaves all of them again: whether the log and these
//! trees are clean is then looked at again, and nothing is taken for done that was done elsewhere.

use std::collections::BTreeSet;

use crate::events::ids::UserId;
use crate::events::record::{Fact, LogPosition, Register};
use crate::events::stamp::Revision;
use crate::events::state::UserState;

use super::error::StateError;
use super::kv::{Kv, Tree};
use super::layout;
use super::store::Store;

/// Something to be carried out for an erased user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Erasure {
    /// The user.
    pub user: UserId,
    /// Where the log holds what asks for it.
    pub position: LogPosition,
    /// The revision of the tombstone.
    pub erased: Revision,
}

impl Store {
    /// Notes what a fact asks for, if the user is erased.
    pub(super) fn note_erasure(
        &self,
        user: UserId,
        after: &UserState,
        fact: &Fact,
        position: LogPosition,
    ) -> Result<(), StateError> {
        let Some(tombstone) = &after.erased else { return Ok(()) };
        let holds_something = fact.event.is_some();
        let asks = match fact.register {
            Register::Erasure => true,
            Register::UserKey(_) | Register::Identity => holds_something,
            _ => false,
        };
        if !asks {
            return Ok(());
        }
        let erased = tombstone.mark.stamp.revision.to_bits().to_be_bytes();
        self.kv().insert(Tree::Mark, &layout::erasure_key(user, position), &erased)
    }

    /// What is to be carried out.
    pub fn erasures(&self) -> Result<Vec<Erasure>, StateError> {
        erasures_in(&*self.kv())
    }

    /// It was carried out.
    pub fn forget_erasure(&self, done: &Erasure) -> Result<(), StateError> {
        self.kv().remove(Tree::Mark, &layout::erasure_key(done.user, done.position))
    }

    /// Whether the trees' files may still find an erased person: a tombstone's row lists what the
    /// user claimed.
    pub fn finds_erased(&self, user: UserId) -> Result<bool, StateError> {
        Ok(!self.listed(user)?.is_empty())
    }
}

/// How many users were blanked on this node since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blanked {
    /// When counting began, in milliseconds since 1970.
    pub since_ms: u64,
    /// Users that were blanked since then, or were about to be.
    pub users: u64,
}

impl Store {
    /// How many users were blanked lately, in whatever life of the node.
    pub fn blanked(&self) -> Result<Option<Blanked>, StateError> {
        let noted = layout::blanked(&*self.kv())?;
        Ok(noted.map(|(since_ms, users)| Blanked { since_ms, users }))
    }

    /// Notes it. It is durable when this returns: note it before the first body is blanked.
    pub fn note_blanked(&self, blanked: Blanked) -> Result<(), StateError> {
        let kv = self.kv();
        layout::leave_blanked(&*kv, (blanked.since_ms, blanked.users))?;
        kv.flush()
    }
}

/// Brings trees that were folded anew to where those in use are. The fold has noted every erasure
/// there ever was: what was carried out below a position is not to be looked at again. What is
/// open stays so until it is confirmed.
pub fn carry(old: &dyn Kv, fresh: &Store, below: LogPosition) -> Result<(), StateError> {
    if let Some(noted) = layout::blanked(old)? {
        layout::leave_blanked(&*fresh.kv(), noted)?;
    }
    let open: BTreeSet<_> =
        erasures_in(old)?.into_iter().map(|it| (it.user, it.position)).collect();
    for erasure in fresh.erasures()? {
        if erasure.position < below && !open.contains(&(erasure.user, erasure.position)) {
            fresh.forget_erasure(&erasure)?;
        }
    }
    Ok(())
}

/// What is to be carried out, as these trees have it.
pub fn erasures_in(kv: &dyn Kv) -> Result<Vec<Erasure>, StateError> {
    let pairs = kv.scan(Tree::Mark, layout::ERASURE_PREFIX);
    let read = pairs.map(|pair| {
        let (key, value) = pair?;
        let (user, position, erased) = layout::erasure(&key, &value)?;
        Ok(Erasure { user, position, erased })
    });
    read.collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::events::event::Event;
    use crate::state::fixtures::{fact, key_created, registered, user};
    use crate::state::lossy_kv::LossyKv;

    /// Two users, of whom the key and the tombstone each left a note.
    fn erased_two() -> Store {
        let store = Store::new(Arc::new(LossyKv::default()));
        for (number, first) in [(1, 10), (2, 20)] {
            let events = [key_created(1), registered(), Event::UserErased(()), key_created(2)];
            for (event, number_of) in events.into_iter().zip(first..) {
                let (fact, position) = fact(user(number), number_of, event);
                store.fold(user(number), [(&fact, position)]).unwrap();
            }
        }
        store
    }

    #[test]
    fn what_is_open_stays_open_in_other_trees_and_what_is_done_is_done() {
        let (old, fresh) = (erased_two(), erased_two());
        let notes = old.erasures().unwrap();
        assert_eq!(notes.len(), 4);
        for done in notes.iter().filter(|note| note.user == user(1)) {
            old.forget_erasure(done).unwrap();
        }
        let counted = Blanked { since_ms: 5, users: 7 };
        old.note_blanked(counted).unwrap();
        carry(&*old.kv(), &fresh, LogPosition::from_bits(22)).unwrap();
        // Not confirmed yet: a node that is killed now must find it.
        let open: Vec<_> = notes.into_iter().filter(|note| note.user == user(2)).collect();
        assert_eq!(fresh.erasures().unwrap(), open);
        assert_eq!(fresh.blanked().unwrap(), Some(counted));
    }

    #[test]
    fn what_came_after_the_log_was_read_is_to_be_looked_at() {
        let (old, fresh) = (erased_two(), erased_two());
        for note in old.erasures().unwrap() {
            old.forget_erasure(&note).unwrap();
        }
        carry(&*old.kv(), &fresh, LogPosition::from_bits(23)).unwrap();
        let left = fresh.erasures().unwrap();
        assert_eq!(left.iter().map(|it| it.position.to_bits()).collect::<Vec<_>>(), [23]);
    }
}
