//! The one door of the format: how events and states are laid out in bytes.
//!
//! A header is a version byte and its fields; a body is a 16-byte nonce and the event's fields,
//! which fields being told by the header's kind and schema. Fields are laid out by bincode (little
//! endian, variable-length integers, no trailing bytes, bounded). Files under tests/golden hold
//! bytes of every version and decode for ever: a changed field order fails there first.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::event::{Event, EventKind, for_each_event};
use super::ids::{DeploymentId, Digest, NodeName};
use super::message::{Incoming, Message, News, SentRun};
use super::pair::Pair;
use super::record::{Fact, Header, Record};
use super::run::{Seal, Signature};
use super::state::UserState;

/// Longest header, in bytes.
pub const HEADER_BYTES_MAX: usize = 1024;

/// Longest body, in bytes: a full request with every value sealed stays below it.
pub const BODY_BYTES_MAX: usize = 256 * 1024;

/// Longest encoded state of one subject, in bytes.
pub const STATE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes of randomness in front of a body, so that its digest says nothing about it.
pub const NONCE_BYTES: usize = 16;

/// The version byte of the header's layout.
const HEADER_VERSION: u8 = 1;

/// The version byte of the states' layout: another one means that the state is rebuilt.
const STATE_VERSION: u8 = 1;

/// The schema of every body this version writes.
const SCHEMA: u16 = 1;

/// Bytes that are not what they were taken for.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// Nothing there, or a version this program does not know.
    #[error("{what} of version {version}, this program knows {known}")]
    Version {
        /// What was decoded.
        what: &'static str,
        /// The version found.
        version: u8,
        /// The version known.
        known: u8,
    },
    /// Longer than such a thing may be.
    #[error("{what} of {len} bytes, at most {max} are allowed")]
    Oversize {
        /// What was decoded.
        what: &'static str,
        /// The length found.
        len: usize,
        /// The longest allowed.
        max: usize,
    },
    /// More bytes than the thing has.
    #[error("{what} is followed by {extra} bytes that do not belong to it")]
    Trailing {
        /// What was decoded.
        what: &'static str,
        /// How many.
        extra: usize,
    },
    /// The body is not the one its header names.
    #[error("the body's digest is not the one in the header")]
    BodyDigest,
    /// The fields do not fit.
    #[error("{what} cannot be read")]
    Fields {
        /// What was decoded.
        what: &'static str,
        /// Why.
        #[source]
        source: bincode::error::DecodeError,
    },
    /// The fields cannot be laid out (a length over the bound).
    #[error("{what} cannot be written")]
    Unwritable {
        /// What was encoded.
        what: &'static str,
        /// Why.
        #[source]
        source: bincode::error::EncodeError,
    },
}

type Layout<const MAX: usize> = Configuration<LittleEndian, Varint, Limit<MAX>>;

const fn layout<const MAX: usize>() -> Layout<MAX> {
    bincode::config::standard().with_limit::<MAX>()
}

fn append<T: Serialize + ?Sized>(
    what: &'static str,
    max: usize,
    out: &mut Vec<u8>,
    value: &T,
) -> Result<(), CodecError> {
    bincode::serde::encode_into_std_write(value, out, layout::<STATE_BYTES_MAX>())
        .map_err(|source| CodecError::Unwritable { what, source })?;
    within(what, max, out)
}

const fn within(what: &'static str, max: usize, bytes: &[u8]) -> Result<(), CodecError> {
    if bytes.len() > max {
        return Err(CodecError::Oversize { what, len: bytes.len(), max });
    }
    Ok(())
}

fn whole<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, CodecError> {
    let (value, read) = bincode::serde::decode_from_slice(bytes, layout::<STATE_BYTES_MAX>())
        .map_err(|source| CodecError::Fields { what, source })?;
    match bytes.len() - read {
        0 => Ok(value),
        extra => Err(CodecError::Trailing { what, extra }),
    }
}

/// The bytes after the version byte, if that is the known one.
fn versioned<'a>(what: &'static str, known: u8, bytes: &'a [u8]) -> Result<&'a [u8], CodecError> {
    match bytes.split_first() {
        Some((&version, fields)) if version == known => Ok(fields),
        Some((&version, _)) => Err(CodecError::Version { what, version, known }),
        None => Err(CodecError::Version { what, version: 0, known }),
    }
}

/// SHA-256 of some bytes, as headers and bodies are digested.
pub fn digest(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

/// Lays a header out.
pub fn encode_header(header: &Header) -> Result<Box<[u8]>, CodecError> {
    let mut out = Vec::with_capacity(256);
    out.push(HEADER_VERSION);
    append("header", HEADER_BYTES_MAX, &mut out, header)?;
    Ok(out.into())
}

/// Reads a header.
pub fn decode_header(bytes: &[u8]) -> Result<Header, CodecError> {
    within("header", HEADER_BYTES_MAX, bytes)?;
    whole("header", versioned("header", HEADER_VERSION, bytes)?)
}

/// Lays a body out and digests it.
pub fn encode_body(
    nonce: [u8; NONCE_BYTES],
    event: &Event,
) -> Result<(Box<[u8]>, Digest), CodecError> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(&nonce);
    encode_fields(event, &mut out)?;
    let digest = digest(&out);
    Ok((out.into(), digest))
}

/// The schema that bodies of this version are written in.
pub const fn schema() -> u16 {
    SCHEMA
}

macro_rules! fields_codec {
    ($($number:literal $name:ident($body:ty)),+) => {
        fn encode_fields(event: &Event, out: &mut Vec<u8>) -> Result<(), CodecError> {
            match event {
                $(Event::$name(body) => append::<$body>("body", BODY_BYTES_MAX, out, body),)+
            }
        }

        fn decode_fields(kind: EventKind, bytes: &[u8]) -> Result<Option<Event>, CodecError> {
            match kind.0 {
                $($number => whole::<$body>("body", bytes).map(|body| Some(Event::$name(body))),)+
                _ => Ok(None),
            }
        }
    };
}

use super::event::{
    ApiKeyIssued, ApiKeyRevoked, BranchKeyCreated, BranchKeyWrapped, CompanyRegistered,
    FieldChange, HashProfileDeclared, IdentityClaimed, LegacyHashAdded, OriginDistrusted,
    OriginOpened, PasswordSet, PolicySet, UserKeyCreated, UserRegistered, UsersLinked,
    UsersUnlinked,
};
use super::ids::{BlindIndex, CompanyId};
use super::stamp::{Origin, Revision};
for_each_event!(fields_codec);

/// Reads a body and checks it against its header. None is a kind or a schema of a newer version:
/// stored and passed on, not folded.
pub fn decode_body(header: &Header, bytes: &[u8]) -> Result<Option<Event>, CodecError> {
    within("body", BODY_BYTES_MAX, bytes)?;
    if digest(bytes) != header.body {
        return Err(CodecError::BodyDigest);
    }
    decode_checked_body(header, bytes)
}

/// Reads a body whose digest was checked when it was taken in.
fn decode_checked_body(header: &Header, bytes: &[u8]) -> Result<Option<Event>, CodecError> {
    if header.schema != SCHEMA {
        return Ok(None);
    }
    let missing = NONCE_BYTES.saturating_sub(bytes.len());
    let short = bincode::error::DecodeError::UnexpectedEnd { additional: missing };
    let fields = bytes.get(NONCE_BYTES..);
    let fields = fields.ok_or(CodecError::Fields { what: "body", source: short })?;
    decode_fields(header.kind, fields)
}

/// Longest message between nodes, in bytes: one command's events may be longer than a run usually
/// is, and are never divided.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The version byte of messages between nodes.
const MESSAGE_VERSION: u8 = 1;

/// The kinds of messages.
const MESSAGE_RUN: u8 = 1;
const MESSAGE_NEWS: u8 = 2;

/// Bytes of a signature at the end of news.
const SIGNATURE_BYTES: usize = 64;

fn message_head(deployment: DeploymentId, kind: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    out.push(MESSAGE_VERSION);
    out.extend_from_slice(&deployment.0);
    out.push(kind);
    out
}

/// Lays a run out as it is sent.
pub fn encode_run(deployment: DeploymentId, run: &SentRun) -> Result<Vec<u8>, CodecError> {
    let mut out = message_head(deployment, MESSAGE_RUN);
    append("message", MESSAGE_BYTES_MAX, &mut out, run)?;
    Ok(out)
}

/// Lays news out as they are sent; `sign` makes the signature over their digest.
pub fn encode_news(
    deployment: DeploymentId,
    from: NodeName,
    news: &News,
    sign: impl FnOnce(&Digest) -> Signature,
) -> Result<Vec<u8>, CodecError> {
    let mut out = message_head(deployment, MESSAGE_NEWS);
    append("message", MESSAGE_BYTES_MAX, &mut out, &(from, news))?;
    let signature = sign(&digest(&out));
    out.extend_from_slice(&signature.to_bytes());
    Ok(out)
}

/// Reads what came over a link.
pub fn decode_message(bytes: &[u8]) -> Result<Incoming, CodecError> {
    let what = "message";
    within(what, MESSAGE_BYTES_MAX, bytes)?;
    let short = |additional| CodecError::Fields {
        what,
        source: bincode::error::DecodeError::UnexpectedEnd { additional },
    };
    let rest = versioned(what, MESSAGE_VERSION, bytes)?;
    let (deployment, rest) = rest.split_first_chunk::<16>().ok_or_else(|| short(16))?;
    let (kind, fields) = rest.split_first().ok_or_else(|| short(1))?;
    let message = match *kind {
        MESSAGE_RUN => Message::Run(whole(what, fields)?),
        MESSAGE_NEWS => {
            let parts = fields.split_last_chunk::<SIGNATURE_BYTES>();
            let (fields, signature) = parts.ok_or_else(|| short(SIGNATURE_BYTES))?;
            let signed = bytes.get(..bytes.len() - SIGNATURE_BYTES).unwrap_or_default();
            let (from, news) = whole(what, fields)?;
            let signature = Signature::from_bytes(signature);
            Message::News { from, news, signed: digest(signed), signature }
        }
        unknown => Message::Unknown(unknown),
    };
    Ok(Incoming { deployment: DeploymentId(*deployment), message })
}

/// Lays a seal out as the log keeps it.
pub fn encode_seal(seal: &Seal) -> Result<Box<[u8]>, CodecError> {
    let mut out = vec![SEAL_VERSION];
    append("seal", HEADER_BYTES_MAX, &mut out, seal)?;
    Ok(out.into())
}

/// Reads a seal that the log kept.
pub fn decode_seal(bytes: &[u8]) -> Result<Seal, CodecError> {
    whole("seal", versioned("seal", SEAL_VERSION, bytes)?)
}

/// The version byte of kept seals.
const SEAL_VERSION: u8 = 1;

/// Reads a stored record as the fold takes it. The body's digest is checked too.
pub fn decode_record(record: &Record) -> Result<(Header, Fact), CodecError> {
    let header = decode_header(&record.header)?;
    let event = match &record.body {
        Some(body) => decode_body(&header, body)?,
        None => None,
    };
    let fact = Fact::new(&header, event);
    Ok((header, fact))
}

/// Lays a user's state out, as sled keeps it.
pub fn encode_user(state: &UserState) -> Result<Vec<u8>, CodecError> {
    encode_state("user state", state)
}

/// Reads a user's state.
pub fn decode_user(bytes: &[u8]) -> Result<UserState, CodecError> {
    whole("user state", versioned("user state", STATE_VERSION, bytes)?)
}

fn encode_state<T: Serialize>(what: &'static str, state: &T) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::with_capacity(1024);
    out.push(STATE_VERSION);
    append(what, STATE_BYTES_MAX, &mut out, state)?;
    Ok(out)
}
