//! Which erasures this node still has to carry out: notes beside the state, of this node alone.
//!
//! A tombstone leaves one, and so does whatever comes later for an erased user with something in it
//! that is to be blanked. Folding the log anew leaves all of them again: whether the log and these
//! trees are clean is then looked at again, and nothing is taken for done that was done elsewhere.

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
