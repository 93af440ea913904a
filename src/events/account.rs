//! What follows from states: one person's account over linked users, the credentials that count,
//! who owns an identity, what a reader has seen. Derived on every read, stored nowhere.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use super::cell::{Cell, Mark};
use super::event::Sealed;
use super::ids::{BlindIndex, CompanyId, FieldName, IdentityKind, Slot, UserId};
use super::stamp::{Origin, Revision, Stamp};
use super::state::{Credential, UserState};
use super::state_hash;

/// One user, or several linked ones, seen as one person. `S` is how whoever asks holds their
/// states.
#[derive(Debug)]
pub struct Account<'a, S = UserState> {
    users: &'a BTreeMap<UserId, S>,
}

// Derived, these would ask that a state can be copied, not a reference to it.
impl<S> Clone for Account<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Account<'_, S> {}

/// A credential that a login may try.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The user it belongs to: an upgrade is written there.
    pub user: UserId,
    /// Its place: none is the central one.
    pub slot: Option<Slot>,
    /// What names it exactly.
    pub mark: Mark,
    /// The credential.
    pub credential: &'a Credential,
}

/// One identity of an account.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    /// The user that claims it.
    pub user: UserId,
    /// How it is found.
    pub index: BlindIndex,
    /// Whether it is verified.
    pub verified: bool,
    /// Whether it is the main one of its kind: the verified one claimed first, else the one
    /// claimed first.
    pub main: bool,
    /// Its sealed value.
    pub value: &'a Sealed,
    since: (Revision, Origin),
}

impl<'a, S: Borrow<UserState>> Account<'a, S> {
    /// The account these users make up. They are connected by links, or one alone.
    pub const fn of(users: &'a BTreeMap<UserId, S>) -> Self {
        Self { users }
    }

    fn all(self) -> impl Iterator<Item = (UserId, &'a UserState)> + use<'a, S> {
        self.users.iter().map(|(id, state)| (*id, state.borrow()))
    }

    fn live(self) -> impl Iterator<Item = (UserId, &'a UserState)> + use<'a, S> {
        self.all().filter(|(_, state)| state.is_live())
    }

    /// The id the account answers with: the live user registered first.
    pub fn canonical(self) -> Option<UserId> {
        self.live()
            .min_by_key(|(id, state)| (state.registered.as_ref().map(|cell| cell.mark), *id))
            .map(|(id, _)| id)
    }

    /// The other live users' ids.
    pub fn linked_ids(self) -> Vec<UserId> {
        let canonical = self.canonical();
        self.live().map(|(id, _)| id).filter(|id| Some(*id) != canonical).collect()
    }

    /// When the account came into being.
    pub fn created(self) -> Option<Revision> {
        let registered = self.live().filter_map(|(_, state)| state.registered.as_ref());
        registered.map(|cell| cell.mark.stamp.revision).min()
    }

    /// Whether none of its users is shut out.
    pub fn is_active(self) -> bool {
        self.live().all(|(_, state)| state.status.is_active())
    }

    /// Whether one of its users is a company's customer.
    pub fn has_member_of(self, company: CompanyId) -> bool {
        self.live().any(|(_, state)| state.is_member(company))
    }

    /// The companies that one of its users is a customer of, some of them more than once.
    pub fn companies(self) -> impl Iterator<Item = CompanyId> + use<'a, S> {
        let members = self.live().flat_map(|(_, state)| state.memberships.iter());
        members.filter(|(_, cell)| cell.value).map(|(company, _)| *company)
    }

    /// Whether every live user was created by this company: what a policy `own` reaches.
    pub fn is_own_of(self, company: CompanyId) -> bool {
        self.live().all(|(_, state)| state.creator() == Some(company))
    }

    /// The profile: each field as the user who wrote it last has it, with that user.
    pub fn profile(self) -> BTreeMap<&'a FieldName, (UserId, &'a Sealed)> {
        let mut newest: BTreeMap<&FieldName, (UserId, &Cell<Option<Sealed>>)> = BTreeMap::new();
        for (user, state) in self.live() {
            for (field, cell) in &state.profile {
                let standing = newest.entry(field).or_insert((user, cell));
                if cell.mark > standing.1.mark {
                    *standing = (user, cell);
                }
            }
        }
        let present = |(user, cell): (UserId, &'a Cell<Option<Sealed>>)| {
            cell.value.as_ref().map(|value| (user, value))
        };
        newest.into_iter().filter_map(|(field, at)| Some((field, present(at)?))).collect()
    }

    /// Every identity once, in the order of kinds and claiming.
    pub fn identities(self) -> Vec<Identity<'a>> {
        let mut found: Vec<Identity<'a>> = Vec::new();
        for (user, state) in self.live() {
            for (index, claims) in state.identities() {
                let (Some(since), Some(value)) = (claims.since(), claims.value()) else { continue };
                let verified = claims.is_verified();
                found.push(Identity { user, index: *index, verified, main: false, value, since });
            }
        }
        // Of two users' claims of one identity the verified, then the older one speaks for it.
        let rank = |it: &Identity<'_>| (it.index.kind, !it.verified, it.since, it.user);
        found.sort_by_key(|it| (it.index, rank(it)));
        found.dedup_by_key(|it| it.index);
        found.sort_by_key(rank);
        let mut last: Option<IdentityKind> = None;
        for identity in &mut found {
            identity.main = last != Some(identity.index.kind);
            last = Some(identity.index.kind);
        }
        found
    }

    /// The credentials that count, a (company, country)'s own first.
    ///
    /// The newest by stamp of the secrets and the changes is the password; while there is none,
    /// every import works.
    pub fn credentials(self, own: Option<Slot>) -> Vec<Candidate<'a>> {
        let mut all = prevailing(self.live().flat_map(|(user, state)| counting(user, state)));
        all.sort_by_key(|it| (it.slot != own, it.slot.map(|slot| slot.company), it.mark));
        all
    }

    /// What a reader of the account has seen.
    pub fn seen(self) -> Seen {
        let each = self.all().map(|(id, state)| Seen::of(id, state));
        each.fold(Seen::NOTHING, Seen::and)
    }
}

/// A user's credentials that no unlinking put out of use.
///
/// An upgrade lies just above what it verified, and a floor falls on both: otherwise a re-hash
/// made elsewhere, or a moment later, would bring back a password that no longer counts.
fn counting(user: UserId, state: &UserState) -> impl Iterator<Item = Candidate<'_>> {
    let floor = state.credential_floor.map(Stamp::with_upgrades);
    let secret = state.secret.iter().map(|cell| (None, cell));
    let legacy = state.legacy.iter().map(|(slot, cell)| (Some(*slot), cell));
    let counting = secret.chain(legacy);
    let counting = counting.filter(move |(_, cell)| floor.is_none_or(|at| cell.mark.stamp > at));
    counting.map(move |(slot, cell)| Candidate {
        user,
        slot,
        mark: cell.mark,
        credential: &cell.value,
    })
}

/// The newest by stamp of the secrets and the changes alone, or all while there is none.
fn prevailing<'a>(candidates: impl Iterator<Item = Candidate<'a>>) -> Vec<Candidate<'a>> {
    let all: Vec<_> = candidates.collect();
    let password = all.iter().filter(|it| it.is_password()).max_by_key(|it| it.mark).copied();
    password.map_or(all, |password| vec![password])
}

/// Whether the password that was verified against this credential of a user is, for all that the
/// user's own state says, still a current one. A credential that was only upgraded since is.
pub(super) fn is_current(user: UserId, state: &UserState, verified: &Mark) -> bool {
    let current = prevailing(counting(user, state));
    current.iter().any(|it| it.mark.stamp.is_or_upgrades(verified.stamp))
}

impl Candidate<'_> {
    /// Whether this is a secret or a change, as opposed to an import.
    pub const fn is_password(&self) -> bool {
        self.slot.is_none() || self.mark.stamp.effective.is_change()
    }
}

/// What a reader has seen of an account: the greatest reading in it, which never goes back, and a
/// short digest of all its stamps, so that a late event with a lower stamp shows too. It is the
/// contract's opaque revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    greatest: Revision,
    digest: u32,
}

impl Seen {
    /// Nothing at all.
    pub const NOTHING: Self = Self { greatest: Revision::ZERO, digest: 0 };

    /// What a reader of one user has seen.
    pub fn of(user: UserId, state: &UserState) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(user.as_bytes());
        let greatest = state.greatest;
        state_hash::visit_user(state, |part| {
            part.feed(&mut hasher);
        });
        let digest = hasher.finalize().first_chunk().copied().map_or(0, u32::from_be_bytes);
        Self { greatest, digest }
    }

    /// What a reader of both has seen.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            greatest: self.greatest.max(other.greatest),
            digest: self.digest.wrapping_add(other.digest),
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:08x}", self.greatest, self.digest)
    }
}

impl FromStr for Seen {
    type Err = InvalidSeen;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (greatest, digest) = text.split_once('-').ok_or(InvalidSeen)?;
        let greatest = greatest.parse().map_err(|_| InvalidSeen)?;
        let digest = u32::from_str_radix(digest, 16).map_err(|_| InvalidSeen)?;
        let seen = Self { greatest, digest };
        // One text each: a radix parser also takes a sign, capitals and fewer digits.
        if seen.to_string() == text { Ok(seen) } else { Err(InvalidSeen) }
    }
}

/// A text that is no revision of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a revision that was given out")]
pub struct InvalidSeen;

/// What a user is to the company that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bond {
    /// Its customer, and registered by it: its policies `own` reach it.
    Own,
    /// Its customer, registered by another.
    Member,
    /// Nobody it knows.
    Stranger,
}

impl Bond {
    /// What this user is to a company.
    pub fn of(company: CompanyId, user: &UserState) -> Self {
        match (user.is_member(company), user.creator() == Some(company)) {
            (true, true) => Self::Own,
            (true, false) => Self::Member,
            (false, _) => Self::Stranger,
        }
    }
}

/// A user that claims an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claimant {
    /// The user.
    pub user: UserId,
    /// Whether its claim is verified.
    pub verified: bool,
    /// What it is to the company that asks.
    pub bond: Bond,
    /// When and where it was first claimed.
    pub since: (Revision, Origin),
}

impl Claimant {
    /// What a user is to a company as the claimant of an identity, if it is one.
    pub fn of(
        user: UserId,
        state: &UserState,
        index: BlindIndex,
        company: CompanyId,
    ) -> Option<Self> {
        let claims = state.claims.get(&index).filter(|_| state.is_live())?;
        let (verified, bond) = (claims.is_verified(), Bond::of(company, state));
        Some(Self { user, verified, bond, since: claims.since()? })
    }

    /// Whether it is the asking company's customer.
    pub fn is_member(&self) -> bool {
        self.bond != Bond::Stranger
    }

    /// Whether nobody else may claim the identity at the asking company: its claim is verified, or
    /// the company registered it. A customer who came with another's unverified word bars nobody.
    pub fn bars(&self) -> bool {
        self.verified || self.bond == Bond::Own
    }
}

/// Who owns an identity: verified first, then who claimed it first, then the lower id.
pub fn owner(claimants: &[Claimant]) -> Option<Claimant> {
    claimants.iter().min_by_key(|it| (!it.verified, it.since, it.user)).copied()
}

/// A company's customers among the claimants: verified ones, then those it registered, then those
/// who claimed it first.
fn members(claimants: &[Claimant]) -> Vec<Claimant> {
    let mut members: Vec<_> = claimants.iter().filter(|it| it.is_member()).copied().collect();
    members.sort_by_key(|it| (!it.verified, it.bond, it.since, it.user));
    members
}

/// Most customers with one identity whose credentials a login tries.
const TRIED_MAX: usize = 4;

/// Whose password a login by an identity may be, in the order they are tried: the company's own
/// customers and then a verified owner, or whoever owns it where none of them is a customer.
///
/// So nobody who claims somebody else's address first, and becomes a customer with it, keeps its
/// verified owner out; and nobody who only claims it gets in beside a customer.
pub fn tried(claimants: &[Claimant]) -> Vec<Claimant> {
    let mut tried = members(claimants);
    tried.truncate(TRIED_MAX);
    let owner = owner(claimants).filter(|it| !it.is_member() && (it.verified || tried.is_empty()));
    tried.extend(owner);
    tried
}

/// Whom a company means by an identity: its own customer among the claimants, else the owner.
pub fn meant(claimants: &[Claimant]) -> Option<Claimant> {
    members(claimants).first().copied().or_else(|| owner(claimants))
}
