//! Answers signed by the region, and the keys to verify them with, also while those change.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, VerifyingKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Signer, base64url, decoded, now};
use crate::node::{Answer, Node, send};
use crate::problem::problem;

const JWT: [(&str, &str); 1] = [("Accept", "application/jwt")];

/// The keys that a node publishes.
fn jwks(node: &Node) -> Vec<Value> {
    let answer = send("GET", &format!("{}/.well-known/jwks.json", node.url()), &[], None);
    assert!(answer.done(200).header("cache-control").unwrap().contains("max-age="));
    answer.body["keys"].as_array().unwrap().clone()
}

/// The claims of a signed answer, if one of the keys signed it.
fn verified(answer: &Answer, keys: &[Value]) -> Option<Value> {
    assert_eq!(answer.header("content-type"), Some("application/jwt"), "{}", answer.text);
    assert_eq!(answer.body.as_object().unwrap().len(), 1, "{}", answer.text);
    let (message, signature) = answer.body["jwt"].as_str().unwrap().rsplit_once('.').unwrap();
    let (header, claims) = message.split_once('.').unwrap();
    let header = decoded(header);
    assert_eq!(header["alg"], "EdDSA");
    let key = keys.iter().find(|key| key["kid"] == header["kid"])?;
    let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let public: [u8; 32] = bytes(key["x"].as_str().unwrap()).try_into().unwrap();
    let signature = Signature::from_slice(&bytes(signature)).unwrap();
    let key = VerifyingKey::from_bytes(&public).unwrap();
    key.verify_strict(message.as_bytes(), &signature).unwrap();
    Some(decoded(claims))
}

/// A call that asks for a signed answer. Comes back with its `jti`.
fn ask(signer: &Signer, method: &str, path: &str, req: &Value) -> (Answer, String) {
    let claims = signer.claims(method, path, req);
    let token = signer.token(&signer.header(), &claims);
    let answer = signer.send_with(method, path, !req.is_null(), &token, &JWT);
    (answer, claims["jti"].as_str().unwrap().to_owned())
}

#[test]
fn the_published_keys_are_named_by_their_thumbprints() {
    let node = Node::started(&[]);
    let keys = jwks(&node);
    assert_eq!(keys.len(), 3);
    for key in &keys {
        let x = key["x"].as_str().unwrap();
        let named = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        assert_eq!(key["kid"], base64url(Sha256::digest(named)));
        let rest = [&key["use"], &key["alg"], &key["kty"], &key["crv"]];
        assert_eq!(rest, ["sig", "EdDSA", "OKP", "Ed25519"]);
        assert!(key.get("d").is_none());
    }
}

#[test]
fn an_answer_says_who_answers_whom_what_and_when() {
    let node = Node::started(&[]);
    let keys = jwks(&node);
    let signer = Signer::hs256(&node, "shop");
    let register = json!({ "country": "NG", "email": "a@example.com", "password": "one two" });
    let (answer, jti) = ask(&signer, "POST", "/v1/users", &register);
    let claims = verified(answer.done(201), &keys).unwrap();
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!("jcas:local"), &json!("shop")));
    assert_eq!(claims["irt"], jti);
    assert_eq!(claims["res"]["identities"][0]["value"], "a@example.com");
    let (iat, exp) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
    assert!((iat - now()).abs() < 30 && exp - iat == 60, "{claims}");
    assert!(answer.header("location").is_some());
    let user = claims["res"]["user_id"].as_str().unwrap();
    let path = format!("/v1/users/{user}");
    let (answer, _) = ask(&signer, "GET", &path, &Value::Null);
    let again = verified(answer.done(200), &keys).unwrap();
    assert_ne!(again["jti"], claims["jti"]);
    assert_eq!(again["res"], signer.call("GET", &path, Value::Null).body, "it is the plain answer");
    // Nothing is signed where there is nothing.
    let etag = answer.header("etag").unwrap().to_owned();
    let claims = signer.claims("GET", &path, &Value::Null);
    let token = signer.token(&signer.header(), &claims);
    let headers = [JWT[0], ("If-None-Match", etag.as_str())];
    let unchanged = signer.send_with("GET", &path, false, &token, &headers);
    assert_eq!(unchanged.done(304).text, "");
}

#[test]
fn refusals_of_known_callers_are_signed_and_others_are_not() {
    let node = Node::started(&[]);
    let keys = jwks(&node);
    let signer = Signer::hs256(&node, "shop");
    let lookup = json!({ "email": "nobody@example.com" });
    let (answer, jti) = ask(&signer, "POST", "/v1/users/lookup", &lookup);
    let claims = verified(answer.done(404), &keys).unwrap();
    assert_eq!((&claims["res"]["code"], &claims["irt"]), (&json!("user_not_found"), &json!(jti)));
    assert_eq!(claims["res"]["status"], 404);
    // Who sent this is known by the key; which call it answers is not, since nobody vouches for it.
    let claims = signer.claims("GET", "/v1/other", &Value::Null);
    let token = signer.token(&signer.header(), &claims);
    let answer = signer.send_with("GET", "/v1/whoami", false, &token, &JWT);
    let claims = verified(answer.done(401), &keys).unwrap();
    assert_eq!((&claims["res"]["claim"], claims.get("irt")), (&json!("pth"), None));
    let plain = node.company("plain", &["NG"]);
    let answer = plain.call_raw("GET", "/v1/whoami", &JWT, None);
    let claims = verified(answer.done(200), &keys).unwrap();
    assert_eq!((&claims["aud"], claims.get("irt")), (&json!("plain"), None));

    let url = format!("{}/v1/whoami", node.url());
    problem(&send("GET", &url, &[("X-Api-Key", "jcas_a_b"), JWT[0]], None), 401, "api_key_invalid");
    let health = send("GET", &format!("{}/health/live", node.url()), &JWT, None);
    problem(&health, 406, "not_acceptable");
    for accept in ["*/*", "application/*", "application/json"] {
        let answer = plain.call_raw("GET", "/v1/whoami", &[("Accept", accept)], None);
        assert_eq!(answer.done(200).header("content-type"), Some("application/json"), "{accept}");
    }
}

#[test]
fn keys_for_answers_overlap_while_they_change_and_outlive_restarts() {
    let mut node = Node::started(&[]);
    let signer = Signer::hs256(&node, "shop");
    let first_keys = jwks(&node);
    let (first, _) = ask(&signer, "GET", "/v1/whoami", &Value::Null);
    assert!(verified(&first, &first_keys).is_some());
    assert_eq!(node.stop(), 0);
    node.start();
    assert_eq!(jwks(&node), first_keys);

    assert_eq!(node.stop(), 0);
    node.set("keys.answer_key", "2");
    node.start();
    let next_keys = jwks(&node);
    assert_ne!(next_keys, first_keys);
    assert!(verified(&first, &next_keys).is_some(), "what the last key signed still verifies");
    let (next, _) = ask(&signer.at(&node), "GET", "/v1/whoami", &Value::Null);
    assert!(verified(&next, &next_keys).is_some());
    assert!(verified(&next, &first_keys).is_some(), "who kept the keys knows the next one");

    assert_eq!(node.stop(), 0);
    node.set("keys.answer_key", "3");
    node.start();
    assert!(verified(&first, &jwks(&node)).is_none(), "two steps later it is gone");
    // Another deployment has other keys.
    let elsewhere = Node::started(&[]);
    assert!(jwks(&elsewhere).iter().all(|key| !first_keys.contains(key)));
}
