//! The key keeper: sees that every region can open every branch key, and that none is kept in
//! memory for longer than it should be.
//!
//! A region that a branch key is not wrapped for is a hole: its KMS could not be asked when the key
//! was made, or it is newer than the key. Any region that opens the key fills it. A wrapping by a
//! master key that the region had before is renewed by the region itself.
//!
//! It must never make a branch key.

use super::Vault;
use super::branches::Due;
use super::opening::Closed;
use crate::crypto::sealing::BranchKey as Key;
use crate::events::decide_registry::RegistryCommand;
use crate::events::event::{BranchKeyWrapped, Cause};
use crate::events::ids::{BranchKeyId, RegionId};
use crate::events::registry::{BranchKey, RegistryState};
use crate::kms::guard::KmsStanding;
use crate::kms::{KeyMaterial, Kms as _};

/// What one look at the branch keys came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept {
    /// Holes that were filled.
    pub filled: usize,
    /// Wrappings that were renewed for a newer master key.
    pub renewed: usize,
    /// Holes and wrappings to be renewed that are left.
    pub left: usize,
}

/// One thing to be done about a branch key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Task {
    key: BranchKeyId,
    region: RegionId,
    renews: bool,
}

/// How a branch key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BranchStanding {
    /// The key's name.
    pub key: BranchKeyId,
    /// Which node made it.
    pub made_by: String,
    /// When, in milliseconds since 1970.
    pub made_ms: u64,
    /// Whether it is in this node's memory.
    pub in_memory: bool,
    /// Whether this region's wrapping is by the master key of before.
    pub to_renew: bool,
    /// The regions it is wrapped for.
    pub regions: Vec<RegionId>,
    /// The regions it is not wrapped for, and why as far as that is known here.
    pub holes: Vec<(RegionId, String)>,
}

impl Vault {
    /// How many wrappings are missing, of all branch keys and regions that are not retired.
    pub fn holes(&self) -> usize {
        let registry = self.parts.house.registry();
        let keys = registry.state.branch_keys.values();
        keys.map(|key| self.parts.regions.iter().filter(|it| lacks(key, **it)).count()).sum()
    }

    /// How many branch keys this region has by a master key of before alone.
    pub fn to_renew(&self) -> usize {
        let registry = self.parts.house.registry();
        registry.state.branch_keys.iter().filter(|(id, key)| self.is_to_renew(**id, key)).count()
    }

    /// How the KMS of each region is, as far as it was asked.
    pub fn kms_standing(&self) -> Vec<(RegionId, KmsStanding)> {
        let mut standing = self.parts.kms.standing();
        let regions = self.parts.regions.iter();
        regions.map(|region| (*region, standing.remove(region).unwrap_or_default())).collect()
    }

    /// How every branch key is, the oldest first.
    pub fn branch_standing(&self) -> Vec<BranchStanding> {
        let registry = self.parts.house.registry();
        let kms = self.parts.kms.standing();
        let why = |region: RegionId| {
            let error = kms.get(&region).and_then(|standing| standing.error.clone());
            error.unwrap_or_else(|| "not wrapped yet".to_owned())
        };
        let standing = registry.state.branch_keys.iter().filter_map(|(id, key)| {
            let stamp = key.created?.stamp;
            let regions = self.parts.regions.iter().copied();
            let (holes, whole): (Vec<_>, Vec<_>) = regions.partition(|it| lacks(key, *it));
            Some(BranchStanding {
                key: *id,
                made_by: stamp.origin.name().to_string(),
                made_ms: stamp.revision.unix_ms(),
                in_memory: self.branches.holds(*id),
                to_renew: self.is_to_renew(*id, key),
                regions: whole,
                holes: holes.into_iter().map(|region| (region, why(region))).collect(),
            })
        });
        let mut standing: Vec<_> = standing.collect();
        standing.sort_by_key(|it| (it.made_ms, it.key));
        standing
    }

    /// Fills holes and renews wrappings, `most` at most, as far as that can be done here and now,
    /// and records it.
    pub async fn keep_keys(&self, most: usize) -> Kept {
        let mut kept = Kept::default();
        let tasks: Vec<_> = self.tasks(&self.parts.house.registry().state).collect();
        for task in tasks {
            // Another node may have done it meanwhile.
            if !self.is_due(task) {
                continue;
            }
            let done = kept.filled + kept.renewed;
            if done >= most || !self.can_do(task) || self.parts.kms.is_resting(task.region) {
                kept.left += 1;
                continue;
            }
            match self.do_task(task).await {
                Ok(()) if task.renews => kept.renewed += 1,
                Ok(()) => kept.filled += 1,
                Err(reason) => {
                    kept.left += 1;
                    let Task { key: id, region, .. } = task;
                    tracing::warn!(%id, %region, reason, "a branch key has a hole");
                }
            }
        }
        kept
    }

    /// Lets go of branch keys whose time in memory is over: of those nobody used, and of those the
    /// KMS does not open any more. While it does not answer all are kept.
    pub async fn refresh_branches(&self) {
        let now = || self.parts.clock.monotonic();
        for due in self.branches.due(self.parts.branch_kept, now()) {
            let (Due::Again(id) | Due::Forgotten(id)) = due;
            // One that only this memory holds is not let go of before a region has it.
            let opens = self
                .parts
                .house
                .registry()
                .state
                .branch_keys
                .get(&id)
                .is_some_and(|key| key.wrapped.contains_key(&self.parts.origin.region));
            if !opens
                || self.parts.kms.is_silent(self.parts.origin.region) && due == Due::Forgotten(id)
            {
                continue;
            }
            if due == Due::Forgotten(id) {
                self.branches.forget(id);
                continue;
            }
            let _once = self.asking.lock().await;
            match self.open_branch(id).await {
                Ok(_) => self.branches.renew(id, now()),
                Err(Closed { is_final: true, reason }) => {
                    tracing::warn!(%id, reason, "a branch key is let go of");
                    self.branches.forget(id);
                    self.branches.refuse(id, reason, now());
                }
                Err(_) => {}
            }
        }
    }

    fn tasks<'a>(&'a self, state: &'a RegistryState) -> impl Iterator<Item = Task> + 'a {
        let own = self.parts.origin.region;
        state.branch_keys.iter().flat_map(move |(id, key)| {
            let regions = self.parts.regions.iter().filter(|region| lacks(key, **region));
            let holes = regions.map(|region| Task { key: *id, region: *region, renews: false });
            let renewal = Task { key: *id, region: own, renews: true };
            holes.chain(self.is_to_renew(*id, key).then_some(renewal))
        })
    }

    fn is_due(&self, task: Task) -> bool {
        let registry = self.parts.house.registry();
        let Some(key) = registry.state.branch_keys.get(&task.key) else { return false };
        if task.renews { self.is_to_renew(task.key, key) } else { lacks(key, task.region) }
    }

    /// Whether this region opens the key.
    fn can_do(&self, task: Task) -> bool {
        let own = self.parts.origin.region;
        let registry = self.parts.house.registry();
        let known = registry.state.branch_keys.get(&task.key);
        known.is_some_and(|key| key.wrapped.contains_key(&own)) || self.branches.holds(task.key)
    }

    fn is_to_renew(&self, id: BranchKeyId, key: &BranchKey) -> bool {
        let context = self.encryption_context(id);
        let here = key.wrapped.get(&self.parts.origin.region);
        here.is_some_and(|wrappings| {
            !wrappings.values().any(|wrapped| self.parts.kms.is_current(wrapped, &context))
        })
    }

    async fn do_task(&self, task: Task) -> Result<(), String> {
        let Task { key, region, renews } = task;
        let branch = self.branch(key).await.map_err(|error| error.to_string())?;
        let wrapped = self.wrap_for(key, &branch, region).await?;
        let wrapped = BranchKeyWrapped { key, region, wrapped };
        let command = if renews {
            RegistryCommand::RenewBranchKey(wrapped)
        } else {
            RegistryCommand::WrapBranchKey(wrapped)
        };
        let recorded = self.parts.house.administer(command, Cause::default()).await;
        recorded.map(drop).map_err(|error| error.to_string())
    }

    async fn wrap_for(
        &self,
        id: BranchKeyId,
        branch: &Key,
        region: RegionId,
    ) -> Result<Box<[u8]>, String> {
        let (material, context) = (KeyMaterial::new(branch.expose()), self.encryption_context(id));
        let wrapped = self.parts.kms.wrap_key(region, &material, &context).await;
        wrapped.map_err(|error| error.chain())
    }
}

fn lacks(key: &BranchKey, region: RegionId) -> bool {
    key.created.is_some() && !key.wrapped.contains_key(&region)
}
