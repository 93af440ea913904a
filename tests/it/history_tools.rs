//! What is done with a log beside a node and without one: replay, export, import, verify.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::node::{Answer, Company, Node};

/// A node with a bit of everything in its log, and the user whose history is the richest.
pub fn lived_in() -> (Node, Company, String) {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG", "KE"]);
    let club = node.company("club", &["NG"]);
    node.trust(&shop);
    let ada = shop.register(json!({
        "country": "NG", "email": "ada@example.com", "email_verified": true,
        "phone": "0803 123 4567", "password": "correct horse",
        "profile": { "given_name": "Ada", "nickname": "A" },
    }));
    let path = |rest: &str| format!("/v1/users/{ada}{rest}");
    let change = |method: &str, rest: &str, body: Value| -> Answer {
        let answer = shop.call(method, &path(rest), body);
        assert!(answer.status < 300, "{method} {rest}: {}", answer.text);
        answer
    };
    change("PATCH", "", json!({ "profile": { "given_name": "Ada L", "nickname": null } }));
    change("PUT", "/password", json!({ "password": "battery staple" }));
    change("PUT", "/status", json!({ "status": "disabled" }));
    change("PUT", "/status", json!({ "status": "active" }));
    change("PUT", "/identities/email", json!({ "value": "ada@work.example", "verified": true }));
    change("DELETE", "/identities/email", json!({ "value": "ada@example.com" }));
    let ben = club.register(json!({ "country": "NG", "email": "ben@example.com" }));
    let hash = json!({ "hash": bcrypt::hash("old password", 4).unwrap() });
    club.call("PUT", &format!("/v1/users/{ben}/legacy-hashes/NG"), hash).done(200);
    let login = club.login("NG", "ben@example.com", "old password");
    assert_eq!(login.done(200).body["upgraded"], json!(true));
    (node, shop, ada)
}

fn replayed(node: &Node, path: &Path) -> String {
    let (code, hash, said) = node.run(&["replay", path.to_str().unwrap(), "--state-hash"]);
    assert_eq!(code, 0, "{said}");
    hash.trim().to_owned()
}

fn json_of(node: &Node, arguments: &[&str]) -> Value {
    let (code, text, said) = node.run(arguments);
    assert_eq!(code, 0, "{said}");
    serde_json::from_str(&text).unwrap()
}

fn lines_of(node: &Node, arguments: &[&str]) -> Vec<Value> {
    let (code, text, said) = node.run(arguments);
    assert_eq!(code, 0, "{said}");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn beside(node: &Node, name: &str) -> PathBuf {
    node.data().with_file_name(name)
}

/// Exports the node's log and returns the file.
pub fn exported(node: &Node, name: &str, more: &[&str]) -> PathBuf {
    let file = beside(node, name);
    let mut arguments = vec!["log", "export", file.to_str().unwrap()];
    arguments.extend_from_slice(more);
    let (code, _, said) = node.run(&arguments);
    assert_eq!(code, 0, "{said}");
    file
}

#[test]
fn a_replay_has_the_running_nodes_state_hash_also_of_a_redacted_export_and_after_a_restart() {
    let (mut node, ..) = lived_in();
    for life in 1..=2 {
        let (hash, users) = node.state_hash();
        assert_eq!(replayed(&node, &node.data()), hash, "life {life}");
        assert_eq!(replayed(&node, &node.data().join("log")), hash);
        let redacted = exported(&node, &format!("redacted-{life}"), &[]);
        let whole = exported(&node, &format!("whole-{life}"), &["--with-keys"]);
        assert_eq!(replayed(&node, &redacted), hash);
        assert_eq!(replayed(&node, &whole), hash);
        let of = |file: &Path| json_of(&node, &["replay", file.to_str().unwrap(), "--json"]);
        let (redacted, whole) = (of(&redacted), of(&whole));
        assert_eq!(redacted["state_hash"], json!(hash));
        assert_eq!((&redacted["users"], &whole["users"]), (&json!(users), &json!(users)));
        assert_eq!(whole["without_body"], json!(0));
        // A user key each, a branch key a life at most, an API key a company.
        assert!(redacted["without_body"].as_u64().unwrap() >= 5, "{redacted}");
        assert_eq!(whole["events_by_kind"]["UserRegistered"], json!(2));
        assert_eq!(whole["events_by_origin"].as_object().unwrap().len(), life);
        assert_eq!(node.stop(), 0);
        node.start();
    }
}

#[test]
fn the_summary_adds_up() {
    let (node, ..) = lived_in();
    let summary = json_of(&node, &["replay", "jcas-data", "--json"]);
    let number = |value: &Value| value.as_u64().unwrap();
    let sum = |counts: &Value| counts.as_object().unwrap().values().map(number).sum::<u64>();
    let events = number(&summary["events"]);
    for counts in ["events_by_kind", "events_by_origin", "events_by_company"] {
        assert_eq!(sum(&summary[counts]), events, "{counts}: {summary}");
    }
    let became = ["prevailed", "lost", "known", "ignored", "distrusted"];
    assert_eq!(became.iter().map(|word| number(&summary[*word])).sum::<u64>(), events);
    let (code, text, said) = node.run(&["replay", "jcas-data"]);
    assert_eq!(code, 0);
    assert!(text.contains(summary["state_hash"].as_str().unwrap()), "{text}");
    assert!(text.contains("UserRegistered") && said.contains("events/s"), "{text}{said}");
}

#[test]
fn a_users_timeline_says_what_each_event_changed() {
    let (node, _, ada) = lived_in();
    let entries = lines_of(&node, &["replay", "jcas-data", "--user", &ada, "--json"]);
    let kinds: Vec<&str> = entries.iter().map(|it| it["kind"].as_str().unwrap()).collect();
    for kind in ["UserRegistered", "UserKeyCreated", "PasswordSet", "UserDisabled", "UserEnabled"] {
        assert!(kinds.contains(&kind), "{kind} is not in {kinds:?}");
    }
    let second = entries.iter().filter(|it| it["kind"] == "PasswordSet").nth(1).unwrap();
    let first = entries.iter().find(|it| it["kind"] == "PasswordSet").unwrap();
    let of_first = format!("{}:{}", first["origin"].as_str().unwrap(), first["sequence"]);
    let wrote = json!([{ "part": "secret", "outcome": "changed", "replaced": of_first }]);
    assert_eq!(second["did"], json!({ "wrote": wrote }));
    assert_eq!(second["company"], json!("shop"));
    let (code, text, _) = node.run(&["replay", "jcas-data", "--user", &ada]);
    assert_eq!((code, text.lines().count()), (0, entries.len()));
    assert!(text.contains("profile given_name set, replacing"), "{text}");
    let nobody = "0199b5b0-4a49-7aa4-b6a1-3d2f0a1c9e11";
    assert_eq!(lines_of(&node, &["replay", "jcas-data", "--user", nobody, "--json"]).len(), 0);
}

#[test]
fn shown_events_say_who_when_and_what_and_no_secret() {
    let (node, _, ada) = lived_in();
    let all = lines_of(&node, &["log", "show", "--json"]);
    assert_eq!(all[0]["kind"], json!("OriginOpened"));
    let of_user = lines_of(&node, &["log", "show", "--user", &ada, "--json"]);
    let subject = format!("user {ada}");
    assert!(of_user.len() > 8 && of_user.iter().all(|it| it["subject"] == subject.as_str()));
    let few = ["log", "show", "jcas-data/log", "--from-sequence", "3", "--limit", "4", "--json"];
    let few = lines_of(&node, &few);
    let numbers: Vec<_> = few.iter().map(|it| it["sequence"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [3, 4, 5, 6]);
    let origin = all[0]["origin"].as_str().unwrap();
    let of_life = ["log", "show", "--origin", origin, "--to-sequence", "2"];
    let (code, text, _) = node.run(&of_life);
    assert_eq!((code, text.lines().count()), (0, 2));
    let (_, text, _) = node.run(&["log", "show"]);
    assert_eq!(text.lines().count(), all.len());
    // What is sealed, wrapped or digested in the log is in its file and must not be in the text.
    let shown = serde_json::to_string(&all).unwrap() + &text;
    for word in ["sealed", "wrapped", "fingerprint", "mac", "digest", "correct horse", "Ada"] {
        assert!(!shown.contains(word), "{word} is shown");
    }
}

#[test]
fn a_pipe_that_closes_ends_it_quietly() {
    let (node, ..) = lived_in();
    for arguments in ["log show", "log show --json", "replay jcas-data", "log verify"] {
        let binary = env!("CARGO_BIN_EXE_jcas");
        let script = format!("{{ {binary} {arguments}; echo code $? >&2; }} | true");
        let mut shell = std::process::Command::new("sh");
        let output = shell.args(["-c", &script]).current_dir(node.data().parent().unwrap());
        let said = String::from_utf8(output.output().unwrap().stderr).unwrap();
        let said: Vec<_> = said.lines().filter(|line| !line.starts_with("folded in")).collect();
        assert_eq!(said, ["code 0"], "{arguments}");
    }
}

#[test]
fn an_export_of_a_user_holds_its_events_alone_and_no_file_is_overwritten() {
    let (node, _, ada) = lived_in();
    let file = exported(&node, "ada.jcas", &["--user", &ada]);
    let path = file.to_str().unwrap();
    let of_user = lines_of(&node, &["log", "show", "--user", &ada, "--json"]);
    let in_file = lines_of(&node, &["log", "show", path, "--json"]);
    assert_eq!(in_file.len(), of_user.len());
    assert!(in_file.iter().all(|it| it["subject"] == of_user[0]["subject"]));
    let (code, _, said) = node.run(&["log", "export", path]);
    assert_eq!(code, 1);
    assert!(said.contains("is there already"), "{said}");
}

/// A second data folder of the same deployment: everything but log and state.
pub fn emptied(node: &Node) -> Node {
    let other = Node::new(&[]);
    let (from, to) = (node.data(), other.data());
    let copied = std::process::Command::new("cp").arg("-a").args([&from, &to]).status().unwrap();
    assert!(copied.success());
    std::fs::remove_dir_all(to.join("log")).unwrap();
    std::fs::remove_dir_all(to.join("state")).unwrap();
    other
}

#[test]
fn an_import_with_keys_gives_a_node_that_works() {
    let (mut node, shop, ada) = lived_in();
    let (hash, users) = node.state_hash();
    let file = exported(&node, "backup.jcas", &["--with-keys"]);
    assert_eq!(node.stop(), 0);
    let mut other = emptied(&node);
    let (code, text, said) = other.run(&["log", "import", file.to_str().unwrap()]);
    assert_eq!((code, said.as_str()), (0, ""), "{text}");
    assert_eq!(replayed(&other, &other.data()), hash);
    other.start();
    let shop = shop.at(&other);
    let login = shop.login("NG", "ada@work.example", "battery staple");
    assert_eq!(login.done(200).body["user_id"], json!(ada));
    assert_eq!(shop.user(&ada)["profile"]["given_name"], json!("Ada L"));
    shop.register(json!({ "country": "NG", "email": "new@example.com" }));
    assert_eq!(other.state_hash().1, users + 1);
    let (code, text, said) = other.run(&["log", "verify"]);
    assert_eq!(code, 0, "{text}{said}");
}

#[test]
fn an_import_is_refused_where_events_are_or_another_deployment_is_or_something_is_missing() {
    let (mut node, _, ada) = lived_in();
    let file = exported(&node, "backup.jcas", &["--with-keys"]);
    let part = exported(&node, "part.jcas", &["--user", &ada]);
    let redacted = exported(&node, "redacted.jcas", &["--redact"]);
    let import = |node: &Node, file: &Path| node.run(&["log", "import", file.to_str().unwrap()]);
    let (code, _, said) = import(&node, &file);
    assert!(code == 1 && said.contains("is in use by process"), "{said}");
    assert_eq!(node.stop(), 0);
    let (code, _, said) = import(&node, &file);
    assert!(code == 1 && said.contains("holds events already"), "{said}");

    let stranger = Node::new(&[]);
    assert_eq!(stranger.run(&["init", "--name", "retail"]).0, 0);
    // An export has no name in it, only the id; a copy of a data folder has both.
    for (file, found) in [(&file, node.deployment_id()), (&node.data().join("log"), node.named())] {
        let (code, _, said) = import(&stranger, file);
        let both = format!("belongs to deployment {found}, not to {}", stranger.named());
        assert!(code == 1 && said.contains(&both), "{both}: {said}");
    }

    let other = emptied(&node);
    let (code, _, said) = import(&other, &part);
    assert!(code == 1 && said.contains("does not make a whole log"), "{said}");
    assert!(!other.data().join("log").exists() && !other.data().join("log.import").exists());
    let (code, _, said) = import(&other, &redacted);
    assert!(code == 0 && said.contains("opens nothing that is sealed"), "{said}");
}

#[test]
fn help_has_examples_everywhere() {
    let node = Node::new(&[]);
    let commands: [&[&str]; 7] = [
        &["log", "show"],
        &["log", "verify"],
        &["log", "export"],
        &["log", "import"],
        &["state", "verify"],
        &["state", "rebuild"],
        &["replay"],
    ];
    for command in commands {
        let (code, help, _) = node.run(&[command, &["--help"]].concat());
        assert_eq!(code, 0);
        assert!(help.contains("Example") && help.contains("jcas "), "{command:?}: {help}");
    }
}
