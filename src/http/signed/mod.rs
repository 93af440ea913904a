//! Signed calls: what a token must say, and that it says it.
//!
//! ```text
//! call -> token -> header: alg, kid -> signature -> claims: who, where, what, when -> once
//! ```
//!
//! Nothing of a token is believed before its signature is right, but for its `kid`, which must be
//! the API key that was recognised already. Whatever is wrong is named, with what was expected and
//! what came.
//!
//! | file | holds |
//! |---|---|
//! | `token` | a token found and taken apart |
//! | `members` | a JSON object's members, each looked at once |
//! | `claims` | what the claims must be |
//! | `fault` | what is wrong with a token |

mod claims;
pub mod fault;
mod members;
mod token;

use actix_web::HttpRequest;
use actix_web::http::Method;
use actix_web::http::header::HeaderValue;
use zeroize::Zeroizing;

use crate::accounts::caller::Recognised;
use crate::accounts::signing::{Algorithm, LEEWAY_MS, Spent};
use crate::accounts::{Accounts, Unavailable};
use crate::events::policy::Signing;

use self::claims::{Checked, Expected};
use self::fault::{TokenFault, Wanted};
use self::token::Token;
use super::answer::Asker;
use super::api::Api;
use super::body;
use super::error::ApiError;
use super::idempotency::IDEMPOTENCY_KEY;

/// What a call carries beside its head.
pub(super) enum Carried {
    /// Nothing: the token is in the header `Authorization`.
    Nothing,
    /// JSON: the token is the body.
    Json(Zeroizing<Vec<u8>>),
    /// A stream: the token is in the header and names the stream's digest.
    Stream,
}

impl Carried {
    fn into_body(self) -> Zeroizing<Vec<u8>> {
        match self {
            Self::Json(body) => body,
            Self::Nothing | Self::Stream => Zeroizing::default(),
        }
    }
}

/// What a token said of a call, beside what is asked.
#[derive(Debug, Clone)]
pub struct Verified {
    /// Its `jti`.
    pub jti: String,
    /// Its `iat`, in Unix milliseconds.
    pub issued: u64,
    /// When it was checked, in Unix milliseconds.
    pub checked: u64,
    /// Its `idk`: the call's idempotency key.
    pub idempotency_key: Option<String>,
    /// Its `bdh`: SHA-256 of the stream that comes.
    pub body_digest: Option<[u8; 32]>,
}

impl Verified {
    /// How far the caller's clock is ahead of this node's, in milliseconds.
    pub fn skew_ms(&self) -> i64 {
        let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        signed(self.issued) - signed(self.checked)
    }
}

/// Checks a call's signature where it has one, and that it has one where it must. Comes back with
/// what the token said, if there was one, and what is asked as JSON.
pub(super) async fn check(
    request: &HttpRequest,
    api: &Api,
    recognised: &Recognised,
    carried: Carried,
) -> Result<(Option<Verified>, Zeroizing<Vec<u8>>), ApiError> {
    let found = match token::find(request, &carried)? {
        Some(found) => found,
        None if recognised.signing == Signing::Optional => {
            return Ok((None, carried.into_body()));
        }
        None => {
            // A body that is no JSON is that before anything else.
            if let Carried::Json(body) = &carried {
                body::check_form(body)?;
            }
            return Err(missing(api, recognised, &carried));
        }
    };
    let key = api.accounts.token_key(recognised).await?;
    let Some(key) = key else { return Err(TokenFault::no_signing_key().into()) };
    let payload = Token::take_apart(&found)?.verify(&recognised.caller.key, &key)?;
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let expected = Expected {
        company: recognised.caller.company,
        audiences: &api.audiences,
        method: request.method().as_str(),
        target,
        idempotency_key: idempotency_key(request)?,
        carried: &carried,
        now: api.accounts.clock().unix_ms(),
    };
    let Checked { verified, ends, asked } = claims::check(&payload, &expected)?;
    once(&api.accounts, recognised, &verified, ends)?;
    Asker::signed_as(request, &verified.jti);
    Ok((Some(verified), asked))
}

/// Other methods than POST have none, whatever their headers say.
fn idempotency_key(request: &HttpRequest) -> Result<Option<&str>, ApiError> {
    if request.method() != Method::POST {
        return Ok(None);
    }
    let wrong = || TokenFault::invalid("idk", "the header Idempotency-Key in ASCII", "other bytes");
    let sent = request.headers().get(&IDEMPOTENCY_KEY).map(HeaderValue::to_str);
    Ok(sent.transpose().map_err(|_| wrong())?)
}

fn missing(api: &Api, recognised: &Recognised, carried: &Carried) -> ApiError {
    let place = match carried {
        Carried::Json(_) => "a body {\"jwt\": ..} and nothing else in it",
        Carried::Nothing | Carried::Stream => "a header Authorization: Bearer ..",
    };
    let wanted = Wanted {
        alg: recognised.algorithm.map(Algorithm::name),
        kid: recognised.caller.key.to_string(),
        iss: recognised.caller.company.to_string(),
        aud: api.audiences.clone(),
    };
    TokenFault::missing(place, wanted).into()
}

/// A token is taken once.
fn once(
    accounts: &Accounts,
    recognised: &Recognised,
    verified: &Verified,
    ends: u64,
) -> Result<(), ApiError> {
    let seconds_until = |time: u64| time.saturating_sub(verified.checked).div_ceil(1000).max(1);
    match accounts.spend(&recognised.caller, &verified.jti, (verified.issued, ends)) {
        Spent::Now => Ok(()),
        Spent::Before => Err(ApiError::ReplayedRequest),
        Spent::Full { until } => Err(ApiError::TokensFull { retry_after_s: seconds_until(until) }),
        Spent::NotKept => Err(Unavailable::Storage.into()),
        Spent::Unknown { until } => {
            Err(ApiError::TokensUnknown { retry_after_s: seconds_until(until + 1000) })
        }
        Spent::Forgotten => Err(TokenFault::forgotten(ends.saturating_sub(LEEWAY_MS)).into()),
    }
}
