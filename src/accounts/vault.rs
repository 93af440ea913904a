//! The key ladder at work: branch keys from the KMS, user keys from the log, values sealed and
//! opened.
//!
//! Keys are cached in memory, bounded and wiped when dropped. The KMS is asked for a branch key
//! that is not in memory, a few times a month, and for nothing else. A key that cannot be opened
//! makes its user unavailable; another one is never made in its place.

mod holes;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use quick_cache::sync::Cache;
use tokio::sync::Mutex as AsyncMutex;
use zeroize::Zeroizing;

use crate::actors::{House, Unavailable};
use crate::clock::Clock;
use crate::crypto::sealing::{self, BranchKey, Context, UserKey};
use crate::events::decide_registry::RegistryCommand;
use crate::events::event::{BranchKeyCreated, Cause, Sealed, UserKeyCreated};
use crate::events::ids::{BranchKeyId, DeploymentId, Fingerprint, UserId, UserKeyId};
use crate::events::registry;
use crate::events::stamp::Origin;
use crate::kms::{EncryptionContext, KeyMaterial, Kms, Purpose};

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
    /// The key is not to be had now.
    #[error("a key cannot be opened now: {0}")]
    Unavailable(&'static str),
    /// An actor on the way could not answer.
    #[error(transparent)]
    Actor(#[from] Unavailable),
    /// The value does not open with the user's key: it was damaged or moved.
    #[error("a sealed value does not open")]
    Broken,
}

/// A user's keys in clear, in memory only.
pub struct UserKeys {
    keys: BTreeMap<UserKeyId, UserKey>,
}

impl UserKeys {
    /// The key that seals what is written now: the one with the greatest id, so that nodes agree.
    fn current(&self) -> Option<&UserKey> {
        self.keys.last_key_value().map(|(_, key)| key)
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
    pub kms: Arc<dyn Kms>,
    /// The regions a branch key is wrapped for.
    pub regions: Vec<crate::events::ids::RegionId>,
    /// The actors.
    pub house: House,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// How many users' keys are kept in memory.
    pub cached_users: usize,
    /// How long a branch key is used for new users, in milliseconds.
    pub branch_lifetime_ms: BranchLifetime,
}

/// Seals and opens.
pub struct Vault {
    parts: VaultParts,
    users: Cache<UserId, Arc<UserKeys>>,
    branches: Mutex<BTreeMap<BranchKeyId, Arc<BranchKey>>>,
    /// Held while a branch key is made or asked for, so that it happens once.
    asking: AsyncMutex<()>,
}

impl Vault {
    /// A vault with nothing in memory.
    pub fn new(parts: VaultParts) -> Self {
        let users = Cache::new(parts.cached_users);
        Self { parts, users, branches: Mutex::default(), asking: AsyncMutex::new(()) }
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
        let keys = Arc::new(UserKeys { keys: BTreeMap::from([(id, key)]) });
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
        let mut keys = BTreeMap::new();
        for (id, created) in self.parts.house.read_keys(user).await? {
            let branch = self.branch(created.branch).await?;
            let context = self.context(user, b"user-key");
            let key = branch.unwrap_user_key(&context, &created.wrapped);
            keys.insert(id, key.map_err(|_| KeyFailure::Broken)?);
        }
        if keys.is_empty() {
            return Err(KeyFailure::Unavailable("the user's key is not here"));
        }
        let keys = Arc::new(UserKeys { keys });
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

    /// Opens a value of a user's.
    pub fn open(
        &self,
        user: UserId,
        keys: &UserKeys,
        place: Place<'_>,
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, KeyFailure> {
        let named = sealing::key_of(&sealed.bytes).map(UserKeyId);
        let key = named.and_then(|id| keys.keys.get(&id)).ok_or(KeyFailure::Broken)?;
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

    /// The branch key that new users' keys are wrapped by: one a node and month.
    async fn current_branch(&self) -> Result<(BranchKeyId, Arc<BranchKey>), KeyFailure> {
        if let Some(id) = self.newest_own_branch() {
            return Ok((id, self.branch(id).await?));
        }
        let _once = self.asking.lock().await;
        match self.newest_own_branch() {
            Some(id) => Ok((id, self.remembered_branch(id).ok_or(KeyFailure::Broken)?)),
            None => self.create_branch().await,
        }
    }

    /// The newest branch key that this node made and that is still in use.
    fn newest_own_branch(&self) -> Option<BranchKeyId> {
        let VaultParts { origin, clock, branch_lifetime_ms, .. } = &self.parts;
        let oldest = clock.unix_ms().saturating_sub(*branch_lifetime_ms);
        let registry = self.parts.house.registry();
        let own = registry.state.branch_keys.iter().filter_map(|(id, key)| {
            let stamp = key.created?.stamp;
            let same_node =
                stamp.origin.region == origin.region && stamp.origin.node == origin.node;
            let young = stamp.revision.unix_ms() >= oldest;
            (same_node && young && key.wrapped.contains_key(&origin.region))
                .then_some((stamp.revision, *id))
        });
        own.max().map(|(_, id)| id)
    }

    /// Makes a branch key, wraps it for every region and records it. Nobody uses it before that is
    /// durable; one that nobody could wrap is not recorded.
    async fn create_branch(&self) -> Result<(BranchKeyId, Arc<BranchKey>), KeyFailure> {
        let branch = BranchKey::generate().map_err(|_| KeyFailure::Unavailable("no randomness"))?;
        let id = BranchKeyId(branch.id());
        let material = KeyMaterial::new(branch.expose());
        let context = self.encryption_context(id);
        let mut wrapped = Vec::new();
        for region in &self.parts.regions {
            match self.parts.kms.wrap_key(*region, &material, &context).await {
                Ok(bytes) => wrapped.push((*region, bytes)),
                Err(error) => tracing::warn!(%region, %error, "a branch key has a hole"),
            }
        }
        if !wrapped.iter().any(|(region, _)| *region == self.parts.origin.region) {
            return Err(KeyFailure::Unavailable("the KMS wraps no new branch key"));
        }
        let command = RegistryCommand::CreateBranchKey(BranchKeyCreated { key: id, wrapped });
        let recorded = self.parts.house.administer(command, Cause::default()).await;
        recorded.map_err(|error| {
            tracing::warn!(%error, "a new branch key could not be recorded");
            KeyFailure::Unavailable("a new branch key could not be recorded")
        })?;
        let branch = Arc::new(branch);
        self.keep_branch(id, &branch);
        Ok((id, branch))
    }

    /// A branch key from memory, else from the KMS.
    async fn branch(&self, id: BranchKeyId) -> Result<Arc<BranchKey>, KeyFailure> {
        if let Some(branch) = self.remembered_branch(id) {
            return Ok(branch);
        }
        let _once = self.asking.lock().await;
        if let Some(branch) = self.remembered_branch(id) {
            return Ok(branch);
        }
        let registry = self.parts.house.registry();
        let known = registry.state.branch_keys.get(&id);
        let branch = self.unwrap(id, known).await?;
        self.keep_branch(id, &branch);
        Ok(branch)
    }

    /// Tries every wrapping for this region. One that opens to another key is a hole.
    async fn unwrap(
        &self,
        id: BranchKeyId,
        known: Option<&registry::BranchKey>,
    ) -> Result<Arc<BranchKey>, KeyFailure> {
        let here = known.and_then(|key| key.wrapped.get(&self.parts.origin.region));
        let context = self.encryption_context(id);
        let mut reason = "this region has no wrapping of the branch key";
        for wrapped in here.into_iter().flat_map(|wrappings| wrappings.values()) {
            match self.parts.kms.unwrap_key(wrapped, &context).await {
                Ok(material) => {
                    let branch = BranchKey::from_bytes(*material.expose());
                    if branch.id() == id.0 {
                        return Ok(Arc::new(branch));
                    }
                    reason = "a wrapping of the branch key opens to another key";
                }
                Err(error) => {
                    tracing::warn!(%id, %error, "a branch key does not open");
                    reason = "the KMS does not open the branch key";
                }
            }
        }
        Err(KeyFailure::Unavailable(reason))
    }

    fn remembered_branch(&self, id: BranchKeyId) -> Option<Arc<BranchKey>> {
        self.branches.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    fn keep_branch(&self, id: BranchKeyId, branch: &Arc<BranchKey>) {
        let mut branches = self.branches.lock().unwrap_or_else(PoisonError::into_inner);
        branches.insert(id, Arc::clone(branch));
    }

    const fn encryption_context(&self, key: BranchKeyId) -> EncryptionContext {
        EncryptionContext { deployment: self.parts.deployment, purpose: Purpose::BranchKey, key }
    }
}
