//! The rules of a row of a bulk sync.
//!
//! Every part of a row is decided by itself: what is so already is unchanged, what lost against
//! something newer is older, the rest is recorded. A part without a time fills gaps only; one with
//! the company's time prevails over what is older. So the same rows in any order, any of them
//! twice, leave the same state.

use super::account::{Bond, Claimant};
use super::command::{AddLegacyHash, Caller, NewClaim, Outcome, Rejection};
use super::decide::{Deciding, Decision, UNCHANGED, require_few};
use super::event::{Draft, Event, FieldChange, UserRegistered};
use super::ids::{BlindIndex, CompanyId};
use super::policy::Policy;
use super::stamp::EffectiveTime;
use super::state::Claims;
use super::sync::{NewUser, Released, SyncRow};

const OLDER: Decision = Decision { drafts: Vec::new(), outcome: Outcome::Older };

/// What the parts of a row came to so far.
struct Parts {
    drafts: Vec<Draft>,
    outcome: Outcome,
}

impl Deciding<'_> {
    /// Decides a row.
    pub(super) fn sync(&self, row: SyncRow) -> Result<Decision, Rejection> {
        if self.state.erased.is_some() {
            return Err(Rejection::UserErased);
        }
        let is_new = row.create.is_some();
        let mut parts = Parts { drafts: Vec::new(), outcome: Outcome::Unchanged };
        match (row.create, &self.state.registered) {
            (Some(new), None) => parts.add(self.made(row.company, new)),
            (Some(_), Some(_)) => return Err(Rejection::IdentityTaken { by: self.user }),
            (None, None) => return Err(Rejection::UserNotFound),
            (None, Some(_)) => parts.add(self.join(row.company)),
        }
        let changed_at = row.changed_at_unix_ms;
        let mut claimed = Vec::new();
        for claim in row.claims {
            let index = claim.claim.index;
            // One identity in the place of another is one change: it does not come beside that one.
            let decided = if self.keeps_place_of(index, &row.releases, changed_at) {
                OLDER
            } else {
                self.sync_claim(claim, changed_at)?
            };
            if decided.outcome != Outcome::Older {
                claimed.push(index);
            }
            parts.add(self.allowed(is_new, Policy::Identity, decided)?);
        }
        let released = self.sync_releases(&row.releases, &claimed, changed_at)?;
        parts.add(self.allowed(is_new, Policy::Identity, released)?);
        if let Some(legacy) = row.legacy {
            let decided = self.sync_hash(legacy);
            parts.add(self.allowed(is_new, Policy::Password, decided)?);
        }
        let decided = self.sync_profile(row.profile, row.profile_changed_at_unix_ms)?;
        parts.add(self.allowed(is_new, Policy::Profile, decided)?);
        if let Some(active) = row.active {
            let decided =
                if active { self.sync_active(changed_at) } else { self.sync_disabled(changed_at) };
            parts.add(self.allowed(is_new, Policy::Status, decided)?);
        }
        Ok(Decision { drafts: parts.drafts, outcome: parts.outcome })
    }

    fn made(&self, company: CompanyId, new: NewUser) -> Decision {
        let registered = UserRegistered { company, country: new.country };
        let drafts = vec![
            self.now(Event::UserKeyCreated(new.key)),
            self.now(Event::UserRegistered(registered)),
            self.now(Event::CompanyJoined(company)),
        ];
        Decision { drafts, outcome: Outcome::Applied }
    }

    /// Refuses a part that would change what the company's policy does not reach. A new user is
    /// nobody's yet.
    fn allowed(
        &self,
        is_new: bool,
        policy: Policy,
        decided: Decision,
    ) -> Result<Decision, Rejection> {
        let Caller::Company(company, policies) = &self.context.caller else { return Ok(decided) };
        let own = self.state.creator() == Some(*company) && !self.context.rest.of_others;
        if is_new || decided.drafts.is_empty() || policies.reach(policy).covers(own) {
            return Ok(decided);
        }
        Err(Rejection::PolicyDenied { policy })
    }

    /// When a part counts as made: what has no time has the lowest.
    fn effective(&self, changed_at: Option<u64>) -> EffectiveTime {
        match changed_at {
            Some(unix_ms) => EffectiveTime::claimed(unix_ms, self.context.now),
            None => EffectiveTime::LOWEST,
        }
    }

    /// The same for identities, which a row without a time changes now.
    fn effective_identity(&self, changed_at: Option<u64>) -> EffectiveTime {
        let now = EffectiveTime::at(self.context.now);
        changed_at.map_or(now, |unix_ms| EffectiveTime::claimed(unix_ms, self.context.now))
    }

    fn sync_claim(&self, new: NewClaim, changed_at: Option<u64>) -> Result<Decision, Rejection> {
        let verified = new.claim.verified && self.verifies();
        let standing = self.state.claims.get(&new.claim.index);
        if let Some(live) = standing.filter(|claims| claims.is_live()) {
            if live.is_verified() || !verified {
                return Ok(UNCHANGED);
            }
        } else if let Some(released) = standing.and_then(|claims| claims.released) {
            // What the user gave up does not come back with an old list.
            let newer = changed_at.map(|_| self.effective_identity(changed_at));
            if newer.is_none_or(|effective| effective <= released.stamp.effective) {
                return Ok(OLDER);
            }
        }
        if let Some(by) = barring(&new.rivals, self.user) {
            return Err(Rejection::IdentityTaken { by });
        }
        let draft = self.draft(self.effective_identity(changed_at), self.claimed(new.claim));
        Ok(Decision { drafts: vec![draft], outcome: Outcome::Applied })
    }

    /// Whether an identity would take the place of one that the user got since.
    fn keeps_place_of(
        &self,
        by: BlindIndex,
        releases: &[Released],
        changed_at: Option<u64>,
    ) -> bool {
        let mut taken = releases.iter().filter(|released| released.by == Some(by));
        taken.any(|released| self.outlasts(released.index, changed_at))
    }

    /// Whether the user has an identity from no earlier than a row's time.
    fn outlasts(&self, index: BlindIndex, changed_at: Option<u64>) -> bool {
        let effective = self.effective_identity(changed_at);
        let claims = self.state.claims.get(&index).filter(|claims| claims.is_live());
        claims.is_some_and(|claims| newest(claims) >= Some(effective))
    }

    fn sync_releases(
        &self,
        releases: &[Released],
        claimed: &[BlindIndex],
        changed_at: Option<u64>,
    ) -> Result<Decision, Rejection> {
        let effective = self.effective_identity(changed_at);
        let (mut gone, mut decided) = (Vec::new(), UNCHANGED);
        for released in releases {
            if !self.has_live(&released.index) {
                continue;
            }
            let replaced = released.by.is_none_or(|by| claimed.contains(&by));
            if !replaced || self.outlasts(released.index, changed_at) {
                decided.outcome = decided.outcome.min(Outcome::Older);
                continue;
            }
            gone.push(released.index);
            decided.drafts.push(self.draft(effective, Event::IdentityReleased(released.index)));
            decided.outcome = Outcome::Applied;
        }
        let kept = self.state.identities().filter(|(index, _)| !gone.contains(index)).count();
        let new = claimed.iter().filter(|index| !self.has_live(index)).count();
        if !gone.is_empty() && kept + new == 0 {
            return Err(Rejection::LastIdentity);
        }
        Ok(decided)
    }

    fn has_live(&self, index: &BlindIndex) -> bool {
        self.state.claims.get(index).is_some_and(Claims::is_live)
    }

    /// Rows come again and in any order: of two passwords of one time that a company gives for one
    /// slot the one that stands, stays, as it does between slots.
    fn sync_hash(&self, added: AddLegacyHash) -> Decision {
        let effective = self.effective(added.changed_at_unix_ms);
        let has_rival = effective.is_change()
            && self.state.legacy.get(&added.slot).is_some_and(|cell| {
                cell.value.hash.fingerprint != added.hash.fingerprint
                    && cell.mark.stamp.effective == effective
            });
        if has_rival { OLDER } else { self.add_legacy_hash(added) }
    }

    fn sync_profile(
        &self,
        changes: Vec<FieldChange>,
        changed_at: Option<u64>,
    ) -> Result<Decision, Rejection> {
        let effective = self.effective(changed_at);
        let (mut applied, mut outcome) = (Vec::new(), Outcome::Unchanged);
        let mut fields = self.state.fields().count();
        for change in changes.into_iter().filter(|change| self.differs(change)) {
            let standing = self.state.profile.get(&change.field);
            if standing.is_some_and(|cell| cell.mark.stamp.effective >= effective) {
                outcome = outcome.min(Outcome::Older);
                continue;
            }
            let has_value = standing.is_some_and(|cell| cell.value.is_some());
            match (has_value, change.value.is_some()) {
                (false, true) => fields += 1,
                (true, false) => fields = fields.saturating_sub(1),
                _ => {}
            }
            outcome = Outcome::Applied;
            applied.push(change);
        }
        if applied.is_empty() {
            return Ok(Decision { drafts: Vec::new(), outcome });
        }
        require_few(fields)?;
        let drafts = vec![self.draft(effective, Event::ProfileUpdated(applied))];
        Ok(Decision { drafts, outcome })
    }

    /// Shuts the user out, unless it was let in again since. Without a time that is so wherever
    /// anything was ever said of it.
    fn sync_disabled(&self, changed_at: Option<u64>) -> Decision {
        let status = &self.state.status;
        if !status.is_active() {
            return UNCHANGED;
        }
        let lifted_since = match changed_at {
            Some(unix_ms) => status.lifted.values().any(|lifted| lifted.unix_ms() >= unix_ms),
            None => !status.lifted.is_empty(),
        };
        if lifted_since {
            return OLDER;
        }
        let drafts = vec![self.draft(self.effective(changed_at), Event::UserDisabled(()))];
        Decision { drafts, outcome: Outcome::Applied }
    }

    /// Lifts the disablings that are older than the row. A lifting names the greatest one of each
    /// origin, so of an origin only those before the first that stays can be lifted.
    fn sync_active(&self, changed_at: Option<u64>) -> Decision {
        let status = &self.state.status;
        if status.is_active() {
            return UNCHANGED;
        }
        let effective = self.effective(changed_at);
        let (mut lifts, mut stays) = (Vec::new(), Vec::new());
        for ((origin, revision), mark) in &status.disablings {
            if mark.stamp.effective >= effective {
                stays.push(*origin);
            } else if !stays.contains(origin) {
                lifts.retain(|(known, _)| known != origin);
                lifts.push((*origin, *revision));
            }
        }
        if lifts.is_empty() {
            return OLDER;
        }
        let outcome = if stays.is_empty() { Outcome::Applied } else { Outcome::Older };
        let drafts = vec![self.draft(effective, Event::UserEnabled(lifts))];
        Decision { drafts, outcome }
    }
}

impl Parts {
    /// A row is applied where any of its parts is, else older where any of them is.
    fn add(&mut self, decided: Decision) {
        self.drafts.extend(decided.drafts);
        self.outcome = self.outcome.min(decided.outcome);
    }
}

/// Another user that the company made with this identity. Others' users bar no row: whom they
/// claim, the company's customer may claim as well, and neither gets into the other's.
fn barring(rivals: &[Claimant], user: super::ids::UserId) -> Option<super::ids::UserId> {
    let own = rivals.iter().filter(|rival| rival.user != user && rival.bond == Bond::Own);
    own.min_by_key(|rival| rival.since).map(|rival| rival.user)
}

/// When the newest live claim counts as made.
fn newest(claims: &Claims) -> Option<EffectiveTime> {
    claims.live.keys().map(|mark| mark.stamp.effective).max()
}
