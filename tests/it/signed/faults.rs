//! Every way a token can be wrong, each through a socket: refused by name, and nothing done.

use serde_json::{Value, json};

use super::{Key, Signer, base64url, hmac, message, now, pair};
use crate::node::{Answer, Node};
use crate::problem::{MARK, Untouched, problem};

/// What is wrong with a token, made from a right one's header and claims.
type Fault<'a> = (&'a str, &'a str, &'a dyn Fn(&Signer, Value, Value) -> String);

const NEW: &str = "new@example.com";

fn registration() -> Value {
    json!({ "country": "NG", "email": NEW, "password": MARK })
}

/// Both ways a call carries its token: with a body and without.
fn calls() -> [(&'static str, &'static str, Value); 2] {
    [("POST", "/v1/users", registration()), ("GET", "/v1/whoami?x=%20", Value::Null)]
}

/// Asserts that a refusal says which claim it is, what was expected, and what time it is here.
#[track_caller]
fn assert_names(answer: &Answer, code: &str, claim: &str, what: &str) {
    assert_eq!((answer.status, answer.code()), (401, code), "{what}: {}", answer.text);
    problem(answer, 401, code);
    assert_eq!(answer.body["claim"], claim, "{what}: {}", answer.text);
    let expected = answer.body["expected"].as_str().unwrap();
    let detail = answer.body["detail"].as_str().unwrap();
    assert!(detail.contains(claim) && detail.contains(expected), "{what}: {detail}");
    assert!(answer.text.len() < 1200, "{what}: {}", answer.text);
    let there: jiff::Timestamp = answer.body["server_time"].as_str().unwrap().parse().unwrap();
    assert!((there.as_second() - now()).abs() < 30, "{what}: {there}");
}

/// Sends every fault both ways and asserts what it is refused as.
fn each_is_refused(signer: &Signer, node: &Node, code: &str, faults: &[Fault<'_>]) {
    let untouched = Untouched::of(node);
    for (what, claim, make) in faults {
        for (method, path, req) in calls() {
            let token = make(signer, signer.header(), signer.claims(method, path, &req));
            let answer = signer.send(method, path, !req.is_null(), &token);
            assert_names(&answer, code, claim, &format!("{what}: {method}"));
        }
    }
    untouched.holds();
    assert!(!signer.finds(NEW), "something was half done");
}

fn set(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}

/// A signed token whose claims say something else.
fn claiming(name: &'static str, value: Value) -> impl Fn(&Signer, Value, Value) -> String {
    move |signer, header, claims| signer.token(&header, &set(claims, name, value.clone()))
}

/// A signed token whose header says something else.
fn heading(name: &'static str, value: Value) -> impl Fn(&Signer, Value, Value) -> String {
    move |signer, header, claims| signer.token(&set(header, name, value.clone()), &claims)
}

fn without(name: &'static str) -> impl Fn(&Signer, Value, Value) -> String {
    move |signer, header, mut claims| {
        claims.as_object_mut().unwrap().remove(name);
        signer.token(&header, &claims)
    }
}

#[test]
fn right_tokens_are_taken_of_both_algorithms() {
    let node = Node::started(&[]);
    for signer in [Signer::hs256(&node, "hs"), Signer::ed_dsa(&node, "ed")] {
        let user = signer.call("POST", "/v1/users", registration());
        let user = user.done(201).body["user_id"].as_str().unwrap().to_owned();
        let login = json!({ "country": "NG", "email": NEW, "password": MARK });
        signer.call("POST", "/v1/login", login).done(200);
        signer.call("GET", &format!("/v1/users/{user}"), Value::Null).done(200);
        signer.call("GET", &format!("/v1/users/{user}/history?limit=1"), Value::Null).done(200);
        let path = format!("/v1/users/{user}/identities/email/second%40example.com");
        signer.call("PUT", &path, json!([])).done(200);
        signer
            .call("PATCH", &format!("/v1/users/{user}"), json!({ "profile": { "a": 1 } }))
            .done(200);
        let path = format!("/v1/users/{user}/identities/email/{NEW}");
        signer.call("DELETE", &path, Value::Null).done(200);
        // The region may be named instead of the deployment, and one audience as a list.
        for aud in [json!("jcas:local"), json!(["jcas:jcas"])] {
            let claims = set(signer.claims("GET", "/v1/whoami", &Value::Null), "aud", aud);
            let token = signer.token(&set(signer.header(), "typ", json!("JWT")), &claims);
            signer.send("GET", "/v1/whoami", false, &token).done(200);
        }
    }
}

#[test]
fn forged_and_altered_tokens_are_refused() {
    let node = Node::started(&[]);
    let other = Signer::hs256(&node, "other");
    for signer in [Signer::hs256(&node, "hs"), Signer::ed_dsa(&node, "ed")] {
        let forged = |signer: &Signer, header: Value, claims: Value| {
            let key = match &signer.key {
                Key::Secret(_) => Key::Secret("guessed".to_owned()),
                Key::Pair(_) => Key::Pair(pair(8).0),
            };
            Signer { key, ..signer.clone() }.token(&header, &claims)
        };
        let altered = |signer: &Signer, header: Value, claims: Value| {
            let token = signer.token(&header, &claims);
            let (_, signature) = token.rsplit_once('.').unwrap();
            let claims =
                set(claims, "req", json!({ "country": "NG", "email": "evil@example.com" }));
            format!("{}.{signature}", message(&header, &claims))
        };
        let respelled = |signer: &Signer, header: Value, claims: Value| {
            let token = signer.token(&header, &claims);
            let (_, signature) = token.rsplit_once('.').unwrap();
            let header = base64url(format!(" {header}"));
            format!("{header}.{}.{signature}", base64url(claims.to_string()))
        };
        let cut = |signer: &Signer, header: Value, claims: Value| {
            let token = signer.token(&header, &claims);
            token[..token.len() - 4].to_owned()
        };
        let of_another_company = |_: &Signer, header: Value, claims: Value| {
            let message = message(&header, &claims);
            format!("{message}.{}", other.key.sign(&message))
        };
        each_is_refused(
            &signer,
            &node,
            "token_invalid",
            &[
                ("forged", "signature", &forged),
                ("altered", "signature", &altered),
                ("another header", "signature", &respelled),
                ("a signature cut short", "signature", &cut),
                ("signed by another company", "signature", &of_another_company),
            ],
        );
    }
}

#[test]
fn a_token_for_anything_else_is_refused() {
    let node = Node::started(&[]);
    let signer = Signer::hs256(&node, "hs");
    each_is_refused(
        &signer,
        &node,
        "token_invalid",
        &[
            ("another company", "iss", &claiming("iss", json!("other"))),
            ("another deployment", "aud", &claiming("aud", json!("jcas:other"))),
            ("several audiences", "aud", &claiming("aud", json!(["jcas:jcas", "jcas:other"]))),
            ("another path", "pth", &claiming("pth", json!("/v1/users/lookup"))),
            ("a path without its query", "pth", &claiming("pth", json!("/v1/whoami"))),
            ("another method", "mth", &claiming("mth", json!("PUT"))),
            ("a claim nobody knows", "role", &claiming("role", json!("admin"))),
            ("a stream's digest", "bdh", &claiming("bdh", json!(base64url([0; 32])))),
            ("a long jti", "jti", &claiming("jti", json!("x".repeat(65)))),
            ("good for too long", "exp", &claiming("exp", json!(now() + 200))),
            ("no iss", "iss", &without("iss")),
            ("no aud", "aud", &without("aud")),
            ("no iat", "iat", &without("iat")),
            ("no exp", "exp", &without("exp")),
            ("no jti", "jti", &without("jti")),
            ("no mth", "mth", &without("mth")),
            ("no pth", "pth", &without("pth")),
        ],
    );
    let untouched = Untouched::of(&node);
    let claims = signer.claims("POST", "/v1/users", &Value::Null);
    let answer = signer.send("POST", "/v1/users", true, &signer.token(&signer.header(), &claims));
    assert_names(&answer, "token_invalid", "req", "no request");
    // A token goes to the place that it names, whichever of two it is sent to.
    let login = signer.claims("POST", "/v1/login", &registration());
    let token = signer.token(&signer.header(), &login);
    let answer = signer.send("POST", "/v1/users", true, &token);
    assert_names(&answer, "token_invalid", "pth", "another path");
    assert_eq!(
        (&answer.body["expected"], &answer.body["got"]),
        (&json!("/v1/users"), &json!("/v1/login"))
    );
    untouched.holds();
    assert!(!signer.finds(NEW));
}

#[test]
fn the_algorithm_is_the_keys_and_no_header_changes_it() {
    let node = Node::started(&[]);
    let (hs, ed) = (Signer::hs256(&node, "hs"), Signer::ed_dsa(&node, "ed"));
    let unsigned = |alg: &'static str| {
        move |_: &Signer, header: Value, claims: Value| {
            format!("{}.", message(&set(header, "alg", json!(alg)), &claims))
        }
    };
    let signed_as = |alg: &'static str| heading("alg", json!(alg));
    for signer in [&hs, &ed] {
        each_is_refused(
            signer,
            &node,
            "token_invalid",
            &[
                ("none", "alg", &unsigned("none")),
                ("None", "alg", &unsigned("None")),
                ("none with a signature", "alg", &signed_as("none")),
                ("HS512", "alg", &signed_as("HS512")),
                ("RS256", "alg", &signed_as("RS256")),
                ("no text", "alg", &heading("alg", json!(null))),
            ],
        );
        let bare = |signer: &Signer, header: Value, claims: Value| {
            let alg = header["alg"].as_str().unwrap();
            format!("{}.", message(&json!({ "alg": alg, "kid": signer.kid }), &claims))
        };
        each_is_refused(signer, &node, "token_invalid", &[("no signature", "signature", &bare)]);
    }
    // The public key, which everybody has, taken for the secret of an HMAC.
    let public = pair(7).0.verifying_key().to_bytes();
    let jwk = pair(7).1.to_string();
    for secret in [public.to_vec(), base64url(public).into_bytes(), jwk.into_bytes()] {
        let swapped = |_: &Signer, header: Value, claims: Value| {
            let message = message(&set(header, "alg", json!("HS256")), &claims);
            format!("{message}.{}", base64url(hmac(&secret, &message)))
        };
        each_is_refused(&ed, &node, "token_invalid", &[("HS256 for EdDSA", "alg", &swapped)]);
    }
    let swapped = |_: &Signer, header: Value, claims: Value| {
        let message = message(&set(header, "alg", json!("EdDSA")), &claims);
        format!("{message}.{}", Key::Pair(pair(7).0).sign(&message))
    };
    each_is_refused(&hs, &node, "token_invalid", &[("EdDSA for HS256", "alg", &swapped)]);
}

#[test]
fn a_token_that_brings_a_key_or_names_another_is_refused() {
    let node = Node::started(&[]);
    let other = Signer::hs256(&node, "other");
    let long = "k".repeat(10 * 1024);
    let whole = other.company.key.clone();
    for signer in [Signer::hs256(&node, "hs"), Signer::ed_dsa(&node, "ed")] {
        let (_, jwk) = pair(7);
        each_is_refused(
            &signer,
            &node,
            "token_invalid",
            &[
                ("jku", "jku", &heading("jku", json!("https://evil.example/jwks.json"))),
                ("jwk", "jwk", &heading("jwk", jwk)),
                ("x5u", "x5u", &heading("x5u", json!("https://evil.example/cert.pem"))),
                ("x5c", "x5c", &heading("x5c", json!(["MIIB"]))),
                ("x5t", "x5t#S256", &heading("x5t#S256", json!("AAAA"))),
                ("crit", "crit", &heading("crit", json!(["exp"]))),
                ("b64", "b64", &heading("b64", json!(false))),
                ("typ", "typ", &heading("typ", json!("at+jwt"))),
                ("an unknown kid", "kid", &heading("kid", json!("0123456789abcdef"))),
                ("another company's kid", "kid", &heading("kid", json!(other.kid))),
                ("a whole API key", "kid", &heading("kid", json!(whole))),
                ("a kid that leaves its folder", "kid", &heading("kid", json!("../../etc/passwd"))),
                ("a kid that is no text", "kid", &heading("kid", json!(["a"]))),
            ],
        );
        let untouched = Untouched::of(&node);
        for (method, path, req) in calls() {
            let token = signer.token(
                &set(signer.header(), "kid", json!(long)),
                &signer.claims(method, path, &req),
            );
            let answer = signer.send(method, path, !req.is_null(), &token);
            let claim = if req.is_null() { "Authorization" } else { "kid" };
            assert_names(&answer, "token_invalid", claim, "10 KiB of kid");
        }
        untouched.holds();
    }
}

#[test]
fn clocks_may_differ_by_the_leeway_and_no_more() {
    let node = Node::started(&[]);
    let signer = Signer::hs256(&node, "hs");
    let whoami = |off: i64, lasting: i64| {
        let mut claims = signer.claims("GET", "/v1/whoami", &Value::Null);
        claims["iat"] = json!(now() + off);
        claims["exp"] = json!(now() + off + lasting);
        signer.send("GET", "/v1/whoami", false, &signer.token(&signer.header(), &claims))
    };
    for (off, lasting) in [(25, 60), (-25, 60), (-25, 1), (-80, 60)] {
        let skew = whoami(off, lasting).done(200).body["skew_ms"].as_i64().unwrap();
        let ahead = off * 1000;
        assert!((ahead - 5000..=ahead + 1000).contains(&skew), "{skew} for {off}");
    }
    let early = |signer: &Signer, header: Value, claims: Value| {
        let claims = set(claims, "iat", json!(now() + 40));
        signer.token(&header, &set(claims, "exp", json!(now() + 100)))
    };
    each_is_refused(
        &signer,
        &node,
        "token_not_yet_valid",
        &[
            ("a clock 40 s ahead", "iat", &early),
            ("not before", "nbf", &claiming("nbf", json!(now() + 60))),
        ],
    );
    let late = |signer: &Signer, header: Value, claims: Value| {
        let claims = set(claims, "iat", json!(now() - 40));
        signer.token(&header, &set(claims, "exp", json!(now() - 35)))
    };
    let old = |signer: &Signer, header: Value, claims: Value| {
        let claims = set(claims, "iat", json!(now() - 3600));
        signer.token(&header, &set(claims, "exp", json!(now() - 3540)))
    };
    each_is_refused(
        &signer,
        &node,
        "token_expired",
        &[("a clock 40 s behind", "exp", &late), ("an hour old", "exp", &old)],
    );
}

#[test]
fn what_is_no_token_is_refused_and_what_is_missing_is_described() {
    let node = Node::started(&[]);
    let signer = Signer::hs256(&node, "hs");
    let untouched = Untouched::of(&node);
    for (method, path, req) in calls() {
        let (in_body, claims) = (!req.is_null(), signer.claims(method, path, &req));
        let token = signer.token(&signer.header(), &claims);
        for (what, claim, token) in [
            ("nothing", "jwt", String::new()),
            ("a word", "jwt", "token".to_owned()),
            ("two parts", "jwt", "a.b".to_owned()),
            ("a JWE", "jwt", format!("{token}.x.y")),
            ("no base64", "header", format!("?{token}")),
            ("padding", "header", token.replacen('.', "=.", 1)),
            ("no object", "header", format!("{}.e30.AA", base64url("[]"))),
            (
                "a name twice",
                "header",
                format!("{}.e30.AA", base64url(r#"{"alg":"HS256","alg":"none"}"#)),
            ),
        ] {
            let answer = signer.send(method, path, in_body, &token);
            if what == "nothing" && !in_body {
                assert_names(&answer, "token_invalid", "Authorization", what);
            } else {
                assert_names(&answer, "token_invalid", claim, what);
            }
        }
        let plain = signer.company.call(method, path, req.clone());
        assert_names(&plain, "token_missing", "jwt", "unsigned");
        let wanted = json!({ "alg": "HS256", "kid": signer.kid, "iss": "hs",
            "aud": ["jcas:jcas", "jcas:local"] });
        assert_eq!(plain.body["token"], wanted);
    }
    let right = || {
        let claims = signer.claims("POST", "/v1/users", &registration());
        signer.token(&signer.header(), &claims)
    };
    let post = |headers: &[(&str, &str)], body: &str| {
        signer.company.call_raw("POST", "/v1/users", headers, Some(body))
    };
    assert_names(
        &post(&[], &json!({ "jwt": right(), "x": 1 }).to_string()),
        "token_missing",
        "jwt",
        "more",
    );
    assert_names(&post(&[], r#"{"jwt":1}"#), "token_missing", "jwt", "no text");
    let listed = json!([right()]).to_string();
    assert_names(&post(&[], &listed), "token_missing", "jwt", "a list");
    problem(&post(&[], "{"), 400, "malformed_json");
    let bearer = format!("Bearer {}", right());
    let body = registration().to_string();
    let both = post(&[("Authorization", &bearer)], &body);
    assert_names(&both, "token_invalid", "Authorization", "beside a body");
    let basic =
        signer.company.call_raw("GET", "/v1/whoami", &[("Authorization", "Basic eA==")], None);
    assert_names(&basic, "token_invalid", "Authorization", "another scheme");
    untouched.holds();
    assert!(!signer.finds(NEW));
    post(&[], &json!({ "jwt": right() }).to_string()).done(201);
}

#[test]
fn a_company_that_need_not_sign_may_and_then_it_is_checked() {
    let node = Node::started(&[]);
    let signer = Signer::hs256(&node, "shop");
    let body = json!({ "countries": ["NG"], "signing": "optional" });
    node.operate("PUT", "/operator/companies/shop", Some(&body)).done(200);
    signer.company.call("GET", "/v1/whoami", Value::Null).done(200);
    assert!(!signer.finds(NEW));
    let forged = Signer { key: Key::Secret("guessed".to_owned()), ..signer.clone() };
    for (method, path, req) in calls() {
        let answer = forged.call(method, path, req);
        assert_names(&answer, "token_invalid", "signature", "forged");
    }
    assert!(!signer.finds(NEW));
    signer.company.call("POST", "/v1/users", registration()).done(201);
    // A key that signs nothing vouches for nothing.
    let plain = node.company("plain", &["NG"]);
    let unsigned = Signer { company: plain, ..signer.clone() };
    let answer = unsigned.call("GET", "/v1/whoami", Value::Null);
    assert_names(&answer, "token_invalid", "kid", "a key that signs nothing");
}

#[test]
fn the_idempotency_key_is_what_the_token_says() {
    let node = Node::started(&[]);
    let signer = Signer::hs256(&node, "hs");
    let untouched = Untouched::of(&node);
    let send = |claimed: Option<&str>, header: &str| {
        let mut claims = signer.claims("POST", "/v1/users", &registration());
        if let Some(claimed) = claimed {
            claims["idk"] = json!(claimed);
        }
        let token = signer.token(&signer.header(), &claims);
        signer.send_with("POST", "/v1/users", true, &token, &[("Idempotency-Key", header)])
    };
    assert_names(&send(None, "one"), "token_invalid", "idk", "not signed");
    assert_names(&send(Some("two"), "one"), "token_invalid", "idk", "another");
    untouched.holds();
    send(Some("one"), "one").done(201);
}
