//! What the node writes in JSON: one object a line, whatever happens; documented members alone; a
//! request's id and a user's id, and nothing else of whom it is about.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;

use serde_json::{Value, json};

use crate::leak::{Scanner, Secret};
use crate::node::{Answer, Company, Node, files_below};

const EMAIL: &str = "Adaeze.Canary@quokka-mail.example";
const PASSWORD: &str = "Kormoran-7-Tiefseeanker";

fn text(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The members that docs/operations.md says a line may have.
fn documented() -> BTreeSet<String> {
    let document = text("docs/operations.md");
    let table = document.split("| member | on which lines | what |\n").nth(1).unwrap();
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    let cells = rows.map(|row| row.split('|').nth(1).unwrap().to_owned());
    let names = cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>());
    names.collect()
}

/// Every line that was written, as the object it is. Members of the call around a line count as
/// the line's own.
#[track_caller]
fn lines(node: &Node) -> Vec<Value> {
    let read = |line: &str| {
        let parsed: Result<Value, _> = serde_json::from_str(line);
        assert!(parsed.as_ref().is_ok_and(Value::is_object), "no JSON object: {line}");
        let mut line = parsed.unwrap();
        if let Some(Value::Object(around)) = line.as_object_mut().unwrap().remove("span") {
            for (name, value) in around {
                if name != "name" {
                    line[name] = value;
                }
            }
        }
        line
    };
    node.output().lines().map(read).collect()
}

/// The members that the source gives to log lines.
fn in_the_source() -> BTreeSet<String> {
    let mut found: BTreeSet<String> = BTreeSet::new();
    for (path, bytes) in files_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let source = String::from_utf8(bytes).unwrap();
        for (word, named_first) in [
            ("error!(", false),
            ("warn!(", false),
            ("info!(", false),
            ("debug!(", false),
            ("trace!(", false),
            ("info_span!(", true),
        ] {
            for after in source.split(&format!("tracing::{word}")).skip(1) {
                let parts = after.split(',').map(str::trim).skip(usize::from(named_first));
                for part in parts {
                    if part.starts_with('"') {
                        break;
                    }
                    let is_last = part.contains(");") || part.contains(")\n");
                    let name = part.split([' ', ')', '=']).next().unwrap();
                    let name = name.trim_start_matches(['%', '?']);
                    let is_name = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
                    assert!(is_name && !name.is_empty(), "{}: {part}", path.display());
                    found.insert(name.to_owned());
                    if is_last {
                        break;
                    }
                }
            }
        }
    }
    found
}

/// Makes every call of the contract, once so that it is done and once so that it is refused, and
/// returns the user they are about and the answers.
fn call_everything(node: &Node, shop: &Company) -> (String, Vec<Answer>) {
    let user = shop.register(json!({ "country": "NG", "email": EMAIL, "password": PASSWORD,
        "profile": { "given_name": EMAIL } }));
    let one = format!("/v1/users/{user}");
    let hash = bcrypt::hash(PASSWORD, 4).unwrap();
    let named = format!("{one}/identities/email/{EMAIL}");
    let by_email = json!({ "country": "NG", "email": EMAIL, "password": PASSWORD });
    let wrong = json!({ "country": "NG", "email": EMAIL, "password": format!("{PASSWORD}?") });
    let calls = [
        ("GET", "/v1/whoami".to_owned(), Value::Null),
        ("POST", "/v1/login".to_owned(), by_email.clone()),
        ("POST", "/v1/login".to_owned(), wrong),
        ("POST", "/v1/users".to_owned(), by_email),
        ("POST", "/v1/users/lookup".to_owned(), json!({ "email": EMAIL })),
        ("GET", one.clone(), Value::Null),
        ("GET", format!("{one}/history"), Value::Null),
        ("PATCH", one.clone(), json!({ "profile": { "nickname": EMAIL } })),
        ("PUT", format!("{one}/password"), json!({ "password": PASSWORD })),
        ("PUT", format!("{one}/legacy-hashes/NG"), json!({ "hash": hash })),
        ("PUT", named.clone(), json!({})),
        ("PUT", format!("{one}/identities/email"), json!({ "value": format!("b.{EMAIL}") })),
        ("DELETE", format!("{one}/identities/email"), json!({ "value": format!("b.{EMAIL}") })),
        ("DELETE", named, Value::Null),
        ("PUT", format!("{one}/status"), json!({ "status": "active" })),
        ("GET", format!("{one}/export"), Value::Null),
        ("GET", format!("/v1/changes?after={EMAIL}"), Value::Null),
        ("GET", "/v1/changes".to_owned(), Value::Null),
        ("GET", "/v1/link-candidates".to_owned(), Value::Null),
        ("POST", format!("{one}/link"), json!({ "with": EMAIL })),
        ("POST", format!("{one}/unlink"), json!({ "with": user })),
        ("DELETE", format!("/v1/link-candidates/{user}/{EMAIL}"), Value::Null),
        ("DELETE", one.clone(), Value::Null),
        ("GET", format!("{one}/erasure"), Value::Null),
        ("GET", "/v1/sync".to_owned(), Value::Null),
        ("GET", format!("/v1/sync/{EMAIL}"), Value::Null),
        ("DELETE", format!("/v1/sync/{EMAIL}"), Value::Null),
        ("GET", format!("/v1/sync/{EMAIL}/rows"), Value::Null),
        ("POST", "/v1/sync?country=NG".to_owned(), json!({ "email": EMAIL })),
        ("POST", "/v1/sync/uploads".to_owned(), json!({ "country": "NG", "digest": EMAIL })),
        ("GET", format!("/v1/sync/uploads/{EMAIL}"), Value::Null),
        ("PUT", format!("/v1/sync/uploads/{EMAIL}/{EMAIL}"), json!({ "email": EMAIL })),
        ("PUT", "/v1/hash-profiles/NG/default".to_owned(), json!({ "scheme": "magento1" })),
        ("GET", "/v1/hash-profiles/NG/default".to_owned(), Value::Null),
        (
            "POST",
            "/v1/hash-profiles/probe".to_owned(),
            json!({ "hash": hash, "password": PASSWORD }),
        ),
        ("GET", "/.well-known/jwks.json".to_owned(), Value::Null),
        ("GET", "/health/live".to_owned(), Value::Null),
        ("GET", "/health/ready".to_owned(), Value::Null),
        ("GET", "/metrics".to_owned(), Value::Null),
        ("GET", "/openapi.json".to_owned(), Value::Null),
        ("GET", format!("/{EMAIL}"), Value::Null),
    ];
    let contract: Value = serde_json::from_str(&text("src/http/openapi.json")).unwrap();
    let operations = contract["paths"].as_object().unwrap().values();
    let operations: usize = operations.map(|item| item.as_object().unwrap().len()).sum();
    assert!(calls.len() > operations, "{operations} operations, {} calls", calls.len());
    let stranger = Company { key: format!("jcas_{PASSWORD}"), ..shop.clone() };
    let mut answers = Vec::new();
    for (method, path, body) in calls {
        answers.push(shop.call(method, &path, body.clone()));
        answers.push(stranger.call(method, &path, body));
        answers.push(shop.call_raw(method, &path, &[], Some(&format!("{{{EMAIL}"))));
        answers.push(shop.call_raw("BREW", &path, &[], None));
    }
    let rows = ("Content-Type", "application/x-ndjson");
    let row = json!({ "email": EMAIL, "profile": { "given_name": EMAIL } }).to_string();
    answers.push(shop.call_raw("POST", "/v1/sync?country=NG", &[rows], Some(&row)));
    for path in ["/operator/companies", "/operator/state", "/operator/companies/shop"] {
        answers.push(node.operate("GET", path, None));
    }
    answers.push(node.operate("PUT", "/operator/companies/shop", Some(&json!({ EMAIL: EMAIL }))));
    (user, answers)
}

#[test]
fn every_line_is_an_object_of_documented_members_that_names_nobody() {
    let mut node = Node::new(&[
        ("logging.format", "json"),
        ("logging.level", "debug"),
        ("state.checkpoint_s", "1"),
    ]);
    node.start();
    let shop = node.company("shop", &["NG"]);
    let (user, answers) = call_everything(&node, &shop);
    // Lines of a start that folds, and of a stop.
    node.kill();
    node.start();
    assert_eq!(node.stop(), 0);

    let (written, documented) = (lines(&node), documented());
    for line in &written {
        for name in line.as_object().unwrap().keys() {
            assert!(documented.contains(name), "{name} is not documented: {line}");
        }
        for name in ["timestamp", "level", "target", "message"] {
            assert!(line[name].is_string(), "no {name}: {line}");
        }
    }
    let ids: BTreeSet<_> = written.iter().filter_map(|line| line["request_id"].as_str()).collect();
    for answer in answers {
        let id = answer.header("x-request-id").unwrap();
        assert!(ids.contains(id), "no line for {id}: {}", answer.text);
    }
    // Who a call was about is said, whether its path names the user or its answer does.
    let about: BTreeSet<_> = written
        .iter()
        .filter(|line| {
            line["message"] == "answered" && line["status"] == 200 && line["user"] == json!(user)
        })
        .filter_map(|line| line["route"].as_str())
        .collect();
    for route in ["/v1/login", "/v1/users/lookup", "/v1/users/{id}", "/v1/users/{id}/history"] {
        assert!(about.contains(route), "no line of {route} names the user: {about:?}");
    }
    let of = |text: &str| Secret { name: text.to_owned(), text: text.to_owned(), digest: true };
    let found = Scanner::new(&[of(EMAIL), of(PASSWORD)]).find(node.output().as_bytes());
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn the_members_of_log_lines_are_documented_and_none_besides() {
    let mut all = in_the_source();
    assert!(all.len() > 10, "{all:?}");
    all.extend(["timestamp", "level", "target", "message"].map(str::to_owned));
    assert_eq!(all, documented());
}

#[test]
fn an_end_that_was_not_asked_for_is_a_line_like_any_other() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut node = Node::new(&[("logging.format", "json"), ("http.listen", &address)]);
    assert!(!node.try_start());
    let written = lines(&node);
    let last = written.last().unwrap();
    assert_eq!((&last["level"], &last["message"]), (&json!("ERROR"), &json!("ended")));
    assert!(last["error"].as_str().unwrap().contains(&address), "{last}");
}
