//! How often a company may call: its API key's limits, checked before a call's body is read, and
//! told in the headers of the answer.
//!
//! `RateLimit-Limit` says what there is to use, `RateLimit` what is left, in the form of
//! draft-ietf-httpapi-ratelimit-headers: a limit's quota `q` comes back within its window `w`; `r`
//! are left, and all of them will be there again in `t` seconds.

use std::fmt::Write as _;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpMessage as _, HttpRequest, web};

use crate::accounts::limits::Limit;
use crate::events::ids::ApiKeyId;

use super::api::Api;
use super::error::{ApiError, whole_seconds};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Whose limits an answer tells.
#[derive(Debug, Clone, Copy)]
struct Limited(ApiKeyId);

/// Counts a call of an API key, or refuses it.
pub(super) fn admit(request: &HttpRequest, api: &Api, key: ApiKeyId) -> Result<(), ApiError> {
    request.extensions_mut().insert(Limited(key));
    Ok(api.accounts.take(key, Limit::Calls)?)
}

/// The limits a resource draws on.
fn drawn_on(pattern: &str) -> &'static [Limit] {
    match pattern {
        "/v1/login" | "/v1/users/{id}/password" => &[Limit::Calls, Limit::FailedLogins],
        "/v1/users/lookup" => &[Limit::Calls, Limit::Misses],
        "/v1/users"
        | "/v1/users/{id}/identities/{kind}"
        | "/v1/users/{id}/identities/{kind}/{value}" => &[Limit::Calls, Limit::Claims],
        _ => &[Limit::Calls],
    }
}

/// Tells an API key how it stands, in the headers of the answer to its call. A call that was made
/// without one is told nothing.
pub(super) fn tell(request: &HttpRequest, pattern: &str, headers: &mut HeaderMap) {
    let Some(Limited(key)) = request.extensions().get::<Limited>().copied() else { return };
    let Some(api) = request.app_data::<web::Data<Api>>() else { return };
    let (mut policy, mut left) = (String::new(), String::new());
    for of in drawn_on(pattern) {
        let standing = api.accounts.standing(key, *of);
        let comma = if policy.is_empty() { "" } else { ", " };
        let (name, window) = (of.as_str(), whole_seconds(standing.window));
        let (quota, remaining) = (standing.quota, standing.remaining);
        let reset = whole_seconds(standing.reset);
        // Writing to a string does not fail.
        let _ = write!(policy, "{comma}\"{name}\";q={quota};w={window}");
        let _ = write!(left, "{comma}\"{name}\";r={remaining};t={reset}");
    }
    for (name, text) in [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, left)] {
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(name, value);
        }
    }
}
