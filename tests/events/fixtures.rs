//! Values to build events from: small, readable, and the same in every run.

use jcas::events::command::{AddLegacyHash, NewClaim, Register, SetPassword};
use jcas::events::event::{
    Cause, Event, FieldChange, IdentityClaimed, LegacyHashAdded, PasswordSet, Sealed,
    UserKeyCreated, UserRegistered,
};
use jcas::events::ids::{
    BlindIndex, BranchKeyId, CompanyId, Country, DeploymentId, Digest, FieldName, Fingerprint,
    IdentityKind, Slot, UserId, UserKeyId,
};
use jcas::events::policy::{Policies, Reach};
use jcas::events::stamp::{Incarnation, Origin, Revision};

/// The deployment of all tests.
pub(crate) const DEPLOYMENT: DeploymentId = DeploymentId([0xd0; 16]);

/// The first life of a node, `region/node`.
pub(crate) fn origin(at: &str) -> Origin {
    life(at, 1)
}

/// A later life of a node.
pub(crate) fn life(at: &str, counter: u32) -> Origin {
    let (region, node) = at.split_once('/').unwrap();
    Origin {
        region: region.parse().unwrap(),
        node: node.parse().unwrap(),
        incarnation: Incarnation { counter, tag: 0x00c0_ffee },
    }
}

/// The reading at a millisecond.
pub(crate) const fn at(unix_ms: u64) -> Revision {
    Revision::from_unix_ms(unix_ms)
}

/// A user by a small number.
pub(crate) fn user(number: u8) -> UserId {
    UserId::new(1_000 + u64::from(number), [number; 10])
}

pub(crate) fn company(name: &str) -> CompanyId {
    name.parse().unwrap()
}

pub(crate) fn country(code: &str) -> Country {
    code.parse().unwrap()
}

pub(crate) fn field(name: &str) -> FieldName {
    name.parse().unwrap()
}

/// A slot written `company/COUNTRY`.
pub(crate) fn slot(text: &str) -> Slot {
    let (of, code) = text.split_once('/').unwrap();
    Slot { company: company(of), country: country(code) }
}

/// A sealed value that stands for `clear`: equal texts have equal fingerprints.
pub(crate) fn sealed(clear: &str) -> Sealed {
    let digest = jcas::events::codec::digest(clear.as_bytes()).0;
    let mut fingerprint = [0; 16];
    fingerprint.copy_from_slice(digest.split_at(16).0);
    Sealed { bytes: clear.as_bytes().into(), fingerprint: Fingerprint(fingerprint) }
}

/// The blind index of an identity: with an `@` an e-mail address, otherwise a phone number.
pub(crate) fn index(clear: &str) -> BlindIndex {
    let kind = if clear.contains('@') { IdentityKind::Email } else { IdentityKind::Phone };
    BlindIndex { kind, version: 1, mac: jcas::events::codec::digest(clear.as_bytes()) }
}

pub(crate) fn key(number: u8) -> UserKeyCreated {
    UserKeyCreated {
        key: UserKeyId([number; 8]),
        branch: BranchKeyId([7; 16]),
        wrapped: [number; 48].into(),
    }
}

pub(crate) fn claim(clear: &str, verified: bool) -> IdentityClaimed {
    IdentityClaimed { index: index(clear), verified, value: sealed(clear), since: None }
}

pub(crate) fn new_claim(clear: &str, verified: bool) -> NewClaim {
    NewClaim { claim: claim(clear, verified), rivals: Vec::new() }
}

pub(crate) fn change(name: &str, value: Option<&str>) -> FieldChange {
    FieldChange { field: field(name), value: value.map(sealed) }
}

pub(crate) fn set_password(clear: &str) -> SetPassword {
    SetPassword { secret: sealed(clear), proof: None }
}

/// A hash to add: with a time a change, without one an import.
pub(crate) fn legacy(at: &str, clear: &str, changed_at_unix_ms: Option<u64>) -> AddLegacyHash {
    AddLegacyHash { slot: slot(at), hash: sealed(clear), profile: None, changed_at_unix_ms }
}

pub(crate) fn register(of: &str, claims: Vec<NewClaim>) -> Register {
    Register {
        company: company(of),
        country: country("NG"),
        key: key(1),
        claims,
        secret: None,
        legacy: None,
        profile: Vec::new(),
    }
}

pub(crate) fn registered(of: &str) -> Event {
    Event::UserRegistered(UserRegistered { company: company(of), country: country("NG") })
}

pub(crate) fn joined(of: &str) -> Event {
    Event::CompanyJoined(company(of))
}

pub(crate) fn claimed(clear: &str, verified: bool) -> Event {
    Event::IdentityClaimed(claim(clear, verified))
}

pub(crate) fn released(clear: &str) -> Event {
    Event::IdentityReleased(index(clear))
}

pub(crate) fn password_set(clear: &str) -> Event {
    Event::PasswordSet(PasswordSet { secret: sealed(clear), upgrade: None })
}

pub(crate) fn legacy_added(at: &str, clear: &str) -> Event {
    let hash = LegacyHashAdded { slot: slot(at), hash: sealed(clear), profile: None };
    Event::LegacyHashAdded(hash)
}

pub(crate) fn profile_updated(changes: &[(&str, Option<&str>)]) -> Event {
    Event::ProfileUpdated(changes.iter().map(|(name, value)| change(name, *value)).collect())
}

/// A cause that can be recognised in a draft.
pub(crate) fn cause(of: &str) -> Cause {
    Cause { company: Some(company(of)), ..Cause::default() }
}

/// Policies that all reach `reach`.
pub(crate) fn policies(reach: Reach, verifies: bool) -> Policies {
    Policies {
        read: reach,
        password: reach,
        profile: reach,
        identity: reach,
        status: reach,
        link: reach,
        erase: reach,
        verifies,
    }
}

/// A digest that is distinct for distinct numbers.
pub(crate) fn digest(number: u64) -> Digest {
    jcas::events::codec::digest(&number.to_be_bytes())
}
