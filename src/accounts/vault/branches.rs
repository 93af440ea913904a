//! Branch keys in memory: for a bounded time, and longer while the KMS does not answer.
//!
//! Each is wiped when the last who uses it lets go of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::crypto::sealing::BranchKey;
use crate::events::ids::BranchKeyId;

use super::opening::Closed;

/// How long a branch key that the KMS did not open is not asked for again.
const REFUSED_FOR: Duration = Duration::from_secs(5);

/// Branch keys that are open, and those that did not open.
#[derive(Default)]
pub(super) struct Branches {
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    open: BTreeMap<BranchKeyId, Open>,
    refused: BTreeMap<BranchKeyId, (Duration, Closed)>,
    wrong: BTreeSet<BranchKeyId>,
}

struct Open {
    key: Arc<BranchKey>,
    /// When the KMS opened it, or it was made.
    opened: Duration,
    /// When it was used last.
    used: Duration,
}

/// What is to be done about a key whose time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// It was used meanwhile: the KMS is to be asked whether it still opens it.
    Again(BranchKeyId),
    /// Nobody used it: it is to be forgotten, where the KMS is there to be asked for it again.
    Forgotten(BranchKeyId),
}

impl Branches {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A key, if it is open, for use now.
    pub(super) fn get(&self, id: BranchKeyId, now: Duration) -> Option<Arc<BranchKey>> {
        let mut inside = self.inside();
        let open = inside.open.get_mut(&id)?;
        open.used = now;
        Some(Arc::clone(&open.key))
    }

    /// Keeps a key that was opened or made now.
    pub(super) fn keep(&self, id: BranchKeyId, key: &Arc<BranchKey>, now: Duration) {
        let open = Open { key: Arc::clone(key), opened: now, used: now };
        let mut inside = self.inside();
        inside.refused.remove(&id);
        inside.open.insert(id, open);
    }

    /// The KMS opened a key once more.
    pub(super) fn renew(&self, id: BranchKeyId, now: Duration) {
        if let Some(open) = self.inside().open.get_mut(&id) {
            open.opened = now;
        }
    }

    /// Forgets a key.
    pub(super) fn forget(&self, id: BranchKeyId) {
        self.inside().open.remove(&id);
    }

    /// Notes that a key did not open.
    pub(super) fn refuse(&self, id: BranchKeyId, closed: Closed, now: Duration) {
        self.inside().refused.insert(id, (now + REFUSED_FOR, closed));
    }

    /// Why a key did not open, if that was lately.
    pub(super) fn refused(&self, id: BranchKeyId, now: Duration) -> Option<Closed> {
        let mut inside = self.inside();
        inside.refused.retain(|_, (until, _)| *until > now);
        inside.refused.get(&id).map(|(_, closed)| *closed)
    }

    /// Whether a key is open.
    pub(super) fn holds(&self, id: BranchKeyId) -> bool {
        self.inside().open.contains_key(&id)
    }

    /// A key in memory, for the keeper: that does not count as use.
    pub(super) fn held(&self, id: BranchKeyId) -> Option<Arc<BranchKey>> {
        self.inside().open.get(&id).map(|open| Arc::clone(&open.key))
    }

    /// Notes that this region has a wrapping that does not open to its key, for the keeper.
    pub(super) fn note_wrong(&self, id: BranchKeyId) {
        self.inside().wrong.insert(id);
    }

    /// The keys of which that was noted since this was asked last.
    pub(super) fn take_wrong(&self) -> BTreeSet<BranchKeyId> {
        std::mem::take(&mut self.inside().wrong)
    }

    /// Forgets that note of a key; whether there was one.
    pub(super) fn forget_wrong(&self, id: BranchKeyId) -> bool {
        self.inside().wrong.remove(&id)
    }

    /// The keys that were opened longer than `kept` ago.
    pub(super) fn due(&self, kept: Duration, now: Duration) -> Vec<Due> {
        let inside = self.inside();
        let due = inside.open.iter().filter(|(_, open)| open.opened + kept <= now);
        let due =
            due.map(
                |(id, open)| {
                    if open.used > open.opened { Due::Again(*id) } else { Due::Forgotten(*id) }
                },
            );
        due.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::opening::Why;
    use super::*;

    const KEPT: Duration = Duration::from_mins(1);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_key_that_is_used_is_asked_for_again_and_another_forgotten() {
        let branches = Branches::default();
        let (used, idle) = (BranchKeyId([1; 16]), BranchKeyId([2; 16]));
        let key = Arc::new(BranchKey::from_bytes([7; 32]));
        branches.keep(used, &key, at(0));
        branches.keep(idle, &key, at(0));
        assert!(branches.get(used, at(10)).is_some());
        assert_eq!(branches.due(KEPT, at(59)), []);
        assert_eq!(branches.due(KEPT, at(60)), [Due::Again(used), Due::Forgotten(idle)]);
        branches.renew(used, at(60));
        branches.forget(idle);
        assert_eq!(branches.due(KEPT, at(119)), []);
        assert_eq!(branches.due(KEPT, at(120)), [Due::Forgotten(used)], "not used since");
        assert!(branches.get(idle, at(60)).is_none() && branches.holds(used));
    }

    #[test]
    fn a_forgotten_key_is_let_go() {
        let branches = Branches::default();
        let key = Arc::new(BranchKey::from_bytes([7; 32]));
        branches.keep(BranchKeyId([1; 16]), &key, at(0));
        branches.forget(BranchKeyId([1; 16]));
        assert_eq!(Arc::strong_count(&key), 1, "nobody else keeps it from being wiped");
    }

    #[test]
    fn a_refusal_is_remembered_for_a_while() {
        let (branches, id) = (Branches::default(), BranchKeyId([1; 16]));
        branches.refuse(id, Closed { reason: "no", why: Why::Refused }, at(0));
        assert_eq!(branches.refused(id, at(4)).map(|closed| closed.reason), Some("no"));
        assert!(branches.refused(id, at(5)).is_none());
    }
}
