//! The key ladder at work: branch keys from the KMS, user keys from the log, values sealed and
//! opened.
//!
//! Keys are cached in memory, bounded and wiped when dropped. The KMS is asked for a branch key
//! that is not in memory, a few times a month, and for nothing else. A key that cannot be opened
//! makes its user unavailable; another one is never made in its place.

mod branches;
pub mod keeping;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use quick_cache::sync::Cache;
use tokio::sync::Mutex as AsyncMutex;
use zeroize::Zeroizing;

use crate::actors::{House, Unavailable};
use crate::clock::Clock;
use crate::crypto::sealing::{self, BranchKey, Context, UserKey};
use crate::events::decide_registry::RegistryCommand;
use crate::events::event::{BranchKeyCreated, Cause, Sealed, UserKeyCreated};
use crate::events::ids::{BranchKeyId, DeploymentId, Fingerprint, UserId, UserKeyId};
use crate::events::stamp::Origin;
use crate::kms::guard::Guarded;
use crate::kms::{EncryptionContext, KeyMaterial, Kms as _, KmsError, Purpose};

use self::branches::Branches;

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
    pub kms: Guarded,
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
    /// After how long the KMS is asked again for a branch key in memory.
    pub branch_kept: Duration,
}

/// Seals and opens.
pub struct Vault {
    parts: VaultParts,
    users: Cache<UserId, Arc<UserKeys>>,
    branches: Branches,
    /// Held while a branch key is made or asked for, so that it happens once.
    asking: AsyncMutex<()>,
}

impl Vault {
    /// A vault with nothing in memory.
    pub fn new(parts: VaultParts) -> Self {
        let users = Cache::new(parts.cached_users);
        Self { parts, users, branches: Branches::default(), asking: AsyncMutex::new(()) }
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
        let own = self.own_branches();
        if let Some(found) = self.newest_in_memory(&own) {
            return Ok(found);
        }
        let _once = self.asking.lock().await;
        let own = self.own_branches();
        if let Some(found) = self.newest_in_memory(&own) {
            return Ok(found);
        }
        for id in own {
            match self.ask_for(id).await {
                Ok(branch) => return Ok((id, branch)),
                Err(error) => tracing::warn!(%id, %error, "a branch key is not used for writing"),
            }
        }
        self.create_branch().await
    }

    fn newest_in_memory(&self, ids: &[BranchKeyId]) -> Option<(BranchKeyId, Arc<BranchKey>)> {
        let now = self.parts.clock.monotonic();
        ids.iter().find_map(|id| Some((*id, self.branches.get(*id, now)?)))
    }

    /// The branch keys that this node made and that are still in use, the newest first.
    fn own_branches(&self) -> Vec<BranchKeyId> {
        let VaultParts { origin, clock, branch_lifetime_ms, .. } = &self.parts;
        let oldest = clock.unix_ms().saturating_sub(*branch_lifetime_ms);
        let registry = self.parts.house.registry();
        let own = registry.state.branch_keys.iter().filter_map(|(id, key)| {
            let stamp = key.created?.stamp;
            let same_node =
                stamp.origin.region == origin.region && stamp.origin.node == origin.node;
            let young = stamp.revision.unix_ms() >= oldest;
            (same_node && young && !key.wrapped.is_empty()).then_some((stamp.revision, *id))
        });
        let mut own: Vec<_> = own.collect();
        own.sort_unstable_by(|one, other| other.cmp(one));
        own.into_iter().map(|(_, id)| id).collect()
    }

    /// Makes a branch key, wraps it for every region and records it. Nobody uses it before that is
    /// durable; one that nobody could wrap is not recorded.
    async fn create_branch(&self) -> Result<(BranchKeyId, Arc<BranchKey>), KeyFailure> {
        let branch = BranchKey::generate().map_err(|_| KeyFailure::Unavailable("no randomness"))?;
        let id = BranchKeyId(branch.id());
        let material = KeyMaterial::new(branch.expose());
        let context = self.encryption_context(id);
        let wrap = async |region| {
            let wrapped = self.parts.kms.wrap_key(region, &material, &context).await;
            (region, wrapped)
        };
        // All at once: regions whose KMS is silent cost one deadline together.
        let answers = join_all(self.parts.regions.iter().copied().map(wrap)).await;
        let mut wrapped = Vec::new();
        for (region, answer) in answers {
            match answer {
                Ok(bytes) => wrapped.push((region, bytes)),
                Err(error) => {
                    tracing::warn!(%region, error = error.chain(), "a branch key has a hole");
                }
            }
        }
        if wrapped.is_empty() {
            return Err(KeyFailure::Unavailable("no KMS wraps a new branch key"));
        }
        let command = RegistryCommand::CreateBranchKey(BranchKeyCreated { key: id, wrapped });
        let recorded = self.parts.house.administer(command, Cause::default()).await;
        recorded.map_err(|error| {
            tracing::warn!(%error, "a new branch key could not be recorded");
            KeyFailure::Unavailable("a new branch key could not be recorded")
        })?;
        let branch = Arc::new(branch);
        self.branches.keep(id, &branch, self.parts.clock.monotonic());
        Ok((id, branch))
    }

    /// A branch key from memory, else from the KMS.
    async fn branch(&self, id: BranchKeyId) -> Result<Arc<BranchKey>, KeyFailure> {
        if let Some(branch) = self.branches.get(id, self.parts.clock.monotonic()) {
            return Ok(branch);
        }
        let _once = self.asking.lock().await;
        match self.branches.get(id, self.parts.clock.monotonic()) {
            Some(branch) => Ok(branch),
            None => self.ask_for(id).await,
        }
    }

    /// A branch key from the KMS; whoever calls holds `asking`. One that did not open is not asked
    /// for again for a while.
    async fn ask_for(&self, id: BranchKeyId) -> Result<Arc<BranchKey>, KeyFailure> {
        let now = self.parts.clock.monotonic();
        if let Some(reason) = self.branches.refused(id, now) {
            return Err(KeyFailure::Unavailable(reason));
        }
        match self.open_branch(id).await {
            Ok(branch) => {
                let branch = Arc::new(branch);
                self.branches.keep(id, &branch, self.parts.clock.monotonic());
                Ok(branch)
            }
            Err(closed) => {
                if closed.is_final {
                    self.branches.refuse(id, closed.reason, self.parts.clock.monotonic());
                }
                Err(KeyFailure::Unavailable(closed.reason))
            }
        }
    }

    /// Tries every wrapping for this region. One that opens to another key is a hole.
    async fn open_branch(&self, id: BranchKeyId) -> Result<BranchKey, Closed> {
        let registry = self.parts.house.registry();
        let known = registry.state.branch_keys.get(&id);
        let here = known.and_then(|key| key.wrapped.get(&self.parts.origin.region));
        let context = self.encryption_context(id);
        // Only what somebody can still change by recording more is not final.
        let mut closed =
            Closed { reason: "this region has no wrapping of the branch key", is_final: false };
        // The newest first: it is the one by the master key of now.
        for wrapped in here.into_iter().flat_map(|wrappings| wrappings.values().rev()) {
            match self.parts.kms.unwrap_key(wrapped, &context).await {
                Ok(material) => {
                    let branch = BranchKey::from_bytes(*material.expose());
                    if branch.id() == id.0 {
                        return Ok(branch);
                    }
                    let reason = "a wrapping of the branch key opens to another key";
                    tracing::warn!(%id, reason, "a branch key does not open");
                    closed = Closed { reason, is_final: true };
                }
                Err(error) => {
                    tracing::warn!(%id, error = error.chain(), "a branch key does not open");
                    closed = Closed::by(&error);
                    if !closed.is_final {
                        return Err(closed);
                    }
                }
            }
        }
        Err(closed)
    }

    const fn encryption_context(&self, key: BranchKeyId) -> EncryptionContext {
        EncryptionContext { deployment: self.parts.deployment, purpose: Purpose::BranchKey, key }
    }
}

/// Why a branch key does not open here.
#[derive(Debug, Clone, Copy)]
struct Closed {
    reason: &'static str,
    /// Whether the KMS gave its last word; else it could not be asked.
    is_final: bool,
}

impl Closed {
    const fn by(error: &KmsError) -> Self {
        match error {
            KmsError::Unavailable { .. } => {
                Self { reason: "the KMS does not answer", is_final: false }
            }
            KmsError::Refused { .. } => {
                Self { reason: "the KMS refuses to open the branch key", is_final: true }
            }
            KmsError::NoSuchRegion(_) => {
                Self { reason: "the region has no master key here", is_final: true }
            }
            KmsError::Malformed => {
                Self { reason: "the wrapping of the branch key does not open", is_final: true }
            }
        }
    }
}
