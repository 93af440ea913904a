//! Whether a caller takes what a resource answers.

use actix_web::dev::ServiceRequest;
use actix_web::http::header::{self, HeaderMap};

use super::error::ApiError;

/// The one resource that answers text.
const METRICS: &str = "/metrics";

/// What signed answers are sent as.
pub const JWT: &str = "application/jwt";

/// Where the paths begin whose answers may be signed.
const SIGNED_BELOW: &str = "/v1/";

/// A media type: all of it, and its two halves.
type Media = (&'static str, &'static str, &'static str);

const TEXT: Media = ("text/plain", "text", "plain");
const JSON: Media = ("application/json", "application", "json");
const SIGNED: Media = (JWT, "application", "jwt");

/// Refuses a call whose `Accept` names nothing that the resource could answer. Without the header
/// everything is taken.
pub fn check(request: &ServiceRequest) -> Result<(), ApiError> {
    #[cfg(feature = "docs-page")]
    if super::docs_page::has(request.path()) {
        return Ok(());
    }
    let (offered, named): (&[Media], _) = match request.path() {
        METRICS => (&[TEXT], "text/plain"),
        path if path.starts_with(SIGNED_BELOW) => {
            (&[JSON, SIGNED], "application/json and application/jwt")
        }
        _ => (&[JSON], "application/json"),
    };
    let takes = |range: &str| offered.iter().any(|media| takes(range, *media));
    let mut ranges = ranges(request.headers()).peekable();
    if ranges.peek().is_none() || ranges.any(takes) {
        return Ok(());
    }
    Err(ApiError::NotAcceptable { offered: named })
}

/// Whether a signed answer is asked for, by its name.
pub fn names_jwt(headers: &HeaderMap) -> bool {
    ranges(headers).any(|range| !range.contains('*') && takes(range, SIGNED))
}

/// The media ranges of all `Accept` headers.
fn ranges(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let sent = headers.get_all(header::ACCEPT).filter_map(|value| value.to_str().ok());
    sent.flat_map(|list| list.split(','))
}

/// Whether one media range covers what is offered.
fn takes(range: &str, (_, offered, subtype): Media) -> bool {
    let mut parts = range.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default().to_ascii_lowercase();
    let refused = |parameter: &str| {
        let quality = parameter.to_ascii_lowercase();
        let quality = quality.strip_prefix("q=").map(|number| number.trim().parse::<f32>());
        quality.is_some_and(|number| number.is_ok_and(|number| number <= 0.0))
    };
    let covers = match name.split_once('/') {
        Some(("*", "*")) => true,
        Some((main, "*")) => main == offered,
        Some((main, sub)) => main == offered && sub == subtype,
        None => false,
    };
    covers && !parts.any(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_covers_what_it_names_and_what_its_star_stands_for() {
        for range in ["application/json", "*/*", " APPLICATION/* ; q=0.1", "application/json;v=1"] {
            assert!(takes(range, JSON), "{range}");
        }
        for range in ["text/html", "application/jwt", "*/*;q=0", "application/json; q=0.0", "json"]
        {
            assert!(!takes(range, JSON), "{range}");
        }
    }
    #[test]
    fn a_signed_answer_is_asked_for_by_name() {
        let named = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::ACCEPT, header::HeaderValue::from_static(value));
            }
            names_jwt(&headers)
        };
        for values in
            [&["application/jwt"][..], &["text/html, Application/JWT;q=0.5"], &["*/*", JWT]]
        {
            assert!(named(values), "{values:?}");
        }
        for values in [&[][..], &["*/*"], &["application/*"], &["application/jwt;q=0"], &["jwt"]] {
            assert!(!named(values), "{values:?}");
        }
    }
}
