//! The key keeper: sees that every region can open every branch key, and that none is kept in
//! memory for longer than it should be.
//!
//! A region that a branch key is not wrapped for is a hole: its KMS could not be asked when the key
//! was made, or it is newer than the key. Any region that opens the key fills it. A wrapping by a
//! master key that the region had before is renewed by the region itself.
//!
//! A wrapping that does not open to its key is found by its region alone, when it is used. Whoever
//! there has the key in memory writes another one; else the region records that it has a hole, and
//! the others fill it.
//!
//! It must never make a branch key.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Vault;
use super::branches::Due;
use super::opening::{Closed, Why};
use crate::crypto::sealing::BranchKey as Key;
use crate::events::command::Outcome;
use crate::events::decide_registry::RegistryCommand;
use crate::events::event::BranchKeyWrapped;
use crate::events::ids::{BranchKeyId, RegionId};
use crate::events::registry::{BranchKey, RegistryState};
use crate::kms::{KeyMaterial, Kms as _, KmsError, Sight};

/// What one look at the branch keys came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept {
    /// Holes that were filled.
    pub filled: usize,
    /// Wrappings that were renewed: for a newer master key, or since they did not open.
    pub renewed: usize,
    /// Wrappings that did not open to their keys and were recorded as holes.
    pub disowned: usize,
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

/// One look at the branch keys: how much is tried, and whom it is left with.
struct Round {
    kept: Kept,
    /// Tries that are left.
    tries: usize,
    /// Regions that refused to wrap; each had its turn.
    refused: BTreeSet<RegionId>,
    /// Whether this region did not refuse to open a key yet.
    opens: bool,
    /// The key that was opened last: its holes follow each other. That it is wrapped for others is
    /// no use of it, so it does not stay in memory.
    open: Option<(BranchKeyId, Arc<Key>)>,
}

/// What could not be done of a task.
enum Undone {
    Open(Closed),
    Wrap(KmsError),
    Record(String),
}

impl Vault {
    /// Fills holes and renews wrappings as far as that can be done here and now, and records it.
    /// At most `most` are tried; a region that refuses is not tried twice.
    pub async fn keep_keys(&self, most: usize) -> Kept {
        let kept = Kept::default();
        let refused = BTreeSet::new();
        let mut round = Round { kept, tries: most, refused, opens: true, open: None };
        self.mend_wrong(&mut round).await;
        let tasks: Vec<_> = self.tasks(&self.parts.records.registry().state).collect();
        for task in tasks {
            // Another node may have done it meanwhile.
            if !self.is_due(task) {
                continue;
            }
            if round.tries == 0 || !self.can_do(task, &round) {
                round.kept.left += 1;
                continue;
            }
            round.tries -= 1;
            let done = self.do_task(task, &mut round).await;
            self.note(task, done, &mut round);
        }
        round.kept
    }

    fn note(&self, task: Task, done: Result<(), Undone>, round: &mut Round) {
        let Task { key: id, region, renews } = task;
        let now = self.parts.clock.monotonic();
        let reason = match done {
            Ok(()) if renews => return round.kept.renewed += 1,
            Ok(()) => return round.kept.filled += 1,
            Err(Undone::Open(closed)) => {
                if closed.is_final() {
                    self.refusals.open_refused(id, now);
                    // A wrong wrapping says nothing of the others.
                    round.opens &= closed.why == Why::Wrong;
                }
                closed.reason.to_owned()
            }
            Err(Undone::Wrap(error)) => {
                if !matches!(error, KmsError::Unavailable { .. }) {
                    self.refusals.wrap_refused(region, now);
                    round.refused.insert(region);
                }
                error.chain()
            }
            Err(Undone::Record(reason)) => reason,
        };
        round.kept.left += 1;
        tracing::warn!(%id, %region, reason, "a branch key has a hole");
    }

    /// Sees to the wrappings that were found not to open to their keys.
    async fn mend_wrong(&self, round: &mut Round) {
        let own = self.parts.origin.region;
        for id in self.branches.take_wrong() {
            let registry = self.parts.records.registry();
            let known = registry.state.branch_keys.get(&id);
            if known.is_none_or(|key| key.is_hole(own)) {
                continue;
            }
            if round.tries == 0 {
                self.branches.note_wrong(id);
                continue;
            }
            round.tries -= 1;
            let key = match self.branches.held(id) {
                Some(key) => key,
                // Asked once more: another node may have mended it, and what is found is told all.
                None => match self.open_branch(id).await {
                    Ok(_) if !self.branches.forget_wrong(id) => continue,
                    Ok(key) => Arc::new(key),
                    Err(closed) => {
                        self.branches.forget_wrong(id);
                        let is_wrong = closed.why == Why::Wrong;
                        round.kept.disowned += usize::from(is_wrong && self.disown(id).await);
                        continue;
                    }
                },
            };
            let wrapped = self.wrap_and_record(id, &key, own, true).await;
            if wrapped.is_err() {
                self.branches.note_wrong(id);
            }
            self.note(Task { key: id, region: own, renews: true }, wrapped, round);
        }
    }

    /// Records that this region has a hole; false where it cannot be recorded, or often enough was.
    async fn disown(&self, id: BranchKeyId) -> bool {
        let command = RegistryCommand::DisownBranchKey(id, self.parts.origin.region);
        match self.parts.records.administer(command).await {
            Ok(outcome) => outcome == Outcome::Applied,
            Err(error) => {
                tracing::warn!(%id, %error, "a wrapping that does not open stays as it is");
                false
            }
        }
    }

    /// Lets go of branch keys whose time in memory is over: of those nobody used, and of those the
    /// KMS does not open any more. The KMS is asked for each: while it does not answer all are
    /// kept, since none could be opened again.
    pub async fn refresh_branches(&self) {
        let now = || self.parts.clock.monotonic();
        for due in self.branches.due(self.parts.branch_kept, now()) {
            let (Due::Again(id) | Due::Forgotten(id)) = due;
            let registry = self.parts.records.registry();
            let known = registry.state.branch_keys.get(&id);
            // One that only this memory holds is not let go of before a region has it.
            if known.is_none_or(|key| key.is_hole(self.parts.origin.region)) {
                continue;
            }
            match (self.open_branch(id).await, due) {
                (Ok(_), Due::Again(_)) => self.branches.renew(id, now()),
                (Ok(_), Due::Forgotten(_)) => self.branches.forget(id),
                (Err(closed @ Closed { why: Why::Refused, reason }), _) => {
                    tracing::warn!(%id, reason, "a branch key is let go of");
                    self.branches.forget(id);
                    self.branches.refuse(id, closed, now());
                }
                // The key in memory is right: it is wrapped anew from there.
                (Err(Closed { why: Why::NotNow | Why::NotHere | Why::Wrong, .. }), _) => {}
            }
        }
    }

    fn tasks<'a>(&'a self, state: &'a RegistryState) -> impl Iterator<Item = Task> + 'a {
        let own = self.parts.origin.region;
        state.branch_keys.iter().flat_map(move |(id, key)| {
            let regions = self.parts.regions.iter().filter(|region| is_hole(key, **region));
            let holes = regions.map(|region| Task { key: *id, region: *region, renews: false });
            let renewal = Task { key: *id, region: own, renews: true };
            holes.chain(self.is_to_renew(*id, key).then_some(renewal))
        })
    }

    fn is_due(&self, task: Task) -> bool {
        let registry = self.parts.records.registry();
        let Some(key) = registry.state.branch_keys.get(&task.key) else { return false };
        if task.renews { self.is_to_renew(task.key, key) } else { is_hole(key, task.region) }
    }

    /// Whether the KMS may be asked for it now, and this region opens the key.
    fn can_do(&self, task: Task, round: &Round) -> bool {
        let (own, now) = (self.parts.origin.region, self.parts.clock.monotonic());
        let Task { key: id, region, .. } = task;
        let rests = |region| self.parts.kms.is_resting(region);
        let wraps = !rests(region)
            && !round.refused.contains(&region)
            && self.refusals.may_wrap(region, now);
        let is_open = round.open.as_ref().is_some_and(|(open, _)| *open == id);
        if !wraps || is_open || self.branches.holds(id) {
            return wraps;
        }
        let registry = self.parts.records.registry();
        let known = registry.state.branch_keys.get(&id);
        let is_wrapped = known.is_some_and(|key| !key.is_hole(own));
        is_wrapped && round.opens && !rests(own) && self.refusals.may_open(id, now)
    }

    pub(super) fn is_to_renew(&self, id: BranchKeyId, key: &BranchKey) -> bool {
        let (own, context) = (self.parts.origin.region, self.encryption_context(id));
        let is_current = |wrapped: &[u8]| match self.parts.kms.sight(wrapped, &context) {
            Sight::Former => false,
            Sight::Named => true,
            Sight::Opens(material) => Key::from_bytes(*material.expose()).id() == id.0,
        };
        let here = key.wrapped.get(&own).filter(|_| !key.is_hole(own));
        here.is_some_and(|wrappings| !wrappings.values().any(|wrapped| is_current(wrapped)))
    }

    async fn do_task(&self, task: Task, round: &mut Round) -> Result<(), Undone> {
        let Task { key: id, region, renews } = task;
        let opened = round.open.take().filter(|(open, _)| *open == id).map(|(_, key)| key);
        let key = if let Some(key) = self.branches.held(id).or(opened) {
            key
        } else {
            let key = self.open_branch(id).await.map_err(Undone::Open)?;
            self.refusals.opened();
            Arc::new(key)
        };
        round.open = Some((id, Arc::clone(&key)));
        self.wrap_and_record(id, &key, region, renews).await
    }

    async fn wrap_and_record(
        &self,
        key: BranchKeyId,
        branch: &Key,
        region: RegionId,
        renews: bool,
    ) -> Result<(), Undone> {
        let (material, context) = (KeyMaterial::new(branch.expose()), self.encryption_context(key));
        let wrapped = self.parts.kms.wrap_key(region, &material, &context).await;
        let wrapped = wrapped.map_err(Undone::Wrap)?;
        self.refusals.wrapped(region);
        let wrapped = BranchKeyWrapped { key, region, wrapped };
        let command = if renews {
            RegistryCommand::RenewBranchKey(wrapped)
        } else {
            RegistryCommand::WrapBranchKey(wrapped)
        };
        let recorded = self.parts.records.administer(command).await;
        recorded.map(drop).map_err(|error| Undone::Record(error.to_string()))
    }
}

/// Whether a region is yet to be given a wrapping of a branch key that was made.
pub(super) fn is_hole(key: &BranchKey, region: RegionId) -> bool {
    key.created.is_some() && key.is_hole(region)
}
