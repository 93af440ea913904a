//! A token: found in a call, taken apart, its header and signature checked.

use std::borrow::Cow;

use actix_web::HttpRequest;
use actix_web::http::header;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use crate::accounts::signing::TokenKey;
use crate::events::ids::ApiKeyId;

use super::Carried;
use super::fault::TokenFault;
use super::members::{Members, text};

/// Longest token in a header, in bytes. One in a body is bounded with the body.
const HEADER_TOKEN_BYTES_MAX: usize = 8192;

/// Longest header of a token, in bytes. It names an algorithm and a key.
const TOKEN_HEADER_BYTES_MAX: usize = 16 * 1024;

/// Longest key id, in bytes of ASCII.
const KID_BYTES_MAX: usize = 64;

/// The token of a call, if it has one.
pub(super) fn find<'a>(
    request: &'a HttpRequest,
    carried: &'a Carried,
) -> Result<Option<Cow<'a, str>>, TokenFault> {
    let mut sent = request.headers().get_all(header::AUTHORIZATION);
    let first = sent.next();
    let invalid =
        |expected: &str, got: &str| Err(TokenFault::invalid("Authorization", expected, got));
    match (first, carried) {
        (None, Carried::Json(body)) => Ok(in_body(body)),
        (None, Carried::Nothing | Carried::Stream) => Ok(None),
        (Some(_), Carried::Json(_)) => {
            invalid("no such header: a call with a JSON body has its token there", "one")
        }
        (Some(_), _) if sent.next().is_some() => invalid("one such header", "several"),
        (Some(value), _) => {
            let words = value.to_str().ok().and_then(|text| text.split_once(' '));
            let token = words.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
            match token.map(|(_, token)| token.trim()) {
                Some(token) if token.len() > HEADER_TOKEN_BYTES_MAX => {
                    let most = format!("a token of at most {HEADER_TOKEN_BYTES_MAX} bytes");
                    invalid(&most, &format!("{} bytes", token.len()))
                }
                Some(token) => Ok(Some(Cow::Borrowed(token))),
                None => invalid("Bearer and a compact JWS", "something else"),
            }
        }
    }
}

/// The token in a body that is `{"jwt": ".."}` and nothing else. No request has a member of that
/// name.
fn in_body(body: &[u8]) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Signed<'a> {
        #[serde(borrow)]
        jwt: Cow<'a, str>,
    }
    // A list would be read as a struct's fields in order.
    body.trim_ascii_start().first().filter(|byte| **byte == b'{')?;
    serde_json::from_slice::<Signed<'_>>(body).ok().map(|signed| signed.jwt)
}

/// A compact JWS, taken apart.
pub(super) struct Token<'a> {
    header: &'a str,
    payload: &'a str,
    signature: &'a str,
    message: &'a str,
}

impl<'a> Token<'a> {
    /// Takes a token apart: three parts with dots between them.
    pub(super) fn take_apart(token: &'a str) -> Result<Self, TokenFault> {
        let parts = || {
            let (message, signature) = token.rsplit_once('.')?;
            let (header, payload) = message.split_once('.')?;
            (!payload.contains('.')).then_some(Self { header, payload, signature, message })
        };
        parts().ok_or_else(|| {
            let expected = "a compact JWS: header.claims.signature, each in base64url";
            TokenFault::invalid("jwt", expected, &format!("{} parts", token.split('.').count()))
        })
    }

    /// Checks header and signature. Comes back with the claims as JSON.
    pub(super) fn verify(
        &self,
        key_id: &ApiKeyId,
        key: &TokenKey,
    ) -> Result<Zeroizing<Vec<u8>>, TokenFault> {
        self.check_header(key_id, key)?;
        if !key.verifies(self.message, self.signature) {
            let alg = key.algorithm().name();
            let expected = format!("header.claims as sent, signed {alg} with the key of {key_id}");
            let got = if self.signature.is_empty() { "none" } else { "another signature" };
            return Err(TokenFault::invalid("signature", &expected, got));
        }
        decode("claims", self.payload)
    }

    fn check_header(&self, key_id: &ApiKeyId, key: &TokenKey) -> Result<(), TokenFault> {
        if self.header.len() > TOKEN_HEADER_BYTES_MAX {
            let expected = format!("at most {TOKEN_HEADER_BYTES_MAX} bytes");
            let got = format!("{} bytes", self.header.len());
            return Err(TokenFault::invalid("header", &expected, &got));
        }
        let json = decode("header", self.header)?;
        let members = Members::read(&json);
        let mut members = members.ok_or_else(|| {
            let expected = "a JSON object, no name in it twice";
            TokenFault::invalid("header", expected, "something else")
        })?;
        let alg = key.algorithm().name();
        let sent = members.take("alg");
        if sent.and_then(text).is_none_or(|sent| sent != alg) {
            return Err(wrong("alg", alg, sent.map(RawValue::get)));
        }
        let sent = members.take("kid");
        if sent.and_then(text).is_none_or(|sent| sent != key_id.as_str()) {
            let long = sent.and_then(text).filter(|kid| kid.len() > KID_BYTES_MAX);
            let long = long.map(|kid| format!("{} bytes", kid.len()));
            let got = long.as_deref().or(sent.map(RawValue::get));
            return Err(wrong("kid", key_id.as_str(), got));
        }
        let sent = members.take("typ");
        if let Some(typ) = sent
            && !text(typ).is_some_and(|typ| typ.eq_ignore_ascii_case("jwt"))
        {
            return Err(wrong("typ", "JWT, or nothing", Some(typ.get())));
        }
        // Above all no key that a token brings itself, and nothing that is critical.
        members.rest().map_or(Ok(()), |name| {
            Err(wrong(name, "no member of the header but alg, kid and typ", Some("one")))
        })
    }
}

/// A claim that is not what it must be, or not there.
pub(super) fn wrong(claim: &str, expected: &str, got: Option<&str>) -> TokenFault {
    match got {
        Some(got) => TokenFault::invalid(claim, expected, got.trim_matches('"')),
        None => TokenFault::absent(claim, expected.to_owned()),
    }
}

/// Decodes a part. Its JSON may hold a password, so it is wiped.
fn decode(part: &str, text: &str) -> Result<Zeroizing<Vec<u8>>, TokenFault> {
    // Room for all of it at once: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len().div_ceil(4) * 3));
    URL_SAFE_NO_PAD
        .decode_vec(text, &mut bytes)
        .map_err(|_| TokenFault::invalid(part, "base64url without padding", "something else"))?;
    Ok(bytes)
}
