//! Exports and imports that end well, badly or in between, and logs made up event by event for
//! what replay says of them.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use jcas::events::codec;
use jcas::events::event::{
    Cause, Event, FieldChange, LegacyHashAdded, PasswordSet, Sealed, UserKeyCreated, UserRegistered,
};
use jcas::events::ids::{BranchKeyId, DeploymentId, Digest, Fingerprint, Slot, UserId, UserKeyId};
use jcas::events::record::{Header, LogPosition, Record, Subject};
use jcas::events::stamp::{EffectiveTime, Incarnation, Origin, Revision};
use jcas::files::{Disk, Files};
use jcas::log::{self, Append, Batch, Entry, Log, LogOptions, LogReader};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::disk::shim;
use crate::history_tools::{emptied, exported, lived_in};
use crate::node::{Node, wait_for};
use crate::regions::{Places, converge, person};

/// 2023-11-14T22:13:20Z.
const START: u64 = 1_700_000_000_000;

fn files() -> Arc<dyn Files> {
    Arc::new(Disk)
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn jcas(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jcas"));
    let output = command.args(arguments).env_remove("COLUMNS").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

fn json_of(arguments: &[&str]) -> Value {
    serde_json::from_str(&jcas(&[arguments, &["--json"]].concat())).unwrap()
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn seals(path: &Path) -> usize {
    let reader = LogReader::open_path(&files(), path).unwrap();
    let entries = reader.entries(LogPosition::START, None).map(Result::unwrap);
    entries.filter(|entry| matches!(entry, Entry::Seal { .. })).count()
}

#[test]
fn an_import_brings_seals_catches_up_and_publishes_from_the_start() {
    let places = Places::new(&["eu/n1", "us/n1"]);
    let (mut eu, mut us) = (places.start(0), places.start(1));
    let shop = eu.company("shop");
    (1..4).for_each(|number| drop(shop.register(person(number))));
    wait_for("the other region to have the company", || {
        (us.at(&shop).login("NG", "p3@example.com", "one two three").status == 200).then_some(())
    });
    converge([&eu, &us]);
    let hash = us.state_hash();
    eu.stop();
    us.stop();
    let of_eu = seals(&us.data.join("log"));
    assert!(of_eu > 0);
    let folder = tempfile::tempdir().unwrap();
    let export = folder.path().join("us.jcas");
    jcas(&["log", "export", text(&export), text(&us.data), "--with-keys"]);
    assert_eq!(seals(&export), of_eu);
    let some = folder.path().join("shop.jcas");
    jcas(&["log", "export", text(&some), text(&us.data), "--until", "2020-01-01T00:00:00Z"]);
    assert_eq!(seals(&some), 0, "a seal is with the event it is over");

    std::fs::remove_dir_all(us.data.join("log")).unwrap();
    let cursor = us.data.join("replication/cursor");
    std::fs::write(&cursor, "77\n").unwrap();
    let mut import = Command::new(env!("CARGO_BIN_EXE_jcas"));
    import.args(["log", "import", text(&export), "--json"]);
    let output = import.env("JCAS__NODE__DATA_DIR", &us.data).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.is_empty(), "{said}");
    let imported: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&imported["keys_without_body"], &imported["unsealed"]), (&json!(0), &json!(0)));
    assert_eq!(seals(&us.data.join("log")), of_eu);
    assert!(us.data.join("catching-up").exists() && !us.data.join("read-only").exists());
    assert!(!cursor.exists(), "it points into another log");

    // Nobody is there: whom this node has not heard of may be known to the other.
    let us = places.start(1);
    let refused = us.at(&shop).login("NG", "p1@example.com", "one two three");
    refused.refused(503, "not_ready");
    let eu = places.start(0);
    wait_for("the login to be answered", || {
        (us.at(&shop).login("NG", "p1@example.com", "one two three").status == 200).then_some(())
    });
    converge([&eu, &us]);
    assert_ne!(us.state_hash(), hash, "new lives");
}

#[test]
fn an_import_without_keys_is_read_only_until_one_with_keys_takes_its_place() {
    let (mut node, ..) = lived_in();
    let redacted = exported(&node, "redacted.jcas", &[]);
    let whole = exported(&node, "whole.jcas", &["--with-keys"]);
    let users = node.state_hash().1;
    assert_eq!(node.stop(), 0);
    let mut other = emptied(&node);
    let (code, _, said) = other.run(&["log", "import", text(&redacted)]);
    assert!(code == 0 && said.contains("takes no writes and hears no other node"), "{said}");
    for life in 1..=2 {
        other.start();
        assert_eq!(other.state_hash().1, users, "life {life}");
        let body = json!({ "countries": ["NG"], "signing": "optional" });
        let refused = other.operate("PUT", "/operator/companies/new", Some(&body));
        refused.refused(503, "read_only");
        let health = other.operate("GET", "/health/ready", None).text;
        assert!(health.contains("filled from an export without keys"), "{health}");
        assert_eq!(other.stop(), 0);
    }
    // A copy of it is no more than it is.
    let copies = tempfile::tempdir().unwrap();
    let copy = copies.path().join("copy");
    assert_eq!(other.run(&["backup", text(&copy), "--with-keys"]).0, 0);
    let restored = Node::new(&[]);
    let (code, printed, said) = restored.run(&["restore", text(&copy), "--json"]);
    assert_eq!(code, 0, "{said}");
    assert!(serde_json::from_str::<Value>(&printed).unwrap()["events"].as_u64() > Some(10));
    assert!(restored.data().join("read-only").exists());

    std::fs::remove_dir_all(other.data().join("log")).unwrap();
    assert_eq!(other.run(&["log", "import", text(&whole)]).0, 0);
    assert!(!other.data().join("read-only").exists());
    other.start();
    other.company("third", &["NG"]);
}

#[test]
fn an_export_takes_no_strangers_file_away_and_says_what_it_made_as_json() {
    let (node, ..) = lived_in();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("day.new"), "a stranger's").unwrap();
    std::fs::write(at(".day.jcas.unfinished-4294967290"), "a dead process's").unwrap();
    let (code, printed, said) = node.run(&["log", "export", text(&at("day.jcas")), "--json"]);
    assert_eq!(code, 0, "{said}");
    let made: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(made["bytes"].as_u64().unwrap(), at("day.jcas").metadata().unwrap().len());
    assert_eq!(names_in(folder.path()), ["day.jcas", "day.new"]);
    let hash = json_of(&["replay", text(&at("day.jcas")), "--state-hash"]);
    assert_eq!(hash["state_hash"], json!(node.state_hash().0));
}

/// A log with so much in it that reading it takes a while.
fn long_log(folder: &TempDir) -> String {
    let user = UserId::new(START, [1; 10]);
    let events = (0..60_000).map(|number| ("n1", number, user, nickname("n")));
    made_up(folder, "long", &events.collect::<Vec<_>>())
}

/// A log of so many events about so many users, and its folder.
pub fn made_up_of(folder: &TempDir, name: &str, events: u64, users: u8) -> String {
    let user =
        |number: u64| UserId::new(START, [u8::try_from(number % u64::from(users)).unwrap(); 10]);
    let events = (0..events).map(|number| ("n1", number, user(number), nickname("n")));
    made_up(folder, name, &events.collect::<Vec<_>>())
}

#[test]
fn what_is_in_the_making_goes_with_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let long = long_log(&folder);
    let out = tempfile::tempdir().unwrap();
    let named = out.path().join("day.jcas");
    for signal in ["INT", "TERM"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jcas"));
        let mut child = command.args(["log", "export", text(&named), &long]).spawn().unwrap();
        wait_for("it to be begun", || (!names_in(out.path()).is_empty()).then_some(()));
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
        let code = child.wait().unwrap().code();
        let left = names_in(out.path());
        // It may have been done before the signal came.
        match code {
            Some(0) => assert_eq!(left, ["day.jcas"]),
            code => {
                let told = if signal == "INT" { 130 } else { 143 };
                assert_eq!((code, left), (Some(told), vec![]));
            }
        }
        let _ = std::fs::remove_file(&named);
    }
}

#[test]
fn an_export_that_finds_no_room_says_so_and_leaves_nothing() {
    let (folder, faults) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let log = long_log(&folder);
    let out = tempfile::tempdir().unwrap();
    let named = out.path().join("day.jcas");
    std::fs::write(faults.path().join("full"), "").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_jcas"));
    command.args(["log", "export", text(&named), &log]);
    command.env("LD_PRELOAD", shim()).env("DISK_FAULT_DIR", faults.path());
    let output = command.env("DISK_FAULT_PATH", ".unfinished-").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("No space left"), "{said}");
    assert_eq!(names_in(out.path()), Vec::<String>::new());
}

fn sealed(of: &str) -> Sealed {
    Sealed { bytes: of.as_bytes().into(), fingerprint: Fingerprint([7; 16]) }
}

fn nickname(value: &str) -> Event {
    let field = "nickname".parse().unwrap();
    Event::ProfileUpdated(vec![FieldChange { field, value: Some(sealed(value)) }])
}

fn registered() -> Event {
    let (company, country) = ("shop".parse().unwrap(), "NG".parse().unwrap());
    Event::UserRegistered(UserRegistered { company, country })
}

fn import(slot: &str, cost: u8) -> Event {
    let (company, country) = slot.split_once('/').unwrap();
    let slot = Slot { company: company.parse().unwrap(), country: country.parse().unwrap() };
    Event::LegacyHashAdded(LegacyHashAdded {
        slot,
        hash: sealed(&format!("$2b${cost:02}$")),
        profile: None,
    })
}

/// A log whose records stand in this order, each by a node and recorded so many milliseconds after
/// the start. Imports have the lowest effective time.
fn made_up(folder: &TempDir, name: &str, events: &[(&str, u64, UserId, Event)]) -> String {
    let deployment = DeploymentId([1; 16]);
    let options = LogOptions::new(deployment, Arc::new(|| Duration::ZERO));
    let options = LogOptions { warn_percent: 99, stop_percent: 100, ..options };
    let path = folder.path().join(name);
    let (log, _) = Log::open(files(), &path, options).unwrap();
    let incarnation = Incarnation { counter: 1, tag: 7 };
    let origin = |node: &str| {
        let (region, node) = ("eu".parse().unwrap(), node.parse().unwrap());
        Origin { region, node, incarnation }
    };
    let mut ends: BTreeMap<&str, (u64, Digest)> = BTreeMap::new();
    let mut records = Vec::new();
    for (node, after, user, event) in events {
        let (sequence, previous) = ends.get(node).copied().unwrap_or((0, Digest::ZERO));
        let revision = Revision::from_unix_ms(START + after);
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&(sequence + 1).to_le_bytes());
        let (body, digest) = codec::encode_body(nonce, event).unwrap();
        let effective = match event {
            Event::LegacyHashAdded(_) => EffectiveTime::LOWEST,
            _ => EffectiveTime::at(revision),
        };
        let header = Header {
            deployment,
            origin: origin(node),
            sequence: sequence + 1,
            previous,
            subject: Subject::User(*user),
            register: event.register(),
            revision,
            effective,
            cause: Cause::default(),
            kind: event.kind(),
            schema: codec::schema(),
            body: digest,
        };
        let header = codec::encode_header(&header).unwrap();
        ends.insert(node, (sequence + 1, codec::digest(&header)));
        records.push(Record { header, body: Some(body) });
    }
    let writer = log.start_writer(origin("writer"), Box::new(|_| ())).unwrap();
    for part in records.chunks(4096) {
        let (tell, told) = mpsc::channel();
        let done = Box::new(move |done| tell.send(done).unwrap());
        let batch = Batch::Foreign(part.to_vec());
        writer.append(Append { epoch: writer.epoch(), batch, done }).unwrap();
        told.recv().unwrap().unwrap();
    }
    writer.close();
    text(&path).to_owned()
}

fn ada() -> UserId {
    UserId::new(START, [1; 10])
}

fn ben() -> UserId {
    UserId::new(START, [2; 10])
}

const MINUTE: u64 = 60_000;

/// The time so many minutes after the start.
fn minute(number: u64) -> String {
    Revision::from_unix_ms(START + number * MINUTE).to_string()
}

#[test]
fn a_login_is_judged_by_what_had_come_to_the_log_by_then() {
    let folder = tempfile::tempdir().unwrap();
    let password = Event::PasswordSet(PasswordSet { secret: sealed("$2b$10$"), upgrade: None });
    // While the two were cut off from each other, from minute 10 to 30, one set a password.
    let at_one = [
        ("n1", 0, ada(), registered()),
        ("n1", MINUTE, ada(), import("shop/NG", 4)),
        ("n1", 2 * MINUTE, ada(), import("club/NG", 12)),
        ("n1", 25 * MINUTE, ben(), registered()),
        ("n2", 15 * MINUTE, ada(), password.clone()),
        ("n1", 31 * MINUTE, ben(), nickname("b")),
    ];
    let one = made_up(&folder, "one", &at_one);
    let other = made_up(&folder, "other", &[("n2", 15 * MINUTE, ada(), password)]);
    let user = ada().to_string();
    let ask = |logs: &[&str], at: u64| {
        let at = minute(at);
        let question = ["--user", &user, "--login-as", "club/NG", "--at", &at];
        let found = json_of(&[&["replay"][..], logs, &question].concat());
        let told = |it: &Value| (it["counts"].as_bool().unwrap(), it["why"].clone());
        let credentials = found["credentials"].as_array().unwrap();
        (credentials.iter().map(told).collect::<Vec<_>>(), found["note"].clone())
    };
    let counts = || (true, json!("counts"));
    let late = (false, json!("recorded by then, but came to this log later"));
    let (told, note) = ask(&[&one], 20);
    assert_eq!(told, [counts(), counts(), late], "both imports, in no order");
    assert!(note.as_str().unwrap().contains("a change its node had not heard of yet"), "{note}");
    let shadowed = (false, json!("shadowed by the password that eu/n2#1.00000007:1 set"));
    let all = [shadowed.clone(), shadowed, counts()];
    assert_eq!(ask(&[&one], 32).0, all);
    // Both together tell what was recorded anywhere.
    assert_eq!(ask(&[&one, &other], 20).0, all);
}

#[test]
fn what_another_life_mends_that_was_met_later_is_no_break() {
    let folder = tempfile::tempdir().unwrap();
    let (user_key, branch) = (UserKeyId([3; 8]), BranchKeyId([4; 16]));
    let made = UserKeyCreated { key: user_key, branch, wrapped: sealed("key").bytes };
    let made = Event::UserKeyCreated(made);
    // The third node met what the first wrote before what the second had, which is older.
    let events = [
        ("n3", 0, ben(), made.clone()),
        ("n3", 0, ben(), registered()),
        ("n1", 3 * MINUTE, ada(), nickname("a")),
        ("n3", 4 * MINUTE, ben(), nickname("b")),
        ("n2", MINUTE, ada(), made),
        ("n2", MINUTE, ada(), registered()),
    ];
    let log = made_up(&folder, "whole", &events);
    let found = json_of(&["replay", &log, "--bisect", "all"]);
    assert!(found.as_array().unwrap().iter().all(|it| it["holds"] == json!(true)), "{found}");
    let missing = made_up(&folder, "missing", &events[..4]);
    let found = json_of(&["replay", &missing, "--bisect", "registered"]);
    assert_eq!(found[0]["first_broken_by"]["event"], json!("eu/n1#1.00000007:1"), "{found}");
}

#[test]
fn a_fork_is_seen_whichever_log_is_named_first() {
    let folder = tempfile::tempdir().unwrap();
    let tell = |name: &str, other_from: u64| {
        let event = |it: u64| nickname(if it < other_from { "one" } else { "other" });
        made_up(&folder, name, &(1..=8).map(|it| ("n1", it, ada(), event(it))).collect::<Vec<_>>())
    };
    let (one, other) = (tell("one", 9), tell("other", 3));
    let part = |name: &str, log: &str, from: u64, until: u64| {
        let file = folder.path().join(name);
        let at = |ms: u64| Revision::from_unix_ms(START + ms).to_string();
        jcas(&["log", "export", text(&file), log, "--from", &at(from), "--until", &at(until)]);
        text(&file).to_owned()
    };
    // They have no event in common and do not follow each other.
    let (early, late) = (part("early", &one, 1, 4), part("late", &other, 5, 8));
    for (logs, at) in [([&early, &late], 5), ([&late, &early], 4)] {
        let both = json_of(&["replay", logs[0], logs[1]]);
        assert_eq!(both["forks"][0]["at"], json!(format!("eu/n1#1.00000007:{at}")), "{both}");
        let apart = json_of(&["replay", logs[0], "--against", logs[1]]);
        assert_eq!(apart["forks"], json!(["eu/n1#1.00000007:5"]));
    }
    let apart = json_of(&["replay", &one, "--against", &other]);
    assert_eq!(apart["forks"], json!(["eu/n1#1.00000007:3"]));
}

#[test]
fn a_timeline_says_when_an_address_and_a_disabling_ended() {
    let (node, _, ada) = lived_in();
    let data = node.data();
    let lines = jcas(&["replay", text(&data), "--user", &ada, "--json"]);
    let entries: Vec<Value> = lines.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    let of = |kind: &str| entries.iter().find(|it| it["kind"] == json!(kind)).unwrap();
    let ended = |kind: &str| of(kind)["did"]["wrote"][0]["replaced_by"].clone();
    let event = |kind: &str| {
        let it = of(kind);
        json!(format!("{}:{}", it["origin"].as_str().unwrap(), it["sequence"]))
    };
    assert_eq!(ended("UserDisabled"), event("UserEnabled"), "{lines}");
    assert_eq!(ended("IdentityClaimed"), event("IdentityReleased"), "{lines}");
}

#[test]
fn an_unverified_claim_after_a_release_is_not_verified() {
    let (node, shop, ada) = lived_in();
    let claim = json!({ "value": "ada@work.example" });
    let path = format!("/v1/users/{ada}/identities/email");
    let keep = json!({ "value": "ada@home.example", "verified": true });
    shop.call("PUT", &path, keep).done(200);
    shop.call("DELETE", &path, claim.clone()).done(200);
    let (code, text, said) = node.run(&["log", "find", "--email", "ada@work.example", "--json"]);
    let found: Value = serde_json::from_str(text.trim()).unwrap();
    assert_eq!((code, &found["verified"]), (0, &json!(false)), "{said}{text}");
    assert!(found["released_at"].is_string());
    shop.call("PUT", &path, claim).done(200);
    let (_, text, _) = node.run(&["log", "find", "--email", "ada@work.example", "--json"]);
    let found: Value = serde_json::from_str(text.trim()).unwrap();
    assert_eq!((&found["verified"], &found["released_at"]), (&json!(false), &json!(null)));
}

/// Bytes that a process has read from files so far.
fn bytes_read(process: u32) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{process}/io")).unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap();
    line.parse().unwrap()
}

#[test]
fn a_tail_goes_on_in_a_new_segment_and_reads_only_what_is_new() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let options = LogOptions::new(DeploymentId([1; 16]), Arc::new(|| Duration::ZERO));
    let segment_bytes = 256 * 1024;
    let options = LogOptions { warn_percent: 99, stop_percent: 100, segment_bytes, ..options };
    let (log, _) = Log::open(files(), &path, options).unwrap();
    let incarnation = Incarnation { counter: 1, tag: 7 };
    let (region, node) = ("eu".parse().unwrap(), "n1".parse().unwrap());
    let writer = log.start_writer(Origin { region, node, incarnation }, Box::new(|_| ())).unwrap();
    let mut number = 0;
    let mut write = |bytes: usize| {
        number += 1;
        let revision = Revision::from_unix_ms(START + number);
        let draft = jcas::events::event::Draft {
            subject: Subject::User(ada()),
            revision,
            effective: EffectiveTime::at(revision),
            cause: Cause::default(),
            event: nickname(&"x".repeat(bytes)),
        };
        let record = log::NewRecord::new(&draft, [0; 16]).unwrap();
        let (tell, told) = mpsc::channel();
        let done = Box::new(move |done| tell.send(done).unwrap());
        let batch = Batch::Own(vec![record]);
        writer.append(Append { epoch: writer.epoch(), batch, done }).unwrap();
        told.recv().unwrap().unwrap();
    };
    (0..20).for_each(|_| write(60_000));
    assert!(names_in(&path).len() > 4);
    let mut command = Command::new(env!("CARGO_BIN_EXE_jcas"));
    command.args(["log", "tail", text(&path), "--lines", "7", "--json"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || {
        let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        line["sequence"].as_u64().unwrap()
    };
    assert_eq!((0..7).map(|_| next()).collect::<Vec<_>>(), (14..=20).collect::<Vec<_>>());
    (0..12).for_each(|_| write(60_000));
    assert_eq!((0..12).map(|_| next()).collect::<Vec<_>>(), (21..=32).collect::<Vec<_>>());
    let before = bytes_read(child.id());
    (0..10).for_each(|_| write(10));
    assert_eq!((0..10).map(|_| next()).collect::<Vec<_>>(), (33..=42).collect::<Vec<_>>());
    let read = bytes_read(child.id()) - before;
    child.kill().unwrap();
    child.wait().unwrap();
    // Ten looks at a segment of 256 KiB would be more.
    assert!(read < 1024 * 1024, "{read} bytes were read for ten small events");
}
