//! Branch keys on their way into memory: made here and wrapped, or opened by the KMS.
//!
//! It must never use a branch key before it is durable that somebody can open it.

use std::sync::Arc;

use futures_util::future::join_all;

use super::{KeyFailure, Vault, VaultParts};
use crate::crypto::sealing::BranchKey;
use crate::events::decide_registry::RegistryCommand;
use crate::events::event::{BranchKeyCreated, Cause};
use crate::events::ids::BranchKeyId;
use crate::kms::{EncryptionContext, KeyMaterial, Kms as _, KmsError, Purpose};

impl Vault {
    /// The branch key that new users' keys are wrapped by: one a node and month.
    pub(super) async fn current_branch(&self) -> Result<(BranchKeyId, Arc<BranchKey>), KeyFailure> {
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
    pub(super) async fn branch(&self, id: BranchKeyId) -> Result<Arc<BranchKey>, KeyFailure> {
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
    pub(super) async fn open_branch(&self, id: BranchKeyId) -> Result<BranchKey, Closed> {
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

    pub(super) const fn encryption_context(&self, key: BranchKeyId) -> EncryptionContext {
        EncryptionContext { deployment: self.parts.deployment, purpose: Purpose::BranchKey, key }
    }
}

/// Why a branch key does not open here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Closed {
    pub(super) reason: &'static str,
    /// Whether the KMS gave its last word; else it could not be asked.
    pub(super) is_final: bool,
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
