//! What a developer does with logs on a machine of their own: `jcas replay` and `jcas log ..` on
//! the sample of docs/replay.md, on logs that do not fit each other, and beside a running node.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use jcas::events::codec;
use jcas::events::event::{Cause, Draft, Event};
use jcas::events::ids::{DeploymentId, UserId};
use jcas::events::record::{LogPosition, Subject};
use jcas::events::stamp::{EffectiveTime, Incarnation, Origin, Revision};
use jcas::files::{Disk, Files};
use jcas::log::{self, Append, Batch, Log, LogOptions, NewRecord};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::history_tools::{emptied, exported, lived_in};

#[path = "../support/sample_log.rs"]
mod sample_log;

/// 2023-11-14T22:13:20Z.
const START: u64 = 1_700_000_000_000;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sample(name: &str) -> String {
    root().join("examples/replay").join(name).to_str().unwrap().to_owned()
}

/// Runs the program somewhere and returns its exit code and what it said.
fn jcas(arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jcas"));
    let output = command.args(arguments).env_remove("COLUMNS").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

fn done(arguments: &[&str]) -> String {
    let (code, text, said) = jcas(arguments);
    assert_eq!(code, 0, "{arguments:?}: {said}");
    text
}

fn json_of(arguments: &[&str]) -> Value {
    serde_json::from_str(&done(&[arguments, &["--json"]].concat())).unwrap()
}

fn refused(arguments: &[&str]) -> String {
    let (code, text, said) = jcas(arguments);
    assert_eq!((code, text.as_str()), (1, ""), "{arguments:?}: {said}");
    said
}

/// The first user of the sample: whose stories the document tells.
fn ada() -> String {
    let shown = done(&["log", "show", &sample("eu.jcas"), "--json", "--limit", "40"]);
    let lines = shown.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let registered = lines.into_iter().find(|it| it["kind"] == "UserRegistered").unwrap();
    registered["subject"].as_str().unwrap().strip_prefix("user ").unwrap().to_owned()
}

#[test]
fn the_sample_is_what_its_command_makes_event_for_event() {
    let (folder, space) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    sample_log::write(folder.path(), space.path());
    // How well they are packed may change.
    let entries = |path: &Path| {
        let files: Arc<dyn Files> = Arc::new(Disk);
        let reader = jcas::log::LogReader::open_path(&files, path).unwrap();
        reader.entries(LogPosition::START, None).map(Result::unwrap).collect::<Vec<_>>()
    };
    for name in ["eu.jcas", "us.jcas", "eu-cut.jcas", "us-cut.jcas"] {
        let (made, kept) = (entries(&folder.path().join(name)), entries(Path::new(&sample(name))));
        assert!(kept.len() > 200 && made == kept, "{name} is another one");
    }
}

#[test]
fn the_stories_of_the_document_end_as_it_says() {
    let text = std::fs::read_to_string(root().join("docs/replay.md")).unwrap();
    let mut run = 0;
    for story in text.split("```sh\n").skip(1) {
        let (commands, rest) = story.split_once("```").unwrap();
        let Some(expected) = rest.trim_start().strip_prefix("```text\n") else { continue };
        let expected = expected.split("```").next().unwrap();
        let own = |line: &str| match line.strip_prefix("jcas ") {
            Some(arguments) => format!("{} {arguments}\n", env!("CARGO_BIN_EXE_jcas")),
            None => format!("{line}\n"),
        };
        let script: String = commands.lines().map(own).collect();
        let mut shell = Command::new("sh");
        let output = shell.args(["-e", "-c", &script]).current_dir(root()).env_remove("COLUMNS");
        let output = output.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{commands}: {said}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{commands}");
        run += 1;
    }
    assert!(run >= 6, "{run} commands with what they print");
}

#[test]
fn the_log_of_each_version_folds_to_the_state_hash_it_had() {
    let mut folded = 0;
    for entry in std::fs::read_dir(root().join("tests/golden/logs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|it| it == "jcas") {
            let expected = std::fs::read_to_string(path.with_extension("state-hash")).unwrap();
            assert_eq!(done(&["replay", path.to_str().unwrap(), "--state-hash"]), expected);
            folded += 1;
        }
    }
    assert!(folded > 0);
}

#[test]
fn logs_together_are_the_union_of_their_events_each_once() {
    let (eu, us) = (sample("eu-cut.jcas"), sample("us-cut.jcas"));
    let both = json_of(&["replay", &eu, &us]);
    let turned = json_of(&["replay", &us, &eu]);
    assert_eq!(both["state_hash"], turned["state_hash"]);
    let number = |of: &Value, name: &str| of[name].as_u64().unwrap();
    let (one, other) = (json_of(&["replay", &eu]), json_of(&["replay", &us]));
    let met = number(&one, "events") + number(&other, "events");
    assert_eq!(number(&both, "events") + number(&both, "duplicates"), met);
    assert!(number(&both, "events") > number(&one, "events"));
    assert_eq!((&both["gaps"], &both["forks"]), (&json!([]), &json!([])));
    // What both came to hold after the cut, as far as it had happened by then.
    let until = both["last_at"].as_str().unwrap();
    let whole = json_of(&["replay", &sample("us.jcas"), "--until", until]);
    assert_eq!(whole["state_hash"], both["state_hash"]);
}

#[test]
fn two_logs_are_told_apart_by_events_users_and_registers() {
    let (eu, us) = (sample("eu-cut.jcas"), sample("us-cut.jcas"));
    let apart = json_of(&["replay", &eu, "--against", &us]);
    assert_eq!(apart["agree"], json!(false));
    for (only, region) in [("events_only_in_first", "eu"), ("events_only_in_second", "us")] {
        let only = apart[only].as_array().unwrap();
        assert_eq!(only.len(), 1, "{apart}");
        assert!(only[0]["origin"].as_str().unwrap().starts_with(region), "{apart}");
    }
    let users = apart["users"].as_array().unwrap();
    let of_ada = users.iter().find(|it| it["user"] == json!(ada())).unwrap();
    let parts = of_ada["parts"].as_array().unwrap();
    let nickname = parts.iter().find(|it| it["part"] == "profile nickname").unwrap();
    assert_eq!(nickname["first"][0]["company"], json!("shop"), "{nickname}");
    assert_eq!(nickname["second"][0]["company"], json!("club"), "{nickname}");
    let after = json_of(&["replay", &sample("eu.jcas"), "--against", &sample("us.jcas")]);
    assert_eq!((&after["agree"], &after["users"]), (&json!(true), &json!([])));
    assert_eq!(after["state_hash"]["first"], after["state_hash"]["second"]);
}

#[test]
fn a_login_of_the_past_names_what_counted_and_what_stood_before_the_rest() {
    let (log, user) = (sample("eu.jcas"), ada());
    let ask =
        |at: &str| json_of(&["replay", &log, "--user", &user, "--login-as", "club/NG", "--at", at]);
    let before = ask("2026-03-03T09:00:00Z");
    let only = before["credentials"].as_array().unwrap();
    assert_eq!((only.len(), &only[0]["counts"]), (1, &json!(true)), "{before}");
    let after = ask("2026-03-03T10:15:00Z");
    let both = after["credentials"].as_array().unwrap();
    assert_eq!((&both[0]["counts"], &both[1]["counts"]), (&json!(false), &json!(true)));
    assert_eq!(both[0]["shadowed_by"], both[1]["event"]);
    assert_eq!(after["disabled_by"], json!([]));
    assert!(after["note"].as_str().unwrap().contains("limits are not in the log"));
    let shut_out = ask("2026-03-05T10:10:00Z");
    assert_eq!(shut_out["disabled_by"].as_array().unwrap().len(), 1);
    assert_eq!(ask("2026-03-05T10:30:00Z")["disabled_by"], json!([]));
    let nobody = ask("2026-03-01T00:00:00Z");
    assert_eq!((&nobody["known"], &nobody["credentials"]), (&json!(false), &json!([])));
}

#[test]
fn a_state_of_the_past_is_what_the_events_until_then_fold_to() {
    let (log, user) = (sample("eu.jcas"), ada());
    let lines =
        done(&["replay", &log, "--user", &user, "--until", "2026-03-02T12:00:00Z", "--json"]);
    let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    let parts: Vec<_> = last["state"].as_array().unwrap().iter().map(|it| &it["part"]).collect();
    assert!(parts.contains(&&json!("legacy club/NG")) && !parts.contains(&&json!("secret")));
    let diff = ["--diff", "2026-03-02T12:00:00Z", "2026-03-03T12:00:00Z"];
    let changed = json_of(&[&["replay", &log, "--user", &user][..], &diff].concat());
    let parts = changed["users"][0]["parts"].as_array().unwrap();
    assert_eq!((parts.len(), &parts[0]["part"]), (1, &json!("secret")), "{changed}");
    let all = json_of(&[&["replay", &log][..], &diff].concat());
    let users = all["users"].as_array().unwrap();
    assert!(users.len() > 5 && users.iter().any(|it| *it == changed["users"][0]));
    // By a revision as by the time it stands for.
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    let (at, revision) = (first["at"].as_str().unwrap(), first["revision"].as_str().unwrap());
    let hash = |until: &str| done(&["replay", &log, "--until", until, "--state-hash"]);
    assert_eq!(hash(at), hash(revision));
}

#[test]
fn what_no_longer_holds_is_found_with_the_first_event_that_broke_it() {
    let whole = json_of(&["replay", &sample("eu.jcas"), "--bisect", "all"]);
    assert!(whole.as_array().unwrap().iter().all(|it| it["holds"] == json!(true)), "{whole}");
    // Without the first events of the user, its registration is missing.
    let folder = tempfile::tempdir().unwrap();
    let part = folder.path().join("part.jcas");
    let part = part.to_str().unwrap();
    let user = ada();
    done(&[
        "log",
        "export",
        part,
        &sample("eu.jcas"),
        "--user",
        &user,
        "--from",
        "2026-03-03T00:00:00Z",
    ]);
    let broken = json_of(&["replay", part, "--bisect", "registered"]);
    let by = &broken[0]["first_broken_by"];
    assert_eq!((&by["user"], &by["kind"]), (&json!(user), &json!("PasswordSet")), "{broken}");
    assert_eq!(json_of(&["replay", part, "--bisect", "key"])[0]["holds"], json!(false));
    let (code, _, said) = jcas(&["replay", part, "--bisect", "everything"]);
    assert!(code == 2 && said.contains("credential, owner"), "{said}");
}

/// An export of one life with `count` events; from the event `forked` on it tells another story.
fn life(folder: &TempDir, name: &str, deployment: u8, (count, forked): (u64, u64)) -> String {
    let files: Arc<dyn Files> = Arc::new(Disk);
    let options = LogOptions::new(DeploymentId([deployment; 16]), Arc::new(|| Duration::ZERO));
    let options = LogOptions { warn_percent: 99, stop_percent: 100, ..options };
    let space = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(Arc::clone(&files), space.path(), options).unwrap();
    let incarnation = Incarnation { counter: 1, tag: 7 };
    let (region, node) = ("eu".parse().unwrap(), "n1".parse().unwrap());
    let origin = Origin { region, node, incarnation };
    let writer = log.start_writer(origin, Box::new(|_| ())).unwrap();
    let record = |number: u64| {
        let revision = Revision::from_unix_ms(START + number);
        let subject = Subject::User(UserId::new(START, [1; 10]));
        let (effective, cause) = (EffectiveTime::at(revision), Cause::default());
        let event = Event::CompanyJoined(format!("c{number}").parse().unwrap());
        let draft = Draft { subject, revision, effective, cause, event };
        NewRecord::new(
            &draft,
            u128::from(number + 1000 * u64::from(number >= forked)).to_le_bytes(),
        )
    };
    let batch = Batch::Own((1..=count).map(|number| record(number).unwrap()).collect());
    let (tell, told) = mpsc::channel();
    let done = Box::new(move |done| tell.send(done).unwrap());
    writer.append(Append { epoch: writer.epoch(), batch, done }).unwrap();
    told.recv().unwrap().unwrap();
    let file = folder.path().join(name);
    let all = (LogPosition::START, None);
    let reader = log.reader();
    log::export(&files, &file, &reader, all, &mut |_, _| true, &mut |_, _| true).unwrap();
    writer.close();
    file.to_str().unwrap().to_owned()
}

const NEVER: u64 = u64::MAX;

#[test]
fn forks_and_gaps_are_said_and_the_first_story_counts() {
    let folder = tempfile::tempdir().unwrap();
    let first = life(&folder, "first", 1, (8, NEVER));
    let other = life(&folder, "other", 1, (9, 5));
    let both = json_of(&["replay", &first, &other]);
    assert_eq!(both["forks"][0]["at"], json!("eu/n1#1.00000007:5"));
    assert_eq!(both["forks"][0]["left_out_from"], json!(other));
    assert_eq!(
        (&both["events"], &both["duplicates"], &both["forked"]),
        (&json!(8), &json!(4), &json!(5))
    );
    assert_eq!(both["state_hash"], json_of(&["replay", &first])["state_hash"]);
    assert!(done(&["replay", &first, &other]).contains("tells another story"));
    let apart = json_of(&["replay", &first, "--against", &other]);
    assert_eq!(apart["forks"], json!(["eu/n1#1.00000007:5"]));
    // Parts of a log: what is between them is missing, and together with it nothing is.
    let part = |name: &str, from: u64, until: u64| {
        let path = folder.path().join(name).to_str().unwrap().to_owned();
        let at = |ms: u64| Revision::from_unix_ms(START + ms).to_string();
        done(&["log", "export", &path, &first, "--from", &at(from), "--until", &at(until)]);
        path
    };
    let (early, middle, late) = (part("early", 1, 3), part("middle", 4, 5), part("late", 6, 8));
    let holed = json_of(&["replay", &early, &late]);
    assert_eq!(holed["gaps"], json!([{ "origin": "eu/n1#1.00000007", "from": 4, "to": 5 }]));
    assert!(done(&["replay", &late, &early]).contains("missing      eu/n1#1.00000007 4 to 5"));
    let whole = json_of(&["replay", &late, &middle, &early]);
    assert_eq!((&whole["gaps"], &whole["events"]), (&json!([]), &json!(8)));
    assert_eq!(json_of(&["replay", &late])["gaps"][0]["to"], json!(5));
}

#[test]
fn logs_that_cannot_be_read_say_what_and_where() {
    let folder = tempfile::tempdir().unwrap();
    let good = life(&folder, "good", 1, (6, NEVER));
    let foreign = life(&folder, "foreign", 2, (6, NEVER));
    let said = refused(&["replay", &good, &foreign]);
    assert!(said.contains(&foreign) && said.contains("is of deployment 0202"), "{said}");
    let said = refused(&["replay", &good, "--against", &foreign]);
    assert!(said.contains("is of deployment 0202"), "{said}");
    let said = refused(&["replay", folder.path().to_str().unwrap()]);
    assert!(said.contains("holds no log") && said.contains("00000001.seg"), "{said}");
    // As exports are made, and as they were before they were packed.
    let plain = root().join("tests/golden/logs/v1.jcas");
    for (path, head) in [(Path::new(&good), 12), (plain.as_path(), 60)] {
        one_that_cannot_be_read_says_what_and_where(&folder, path, head);
    }
    assert!(refused(&["replay", "/nowhere/at/all"]).contains("/nowhere/at/all"));
}

/// Damages an export whose head has a checksum over this many bytes.
fn one_that_cannot_be_read_says_what_and_where(folder: &TempDir, good: &Path, head: usize) {
    let whole = std::fs::read(good).unwrap();
    let changed = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = whole.clone();
        change(&mut bytes);
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let newer = changed("newer", &|bytes| {
        bytes[8] = 9;
        let crc = crc32c::crc32c(&bytes[..head]).to_le_bytes();
        bytes[head..head + 4].copy_from_slice(&crc);
    });
    let middle = whole.len() / 2;
    let damaged = changed("damaged", &|bytes| bytes[middle] ^= 1);
    let empty = changed("empty", &|bytes| bytes.clear());
    let none = changed("none", &|bytes| *bytes = b"this is no log at all, but a text".repeat(9));
    for (path, why) in [
        (&newer, "has format version 9, this program knows 1"),
        (&damaged, "is damaged at offset"),
        (&empty, "damaged head"),
        (&none, "damaged head"),
    ] {
        for question in [&["--state-hash"][..], &["--bisect", "all"], &["--json"]] {
            let said = refused(&[&["replay", path.as_str()][..], question].concat());
            assert!(said.contains(why) && said.contains(path.as_str()), "{why}: {said}");
        }
    }
    // Wherever an export was cut, and whatever was put behind it, that is said too.
    let torn = changed("torn", &|bytes| bytes.extend_from_slice(&[0xEC, 0x52, 7, 7, 7]));
    let cut = changed("cut", &|bytes| bytes.truncate(bytes.len() - 3));
    let shorter = changed("shorter", &|bytes| bytes.truncate(bytes.len() - 40));
    for path in [&torn, &cut, &shorter] {
        let said = refused(&["replay", path, "--state-hash"]);
        assert!(said.contains("ends before the export does"), "{said}");
        let (code, text, _) = jcas(&["log", "verify", path]);
        assert!(code == 1 && text.contains("ends before the export does"), "{text}");
    }
    // What is damaged can be read up to there.
    let (code, shown, said) = jcas(&["log", "show", &damaged]);
    assert!(code == 1 && said.contains("is damaged at offset"), "{shown}{said}");
}

#[test]
fn a_log_is_replayed_while_it_is_written() {
    let (node, shop, ada) = lived_in();
    let writer = std::thread::spawn(move || {
        for number in 0..60 {
            let body = json!({ "profile": { "nickname": format!("n{number}") } });
            shop.call("PATCH", &format!("/v1/users/{ada}"), body).done(200);
        }
    });
    let data = node.data();
    let (data, mut seen) = (data.to_str().unwrap(), 0);
    while !writer.is_finished() {
        let events = json_of(&["replay", data])["events"].as_u64().unwrap();
        assert!(events >= seen, "{events} after {seen}");
        seen = events;
    }
    writer.join().unwrap();
    assert_eq!(done(&["replay", data, "--state-hash"]).trim(), node.state_hash().0);
}

#[test]
fn a_live_log_is_followed_until_nobody_reads() {
    let (node, shop, ada) = lived_in();
    let mut command = node.command(&["log", "tail", "--lines", "3", "--json", "--company", "shop"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    (0..3).for_each(|_| assert_eq!(next()["company"], json!("shop")));
    let body = json!({ "profile": { "nickname": "later" } });
    shop.call("PATCH", &format!("/v1/users/{ada}"), body).done(200);
    assert_eq!(next()["content"], json!({ "set": ["nickname"], "removed": [] }));
    drop(lines);
    let body = json!({ "profile": { "nickname": "last" } });
    shop.call("PATCH", &format!("/v1/users/{ada}"), body).done(200);
    assert!(child.wait().unwrap().success(), "a closed pipe ends it quietly");
    let (code, text, _) = node.run(&["log", "tail", "--no-follow", "--lines", "2"]);
    assert_eq!((code, text.lines().count()), (0, 2));
}

#[test]
fn an_identity_leads_to_its_users_where_the_keys_are() {
    let (node, _, ada) = lived_in();
    let find = |arguments: &[&str]| node.run(&[&["log", "find"], arguments].concat());
    let (code, text, _) = find(&["--email", "ADA@work.example"]);
    assert!(code == 0 && text.starts_with(&ada) && text.contains("verified"), "{text}");
    let (_, text, _) = find(&["--email", "ada@example.com"]);
    assert!(text.starts_with(&ada) && text.contains("released"), "{text}");
    let (code, text, _) = find(&["--phone", "0803 123 4567", "--country", "NG", "--json"]);
    let found: Value = serde_json::from_str(text.trim()).unwrap();
    assert_eq!((code, &found["user"], &found["released_at"]), (0, &json!(ada), &json!(null)));
    let export = exported(&node, "for-find", &[]);
    let (code, text, _) = find(&[export.to_str().unwrap(), "--email", "ada@work.example"]);
    assert!(code == 0 && text.starts_with(&ada), "{text}");
    let (code, text, said) = find(&["--email", "nobody@example.com"]);
    assert_eq!((code, text.as_str()), (0, ""));
    assert!(said.contains("no user claimed it"), "{said}");
    let (code, _, said) = find(&["--email", "no address"]);
    assert!(code == 1 && !said.contains("no address"), "what was typed is not repeated: {said}");
    assert_eq!(find(&[]).0, 2);
}

#[test]
fn an_export_of_some_events_is_replayed_and_not_imported() {
    let (mut node, ..) = lived_in();
    let export = |name: &str, more: &[&str]| {
        let file = exported(&node, name, more);
        let path = file.to_str().unwrap().to_owned();
        let shown = done(&["log", "show", &path, "--json"]);
        let lines = shown.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        (path, lines.collect::<Vec<_>>())
    };
    let (_, all) = export("all", &[]);
    let (clubs, of_club) = export("club", &["--company", "club"]);
    assert!(of_club.len() > 3 && of_club.iter().all(|it| it["company"] == json!("club")));
    let middle = &all[all.len() / 2];
    let at = middle["revision"].as_str().unwrap();
    let (_, early) = export("early", &["--until", at]);
    let (_, late) = export("late", &["--from", at]);
    let both = all.iter().filter(|it| it["revision"] == middle["revision"]).count();
    assert_eq!(early.len() + late.len(), all.len() + both);
    let (_, of_origin) = export("origin", &["--origin", middle["origin"].as_str().unwrap()]);
    assert_eq!(of_origin.len(), all.len());
    assert_eq!(node.stop(), 0);
    let other = emptied(&node);
    let (code, _, said) = other.run(&["log", "import", &clubs]);
    assert!(code == 1 && said.contains("does not make a whole log"), "{said}");
}

#[test]
fn forty_columns_are_enough_and_a_closed_pipe_ends_it_quietly() {
    let (log, user) = (sample("us.jcas"), ada());
    let other = sample("eu-cut.jcas");
    let questions: [&[&str]; 6] = [
        &[],
        &["--user", &user, "--until", "2026-03-05T00:00:00Z"],
        &["--diff", "2026-03-03T00:00:00Z", "2026-03-04T00:00:00Z"],
        &["--against", &other],
        &["--user", &user, "--login-as", "club/NG", "--at", "2026-03-03T10:15:00Z"],
        &["--bisect", "all"],
    ];
    for question in questions {
        let arguments = [&["replay", log.as_str()], question].concat();
        let mut command = Command::new(env!("CARGO_BIN_EXE_jcas"));
        let output = command.args(&arguments).env("COLUMNS", "40").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && !text.is_empty());
        let widest = text.lines().max_by_key(|line| line.chars().count()).unwrap();
        assert!(widest.chars().count() <= 40, "{question:?}: {widest}");
        assert!(!text.contains('\x1b'), "colour is for terminals");
        let words = |text: &str| text.split_whitespace().collect::<String>();
        assert_eq!(words(&text), words(&done(&arguments)), "nothing is left out");
        for json in ["", "--json"] {
            let script = format!(
                "{{ '{}' {} {json}; echo code $? >&2; }} | true",
                env!("CARGO_BIN_EXE_jcas"),
                arguments.join(" "),
            );
            let output = Command::new("sh").args(["-c", &script]).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(said.contains("code 0") && !said.contains("jcas:"), "{question:?}: {said}");
        }
    }
}

/// A text without what sets its colours.
fn without_colour(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').unwrap().1)
}

#[test]
fn a_terminal_has_colour_and_its_own_width() {
    let question = format!("replay {} --user {} 2>/dev/null", sample("us.jcas"), ada());
    let command = format!("stty rows 24 cols 40; {} {question}", env!("CARGO_BIN_EXE_jcas"));
    let on_terminal = |set: &[(&str, &str)]| {
        let mut script = Command::new("script");
        script.args(["-qec", &command, "/dev/null"]).env("TERM", "xterm").stdin(Stdio::null());
        script.env_remove("NO_COLOR").envs(set.iter().copied());
        String::from_utf8(script.output().unwrap().stdout).unwrap()
    };
    let text = on_terminal(&[]);
    assert!(text.contains("\x1b[32mprofile"), "{text:?}");
    let plain = without_colour(&text);
    assert!(plain.lines().count() > 20 && plain.lines().all(|it| it.chars().count() <= 40));
    for set in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        assert_eq!(on_terminal(&[set]).replace('\r', ""), plain.replace('\r', ""), "{set:?}");
    }
}

#[test]
fn a_header_of_the_sample_is_laid_out_as_it_was_read() {
    let files: Arc<dyn Files> = Arc::new(Disk);
    let reader = jcas::log::LogReader::open_path(&files, Path::new(&sample("eu.jcas"))).unwrap();
    let mut read = 0;
    for stored in reader.scan(LogPosition::START, None) {
        let record = stored.unwrap().record;
        let header = codec::decode_header(&record.header).unwrap();
        assert_eq!(codec::encode_header(&header).unwrap(), record.header);
        read += 1;
    }
    assert!(read > 300);
}

#[test]
fn what_is_new_has_help_with_examples() {
    for command in [
        &["log", "tail"][..],
        &["log", "find"],
        &["log", "conflicts"],
        &["log", "index"],
        &["replay"],
    ] {
        let help = done(&[command, &["--help"]].concat());
        assert!(help.contains("Example") && help.contains("jcas "), "{command:?}: {help}");
    }
}
