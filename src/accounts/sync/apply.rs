//! A row applied: sealed where it differs from what stands, and put to its user as one command.

use crate::accounts::Accounts;
use crate::accounts::Loaded;
use crate::accounts::caller::Caller;
use crate::accounts::error::AccountError;
use crate::accounts::legacy::{Admitted, GivenHash};
use crate::accounts::register::with_rivals;
use crate::accounts::vault::{Place, UserKeys};
use crate::actors::Failure;
use crate::actors::directory::Reserved;
use crate::actors::house::Asked;
use crate::events::command::{AddLegacyHash, Command, Context, NewClaim, Outcome, Rejection};
use crate::events::decide::decide;
use crate::events::event::FieldChange;
use crate::events::ids::{Country, Slot, UserId};
use crate::events::policy::Policy;
use crate::events::stamp::{EffectiveTime, Revision};
use crate::events::state::UserState;
use crate::events::sync::{NewUser, Released, SyncRow};

use super::row::{Fault, Member, Row, fault};
use super::target::{Stop, Target, nobody_yet};
use super::verdict::{Came, Verdict};

/// How often a row is looked at anew because somebody else was quicker.
const LOOKS_MAX: usize = 4;

/// For whom rows are applied, and how.
pub(super) struct Asker {
    pub(super) caller: Caller,
    pub(super) country: Country,
    /// When its rows were here as a whole, in milliseconds since 1970.
    pub(super) received_ms: u64,
    /// Nothing is recorded; it is said what would be.
    pub(super) dry_run: bool,
    /// Rows that the job applied since then may come again, and are told what they came to then.
    pub(super) again_since: Option<Revision>,
}

/// A row's parts, sealed, without those that are so already.
struct Sealed {
    identities: Vec<(usize, bool)>,
    legacy: Option<AddLegacyHash>,
    profile: Vec<FieldChange>,
    active: Option<bool>,
    releases: Vec<Released>,
}

impl Accounts {
    /// Applies a row. An error is about the node, not the row.
    pub(super) async fn apply(&self, asker: &Asker, row: &Row) -> Result<Came, AccountError> {
        let admitted = match self.admit_of(asker, row).await {
            Err(error) if is_of_row(&error) => {
                return Ok(Came::refused(Verdict::Invalid, fault(&error)));
            }
            admitted => admitted?,
        };
        for _ in 0..LOOKS_MAX {
            match self.look(asker, row, admitted.as_ref()).await {
                Ok(came) | Err(Stop::Came(came)) => return Ok(came),
                Err(Stop::Again) => {}
                Err(Stop::Failed(error)) => return Err(error),
            }
        }
        Ok(Came::refused(Verdict::Conflict, Fault::whole("identity_taken")))
    }

    async fn admit_of(&self, asker: &Asker, row: &Row) -> Result<Option<Admitted>, AccountError> {
        let Some(given) = &row.hash else { return Ok(None) };
        let GivenHash { hash, salt, profile, .. } = given;
        let (hash, salt, profile) = (hash.clone(), salt.clone(), profile.clone());
        let given = GivenHash { hash, salt, profile, changed_at: None };
        let slot = Slot { company: asker.caller.company, country: asker.country };
        let mut admitted = self.admit(slot, given).await?;
        admitted.changed_at_unix_ms = row.hash_changed_at;
        Ok(Some(admitted))
    }

    async fn look(
        &self,
        asker: &Asker,
        row: &Row,
        admitted: Option<&Admitted>,
    ) -> Result<Came, Stop> {
        match self.target(&asker.caller, row).await? {
            Target::New => self.create(asker, row, admitted).await,
            Target::Known { loaded, attaches } => {
                self.change(asker, row, admitted, &loaded, attaches).await
            }
        }
    }

    async fn create(
        &self,
        asker: &Asker,
        row: &Row,
        admitted: Option<&Admitted>,
    ) -> Result<Came, Stop> {
        let user = self.new_user_id()?;
        let (keys, key) = self.parts.vault.new_user_key(user).await?;
        let loaded = nobody_yet(user);
        let sealed = self.seal_row(asker, row, admitted, (user, &keys, &UserState::default()))?;
        let held = self.hold(asker, row, &sealed.identities).await?;
        // Somebody may have come with the identity since it was looked for.
        if let Some((identity, verified)) = row.identities().next() {
            let now = held.iter().find(|held| held.index() == identity.index);
            let claimants = now.map(|held| held.claimants.clone()).unwrap_or_default();
            let found = self.among(&asker.caller, row, verified, claimants).await?;
            if found.user().is_some() {
                return Err(Stop::Again);
            }
        }
        let new = NewUser { country: asker.country, key };
        let sync = self.command(asker, row, sealed, (user, &keys), &held, Some(new))?;
        let (_, revision) = self.submit(asker, row, &loaded, sync, &held).await?;
        drop(held);
        let (user, revision) =
            if asker.dry_run { (None, None) } else { (Some(user), Some(revision)) };
        Ok(Came { verdict: Verdict::Created, user, revision, fault: None })
    }

    async fn change(
        &self,
        asker: &Asker,
        row: &Row,
        admitted: Option<&Admitted>,
        loaded: &Loaded,
        attaches: bool,
    ) -> Result<Came, Stop> {
        let user = loaded.requested;
        let Some(state) = loaded.user() else { return Err(Stop::Again) };
        let keys = self.parts.vault.keys_of(user).await?;
        let sealed = self.seal_row(asker, row, admitted, (user, &keys, state))?;
        let revision = loaded.account().seen().to_string();
        let came = |verdict, revision| {
            Ok(Came { verdict, user: Some(user), revision: Some(revision), fault: None })
        };
        if sealed.is_empty() && !attaches {
            return came(asker.told_again(state), revision);
        }
        let held = self.hold(asker, row, &sealed.identities).await?;
        let sync = self.command(asker, row, sealed, (user, &keys), &held, None)?;
        let (outcome, revision) = self.submit(asker, row, loaded, sync, &held).await?;
        drop(held);
        let verdict = match outcome {
            _ if attaches => Verdict::Linked,
            Outcome::Applied => Verdict::Applied,
            Outcome::Older => Verdict::Older,
            Outcome::Unchanged => asker.told_again(state),
        };
        came(verdict, revision)
    }

    /// Seals what differs from what stands.
    fn seal_row(
        &self,
        asker: &Asker,
        row: &Row,
        admitted: Option<&Admitted>,
        (user, keys, state): (UserId, &UserKeys, &UserState),
    ) -> Result<Sealed, AccountError> {
        let verifies = asker.caller.policies.verifies;
        let vault = &self.parts.vault;
        let mut profile = Vec::with_capacity(row.profile.len());
        for (field, clear) in &row.profile {
            let standing = state.profile.get(field).and_then(|cell| cell.value.as_ref());
            let place = Place::Field(field.as_str());
            let value = match (clear, standing) {
                (None, None) => continue,
                (None, Some(_)) => None,
                (Some(clear), Some(standing))
                    if vault.fingerprint(keys, place, clear)? == standing.fingerprint =>
                {
                    continue;
                }
                (Some(clear), _) => Some(vault.seal(user, keys, place, clear)?),
            };
            profile.push(FieldChange { field: field.clone(), value });
        }
        let legacy = match admitted {
            Some(admitted) if !self.has_hash(admitted, row.hash_is_dated, keys, state)? => {
                Some(self.seal_legacy(user, keys, admitted)?)
            }
            _ => None,
        };
        let is_settled = |index, verified: bool| {
            let live = state.claims.get(index).filter(|claims| claims.is_live());
            live.is_some_and(|claims| claims.is_verified() || !(verified && verifies))
        };
        let identities = row.identities().enumerate().filter_map(|(place, (it, verified))| {
            (!is_settled(&it.index, verified)).then_some((place, verified))
        });
        let active =
            row.active.filter(|active| *active != state.status.is_active() || !state.is_live());
        let releases = row.releases(state);
        Ok(Sealed { identities: identities.collect(), legacy, profile, active, releases })
    }

    /// Whether a hash stands already, and from no earlier time. A row's own time says when anything
    /// of it changed: it makes no new password of the hash that the company brought before.
    fn has_hash(
        &self,
        admitted: &Admitted,
        is_dated: bool,
        keys: &UserKeys,
        state: &UserState,
    ) -> Result<bool, AccountError> {
        let Some(standing) = state.legacy.get(&admitted.slot) else { return Ok(false) };
        let place = admitted.slot.to_string();
        let clear = admitted.clear()?;
        let mark = self.parts.vault.fingerprint(keys, Place::Legacy(&place), &clear)?;
        let given = admitted.changed_at_unix_ms.map_or(EffectiveTime::LOWEST, |unix_ms| {
            EffectiveTime::claimed(unix_ms, Revision::from_bits(u64::MAX))
        });
        let standing_time = standing.mark.stamp.effective;
        Ok(standing.value.hash.fingerprint == mark && (!is_dated || standing_time >= given))
    }

    /// Holds the identities that are claimed.
    async fn hold(
        &self,
        asker: &Asker,
        row: &Row,
        claimed: &[(usize, bool)],
    ) -> Result<Vec<Reserved>, AccountError> {
        let mut indexes: Vec<_> = row
            .identities()
            .enumerate()
            .filter(|(place, _)| claimed.iter().any(|(claimed, _)| claimed == place))
            .map(|(_, (identity, _))| identity.index)
            .collect();
        indexes.sort_unstable();
        let mut held = Vec::with_capacity(indexes.len());
        for index in indexes {
            held.push(self.parts.house.reserve(index, asker.caller.company).await?);
        }
        Ok(held)
    }

    fn command(
        &self,
        asker: &Asker,
        row: &Row,
        sealed: Sealed,
        (user, keys): (UserId, &UserKeys),
        held: &[Reserved],
        create: Option<NewUser>,
    ) -> Result<SyncRow, AccountError> {
        let mut claims = Vec::with_capacity(sealed.identities.len());
        for (place, verified) in &sealed.identities {
            let identity = row.identities().nth(*place).map(|(identity, _)| identity);
            let Some(identity) = identity else { continue };
            claims.push(self.seal_claim(user, keys, identity, *verified)?);
        }
        let mut claims: Vec<NewClaim> = with_rivals(claims, held);
        // A claim that only says "unverified" of what stands is no change; the rules know.
        claims.sort_by_key(|claim| claim.claim.index);
        Ok(SyncRow {
            company: asker.caller.company,
            create,
            claims,
            releases: sealed.releases,
            legacy: sealed.legacy,
            profile: sealed.profile,
            profile_changed_at_unix_ms: row.profile_changed_at,
            active: sealed.active,
            changed_at_unix_ms: row.changed_at,
        })
    }

    /// Puts a row to its user, or in a dry run only to the rules. Comes back with the revision that
    /// is seen then.
    async fn submit(
        &self,
        asker: &Asker,
        row: &Row,
        loaded: &Loaded,
        sync: SyncRow,
        held: &[Reserved],
    ) -> Result<(Outcome, String), Stop> {
        let user = loaded.requested;
        let (caller, rest) = (asker.caller.as_company(), loaded.rest_of(user));
        let cause = asker.caller.cause.clone();
        let command = Command::Sync(Box::new(sync));
        if asker.dry_run {
            let now = Revision::from_unix_ms(self.parts.clock.unix_ms());
            let context = Context { now, caller, cause, if_seen: None, rest };
            let nobody = UserState::default();
            let decided = decide(loaded.user().unwrap_or(&nobody), user, command, &context);
            let decided = decided.map_err(|rejection| refused(rejection, row, held))?;
            return Ok((decided.outcome, loaded.account().seen().to_string()));
        }
        let ask = Asked { command, caller, cause, if_seen: None, rest };
        match self.parts.house.ask(user, ask).await {
            Ok(answer) => Ok((answer.outcome, answer.seen.and(rest.seen).to_string())),
            Err(Failure::Rejected(rejection)) => Err(refused(rejection, row, held)),
            Err(Failure::Unavailable(unavailable)) => Err(unavailable.into()),
        }
    }
}

impl Sealed {
    const fn is_empty(&self) -> bool {
        self.identities.is_empty()
            && self.legacy.is_none()
            && self.profile.is_empty()
            && self.active.is_none()
            && self.releases.is_empty()
    }
}

impl Asker {
    /// What a row that changes nothing came to: where the job was interrupted after it applied the
    /// row and before it noted that, the verdict is what it was then.
    fn told_again(&self, state: &UserState) -> Verdict {
        let Some(since) = self.again_since else { return Verdict::Unchanged };
        let company = self.caller.company;
        let registered = state.registered.as_ref().map(|cell| cell.mark.stamp.revision);
        let joined = state.memberships.get(&company).map(|cell| cell.mark.stamp.revision);
        if state.creator() == Some(company) && registered >= Some(since) {
            Verdict::Created
        } else if joined >= Some(since) {
            Verdict::Linked
        } else if state.greatest >= since {
            Verdict::Applied
        } else {
            Verdict::Unchanged
        }
    }
}

/// Whether an error is about the row and will be the same whenever it is tried.
const fn is_of_row(error: &AccountError) -> bool {
    matches!(
        error,
        AccountError::InvalidFields(_)
            | AccountError::PhoneCountryRequired
            | AccountError::UnsupportedHash(_)
            | AccountError::HashCostOutOfBounds
    )
}

/// What a rejection of the rules is to a row.
fn refused(rejection: Rejection, row: &Row, held: &[Reserved]) -> Stop {
    match rejection {
        Rejection::IdentityTaken { by } => {
            let is_theirs = |held: &&Reserved| held.claimants.iter().any(|it| it.user == by);
            let kind = held.iter().find(is_theirs).map(|held| held.index().kind);
            let fault = match kind {
                Some(kind) => Fault::new("identity_taken", kind.as_str()),
                None => Fault::whole("identity_taken"),
            };
            let came = Came::refused(Verdict::Conflict, fault);
            Stop::Came(Came { user: Some(by), ..came })
        }
        Rejection::LastIdentity => {
            let field = if matches!(row.email, Member::Null) { "email" } else { "phone" };
            Stop::Came(Came::refused(Verdict::Conflict, Fault::new("last_identity", field)))
        }
        Rejection::PolicyDenied { policy } => {
            let field = match policy {
                Policy::Password => "legacy_hash",
                Policy::Profile => "profile",
                Policy::Status => "status",
                _ => "email",
            };
            Stop::invalid(Fault::new("policy_denied", field))
        }
        Rejection::TooManyFields { .. } => Stop::invalid(Fault::new("too_many", "profile")),
        Rejection::UserErased | Rejection::UserNotFound => Stop::Again,
        _ => Stop::invalid(Fault::whole("invalid")),
    }
}
