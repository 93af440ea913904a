//! A run: consecutive events of one origin that travel together, and the seal over their end.
//!
//! A seal is a region's signature over where a chain stands. The chain runs over all headers before
//! it and a header names its body, so one seal vouches for everything up to its end. Whoever has a
//! run can pass it on: who receives it need not trust who sent it.

use serde::{Deserialize, Serialize};

use super::codec::{self, CodecError};
use super::event::{Event, OriginDistrusted};
use super::ids::{DeploymentId, Digest, NodeName};
use super::record::{Fact, Header, Record, Subject};
use super::stamp::{EffectiveTime, Origin, Revision, Stamp};

/// What a seal's signature is over begins with this: no other signature of a region's key does.
const SEAL_CONTEXT: &[u8] = b"jcas run v1\0";

/// An Ed25519 signature, in halves because arrays of 32 are what serde knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature([[u8; 32]; 2]);

impl Signature {
    /// The signature with these bytes.
    pub fn from_bytes(bytes: &[u8; 64]) -> Self {
        let mut halves = [[0; 32]; 2];
        let (one, other) = bytes.split_at(32);
        for (half, bytes) in halves.iter_mut().zip([one, other]) {
            half.copy_from_slice(bytes);
        }
        Self(halves)
    }

    /// Its 64 bytes.
    pub fn to_bytes(self) -> [u8; 64] {
        let mut bytes = [0; 64];
        for (place, byte) in bytes.iter_mut().zip(self.0.as_flattened()) {
            *place = *byte;
        }
        bytes
    }
}

/// Where an origin's chain stands, vouched for by its region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// The life.
    pub origin: Origin,
    /// The number of the last event.
    pub sequence: u64,
    /// The digest of its header.
    pub head: Digest,
    /// By the region's signing key over [`Seal::signed`].
    pub signature: Signature,
}

impl Seal {
    /// The bytes that the signature is over.
    pub fn signed(
        deployment: DeploymentId,
        origin: &Origin,
        sequence: u64,
        head: &Digest,
    ) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(160);
        bytes.extend_from_slice(SEAL_CONTEXT);
        bytes.extend_from_slice(&deployment.0);
        bytes.extend_from_slice(&sequence.to_be_bytes());
        bytes.extend_from_slice(&head.0);
        bytes.extend_from_slice(origin.to_string().as_bytes());
        bytes
    }
}

/// The bytes that an operator signs to cut a life off.
pub fn distrust_signed(deployment: DeploymentId, cut: &OriginDistrusted) -> Vec<u8> {
    let mut bytes = b"jcas distrust v1\0".to_vec();
    bytes.extend_from_slice(&deployment.0);
    bytes.extend_from_slice(&cut.from_sequence.to_be_bytes());
    bytes.push(u8::from(cut.and_later_lives));
    bytes.extend_from_slice(cut.origin.to_string().as_bytes());
    bytes
}

/// Consecutive events of one origin and the seal over the last one. All events of a command are in
/// one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The events, in order.
    pub records: Vec<Record>,
    /// Over the end of the last one.
    pub seal: Seal,
}

/// A run whose events were read and fit together. Whether the seal's signature is right is for
/// whoever has the key.
#[derive(Debug, Clone)]
pub struct CheckedRun {
    /// The run.
    pub run: Run,
    /// Its events as the fold takes them, one a record.
    pub facts: Vec<Fact>,
    /// The digest of the header before the first event.
    pub previous: Digest,
    /// The number of the first event.
    pub first: u64,
    /// The greatest time in it, of any kind, in milliseconds since 1970.
    pub latest_ms: u64,
}

/// Why bytes that name themselves a run are none.
#[derive(Debug, thiserror::Error)]
pub enum MalformedRun {
    /// There is nothing in it.
    #[error("the run is empty")]
    Empty,
    /// A record cannot be read.
    #[error("record {at} of the run cannot be read")]
    Record {
        /// Which one, from 0.
        at: usize,
        /// Why.
        #[source]
        source: CodecError,
    },
    /// A record is of another deployment, origin or place than the run says.
    #[error("record {at} of the run does not follow the one before it")]
    Order {
        /// Which one, from 0.
        at: usize,
    },
    /// The seal is over something else.
    #[error("the seal is not over the end of the run")]
    SealElsewhere,
    /// A header says something else than its body.
    #[error("record {at} of the run has a header that does not fit its body")]
    Unfit {
        /// Which one, from 0.
        at: usize,
    },
    /// A time inside a body is later than the event.
    #[error("record {at} of the run speaks of a time after it was recorded")]
    LaterThanItself {
        /// Which one, from 0.
        at: usize,
    },
    /// A body is missing that nobody may blank.
    #[error("record {at} of the run has no body")]
    Bodiless {
        /// Which one, from 0.
        at: usize,
    },
}

impl Run {
    /// Reads every event and checks that the run is one: of one origin of one deployment, gap-free,
    /// chained, each body the one its header names and fit for it, the seal over its end.
    pub fn check(self, deployment: DeploymentId) -> Result<CheckedRun, MalformedRun> {
        let mut facts = Vec::with_capacity(self.records.len());
        let mut start: Option<(u64, Digest)> = None;
        let mut end: Option<(u64, Digest)> = None;
        let mut latest_ms = 0;
        for (at, record) in self.records.iter().enumerate() {
            let (header, fact) = codec::decode_record(record)
                .map_err(|source| MalformedRun::Record { at, source })?;
            let follows = end.is_none_or(|(sequence, head)| {
                header.sequence == sequence.saturating_add(1) && header.previous == head
            });
            let ours = header.deployment == deployment && header.origin == self.seal.origin;
            if !follows || !ours || header.sequence == 0 {
                return Err(MalformedRun::Order { at });
            }
            check_event(at, record, &header, &fact)?;
            latest_ms = latest_ms.max(header.revision.unix_ms()).max(header.effective.unix_ms());
            start = start.or(Some((header.sequence, header.previous)));
            end = Some((header.sequence, codec::digest(&record.header)));
            facts.push(fact);
        }
        let Some((first, previous)) = start else { return Err(MalformedRun::Empty) };
        if end != Some((self.seal.sequence, self.seal.head)) {
            return Err(MalformedRun::SealElsewhere);
        }
        Ok(CheckedRun { run: self, facts, previous, first, latest_ms })
    }
}

fn check_event(
    at: usize,
    record: &Record,
    header: &Header,
    fact: &Fact,
) -> Result<(), MalformedRun> {
    let Some(event) = &fact.event else {
        // A kind of a newer version is kept as it is; a blanked body is one that erasure blanks.
        let may_be_gone = record.body.is_some() || header.kind.is_blanked_by_erasure();
        return if may_be_gone { Ok(()) } else { Err(MalformedRun::Bodiless { at }) };
    };
    if header.register != event.register() || !event.fits(header.subject) {
        return Err(MalformedRun::Unfit { at });
    }
    let past = |time: EffectiveTime| time.to_bits() <= header.revision.to_bits();
    if past(header.effective) && event.times().all(|time| time <= header.revision) {
        Ok(())
    } else {
        Err(MalformedRun::LaterThanItself { at })
    }
}

impl Event {
    /// Whether an event of this content may be about `subject`.
    fn fits(&self, subject: Subject) -> bool {
        match self {
            Self::CompanyRegistered(it) => subject == Subject::Company(it.company),
            Self::PolicySet(it) => subject == Subject::Company(it.company),
            Self::ApiKeyIssued(it) => subject == Subject::Company(it.company),
            Self::ApiKeyRevoked(it) => subject == Subject::Company(it.company),
            Self::HashProfileDeclared(it) => subject == Subject::Company(it.slot.company),
            Self::OriginOpened(_)
            | Self::BranchKeyCreated(_)
            | Self::BranchKeyWrapped(_)
            | Self::OriginDistrusted(_) => subject == Subject::Deployment,
            Self::UsersLinked(it) => subject == Subject::Pair(it.pair),
            Self::LinkDeclined(pair) => subject == Subject::Pair(*pair),
            Self::UsersUnlinked(_) => matches!(subject, Subject::Pair(_)),
            _ => matches!(subject, Subject::User(_)),
        }
    }

    /// The readings inside the body: what its author had seen when it was recorded.
    fn times(&self) -> impl Iterator<Item = Revision> {
        let of = |stamp: &Stamp| {
            let effective = Revision::from_bits(stamp.effective.to_bits());
            [stamp.revision, effective]
        };
        let times: Vec<Revision> = match self {
            Self::PasswordSet(set) => {
                set.upgrade.iter().flat_map(|upgrade| of(&upgrade.verified)).collect()
            }
            Self::UsersUnlinked(it) => it.floors.iter().flat_map(|(_, stamp)| of(stamp)).collect(),
            Self::UserEnabled(lifted) => lifted.iter().map(|(_, revision)| *revision).collect(),
            Self::IdentityClaimed(it) => it.since.iter().map(|(revision, _)| *revision).collect(),
            _ => Vec::new(),
        };
        times.into_iter()
    }
}

impl CheckedRun {
    /// The life it is of.
    pub const fn origin(&self) -> Origin {
        self.run.seal.origin
    }

    /// The node it is of.
    pub const fn node(&self) -> NodeName {
        self.run.seal.origin.name()
    }

    /// The run without its first events.
    #[must_use]
    pub fn without_first(mut self, count: usize) -> Self {
        self.run.records.drain(..count.min(self.run.records.len()));
        self.facts.drain(..count.min(self.facts.len()));
        self
    }
}
