//! What the claims of a token must be.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use crate::accounts::signing::{LEEWAY_MS, LIFETIME_MS};
use crate::events::ids::CompanyId;

use super::fault::{Fault, TokenFault, shown_target};
use super::members::{Members, text};
use super::token::wrong;
use super::{Carried, Verified};

/// Longest `jti` and `idk`, in bytes of printable ASCII.
const ID_BYTES_MAX: usize = 64;

/// What a call's token must say.
pub(super) struct Expected<'a> {
    pub(super) company: CompanyId,
    pub(super) audiences: &'a [String; 2],
    pub(super) method: &'a str,
    pub(super) target: &'a str,
    /// The header `Idempotency-Key`.
    pub(super) idempotency_key: Option<&'a str>,
    pub(super) carried: &'a Carried,
    /// In Unix milliseconds.
    pub(super) now: u64,
}

/// A token that says it.
pub(super) struct Checked {
    pub(super) verified: Verified,
    /// When the token is refused as expired, in Unix milliseconds.
    pub(super) ends: u64,
    /// What is asked, as JSON; empty without a body.
    pub(super) asked: Zeroizing<Vec<u8>>,
}

/// Checks all claims: who, where, what, when.
pub(super) fn check(payload: &[u8], expected: &Expected<'_>) -> Result<Checked, TokenFault> {
    let members = Members::read(payload);
    let mut claims = members.ok_or_else(|| {
        let shape = "a JSON object, no name in it twice";
        TokenFault::invalid("claims", shape, "something else")
    })?;
    same(&mut claims, "iss", expected.company.as_str())?;
    check_audience(&mut claims, expected.audiences)?;
    same(&mut claims, "mth", expected.method)?;
    check_target(&mut claims, expected.target)?;
    let jti = identifier(claims.take("jti"), "jti")?;
    let idempotency_key = check_idempotency_key(&mut claims, expected.idempotency_key)?;
    let asked = check_request(&mut claims, expected.carried)?;
    let body_digest = check_digest(&mut claims, expected.carried)?;
    let (issued, ends) = check_times(&mut claims, expected.now)?;
    if let Some(name) = claims.rest() {
        return Err(wrong(name, "no claim of this name", Some("one")));
    }
    let checked = expected.now;
    let verified = Verified { jti, issued, checked, idempotency_key, body_digest };
    Ok(Checked { verified, ends, asked })
}

fn same(claims: &mut Members<'_>, name: &str, expected: &str) -> Result<(), TokenFault> {
    let sent = claims.take(name);
    match sent.and_then(text) {
        Some(sent) if sent == expected => Ok(()),
        _ => Err(wrong(name, expected, sent.map(RawValue::get))),
    }
}

/// One audience, as a text or as a list of it alone: a token for several is one that another of
/// them could send here.
fn check_audience(claims: &mut Members<'_>, right: &[String; 2]) -> Result<(), TokenFault> {
    let sent = claims.take("aud");
    // Looked at first: an attempt to read a text as a list makes an error with every call.
    let list = sent.map(RawValue::get).filter(|json| json.starts_with('['));
    let listed = list.and_then(|json| serde_json::from_str::<[&RawValue; 1]>(json).ok());
    let one = listed.map(|[one]| one).or(sent).and_then(text);
    if one.is_some_and(|one| right.iter().any(|right| *right == one)) {
        return Ok(());
    }
    let [deployment, region] = right;
    Err(wrong("aud", &format!("{deployment} or {region}"), sent.map(RawValue::get)))
}

fn check_target(claims: &mut Members<'_>, target: &str) -> Result<(), TokenFault> {
    let sent = claims.take("pth");
    let said = sent.and_then(text);
    if said.as_ref().is_some_and(|said| said == target) {
        return Ok(());
    }
    let (expected, got) = (shown_target(target), said.map(|said| shown_target(&said)));
    // What was left out of both may be where they differ.
    let alike = got.as_ref() == Some(&expected);
    let expected = if alike { format!("{expected} with the identity as sent") } else { expected };
    Err(wrong("pth", &expected, got.as_deref().or(sent.map(RawValue::get))))
}

/// A text of 1 to 64 printable ASCII characters.
fn identifier(sent: Option<&RawValue>, name: &str) -> Result<String, TokenFault> {
    let fits = |id: &str| {
        (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
    };
    match sent.and_then(text) {
        Some(id) if fits(&id) => Ok(id.into_owned()),
        _ => Err(wrong(name, "1 to 64 ASCII characters", sent.map(RawValue::get))),
    }
}

/// The header may be left out; where it is there, the token vouches for it.
fn check_idempotency_key(
    claims: &mut Members<'_>,
    header: Option<&str>,
) -> Result<Option<String>, TokenFault> {
    let sent = claims.take("idk");
    let claimed = sent.map(|sent| identifier(Some(sent), "idk")).transpose()?;
    if header.is_none() || header == claimed.as_deref() {
        return Ok(claimed);
    }
    Err(wrong("idk", "the same as the header Idempotency-Key", sent.map(RawValue::get)))
}

fn check_request(
    claims: &mut Members<'_>,
    carried: &Carried,
) -> Result<Zeroizing<Vec<u8>>, TokenFault> {
    let sent = claims.take("req").map(RawValue::get);
    // What PHP makes of an array without entries.
    let empty = sent.is_some_and(|json| {
        let bare: String = json.chars().filter(|c| !c.is_ascii_whitespace()).take(3).collect();
        bare == "[]" || bare == "{}"
    });
    match (carried, sent) {
        (Carried::Json(_), Some(_)) if empty => Ok(Zeroizing::new(b"{}".to_vec())),
        (Carried::Json(_), Some(json)) => Ok(Zeroizing::new(json.as_bytes().to_vec())),
        (Carried::Json(_), None) => Err(wrong("req", "the request, a JSON object", None)),
        (_, Some(_)) if !empty => {
            Err(wrong("req", "none: the call has no JSON body", Some("a request")))
        }
        _ => Ok(Zeroizing::default()),
    }
}

fn check_digest(
    claims: &mut Members<'_>,
    carried: &Carried,
) -> Result<Option<[u8; 32]>, TokenFault> {
    let sent = claims.take("bdh");
    match (carried, sent) {
        (Carried::Stream, sent) => {
            let digest = sent.and_then(text);
            let digest = digest.and_then(|it| URL_SAFE_NO_PAD.decode(it.as_bytes()).ok());
            let digest = digest.and_then(|bytes| bytes.try_into().ok());
            let expected = "SHA-256 of the body in base64url without padding";
            digest
                .map_or_else(|| Err(wrong("bdh", expected, sent.map(RawValue::get))), Ok)
                .map(Some)
        }
        (_, None) => Ok(None),
        (_, Some(sent)) => Err(wrong("bdh", "none: the call is no stream", Some(sent.get()))),
    }
}

/// A Unix time in seconds, in milliseconds. Fractions are taken.
fn time(claims: &mut Members<'_>, name: &str) -> Result<u64, TokenFault> {
    let sent = claims.take(name);
    let seconds = sent.and_then(|sent| serde_json::from_str::<f64>(sent.get()).ok());
    // Far beyond milliseconds taken for seconds, and far below where a float has no fraction.
    let seconds = seconds.filter(|seconds| (0.0..1e13).contains(seconds));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded above")]
    let milliseconds = seconds.map(|seconds| (seconds * 1000.0) as u64);
    milliseconds.ok_or_else(|| wrong(name, "a Unix time in seconds", sent.map(RawValue::get)))
}

/// Comes back with when it was issued and when it ends, leeway included.
fn check_times(claims: &mut Members<'_>, now: u64) -> Result<(u64, u64), TokenFault> {
    let (issued, expires) = (time(claims, "iat")?, time(claims, "exp")?);
    let fault = |fault, claim: &str, expected: String, got: u64| TokenFault {
        fault,
        claim: claim.to_owned(),
        expected,
        got: Some(seconds(got)),
        wanted: None,
    };
    if issued > now + LEEWAY_MS {
        let latest = format!("at most {}", seconds(now + LEEWAY_MS));
        return Err(fault(Fault::NotYetValid, "iat", latest, issued));
    }
    if let Some(sent) = claims.take("nbf") {
        let number: Option<f64> = serde_json::from_str(sent.get()).ok();
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of this era fit a float")]
        let latest = (now + LEEWAY_MS) as f64 / 1000.0;
        match number {
            Some(begins) if begins <= latest => {}
            Some(_) => {
                let mut fault = wrong("nbf", &format!("at most {latest}"), Some(sent.get()));
                fault.fault = Fault::NotYetValid;
                return Err(fault);
            }
            None => return Err(wrong("nbf", "a Unix time in seconds", Some(sent.get()))),
        }
    }
    if expires < issued || expires > issued + LIFETIME_MS {
        let range = format!("iat to iat + {}", LIFETIME_MS / 1000);
        return Err(fault(Fault::Invalid, "exp", range, expires));
    }
    let ends = expires + LEEWAY_MS;
    if ends <= now {
        let earliest = format!("more than {}", seconds(now - LEEWAY_MS));
        return Err(fault(Fault::Expired, "exp", earliest, expires));
    }
    Ok((issued, ends))
}

fn seconds(milliseconds: u64) -> String {
    match milliseconds % 1000 {
        0 => (milliseconds / 1000).to_string(),
        rest => format!("{}.{rest:03}", milliseconds / 1000),
    }
}

#[cfg(test)]
#[path = "claims_test.rs"]
mod tests;
