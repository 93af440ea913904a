//! What the vault reads and records of keys, and who does it: the actors of a node; in tests a
//! registry in memory.

use std::pin::Pin;
use std::sync::Arc;

use crate::actors::registry::{RegistryFailure, RegistryView};
use crate::actors::{House, Unavailable};
use crate::events::command::Outcome;
use crate::events::decide_registry::RegistryCommand;
use crate::events::event::{Cause, UserKeyCreated};
use crate::events::ids::{UserId, UserKeyId};

/// An answer that is to come. Boxed, so that the vault is one type whoever answers.
pub type Answer<'a, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'a>>;

/// A user's wrapped keys.
pub type WrappedKeys = Vec<(UserKeyId, UserKeyCreated)>;

/// What the vault reads and records of keys.
pub trait KeyRecords: Send + Sync {
    /// The registry as it is on disk: it has the branch keys.
    fn registry(&self) -> Arc<RegistryView>;

    /// A user's wrapped keys.
    fn read_keys(&self, user: UserId) -> Answer<'_, WrappedKeys, Unavailable>;

    /// Carries a command of the registry out; what it recorded is durable with the answer.
    fn administer(&self, command: RegistryCommand) -> Answer<'_, Outcome, RegistryFailure>;
}

impl KeyRecords for House {
    fn registry(&self) -> Arc<RegistryView> {
        Self::registry(self)
    }

    fn read_keys(&self, user: UserId) -> Answer<'_, WrappedKeys, Unavailable> {
        Box::pin(async move { Self::read_keys(self, user) })
    }

    fn administer(&self, command: RegistryCommand) -> Answer<'_, Outcome, RegistryFailure> {
        Box::pin(Self::administer(self, command, Cause::default()))
    }
}
