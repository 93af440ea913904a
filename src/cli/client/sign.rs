//! A company's call, signed.

use anyhow::{Context as _, bail};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use crate::accounts::signing::{ClientKey, LIFETIME_MS};
use crate::clock::{self, Clock as _, OsEntropy, SystemClock};

use super::{Answered, Outgoing, send};

/// Signs calls of one API key.
pub(super) struct Signer {
    pub(super) key: ClientKey,
    pub(super) key_id: String,
    pub(super) company: String,
    pub(super) audience: String,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    iat: u64,
    exp: u64,
    jti: String,
    mth: &'a str,
    pth: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    idk: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    req: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bdh: Option<&'a str>,
}

/// The middle part of an API key.
pub(super) fn key_id(api_key: &str) -> anyhow::Result<String> {
    let parts = api_key.strip_prefix("jcas_").and_then(|rest| rest.split_once('_'));
    Ok(parts.context("an API key looks like jcas_<key id>_<secret>")?.0.to_owned())
}

impl Signer {
    /// The token of a call.
    pub(super) fn token(
        &self,
        method: &str,
        target: &str,
        body: Option<&str>,
        idempotency_key: Option<&str>,
    ) -> anyhow::Result<Zeroizing<String>> {
        let req = body.map(serde_json::from_str).transpose().context("the body is no JSON")?;
        self.sign((method, target), idempotency_key, req, None)
    }

    /// The token of a call that sends a stream with this digest.
    pub(super) fn stream_token(
        &self,
        method: &str,
        target: &str,
        digest: &str,
    ) -> anyhow::Result<Zeroizing<String>> {
        self.sign((method, target), None, None, Some(digest))
    }

    fn sign(
        &self,
        (method, target): (&str, &str),
        idempotency_key: Option<&str>,
        req: Option<&RawValue>,
        bdh: Option<&str>,
    ) -> anyhow::Result<Zeroizing<String>> {
        let jti: [u8; 16] = clock::random(&OsEntropy)?;
        let iat = SystemClock::new().unix_ms() / 1000;
        let claims = Claims {
            iss: &self.company,
            aud: &self.audience,
            iat,
            exp: iat + LIFETIME_MS / 1000,
            jti: hex::encode(jti),
            mth: method,
            pth: target,
            idk: idempotency_key,
            req,
            bdh,
        };
        self.key.sign(&self.key_id, &claims).context("the call cannot be signed")
    }
}

/// Asks a node who the company of an API key is and whom its tokens must name.
pub(super) fn ask_who(
    agent: &ureq::Agent,
    url: &str,
    api_key: &str,
) -> anyhow::Result<(String, String)> {
    let url = format!("{}/v1/whoami", url.trim_end_matches('/'));
    let headers = [("X-Api-Key", api_key)];
    let asked = Outgoing { method: "GET", url: &url, headers: &headers, body: None };
    let Answered { status, body, .. } = send(agent, &asked)?;
    let answer: Value = serde_json::from_str(&body).unwrap_or_default();
    let text = |pointer: &str| answer.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    // Where calls must be signed the refusal says how.
    let found = match status {
        200 => text("/company").zip(text("/deployment").map(|name| format!("jcas:{name}"))),
        _ => text("/token/iss").zip(text("/token/aud/0")),
    };
    match found {
        Some(found) => Ok(found),
        None => bail!("{url} does not say who this API key is of: {body}"),
    }
}
