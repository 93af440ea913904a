//! Holes: regions that a branch key is not wrapped for, since their KMS could not be asked when it
//! was made or since they are newer than it. Any region that opens the key fills them.

use super::Vault;
use crate::events::decide_registry::RegistryCommand;
use crate::events::event::{BranchKeyWrapped, Cause};
use crate::events::ids::{BranchKeyId, RegionId};
use crate::events::registry::{BranchKey, RegistryState};
use crate::kms::KeyMaterial;

impl Vault {
    /// How many wrappings are missing, of all branch keys and regions that are not retired.
    pub fn holes(&self) -> usize {
        self.missing(&self.parts.house.registry().state).count()
    }

    /// Fills every hole that can be filled here and now, and records it. Returns how many.
    pub async fn fill_holes(&self) -> usize {
        let registry = self.parts.house.registry();
        let own = self.parts.origin.region;
        let opens = |id: &BranchKeyId| {
            let key = registry.state.branch_keys.get(id);
            key.is_some_and(|key| key.wrapped.contains_key(&own))
        };
        let mut filled = 0;
        for (id, region) in self.missing(&registry.state).filter(|(id, _)| opens(id)) {
            match self.fill(id, region).await {
                Ok(()) => filled += 1,
                Err(reason) => tracing::warn!(%id, %region, reason, "a branch key has a hole"),
            }
        }
        filled
    }

    fn missing<'a>(
        &'a self,
        state: &'a RegistryState,
    ) -> impl Iterator<Item = (BranchKeyId, RegionId)> + 'a {
        state.branch_keys.iter().flat_map(move |(id, key)| {
            let regions = self.parts.regions.iter().filter(|region| lacks(key, **region));
            regions.map(|region| (*id, *region))
        })
    }

    async fn fill(&self, key: BranchKeyId, region: RegionId) -> Result<(), String> {
        let branch = self.branch(key).await.map_err(|error| error.to_string())?;
        let material = KeyMaterial::new(branch.expose());
        let context = self.encryption_context(key);
        let wrapped = self.parts.kms.wrap_key(region, &material, &context).await;
        let wrapped = wrapped.map_err(|error| error.to_string())?;
        let command = RegistryCommand::WrapBranchKey(BranchKeyWrapped { key, region, wrapped });
        let recorded = self.parts.house.administer(command, Cause::default()).await;
        recorded.map(drop).map_err(|error| error.to_string())
    }
}

fn lacks(key: &BranchKey, region: RegionId) -> bool {
    key.created.is_some() && !key.wrapped.contains_key(&region)
}
