//! Signed calls and signed answers, as a company that reads the contract makes and reads them.
//!
//! Tokens are made here by hand, from the contract, with none of the program's own code.

mod answers;
mod clients;
mod faults;
mod keys;
mod replay;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::Signer as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::node::{Answer, Company, Node, send};

/// What a company signs with.
#[derive(Clone)]
pub enum Key {
    /// HS256.
    Secret(String),
    /// EdDSA.
    Pair(ed25519_dalek::SigningKey),
}

/// A company whose calls must be signed, with one of its API keys.
#[derive(Clone)]
pub struct Signer {
    pub company: Company,
    pub kid: String,
    pub key: Key,
}

pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn decoded(part: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// Now, in Unix seconds.
pub fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

pub fn fresh_jti() -> String {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).unwrap();
    base64url(bytes)
}

/// The key pair of these tests, and its public half as a company hands it in.
pub fn pair(seed: u8) -> (ed25519_dalek::SigningKey, Value) {
    let pair = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
    let x = base64url(pair.verifying_key().as_bytes());
    (pair, json!({ "kty": "OKP", "crv": "Ed25519", "x": x }))
}

impl Key {
    pub fn alg(&self) -> &'static str {
        match self {
            Self::Secret(_) => "HS256",
            Self::Pair(_) => "EdDSA",
        }
    }

    /// The signature of a message, in base64url.
    pub fn sign(&self, message: &str) -> String {
        match self {
            Self::Secret(secret) => base64url(hmac(secret.as_bytes(), message)),
            Self::Pair(pair) => base64url(pair.sign(message.as_bytes()).to_bytes()),
        }
    }
}

pub fn hmac(secret: &[u8], message: &str) -> Vec<u8> {
    let mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    mac.chain_update(message).finalize().into_bytes().to_vec()
}

impl Signer {
    /// A company that must sign, with an HS256 key.
    pub fn hs256(node: &Node, id: &str) -> Self {
        Self::of(node, id, &json!({ "signing": "hs256" }), Key::Secret)
    }

    /// A company that must sign, with an EdDSA key.
    pub fn ed_dsa(node: &Node, id: &str) -> Self {
        let (pair, jwk) = pair(7);
        let asked = json!({ "signing": "eddsa", "public_jwk": jwk });
        Self::of(node, id, &asked, |_| Key::Pair(pair))
    }

    fn of(node: &Node, id: &str, asked: &Value, key: impl FnOnce(String) -> Key) -> Self {
        let body = json!({ "countries": ["NG"], "signing": "required" });
        node.operate("PUT", &format!("/operator/companies/{id}"), Some(&body)).done(200);
        let issued = issue(node, id, asked);
        let text = |name: &str| issued[name].as_str().unwrap_or_default().to_owned();
        let company = Company {
            url: node.url().to_owned(),
            key: text("api_key"),
            id: id.to_owned(),
            authority: None,
        };
        Self { company, kid: text("key"), key: key(text("signing_secret")) }
    }

    /// The same company at a node that was started again.
    pub fn at(&self, node: &Node) -> Self {
        Self { company: self.company.at(node), ..self.clone() }
    }

    pub fn header(&self) -> Value {
        json!({ "alg": self.key.alg(), "kid": self.kid })
    }

    /// The claims of a call. `req` is left out for null.
    pub fn claims(&self, method: &str, path: &str, req: &Value) -> Value {
        let now = now();
        let mut claims = json!({ "iss": self.company.id, "aud": "jcas:jcas", "iat": now,
            "exp": now + 60, "jti": fresh_jti(), "mth": method, "pth": path });
        if !req.is_null() {
            claims["req"] = req.clone();
        }
        claims
    }

    /// A token with any header and claims, rightly signed.
    pub fn token(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        format!("{message}.{}", self.key.sign(&message))
    }

    /// Sends a token: in the body where the call has one.
    pub fn send(&self, method: &str, path: &str, in_body: bool, token: &str) -> Answer {
        self.send_with(method, path, in_body, token, &[])
    }

    pub fn send_with(
        &self,
        method: &str,
        path: &str,
        in_body: bool,
        token: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        let bearer = format!("Bearer {token}");
        let mut all = vec![("X-Api-Key", self.company.key.as_str())];
        all.extend_from_slice(headers);
        if !in_body {
            all.push(("Authorization", &bearer));
        }
        let body = in_body.then(|| json!({ "jwt": token }).to_string());
        send(method, &format!("{}{path}", self.company.url), &all, body.as_deref())
    }

    /// A call as it should be. Without a body for null.
    pub fn call(&self, method: &str, path: &str, req: Value) -> Answer {
        let token = self.token(&self.header(), &self.claims(method, path, &req));
        self.send(method, path, !req.is_null(), &token)
    }

    /// Whether somebody is found by an e-mail address.
    pub fn finds(&self, email: &str) -> bool {
        let found = self.call("POST", "/v1/users/lookup", json!({ "email": email }));
        assert!(matches!(found.status, 200 | 404), "{}", found.text);
        found.status == 200
    }
}

pub fn message(header: &Value, claims: &Value) -> String {
    format!("{}.{}", base64url(header.to_string()), base64url(claims.to_string()))
}

/// Issues an API key of all scopes.
pub fn issue(node: &Node, id: &str, asked: &Value) -> Value {
    let mut body = json!({ "scopes": ["login", "read", "write", "sync", "link", "erase"] });
    for (name, value) in asked.as_object().unwrap() {
        body[name] = value.clone();
    }
    let issued = node.operate("POST", &format!("/operator/companies/{id}/keys"), Some(&body));
    issued.done(201).body.clone()
}
