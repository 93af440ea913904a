//! Calls signed as a company signs them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use jcas::accounts::signing::ClientKey;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::http::request;
use crate::node::Node;

/// A company that signs its calls.
pub struct Signer {
    key: ClientKey,
    key_id: String,
    api_key: String,
    company: &'static str,
    /// No two tokens of a run are alike.
    number: AtomicU64,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'static str,
    iat: u64,
    exp: u64,
    jti: String,
    mth: &'a str,
    pth: &'a str,
    req: &'a RawValue,
}

impl Signer {
    /// Makes a company at a node whose calls must be signed, and which may only read.
    pub fn make(node: &Node) -> anyhow::Result<Self> {
        let company = "signer";
        let body = json!({ "countries": ["NG"], "signing": "required" });
        node.operate("PUT", &format!("/operator/companies/{company}"), Some(&body))?;
        Self::of(node, company, &["read"])
    }

    /// A new key of a company that is there.
    pub fn of(node: &Node, company: &'static str, scopes: &[&str]) -> anyhow::Result<Self> {
        let body = json!({ "scopes": scopes, "signing": "hs256" });
        let path = format!("/operator/companies/{company}/keys");
        let issued = node.operate("POST", &path, Some(&body))?;
        let text = |name: &str| issued.get(name).and_then(|it| it.as_str()).map(str::to_owned);
        let secret = text("signing_secret").context("no signing secret")?;
        Ok(Self {
            key: ClientKey::from_text(&secret)?,
            key_id: text("key").context("no key id")?,
            api_key: text("api_key").context("no API key")?,
            company,
            number: AtomicU64::new(0),
        })
    }

    /// A signed request. Empty where the body is no JSON.
    #[expect(clippy::disallowed_methods, reason = "a company takes the time it has")]
    pub fn request(&self, method: &str, path: &str, body: &str) -> Vec<u8> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let Ok(req) = serde_json::from_str(body) else { return Vec::new() };
        let claims = Claims {
            iss: self.company,
            aud: "jcas:jcas",
            iat: now,
            exp: now + 60,
            jti: format!("{number:032x}"),
            mth: method,
            pth: path,
            req,
        };
        let token = self.key.sign(&self.key_id, &claims);
        let body = token.map(|token| format!(r#"{{"jwt":"{}"}}"#, token.as_str()));
        request(method, path, ("X-Api-Key", &self.api_key), body.as_deref())
    }
}
