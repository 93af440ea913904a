//! Hash profiles: how one (company, country) computed its hashes, as the API writes it.
//!
//! A profile is the scheme with its own parameters and four that any scheme takes. Unknown members
//! are refused: a parameter that is silently ignored would make every login fail.
//!
//! A pepper is a secret, so a profile prints nothing of itself and cannot be serialised by
//! accident: [`HashProfile::canonical_bytes`] is the one way out.
//! It must never know the company that declared it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::password::{PasswordEncoding, Position, Recipe, Transform};
use super::{AnyHash, AnyScheme, HashRejected, Stored};

/// The longest pepper, in bytes.
const MAX_PEPPER_BYTES: usize = 1024;
/// The most steps of `pre_transform`.
const MAX_TRANSFORMS: usize = 8;
/// The members that belong to every scheme.
const COMMON_MEMBERS: [&str; 4] =
    ["pepper", "pepper_position", "password_encoding", "pre_transform"];

/// Why a profile is refused.
#[derive(Debug, Error)]
pub enum InvalidProfile {
    /// A member is unknown, missing, or of the wrong type.
    #[error("{0}")]
    Malformed(String),
    /// A parameter's value is outside its bounds.
    #[error("{0} is out of bounds")]
    OutOfBounds(&'static str),
    /// Parameters that exclude each other.
    #[error("{0}")]
    Contradiction(&'static str),
}

/// How one (company, country) computed its password hashes.
#[derive(Clone, PartialEq, Eq)]
pub struct HashProfile {
    scheme: AnyScheme,
    common: Common,
}

/// The parameters that any scheme takes.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Common {
    #[serde(skip_serializing_if = "is_default")]
    pepper: Pepper,
    #[serde(skip_serializing_if = "Option::is_none")]
    pepper_position: Option<Position>,
    #[serde(skip_serializing_if = "is_default")]
    password_encoding: PasswordEncoding,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "one_or_list")]
    pre_transform: Vec<Transform>,
}

/// A secret that a shop mixes into every password; empty means none. A type of its own, because
/// serde's message for a wrong type would quote the value.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(try_from = "Value")]
struct Pepper(String);

impl TryFrom<Value> for Pepper {
    type Error = &'static str;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        match value {
            Value::String(text) => Ok(Self(text)),
            _ => Err("pepper is a string"),
        }
    }
}

impl HashProfile {
    /// Reads a profile as the API writes it, or what [`HashProfile::canonical_bytes`] gave.
    pub fn from_json(json: &[u8]) -> Result<Self, InvalidProfile> {
        serde_json::from_slice(json).map_err(malformed).and_then(Self::from_members)
    }

    /// The profile's content as JSON in one spelling: members sorted, what is left at its default
    /// left out. Two profiles that mean the same have the same bytes, also after a later version
    /// added parameters. Its id is a keyed digest of them; they hold the pepper in clear.
    pub fn canonical_bytes(&self) -> Result<Zeroizing<Vec<u8>>, InvalidProfile> {
        let mut members = BTreeMap::new();
        members.extend(members_of(&self.scheme)?);
        members.extend(members_of(&self.common)?);
        serde_json::to_vec(&members).map(Zeroizing::new).map_err(malformed)
    }

    pub(super) fn parse(&self, stored: Stored<'_>) -> Result<AnyHash, HashRejected> {
        self.scheme.parse(Stored { pepper: self.common.pepper.0.as_bytes(), ..stored })
    }

    pub(super) fn recipe(&self) -> Recipe {
        let common = &self.common;
        let recipe = Recipe {
            transforms: common.pre_transform.clone(),
            encoding: common.password_encoding,
            pepper: common.pepper.0.as_bytes().to_vec().into(),
            position: common.pepper_position.unwrap_or(self.scheme.pepper_position()),
        };
        if self.scheme.keys_with_pepper() { recipe.without_pepper() } else { recipe }
    }

    fn from_members(mut members: Map<String, Value>) -> Result<Self, InvalidProfile> {
        let common: Map<_, _> =
            COMMON_MEMBERS.iter().filter_map(|&name| members.remove_entry(name)).collect();
        let mut profile = Self {
            common: serde_json::from_value(Value::Object(common)).map_err(malformed)?,
            scheme: serde_json::from_value(Value::Object(members)).map_err(malformed)?,
        };
        profile.validate()?;
        profile.normalise();
        Ok(profile)
    }

    fn validate(&self) -> Result<(), InvalidProfile> {
        if self.common.pepper.0.len() > MAX_PEPPER_BYTES {
            return Err(InvalidProfile::OutOfBounds("pepper"));
        }
        if self.common.pre_transform.len() > MAX_TRANSFORMS {
            return Err(InvalidProfile::OutOfBounds("pre_transform"));
        }
        let peppered = !is_default(&self.common.pepper);
        let positioned = self.common.pepper_position.is_some();
        if positioned && !peppered {
            return Err(InvalidProfile::Contradiction("a pepper_position needs a pepper"));
        }
        if positioned && self.scheme.keys_with_pepper() {
            return Err(InvalidProfile::Contradiction("a pepper that is a key has no position"));
        }
        self.scheme.validate(peppered)
    }

    /// Gives profiles that mean the same the same content.
    fn normalise(&mut self) {
        let usual = self.scheme.pepper_position();
        self.common.pepper_position.take_if(|position| *position == usual);
        let steps = &mut self.common.pre_transform;
        let untouched_too = steps.contains(&Transform::None);
        steps.retain(|step| *step != Transform::None);
        if untouched_too && !steps.is_empty() {
            steps.insert(0, Transform::None);
        }
    }
}

impl<'de> Deserialize<'de> for HashProfile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members = Map::deserialize(deserializer)?;
        Self::from_members(members).map_err(serde::de::Error::custom)
    }
}

impl fmt::Debug for HashProfile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("HashProfile([redacted])")
    }
}

/// For `skip_serializing_if`: what is at its default is not part of a profile's content.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn one_or_list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Transform>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "pre_transform is a transform's name or a list of them")]
    enum OneOrList {
        One(Transform),
        List(Vec<Transform>),
    }
    Ok(match OneOrList::deserialize(deserializer)? {
        OneOrList::One(transform) => vec![transform],
        OneOrList::List(transforms) => transforms,
    })
}

fn members_of(part: &impl Serialize) -> Result<Map<String, Value>, InvalidProfile> {
    match serde_json::to_value(part).map_err(malformed)? {
        Value::Object(members) => Ok(members),
        _ => Err(InvalidProfile::Malformed("a profile is an object".to_owned())),
    }
}

/// What serde says, without the value it quotes, which may be a pepper in the wrong place.
#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn malformed(error: serde_json::Error) -> InvalidProfile {
    let said = error.to_string();
    InvalidProfile::Malformed(match said.rsplit_once(", expected ") {
        Some((_, expected)) => format!("expected {expected}"),
        None if said.starts_with("unknown field") => "the scheme has no such parameter".to_owned(),
        None => said,
    })
}
