//! Users, facts and checkpoints that the tests of the state share.

use crate::events::event::{Event, FieldChange, IdentityClaimed, Sealed, UserKeyCreated};
use crate::events::event::{UserRegistered, UsersLinked};
use crate::events::ids::{
    BlindIndex, BranchKeyId, CompanyId, DeploymentId, Digest, Fingerprint, IdentityKind, UserId,
    UserKeyId,
};
use crate::events::pair::Pair;
use crate::events::record::{Fact, LogPosition, Subject};
use crate::events::stamp::{EffectiveTime, EventRef, Incarnation, Origin, Revision, Stamp};

use super::checkpoint::{Checkpoint, Generation};

pub(super) const DEPLOYMENT: DeploymentId = DeploymentId([7; 16]);

pub(super) fn checkpoint(generation: u32) -> Checkpoint {
    Checkpoint {
        deployment: DEPLOYMENT,
        generation: Generation(generation),
        applied_below: LogPosition::new(3, 400),
        greatest: Revision::from_unix_ms(5),
    }
}

pub(super) fn user(number: u8) -> UserId {
    UserId::new(1_700_000_000_000 + u64::from(number), [number; 10])
}

pub(super) fn index(number: u8) -> BlindIndex {
    BlindIndex { kind: IdentityKind::Email, version: 1, mac: Digest([number; 32]) }
}

pub(super) fn company(name: &str) -> CompanyId {
    name.parse().unwrap()
}

pub(super) fn sealed(number: u64) -> Sealed {
    let byte = number.to_be_bytes()[7];
    Sealed { bytes: vec![byte; 96].into(), fingerprint: Fingerprint([byte; 16]) }
}

/// The fact that the `number`th event of the only origin is. Its position is its number.
pub(super) fn fact(user: UserId, number: u64, event: Event) -> (Fact, LogPosition) {
    let incarnation = Incarnation { counter: 1, tag: 1 };
    let (region, node) = ("eu".parse().unwrap(), "n1".parse().unwrap());
    let origin = Origin { region, node, incarnation };
    let revision = Revision::from_unix_ms(number);
    let effective = EffectiveTime::at(revision);
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&number.to_be_bytes());
    let fact = Fact {
        subject: Subject::User(user),
        register: event.register(),
        stamp: Stamp { effective, revision, origin, generation: 0 },
        digest: Digest(digest),
        reference: EventRef { origin, sequence: number },
        revision,
        idempotency: None,
        event: Some(event),
    };
    (fact, LogPosition::from_bits(number))
}

pub(super) fn registered() -> Event {
    let (company, country) = (company("shop"), "DE".parse().unwrap());
    Event::UserRegistered(UserRegistered { company, country })
}

pub(super) fn claimed(number: u8, verified: bool) -> Event {
    let (index, value) = (index(number), sealed(u64::from(number)));
    Event::IdentityClaimed(IdentityClaimed { index, verified, value, since: None })
}

pub(super) fn key_created(number: u8) -> Event {
    let (key, branch) = (UserKeyId([number; 8]), BranchKeyId([1; 16]));
    Event::UserKeyCreated(UserKeyCreated { key, branch, wrapped: vec![number; 60].into() })
}

pub(super) fn profile(number: u64) -> Event {
    let change = FieldChange { field: "name".parse().unwrap(), value: Some(sealed(number)) };
    Event::ProfileUpdated(vec![change])
}

pub(super) fn linked(one: UserId, other: UserId) -> Event {
    let pair = Pair::new(one, other).unwrap();
    Event::UsersLinked(UsersLinked { pair, automatic: false })
}
