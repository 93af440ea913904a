//! A JSON object's members: each by its name, once, and whatever nobody asked for shows.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// More than any header or set of claims has. A search through them stays short.
const MEMBERS_MAX: usize = 24;

/// The members of an object that were not taken yet.
pub(super) struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Reads an object. None: it is none, holds a name twice or too many names.
    pub(super) fn read(json: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    /// Takes a member out.
    pub(super) fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(at).1)
    }

    /// The name of a member that is left. What it holds may be meant for elsewhere.
    pub(super) fn rest(&self) -> Option<&str> {
        self.0.first().map(|(name, _)| name.as_ref())
    }
}

/// A text, borrowed unless it is written with escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A value as a text.
pub(super) fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Text<'_>>(value.get()).ok().map(|text| text.0)
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::with_capacity(12);
        while let Some((Text(name), value)) = map.next_entry()? {
            if members.len() >= MEMBERS_MAX || members.iter().any(|(known, _)| *known == name) {
                return Err(de::Error::custom("a name is there twice, or there are too many"));
            }
            members.push((name, value));
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_there_once_however_it_is_written() {
        for bad in [r#"{"a":1,"a":2}"#, r#"{"a":1,"\u0061":2}"#, "[]", "1", "", "{", "{} {}"] {
            assert!(Members::read(bad.as_bytes()).is_none(), "{bad}");
        }
        let many: Vec<_> = (0..25).map(|number| format!("\"{number}\":1")).collect();
        assert!(Members::read(format!("{{{}}}", many.join(",")).as_bytes()).is_none());
        let mut members = Members::read(br#"{"\u0061lg":"HS\u003256","x":{"y":[1]}}"#).unwrap();
        assert_eq!(text(members.take("alg").unwrap()).unwrap(), "HS256");
        assert!(members.take("alg").is_none());
        assert_eq!(members.rest(), Some("x"));
        assert_eq!(members.take("x").unwrap().get(), r#"{"y":[1]}"#);
        assert!(members.rest().is_none());
    }
}
