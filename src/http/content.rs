//! A digest of what a JSON text says: the order of names and the spaces between them do not count.

use std::fmt;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use sha2::{Digest as _, Sha256};

use super::error::ApiError;

/// A digest of one value.
type Sum = [u8; 32];

/// The digest of a line and of what a JSON text says; no text is no value. A text that is no JSON
/// has none.
pub fn digest(line: &str, json: &[u8]) -> Result<Sum, ApiError> {
    let mut sums = vec![sum(b'l', &[line.as_bytes()])];
    if !json.is_empty() {
        let mut text = serde_json::Deserializer::from_slice(json);
        let unreadable = |_| ApiError::MalformedJson("the body is not valid JSON".to_owned());
        sums.push(Summing.deserialize(&mut text).map_err(unreadable)?);
    }
    Ok(sum_of_all(b'w', &sums))
}

/// A digest of parts that cannot be taken for another kind's; only the last may vary in length.
fn sum(kind: u8, parts: &[&[u8]]) -> Sum {
    let mut hasher = Sha256::new_with_prefix([kind]);
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

fn sum_of_all(kind: u8, sums: &[Sum]) -> Sum {
    sum(kind, &[sums.as_flattened()])
}

/// Walks a JSON text and keeps digests only: it may hold a password.
#[derive(Clone, Copy)]
struct Summing;

impl<'de> DeserializeSeed<'de> for Summing {
    type Value = Sum;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Sum, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Summing {
    type Value = Sum;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Sum, E> {
        Ok(sum(b'n', &[]))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Sum, E> {
        Ok(sum(b'b', &[&[u8::from(value)]]))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Sum, E> {
        Ok(sum(b'i', &[&value.to_be_bytes()]))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Sum, E> {
        Ok(sum(b'u', &[&value.to_be_bytes()]))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Sum, E> {
        Ok(sum(b'f', &[&value.to_bits().to_be_bytes()]))
    }

    fn visit_str<E>(self, value: &str) -> Result<Sum, E> {
        Ok(sum(b's', &[value.as_bytes()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Sum, A::Error> {
        let mut sums = Vec::new();
        while let Some(item) = items.next_element_seed(Self)? {
            sums.push(item);
        }
        Ok(sum_of_all(b'a', &sums))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Sum, A::Error> {
        let mut sums = Vec::new();
        while let Some(name) = members.next_key_seed(Self)? {
            let value = members.next_value_seed(Self)?;
            sums.push(sum_of_all(b'm', &[name, value]));
        }
        sums.sort_unstable();
        Ok(sum_of_all(b'o', &sums))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn of(json: &str) -> Sum {
        digest("POST /v1/users", json.as_bytes()).unwrap()
    }

    #[test]
    fn spaces_escapes_and_the_order_of_names_do_not_count() {
        let one = of(r#"{"a":{"x":1,"y":[true,null]},"b":"caf\u00e9"}"#);
        assert_eq!(one, of("{ \"b\":\"café\", \"a\" : {\"y\":[true, null],\n\"x\":1} }"));
    }

    #[test]
    fn everything_else_counts() {
        let different = [
            "{}",
            "[]",
            "null",
            "true",
            "false",
            "0",
            "1",
            "-1",
            "1.0",
            "1.5",
            r#""""#,
            r#""1""#,
            r#""true""#,
            "[1]",
            "[[1]]",
            "[1,2]",
            "[2,1]",
            "[12]",
            r#"{"a":1}"#,
            r#"{"a":[1]}"#,
            r#"["a",1]"#,
            r#"{"a":1,"b":2}"#,
            r#"{"a":2,"b":1}"#,
            r#"{"a":{"b":1}}"#,
            r#"{"ab":1}"#,
            "",
        ];
        let sums: BTreeSet<_> = different.iter().map(|json| of(json)).collect();
        assert_eq!(sums.len(), different.len());
        assert_ne!(of("{}"), digest("POST /v1/login", b"{}").unwrap());
        assert!(digest("POST /", b"{").is_err());
    }
}
