//! Claims at their limits.

use serde_json::{Value, json};

use super::*;

const NOW: u64 = 1_763_800_000_000;
const TARGET: &str = "/v1/users/1?x=%20y";

fn right() -> Value {
    let now = NOW / 1000;
    json!({ "iss": "shop", "aud": "jcas:demo", "iat": now, "exp": now + 60, "jti": "one",
        "mth": "POST", "pth": TARGET, "req": { "a": 1 } })
}

fn changed(name: &str, value: Value) -> Value {
    let mut claims = right();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = right();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn check_as(claims: &Value, carried: &Carried, key: Option<&str>) -> Result<Checked, TokenFault> {
    let audiences = ["jcas:demo".to_owned(), "jcas:west".to_owned()];
    let expected = Expected {
        company: "shop".parse().unwrap(),
        audiences: &audiences,
        method: "POST",
        target: TARGET,
        idempotency_key: key,
        carried,
        now: NOW,
    };
    check(claims.to_string().as_bytes(), &expected)
}

fn json_body() -> Carried {
    Carried::Json(Zeroizing::default())
}

fn checked(claims: &Value) -> Checked {
    check_as(claims, &json_body(), None).unwrap_or_else(|fault| panic!("{fault}: {claims}"))
}

#[track_caller]
fn refused(claims: &Value) -> (Fault, String) {
    match check_as(claims, &json_body(), None) {
        Ok(_) => panic!("taken: {claims}"),
        Err(fault) => (fault.fault, fault.claim),
    }
}

#[test]
fn right_claims_are_taken() {
    let all = checked(&right());
    assert_eq!(all.asked.as_slice(), br#"{"a":1}"#);
    assert_eq!(all.ends, NOW + 60_000 + 30_000);
    assert_eq!((all.verified.jti.as_str(), all.verified.issued), ("one", NOW));
    checked(&changed("aud", json!("jcas:west")));
    checked(&changed("aud", json!(["jcas:demo"])));
    checked(&changed("nbf", json!(NOW / 1000)));
    checked(&changed("jti", json!("x".repeat(64))));
}

#[test]
fn a_claim_that_is_missing_or_of_another_kind_is_named() {
    for name in ["iss", "aud", "iat", "exp", "jti", "mth", "pth", "req"] {
        assert_eq!(refused(&without(name)), (Fault::Invalid, name.to_owned()));
        if name == "req" {
            continue;
        }
        for other in [json!(null), json!({ "a": 1 }), json!([1, 2]), json!(true), json!("")] {
            assert_eq!(refused(&changed(name, other)), (Fault::Invalid, name.to_owned()));
        }
    }
    for (name, value) in [
        ("aud", json!(["jcas:demo", "other"])),
        ("aud", json!([])),
        ("aud", json!("jcas:demo ")),
        ("jti", json!("x".repeat(65))),
        ("jti", json!("two words")),
        ("jti", json!("\u{e9}")),
        ("idk", json!("")),
        ("iat", json!("1763800000")),
        ("iat", json!(-1)),
        ("iat", json!(1e300)),
        ("nbf", json!("now")),
        ("bdh", json!("x")),
        ("sub", json!("x")),
        ("mth", json!("post")),
        ("pth", json!("/v1/users/1?x= y")),
        ("pth", json!("/v1/users/1")),
    ] {
        assert_eq!(refused(&changed(name, value)), (Fault::Invalid, name.to_owned()));
    }
}

#[test]
fn times_are_taken_to_the_second_of_their_limits() {
    let at = |issued: f64, lasting: f64| {
        let mut claims = changed("iat", json!(issued));
        claims["exp"] = json!(issued + lasting);
        claims
    };
    #[expect(clippy::cast_precision_loss, reason = "a time of this era")]
    let now = (NOW / 1000) as f64;
    for (ahead, lasting) in [(30.0, 60.0), (-89.0, 60.0), (-29.5, 0.0), (0.25, 60.0)] {
        checked(&at(now + ahead, lasting));
    }
    assert_eq!(refused(&at(now + 30.5, 60.0)), (Fault::NotYetValid, "iat".to_owned()));
    assert_eq!(refused(&at(now * 1000.0, 60.0)), (Fault::NotYetValid, "iat".to_owned()));
    assert_eq!(refused(&at(now - 90.0, 60.0)), (Fault::Expired, "exp".to_owned()));
    assert_eq!(refused(&at(now - 31.0, 1.0)), (Fault::Expired, "exp".to_owned()));
    assert_eq!(refused(&at(now, 61.0)), (Fault::Invalid, "exp".to_owned()));
    assert_eq!(refused(&at(now, -1.0)), (Fault::Invalid, "exp".to_owned()));
    let later = changed("nbf", json!(now + 31.0));
    assert_eq!(refused(&later), (Fault::NotYetValid, "nbf".to_owned()));
}

#[test]
fn what_php_writes_for_an_empty_array_is_an_empty_object() {
    for empty in [json!([]), json!({})] {
        let checked = checked(&changed("req", empty.clone()));
        assert_eq!(checked.asked.as_slice(), b"{}");
        // And a call without a body may say that it asks for nothing.
        assert!(check_as(&changed("req", empty), &Carried::Nothing, None).is_ok());
    }
    let list = checked(&changed("req", json!([[]])));
    assert_eq!(list.asked.as_slice(), b"[[]]");
    assert!(check_as(&right(), &Carried::Nothing, None).is_err(), "nobody would read it");
    assert!(check_as(&without("req"), &Carried::Nothing, None).is_ok());
}

#[test]
fn a_stream_is_named_by_its_digest() {
    let digest = URL_SAFE_NO_PAD.encode([7_u8; 32]);
    let mut claims = without("req");
    assert_eq!(check_as(&claims, &Carried::Stream, None).err().unwrap().claim, "bdh");
    claims["bdh"] = json!("AAAA");
    assert_eq!(check_as(&claims, &Carried::Stream, None).err().unwrap().claim, "bdh");
    claims["bdh"] = json!(digest);
    let checked = check_as(&claims, &Carried::Stream, None).ok().unwrap();
    assert_eq!(checked.verified.body_digest, Some([7; 32]));
    assert_eq!(check_as(&claims, &Carried::Nothing, None).err().unwrap().claim, "bdh");
}

#[test]
fn a_token_vouches_for_the_idempotency_key_of_its_call() {
    let with = |claimed: Option<&str>, header| {
        let claims = claimed.map_or_else(right, |claimed| changed("idk", json!(claimed)));
        check_as(&claims, &json_body(), header).map(|it| it.verified.idempotency_key)
    };
    assert_eq!(with(Some("k"), Some("k")).ok().unwrap().as_deref(), Some("k"));
    assert_eq!(with(Some("k"), None).ok().unwrap().as_deref(), Some("k"));
    assert_eq!(with(None, None).ok().unwrap(), None);
    assert_eq!(with(Some("k"), Some("l")).err().unwrap().claim, "idk");
    assert_eq!(with(None, Some("k")).err().unwrap().claim, "idk");
}

#[test]
fn what_is_left_over_is_named_and_not_shown() {
    let fault = check_as(&changed("password", json!("s3cr3t")), &json_body(), None).err().unwrap();
    assert_eq!(fault.claim, "password");
    assert!(!fault.to_string().contains("s3cr3t"), "{fault}");
}
