//! A row of a bulk sync: one line of JSON, read strictly.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::accounts::Accounts;
use crate::accounts::error::AccountError;
use crate::accounts::given::given;
use crate::accounts::identity::Identity;
use crate::accounts::legacy::{GivenHash, read_change_time};
use crate::accounts::register::{ClearField, read_fields};
use crate::events::ids::{Country, IdentityKind, UserId};
use crate::events::state::{Claims, UserState};
use crate::events::sync::Released;

/// Longest row, in bytes.
pub(super) const ROW_BYTES_MAX: usize = 16 * 1024;

/// What stands in the place of a row that was too long.
pub(super) const TOO_LONG: &[u8] = b"\0";

/// Longest `ref`, in bytes.
pub(super) const REF_BYTES_MAX: usize = 256;

/// Why a row, or what it asks for, is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// A word for programs.
    pub(super) code: &'static str,
    /// The member that is wrong.
    pub(super) field: Option<String>,
}

impl Fault {
    pub(super) fn new(code: &'static str, field: &str) -> Self {
        Self { code, field: Some(field.to_owned()) }
    }

    pub(super) const fn whole(code: &'static str) -> Self {
        Self { code, field: None }
    }
}

/// A member that is left out, null or given.
#[derive(Debug, Clone, Default)]
pub(super) enum Member<T> {
    #[default]
    Absent,
    Null,
    Given(T),
}

impl<T> Member<T> {
    pub(super) const fn given(&self) -> Option<&T> {
        match self {
            Self::Given(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Member<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Null, Self::Given))
    }
}

/// A row as it is sent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    #[serde(default, rename = "ref", deserialize_with = "given")]
    reference: Option<Reference>,
    #[serde(default, deserialize_with = "given")]
    user_id: Option<UserId>,
    #[serde(default)]
    email: Member<String>,
    #[serde(default)]
    phone: Member<String>,
    #[serde(default)]
    email_verified: bool,
    #[serde(default)]
    phone_verified: bool,
    #[serde(default, deserialize_with = "given")]
    legacy_hash: Option<GivenHash>,
    #[serde(default)]
    profile: Profile,
    #[serde(default, deserialize_with = "given")]
    profile_changed_at: Option<String>,
    #[serde(default, deserialize_with = "given")]
    status: Option<Status>,
    #[serde(default, deserialize_with = "given")]
    changed_at: Option<String>,
}

/// What finds a row's user, read past everything else: what is wrong with a row is said when it is
/// its turn.
#[derive(Default, Deserialize)]
pub(super) struct Named {
    #[serde(default)]
    pub(super) user_id: Option<UserId>,
    #[serde(default)]
    pub(super) email: Option<String>,
    #[serde(default)]
    pub(super) phone: Option<String>,
}

/// The company's own name for a row: a text, or the number that a column of ids holds.
#[derive(Deserialize)]
#[serde(untagged)]
enum Reference {
    Text(String),
    Number(i64),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Active,
    Disabled,
}

/// Profile fields, none of them twice.
#[derive(Default)]
struct Profile(BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Profile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ProfileVisitor;

        impl<'de> Visitor<'de> for ProfileVisitor {
            type Value = Profile;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Profile, A::Error> {
                let mut fields = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if fields.insert(name, value).is_some() {
                        return Err(de::Error::custom("duplicate field"));
                    }
                }
                Ok(Profile(fields))
            }

            // What PHP writes for an object without members.
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Profile, A::Error> {
                match items.next_element::<de::IgnoredAny>()? {
                    Some(_) => Err(de::Error::invalid_type(de::Unexpected::Seq, &self)),
                    None => Ok(Profile::default()),
                }
            }
        }
        deserializer.deserialize_any(ProfileVisitor)
    }
}

/// A row, read.
#[derive(Default)]
pub(super) struct Row {
    pub(super) reference: Option<String>,
    pub(super) user: Option<UserId>,
    pub(super) email: Member<Identity>,
    pub(super) phone: Member<Identity>,
    pub(super) email_verified: bool,
    pub(super) phone_verified: bool,
    /// Kinds of which it changes the user's main identity, or removes all: it came with the id.
    pub(super) changes: Vec<IdentityKind>,
    pub(super) hash: Option<GivenHash>,
    pub(super) hash_changed_at: Option<u64>,
    /// The hash has that time for its own, and not from the row.
    pub(super) hash_is_dated: bool,
    pub(super) profile: Vec<ClearField>,
    pub(super) profile_changed_at: Option<u64>,
    pub(super) active: Option<bool>,
    pub(super) changed_at: Option<u64>,
}

impl Row {
    /// The identities it gives, each with whether the company verified it.
    pub(super) fn identities(&self) -> impl Iterator<Item = (&Identity, bool)> {
        let email = self.email.given().map(|identity| (identity, self.email_verified));
        email.into_iter().chain(self.phone.given().map(|identity| (identity, self.phone_verified)))
    }

    /// The identities that it takes from its user: of a kind that it changes the main one, of one
    /// that is null all.
    pub(super) fn releases(&self, state: &UserState) -> Vec<Released> {
        let mut releases = Vec::new();
        let said = [(IdentityKind::Email, &self.email), (IdentityKind::Phone, &self.phone)];
        for (kind, member) in said.into_iter().filter(|(kind, _)| self.changes.contains(kind)) {
            let live = || state.identities().filter(move |(index, _)| index.kind == kind);
            match member {
                Member::Absent => {}
                Member::Null => {
                    releases.extend(live().map(|(index, _)| Released { index: *index, by: None }));
                }
                Member::Given(Identity { index, .. }) => {
                    if live().any(|(known, _)| known == index) {
                        continue;
                    }
                    let rank = |claims: &Claims| (!claims.is_verified(), claims.since());
                    let main = live().min_by_key(|(_, claims)| rank(claims));
                    let by = Some(*index);
                    releases.extend(main.map(|(known, _)| Released { index: *known, by }));
                }
            }
        }
        releases
    }

    /// The last time it names: it waits until then.
    pub(super) fn latest(&self) -> Option<u64> {
        [self.hash_changed_at, self.profile_changed_at, self.changed_at].into_iter().flatten().max()
    }
}

/// The `ref` of a line, where it has one that can be read, to name what is wrong with it.
pub(super) fn reference_of(line: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Referenced {
        #[serde(rename = "ref")]
        reference: Reference,
    }
    serde_json::from_slice::<Referenced>(line).ok()?.reference.text().ok()
}

impl Reference {
    fn text(self) -> Result<String, Fault> {
        match self {
            Self::Text(text) if text.len() > REF_BYTES_MAX => Err(Fault::new("too_long", "ref")),
            Self::Text(text) => Ok(text),
            Self::Number(number) => Ok(number.to_string()),
        }
    }
}

impl Accounts {
    /// Reads a line of a stream that was here as a whole at `received_ms`.
    pub(super) fn read_row(
        &self,
        (country, received_ms): (Country, u64),
        line: &[u8],
    ) -> Result<Row, Fault> {
        if line == TOO_LONG {
            return Err(Fault::whole("body_too_large"));
        }
        if std::str::from_utf8(line).is_err() {
            return Err(Fault::whole("invalid_encoding"));
        }
        // A list would be read as the members in their order.
        if line.trim_ascii_start().first() != Some(&b'{') {
            return Err(Fault::whole("malformed_json"));
        }
        let wire: Wire = serde_json::from_slice(line).map_err(|_| what_is_wrong(line))?;
        let reference = wire.reference.map(Reference::text).transpose()?;
        // Without a user's id there is nothing that a null could remove it from.
        let no_null = |member: Member<String>| match member {
            Member::Null if wire.user_id.is_none() => Member::Absent,
            member => member,
        };
        let (email, phone) = (no_null(wire.email), no_null(wire.phone));
        let email = self.read_identity(IdentityKind::Email, email, country)?;
        let phone = self.read_identity(IdentityKind::Phone, phone, country)?;
        if wire.user_id.is_none() && email.given().is_none() && phone.given().is_none() {
            return Err(Fault::new("required", "email"));
        }
        let time = |text: Option<&str>, field: &str| match text {
            None => Ok(None),
            Some(text) => {
                let read = read_change_time(text, received_ms).map(Some);
                read.map_err(|error| Fault { field: Some(field.to_owned()), ..fault(&error) })
            }
        };
        let changed_at = time(wire.changed_at.as_deref(), "changed_at")?;
        let given = wire.legacy_hash.as_ref().and_then(|hash| hash.changed_at.as_deref());
        let hash_changed_at = time(given, "legacy_hash.changed_at")?;
        let profile_changed_at = time(wire.profile_changed_at.as_deref(), "profile_changed_at")?;
        let profile = read_fields(&wire.profile.0).map_err(|error| fault(&error))?;
        let said = [
            (IdentityKind::Email, matches!(email, Member::Absent)),
            (IdentityKind::Phone, matches!(phone, Member::Absent)),
        ];
        let changes =
            said.into_iter().filter(|(_, is_absent)| wire.user_id.is_some() && !is_absent);
        let changes = changes.map(|(kind, _)| kind).collect();
        Ok(Row {
            reference,
            user: wire.user_id,
            changes,
            email,
            phone,
            email_verified: wire.email_verified,
            phone_verified: wire.phone_verified,
            hash_is_dated: hash_changed_at.is_some(),
            hash_changed_at: hash_changed_at.or(changed_at).filter(|_| wire.legacy_hash.is_some()),
            hash: wire.legacy_hash,
            profile_changed_at: profile_changed_at.or(changed_at).filter(|_| !profile.is_empty()),
            profile,
            active: wire.status.map(|status| matches!(status, Status::Active)),
            changed_at,
        })
    }

    fn read_identity(
        &self,
        kind: IdentityKind,
        member: Member<String>,
        country: Country,
    ) -> Result<Member<Identity>, Fault> {
        Ok(match member {
            Member::Absent => Member::Absent,
            Member::Null => Member::Null,
            Member::Given(typed) => {
                let read = self.reader().read(kind, &typed, Some(country));
                Member::Given(read.map_err(|error| fault(&error))?)
            }
        })
    }
}

/// Names what is wrong with a line that cannot be read. It never repeats a value.
fn what_is_wrong(line: &[u8]) -> Fault {
    // As a value, which may not be nested without end.
    if serde_json::from_slice::<Value>(line).is_err() {
        return Fault::whole("malformed_json");
    }
    let mut typed = serde_json::Deserializer::from_slice(line);
    let Err(error) = serde_path_to_error::deserialize::<_, Wire>(&mut typed) else {
        return Fault::whole("malformed_json");
    };
    let said = error.inner().to_string();
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    let path: String = error.path().to_string().chars().filter(plain).take(80).collect();
    let missing = said.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
    match missing {
        Some(missing) if path == "." => Fault::new("required", missing),
        Some(missing) => Fault::new("required", &format!("{path}.{missing}")),
        None if said.starts_with("unknown field") => Fault::new("unknown_field", &path),
        None if said.starts_with("duplicate field") => Fault::whole("malformed_json"),
        None => Fault::new("wrong_type", &path),
    }
}

/// What a refusal of a use case is to a row.
pub(super) fn fault(error: &AccountError) -> Fault {
    match error {
        AccountError::InvalidFields(fields) => match fields.first() {
            Some(first) => Fault { code: first.code, field: Some(first.field.clone()) },
            None => Fault::whole("invalid_fields"),
        },
        AccountError::PhoneCountryRequired => Fault::new("phone_country_required", "phone"),
        AccountError::UnsupportedHash(_) => Fault::new("unsupported_hash", "legacy_hash"),
        AccountError::HashCostOutOfBounds => Fault::new("hash_cost_out_of_bounds", "legacy_hash"),
        _ => Fault::whole("invalid"),
    }
}
