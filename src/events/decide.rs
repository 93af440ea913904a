//! The rules: from a state and a command to events or a rejection.
//!
//! `decide` applies the policies and writes what it concluded into the events, so that the fold
//! needs neither. It is given everything as values and is total: same inputs, same answer.

use std::collections::{BTreeMap, BTreeSet};

use super::account::{Claimant, Seen, is_current};
use super::cell::Mark;
use super::command::{
    AddLegacyHash, Caller, Command, Context, NewClaim, Outcome, Proof, Register, Rejection,
    SetPassword, UpgradePassword,
};
use super::event::{
    Draft, Event, FieldChange, IdentityClaimed, LegacyHashAdded, PasswordSet, Upgrade,
    UserRegistered,
};
use super::ids::{BlindIndex, CompanyId, Slot, UserId};
use super::policy::{Policies, Policy, Reach};
use super::record::Subject;
use super::stamp::EffectiveTime;
use super::state::UserState;

/// Most fields of a profile.
pub const PROFILE_FIELDS_MAX: usize = 64;

/// What was decided: what to record, in this order, and what to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What to record, all in one commit frame.
    pub drafts: Vec<Draft>,
    /// What to answer once it is durable.
    pub outcome: Outcome,
}

/// Decides one command on one user.
pub fn decide(
    state: &UserState,
    user: UserId,
    command: Command,
    context: &Context,
) -> Result<Decision, Rejection> {
    let deciding = Deciding { state, user, context };
    if let Command::Register(register) = command {
        return deciding.register(register);
    }
    if let Command::Sync(row) = command {
        return deciding.sync(*row);
    }
    match command {
        // What is erased stays so, and only then is there something to confirm.
        Command::Erase if state.erased.is_some() => return Ok(UNCHANGED),
        // A tombstone that is said again may come before what it is of.
        Command::Erase if context.caller == Caller::System => {}
        Command::ConfirmErasure => return deciding.confirm_erasure(),
        _ => deciding.require_user()?,
    }
    // The revision is told to nobody whom the policies keep out.
    deciding.require_policy(&command)?;
    deciding.require_seen()?;
    match command {
        Command::Register(_) | Command::ConfirmErasure | Command::Sync(_) => {
            Err(Rejection::UserNotFound)
        }
        Command::Join(company) => Ok(deciding.join(company)),
        Command::UpdateProfile(changes) => deciding.update_profile(changes),
        Command::SetPassword(set) => deciding.set_password(set),
        Command::UpgradePassword(upgrade) => Ok(deciding.upgrade_password(upgrade)),
        Command::AddLegacyHash(added) => Ok(deciding.add_legacy_hash(added)),
        Command::ClaimIdentity(claim) => deciding.claim_identity(claim),
        Command::ReleaseIdentity(index) => deciding.release_identity(index),
        Command::Disable => Ok(deciding.disable()),
        Command::Enable => Ok(deciding.enable()),
        Command::Leave(company) => Ok(deciding.leave(company)),
        Command::Erase => deciding.erase(),
    }
}

pub(super) struct Deciding<'a> {
    pub(super) state: &'a UserState,
    pub(super) user: UserId,
    pub(super) context: &'a Context,
}

pub(super) const UNCHANGED: Decision = Decision { drafts: Vec::new(), outcome: Outcome::Unchanged };

impl Deciding<'_> {
    fn require_user(&self) -> Result<(), Rejection> {
        match (&self.state.erased, &self.state.registered) {
            (Some(_), _) => Err(Rejection::UserErased),
            (None, None) => Err(Rejection::UserNotFound),
            (None, Some(_)) => Ok(()),
        }
    }

    fn require_seen(&self) -> Result<(), Rejection> {
        let Some(expected) = self.context.if_seen else { return Ok(()) };
        let current = Seen::of(self.user, self.state).and(self.context.rest.seen);
        if expected == current { Ok(()) } else { Err(Rejection::RevisionMismatch { current }) }
    }

    /// Refuses what the company's policy does not reach.
    fn require_policy(&self, command: &Command) -> Result<(), Rejection> {
        let Caller::Company(company, policies) = &self.context.caller else { return Ok(()) };
        let own = self.state.creator() == Some(*company) && !self.context.rest.of_others;
        match command.policy().filter(|policy| !policies.reach(*policy).covers(own)) {
            Some(policy) => Err(Rejection::PolicyDenied { policy }),
            None => Ok(()),
        }
    }

    /// Whether the caller's word that an identity is verified counts.
    pub(super) fn verifies(&self) -> bool {
        match &self.context.caller {
            Caller::Company(_, policies) => policies.verifies,
            Caller::Operator | Caller::System => true,
        }
    }

    pub(super) fn draft(&self, effective: EffectiveTime, event: Event) -> Draft {
        Draft {
            subject: Subject::User(self.user),
            revision: self.context.now,
            effective,
            cause: self.context.cause.clone(),
            event,
        }
    }

    /// What the caller does now counts from now.
    pub(super) fn now(&self, event: Event) -> Draft {
        self.draft(EffectiveTime::at(self.context.now), event)
    }

    fn applied(drafts: Vec<Draft>) -> Decision {
        Decision { drafts, outcome: Outcome::Applied }
    }

    fn register(&self, register: Register) -> Result<Decision, Rejection> {
        if self.state.erased.is_some() {
            return Err(Rejection::UserErased);
        }
        if self.state.registered.is_some() {
            return Err(Rejection::IdentityTaken { by: self.user });
        }
        for claim in &register.claims {
            self.require_free(&claim.rivals)?;
        }
        require_few(register.profile.len())?;
        let registered = UserRegistered { company: register.company, country: register.country };
        let mut drafts = vec![
            self.now(Event::UserKeyCreated(register.key)),
            self.now(Event::UserRegistered(registered)),
            self.now(Event::CompanyJoined(register.company)),
        ];
        let claims = register.claims.into_iter();
        drafts.extend(claims.map(|claim| self.now(self.claimed(claim.claim))));
        if let Some(secret) = register.secret {
            drafts.push(self.now(Event::PasswordSet(PasswordSet { secret, upgrade: None })));
        }
        if let Some(legacy) = register.legacy {
            drafts.push(self.legacy_draft(legacy));
        }
        if !register.profile.is_empty() {
            drafts.push(self.now(Event::ProfileUpdated(register.profile)));
        }
        Ok(Self::applied(drafts))
    }

    /// An identity is free unless a verified owner has it, or somebody the company registered.
    fn require_free(&self, rivals: &[Claimant]) -> Result<(), Rejection> {
        let others = rivals.iter().filter(|rival| rival.user != self.user);
        match others.filter(|rival| rival.bars()).min_by_key(|it| it.since) {
            Some(rival) => Err(Rejection::IdentityTaken { by: rival.user }),
            None => Ok(()),
        }
    }

    pub(super) fn claimed(&self, claim: IdentityClaimed) -> Event {
        let verified = claim.verified && self.verifies();
        Event::IdentityClaimed(IdentityClaimed { verified, ..claim })
    }

    pub(super) fn join(&self, company: CompanyId) -> Decision {
        if self.state.is_member(company) {
            return UNCHANGED;
        }
        Self::applied(vec![self.now(Event::CompanyJoined(company))])
    }

    fn update_profile(&self, changes: Vec<FieldChange>) -> Result<Decision, Rejection> {
        let changes: Vec<_> = changes.into_iter().filter(|change| self.differs(change)).collect();
        if changes.is_empty() {
            return Ok(UNCHANGED);
        }
        let mut fields: BTreeSet<_> = self.state.fields().map(|(field, _)| field).collect();
        // Backwards, since of a field that is named twice the first change prevails.
        for change in changes.iter().rev() {
            match change.value {
                Some(_) => fields.insert(&change.field),
                None => fields.remove(&change.field),
            };
        }
        require_few(fields.len())?;
        Ok(Self::applied(vec![self.now(Event::ProfileUpdated(changes))]))
    }

    pub(super) fn differs(&self, change: &FieldChange) -> bool {
        let standing = self.state.profile.get(&change.field).and_then(|cell| cell.value.as_ref());
        match (standing, &change.value) {
            (None, None) => false,
            (Some(old), Some(new)) => old.fingerprint != new.fingerprint,
            _ => true,
        }
    }

    fn set_password(&self, set: SetPassword) -> Result<Decision, Rejection> {
        if let Some(proof) = set.proof {
            self.require_standing(proof)?;
        }
        let set = PasswordSet { secret: set.secret, upgrade: None };
        Ok(Self::applied(vec![self.now(Event::PasswordSet(set))]))
    }

    /// The password that was verified must still be the current one. One of another user of the
    /// account is not seen here: it was checked when the password was.
    fn require_standing(&self, proof: Proof) -> Result<(), Rejection> {
        if proof.user != self.user || is_current(self.user, self.state, &proof.mark) {
            Ok(())
        } else {
            Err(Rejection::ProofOutdated)
        }
    }

    /// An upgrade of what is no longer there comes too late and says nothing.
    fn upgrade_password(&self, upgrade: UpgradePassword) -> Decision {
        let standing = match upgrade.slot {
            None => self.state.secret.as_ref(),
            Some(slot) => self.state.legacy.get(&slot),
        };
        let stands = standing.is_some_and(|cell| cell.mark == upgrade.verified);
        let prevails =
            |cell: &super::cell::Cell<_>| upgrade.verified.stamp.upgraded() > cell.mark.stamp;
        if !stands || !self.state.secret.as_ref().is_none_or(prevails) {
            return Decision { drafts: Vec::new(), outcome: Outcome::Older };
        }
        let from = Upgrade { verified: upgrade.verified.stamp, lineage: upgrade.lineage };
        let set = PasswordSet { secret: upgrade.secret, upgrade: Some(from) };
        Self::applied(vec![self.draft(upgrade.verified.stamp.effective, Event::PasswordSet(set))])
    }

    pub(super) fn add_legacy_hash(&self, added: AddLegacyHash) -> Decision {
        let (slot, fingerprint) = (added.slot, added.hash.fingerprint);
        let draft = self.legacy_draft(added);
        let standing = self.state.legacy.get(&slot);
        let same = standing.filter(|cell| cell.value.hash.fingerprint == fingerprint);
        if same.is_some_and(|cell| cell.mark.stamp.effective >= draft.effective) {
            return UNCHANGED;
        }
        let is_older = standing.is_some_and(|cell| cell.mark.stamp.effective > draft.effective);
        if is_older || self.has_rival_beside(slot, draft.effective) {
            return Decision { drafts: Vec::new(), outcome: Outcome::Older };
        }
        let outcome = if self.password_is_newer_than(draft.effective) {
            Outcome::Older
        } else {
            Outcome::Applied
        };
        Decision { drafts: vec![draft], outcome }
    }

    /// Whether another company's change, or the secret, counts as made at the very same time.
    /// Nothing tells such passwords apart but who came last: the one that stands, stays, or the
    /// same time once more would displace it. What is in the slot itself, its company may replace,
    /// and so what was made of it at a login.
    fn has_rival_beside(&self, slot: Slot, effective: EffectiveTime) -> bool {
        let own = self.state.legacy.get(&slot).map(|cell| cell.mark.stamp);
        let others = self.state.legacy.iter().filter(|(other, _)| **other != slot);
        let secret = self.state.secret.iter().map(|cell| cell.mark.stamp);
        let secret = secret.filter(|secret| !own.is_some_and(|own| secret.is_or_upgrades(own)));
        let mut rivals = others.map(|(_, cell)| cell.mark.stamp).chain(secret);
        effective.is_change() && rivals.any(|rival| rival.effective == effective)
    }

    /// Whether the password is a secret or a change that prevails over something made then.
    fn password_is_newer_than(&self, effective: EffectiveTime) -> bool {
        let secret = self.state.secret.iter().map(|cell| &cell.mark);
        let changes = self.state.legacy.values().map(|cell| &cell.mark);
        let changes = changes.filter(|mark| mark.stamp.effective.is_change());
        let newest: Option<&Mark> = secret.chain(changes).max();
        newest.is_some_and(|mark| !effective.is_change() || mark.stamp.effective > effective)
    }

    pub(super) fn legacy_draft(&self, added: AddLegacyHash) -> Draft {
        let effective = match added.changed_at_unix_ms {
            Some(unix_ms) => EffectiveTime::claimed(unix_ms, self.context.now),
            None => EffectiveTime::LOWEST,
        };
        let AddLegacyHash { slot, hash, profile, .. } = added;
        self.draft(effective, Event::LegacyHashAdded(LegacyHashAdded { slot, hash, profile }))
    }

    fn claim_identity(&self, new: NewClaim) -> Result<Decision, Rejection> {
        let verified = new.claim.verified && self.verifies();
        let standing = self.state.claims.get(&new.claim.index).filter(|claims| claims.is_live());
        if standing.is_some_and(|claims| claims.is_verified() || !verified) {
            return Ok(UNCHANGED);
        }
        self.require_free(&new.rivals)?;
        Ok(Self::applied(vec![self.now(self.claimed(new.claim))]))
    }

    fn release_identity(&self, index: BlindIndex) -> Result<Decision, Rejection> {
        if !self.state.claims.get(&index).is_some_and(super::state::Claims::is_live) {
            return Err(Rejection::IdentityNotFound);
        }
        if self.state.identities().count() == 1 {
            return Err(Rejection::LastIdentity);
        }
        Ok(Self::applied(vec![self.now(Event::IdentityReleased(index))]))
    }

    fn leave(&self, company: CompanyId) -> Decision {
        if !self.state.is_member(company) {
            return UNCHANGED;
        }
        Self::applied(vec![self.now(Event::CompanyLeft(company))])
    }

    fn erase(&self) -> Result<Decision, Rejection> {
        if let Caller::Company(company, policies) = &self.context.caller {
            self.require_erasable(*company, *policies)?;
        }
        Ok(Self::applied(vec![self.now(Event::UserErased(()))]))
    }

    /// A company that may erase its own users erases those that nobody else has. A customer that
    /// others have too it can only let go.
    fn require_erasable(&self, company: CompanyId, policies: Policies) -> Result<(), Rejection> {
        let policy = Policy::Erase;
        let reach = policies.reach(policy);
        let own = self.state.creator() == Some(company) && !self.context.rest.of_others;
        let mut members = self.state.memberships.iter().filter(|(_, cell)| cell.value);
        let is_others = members.any(|(member, _)| *member != company);
        match reach {
            Reach::All => Ok(()),
            Reach::Own if own && !is_others => Ok(()),
            Reach::Own if own || self.state.is_member(company) => Err(Rejection::LinkedElsewhere),
            Reach::Own | Reach::Off => Err(Rejection::PolicyDenied { policy }),
        }
    }

    fn confirm_erasure(&self) -> Result<Decision, Rejection> {
        if self.state.erased.is_none() {
            return Err(Rejection::UserNotFound);
        }
        Ok(Self::applied(vec![self.now(Event::ErasureConfirmed(()))]))
    }

    fn disable(&self) -> Decision {
        if !self.state.status.is_active() {
            return UNCHANGED;
        }
        Self::applied(vec![self.now(Event::UserDisabled(()))])
    }

    fn enable(&self) -> Decision {
        if self.state.status.is_active() {
            return UNCHANGED;
        }
        let mut seen = BTreeMap::new();
        for (origin, revision) in self.state.status.disablings.keys() {
            seen.insert(*origin, *revision);
        }
        Self::applied(vec![self.now(Event::UserEnabled(seen.into_iter().collect()))])
    }
}

pub(super) const fn require_few(fields: usize) -> Result<(), Rejection> {
    if fields > PROFILE_FIELDS_MAX {
        return Err(Rejection::TooManyFields { max: PROFILE_FIELDS_MAX });
    }
    Ok(())
}
