//! The contract holds: what `/openapi.json` says is what is served, and nothing else is.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::node::{Answer, Company, Node};
use crate::schema::Document;
use crate::syncing::{begun, over, post, post_to, put_part};

/// The calls of the document, in an order in which each example finds what it is about.
const ORDER: [(&str, &str); 35] = [
    ("get", "/.well-known/jwks.json"),
    ("get", "/openapi.json"),
    ("get", "/health/live"),
    ("get", "/health/ready"),
    ("get", "/metrics"),
    ("get", "/v1/whoami"),
    ("post", "/v1/hash-profiles/probe"),
    ("put", "/v1/hash-profiles/{country}/{name}"),
    ("get", "/v1/hash-profiles/{country}/{name}"),
    ("post", "/v1/users"),
    ("post", "/v1/users/lookup"),
    ("post", "/v1/login"),
    ("get", "/v1/users/{id}"),
    ("get", "/v1/users/{id}/export"),
    ("patch", "/v1/users/{id}"),
    ("put", "/v1/users/{id}/password"),
    ("put", "/v1/users/{id}/legacy-hashes/{country}"),
    ("put", "/v1/users/{id}/identities/{kind}"),
    ("delete", "/v1/users/{id}/identities/{kind}"),
    ("put", "/v1/users/{id}/identities/{kind}/{value}"),
    ("delete", "/v1/users/{id}/identities/{kind}/{value}"),
    ("put", "/v1/users/{id}/status"),
    ("get", "/v1/changes"),
    ("get", "/v1/link-candidates"),
    ("post", "/v1/users/{id}/link"),
    ("post", "/v1/users/{id}/unlink"),
    ("delete", "/v1/link-candidates/{id}/{with}"),
    ("post", "/v1/sync"),
    ("get", "/v1/sync"),
    ("post", "/v1/sync/uploads"),
    ("get", "/v1/sync/uploads/{upload}"),
    ("put", "/v1/sync/uploads/{upload}/{offset}"),
    ("get", "/v1/sync/{job}"),
    ("get", "/v1/sync/{job}/rows"),
    ("delete", "/v1/sync/{job}"),
];

/// The calls behind them, when the user has a history and may go.
const LAST: [(&str, &str); 3] = [
    ("get", "/v1/users/{id}/history"),
    ("delete", "/v1/users/{id}"),
    ("get", "/v1/users/{id}/erasure"),
];

/// The contract as a node serves it.
pub fn served(node: &Node, shop: &Company) -> Document {
    assert!(!node.url().is_empty());
    let answer = shop.call("GET", "/openapi.json", Value::Null);
    Document::new(answer.done(200).body.clone())
}

fn methods_of(document: &Document, path: &str) -> Vec<String> {
    let methods = document.root["paths"][path].as_object().unwrap();
    methods.keys().map(|method| method.to_uppercase()).collect()
}

/// A path with something in the place of each parameter.
pub fn filled(path: &str, id: &str) -> String {
    path.replace("{id}", id)
        .replace("{country}", "NG")
        .replace("{kind}", "email")
        .replace("{value}", "ada.home@example.com")
        .replace("{name}", "default")
        .replace("{with}", "019a7b3c-5d6e-7f80-8a91-b2c3d4e5f608")
        .replace("{job}", "node-1.019a7b3c-5d6e-7f80-8a91-b2c3d4e5f607")
        .replace("{upload}", "node-1.019a7b3c-5d6e-7f80-8a91-b2c3d4e5f607")
        .replace("{offset}", "0")
}

/// The same for a job that there is.
fn filled_of(path: &str, id: &str, job: &str) -> String {
    filled(&path.replace("{job}", job), id)
}

#[test]
fn every_documented_call_takes_its_examples_and_answers_as_documented() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let document = served(&node, &shop);
    let calls: BTreeSet<_> = ORDER.into_iter().chain(LAST).collect();
    let documented: BTreeSet<_> = document.operations().collect();
    assert_eq!(calls, documented, "an operation is in the document or in this test only");

    let (mut id, mut job, mut upload) = (String::new(), String::new(), String::new());
    let with = shop.register(json!({ "country": "NG", "email": "with@example.com" }));
    for (method, path) in ORDER.into_iter().chain(LAST) {
        let operation = document.root["paths"][path][method].clone();
        let path_here = path.replace("{with}", &with).replace("{upload}", &upload);
        let url = filled_of(&path_here, &id, &job);
        if !operation["requestBody"]["content"]["application/octet-stream"].is_null() {
            let answer = put_part(&shop, &url, "{\"a\":1}\n");
            document.check_success(&operation, &answer, path);
            assert!(answer.body["job_id"].is_string(), "{}", answer.text);
            continue;
        }
        let rows = &operation["requestBody"]["content"]["application/x-ndjson"]["examples"];
        if let Some(rows) = rows["rows"]["value"].as_str() {
            for row in rows.lines() {
                let row: Value = serde_json::from_str(row).unwrap();
                document.check(&json!({ "$ref": "#/components/schemas/SyncRow" }), &row, path);
            }
            let answer = post_to(&shop, &format!("{url}?country=NG"), rows);
            document.check_success(&operation, &answer, path);
            answer.body["job_id"].as_str().unwrap().clone_into(&mut job);
            over(&shop, &job);
            continue;
        }
        let examples = operation["requestBody"]["content"]["application/json"].clone();
        if examples.is_null() {
            let answer = shop.call(&method.to_uppercase(), &url, Value::Null);
            document.check_success(&operation, &answer, &url);
            continue;
        }
        let named = examples["examples"].as_object().unwrap();
        assert!(!named.is_empty(), "{method} {path} has no example");
        for (name, example) in named {
            let body = &example["value"];
            document.check(&examples["schema"], body, &format!("{path}: example {name}"));
            let mut body = body.clone();
            if body["with"].is_string() {
                body["with"] = json!(with);
            }
            let answer = shop.call(&method.to_uppercase(), &url, body.clone());
            document.check_success(&operation, &answer, &format!("{method} {path}: {name}"));
            if let Some(id) = answer.body["upload_id"].as_str() {
                id.clone_into(&mut upload);
            }
            if path == "/v1/users" && id.is_empty() && body["password"].is_string() {
                answer.body["user_id"].as_str().unwrap().clone_into(&mut id);
            }
        }
    }
}

#[test]
fn what_is_refused_is_refused_with_a_documented_status_code_and_body() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let other = node.company("other", &["KE"]);
    let document = served(&node, &shop);
    let register = json!({ "country": "NG", "email": "a@example.com", "password": "one two" });
    let id = shop.register(register.clone());
    let user = format!("/v1/users/{id}");
    let nobody = "/v1/users/019a7b3c-5d6e-7f80-8a91-b2c3d4e5f607";
    let key = |status, code, answer: Answer, method: &str, path: &str| {
        answer.refused(status, code);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{code}");
        assert_eq!(answer.body["request_id"].as_str(), answer.header("x-request-id"));
        assert_eq!(answer.body["type"], json!(format!("urn:jcas:problem:{code}")));
        document.check_refusal(&document.root["paths"][path][method], &answer);
    };
    let raw = |method: &str, path: &str, body: &str| shop.call_raw(method, path, &[], Some(body));
    key(400, "malformed_json", raw("POST", "/v1/users", "{"), "post", "/v1/users");
    let big = format!("{{\"country\":\"{}\"}}", "N".repeat(70_000));
    key(413, "body_too_large", raw("POST", "/v1/login", &big), "post", "/v1/login");
    let text = [("Content-Type", "text/plain")];
    let answer = shop.call_raw("POST", "/v1/login", &text, Some("{}"));
    key(415, "unsupported_media_type", answer, "post", "/v1/login");
    key(422, "invalid_fields", raw("POST", "/v1/login", "{}"), "post", "/v1/login");
    key(409, "identity_taken", shop.call("POST", "/v1/users", register), "post", "/v1/users");
    let kenya = json!({ "country": "KE", "email": "b@example.com" });
    key(422, "country_not_allowed", shop.call("POST", "/v1/users", kenya), "post", "/v1/users");
    let wrong = shop.login("NG", "a@example.com", "two one");
    key(401, "invalid_credentials", wrong, "post", "/v1/login");
    let profile = json!({ "profile": { "x": 1 } });
    let denied = other.call("PATCH", &user, profile.clone());
    key(403, "policy_denied", denied, "patch", "/v1/users/{id}");
    let stale = json!({ "profile": {}, "if_revision": "0000000000000000-00000000" });
    let answer = shop.call("PATCH", &user, stale);
    assert!(answer.body["revision"].is_string());
    key(412, "revision_mismatch", answer, "patch", "/v1/users/{id}");
    let path = "/v1/users/{id}";
    key(404, "user_not_found", shop.call("GET", nobody, Value::Null), "get", path);
    let last = format!("{user}/identities/email/a@example.com");
    let path = "/v1/users/{id}/identities/{kind}/{value}";
    key(409, "last_identity", shop.call("DELETE", &last, Value::Null), "delete", path);
    let abroad = format!("{last}?country=KE");
    let answer = shop.call("DELETE", &abroad, Value::Null);
    key(422, "country_not_allowed", answer, "delete", path);
    let fax = format!("{user}/identities/fax/1");
    key(404, "not_found", shop.call("DELETE", &fax, Value::Null), "delete", path);
    let path = "/v1/users/{id}/history";
    let page = |query: &str| shop.call("GET", &format!("{user}/history?{query}"), Value::Null);
    key(400, "invalid_cursor", page("after=no"), "get", path);
    key(422, "invalid_fields", page("limit=0"), "get", path);
    key(422, "invalid_fields", page("page=2"), "get", path);
    let changes = |query: &str| shop.call("GET", &format!("/v1/changes?{query}"), Value::Null);
    key(400, "invalid_cursor", changes("after=no"), "get", "/v1/changes");
    key(422, "invalid_fields", changes("wait=31"), "get", "/v1/changes");
    let bad = Company { key: "jcas_no_key".to_owned(), ..shop.clone() };
    let answer = bad.call("GET", "/v1/whoami", Value::Null);
    key(401, "api_key_invalid", answer, "get", "/v1/whoami");
    let answer = shop.call_raw("GET", "/v1/whoami", &[("Accept", "text/html")], None);
    key(406, "not_acceptable", answer, "get", "/v1/whoami");
}

#[test]
fn a_path_has_the_documented_methods_and_says_so_for_every_other() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let document = served(&node, &shop);
    for path in document.root["paths"].as_object().unwrap().keys() {
        let url = filled(path, "019a7b3c-5d6e-7f80-8a91-b2c3d4e5f607");
        let mut methods = methods_of(&document, path);
        for method in &methods {
            let answer = shop.call_raw(method, &url, &[], None);
            assert_ne!(answer.status, 405, "{method} {path}");
            assert_ne!(answer.status, 0, "{method} {path}: {}", answer.text);
        }
        if methods.contains(&"GET".to_owned()) {
            methods.push("HEAD".to_owned());
        }
        methods.push("OPTIONS".to_owned());
        methods.sort();
        let allow = methods.join(", ");
        let options = shop.call_raw("OPTIONS", &url, &[], None);
        assert_eq!(options.done(204).header("allow"), Some(allow.as_str()), "{path}");
        let all = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE"];
        for method in all.into_iter().filter(|method| !methods.contains(&(*method).to_owned())) {
            let answer = shop.call_raw(method, &url, &[], None);
            assert_eq!(answer.status, 405, "{method} {path}");
            assert_eq!(answer.header("allow"), Some(allow.as_str()), "{method} {path}");
            assert!(answer.header("access-control-allow-origin").is_none());
            if method != "HEAD" {
                answer.refused(405, "method_not_allowed");
                document.check(
                    &json!({ "$ref": "#/components/schemas/Problem" }),
                    &answer.body,
                    path,
                );
            }
        }
    }
    shop.call("GET", "/v1/nothing", Value::Null).refused(404, "not_found");
    shop.call("GET", "/v1/users/", Value::Null).refused(404, "not_found");
}

#[test]
fn head_answers_as_get_without_the_body() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let document = served(&node, &shop);
    let id = shop.register(json!({ "country": "NG", "email": "a@example.com" }));
    let profile = json!({ "scheme": "digest", "digest": "sha256", "salt_position": "prefix" });
    shop.call("PUT", "/v1/hash-profiles/NG/default", profile).done(200);
    let job = post(&shop, "\n");
    over(&shop, &job);
    let upload = begun(&shop, b"\n").body["upload_id"].as_str().unwrap().to_owned();
    let erased = shop.register(json!({ "country": "NG", "email": "b@example.com" }));
    shop.call("DELETE", &format!("/v1/users/{erased}"), Value::Null).done(202);
    let gets = document.operations().filter(|(method, _)| *method == "get");
    for (_, path) in gets {
        let user = if path.ends_with("/erasure") { &erased } else { &id };
        let url = filled_of(&path.replace("{upload}", &upload), user, &job);
        let (got, head) =
            (shop.call("GET", &url, Value::Null), shop.call("HEAD", &url, Value::Null));
        assert_eq!((got.status, head.status), (200, 200), "{path}: {}", got.text);
        assert_eq!(head.text, "", "{path}");
        for name in ["content-type", "etag"] {
            assert_eq!(got.header(name), head.header(name), "{path}: {name}");
        }
    }
}

#[test]
fn the_program_prints_the_contract_it_serves() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let (code, printed, said) = node.run(&["openapi"]);
    assert_eq!((code, said.as_str()), (0, ""));
    let printed: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(printed, served(&node, &shop).root);
}

#[test]
fn what_callers_make_up_does_not_become_a_series_of_its_own() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    shop.call_raw("BREW", "/v1/whoami", &[], None).refused(405, "method_not_allowed");
    shop.call("GET", "/v1/made-up", Value::Null).refused(404, "not_found");
    let figures = shop.call("GET", "/metrics", Value::Null).done(200).text.clone();
    assert!(figures.contains(r#"method="other",route="/v1/whoami",status="405""#), "{figures}");
    assert!(figures.contains(r#"method="GET",route="unknown",status="404""#), "{figures}");
    assert!(!figures.contains("BREW") && !figures.contains("made-up"), "{figures}");
}

#[test]
fn a_call_needs_the_scope_the_document_says_and_no_other() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let document = served(&node, &shop);
    for scope in ["login", "read", "write", "sync", "link", "erase"] {
        let body = json!({ "scopes": [scope] });
        let issued = node.operate("POST", "/operator/companies/shop/keys", Some(&body));
        let key = issued.done(201).body["api_key"].as_str().unwrap().to_owned();
        let shop = Company { key, ..shop.clone() };
        for (method, path) in document.operations() {
            let operation = &document.root["paths"][path][method];
            let examples = &operation["requestBody"]["content"]["application/json"]["examples"];
            let body = examples.as_object().and_then(|it| it.values().next());
            let body = body.map_or(Value::Null, |example| example["value"].clone());
            let url = filled(path, "019a7b3c-5d6e-7f80-8a91-b2c3d4e5f607");
            let answer = shop.call(&method.to_uppercase(), &url, body);
            let needed = operation["x-scope"].as_str();
            let refused = needed.is_some_and(|needed| needed != scope);
            assert_eq!(answer.code() == "scope_missing", refused, "{method} {path}: {scope}");
        }
    }
}

#[test]
fn the_codes_of_the_document_are_those_the_error_map_can_produce() {
    let document = include_str!("../../src/http/openapi.json");
    let document = Document::new(serde_json::from_str(document).unwrap());
    let listed = &document.root["components"]["schemas"]["ProblemCode"]["enum"];
    let listed = listed.as_array().unwrap().iter();
    let listed: BTreeSet<_> = listed.map(|code| code.as_str().unwrap()).collect();
    let source = include_str!("../../src/http/error.rs");
    let produced = source.split("StatusCode::").skip(1).filter_map(|after| {
        let (status, rest) = after.split_once(',')?;
        let is_constant = status.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
        is_constant.then_some(())?;
        rest.trim_start().strip_prefix('"')?.split('"').next()
    });
    let produced: BTreeSet<_> = produced.collect();
    assert!(produced.len() > 20, "the map is read as text and was not found: {produced:?}");
    assert_eq!(listed, produced);
    let used: BTreeSet<_> = document.codes_in_use();
    let mut expected = listed;
    // Said of methods that no operation is for.
    expected.remove("method_not_allowed");
    assert_eq!(used, expected.into_iter().map(str::to_owned).collect());
}

#[test]
fn every_schema_has_a_name_that_is_used_and_examples_that_fit() {
    let document = include_str!("../../src/http/openapi.json");
    let document = Document::new(serde_json::from_str(document).unwrap());
    let text = document.root.to_string();
    for part in ["schemas", "parameters", "responses", "headers", "links"] {
        for name in document.root["components"][part].as_object().unwrap().keys() {
            let used = text.contains(&format!("\"#/components/{part}/{name}\""));
            assert!(used, "{part}/{name} is not used");
        }
    }
    for (name, schema) in document.root["components"]["schemas"].as_object().unwrap() {
        for example in schema["examples"].as_array().into_iter().flatten() {
            document.check(schema, example, name);
        }
    }
}
