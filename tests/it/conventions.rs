//! What holds of every call: how it is named, traced and refused, what may be sent and asked for,
//! and that nothing is said to browsers.

use serde_json::{Value, json};

use crate::contract::{filled, served};
use crate::node::{Answer, Company, Node, send, wait_for};
use crate::problem::{MARK, Untouched, problem, raw};
use crate::schema::Document;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// What a browser sends before and with a call from another site's page.
const FROM_A_PAGE: [(&str, &str); 3] = [
    ("Origin", "https://elsewhere.example"),
    ("Access-Control-Request-Method", "POST"),
    ("Access-Control-Request-Headers", "x-api-key"),
];

fn house() -> (Node, Company, String) {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let user = shop.register(json!({ "country": "NG", "email": "a@example.com" }));
    (node, shop, user)
}

/// Every documented call: method, path and an example of its body.
fn calls(document: &Document, user: &str) -> Vec<(String, String, Option<String>)> {
    let all = document.operations().map(|(method, path)| {
        let operation = &document.root["paths"][path][method];
        let examples = &operation["requestBody"]["content"]["application/json"]["examples"];
        let example = examples.as_object().and_then(|all| all.values().next());
        let body = example.map(|example| example["value"].to_string());
        (method.to_uppercase(), filled(path, user), body)
    });
    all.collect()
}

/// Asserts what holds of any answer to anything.
#[track_caller]
fn well_formed(answer: &Answer, id: &str, what: &str) {
    assert_eq!(answer.header("x-request-id"), Some(id), "{what}");
    for (name, value) in &answer.headers {
        assert!(!name.starts_with("access-control-"), "{what}: {name}: {value}");
        assert!(!["server", "x-powered-by", "traceparent"].contains(&name.as_str()), "{what}");
        assert!(!value.contains(TRACE), "{what}: {name}: {value}");
    }
    let sort = answer.header("content-type").unwrap_or_default();
    let expected = match answer.status {
        204 | 304 => "",
        200..=299 if what.contains("/metrics") => "text/plain; version=0.0.4",
        200..=299 => "application/json",
        _ => "application/problem+json",
    };
    assert_eq!(sort, expected, "{what}: {}", answer.text);
}

#[test]
fn every_answer_is_named_as_its_request_and_none_speaks_to_browsers() {
    let (node, shop, user) = house();
    let traceparent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let stranger = Company { key: "jcas_nobody_knows".to_owned(), ..shop.clone() };
    for (number, (method, path, body)) in
        calls(&served(&node, &shop), &user).into_iter().enumerate()
    {
        let id = format!("call-{number}");
        let mut headers = FROM_A_PAGE.to_vec();
        headers.extend([("X-Request-Id", id.as_str()), ("traceparent", traceparent.as_str())]);
        for (who, method, body) in [
            (&shop, method.as_str(), body.as_deref()),
            (&stranger, method.as_str(), body.as_deref()),
            (&shop, "OPTIONS", None),
            (&stranger, "OPTIONS", None),
            (&shop, "HEAD", None),
            (&shop, "TRACE", None),
        ] {
            let answer = who.call_raw(method, &path, &headers, body);
            well_formed(&answer, &id, &format!("{method} {path}"));
            // What may be done with a path is said to anybody.
            assert_eq!(method == "OPTIONS", answer.status == 204, "{method} {path}");
            let without_body = method == "HEAD" || method == "OPTIONS";
            assert!(!without_body || answer.text.is_empty(), "{method} {path}: {}", answer.text);
        }
    }
    let mut headers = FROM_A_PAGE.to_vec();
    headers.push(("X-Request-Id", "lost"));
    for method in ["GET", "OPTIONS", "PATCH"] {
        let answer = shop.call_raw(method, "/v1/nowhere", &headers, None);
        well_formed(&answer, "lost", method);
        problem(&answer, 404, "not_found");
    }
}

#[test]
fn what_may_be_sent_is_named_where_something_else_was() {
    let (node, shop, user) = house();
    let untouched = Untouched::of(&node);
    let with_body = calls(&served(&node, &shop), &user).into_iter();
    let with_body: Vec<_> =
        with_body.filter_map(|(m, path, body)| Some((m, path, body?))).collect();
    assert!(with_body.len() > 8, "{with_body:?}");
    for (method, path, body) in &with_body {
        for sort in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""] {
            let answer = shop.call_raw(method, path, &[("Content-Type", sort)], Some(body));
            problem(&answer, 415, "unsupported_media_type");
            assert_eq!(answer.header("accept"), Some("application/json"), "{method} {path}");
        }
        for coding in ["gzip", "br", "deflate, gzip"] {
            let answer = shop.call_raw(method, path, &[("Content-Encoding", coding)], Some(body));
            problem(&answer, 415, "unsupported_media_type");
            assert_eq!(answer.header("accept-encoding"), Some("identity"), "{method} {path}");
        }
    }
    for (method, path, body) in calls(&served(&node, &shop), &user) {
        let (other, own) = if path == "/metrics" {
            ("application/json", "text/plain")
        } else {
            ("text/plain", "application/json")
        };
        for accept in [other, "text/html, image/*;q=0.8", "*/*;q=0"] {
            let answer = shop.call_raw(&method, &path, &[("Accept", accept)], body.as_deref());
            problem(&answer, 406, "not_acceptable");
            let detail = answer.body["detail"].as_str().unwrap();
            assert!(detail.contains(own), "{method} {path}: {detail}");
        }
    }
    untouched.holds();
    let plain = [("Content-Encoding", "identity"), ("Accept", "application/*;q=0.5")];
    let body = json!({ "email": "a@example.com" }).to_string();
    shop.call_raw("POST", "/v1/users/lookup", &plain, Some(&body)).done(200);
}

#[test]
fn null_in_the_place_of_what_may_be_left_out_is_refused() {
    let (node, shop, user) = house();
    let untouched = Untouched::of(&node);
    let document = served(&node, &shop);
    let mut refused = 0;
    // A profile of hashes is read by rules of its own.
    let own_rules = |path: &str| path.starts_with("/v1/hash-profiles");
    for (method, path) in document.operations().filter(|it| !own_rules(it.1)) {
        let content = &document.root["paths"][path][method]["requestBody"]["content"];
        let content = &content["application/json"];
        let Some(members) = document.resolved(&content["schema"])["properties"].as_object() else {
            continue;
        };
        let example = content["examples"].as_object().unwrap().values().next().unwrap();
        for name in members.keys() {
            let mut body = example["value"].clone();
            body[name] = Value::Null;
            let answer = shop.call(&method.to_uppercase(), &filled(path, &user), body);
            problem(&answer, 422, "invalid_fields");
            let errors = answer.body["errors"].as_array().unwrap();
            assert!(errors.iter().any(|it| it["field"] == json!(name)), "{name}: {errors:?}");
            refused += 1;
        }
    }
    assert!(refused > 40, "{refused}");
    untouched.holds();
}

#[test]
fn a_page_of_a_list_is_as_long_as_was_asked_for_and_says_how_it_goes_on() {
    let (_node, shop, user) = house();
    let page =
        |query: &str| shop.call("GET", &format!("/v1/users/{user}/history{query}"), Value::Null);
    let whole = page("").done(200).body.clone();
    let events = whole["events"].as_array().unwrap().clone();
    assert_eq!((events.len(), &whole["has_more"]), (4, &json!(false)));
    for limit in [1, 2, 3, 4, 1000] {
        let (mut next, mut found) = (String::new(), Vec::new());
        loop {
            let got = page(&format!("?limit={limit}{next}")).done(200).body.clone();
            let part = got["events"].as_array().unwrap();
            assert!(part.len() <= limit, "{got}");
            found.extend(part.iter().cloned());
            next = format!("&after={}", got["next"].as_str().unwrap());
            if got["has_more"] == json!(false) {
                break;
            }
            assert_eq!(part.len(), limit, "{got}");
        }
        assert_eq!(found, events, "in pages of {limit}");
        // Behind the end there is nothing yet, and the same place to go on from.
        let end = page(&format!("?limit={limit}{next}")).done(200).body.clone();
        assert_eq!(end["events"], json!([]));
        assert_eq!(format!("&after={}", end["next"].as_str().unwrap()), next);
    }
    for limit in ["0", "1001", "-1", "1.0", "", "ten", "99999999999999999999"] {
        problem(&page(&format!("?limit={limit}")), 422, "invalid_fields");
    }
    for query in ["?limit=1&limit=2", "?offset=1", "?Limit=1"] {
        problem(&page(query), 422, "invalid_fields");
    }
}

#[test]
fn the_trace_a_call_belongs_to_stands_in_the_lines_of_its_log() {
    let node = Node::started(&[("logging.level", "debug"), ("logging.format", "json")]);
    let shop = node.company("shop", &["NG"]);
    let line = |id: &str| {
        wait_for("the line of the call", || {
            let lines = node.output();
            let mut lines = lines.lines().filter_map(|it| serde_json::from_str::<Value>(it).ok());
            lines.find(|it| it["span"]["request_id"] == id && it["route"] == "/v1/whoami")
        })
    };
    let valid = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let upper = valid.to_uppercase();
    for (number, (sent, logged)) in [
        (valid.as_str(), json!(TRACE)),
        (upper.as_str(), Value::Null),
        ("00-s3cr3t-and-so-on", Value::Null),
        ("", Value::Null),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("traced-{number}");
        let headers = [("X-Request-Id", id.as_str()), ("traceparent", sent)];
        shop.call_raw("GET", "/v1/whoami", &headers, None).done(200);
        assert_eq!(line(&id)["span"]["trace_id"], logged, "{sent}");
    }
    let twice = [("X-Request-Id", "twice"), ("traceparent", &valid), ("traceparent", &valid)];
    shop.call_raw("GET", "/v1/whoami", &twice, None).done(200);
    assert_eq!(line("twice")["span"]["trace_id"], Value::Null);
    assert!(!node.output().contains(MARK), "what is no trace was logged");
}

#[test]
fn what_is_no_request_is_answered_shortly_and_the_connection_ends() {
    let (node, shop, _) = house();
    let untouched = Untouched::of(&node);
    let key = &shop.key;
    let long = "x".repeat(200_000);
    let cases = [
        (400, "GET /v1/whoami\r\n\r\n".to_owned()),
        (400, "\u{16}\u{3}\u{1} a TLS hello\r\n\r\n".to_owned()),
        (400, "GET /v1/whoami HTTP/3.0\r\nHost: jcas\r\n\r\n".to_owned()),
        (400, "GET /v1/who ami HTTP/1.1\r\nHost: jcas\r\n\r\n".to_owned()),
        (400, "GET /v1/whoami HTTP/1.1\r\nno header\r\n\r\n".to_owned()),
        (400, format!("GET /v1/whoami HTTP/1.1\r\nX-Api-Key: {key}\r\nA: \u{0}\r\n\r\n")),
        (431, format!("GET /v1/whoami HTTP/1.1\r\nX-Api-Key: {key}\r\nA: {long}\r\n\r\n")),
        (431, format!("GET /{long} HTTP/1.1\r\n\r\n")),
    ];
    for (status, bytes) in cases {
        let answer = raw(&node, bytes.as_bytes(), false);
        let start: String = bytes.chars().take(50).collect();
        assert_eq!((answer.status, answer.text.as_str()), (status, ""), "{start:?}");
        assert!(answer.headers.iter().all(|(name, _)| !name.starts_with("access-control")));
    }
    untouched.holds();
    send("GET", &format!("{}/health/live", node.url()), &[], None).done(200);
    // A stranger cannot fill the disk with lines about what it sends.
    assert!(!node.output().contains("ERROR"), "{}", node.output());
}
