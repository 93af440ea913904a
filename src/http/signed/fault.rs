//! What is wrong with a token.
//!
//! Claims are no secrets, so what came is repeated, cut to a length. Two things are not: an API key
//! that somebody put in a claim, and an identity in a path.

use std::fmt;

use serde::Serialize;

/// Longest repeated text, in characters.
const SHOWN_CHARS_MAX: usize = 160;

/// Which of the codes it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// There is none, and there must be.
    Missing,
    /// It is not right.
    Invalid,
    /// It was, earlier.
    Expired,
    /// It will be, later.
    NotYetValid,
}

/// What is wrong with a token: which claim, what was expected, what came.
#[derive(Debug, Clone)]
pub struct TokenFault {
    /// The code.
    pub fault: Fault,
    /// The claim, or the part of the token.
    pub claim: String,
    /// What was expected.
    pub expected: String,
    /// What came, where something did.
    pub got: Option<String>,
    /// What a token of this caller's says, where there was none.
    pub wanted: Option<Box<Wanted>>,
}

/// What the tokens of a caller say.
#[derive(Debug, Clone, Serialize)]
pub struct Wanted {
    /// How they are signed; none where the API key cannot sign.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alg: Option<&'static str>,
    /// The API key's id.
    pub kid: String,
    /// The company.
    pub iss: String,
    /// Either is right.
    pub aud: [String; 2],
}

impl TokenFault {
    /// There is no token, and there must be one at this place.
    pub fn missing(place: &str, wanted: Wanted) -> Self {
        let how = wanted.alg.map_or_else(
            || "an API key that was issued with --signing; this one signs nothing".to_owned(),
            |alg| format!("{place} with a compact JWS, alg {alg}, kid {}", wanted.kid),
        );
        let (fault, claim) = (Fault::Missing, "jwt".to_owned());
        Self { fault, claim, expected: how, got: None, wanted: Some(Box::new(wanted)) }
    }

    /// Something is not as it must be.
    pub fn invalid(claim: &str, expected: &str, got: &str) -> Self {
        let (fault, got) = (Fault::Invalid, Some(shown(got)));
        let expected = expected.to_owned();
        Self { fault, claim: shown(claim), expected, got, wanted: None }
    }

    /// A claim that must be there is not.
    pub fn absent(claim: &str, expected: String) -> Self {
        let (fault, claim) = (Fault::Invalid, claim.to_owned());
        Self { fault, claim, expected, got: None, wanted: None }
    }

    /// It expires before other tokens that were forgotten already, in Unix milliseconds.
    pub fn forgotten(expires: u64) -> Self {
        let expected = "a later time: this node's clock was set back, and it forgot tokens like it";
        let (claim, got) = ("exp".to_owned(), Some((expires / 1000).to_string()));
        Self { fault: Fault::Expired, claim, expected: expected.to_owned(), got, wanted: None }
    }

    /// The call is signed and its API key cannot sign.
    pub fn no_signing_key() -> Self {
        let expected = "an API key that was issued with --signing; this one signs nothing";
        Self::absent("kid", expected.to_owned())
    }
}

impl fmt::Display for TokenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fault, claim, expected, got, .. } = self;
        match fault {
            Fault::Missing => write!(f, "calls of this company must be signed: {claim}")?,
            Fault::Invalid => write!(f, "the call's token is not right: {claim}")?,
            Fault::Expired => write!(f, "the call's token has expired: {claim}")?,
            Fault::NotYetValid => write!(f, "the call's token is not valid yet: {claim}")?,
        }
        write!(f, "; expected {expected}")?;
        got.as_ref().map_or(Ok(()), |got| write!(f, ", got {got}"))
    }
}

/// A text as it is repeated.
pub(super) fn shown(text: &str) -> String {
    if text.contains("jcas_") {
        return "a text with an API key in it".to_owned();
    }
    let printable = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let short: String = text.chars().take(SHOWN_CHARS_MAX).map(printable).collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        return format!("{short}.. ({} bytes)", text.len());
    }
    short
}

/// A request target as it is repeated: without the identity that may be in it.
pub(super) fn shown_target(target: &str) -> String {
    let (path, query) = target.split_once('?').map_or((target, None), |it| (it.0, Some(it.1)));
    let mut segments: Vec<&str> = path.split('/').collect();
    let kind = segments.iter().position(|segment| *segment == "identities");
    for value in segments.iter_mut().skip(kind.map_or(usize::MAX, |at| at + 2)) {
        *value = "(an identity)";
    }
    let path = segments.join("/");
    shown(&query.map_or(path.clone(), |query| format!("{path}?{query}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_repeated_is_short_and_holds_no_key_and_no_identity() {
        assert_eq!(shown("jcas:demo"), "jcas:demo");
        assert_eq!(shown("jcas_0123_secret"), "a text with an API key in it");
        assert!(shown(&"x".repeat(10_240)).ends_with(".. (10240 bytes)"));
        assert!(shown(&"x".repeat(10_240)).len() < 200);
        assert_eq!(shown("a\u{1b}[31m\n"), "a\u{fffd}[31m\u{fffd}");
        let target = "/v1/users/1/identities/email/ada@example.com?country=NG";
        assert_eq!(shown_target(target), "/v1/users/1/identities/email/(an identity)?country=NG");
        assert_eq!(shown_target("/v1/users/1/identities/email"), "/v1/users/1/identities/email");
        assert_eq!(shown_target("/v1/whoami?"), "/v1/whoami?");
    }
}
