//! The record: one event as it is stored and sent, a header and a body.
//!
//! The chain runs over headers, and a header holds the body's digest rather than the body. So a
//! body can be blanked (erased, redacted) while chain, seals and state hash stay valid. Nothing
//! personal is ever in a header.

use serde::{Deserialize, Serialize};

use super::event::{Cause, Draft, Event, EventKind};
use super::ids::{
    ApiKeyId, BranchKeyId, CompanyId, Country, DeploymentId, Digest, KeyedDigest, Slot, UserId,
    UserKeyId,
};
use super::pair::Pair;
use super::stamp::{EffectiveTime, EventRef, Origin, Revision, Stamp};
use super::wire::{Unknown, Wire};

/// Whom an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub enum Subject {
    /// One user.
    User(UserId),
    /// Two users, for what is between them.
    Pair(Pair),
    /// A company.
    Company(CompanyId),
    /// The deployment itself.
    Deployment,
    /// Something a newer version knows.
    Other(Unknown),
}

/// Which part of the subject's state an event writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub enum Register {
    /// Who created the user, where and when.
    Registration,
    /// Disablings and what lifted them.
    Status,
    /// The central credential.
    Secret,
    /// A company's credential.
    Legacy(Slot),
    /// Claims and releases of identities; which one is in the body only.
    Identity,
    /// Profile fields; which ones is in the body only.
    Profile,
    /// Whether the user is a company's customer.
    Membership(CompanyId),
    /// One of the user's keys.
    UserKey(UserKeyId),
    /// Links of the user.
    Link,
    /// Whether the user is erased.
    Erasure,
    /// Which nodes hold nothing any more of an erased user. It writes no state.
    ErasureConfirmed,
    /// A company's countries and signing.
    Company,
    /// A company's policies.
    Policy,
    /// One API key.
    ApiKey(ApiKeyId),
    /// A country's hash profiles of a company.
    HashProfile(Country),
    /// A node's lives.
    Life,
    /// One branch key.
    BranchKey(BranchKeyId),
    /// Which lives are cut off.
    Trust,
    /// Something a newer version knows.
    Other(Unknown),
}

/// Everything about an event but its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The deployment.
    pub deployment: DeploymentId,
    /// The life that recorded it.
    pub origin: Origin,
    /// Its gap-free number in that life, from 1.
    pub sequence: u64,
    /// Digest of the header before it in that life; zero for the first.
    pub previous: Digest,
    /// Whom it is about.
    pub subject: Subject,
    /// Which part of the state it writes.
    pub register: Register,
    /// When it was recorded.
    pub revision: Revision,
    /// When it counts as made.
    pub effective: EffectiveTime,
    /// Who asked.
    pub cause: Cause,
    /// What kind of event the body holds.
    pub kind: EventKind,
    /// Version of that kind's body.
    pub schema: u16,
    /// Digest of the body, which starts with a nonce: without the body it says nothing.
    pub body: Digest,
}

impl Header {
    /// Where the event stands.
    pub const fn reference(&self) -> EventRef {
        EventRef { origin: self.origin, sequence: self.sequence }
    }
}

/// An event as it is stored: the exact bytes of its header, and its body unless that was blanked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The header's bytes: what the chain is over.
    pub header: Box<[u8]>,
    /// The body's bytes, nonce first; none when blanked.
    pub body: Option<Box<[u8]>>,
}

/// An event as the fold takes it: what `evolve` may look at, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// Whom it is about.
    pub subject: Subject,
    /// Which part of the state it writes.
    pub register: Register,
    /// What decides between it and rivals.
    pub stamp: Stamp,
    /// The body's digest: the last word between equal stamps, and what the state hash is over.
    pub digest: Digest,
    /// Where it stands.
    pub reference: EventRef,
    /// When it was recorded.
    pub revision: Revision,
    /// The idempotency key it was asked with: for the index of repeats, no register has it.
    pub idempotency: Option<KeyedDigest>,
    /// What happened; none when the body was blanked or the kind is a newer version's.
    pub event: Option<Event>,
}

impl Fact {
    /// The fact that a decoded record holds.
    pub fn new(header: &Header, event: Option<Event>) -> Self {
        Self {
            subject: header.subject,
            register: header.register,
            stamp: stamp_of(header.effective, header.revision, header.origin, event.as_ref()),
            digest: header.body,
            reference: header.reference(),
            revision: header.revision,
            idempotency: header.cause.idempotency,
            event,
        }
    }

    /// The fact that a draft will be, for deciding on it before the log has numbered it. It is
    /// never stored: `reference` is not known yet and has sequence 0.
    pub fn pending(draft: Draft, origin: Origin, digest: Digest) -> Self {
        Self {
            subject: draft.subject,
            register: draft.event.register(),
            stamp: stamp_of(draft.effective, draft.revision, origin, Some(&draft.event)),
            digest,
            reference: EventRef { origin, sequence: 0 },
            revision: draft.revision,
            idempotency: draft.cause.idempotency,
            event: Some(draft.event),
        }
    }
}

/// An upgrade carries the stamp of what it verified, one generation higher; everything else its
/// own.
fn stamp_of(
    effective: EffectiveTime,
    revision: Revision,
    origin: Origin,
    event: Option<&Event>,
) -> Stamp {
    match event {
        Some(Event::PasswordSet(set)) if let Some(upgrade) = &set.upgrade => {
            upgrade.verified.upgraded()
        }
        _ => Stamp { effective, revision, origin, generation: 0 },
    }
}

/// Where a node's own log keeps a record: segment and byte offset in one number that sorts like
/// the log. It is local to the node and never enters the fold.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct LogPosition(u64);

impl LogPosition {
    /// The start of every log.
    pub const START: Self = Self(0);

    /// The position at `offset` bytes of segment `segment`.
    pub const fn new(segment: u32, offset: u32) -> Self {
        Self(((segment as u64) << 32) | offset as u64)
    }

    /// The position with this number.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The position as a number that sorts like it.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The segment's number.
    pub const fn segment(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Bytes from the segment's start.
    pub const fn offset(self) -> u32 {
        (self.0 & 0xffff_ffff) as u32
    }
}

impl std::fmt::Display for LogPosition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "segment {} offset {}", self.segment(), self.offset())
    }
}
