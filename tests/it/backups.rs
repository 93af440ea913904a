//! Backups of running nodes, and nodes made from them.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use jcas::app::backup;
use jcas::events::ids::NodeName;
use serde_json::{Value, json};

use crate::node::{Node, send, wait_for};
use crate::regions::{Places, Region, config, converge, person};

/// Users that are registered before the backup is begun, at least.
const BEFORE: usize = 40;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The files of a folder and those below it, without it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn what_was_answered_before_a_backup_began_is_in_it_though_the_node_goes_on_writing() {
    let node = Node::started(&[("log.segment_mib", "1")]);
    let shop = node.company("shop", &["NG"]);
    let (registered, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let out = tempfile::tempdir().unwrap();
    let copy = out.path().join("copy");
    let answered = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                shop.register(person(registered.load(Ordering::SeqCst)));
                registered.fetch_add(1, Ordering::SeqCst);
            }
        });
        wait_for("some users", || (registered.load(Ordering::SeqCst) >= BEFORE).then_some(()));
        let answered = registered.load(Ordering::SeqCst);
        let (code, printed, said) = node.run(&["backup", text(&copy), "--json"]);
        is_over.store(true, Ordering::SeqCst);
        assert_eq!(code, 0, "{said}");
        let made: Value = serde_json::from_str(&printed).unwrap();
        assert_eq!((&made["with_keys"], &made["format"]), (&json!(false), &json!(1)));
        assert!(made["events"].as_u64().unwrap() > answered as u64);
        answered
    });
    let left_out = ["keys", "state", "tokens", "operator-token", "lock"];
    assert!(left_out.iter().all(|name| !copy.join(name).exists()), "{:?}", files(&copy));

    let mut restored = Node::new(&[]);
    let keys = node.data().join("keys");
    let (code, printed, said) = restored.run(&["restore", text(&copy), "--keys", text(&keys)]);
    assert_eq!(code, 0, "{said}");
    assert!(printed.contains(&node.named()), "{printed}");
    let kept = files(&restored.data());
    assert!(!kept.iter().any(|path| path.ends_with("operator.key")), "{kept:?}");
    restored.start();
    let there = shop.at(&restored);
    for number in 0..answered {
        there.login("NG", &format!("p{number}@example.com"), "one two three").done(200);
    }
    // It goes on under a life of its own.
    there.register(person(1_000_000));
    let (code, _, said) = restored.run(&["log", "verify"]);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn a_backup_with_keys_needs_no_others_and_says_what_it_is_worth() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    shop.register(person(1));
    let out = tempfile::tempdir().unwrap();
    let copy = out.path().join("copy");
    let (code, _, said) = node.run(&["backup", text(&copy), "--with-keys"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("warning: the backup holds the region's keys"), "{said}");
    assert!(!copy.join("keys/operator.key").exists());
    let mut restored = Node::new(&[]);
    assert_eq!(restored.run(&["restore", text(&copy)]).0, 0);
    restored.start();
    shop.at(&restored).login("NG", "p1@example.com", "one two three").done(200);
}

#[test]
fn what_cannot_be_backed_up_or_restored_is_refused_and_leaves_nothing_behind() {
    let node = Node::started(&[]);
    node.company("shop", &["NG"]).register(person(1));
    let out = tempfile::tempdir().unwrap();
    let (copy, empty) = (out.path().join("copy"), out.path().join("empty"));
    std::fs::create_dir(&empty).unwrap();
    assert_eq!(node.run(&["backup", text(&copy)]).0, 0);
    let keys = node.data().join("keys");
    let fresh = Node::new(&[]);
    let restore = |node: &Node, from: &Path, keys: Option<&Path>| {
        let mut arguments = vec!["restore", text(from)];
        arguments.extend(keys.iter().flat_map(|keys| ["--keys", text(keys)]));
        let (code, _, said) = node.run(&arguments);
        assert_eq!(code, 1, "{said}");
        said
    };
    let (code, _, said) = node.run(&["backup", text(&copy)]);
    assert_eq!(code, 1);
    assert!(said.contains("is there already; name a folder that is not"), "{said}");
    assert!(restore(&fresh, &empty, None).contains("holds no backup: backup.json"));
    assert!(restore(&fresh, &copy, None).contains("name the folder they are kept in with --keys"));
    assert!(restore(&node, &copy, Some(&keys)).contains("is there already"));
    let said = restore(&fresh, &copy, Some(&Node::started(&[]).data().join("keys")));
    assert!(said.contains("deployment"), "{said}");

    let log = copy.join("log/00000001.seg");
    let whole = std::fs::read(&log).unwrap();
    let mut damaged = whole.clone();
    // In the first batch, and in the last one, which could as well be one that was cut off.
    damaged[whole.len() / 8] ^= 1;
    std::fs::write(&log, damaged).unwrap();
    assert!(restore(&fresh, &copy, Some(&keys)).contains("things are wrong with"));
    std::fs::write(&log, &whole[..whole.len() - 1]).unwrap();
    assert!(restore(&fresh, &copy, Some(&keys)).contains("events where"));
    std::fs::write(&log, whole).unwrap();

    let manifest = copy.join("backup.json");
    let newer =
        std::fs::read_to_string(&manifest).unwrap().replace("\"format\": 1", "\"format\": 9");
    std::fs::write(&manifest, newer).unwrap();
    assert!(restore(&fresh, &copy, Some(&keys)).contains("is of format 9"));
    assert!(!fresh.data().exists());
    let beside: Vec<_> = std::fs::read_dir(fresh.data().parent().unwrap()).unwrap().collect();
    assert!(beside.is_empty(), "{beside:?}");
}

/// Puts a backup in the place of a node's data.
pub fn put_back(copy: &Path, data: &Path, name: NodeName) {
    let lost = data.with_extension("lost");
    std::fs::rename(data, &lost).unwrap();
    let keys = lost.join("keys");
    backup::restore(&config(data, name), copy, Some(&keys), &mut |_, _| {}).unwrap();
}

fn ready(region: &Region) -> (u16, String) {
    let url = format!("{}/health/ready", region.company_url);
    let answer = send("GET", &url, &[], None);
    (answer.status, answer.text)
}

#[test]
fn a_restored_node_answers_nobody_before_it_has_what_the_others_have() {
    let places = Places::new(&["eu/n1", "us/n1"]);
    let (mut eu, us) = (places.start(0), places.start(1));
    let shop = eu.company("shop");
    shop.register(person(1));
    converge([&eu, &us]);
    let out = tempfile::tempdir().unwrap();
    let copy = out.path().join("copy");
    backup::backup(&config(&eu.data, places.names[0]), &copy, false, &mut |_, _| {}).unwrap();
    // Only the other region still knows of this one, and of the life that recorded it.
    shop.register(person(2));
    converge([&eu, &us]);
    eu.stop();
    put_back(&copy, &eu.data, places.names[0]);

    places.cut(0, 1);
    let mut eu = places.start(0);
    let answer = eu.at(&shop).login("NG", "p1@example.com", "one two three");
    answer.refused(503, "not_ready");
    assert!(answer.header("retry-after").is_some());
    let (status, said) = ready(&eu);
    assert_eq!(status, 503);
    assert!(said.contains("not yet: this node joined or was restored"), "{said}");
    // A start in between changes nothing.
    eu.stop();
    let mut eu = places.start(0);
    eu.at(&shop).login("NG", "p1@example.com", "one two three").refused(503, "not_ready");

    places.heal(0, 1);
    let answer = wait_for("companies to be answered", || {
        let answer = eu.at(&shop).login("NG", "p2@example.com", "one two three");
        (answer.status != 503).then_some(answer)
    });
    answer.done(200);
    converge([&eu, &us]);
    assert_eq!(ready(&eu).0, 200);
    eu.stop();
    places.cut(0, 1);
    let eu = places.start(0);
    eu.at(&shop).login("NG", "p2@example.com", "one two three").done(200);
}

#[test]
fn a_node_that_joined_answers_nobody_before_it_has_what_the_others_have() {
    let places = Places::joining(&["eu/n1", "us/n1"]);
    let eu = places.start(0);
    let shop = eu.company("shop");
    shop.register(person(1));
    places.cut(0, 1);
    let us = places.start(1);
    let log_in = || us.at(&shop).login("NG", "p1@example.com", "one two three");
    log_in().refused(503, "not_ready");
    places.heal(0, 1);
    wait_for("companies to be answered", || (log_in().status != 503).then_some(()));
    log_in().done(200);
}
