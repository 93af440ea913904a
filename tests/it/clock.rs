//! A wall clock that is set back: revisions go on rising, and what was written later prevails.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::node::{Company, Node, wait_for};

/// The library of Debian's package `faketime`, which must be installed: it gives a program another
/// time.
fn faketime() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap();
    let folders = folders.map(|entry| entry.unwrap().path().join("faketime/libfaketime.so.1"));
    folders.into_iter().find(|path| path.exists()).unwrap()
}

/// Has the node take its time from what a file says (`-1h`). Only the wall clock: nobody sets the
/// other one back.
pub fn take_time_from(node: &mut Node, file: &Path) {
    let preload = format!("LD_PRELOAD={}", faketime().display());
    let from = format!("FAKETIME_TIMESTAMP_FILE={}", file.display());
    node.through(&["env", &preload, &from, "FAKETIME_NO_CACHE=1", "DONT_FAKE_MONOTONIC=1"]);
}

/// Says what the time is from now on.
pub fn say(file: &Path, time: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, time).unwrap();
    std::fs::rename(new, file).unwrap();
}

/// The clock's part of the health report, and its whole.
fn health(node: &Node) -> (String, String) {
    let report = node.operate("GET", "/health/ready", None).done(200).body.clone();
    let checks = report["checks"].as_array().unwrap();
    let clock = checks.iter().find(|check| check["name"] == "clock").unwrap();
    (clock["state"].as_str().unwrap().to_owned(), report["status"].as_str().unwrap().to_owned())
}

#[track_caller]
fn assert_behind(node: &Node) {
    let (clock, status) = health(node);
    assert!(clock.starts_with("the wall clock is 3") && clock.contains(" s behind"), "{clock}");
    assert_eq!(status, "degraded");
}

/// Writes everything a later write must prevail over, and returns the revision.
fn write(shop: &Company, id: &str, word: &str) -> String {
    let one = format!("/v1/users/{id}");
    let put = |part: &str, body: Value| shop.call("PUT", &format!("{one}/{part}"), body);
    shop.call("PATCH", &one, json!({ "profile": { "word": word } })).done(200);
    let value = json!({ "value": "second@example.com" });
    put("identities/email", value.clone()).done(200);
    shop.call("DELETE", &format!("{one}/identities/email"), value).done(200);
    put("status", json!({ "status": "disabled" })).done(200);
    put("status", json!({ "status": "active" })).done(200);
    let last = put("password", json!({ "password": word }));
    last.done(200).body["revision"].as_str().unwrap().to_owned()
}

#[track_caller]
fn assert_prevails(shop: &Company, id: &str, word: &str, older: &str) {
    let read = shop.user(id);
    assert_eq!(read["profile"], json!({ "word": word }));
    assert_eq!(read["status"], "active");
    assert_eq!(read["identities"].as_array().unwrap().len(), 1);
    shop.login("NG", "a@example.com", word).done(200);
    shop.login("NG", "a@example.com", older).refused(401, "invalid_credentials");
}

fn history(shop: &Company, id: &str) -> Vec<String> {
    let page = shop.call("GET", &format!("/v1/users/{id}/history"), Value::Null);
    let events = page.done(200).body["events"].as_array().unwrap().clone();
    events.iter().map(|event| event["revision"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_clock_set_back_between_two_runs_changes_nothing_but_health() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("time");
    say(&file, "+0");
    let mut node = Node::new(&[]);
    take_time_from(&mut node, &file);
    node.start();
    let shop = node.company("shop", &["NG"]);
    let body = json!({ "country": "NG", "email": "a@example.com", "password": "zero" });
    let id = shop.register(body);
    let mut revision = write(&shop, &id, "first");
    assert_eq!(health(&node), ("ok".to_owned(), "ready".to_owned()));
    let mut older = "first";
    for (number, (time, word)) in
        [("-1h", "back"), ("-1h", "again"), ("+0", "forth")].into_iter().enumerate()
    {
        // Once stopped, once killed.
        if number == 1 {
            node.kill();
        } else {
            assert_eq!(node.stop(), 0);
        }
        say(&file, time);
        node.start();
        let shop = shop.at(&node);
        assert_prevails(&shop, &id, older, "zero");
        let next = write(&shop, &id, word);
        assert!(next > revision, "{next} came after {revision}");
        assert_prevails(&shop, &id, word, older);
        if time == "-1h" {
            assert_behind(&node);
        } else {
            assert_eq!(health(&node), ("ok".to_owned(), "ready".to_owned()));
        }
        (revision, older) = (next, word);
    }
    let revisions = history(&shop.at(&node), &id);
    assert!(revisions.is_sorted(), "{revisions:?}");
}

#[test]
fn a_clock_set_back_while_the_node_runs_changes_nothing_but_health() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("time");
    say(&file, "+0");
    let mut node = Node::new(&[]);
    take_time_from(&mut node, &file);
    node.start();
    let shop = node.company("shop", &["NG"]);
    let body = json!({ "country": "NG", "email": "a@example.com", "password": "zero" });
    let id = shop.register(body);
    let first = write(&shop, &id, "first");
    say(&file, "-1h");
    let behind = wait_for("the jump to be noticed", || {
        let (clock, _) = health(&node);
        (clock != "ok").then_some(clock)
    });
    assert!(behind.contains(" s behind"), "{behind}");
    assert_behind(&node);
    let second = write(&shop, &id, "second");
    assert!(second > first, "{second} came after {first}");
    assert_prevails(&shop, &id, "second", "first");
    // New users and keys are made all the same.
    let other = shop.register(json!({ "country": "NG", "email": "b@example.com" }));
    assert_eq!(shop.user(&other)["status"], "active");
    node.kill();
    node.start();
    let here = shop.at(&node);
    assert_prevails(&here, &id, "second", "first");
    say(&file, "+0");
    wait_for("the clock to be right again", || (health(&node).0 == "ok").then_some(()));
    let third = write(&here, &id, "third");
    assert!(third > second, "{third} came after {second}");
    assert_prevails(&here, &id, "third", "second");
    let revisions = history(&here, &id);
    assert!(revisions.is_sorted(), "{revisions:?}");
}
