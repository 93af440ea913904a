//! The directory: who claims which identity, and that no two commands decide about one at once.
//!
//! It derives owners from the index in the state and stores nothing. A command that would claim an
//! identity holds it from before it is decided until it is durable or failed; whoever else wants
//! it waits that long and then sees what became of it. A command with an idempotency key holds that
//! key in the same way, so that its repeat finds what it recorded. Who only wants to know who
//! claims an identity needs no turn and does not come here (`House::find`).
//!
//! It is read by whoever asks, on its own thread: only a thing that is held is waited for.

use std::sync::Arc;

use serde::Serialize;

use crate::events::account::Claimant;
use crate::events::ids::{BlindIndex, CompanyId, KeyedDigest};
use crate::state::error::StateError;
use crate::state::store::Store;

use super::failure::Unavailable;
use super::holds::{Hold, Holds, LineFull};

pub use crate::state::repeats::Repeat;

/// What the directory shows of itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct DirectoryView {
    /// Identities and idempotency keys held now.
    pub held: usize,
    /// Commands that wait for one.
    pub waiting: usize,
    /// Commands refused because too many waited.
    pub refused: u64,
}

/// An identity that is held, until this is dropped.
#[derive(Debug)]
pub struct Reserved {
    /// Who claims the identity.
    pub claimants: Vec<Claimant>,
    hold: Hold<BlindIndex>,
}

impl Reserved {
    /// The identity that is held.
    pub const fn index(&self) -> BlindIndex {
        self.hold.key()
    }
}

/// An idempotency key that is held, until this is dropped.
#[derive(Debug)]
pub struct Begun {
    /// What was recorded under the key, the oldest first.
    pub repeats: Vec<Repeat>,
    _hold: Hold<KeyedDigest>,
}

/// Blind indexes and idempotency keys. Clones are of the same one.
#[derive(Clone)]
pub struct Directory {
    store: Arc<Store>,
    identities: Holds<BlindIndex>,
    keys: Holds<KeyedDigest>,
}

impl Directory {
    /// A directory where at most `waiting_max` wait for one identity or key.
    pub fn new(store: Arc<Store>, waiting_max: usize) -> Self {
        let (identities, keys) = (Holds::new(waiting_max), Holds::new(waiting_max));
        Self { store, identities, keys }
    }

    /// Holds an identity until the answer is dropped, waiting for whoever holds it now. The company
    /// says which claimants are its customers.
    pub async fn reserve(
        &self,
        index: BlindIndex,
        company: CompanyId,
    ) -> Result<Reserved, Unavailable> {
        let hold = self.identities.hold(index).await?;
        let found = self.store.claimants(index, company);
        Ok(Reserved { claimants: found.map_err(|error| unreadable(&error))?, hold })
    }

    /// Holds an idempotency key until the answer is dropped, waiting for whoever holds it now.
    pub async fn begin(&self, key: KeyedDigest) -> Result<Begun, Unavailable> {
        let hold = self.keys.hold(key).await?;
        let found = self.store.repeats(key);
        Ok(Begun { repeats: found.map_err(|error| unreadable(&error))?, _hold: hold })
    }

    /// A snapshot.
    pub fn view(&self) -> DirectoryView {
        let (identities, keys) = (self.identities.view(), self.keys.view());
        DirectoryView {
            held: identities.held + keys.held,
            waiting: identities.waiting + keys.waiting,
            refused: identities.refused + keys.refused,
        }
    }
}

impl From<LineFull> for Unavailable {
    fn from(_: LineFull) -> Self {
        Self::Overloaded
    }
}

pub(super) fn unreadable(error: &StateError) -> Unavailable {
    tracing::error!(%error, "the directory cannot be read");
    Unavailable::Storage
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::events::ids::{Digest, IdentityKind};
    use crate::files::{Disk, Files};
    use crate::state::sled_kv::SledKv;

    fn index(number: u8) -> BlindIndex {
        BlindIndex { kind: IdentityKind::Email, version: 1, mac: Digest([number; 32]) }
    }

    fn directory(waiting_max: usize) -> (tempfile::TempDir, Directory) {
        let folder = tempfile::tempdir().unwrap();
        let files: Arc<dyn Files> = Arc::new(Disk);
        let kv = SledKv::open(&files, &folder.path().join("sled"), 8 << 20).unwrap();
        (folder, Directory::new(Arc::new(Store::new(Arc::new(kv))), waiting_max))
    }

    #[test]
    fn an_identity_waits_for_its_holder_and_no_other_does() {
        let (_folder, directory) = directory(8);
        let shop = "shop".parse().unwrap();
        let first = directory.reserve(index(1), shop).now_or_never().unwrap().unwrap();
        assert_eq!((first.index(), first.claimants.len()), (index(1), 0));
        let mut second = Box::pin(directory.reserve(index(1), shop));
        assert!((&mut second).now_or_never().is_none(), "it was given twice");
        assert!(directory.reserve(index(2), shop).now_or_never().unwrap().is_ok());
        assert_eq!(directory.view(), DirectoryView { held: 1, waiting: 1, refused: 0 });
        drop(first);
        assert!(second.now_or_never().unwrap().is_ok());
    }

    #[test]
    fn a_repeat_waits_for_the_first_and_a_full_line_is_refused() {
        let (_folder, directory) = directory(1);
        let key = KeyedDigest([1; 16]);
        let first = directory.begin(key).now_or_never().unwrap().unwrap();
        let mut second = Box::pin(directory.begin(key));
        assert!((&mut second).now_or_never().is_none(), "it did not wait");
        let third = directory.begin(key).now_or_never().unwrap();
        assert_eq!(third.err(), Some(Unavailable::Overloaded));
        assert!(directory.begin(KeyedDigest([2; 16])).now_or_never().unwrap().is_ok());
        drop(first);
        assert!(second.now_or_never().unwrap().is_ok());
        assert_eq!(directory.view(), DirectoryView { held: 0, waiting: 0, refused: 1 });
    }
}
