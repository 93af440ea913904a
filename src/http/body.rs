//! Bodies, read strictly: bounded, UTF-8, no name twice, no unknown names, no wrong types.
//!
//! An error says where and what kind of thing is wrong. It never repeats a value: a body holds
//! passwords.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpRequest, web};
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor,
};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use crate::accounts::error::AccountError;

use super::error::ApiError;

/// How long a body may be, and how long it may take.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    /// Most bytes of a JSON body.
    pub max: usize,
    /// How long a body may take, beside what `rate` gives it.
    pub grace: Duration,
    /// Bytes a second that it must come with at least, after the grace.
    pub rate: u32,
}

impl BodyLimits {
    /// How long a stream may take until so many bytes of it, or its end, have come.
    pub(super) fn patience_for(&self, bytes: u64) -> Duration {
        let rate = u64::from(self.rate.max(1));
        self.grace + Duration::from_secs(bytes / rate)
    }

    /// How long it may take until so many bytes, or the end, have come.
    fn patience(&self, bytes: usize) -> Duration {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.grace + Duration::from_secs_f64(f64::from(bytes) / f64::from(self.rate.max(1)))
    }
}

/// Reads a JSON body as `T`.
pub async fn json<T: DeserializeOwned>(
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<T, ApiError> {
    parse(&bytes(request, payload).await?)
}

/// Reads a body that is declared as JSON, within the node's bound, and leaves it as it came.
pub async fn bytes(
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<Zeroizing<Vec<u8>>, ApiError> {
    let declared = request.headers().get(header::CONTENT_TYPE);
    let declared = declared.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = declared.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(ApiError::UnsupportedMediaType);
    }
    let encoded = request.headers().get_all(header::CONTENT_ENCODING);
    if encoded.into_iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(ApiError::UnsupportedEncoding);
    }
    let limits = request.app_data::<BodyLimits>().copied().ok_or(ApiError::Internal)?;
    let max = limits.max;
    // What is declared too long is not waited for.
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| usize::try_from(length).map_or(true, |bytes| bytes > max)) {
        return Err(ApiError::BodyTooLarge { max });
    }
    // As much room as is declared, so that nothing is copied and no more is wiped than came; but
    // not whatever somebody declares who may send nothing.
    let declared = length.and_then(|length| usize::try_from(length).ok());
    read(payload, limits, declared.unwrap_or(ROOM).min(ROOM_MAX)).await
}

/// Room for a body of unknown length, in bytes.
const ROOM: usize = 1024;

/// Most room that is set aside for a body before it comes, in bytes.
const ROOM_MAX: usize = 16 * 1024;

/// Reads a body within its limits.
async fn read(
    mut payload: web::Payload,
    limits: BodyLimits,
    room: usize,
) -> Result<Zeroizing<Vec<u8>>, ApiError> {
    let max = limits.max;
    let started = Instant::now();
    let mut body = Zeroizing::new(Vec::with_capacity(room));
    loop {
        let deadline = started + limits.patience(body.len());
        let next = timeout_at(deadline, payload.next()).await;
        let Some(chunk) = next.map_err(|_| ApiError::RequestTimeout)? else { break };
        let broken = |_| ApiError::MalformedJson("the body did not arrive whole".to_owned());
        let chunk = chunk.map_err(broken)?;
        if body.len() + chunk.len() > max {
            return Err(ApiError::BodyTooLarge { max });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Refuses what is no JSON, or has an object with a name twice.
pub fn check_form(bytes: &[u8]) -> Result<(), ApiError> {
    let mut unique = serde_json::Deserializer::from_slice(bytes);
    let seen = UniqueNames.deserialize(&mut unique).and_then(|()| unique.end());
    seen.map_err(|error| malformed(&error))
}

/// Reads JSON bytes as `T`.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    check_form(bytes)?;
    // A list would be read as the fields of a request in their order.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(AccountError::field(".", "wrong_type", "expected an object").into());
    }
    let mut typed = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut typed).map_err(|error| {
        let path = shown_path(&error.path().to_string());
        wrong_field(&path, error.inner())
    })
}

fn malformed(error: &serde_json::Error) -> ApiError {
    let what = if error.to_string().starts_with(TWICE) {
        "a name is there twice"
    } else {
        "the body is not valid JSON"
    };
    let (line, column) = (error.line(), error.column());
    ApiError::MalformedJson(format!("{what}, at line {line} column {column}"))
}

/// What serde says, without the values it quotes.
fn wrong_field(path: &str, error: &serde_json::Error) -> ApiError {
    let said = error.to_string();
    let (code, detail) = if said.starts_with("unknown field") {
        ("unknown_field", "there is no such field".to_owned())
    } else if said.starts_with("missing field") {
        let name = said.split('`').nth(1).unwrap_or_default();
        ("required", format!("the field {name} is missing"))
    } else if let Some((_, expected)) = said.rsplit_once(", expected ") {
        // The last one: before it, the value itself may say that something was expected.
        let expected = expected.split(" at line").next().unwrap_or_default();
        ("wrong_type", format!("expected {expected}"))
    } else {
        ("invalid", "the value is not valid".to_owned())
    };
    let missing = said.split('`').nth(1).filter(|_| code == "required");
    let field = match (path, missing) {
        (".", Some(name)) => name.to_owned(),
        (path, Some(name)) => format!("{path}.{name}"),
        (path, None) => path.to_owned(),
    };
    AccountError::field(&field, code, detail).into()
}

/// A path of names, without anything that is no name.
fn shown_path(path: &str) -> String {
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '[' | ']');
    path.chars().filter(plain).take(128).collect()
}

/// What the error for a double name starts with.
const TWICE: &str = "name twice";

/// Reads an object of values, or the empty list that PHP writes for one without members.
pub fn members<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, Value>, D::Error> {
    struct MembersVisitor;

    impl<'de> Visitor<'de> for MembersVisitor {
        type Value = BTreeMap<String, Value>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            Deserialize::deserialize(de::value::MapAccessDeserializer::new(map))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            match items.next_element::<de::IgnoredAny>()? {
                Some(_) => Err(de::Error::invalid_type(de::Unexpected::Seq, &self)),
                None => Ok(BTreeMap::new()),
            }
        }
    }
    from.deserialize_any(MembersVisitor)
}

/// Walks a JSON text and fails where an object has a name twice. Keeps nothing.
#[derive(Clone, Copy)]
struct UniqueNames;

impl<'de> DeserializeSeed<'de> for UniqueNames {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for UniqueNames {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut names: HashSet<String> = HashSet::new();
        while let Some(name) = members.next_key::<String>()? {
            if !names.insert(name) {
                return Err(de::Error::custom(TWICE));
            }
            members.next_value_seed(self)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        #[expect(dead_code, reason = "only whether it can be read matters here")]
        password: String,
        #[serde(default)]
        #[expect(dead_code, reason = "as above")]
        flag: bool,
    }

    fn said(json: &str) -> (String, String) {
        let error = parse::<Body>(json.as_bytes()).unwrap_err();
        let problem = serde_json::to_value(error.problem("r")).unwrap();
        (problem["code"].as_str().unwrap().to_owned(), problem.to_string())
    }

    #[test]
    fn a_name_twice_is_malformed_at_any_depth() {
        assert_eq!(said(r#"{"password":"a","password":"b"}"#).0, "malformed_json");
        assert_eq!(said(r#"{"password":"a","x":[{"y":1,"y":2}]}"#).0, "malformed_json");
    }

    #[test]
    fn no_value_is_repeated() {
        for json in [
            r#"{"password":["hunter2"]}"#,
            r#"{"password":"a","x":"hunter2"}"#,
            r#"{"password":hunter2}"#,
            r#"{"password":"hunter2"#,
            r#"{"password":{"x, expected hunter2 ":1}}"#,
            r#"{"flag":"x, expected hunter2 ","password":"a"}"#,
        ] {
            let (_, body) = said(json);
            assert!(!body.contains("hunter2"), "{body}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let (code, body) = said("{}");
        assert_eq!(code, "invalid_fields");
        assert!(body.contains(r#""field":"password""#), "{body}");
        let (_, body) = said(r#"{"password":1}"#);
        assert!(body.contains("expected a string"), "{body}");
        assert_eq!(said("[").0, "malformed_json");
        assert_eq!(said("{} {}").0, "malformed_json");
    }
}
