//! A disk that is full, and one that loses what was written: nothing is answered that is not so.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::node::{Answer, Company, Node, wait_for};
use crate::problem::{Untouched, problem};

/// The library that makes writes and syncs fail, compiled once.
pub fn shim() -> PathBuf {
    static SHIM: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = SHIM.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk_fault.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/disk_fault.c");
        let flags = ["-shared", "-fPIC", "-O1", "-o"];
        let built = Command::new("cc").args(flags).arg(&path).arg(source).arg("-ldl").status();
        assert!(built.unwrap().success(), "the C compiler failed");
        (folder, path)
    });
    path.clone()
}

/// A node whose disk fails on command.
pub struct Failing {
    pub node: Node,
    faults: TempDir,
}

impl Failing {
    /// Files with `part` in their path are the ones that fail.
    pub fn started(part: &str, settings: &[(&str, &str)]) -> Self {
        let faults = tempfile::tempdir().unwrap();
        let mut node = Node::new(settings);
        let preload = format!("LD_PRELOAD={}", shim().display());
        let folder = format!("DISK_FAULT_DIR={}", faults.path().display());
        node.through(&["env", &preload, &folder, &format!("DISK_FAULT_PATH={part}")]);
        node.start();
        Self { node, faults }
    }

    /// Begins a fault: `full` or `sync`.
    pub fn begin(&self, fault: &str) {
        std::fs::write(self.faults.path().join(fault), "").unwrap();
    }

    /// Ends it.
    pub fn end(&self, fault: &str) {
        std::fs::remove_file(self.faults.path().join(fault)).unwrap();
    }

    /// How it is.
    pub fn health(&self) -> Answer {
        self.node.operate("GET", "/health/ready", None)
    }
}

/// Users enough that every shard has some.
const USERS: usize = 200;

fn email(number: usize) -> String {
    format!("u{number}@example.com")
}

fn register(shop: &Company, number: usize) -> Answer {
    let body = json!({ "country": "NG", "email": email(number), "password": "pass",
        "profile": { "n": number } });
    shop.call("POST", "/v1/users", body)
}

fn register_all(shop: &Company) -> Vec<String> {
    let ids = (0..USERS).map(|number| register(shop, number).done(201).body["user_id"].clone());
    ids.map(|id| id.as_str().unwrap().to_owned()).collect()
}

fn patch(shop: &Company, id: &str, value: &Value) -> Answer {
    let body = json!({ "profile": { "n": value } });
    shop.call("PATCH", &format!("/v1/users/{id}"), body)
}

/// Every kind of write, from 16 callers at once. Returns what was answered.
fn write_everything(node: &Node, shop: &Company, ids: &[String]) -> Vec<Answer> {
    let write = |thread: usize| {
        let mut answers = Vec::new();
        for (number, id) in ids.iter().enumerate().skip(thread).step_by(16) {
            let one = format!("/v1/users/{id}");
            answers.push(patch(shop, id, &json!("lost")));
            answers.push(match number % 5 {
                0 => register(shop, USERS + number),
                1 => shop.call("PUT", &format!("{one}/password"), json!({ "password": "lost" })),
                2 => shop.call("PUT", &format!("{one}/status"), json!({ "status": "disabled" })),
                3 => {
                    let value = json!({ "value": format!("lost{number}@example.com") });
                    shop.call("PUT", &format!("{one}/identities/email"), value)
                }
                _ => {
                    let body = json!({ "countries": ["NG", "KE"], "signing": "optional" });
                    node.operate("PUT", "/operator/companies/shop", Some(&body))
                }
            });
        }
        answers
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16).map(|thread| scope.spawn(move || write(thread))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// Asserts a refusal of a write that found no space. Who stood behind a lost event, or asks before
/// it is dropped, may be told no more than that.
#[track_caller]
fn refused_for_space(answer: &Answer) {
    let code = if answer.code() == "not_ready" { "not_ready" } else { "read_only" };
    problem(answer, 503, code);
}

/// A node with users, and no room for files with `part` in their path: writes are refused, and
/// everything else goes on.
fn filled(part: &str) -> (Failing, Company, Vec<String>) {
    let failing = Failing::started(part, &[("state.checkpoint_s", "1")]);
    let shop = failing.node.company("shop", &["NG"]);
    let ids = register_all(&shop);
    // A hash of before: the login that would replace it has to do without.
    let hash = bcrypt::hash("pass", 4).unwrap();
    let old =
        json!({ "country": "NG", "email": "old@example.com", "legacy_hash": { "hash": hash } });
    shop.register(old);
    let untouched = Untouched::of(&failing.node);
    failing.begin("full");
    for answer in write_everything(&failing.node, &shop, &ids) {
        refused_for_space(&answer);
    }
    untouched.holds();
    let degraded = wait_for("health to say that the disk is full", || {
        refused_for_space(&patch(&shop, &ids[0], &json!("lost")));
        let health = failing.health();
        (health.done(200).body["status"] == "degraded").then_some(health)
    });
    let checks = degraded.body["checks"].to_string();
    assert!(checks.contains("read_only: the disk is full"), "{checks}");
    for (number, id) in ids.iter().enumerate().step_by(10) {
        let read = shop.user(id);
        let expected = (&json!({ "n": number }), &json!("active"));
        assert_eq!((&read["profile"], &read["status"]), expected);
        assert_eq!(read["identities"].as_array().unwrap().len(), 1);
        shop.login("NG", &email(number), "pass").done(200);
        shop.login("NG", &email(number), "lost").refused(401, "invalid_credentials");
    }
    let logged_in = shop.login("NG", "old@example.com", "pass");
    assert_eq!(logged_in.done(200).body["upgraded"], json!(false));
    untouched.holds();
    (failing, shop, ids)
}

#[test]
fn a_full_disk_refuses_writes_and_nothing_else_until_there_is_space() {
    let (mut failing, shop, ids) = filled("/jcas-data/log/");
    failing.end("full");
    // Each shard goes on by itself, and so does the registry.
    for id in &ids {
        wait_for("writes to work again", || {
            let answer = patch(&shop, id, &json!("kept"));
            (answer.status == 200).then_some(()).or_else(|| {
                refused_for_space(&answer);
                None
            })
        });
        assert_eq!(shop.user(id)["profile"], json!({ "n": "kept" }));
    }
    assert_eq!(failing.health().body["status"], "ready");
    failing.node.company("late", &["NG"]);
    // What was refused left no identity behind, and the old hash is replaced now.
    for number in (0..USERS).step_by(5) {
        register(&shop, USERS + number).done(201);
    }
    let logged_in = shop.login("NG", "old@example.com", "pass");
    assert_eq!(logged_in.done(200).body["upgraded"], json!(true));
    let users = failing.node.state_hash().1;
    assert_eq!(users, u64::try_from(USERS + USERS / 5 + 1).unwrap());
    failing.node.kill();
    std::fs::remove_dir_all(failing.node.data().join("state")).unwrap();
    failing.node.start();
    let shop = shop.at(&failing.node);
    assert_eq!(failing.node.state_hash().1, users);
    for (number, id) in ids.iter().enumerate() {
        let read = shop.user(id);
        let expected = (&json!({ "n": "kept" }), &json!("active"));
        assert_eq!((&read["profile"], &read["status"]), expected);
        assert_eq!(read["identities"][0]["value"], json!(email(number)));
    }
}

#[test]
fn a_disk_that_was_full_for_the_state_too_costs_a_restart_at_most() {
    let (mut failing, shop, ids) = filled("/jcas-data/");
    failing.end("full");
    // The state may not come back from it by itself. Then the node stops at the first write, and
    // says neither that it was done nor that it was not.
    let write = |id: &String| {
        wait_for("the node to see that there is space", || {
            let answer = patch(&shop, id, &json!("kept"));
            (answer.code() != "read_only").then_some(answer)
        })
    };
    let answers: Vec<_> = ids.iter().map(write).collect();
    let mut refused = false;
    for answer in &answers {
        match answer.status {
            503 if answer.code() == "not_ready" => {
                problem(answer, 503, "not_ready");
                let detail = answer.body["detail"].as_str().unwrap();
                assert!(!detail.contains("nothing of it happened"), "{detail}");
                refused = true;
            }
            0 => refused = true,
            status => assert_eq!(status, 200, "answered: {}", answer.text),
        }
    }
    if refused {
        assert_eq!(failing.node.ended(), 1);
        assert!(failing.node.output().contains("the node stopped: the state's store fails to"));
        failing.node.start();
    }
    let shop = shop.at(&failing.node);
    for ((number, id), answer) in ids.iter().enumerate().zip(&answers) {
        let n = shop.user(id)["profile"]["n"].clone();
        let expected = if answer.status == 200 { json!("kept") } else { json!(number) };
        let unsure = answer.status == 0 || answer.code() == "not_ready";
        assert!(n == expected || (unsure && n == "kept"), "user {number} has {n}");
        patch(&shop, id, &json!("after")).done(200);
    }
    assert_eq!(failing.health().body["status"], "ready");
}

#[test]
fn a_sync_that_fails_stops_the_node_and_what_was_answered_is_there_after_it() {
    let mut failing = Failing::started("/jcas-data/log/", &[]);
    let shop = failing.node.company("shop", &["NG"]);
    let ids = register_all(&shop);
    for id in &ids {
        patch(&shop, id, &json!("kept")).done(200);
    }
    failing.begin("sync");
    let answers = std::thread::scope(|scope| {
        let shop = &shop;
        let mut threads = Vec::new();
        for id in ids.iter().take(32) {
            threads.push(scope.spawn(move || patch(shop, id, &json!("unsure"))));
        }
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    for answer in answers {
        assert!(matches!(answer.status, 0 | 503), "answered: {}", answer.text);
        if answer.status == 503 {
            problem(&answer, 503, "not_ready");
        }
    }
    assert_eq!(failing.node.ended(), 1);
    let said = failing.node.output();
    let last = said.lines().rev().take(5).collect::<Vec<_>>().join("\n");
    assert!(last.contains("the node stopped: cannot sync"), "{said}");
    failing.end("sync");
    failing.node.start();
    let shop = shop.at(&failing.node);
    for (number, id) in ids.iter().enumerate() {
        let n = shop.user(id)["profile"]["n"].clone();
        assert!(n == "kept" || (n == "unsure" && number < 32), "user {number} has {n}");
        patch(&shop, id, &json!("after")).done(200);
    }
    assert_eq!(failing.health().body["status"], "ready");
}
