//! Branch keys on their way into memory: made here and wrapped, or opened by the KMS.
//!
//! It must never use a branch key before it is durable that somebody can open it.

use std::sync::Arc;

use futures_util::future::join_all;

use super::{KeyFailure, Vault, VaultParts};
use crate::crypto::sealing::BranchKey;
use crate::events::decide_registry::RegistryCommand;
use crate::events::event::BranchKeyCreated;
use crate::events::ids::BranchKeyId;
use crate::kms::{EncryptionContext, KeyMaterial, Kms as _, KmsError, Purpose};

impl Vault {
    /// The branch key that new users' keys are wrapped by: one a node and month.
    pub(super) async fn current_branch(&self) -> Result<(BranchKeyId, Arc<BranchKey>), KeyFailure> {
        let own = self.own_branches();
        if let Some(found) = self.newest_in_memory(&own) {
            return Ok(found);
        }
        let _once = self.lines.making().await?;
        let own = self.own_branches();
        if let Some(found) = self.newest_in_memory(&own) {
            return Ok(found);
        }
        for id in own {
            match self.branch(id).await {
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
        let registry = self.parts.records.registry();
        let own = registry.state.branch_keys.iter().filter_map(|(id, key)| {
            let stamp = key.created?.stamp;
            let same_node =
                stamp.origin.region == origin.region && stamp.origin.node == origin.node;
            let young = stamp.revision.unix_ms() >= oldest;
            let opens = key.wrapped.keys().any(|region| !key.is_hole(*region));
            (same_node && young && opens).then_some((stamp.revision, *id))
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
            return Err(KeyFailure::Kms("no KMS wraps a new branch key"));
        }
        let command = RegistryCommand::CreateBranchKey(BranchKeyCreated { key: id, wrapped });
        let recorded = self.parts.records.administer(command).await;
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
        let _turn = self.lines.turn(id).await?;
        match self.branches.get(id, self.parts.clock.monotonic()) {
            Some(branch) => Ok(branch),
            None => self.ask_for(id).await,
        }
    }

    /// A branch key from the KMS; whoever calls has the turn. One that did not open is not asked
    /// for again for a while.
    async fn ask_for(&self, id: BranchKeyId) -> Result<Arc<BranchKey>, KeyFailure> {
        let now = self.parts.clock.monotonic();
        if let Some(closed) = self.branches.refused(id, now) {
            return Err(closed.into());
        }
        match self.open_branch(id).await {
            Ok(branch) => {
                let branch = Arc::new(branch);
                self.branches.keep(id, &branch, self.parts.clock.monotonic());
                Ok(branch)
            }
            Err(closed) => {
                if closed.is_final() {
                    self.branches.refuse(id, closed, self.parts.clock.monotonic());
                }
                Err(closed.into())
            }
        }
    }

    /// Tries every wrapping for this region. One that opens to another key is a hole.
    pub(super) async fn open_branch(&self, id: BranchKeyId) -> Result<BranchKey, Closed> {
        let registry = self.parts.records.registry();
        let known = registry.state.branch_keys.get(&id);
        let here = known.and_then(|key| key.wrapped.get(&self.parts.origin.region));
        let context = self.encryption_context(id);
        let mut closed = Closed::NOT_WRAPPED;
        // The newest first: it is the one by the master key of now. Those that were disowned are
        // tried too, since whoever did so may have lacked a master key of before.
        let newest_first = here.into_iter().flat_map(|wrappings| wrappings.values().rev());
        for wrapped in newest_first.filter(|wrapped| !wrapped.is_empty()) {
            let failed = match self.parts.kms.unwrap_key(wrapped, &context).await {
                Ok(material) => {
                    let branch = BranchKey::from_bytes(*material.expose());
                    if branch.id() == id.0 {
                        return Ok(branch);
                    }
                    tracing::warn!(%id, "a wrapping of a branch key opens to another key");
                    Closed {
                        reason: "a wrapping of the branch key opens to another key",
                        why: Why::Wrong,
                    }
                }
                Err(error) => {
                    tracing::warn!(%id, error = error.chain(), "a branch key does not open");
                    Closed::by(&error)
                }
            };
            match failed.why {
                Why::NotNow => return Err(failed),
                // Noted also where one behind it opens: else it would be taken for a right one when
                // that can no longer be opened.
                Why::Wrong => self.branches.note_wrong(id),
                Why::Refused | Why::NotHere => {}
            }
            if closed.why != Why::Refused {
                closed = failed;
            }
        }
        Err(closed)
    }

    pub(super) const fn encryption_context(&self, key: BranchKeyId) -> EncryptionContext {
        EncryptionContext { deployment: self.parts.deployment, purpose: Purpose::BranchKey, key }
    }
}

/// A branch key does not open here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Closed {
    pub(super) reason: &'static str,
    pub(super) why: Why,
}

/// Who may change that a branch key does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// There is nothing to ask the KMS for yet: it changes by itself.
    NotHere,
    /// The KMS could not be asked: it changes by itself.
    NotNow,
    /// The KMS refuses: an operator may change that.
    Refused,
    /// What is recorded does not open to the key: another node may record it anew.
    Wrong,
}

impl Closed {
    const NOT_WRAPPED: Self =
        Self { reason: "this region has no wrapping of the branch key", why: Why::NotHere };

    const fn by(error: &KmsError) -> Self {
        let (reason, why) = match error {
            KmsError::Unavailable { .. } => ("the KMS does not answer", Why::NotNow),
            KmsError::Refused { .. } => ("the KMS refuses to open the branch key", Why::Refused),
            KmsError::NoSuchRegion(_) => ("the region has no master key here", Why::Refused),
            KmsError::Malformed => ("the wrapping of the branch key does not open", Why::Wrong),
        };
        Self { reason, why }
    }

    /// Whether the KMS gave its last word; else it could not be asked.
    pub(super) const fn is_final(self) -> bool {
        !matches!(self.why, Why::NotNow | Why::NotHere)
    }
}

impl From<Closed> for KeyFailure {
    fn from(closed: Closed) -> Self {
        match closed.why {
            Why::NotNow | Why::Refused => Self::Kms(closed.reason),
            Why::NotHere | Why::Wrong => Self::Unavailable(closed.reason),
        }
    }
}
