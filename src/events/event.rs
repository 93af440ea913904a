//! What can happen: one enum, every variant a fact in the past tense.
//!
//! An event holds what happened and what was concluded at the time (for instance "verified"),
//! never what follows from it. Personal data and credentials are in it only sealed. The number of
//! a kind and the order of the fields are the stored format: they never change, they only grow
//! (see `codec`).

use serde::{Deserialize, Serialize};

use super::ids::{
    ApiKeyId, BlindIndex, BranchKeyId, CompanyId, Country, FieldName, Fingerprint, HashProfileId,
    KeyedDigest, ProfileName, RegionId, Slot, UserId, UserKeyId,
};
use super::pair::Pair;
use super::policy::{Policies, Scopes, Signing};
use super::record::{Register, Subject};
use super::stamp::{EventRef, Origin, Revision, Stamp};

/// A value that only its user's key opens, and a fingerprint that says whether two are equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Sealed {
    /// The sealed bytes; they name their key (format: docs/keys.md).
    pub bytes: Box<[u8]>,
    /// Equal for equal clear texts of one user and register.
    pub fingerprint: Fingerprint,
}

/// A user came into being.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UserRegistered {
    /// The company that created the user.
    pub company: CompanyId,
    /// The country it did so in.
    pub country: Country,
}

/// An identity was said to be this user's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IdentityClaimed {
    /// How it is found.
    pub index: BlindIndex,
    /// Whether it counts as verified: concluded by `decide` from the company's policy.
    pub verified: bool,
    /// The identity itself.
    pub value: Sealed,
    /// When and where the identity was first claimed, where this claim only repeats an older one
    /// under a newer index key. Who claimed first does not change by that.
    pub since: Option<(Revision, Origin)>,
}

/// A credential came from another one by re-hashing at a login.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Upgrade {
    /// The stamp of the credential that was verified.
    pub verified: Stamp,
    /// The events this credential rests on, the first one first and the verified one last. If one
    /// of them is distrusted, this one falls with it.
    pub lineage: Vec<EventRef>,
}

/// The central password was set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PasswordSet {
    /// The bcrypt hash.
    pub secret: Sealed,
    /// What it was upgraded from, if it was.
    pub upgrade: Option<Upgrade>,
}

/// A company's hash of the user's password. With the lowest effective time it is an import,
/// otherwise a change the company made at that time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LegacyHashAdded {
    /// Whose hash it is.
    pub slot: Slot,
    /// The hash, with its salt.
    pub hash: Sealed,
    /// How it was computed; none for formats that describe themselves.
    pub profile: Option<HashProfileId>,
}

/// One profile field's new value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FieldChange {
    /// The field.
    pub field: FieldName,
    /// Its value; none removes it. A removal is a value like any other: it has a stamp.
    pub value: Option<Sealed>,
}

/// A user's key was made. Its body is blanked when the user is erased.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UserKeyCreated {
    /// The key's name.
    pub key: UserKeyId,
    /// The branch key it is wrapped by.
    pub branch: BranchKeyId,
    /// The wrapped key.
    pub wrapped: Box<[u8]>,
}

/// Two users were said to be one person.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UsersLinked {
    /// The pair.
    pub pair: Pair,
    /// Whether the system concluded it by itself.
    pub automatic: bool,
}

/// An account was taken apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UsersUnlinked {
    /// Every pair that was severed.
    pub pairs: Vec<Pair>,
    /// Per user the stamp at and below which its credentials no longer count.
    pub floors: Vec<(UserId, Stamp)>,
}

/// A company was made, or its countries or name changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CompanyRegistered {
    /// The company.
    pub company: CompanyId,
    /// Where it has customers, sorted.
    pub countries: Vec<Country>,
    /// Whether its calls must be signed.
    pub signing: Signing,
}

/// What a company may do was set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PolicySet {
    /// The company.
    pub company: CompanyId,
    /// All its policies.
    pub policies: Policies,
}

/// How calls made with an API key are signed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SigningKey {
    /// HS256 with this secret, sealed under a branch key.
    Hs256 {
        /// The branch key.
        branch: BranchKeyId,
        /// The sealed secret.
        sealed: Box<[u8]>,
    },
    /// Ed25519 with this public key.
    EdDsa([u8; 32]),
}

/// A company was given an API key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ApiKeyIssued {
    /// The company.
    pub company: CompanyId,
    /// The key's public half.
    pub key: ApiKeyId,
    /// SHA-256 of its secret half (256 random bits, so a bare digest says nothing).
    pub digest: [u8; 32],
    /// What calls it may make.
    pub scopes: Scopes,
    /// Unix milliseconds from which it is refused.
    pub expires_unix_ms: Option<u64>,
    /// How its calls are signed; none for keys of companies that need not sign.
    pub signing: Option<SigningKey>,
}

/// An API key was withdrawn.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ApiKeyRevoked {
    /// The company.
    pub company: CompanyId,
    /// The key.
    pub key: ApiKeyId,
}

/// A company said how it computed its hashes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HashProfileDeclared {
    /// Whose hashes.
    pub slot: Slot,
    /// The profile's name there.
    pub name: ProfileName,
    /// Keyed digest of its content.
    pub id: HashProfileId,
    /// The branch key the content is sealed under: it may hold a pepper.
    pub branch: BranchKeyId,
    /// The sealed content.
    pub sealed: Box<[u8]>,
}

/// The end of an earlier life of a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PreviousLife {
    /// The life.
    pub origin: Origin,
    /// The number of its last event.
    pub sequence: u64,
    /// The digest of that event's header.
    pub head: super::ids::Digest,
}

/// A node started: the first event of every life.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OriginOpened {
    /// The life before, none for a new node.
    pub previous: Option<PreviousLife>,
    /// The Ed25519 key that this life's runs are sealed with.
    pub verifying_key: [u8; 32],
}

/// A branch key was made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BranchKeyCreated {
    /// Its name.
    pub key: BranchKeyId,
    /// The key wrapped for each region whose KMS could be reached; others are holes.
    pub wrapped: Vec<(RegionId, Box<[u8]>)>,
}

/// A hole in a branch key was filled, or a region found that it has one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BranchKeyWrapped {
    /// The branch key.
    pub key: BranchKeyId,
    /// The region.
    pub region: RegionId,
    /// The key, wrapped for that region. Empty: none of the wrappings before opens to the key.
    pub wrapped: Box<[u8]>,
}

/// An operator cut a lying or broken life off.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OriginDistrusted {
    /// The life.
    pub origin: Origin,
    /// The first event of it that no longer counts.
    pub from_sequence: u64,
    /// Whether every later life of the node is cut off with it.
    pub and_later_lives: bool,
    /// Ed25519 by the deployment's offline operator key over deployment, origin and sequence.
    pub signature: Box<[u8]>,
}

/// The number of a kind of event. Kinds of newer versions are kept and passed on unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventKind(pub u16);

impl EventKind {
    /// Whether erasing a user blanks the bodies of such events: what opens a person's values, and
    /// what finds the person.
    pub const fn is_blanked_by_erasure(self) -> bool {
        matches!(self, Self(IDENTITY_CLAIMED | IDENTITY_RELEASED | USER_KEY_CREATED))
    }
}

const IDENTITY_CLAIMED: u16 = 4;
const IDENTITY_RELEASED: u16 = 5;
const USER_KEY_CREATED: u16 = 11;

events! {
    /// A user came into being.
    1 UserRegistered(UserRegistered) "UserRegistered";
    /// The user became a company's customer.
    2 CompanyJoined(CompanyId) "CompanyJoined";
    /// The user is no longer a company's customer.
    3 CompanyLeft(CompanyId) "CompanyLeft";
    /// An identity was said to be this user's.
    4 IdentityClaimed(IdentityClaimed) "IdentityClaimed";
    /// An identity is no longer this user's.
    5 IdentityReleased(BlindIndex) "IdentityReleased";
    /// The central password was set.
    6 PasswordSet(PasswordSet) "PasswordSet";
    /// A company's hash was added.
    7 LegacyHashAdded(LegacyHashAdded) "LegacyHashAdded";
    /// Profile fields were written.
    8 ProfileUpdated(Vec<FieldChange>) "ProfileUpdated";
    /// The user was shut out.
    9 UserDisabled(()) "UserDisabled";
    /// Disablings were lifted: per origin the greatest one that was seen.
    10 UserEnabled(Vec<(Origin, Revision)>) "UserEnabled";
    /// A key for the user's values was made.
    11 UserKeyCreated(UserKeyCreated) "UserKeyCreated";
    /// The person asked to be forgotten.
    12 UserErased(()) "UserErased";
    /// A node holds nothing any more that opens an erased user's values or finds the person.
    13 ErasureConfirmed(()) "ErasureConfirmed";
    /// Two users are one person.
    20 UsersLinked(UsersLinked) "UsersLinked";
    /// They are not, or no longer.
    21 UsersUnlinked(UsersUnlinked) "UsersUnlinked";
    /// A person said that two users are not the same.
    22 LinkDeclined(Pair) "LinkDeclined";
    /// A company was made or changed.
    30 CompanyRegistered(CompanyRegistered) "CompanyRegistered";
    /// What a company may do was set.
    31 PolicySet(PolicySet) "PolicySet";
    /// A company was given an API key.
    32 ApiKeyIssued(ApiKeyIssued) "ApiKeyIssued";
    /// An API key was withdrawn.
    33 ApiKeyRevoked(ApiKeyRevoked) "ApiKeyRevoked";
    /// A company said how it computed its hashes.
    34 HashProfileDeclared(HashProfileDeclared) "HashProfileDeclared";
    /// A node started.
    40 OriginOpened(OriginOpened) "OriginOpened";
    /// A branch key was made.
    41 BranchKeyCreated(BranchKeyCreated) "BranchKeyCreated";
    /// A hole in a branch key was filled, or a region found that it has one.
    42 BranchKeyWrapped(BranchKeyWrapped) "BranchKeyWrapped";
    /// A life was cut off.
    43 OriginDistrusted(OriginDistrusted) "OriginDistrusted";
}

impl Event {
    /// The part of the state this event writes, as its header names it: nothing personal.
    pub fn register(&self) -> Register {
        match self {
            Self::UserRegistered(_) => Register::Registration,
            Self::CompanyJoined(company) | Self::CompanyLeft(company) => {
                Register::Membership(*company)
            }
            Self::IdentityClaimed(_) | Self::IdentityReleased(_) => Register::Identity,
            Self::PasswordSet(_) => Register::Secret,
            Self::LegacyHashAdded(added) => Register::Legacy(added.slot),
            Self::ProfileUpdated(_) => Register::Profile,
            Self::UserDisabled(()) | Self::UserEnabled(_) => Register::Status,
            Self::UserKeyCreated(created) => Register::UserKey(created.key),
            Self::UserErased(()) => Register::Erasure,
            Self::ErasureConfirmed(()) => Register::ErasureConfirmed,
            Self::UsersLinked(_) | Self::UsersUnlinked(_) | Self::LinkDeclined(_) => Register::Link,
            Self::CompanyRegistered(_) => Register::Company,
            Self::PolicySet(_) => Register::Policy,
            Self::ApiKeyIssued(ApiKeyIssued { key, .. })
            | Self::ApiKeyRevoked(ApiKeyRevoked { key, .. }) => Register::ApiKey(*key),
            Self::HashProfileDeclared(declared) => Register::HashProfile(declared.slot.country),
            Self::OriginOpened(_) => Register::Life,
            Self::BranchKeyCreated(BranchKeyCreated { key, .. })
            | Self::BranchKeyWrapped(BranchKeyWrapped { key, .. }) => Register::BranchKey(*key),
            Self::OriginDistrusted(_) => Register::Trust,
        }
    }

    /// The users whose state this event changes, beside the subject of its header.
    pub fn touched_users(&self) -> Vec<UserId> {
        let of = |pair: &Pair| [pair.users().0, pair.users().1];
        let mut users: Vec<UserId> = match self {
            Self::UsersLinked(linked) => of(&linked.pair).to_vec(),
            Self::LinkDeclined(pair) => of(pair).to_vec(),
            Self::UsersUnlinked(unlinked) => {
                let severed = unlinked.pairs.iter().flat_map(of);
                severed.chain(unlinked.floors.iter().map(|(user, _)| *user)).collect()
            }
            _ => Vec::new(),
        };
        users.sort_unstable();
        users.dedup();
        users
    }
}

/// What is to be recorded, before the log has given it its number and its place in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Whom it is about.
    pub subject: Subject,
    /// When it is recorded.
    pub revision: Revision,
    /// When it counts as made.
    pub effective: super::stamp::EffectiveTime,
    /// Who asked.
    pub cause: Cause,
    /// What happened.
    pub event: Event,
}

/// How long the repeat of a call with an idempotency key is given the first answer, in
/// milliseconds of revisions.
pub const REPEATS_KEPT_MS: u64 = 24 * 60 * 60 * 1000;

/// Who and what brought an event about. Nothing in it says whom it is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Cause {
    /// The company that asked; none for the operator and the system itself.
    pub company: Option<CompanyId>,
    /// The API key it used.
    pub key: Option<ApiKeyId>,
    /// Keyed digest of the request's id.
    pub request: Option<KeyedDigest>,
    /// Keyed digest of the request's idempotency key.
    pub idempotency: Option<KeyedDigest>,
    /// Keyed digest of the request itself, kept beside an idempotency key.
    pub content: Option<KeyedDigest>,
}
