//! The state hash: equal on every node that holds the same set of events.
//!
//! It is over (subject, register, stamp, body digest) and the fold's version, never over contents,
//! so a log whose bodies were blanked folds to the same hash. The layout is written out by hand:
//! it must not change with a codec. docs/ARCHITECTURE.md describes it.

use sha2::{Digest as _, Sha256};

use super::cell::Mark;
use super::ids::{Digest, UserId};
use super::stamp::{Origin, Revision, Stamp};
use super::state::UserState;

/// The version of the fold. A change of what events fold to raises it: checkpoints of another
/// version mean that the state is rebuilt, and hashes of different versions never compare equal.
pub const FOLD_VERSION: u32 = 1;

/// One register's share of a user's hash.
#[derive(Debug)]
pub struct Part<'a> {
    tag: u8,
    name: &'a [u8],
    what: What<'a>,
}

#[derive(Debug)]
enum What<'a> {
    Mark(&'a Mark),
    Lifted(&'a Origin, Revision),
    Floor(&'a Stamp),
}

impl Part<'_> {
    /// Adds the part to a hash, every piece with a length or of a fixed one.
    pub(super) fn feed(&self, hasher: &mut Sha256) {
        hasher.update([self.tag]);
        sized(hasher, self.name);
        match self.what {
            What::Mark(mark) => {
                stamp(hasher, &mark.stamp);
                hasher.update(mark.digest.0);
            }
            What::Lifted(from, revision) => {
                origin(hasher, from);
                hasher.update(revision.to_bits().to_be_bytes());
            }
            What::Floor(floor) => stamp(hasher, floor),
        }
    }
}

fn sized(hasher: &mut Sha256, bytes: &[u8]) {
    hasher.update(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    hasher.update(bytes);
}

fn origin(hasher: &mut Sha256, origin: &Origin) {
    sized(hasher, origin.region.as_str().as_bytes());
    sized(hasher, origin.node.as_str().as_bytes());
    hasher.update(origin.incarnation.counter.to_be_bytes());
    hasher.update(origin.incarnation.tag.to_be_bytes());
}

fn stamp(hasher: &mut Sha256, stamp: &Stamp) {
    hasher.update(stamp.effective.to_bits().to_be_bytes());
    hasher.update(stamp.revision.to_bits().to_be_bytes());
    origin(hasher, &stamp.origin);
    hasher.update(stamp.generation.to_be_bytes());
}

/// Visits every register of a user in a fixed order. An erased user counts by its tombstone alone.
pub fn visit_user(state: &UserState, mut visit: impl FnMut(Part<'_>)) {
    let mut mark = |tag, name: &[u8], mark: &Mark| {
        visit(Part { tag, name, what: What::Mark(mark) });
    };
    if let Some(cell) = &state.erased {
        mark(1, b"", &cell.mark);
        return;
    }
    if let Some(cell) = &state.registered {
        mark(2, b"", &cell.mark);
    }
    if let Some(cell) = &state.secret {
        mark(3, b"", &cell.mark);
    }
    for (slot, cell) in &state.legacy {
        mark(4, slot.to_string().as_bytes(), &cell.mark);
    }
    for claims in state.claims.values() {
        claims.live.keys().for_each(|live| mark(5, b"", live));
        claims.released.iter().for_each(|released| mark(6, b"", released));
    }
    for (field, cell) in &state.profile {
        mark(7, field.as_str().as_bytes(), &cell.mark);
    }
    for (company, cell) in &state.memberships {
        mark(8, company.as_str().as_bytes(), &cell.mark);
    }
    for (key, written) in &state.keys {
        mark(9, &key.0, written);
    }
    for (other, cell) in &state.links {
        mark(10, other.as_bytes(), &cell.mark);
    }
    for disabling in state.status.disablings.values() {
        mark(11, b"", disabling);
    }
    for (from, revision) in &state.status.lifted {
        visit(Part { tag: 12, name: b"", what: What::Lifted(from, *revision) });
    }
    if let Some(floor) = &state.credential_floor {
        visit(Part { tag: 13, name: b"", what: What::Floor(floor) });
    }
}

/// The hash over all users, fed in the order of their ids, and the deployment's marks.
#[derive(Debug, Clone)]
pub struct StateHasher {
    hasher: Sha256,
}

impl Default for StateHasher {
    fn default() -> Self {
        let mut hasher = Sha256::new();
        hasher.update(b"jcas state");
        hasher.update(FOLD_VERSION.to_be_bytes());
        Self { hasher }
    }
}

impl StateHasher {
    /// Adds one user. Call it in the order of user ids. One of which nothing is known counts as not
    /// there: whether it has a row depends on what was ignored, not on the set of events.
    pub fn user(&mut self, user: UserId, state: &UserState) {
        let (mut one, mut parts) = (Sha256::new(), 0_u32);
        visit_user(state, |part| {
            parts += 1;
            part.feed(&mut one);
        });
        if parts == 0 {
            return;
        }
        self.hasher.update(b"u");
        self.hasher.update(user.as_bytes());
        self.hasher.update(one.finalize());
    }

    /// Adds one mark of the registry, under the name of what bears it. Call it in a fixed order.
    pub(super) fn registry(&mut self, name: &str, written: &Mark) {
        self.hasher.update(b"r");
        sized(&mut self.hasher, name.as_bytes());
        stamp(&mut self.hasher, &written.stamp);
        self.hasher.update(written.digest.0);
    }

    /// The hash.
    pub fn finish(self) -> Digest {
        Digest(self.hasher.finalize().into())
    }
}
