//! What operators see of branch keys: who can open them, and how the KMS of each region is.

use super::Vault;
use super::keeping::is_hole;
use crate::events::ids::{BranchKeyId, RegionId};
use crate::events::registry::BranchKey;
use crate::kms::guard::KmsStanding;

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
        let registry = self.parts.records.registry();
        let keys = registry.state.branch_keys.values();
        keys.map(|key| self.parts.regions.iter().filter(|it| is_hole(key, **it)).count()).sum()
    }

    /// How many branch keys this region has by a master key of before alone.
    pub fn to_renew(&self) -> usize {
        let registry = self.parts.records.registry();
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
        let registry = self.parts.records.registry();
        let kms = self.parts.kms.standing();
        let why = |key: &BranchKey, region: RegionId| {
            if key.disowned(region) > 0 {
                return "its wrapping does not open to the key".to_owned();
            }
            let error = kms.get(&region).and_then(|standing| standing.error.clone());
            error.unwrap_or_else(|| "not wrapped yet".to_owned())
        };
        let standing = registry.state.branch_keys.iter().filter_map(|(id, key)| {
            let stamp = key.created?.stamp;
            let regions = self.parts.regions.iter().copied();
            let (holes, whole): (Vec<_>, Vec<_>) = regions.partition(|it| is_hole(key, *it));
            Some(BranchStanding {
                key: *id,
                made_by: stamp.origin.name().to_string(),
                made_ms: stamp.revision.unix_ms(),
                in_memory: self.branches.holds(*id),
                to_renew: self.is_to_renew(*id, key),
                regions: whole,
                holes: holes.into_iter().map(|region| (region, why(key, region))).collect(),
            })
        });
        let mut standing: Vec<_> = standing.collect();
        standing.sort_by_key(|it| (it.made_ms, it.key));
        standing
    }
}
