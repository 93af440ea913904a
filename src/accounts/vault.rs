//! The key ladder at work: branch keys from the KMS, user keys from the log, values sealed and
//! opened.
//!
//! Keys are cached in memory, bounded and wiped when dropped. The KMS is asked for a branch key
//! that is not in memory, a few times a month, and for nothing else. A key that cannot be opened
//! makes its user unavailable; another one is never made in its place.
//!
//! | file | holds |
//! |---|---|
//! | `opening` | branch keys on their way into memory |
//! | `lines` | who asks for one, and who waits meanwhile |
//! | `branches` | those in memory, and for how long |
//! | `keeping` | the key keeper: holes, renewals, and what is let go of |
//! | `refusals` | what the KMS refused the keeper |
//! | `standing` | what operators see of branch keys |
//! | `records` | what is read and recorded of keys |

mod branches;
pub mod keeping;
mod lines;
mod opening;
pub mod records;
mod refusals;
pub mod standing;

use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;
use zeroize::Zeroizing;

use crate::actors::Unavailable;
use crate::clock::Clock;
use crate::crypto::sealing::{self, Context, UserKey};
use crate::events::event::{Sealed, UserKeyCreated};
use crate::events::ids::{BranchKeyId, DeploymentId, Fingerprint, UserId, UserKeyId};
use crate::events::stamp::Origin;
use crate::kms::guard::Guarded;

use self::branches::Branches;
use self::lines::Lines;
use self::records::KeyRecords;
use self::refusals::Refusals;

/// Which part of a user's state a value belongs to. It is bound into the seal, so that a value
/// cannot be moved elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// The central credential.
    Secret,
    /// A company's credential, by the text of its slot.
    Legacy(&'a str),
    /// An identity, by its kind.
    Identity(&'a str),
    /// A profile field.
    Field(&'a str),
}

impl Place<'_> {
    /// The bytes bound into seals and fingerprints. Never changes.
    fn bytes(self) -> Vec<u8> {
        let (word, name) = match self {
            Self::Secret => ("secret", ""),
            Self::Legacy(slot) => ("legacy", slot),
            Self::Identity(kind) => ("identity", kind),
            Self::Field(field) => ("field", field),
        };
        format!("{word}/{name}").into_bytes()
    }
}

/// Why a value was not sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFailure {
    /// The KMS does not answer, or refuses: no key can be opened or made that is not in memory.
    #[error("a key cannot be opened now: {0}")]
    Kms(&'static str),
    /// The key is not to be had now, for a reason of its own.
    #[error("a key cannot be opened now: {0}")]
    Unavailable(&'static str),
    /// An actor on the way could not answer.
    #[error(transparent)]
    Actor(#[from] Unavailable),
    /// The value does not open with the user's key: it was damaged or moved.
    #[error("a sealed value does not open")]
    Broken,
}

/// A user's keys in clear, in memory only: mostly one, so they take no more room than they need.
pub struct UserKeys {
    keys: Box<[UserKey]>,
}

impl UserKeys {
    /// The key that seals what is written now: the one with the greatest id, so that nodes agree.
    fn current(&self) -> Option<&UserKey> {
        self.keys.iter().max_by_key(|key| key.id())
    }

    fn named(&self, id: [u8; 8]) -> Option<&UserKey> {
        self.keys.iter().find(|key| key.id() == id)
    }
}

/// How long a branch key is used for new users, in milliseconds.
pub type BranchLifetime = u64;

/// What the vault is made of.
pub struct VaultParts {
    /// The deployment, bound into every seal.
    pub deployment: DeploymentId,
    /// This node's life: it uses branch keys that its node made.
    pub origin: Origin,
    /// The KMS of this region.
    pub kms: Guarded,
    /// The regions a branch key is wrapped for.
    pub regions: Vec<crate::events::ids::RegionId>,
    /// What is read and recorded of keys.
    pub records: Arc<dyn KeyRecords>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// How many users' keys are kept in memory.
    pub cached_users: usize,
    /// How long a branch key is used for new users, in milliseconds.
    pub branch_lifetime_ms: BranchLifetime,
    /// After how long the KMS is asked again for a branch key in memory.
    pub branch_kept: Duration,
}

/// Seals and opens.
pub struct Vault {
    parts: VaultParts,
    users: Cache<UserId, Arc<UserKeys>>,
    branches: Branches,
    lines: Lines,
    refusals: Refusals,
}

impl Vault {
    /// A vault with nothing in memory.
    pub fn new(parts: VaultParts) -> Self {
        let users = Cache::new(parts.cached_users);
        let care = parts.kms.care();
        // Time for the call of whoever is before, and for one more.
        let lines = Lines::new(care.deadline.saturating_mul(2));
        let refusals = Refusals::new(care.first_pause);
        Self { parts, users, branches: Branches::default(), lines, refusals }
    }

    /// Makes a new user's key: in clear for sealing its first values, wrapped for the log.
    pub async fn new_user_key(
        &self,
        user: UserId,
    ) -> Result<(Arc<UserKeys>, UserKeyCreated), KeyFailure> {
        let (branch_id, branch) = self.current_branch().await?;
        let key = UserKey::generate().map_err(|_| KeyFailure::Unavailable("no randomness"))?;
        let id = UserKeyId(key.id());
        let context = self.context(user, b"user-key");
        let wrapped = branch.wrap(&context, &key).map_err(|_| KeyFailure::Broken)?.into();
        let keys = Arc::new(UserKeys { keys: [key].into() });
        Ok((keys, UserKeyCreated { key: id, branch: branch_id, wrapped }))
    }

    /// Keeps the keys of a user whose registration became durable.
    pub fn remember(&self, user: UserId, keys: Arc<UserKeys>) {
        self.users.insert(user, keys);
    }

    /// The regions that are to open what is sealed here.
    pub fn regions(&self) -> &[crate::events::ids::RegionId] {
        &self.parts.regions
    }

    /// Forgets a user's keys.
    pub fn forget(&self, user: UserId) {
        self.users.remove(&user);
    }

    /// A user's keys, from memory or from the log.
    pub async fn keys_of(&self, user: UserId) -> Result<Arc<UserKeys>, KeyFailure> {
        if let Some(keys) = self.users.get(&user) {
            return Ok(keys);
        }
        let mut keys = Vec::with_capacity(1);
        for (_, created) in self.parts.records.read_keys(user).await? {
            let branch = self.branch(created.branch).await?;
            let context = self.context(user, b"user-key");
            let key = branch.unwrap_user_key(&context, &created.wrapped);
            keys.push(key.map_err(|_| KeyFailure::Broken)?);
        }
        if keys.is_empty() {
            return Err(KeyFailure::Unavailable("the user's key is not here"));
        }
        let keys = Arc::new(UserKeys { keys: keys.into() });
        self.users.insert(user, Arc::clone(&keys));
        Ok(keys)
    }

    /// Seals a value under a user's keys.
    pub fn seal(
        &self,
        user: UserId,
        keys: &UserKeys,
        place: Place<'_>,
        clear: &[u8],
    ) -> Result<Sealed, KeyFailure> {
        let key = keys.current().ok_or(KeyFailure::Broken)?;
        let register = place.bytes();
        let context = self.context(user, &register);
        let bytes = sealing::seal(key, &context, clear).map_err(|_| KeyFailure::Broken)?.into();
        let fingerprint = Fingerprint(sealing::fingerprint(key, &register, clear));
        Ok(Sealed { bytes, fingerprint })
    }

    /// What the seal of a value would have beside it: equal to what stands where the value is.
    pub fn fingerprint(
        &self,
        keys: &UserKeys,
        place: Place<'_>,
        clear: &[u8],
    ) -> Result<Fingerprint, KeyFailure> {
        let key = keys.current().ok_or(KeyFailure::Broken)?;
        Ok(Fingerprint(sealing::fingerprint(key, &place.bytes(), clear)))
    }

    /// Opens a value of a user's.
    pub fn open(
        &self,
        user: UserId,
        keys: &UserKeys,
        place: Place<'_>,
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, KeyFailure> {
        let named = sealing::key_of(&sealed.bytes);
        let key = named.and_then(|id| keys.named(id)).ok_or(KeyFailure::Broken)?;
        let register = place.bytes();
        let context = self.context(user, &register);
        sealing::open(key, &context, &sealed.bytes).map_err(|_| KeyFailure::Broken)
    }

    /// Seals a company's own secret (a hash profile with its pepper) under the current branch key.
    pub async fn seal_for_company(
        &self,
        company: &str,
        place: &str,
        clear: &[u8],
    ) -> Result<(BranchKeyId, Box<[u8]>), KeyFailure> {
        let (id, branch) = self.current_branch().await?;
        let register = format!("company/{company}/{place}");
        let context = self.deployment_context(register.as_bytes());
        let sealed = branch.seal(&context, clear).map_err(|_| KeyFailure::Broken)?;
        Ok((id, sealed.into()))
    }

    /// Opens a company's own secret.
    pub async fn open_for_company(
        &self,
        company: &str,
        place: &str,
        branch: BranchKeyId,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, KeyFailure> {
        let branch = self.branch(branch).await?;
        let register = format!("company/{company}/{place}");
        let context = self.deployment_context(register.as_bytes());
        branch.open(&context, sealed).map_err(|_| KeyFailure::Broken)
    }

    fn context<'a>(&self, user: UserId, register: &'a [u8]) -> Context<'a> {
        let (deployment, subject) = (self.parts.deployment.0, *user.as_bytes());
        Context { deployment, subject, register, profile: None }
    }

    fn deployment_context<'a>(&self, register: &'a [u8]) -> Context<'a> {
        let deployment = self.parts.deployment.0;
        Context { deployment, subject: deployment, register, profile: None }
    }
}

#[cfg(test)]
#[path = "vault/stage_test.rs"]
mod stage;

#[cfg(test)]
#[path = "vault/vault_test.rs"]
mod tests;
