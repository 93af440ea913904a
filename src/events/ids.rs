//! Names of things: newtypes that are valid once they exist.
//!
//! Every name parses on construction and prints the same text it parses from. In JSON a name is
//! that text; in the log it is its bytes (the codec is not human readable, so serde tells them
//! apart).

use std::fmt;
use std::str::FromStr;

use arrayvec::ArrayString;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

/// A text that is not the name it was taken for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {what}: {reason}")]
pub struct InvalidName {
    what: &'static str,
    reason: &'static str,
}

impl InvalidName {
    const fn new(what: &'static str, reason: &'static str) -> Self {
        Self { what, reason }
    }
}

/// Longest slug, in bytes.
pub const SLUG_BYTES_MAX: usize = 32;

/// A short lower-case name: `[a-z0-9]`, then also `-` and `_`, at most 32 bytes. `Copy`, since it
/// is part of every stamp.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slug(ArrayString<SLUG_BYTES_MAX>);

impl Slug {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    fn parse(what: &'static str, text: &str) -> Result<Self, InvalidName> {
        let mut bytes = text.bytes();
        let first = bytes.next().ok_or(InvalidName::new(what, "it is empty"))?;
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        if !(first.is_ascii_lowercase() || first.is_ascii_digit()) || !bytes.all(inner) {
            return Err(InvalidName::new(
                what,
                "only a-z, 0-9, - and _ are allowed, and it starts with a letter or digit",
            ));
        }
        let inner = ArrayString::from(text)
            .map_err(|_| InvalidName::new(what, "it is longer than 32 bytes"))?;
        Ok(Self(inner))
    }
}

slug!(
    /// A company that calls JCAS.
    CompanyId,
    "company id"
);
slug!(
    /// A region: nodes that share a broker and a KMS.
    RegionId,
    "region"
);
slug!(
    /// A node's name within its region.
    NodeId,
    "node name"
);
slug!(
    /// The public half of an API key: `jcas_<key id>_<secret>`. It has no underscore of its own.
    ApiKeyId,
    "api key id"
);
slug!(
    /// The name of a hash profile within its (company, country); `default` serves hashes that
    /// name none.
    ProfileName,
    "hash profile name"
);

/// Longest profile field name, in bytes.
pub const FIELD_NAME_BYTES_MAX: usize = 64;

/// The name of a profile field, `[a-z][a-z0-9_]{0,63}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldName(Box<str>);

impl FieldName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FieldName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let what = "profile field name";
        if text.len() > FIELD_NAME_BYTES_MAX {
            return Err(InvalidName::new(what, "it is longer than 64 bytes"));
        }
        let mut bytes = text.bytes();
        let starts = bytes.next().is_some_and(|b| b.is_ascii_lowercase());
        if starts && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
            Ok(Self(text.into()))
        } else {
            Err(InvalidName::new(what, "it must match [a-z][a-z0-9_]*"))
        }
    }
}

text_name!(FieldName);

/// An ISO 3166-1 alpha-2 country code, upper case. Which codes exist is not checked here: a
/// company declares its own, and only those are taken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country(ArrayString<2>);

impl Country {
    /// The code as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for Country {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = InvalidName::new("country", "it must be two upper-case letters, ISO 3166-1");
        if text.len() != 2 || !text.bytes().all(|b| b.is_ascii_uppercase()) {
            return Err(wrong);
        }
        ArrayString::from(text).map(Self).map_err(|_| wrong)
    }
}

text_name!(Country);

bytes_name!(
    /// A deployment: every header names it, so that data of another one is refused by name.
    DeploymentId,
    16,
    "deployment id"
);
bytes_name!(
    /// SHA-256 of something stored: a body, a header.
    Digest,
    32,
    "digest"
);
bytes_name!(
    /// A keyed digest, cut to 16 bytes: says "the same as before" without saying what.
    KeyedDigest,
    16,
    "keyed digest"
);
bytes_name!(
    /// Says whether two sealed values hold the same clear text; made under a key of the user's.
    Fingerprint,
    16,
    "fingerprint"
);
bytes_name!(
    /// A branch key, named by a digest of itself.
    BranchKeyId,
    16,
    "branch key id"
);
bytes_name!(
    /// A user key, named by a digest of itself.
    UserKeyId,
    8,
    "user key id"
);
bytes_name!(
    /// A hash profile, named by a keyed digest of its content.
    HashProfileId,
    16,
    "hash profile id"
);

impl Digest {
    /// All zero: what the first header of a chain names as the one before it.
    pub const ZERO: Self = Self([0; 32]);
}

/// One user, for ever. A UUID of version 7, so that ids sort by creation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(Uuid);

impl UserId {
    /// The id made from a time in Unix milliseconds and ten bytes of randomness.
    pub fn new(unix_ms: u64, random: [u8; 10]) -> Self {
        Self(uuid::Builder::from_unix_timestamp_millis(unix_ms, &random).into_uuid())
    }

    /// The id with these bytes, as an index or a key of the state holds it.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The sixteen bytes of the id.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl FromStr for UserId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::try_parse(text)
            .map(Self)
            .map_err(|_| InvalidName::new("user id", "it must be a UUID"))
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What an identity is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdentityKind {
    /// An e-mail address, normalised.
    Email,
    /// A phone number in E.164.
    Phone,
}

impl IdentityKind {
    /// The word the contract uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Phone => "phone",
        }
    }

    /// The number bound into blind indexes. Never changes.
    pub const fn number(self) -> u8 {
        match self {
            Self::Email => 1,
            Self::Phone => 2,
        }
    }
}

/// How an identity is found without being stored: a keyed digest of its normal form, with the
/// version of the key, so that keys can be rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BlindIndex {
    /// E-mail or phone.
    pub kind: IdentityKind,
    /// Version of the index key.
    pub version: u16,
    /// HMAC-SHA-256 of the normal form.
    pub mac: Digest,
}

impl BlindIndex {
    /// A fixed 35-byte form that sorts by kind, version and digest: the key of an index.
    pub fn to_key(self) -> [u8; 35] {
        let mut key = [0_u8; 35];
        let (head, mac) = key.split_at_mut(3);
        let [high, low] = self.version.to_be_bytes();
        head.copy_from_slice(&[self.kind.number(), high, low]);
        mac.copy_from_slice(&self.mac.0);
        key
    }
}

/// A node of the deployment, whichever of its lives it is in: `region/node`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName {
    /// The node's region.
    pub region: RegionId,
    /// The node within it.
    pub node: NodeId,
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.region, self.node)
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for NodeName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = InvalidName::new("node", "it is written region/node");
        let (region, node) = text.split_once('/').ok_or(wrong)?;
        Ok(Self { region: region.parse()?, node: node.parse()? })
    }
}

impl Serialize for NodeName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NodeName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// One (company, country): where a legacy credential has its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slot {
    /// The company whose hash it is.
    pub company: CompanyId,
    /// The country it kept the user in.
    pub country: Country,
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.company, self.country)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_refuse_what_could_be_mistaken() {
        for wrong in ["", "-a", "A", "a b", "ä", "a/b", &"a".repeat(33)] {
            assert!(wrong.parse::<CompanyId>().is_err(), "{wrong:?} was taken");
        }
        assert_eq!("shop-1_x".parse::<CompanyId>().unwrap().to_string(), "shop-1_x");
    }

    #[test]
    fn countries_are_two_upper_case_letters() {
        for wrong in ["", "n", "ng", "NGA", "N1", "É"] {
            assert!(wrong.parse::<Country>().is_err(), "{wrong:?} was taken");
        }
        assert_eq!("NG".parse::<Country>().unwrap().as_str(), "NG");
    }

    #[test]
    fn a_node_prints_what_it_parses() {
        for wrong in ["", "eu", "eu/", "/n1", "eu/n1/x", "EU/n1"] {
            assert!(wrong.parse::<NodeName>().is_err(), "{wrong:?} was taken");
        }
        assert_eq!("eu/n1".parse::<NodeName>().unwrap().to_string(), "eu/n1");
    }

    #[test]
    fn user_ids_sort_by_creation() {
        assert!(UserId::new(1, [255; 10]) < UserId::new(2, [0; 10]));
    }

    #[test]
    fn byte_names_print_what_they_parse() {
        let id = UserKeyId([0xab; 8]);
        assert_eq!(id.to_string().parse::<UserKeyId>().unwrap(), id);
    }
}
