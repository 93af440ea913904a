//! Requests that cannot be read: bodies that are no JSON, too long, of the wrong names and types,
//! calls to nowhere. Each is refused by name and leaves nothing behind.

use serde_json::{Value, json};

use crate::node::{Answer, Company, Node, send};
use crate::problem::{MARK, Untouched, assert_silent, problem, raw, wrong_field};

/// The calls that take a JSON body, for a user.
fn calls(user: &str) -> Vec<(&'static str, String)> {
    vec![
        ("POST", "/v1/users".to_owned()),
        ("POST", "/v1/users/lookup".to_owned()),
        ("POST", "/v1/login".to_owned()),
        ("PATCH", format!("/v1/users/{user}")),
        ("PUT", format!("/v1/users/{user}/password")),
        ("PUT", format!("/v1/users/{user}/legacy-hashes/NG")),
        ("PUT", format!("/v1/users/{user}/identities/email")),
        ("DELETE", format!("/v1/users/{user}/identities/email")),
        ("PUT", format!("/v1/users/{user}/status")),
        ("PUT", "/v1/hash-profiles/NG/default".to_owned()),
    ]
}

/// A node with a company and one user of it.
fn house() -> (Node, Company, String) {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let email = format!("{MARK}@example.com");
    let user = shop.register(json!({
        "country": "NG", "email": email, "password": MARK, "profile": { "given_name": "Ada" },
    }));
    (node, shop, user)
}

/// A request as bytes.
fn request(shop: &Company, line: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "{line} HTTP/1.1\r\nHost: jcas\r\nX-Api-Key: {}\r\nContent-Type: application/json\r\n\
         Connection: close\r\n{headers}\r\n",
        shop.key
    );
    [head.as_bytes(), body].concat()
}

fn post(shop: &Company, node: &Node, path: &str, body: &[u8]) -> Answer {
    let length = format!("Content-Length: {}\r\n", body.len());
    raw(node, &request(shop, &format!("POST {path}"), &length, body), false)
}

#[test]
fn what_is_no_json_is_refused_by_every_call() {
    let (node, shop, user) = house();
    let untouched = Untouched::of(&node);
    let deep = format!("{{\"profile\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let bodies = [
        String::new(),
        " ".to_owned(),
        "{".to_owned(),
        format!(r#"{{"password":"{MARK}"#),
        format!(r#"{{"password":{MARK}}}"#),
        format!(r#"{{"password":"{MARK}",}}"#),
        format!("{{'password':'{MARK}'}}"),
        format!(r#"{{"password":"{MARK}"}} {{}}"#),
        format!("{{\"password\":\"{MARK}\n\"}}"),
        format!(r#"{{"password":"{MARK}\ud800"}}"#),
        format!(r#"{{"password":"{MARK}","password":"{MARK}"}}"#),
        format!(r#"{{"profile":{{"a":{{"b":"{MARK}","b":1}}}}}}"#),
        format!(r#"{{"password":"{MARK}","passwor\u0064":"{MARK}"}}"#),
        format!(r#"{{"n":1e999,"password":"{MARK}"}}"#),
        "NaN".to_owned(),
        "\u{feff}{}".to_owned(),
        deep,
    ];
    for (method, path) in calls(&user) {
        for body in &bodies {
            let answer = shop.call_raw(method, &path, &[], Some(body));
            let start: String = body.chars().take(40).collect();
            assert_eq!(answer.status, 400, "{method} {path} {start}: {}", answer.text);
            problem(&answer, 400, "malformed_json");
        }
    }
    untouched.holds();
}

#[test]
fn what_is_no_utf_8_is_refused() {
    let (node, shop, _) = house();
    let untouched = Untouched::of(&node);
    for bad in [&b"\xff"[..], b"\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf5\x80\x80\x80"] {
        let mut body = br#"{"country":"NG","email":"a@example.com","profile":{"a":""#.to_vec();
        body.extend_from_slice(bad);
        body.extend_from_slice(b"\"}}");
        problem(&post(&shop, &node, "/v1/users", &body), 400, "malformed_json");
    }
    let utf_16: Vec<u8> = "{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    problem(&post(&shop, &node, "/v1/users", &utf_16), 400, "malformed_json");
    untouched.holds();
}

#[test]
fn what_is_not_declared_as_json_is_refused() {
    let (node, shop, user) = house();
    let untouched = Untouched::of(&node);
    let body = json!({ "country": "NG", "email": "new@example.com", "password": MARK }).to_string();
    for declared in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""] {
        for (method, path) in calls(&user) {
            let headers = [("Content-Type", declared)];
            let answer = shop.call_raw(method, &path, &headers, Some(&body));
            problem(&answer, 415, "unsupported_media_type");
        }
    }
    let lines = format!("POST /v1/users HTTP/1.1\r\nHost: jcas\r\nX-Api-Key: {}\r\n", shop.key);
    let bare = format!("{lines}Content-Length: {}\r\n\r\n{body}", body.len());
    problem(&raw(&node, bare.as_bytes(), false), 415, "unsupported_media_type");
    untouched.holds();
    let charset = [("Content-Type", "Application/JSON; charset=utf-8")];
    shop.call_raw("POST", "/v1/users", &charset, Some(&body)).done(201);
}

/// A call, and the field and code that its refusal must name.
type Refused<'a> = (&'a str, &'a str, Value, &'a str, &'a str);

fn each_names_its_field(shop: &Company, cases: Vec<Refused<'_>>) {
    for (method, path, body, field, code) in cases {
        let answer = shop.call(method, path, body.clone());
        assert_eq!(answer.status, 422, "{method} {path} {body}: {}", answer.text);
        assert_silent(&answer);
        let errors = answer.body["errors"].to_string();
        let kinds = [code, if code == "invalid" { "wrong_type" } else { code }];
        let named = kinds.iter().any(|kind| errors.contains(&format!(r#""code":"{kind}""#)));
        let path_of_it = format!(r#""field":"{field}""#);
        assert!(named && errors.contains(&path_of_it), "{method} {path} {body}: {errors}");
        problem(&answer, 422, "invalid_fields");
    }
}

#[test]
fn fields_of_the_wrong_name_type_or_number_are_named() {
    let (node, shop, _) = house();
    let untouched = Untouched::of(&node);
    let users = "/v1/users";
    let (login, lookup) = ("/v1/login", "/v1/users/lookup");
    let cases = vec![
        ("POST", users, json!({}), "country", "required"),
        ("POST", users, json!({ "country": "NG" }), "email", "required"),
        ("POST", users, json!({ "country": 7 }), "country", "wrong_type"),
        ("POST", users, json!({ "country": MARK }), "country", "invalid"),
        ("POST", users, json!({ "country": "ng" }), "country", "invalid"),
        ("POST", users, json!({ "country": "NG", "x": MARK }), "x", "unknown_field"),
        ("POST", users, json!({ "country": "NG", "email": [MARK] }), "email", "wrong_type"),
        (
            "POST",
            users,
            json!({ "country": "NG", "password": { "a": MARK } }),
            "password",
            "wrong_type",
        ),
        (
            "POST",
            users,
            json!({ "country": "NG", "email_verified": MARK }),
            "email_verified",
            "wrong_type",
        ),
        ("POST", users, json!({ "country": "NG", "profile": MARK }), "profile", "wrong_type"),
        ("POST", users, json!({ "country": "NG", "profile": [MARK] }), "profile", "wrong_type"),
        (
            "POST",
            users,
            json!({ "country": "NG", "legacy_hash": {} }),
            "legacy_hash.hash",
            "required",
        ),
        (
            "POST",
            users,
            json!({ "country": "NG", "legacy_hash": { "hash": MARK, "x": 1 } }),
            "legacy_hash.x",
            "unknown_field",
        ),
        ("POST", login, json!({ "country": "NG", "email": MARK }), "password", "required"),
        ("POST", login, json!({ "country": "NG", "password": MARK }), "user_id", "one_of"),
        (
            "POST",
            login,
            json!({ "country": "NG", "password": MARK, "email": MARK, "phone": MARK }),
            "user_id",
            "one_of",
        ),
        (
            "POST",
            login,
            json!({ "country": "NG", "password": MARK, "user_id": MARK }),
            "user_id",
            "invalid",
        ),
        (
            "POST",
            login,
            json!({ "country": "NG", "password": 12_345, "email": MARK }),
            "password",
            "wrong_type",
        ),
        (
            "POST",
            login,
            json!({ "country": "NG", "password": MARK, "client_ip": MARK }),
            "client_ip",
            "invalid",
        ),
        ("POST", lookup, json!({}), "email", "one_of"),
        ("POST", lookup, json!({ "email": "a@b.c", "phone": "+2348031234567" }), "email", "one_of"),
    ];
    each_names_its_field(&shop, cases);
    untouched.holds();
}

#[test]
fn fields_of_the_wrong_name_type_or_number_are_named_in_a_change() {
    let (node, shop, user) = house();
    let untouched = Untouched::of(&node);
    let one = format!("/v1/users/{user}");
    let (password, status) = (format!("{one}/password"), format!("{one}/status"));
    let (hash, identity) = (format!("{one}/legacy-hashes/NG"), format!("{one}/identities/email"));
    let cases = vec![
        ("PATCH", one.as_str(), json!({}), "profile", "required"),
        ("PATCH", &one, json!({ "profile": null }), "profile", "wrong_type"),
        ("PATCH", &one, json!({ "profile": {}, "if_revision": 1 }), "if_revision", "wrong_type"),
        ("PATCH", &one, json!({ "profile": {}, "if_revision": MARK }), "if_revision", "invalid"),
        ("PATCH", &one, json!({ "profile": {}, "password": MARK }), "password", "unknown_field"),
        ("PUT", &password, json!({}), "password", "required"),
        ("PUT", &password, json!({ "password": null }), "password", "wrong_type"),
        ("PUT", &password, json!({ "password": MARK, "old": MARK }), "old", "unknown_field"),
        ("PUT", &status, json!({ "status": MARK }), "status", "invalid"),
        ("PUT", &status, json!({ "status": true }), "status", "invalid"),
        ("PUT", &hash, json!({ "hash": [MARK] }), "hash", "wrong_type"),
        ("PUT", &hash, json!({ "salt": MARK }), "hash", "required"),
        ("PUT", &identity, json!({}), "value", "required"),
        ("PUT", &identity, json!({ "value": 1 }), "value", "wrong_type"),
        ("PUT", &identity, json!({ "value": MARK, "verified": MARK }), "verified", "wrong_type"),
        ("DELETE", &identity, json!({}), "value", "required"),
    ];
    each_names_its_field(&shop, cases);
    let positions = json!(["NG", null, null, MARK]).to_string();
    problem(
        &shop.call_raw("POST", "/v1/users/lookup", &[], Some(&positions)),
        422,
        "invalid_fields",
    );
    let positions = json!([null, format!("{MARK}@example.com"), null]).to_string();
    problem(
        &shop.call_raw("POST", "/v1/users/lookup", &[], Some(&positions)),
        422,
        "invalid_fields",
    );
    for body in ["[]", "1", "null", "\"s3cr3t\"", "true"] {
        for (method, path) in calls(&user) {
            let answer = shop.call_raw(method, &path, &[], Some(body));
            problem(&answer, 422, "invalid_fields");
        }
    }
    untouched.holds();
}

#[test]
fn what_reads_like_an_explanation_is_not_repeated_as_one() {
    let (node, shop, user) = house();
    let untouched = Untouched::of(&node);
    let tricky = [
        format!("x, expected {MARK}"),
        format!("x`, expected `{MARK}`"),
        format!("missing field `{MARK}`"),
        format!("unknown field `{MARK}`"),
        format!("x, expected {MARK} at line 1"),
    ];
    for text in tricky {
        for field in ["email_verified", "profile", "legacy_hash", "country"] {
            let body = json!({ "country": "NG", "email": "n@example.com", field: text });
            problem(&shop.call("POST", "/v1/users", body), 422, "invalid_fields");
        }
        let status = json!({ "status": text });
        let answer = shop.call("PUT", &format!("/v1/users/{user}/status"), status);
        problem(&answer, 422, "invalid_fields");
        let body = json!({ "country": "NG", "password": MARK, "client_ip": text });
        problem(&shop.call("POST", "/v1/login", body), 422, "invalid_fields");
        let profile = json!({ "scheme": "digest", "digest": text, "pepper": { "a": MARK } });
        let answer = shop.call("PUT", "/v1/hash-profiles/NG/default", profile);
        problem(&answer, 422, "invalid_fields");
    }
    untouched.holds();
}

#[test]
fn bodies_over_the_limit_are_refused_however_they_come() {
    let (node, shop, _) = house();
    let untouched = Untouched::of(&node);
    let body = |length: usize| {
        let start = r#"{"country":"NG","email":"big@example.com","profile":{"a":""#;
        let end = "\"}}";
        let filling = "x".repeat(length - start.len() - end.len());
        format!("{start}{filling}{end}")
    };
    let limit = 64 * 1024;
    for length in [limit + 1, limit + 4096, 4 * limit, 16 * limit] {
        let answer = post(&shop, &node, "/v1/users", body(length).as_bytes());
        problem(&answer, 413, "body_too_large");
        let text = body(length);
        let mut chunked = Vec::new();
        for chunk in text.as_bytes().chunks(1000) {
            chunked.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            chunked.extend_from_slice(chunk);
            chunked.extend_from_slice(b"\r\n");
        }
        chunked.extend_from_slice(b"0\r\n\r\n");
        let coding = "Transfer-Encoding: chunked\r\n";
        let bytes = request(&shop, "POST /v1/users", coding, &chunked);
        problem(&raw(&node, &bytes, false), 413, "body_too_large");
    }
    // A length that was only declared is enough.
    let declared = request(&shop, "POST /v1/users", "Content-Length: 9999999999\r\n", b"{");
    problem(&raw(&node, &declared, false), 413, "body_too_large");
    // At the limit the field is what is too long, not the body.
    let answer = post(&shop, &node, "/v1/users", body(limit).as_bytes());
    wrong_field(&answer, "profile.a", "too_long");
    untouched.holds();
}

#[test]
fn lengths_that_lie_do_nothing() {
    let (node, shop, _) = house();
    let untouched = Untouched::of(&node);
    let body = br#"{"country":"NG","email":"cut@example.com"}"#;
    let line = "POST /v1/users";
    // Longer than what comes: it did not arrive whole, and nobody may be there to be told.
    let long = request(&shop, line, "Content-Length: 4096\r\n", body);
    let answer = raw(&node, &long, true);
    assert!(matches!(answer.status, 0 | 400), "answered: {}", answer.text);
    // Shorter: what was cut off is not read as a part of the body.
    let short = request(&shop, line, "Content-Length: 20\r\n", body);
    problem(&raw(&node, &short, false), 400, "malformed_json");
    // A chunk that ends too early, and a size that is none.
    let coding = "Transfer-Encoding: chunked\r\n";
    let answer = raw(&node, &request(&shop, line, coding, b"fff\r\n{\"country\":\r\n"), true);
    assert!(matches!(answer.status, 0 | 400), "answered: {}", answer.text);
    let answer = raw(&node, &request(&shop, line, coding, b"zz\r\n{}\r\n0\r\n\r\n"), true);
    assert!(matches!(answer.status, 0 | 400), "answered: {}", answer.text);
    // Two lengths, and a length beside chunks, are how requests are smuggled.
    let length = body.len();
    for headers in [
        format!("Content-Length: {length}\r\nContent-Length: 3\r\n"),
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"),
        format!("Content-Length: +{length}\r\n"),
        "Content-Length: -1\r\n".to_owned(),
        format!("Content-Length: 0x{length:x}\r\n"),
    ] {
        let answer = raw(&node, &request(&shop, line, &headers, body), true);
        assert!(matches!(answer.status, 0 | 400), "{headers}: {}", answer.text);
    }
    untouched.holds();
    assert_eq!(post(&shop, &node, "/v1/users", body).status, 201, "the node is well");
}

#[test]
fn calls_to_nowhere_and_by_the_wrong_method_say_so() {
    let (node, shop, user) = house();
    let untouched = Untouched::of(&node);
    let nowhere = [
        "/",
        "/v1",
        "/v2/users",
        "/v1/users/",
        "/v1/user",
        "/v1/users/x/y",
        "/operator/companies",
        "/v1/users/%FF/nothing",
        "/v1/users/../login",
    ];
    for path in nowhere {
        for method in ["GET", "POST", "DELETE"] {
            problem(&shop.call(method, path, Value::Null), 404, "not_found");
        }
    }
    let kind = format!("/v1/users/{user}/identities/{MARK}");
    problem(&shop.call("PUT", &kind, json!({ "value": MARK })), 404, "not_found");
    let wrong = [
        ("GET", "/v1/login".to_owned(), "POST"),
        ("PUT", "/v1/users".to_owned(), "POST"),
        ("GET", "/v1/users/lookup".to_owned(), "POST"),
        ("POST", format!("/v1/users/{user}"), "GET, HEAD, PATCH"),
        ("PATCH", format!("/v1/users/{user}/password"), "PUT"),
        ("POST", "/v1/whoami".to_owned(), "GET, HEAD"),
        ("POST", "/health/live".to_owned(), "GET, HEAD"),
        ("TRACE", "/v1/users".to_owned(), "POST"),
    ];
    for (method, path, _) in wrong {
        let answer = shop.call(method, &path, Value::Null);
        problem(&answer, 405, "method_not_allowed");
    }
    untouched.holds();
}

#[test]
fn a_request_id_comes_back_and_a_bad_one_is_replaced() {
    let (node, shop, _) = house();
    let whoami = |id: &str| {
        shop.call_raw("GET", "/v1/whoami", &[("X-Request-Id", id)], None)
            .done(200)
            .header("x-request-id")
            .unwrap()
            .to_owned()
    };
    let longest = "x".repeat(64);
    for id in ["a", "order-17/retry:2", longest.as_str()] {
        assert_eq!(whoami(id), id);
    }
    let mut made = Vec::new();
    for bad in ["", "with space", "caf\u{e9}", &"x".repeat(65), &MARK.repeat(11)] {
        let id = whoami(bad);
        assert!(id != bad && id.len() == 24, "{bad:?} became {id:?}");
        made.push(id);
    }
    made.sort();
    made.dedup();
    assert_eq!(made.len(), 5, "ids that were made differ");
    let refused = shop.call_raw("GET", "/v1/users/x", &[("X-Request-Id", "mine")], None);
    problem(&refused, 404, "user_not_found");
    assert_eq!(refused.body["request_id"], "mine");
    let anonymous = send("GET", &format!("{}/v1/whoami", node.url()), &[], None);
    problem(&anonymous, 401, "api_key_invalid");
}
