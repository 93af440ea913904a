//! Registrations with an idempotency key: a repeat is given the first answer, whatever happened
//! meanwhile, and nothing is recorded twice.

use std::io::Write as _;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use jcas::events::event::{Cause, Draft, Event};
use jcas::events::record::Subject;
use jcas::events::stamp::{EffectiveTime, Incarnation, Origin, Revision};
use jcas::files::{Disk, Files};
use jcas::log::{Append, Batch, Log, LogOptions, LogReader, NewRecord};
use jcas::state::kv::{Kv as _, Tree};
use jcas::state::sled_kv::SledKv;
use serde_json::{Value, json};

use crate::clock::{say, take_time_from};
use crate::history_tools::{emptied, exported};
use crate::node::{Answer, Company, Node, wait_for};
use crate::problem::{MARK, Untouched, problem, wrong_field};
use crate::races::at_once;

fn ada() -> Value {
    json!({
        "country": "NG", "email": "ada@example.com", "phone": "0803 123 4567", "password": MARK,
        "profile": { "given_name": "Ada", "tags": ["a", { "b": 1.5 }] },
    })
}

fn with_key(company: &Company, key: &str, path: &str, body: &str) -> Answer {
    company.call_raw("POST", path, &[("Idempotency-Key", key)], Some(body))
}

fn register(company: &Company, key: &str, body: &Value) -> Answer {
    with_key(company, key, "/v1/users", &body.to_string())
}

/// Asserts that a call was answered as the first one.
#[track_caller]
fn same(first: &Answer, again: &Answer) {
    assert_eq!(again.done(first.status).text, first.text);
    for name in ["location", "content-type"] {
        assert_eq!(again.header(name), first.header(name), "{name}");
    }
}

/// Changes everything that the answer to a registration shows.
fn change(shop: &Company, id: &str) {
    let one = format!("/v1/users/{id}");
    let profile = json!({ "given_name": "Bola", "tags": null, "locale": "en-NG" });
    shop.call("PATCH", &one, json!({ "profile": profile })).done(200);
    shop.call("PUT", &format!("{one}/password"), json!({ "password": "another" })).done(200);
    let email = json!({ "value": "second@example.com" });
    shop.call("PUT", &format!("{one}/identities/email"), email).done(200);
    let old = format!("{one}/identities/email/ada@example.com");
    shop.call("DELETE", &old, Value::Null).done(200);
    shop.call("PUT", &format!("{one}/status"), json!({ "status": "disabled" })).done(200);
}

#[test]
fn a_repeat_is_given_the_first_answer_whatever_was_changed_since() {
    let mut node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let first = register(&shop, "order-17", &ada());
    let id = first.done(201).body["user_id"].as_str().unwrap().to_owned();
    same(&first, &register(&shop, "order-17", &ada()));
    change(&shop, &id);
    let untouched = Untouched::of(&node);
    // Names in another order and other spaces say the same.
    let reversed = r#" {"profile":{"tags":["a",{"b":1.5}],"given_name":"Ada"}, "password":"MARK",
        "phone":"0803 123 4567", "email":"ada@example.com", "country":"NG"} "#;
    let reversed = reversed.replace("MARK", MARK);
    for body in [ada().to_string(), reversed] {
        same(&first, &with_key(&shop, "order-17", "/v1/users", &body));
    }
    untouched.holds();
    // After a crash, after a fold of the whole log, from a state that is folded anew.
    node.kill();
    node.start();
    same(&first, &register(&shop.at(&node), "order-17", &ada()));
    assert_eq!(node.stop(), 0);
    let (code, said, _) = node.run(&["state", "verify"]);
    assert_eq!(code, 0, "{said}");
    std::fs::remove_dir_all(node.data().join("state")).unwrap();
    node.start();
    same(&first, &register(&shop.at(&node), "order-17", &ada()));
    assert_eq!(node.stop(), 0);
    assert_eq!(node.run(&["state", "rebuild"]).0, 0);
    node.start();
    same(&first, &register(&shop.at(&node), "order-17", &ada()));
}

#[test]
fn a_key_with_another_request_is_refused_and_another_companys_key_is_its_own() {
    let node = Node::started(&[]);
    let (shop, other) = (node.company("shop", &["NG"]), node.company("other", &["NG"]));
    let first = register(&shop, "k", &ada());
    first.done(201);
    let untouched = Untouched::of(&node);
    let mut bodies = vec![json!({ "country": "NG", "email": "bola@example.com" })];
    for (name, value) in [
        ("password", json!("s3cr3t-2")),
        ("email_verified", json!(false)),
        ("replicate", json!("none")),
        ("profile", json!({ "given_name": "Ada", "tags": ["a", { "b": 1 }] })),
    ] {
        let mut body = ada();
        body[name] = value;
        bodies.push(body);
    }
    for body in &bodies {
        problem(&register(&shop, "k", body), 422, "idempotency_key_reused");
    }
    let elsewhere = with_key(&shop, "k", "/v1/users?", &ada().to_string());
    problem(&elsewhere, 422, "idempotency_key_reused");
    untouched.holds();
    // What the first call asked is still answered, and others' keys are others'.
    same(&first, &register(&shop, "k", &ada()));
    let theirs = register(&other, "k", &ada());
    assert_ne!(theirs.done(201).body["user_id"], first.body["user_id"]);
    same(&theirs, &register(&other, "k", &ada()));
    // Without the key, and with another one, it is another call.
    problem(&shop.call("POST", "/v1/users", ada()), 409, "identity_taken");
    problem(&register(&shop, "l", &ada()), 409, "identity_taken");
}

#[test]
fn a_call_that_recorded_nothing_leaves_its_key_free() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    shop.register(ada());
    let bad = json!({ "country": "NG", "email": "no address" });
    problem(&register(&shop, "k", &ada()), 409, "identity_taken");
    problem(&register(&shop, "k", &bad), 422, "invalid_fields");
    let good = json!({ "country": "NG", "email": "bola@example.com" });
    let first = register(&shop, "k", &good);
    first.done(201);
    same(&first, &register(&shop, "k", &good));
    // A login and a look-up are carried out whenever they are asked for.
    let login = json!({ "country": "NG", "email": "ada@example.com", "password": MARK });
    let lookup = json!({ "email": "ada@example.com" });
    for (path, body) in [("/v1/login", &login), ("/v1/users/lookup", &lookup)] {
        for _ in 0..2 {
            with_key(&shop, "k", path, &body.to_string()).done(200);
        }
    }
    let wrong = login.to_string().replace(MARK, "s3cr3t-2");
    problem(&with_key(&shop, "k", "/v1/login", &wrong), 401, "invalid_credentials");
}

#[test]
fn a_key_of_another_shape_is_refused_and_what_may_not_be_called_may_not_be_repeated() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let untouched = Untouched::of(&node);
    for key in ["", "with space", "caf\u{e9}", &"x".repeat(65)] {
        wrong_field(&register(&shop, key, &ada()), "Idempotency-Key", "invalid");
    }
    let body = ada().to_string();
    let headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "a")];
    let twice = shop.call_raw("POST", "/v1/users", &headers, Some(&body));
    wrong_field(&twice, "Idempotency-Key", "invalid");
    untouched.holds();
    let longest = "~".repeat(64);
    let first = register(&shop, &longest, &ada());
    same(first.done(201), &register(&shop, &longest, &ada()));
    let scopes = json!({ "scopes": ["read"] });
    let issued = node.operate("POST", "/operator/companies/shop/keys", Some(&scopes));
    let key = issued.done(201).body["api_key"].as_str().unwrap().to_owned();
    let reader = Company { key, ..shop };
    problem(&register(&reader, &longest, &ada()), 403, "scope_missing");
}

#[test]
fn repeats_at_the_same_moment_wait_for_the_first_and_are_given_its_answer() {
    let mut node = Node::started(&[("hash.bcrypt_cost", "8")]);
    let shop = node.company("shop", &["NG"]);
    for round in 0..4 {
        let body = |number: usize| {
            let mut body = ada();
            // One of them asks for something else.
            let round = if number == 7 { round + 100 } else { round };
            body["email"] = json!(format!("race{round}@example.com"));
            body.as_object_mut().unwrap().remove("phone");
            body
        };
        let key = format!("round-{round}");
        let answers = at_once(8, |number| register(&shop, &key, &body(number)));
        let winner = answers.iter().position(|answer| answer.status == 201).unwrap();
        for (number, answer) in answers.iter().enumerate() {
            if (number == 7) == (winner == 7) {
                same(&answers[winner], answer);
            } else {
                problem(answer, 422, "idempotency_key_reused");
            }
        }
    }
    assert_eq!(node.state_hash().1, 4, "more users than rounds");
    assert_eq!(node.stop(), 0);
}

/// A call that nobody waits for the answer of.
fn send_and_go(node: &Node, shop: &Company, key: &str, body: &str) -> std::net::TcpStream {
    let mut stream = node.connect();
    let request = format!(
        "POST /v1/users HTTP/1.1\r\nHost: jcas\r\nX-Api-Key: {}\r\nIdempotency-Key: {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        shop.key,
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

#[test]
fn what_was_recorded_and_never_answered_is_answered_after_the_crash() {
    let mut node = Node::started(&[("log.segment_mib", "1")]);
    let shop = node.company("shop", &["NG"]);
    let mut before = Vec::new();
    for round in 0..4 {
        let here = shop.at(&node);
        let email = |number: usize| format!("user{round}-{number}@example.com");
        let body = |number: usize| {
            let body = json!({
                "country": "NG", "email": email(number), "password": MARK,
                "profile": { "number": number },
            });
            body.to_string()
        };
        let key = |number: usize| format!("{round}/{number}");
        // Killed the moment that the first of them is seen: of the others some are on the disk,
        // some on their way there, and none is answered as far as its caller knows.
        let calls: Vec<_> = (0..24).map(|n| send_and_go(&node, &here, &key(n), &body(n))).collect();
        let first = json!({ "email": email(0) });
        wait_for("the first to be recorded", || {
            let found = here.call("POST", "/v1/users/lookup", first.clone());
            (found.status == 200).then_some(())
        });
        node.kill();
        drop(calls);
        node.start();
        let here = shop.at(&node);
        let found = |number: usize| {
            let found = here.call("POST", "/v1/users/lookup", json!({ "email": email(number) }));
            found.body["user_id"].as_str().map(str::to_owned)
        };
        let recorded: Vec<_> = (0..24).map(found).collect();
        assert!(recorded[0].is_some(), "what was seen is gone");
        for (number, recorded) in recorded.iter().enumerate() {
            let answer = with_key(&here, &key(number), "/v1/users", &body(number));
            let id = answer.done(201).body["user_id"].as_str().unwrap();
            assert!(recorded.as_ref().is_none_or(|known| known == id), "two users of one call");
            assert_eq!(answer.body["profile"], json!({ "number": number }));
            same(&answer, &with_key(&here, &key(number), "/v1/users", &body(number)));
            before.push((key(number), body(number), answer));
        }
    }
    assert_eq!(node.state_hash().1, 4 * 24);
    let here = shop.at(&node);
    for (key, body, answer) in &before {
        same(answer, &with_key(&here, key, "/v1/users", body));
    }
}

/// Writes into the log of a node that does not run what another node would have: that somebody
/// asked to be forgotten.
fn erase(node: &Node, user: &str) {
    let files: Arc<dyn Files> = Arc::new(Disk);
    let folder = node.data().join("log");
    let deployment = LogReader::open_path(&files, &folder).unwrap().deployment();
    let options = LogOptions::new(deployment, Arc::new(|| Duration::ZERO));
    let (log, opened) = Log::open(files, &folder, options).unwrap();
    let revision = Revision::from_bits(opened.greatest_revision.to_bits() + 1);
    let draft = Draft {
        subject: Subject::User(user.parse().unwrap()),
        revision,
        effective: EffectiveTime::at(revision),
        cause: Cause::default(),
        event: Event::UserErased(()),
    };
    let incarnation = Incarnation { counter: 1, tag: 1 };
    let origin =
        Origin { region: "elsewhere".parse().unwrap(), node: "n".parse().unwrap(), incarnation };
    let writer = log.start_writer(origin, Box::new(|_| ())).unwrap();
    let (sender, done) = mpsc::channel();
    let batch = Batch::Own(vec![NewRecord::new(&draft, [7; 16]).unwrap()]);
    let done_sender = Box::new(move |result: Result<_, _>| sender.send(result.is_ok()).unwrap());
    assert!(
        writer.append(Append { epoch: writer.epoch(), batch, done: done_sender }).is_ok(),
        "the log took nothing"
    );
    assert!(done.recv().unwrap(), "it was not written");
    writer.close();
}

#[test]
fn a_repeat_is_given_the_first_answer_wherever_the_events_are() {
    let mut node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let first = register(&shop, "k", &ada());
    change(&shop, first.done(201).body["user_id"].as_str().unwrap());
    let file = exported(&node, "all.jcas", &["--with-keys"]);
    assert_eq!(node.stop(), 0);
    let mut other = emptied(&node);
    let (code, _, said) = other.run(&["log", "import", file.to_str().unwrap()]);
    assert_eq!(code, 0, "{said}");
    other.start();
    let untouched = Untouched::of(&other);
    same(&first, &register(&shop.at(&other), "k", &ada()));
    let body = json!({ "country": "NG", "email": "bola@example.com" });
    problem(&register(&shop.at(&other), "k", &body), 422, "idempotency_key_reused");
    untouched.holds();
}

#[test]
fn a_repeat_shows_nobody_who_was_erased_meanwhile() {
    let mut node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let first = register(&shop, "k", &ada());
    let id = first.done(201).body["user_id"].as_str().unwrap().to_owned();
    assert_eq!(node.stop(), 0);
    erase(&node, &id);
    node.start();
    let here = shop.at(&node);
    problem(&here.call("GET", &format!("/v1/users/{id}"), Value::Null), 410, "user_erased");
    let untouched = Untouched::of(&node);
    problem(&register(&here, "k", &ada()), 410, "user_erased");
    let other = json!({ "country": "NG", "email": "bola@example.com" });
    problem(&register(&here, "k", &other), 422, "idempotency_key_reused");
    untouched.holds();
}

/// How many entries of repeats a node that does not run has.
fn entries(node: &Node) -> usize {
    let state = node.data().join("state");
    let generations = std::fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path());
    let of_sled = |path: &std::path::PathBuf| {
        path.file_name().unwrap().to_str().unwrap().starts_with("sled-")
    };
    let folder = generations.into_iter().find(of_sled).unwrap();
    let files: Arc<dyn Files> = Arc::new(Disk);
    let kv = SledKv::open(&files, &folder, 8 << 20).unwrap();
    kv.scan(Tree::Repeats, &[]).map(Result::unwrap).count()
}

#[test]
fn a_key_is_kept_for_a_day_and_then_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("time");
    say(&file, "+0");
    let mut node = Node::new(&[]);
    take_time_from(&mut node, &file);
    node.start();
    let shop = node.company("shop", &["NG"]);
    let first = register(&shop, "k", &ada());
    first.done(201);
    assert_eq!(node.stop(), 0);
    assert_eq!(entries(&node), 1);
    say(&file, "+23h");
    node.start();
    same(&first, &register(&shop.at(&node), "k", &ada()));
    let later = json!({ "country": "NG", "email": "later@example.com" });
    let second = register(&shop.at(&node), "later", &later);
    second.done(201);
    say(&file, "+25h");
    // A day later the key may be used for anything. Nobody restarted the node meanwhile.
    let other = json!({ "country": "NG", "email": "bola@example.com" });
    let here = shop.at(&node);
    problem(&register(&here, "k", &ada()), 409, "identity_taken");
    let third = register(&here, "k", &other);
    third.done(201);
    for _ in 0..2 {
        same(&third, &register(&shop.at(&node), "k", &other));
        same(&second, &register(&shop.at(&node), "later", &later));
        assert_eq!(node.stop(), 0);
        node.start();
    }
    assert_eq!(node.stop(), 0);
    assert_eq!(entries(&node), 2, "the first one's is gone");
    let (code, said, _) = node.run(&["state", "verify"]);
    assert_eq!(code, 0, "{said}");
}
