//! Known answers, and that a key verifies in its own way only.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::Digest as _;

use super::*;

/// RFC 8037, appendix A: a private JWK, its thumbprint and a signed text.
const PRIVATE: &str = r#"{"kty":"OKP","crv":"Ed25519",
    "d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
const PUBLIC: &str =
    r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
const MESSAGE: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
const SIGNATURE: &str = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt\
                         9g7sVvpAr_MuM0KAg";

#[test]
fn a_signature_of_rfc_8037_verifies_and_no_other_does() {
    let key = TokenKey::ed_dsa(&TokenKey::public_of_jwk(PUBLIC.as_bytes()).unwrap());
    assert!(key.verifies(MESSAGE, SIGNATURE));
    assert!(!key.verifies(&MESSAGE.replace("RXhh", "RXhi"), SIGNATURE));
    assert!(!key.verifies(MESSAGE, &SIGNATURE.replace("hgyY", "hgyZ")));
    for broken in ["", "AAAA", "not base64!", &SIGNATURE[..80], &format!("{SIGNATURE}AA")] {
        assert!(!key.verifies(MESSAGE, broken), "{broken}");
    }
}

#[test]
fn a_tag_of_rfc_7515_verifies_and_no_other_does() {
    let secret = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAz\
                  Zr1Z9CAow";
    let secret = URL_SAFE_NO_PAD.decode(secret).unwrap();
    let key = TokenKey::hs256(&secret);
    let message = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4\
                   MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let tag = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    assert!(key.verifies(message, tag));
    assert!(!key.verifies(message, &tag.replace("dBjf", "dBjg")));
    assert!(!key.verifies(message, &tag[..40]));
    assert!(!key.verifies(message, ""));
}

/// The oldest trick: the public key, which everybody has, taken for the secret of an HMAC.
#[test]
fn a_public_key_is_no_secret() {
    let public = TokenKey::public_of_jwk(PUBLIC.as_bytes()).unwrap();
    let attacker = TokenKey::hs256(&public);
    let (forged, tag) = split(&sign_with_secret(&public));
    assert!(attacker.verifies(&forged, &tag), "the tag is what the trick needs");
    assert!(!TokenKey::ed_dsa(&public).verifies(&forged, &tag));
}

fn sign_with_secret(secret: &[u8]) -> String {
    let key = jsonwebtoken::EncodingKey::from_secret(secret);
    provider::install();
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &json!({ "a": 1 }), &key).unwrap()
}

fn split(token: &str) -> (String, String) {
    let (message, signature) = token.rsplit_once('.').unwrap();
    (message.to_owned(), signature.to_owned())
}

#[test]
fn what_a_client_signs_its_own_public_key_verifies() {
    let signed = ClientKey::from_text(PRIVATE).unwrap().sign("k1", &json!({ "a": 1 })).unwrap();
    let (message, signature) = split(&signed);
    let public = TokenKey::public_of_jwk(PUBLIC.as_bytes()).unwrap();
    assert!(TokenKey::ed_dsa(&public).verifies(&message, &signature));
    let signed = ClientKey::from_text("a secret\n").unwrap().sign("k1", &json!({})).unwrap();
    let (message, signature) = split(&signed);
    assert!(TokenKey::hs256(b"a secret").verifies(&message, &signature));
    assert!(!TokenKey::hs256(b"a secres").verifies(&message, &signature));
}

#[test]
fn only_a_sound_public_jwk_is_taken() {
    let said = |json: &str| TokenKey::public_of_jwk(json.as_bytes()).unwrap_err().to_string();
    assert!(said(PRIVATE).contains("private"), "{}", said(PRIVATE));
    let weak = r#"{"kty":"OKP","crv":"Ed25519","x":"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#;
    assert!(said(weak).contains("sound"));
    for bad in [
        "",
        "{}",
        "[]",
        r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#,
        r#"{"kty":"OKP","crv":"X25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
        r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHU"}"#,
        r#"{"kty":"oct","k":"AQAB"}"#,
    ] {
        assert!(said(bad).contains("public JWK"), "{bad}");
    }
    assert!(ClientKey::from_text(PUBLIC).is_err(), "nothing is signed with a public half");
}

#[test]
fn the_kid_of_a_published_key_is_its_rfc_7638_thumbprint() {
    // RFC 8037, appendix A.3.
    let named =
        r#"{"crv":"Ed25519","kty":"OKP","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let kid = URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(named));
    assert_eq!(kid, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    let seed = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
    let seed = URL_SAFE_NO_PAD.decode(seed).unwrap();
    let seed = zeroize::Zeroizing::new(<[u8; 32]>::try_from(seed).unwrap());
    assert_eq!(answer_keys::PublicJwk::of(&seed).kid(), kid);
}

#[test]
fn neighbouring_numbers_publish_each_other() {
    let kids = |number| {
        let keys = AnswerKeys::derive(&[7; 32], number);
        keys.published().iter().map(|jwk| jwk.kid().to_owned()).collect::<Vec<_>>()
    };
    let (one, two) = (kids(1), kids(2));
    assert_eq!((one.len(), two.len()), (3, 3));
    assert!(one.contains(&two[0]), "the next key is known before it signs");
    assert!(two.contains(&one[0]), "what the last key signed can still be verified");
    assert!(!kids(3).contains(&one[0]), "and two steps later it cannot");
    assert_ne!(
        one,
        AnswerKeys::derive(&[8; 32], 1)
            .published()
            .iter()
            .map(|it| it.kid().to_owned())
            .collect::<Vec<_>>()
    );
}

#[test]
fn an_answer_verifies_under_the_first_published_key() {
    let keys = AnswerKeys::derive(&[7; 32], 5);
    let (message, signature) = split(&keys.sign(&json!({ "res": {} })).unwrap());
    let jwk = serde_json::to_vec(&keys.published()[0]).unwrap();
    let public = TokenKey::public_of_jwk(&jwk).unwrap();
    assert!(TokenKey::ed_dsa(&public).verifies(&message, &signature));
    let header = URL_SAFE_NO_PAD.decode(message.split('.').next().unwrap()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    assert_eq!(header["alg"], "EdDSA");
    assert_eq!(header["kid"], keys.published()[0].kid());
}
