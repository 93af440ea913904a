//! Logs and states that are not as they were written: what the built binary does with them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jcas::events::ids::UserId;
use jcas::files::{Disk, Files};
use jcas::state::kv::{Kv as _, Tree};
use jcas::state::sled_kv::SledKv;
use serde_json::{Value, json};

use crate::history_tools::lived_in;
use crate::node::{Node, files_below};

fn segment(node: &Node) -> PathBuf {
    node.data().join("log/00000001.seg")
}

fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

/// Where the events lie.
fn positions(node: &Node) -> Vec<(usize, Value)> {
    let (code, text, said) = node.run(&["log", "show", "--json"]);
    assert_eq!(code, 0, "{said}");
    let shown = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    shown.map(|it| (usize::try_from(it["offset"].as_u64().unwrap()).unwrap(), it)).collect()
}

fn log_files(node: &Node) -> Vec<(PathBuf, Vec<u8>)> {
    files_below(&node.data().join("log"))
}

#[test]
fn damage_below_the_durable_end_stops_the_start_with_its_place_and_nothing_is_touched() {
    let (mut node, ..) = lived_in();
    assert_eq!(node.stop(), 0);
    let at = positions(&node)[7].0;
    edit(&segment(&node), |bytes| bytes[at + 20] ^= 1);
    let before = log_files(&node);
    let (code, text, said) = node.run(&["log", "verify"]);
    assert_eq!(code, 1, "{said}");
    let place = format!("segment 1 offset {at}: damaged");
    assert!(text.contains(&place), "{place} is not in:\n{text}");
    assert!(said.contains("nothing was changed"), "{said}");
    assert!(!node.try_start(), "it started on a damaged log");
    let output = node.output();
    assert!(output.contains("00000001.seg"), "{output}");
    assert!(output.contains(&format!("damaged at offset {at}")), "{output}");
    for command in [vec!["log", "show"], vec!["replay", "jcas-data"]] {
        let (code, _, said) = node.run(&command);
        assert!(code == 1 && said.contains(&format!("at offset {at}")), "{command:?}: {said}");
    }
    assert!(before == log_files(&node), "the log's files were touched");
}

#[test]
fn a_truncated_tail_is_cut_and_reported_and_what_stays_is_served() {
    let (mut node, shop, ada) = lived_in();
    assert_eq!(node.stop(), 0);
    let state = node.data().join("state");
    let before = files_below(&state);
    node.start();
    let shop = shop.at(&node);
    shop.call("PATCH", &format!("/v1/users/{ada}"), json!({ "profile": { "last": 1 } })).done(200);
    let (code, shown, _) = node.run(&["log", "show", "--user", &ada, "--json"]);
    assert_eq!(code, 0);
    let last: Value = serde_json::from_str(shown.lines().last().unwrap()).unwrap();
    assert_eq!(last["content"], json!({ "set": ["last"], "removed": [] }));
    node.kill();
    // The state knows nothing of an event before it is durable.
    std::fs::remove_dir_all(&state).unwrap();
    for (path, bytes) in before {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    // Within the last event: as if its end had never reached the disk.
    let cut = usize::try_from(last["offset"].as_u64().unwrap()).unwrap() + 30;
    edit(&segment(&node), |bytes| bytes.truncate(cut));
    let (code, text, said) = node.run(&["log", "verify"]);
    assert_eq!(code, 0, "{said}");
    assert!(text.contains("torn tail of 30 bytes"), "{text}");
    node.start();
    assert!(node.output().contains("cut what a crash left"), "{}", node.output());
    let shop = shop.at(&node);
    assert_eq!(shop.user(&ada)["profile"], json!({ "given_name": "Ada L" }));
    shop.login("NG", "ada@work.example", "battery staple").done(200);
    let (hash, _) = node.state_hash();
    let (_, replayed, _) = node.run(&["replay", "jcas-data", "--state-hash"]);
    assert_eq!(replayed.trim(), hash, "what the cut event wrote is not in the state");
}

#[test]
fn a_log_that_lost_what_the_state_knows_is_folded_anew_though_the_checkpoint_is_older() {
    let (mut node, shop, ada) = lived_in();
    assert_eq!(node.stop(), 0);
    let checkpoint = node.data().join("state/checkpoint");
    let older = std::fs::read(&checkpoint).unwrap();
    node.start();
    let shop = shop.at(&node);
    let patch = |n: u32| {
        let body = json!({ "profile": { "n": n } });
        shop.call("PATCH", &format!("/v1/users/{ada}"), body).done(200);
    };
    patch(1);
    let kept = std::fs::metadata(segment(&node)).unwrap().len();
    patch(2);
    assert_eq!(node.stop(), 0);
    // The last event was durable and known, and is gone: the log ends as if it had never been.
    std::fs::write(&checkpoint, older).unwrap();
    edit(&segment(&node), |bytes| bytes.truncate(usize::try_from(kept).unwrap()));
    let (code, text, _) = node.run(&["log", "verify"]);
    assert_eq!(code, 0, "the log is whole: {text}");
    let (code, _, said) = node.run(&["state", "verify"]);
    assert!(code == 1 && said.contains("durable events are gone"), "{said}");
    let warned = |node: &Node| node.output().matches("durable events are gone").count();
    assert_eq!(warned(&node), 0);
    node.start();
    assert_eq!(warned(&node), 1, "{}", node.output());
    let shop = shop.at(&node);
    assert_eq!(shop.user(&ada)["profile"]["n"], json!(1));
    let (hash, _) = node.state_hash();
    let (_, replayed, _) = node.run(&["replay", "jcas-data", "--state-hash"]);
    assert_eq!(replayed.trim(), hash, "what the lost event wrote is not in the state");
    // Said once: neither a kill nor a torn tail is a loss of what was durable.
    let body = json!({ "profile": { "n": 3 } });
    shop.call("PATCH", &format!("/v1/users/{ada}"), body).done(200);
    node.kill();
    edit(&segment(&node), |bytes| bytes.extend_from_slice(&[0x5a; 30]));
    node.start();
    assert!(node.output().contains("cut what a crash left"), "{}", node.output());
    assert_eq!(node.output().matches("folded from the log anew").count(), 1);
    assert_eq!(shop.at(&node).user(&ada)["profile"]["n"], json!(3));
}

#[test]
fn another_deployments_log_is_refused_by_name() {
    let (mut node, ..) = lived_in();
    assert_eq!(node.stop(), 0);
    let mut stranger = Node::started(&[]);
    assert_eq!(stranger.stop(), 0);
    std::fs::copy(segment(&stranger), segment(&node)).unwrap();
    let before = log_files(&node);
    assert!(!node.try_start());
    // Of the log only its deployment's id is known; the other's name stands in the data folder.
    let both = [stranger.deployment_id(), node.named()];
    let named = |said: &str| {
        said.contains("belongs to deployment") && both.iter().all(|it| said.contains(it.as_str()))
    };
    assert!(named(&node.output()), "{both:?}: {}", node.output());
    for command in [["log", "verify"], ["state", "verify"], ["state", "rebuild"]] {
        let (code, _, said) = node.run(&command);
        assert!(code == 1 && named(&said), "{command:?}: {said}");
    }
    assert!(before == log_files(&node));
}

#[test]
fn a_newer_format_is_refused_by_its_version() {
    let (mut node, ..) = lived_in();
    assert_eq!(node.stop(), 0);
    edit(&segment(&node), |bytes| {
        bytes[8..10].copy_from_slice(&9_u16.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    });
    let before = log_files(&node);
    assert!(!node.try_start());
    let known = "format version 9, this program knows 1";
    assert!(node.output().contains(known), "{}", node.output());
    for command in [["log", "verify"], ["log", "show"], ["replay", "jcas-data"]] {
        let (code, _, said) = node.run(&command);
        assert!(code == 1 && said.contains(known), "{command:?}: {said}");
    }
    assert!(before == log_files(&node));
}

#[test]
fn an_empty_or_headless_segment_is_refused_and_an_absent_log_is_a_new_one() {
    let (mut node, ..) = lived_in();
    assert_eq!(node.stop(), 0);
    let whole = std::fs::read(segment(&node)).unwrap();
    for (bytes, reason) in [
        (Vec::new(), "shorter than a head"),
        (vec![0; whole.len()], "does not start as a log file does"),
    ] {
        std::fs::write(segment(&node), &bytes).unwrap();
        assert!(!node.try_start());
        assert!(node.output().contains(reason), "{}", node.output());
        let (code, _, said) = node.run(&["log", "verify"]);
        assert!(code == 1 && said.contains(reason), "{said}");
        assert_eq!(std::fs::read(segment(&node)).unwrap(), bytes);
    }
    std::fs::remove_dir_all(node.data().join("log")).unwrap();
    let (code, _, said) = node.run(&["log", "verify"]);
    assert_eq!(code, 1, "{said}");
    node.start();
    assert_eq!(node.state_hash().1, 0, "the state of the log that is gone is gone with it");
}

/// Starts the node again after `change` and asserts that the state is that of the log.
fn comes_back(node: &mut Node, change: impl FnOnce(&Path)) {
    assert_eq!(node.stop(), 0);
    change(&node.data().join("state"));
    node.start();
    let (hash, users) = node.state_hash();
    let (code, replayed, said) = node.run(&["replay", "jcas-data", "--state-hash"]);
    assert_eq!((code, replayed.trim(), users), (0, hash.as_str(), 2), "{said}");
}

fn trees(state: &Path) -> PathBuf {
    let entries = std::fs::read_dir(state).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_dir()).max().unwrap()
}

#[test]
fn a_state_that_is_gone_or_does_not_open_is_folded_anew() {
    let (mut node, shop, _) = lived_in();
    comes_back(&mut node, |state| std::fs::remove_dir_all(state).unwrap());
    comes_back(&mut node, |state| {
        let db = trees(state).join("db");
        edit(&db, |bytes| bytes.iter_mut().for_each(|byte| *byte = byte.wrapping_mul(7) ^ 0xa5));
    });
    comes_back(&mut node, |state| std::fs::write(trees(state).join("db"), b"garbage").unwrap());
    comes_back(&mut node, |state| std::fs::remove_dir_all(trees(state)).unwrap());
    comes_back(&mut node, |state| edit(&state.join("checkpoint"), |bytes| bytes[20] ^= 4));
    comes_back(&mut node, |state| std::fs::write(state.join("checkpoint"), b"").unwrap());
    comes_back(&mut node, |state| std::fs::remove_file(state.join("checkpoint")).unwrap());
    assert!(node.output().contains("folded from the log anew"), "{}", node.output());
    let shop = shop.at(&node);
    shop.login("NG", "ada@work.example", "battery staple").done(200);
}

#[test]
fn state_verify_finds_what_is_not_as_the_log_says_and_rebuild_mends_it() {
    let (mut node, shop, ada) = lived_in();
    for command in [["state", "verify"], ["state", "rebuild"]] {
        let (code, _, said) = node.run(&command);
        assert!(code == 1 && said.contains("is in use by process"), "{command:?}: {said}");
    }
    assert_eq!(node.stop(), 0);
    let (code, text, said) = node.run(&["state", "verify"]);
    assert!(code == 0 && text.contains("all as the log says"), "{text}{said}");
    // The trees of now under the checkpoint of later: what came between is in neither.
    let state = node.data().join("state");
    let (early, kept) = (node.data().with_file_name("early"), trees(&state));
    let copy = |from: &Path, to: &Path| {
        let copied = std::process::Command::new("cp").arg("-aT").args([from, to]).status();
        assert!(copied.unwrap().success());
    };
    copy(&kept, &early);
    node.start();
    let shop = shop.at(&node);
    shop.call("PATCH", &format!("/v1/users/{ada}"), json!({ "profile": { "x": 1 } })).done(200);
    shop.register(json!({ "country": "NG", "email": "late@example.com" }));
    assert_eq!(node.stop(), 0);
    assert_eq!(trees(&state), kept, "the same trees were gone on with");
    std::fs::remove_dir_all(&kept).unwrap();
    copy(&early, &kept);
    let (code, _, said) = node.run(&["state", "verify"]);
    assert!(code == 1 && said.contains("lost what was written before"), "{said}");
    let (code, text, said) = node.run(&["state", "rebuild"]);
    assert!(code == 0 && text.contains("into a new state"), "{text}{said}");
    assert_ne!(trees(&state), kept);
    assert!(!kept.exists(), "the old trees are removed");
    let (code, text, _) = node.run(&["state", "verify"]);
    assert_eq!(code, 0, "{text}");
    plant(&trees(&state), ada.parse().unwrap());
    let (code, text, said) = node.run(&["state", "verify"]);
    assert_eq!(code, 1, "{text}{said}");
    let row = format!("users {} is missing", ada.replace('-', ""));
    for line in [row.as_str(), "claims 00 should not be there", "history"] {
        assert!(text.contains(line), "{line} is not in:\n{text}");
    }
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(said.contains("3 of ") && said.contains("jcas state rebuild mends it"), "{said}");
    assert!(!node.data().join("state.verify").exists());
    assert_eq!(node.run(&["state", "rebuild"]).0, 0);
    let (code, text, _) = node.run(&["state", "verify"]);
    assert_eq!(code, 0, "{text}");
    node.start();
    let (hash, users) = node.state_hash();
    assert_eq!(users, 3);
    let (_, replayed, _) = node.run(&["replay", "jcas-data", "--state-hash"]);
    assert_eq!(replayed.trim(), hash);
}

/// Takes a user's row away, adds a claim of nobody, and moves a place in a history.
fn plant(trees: &Path, user: UserId) {
    let files: Arc<dyn Files> = Arc::new(Disk);
    let kv = SledKv::open(&files, trees, 8 << 20).unwrap();
    kv.remove(Tree::Users, user.as_bytes()).unwrap();
    kv.insert(Tree::Claims, &[0], &[]).unwrap();
    let (place, _) = kv.scan(Tree::History, user.as_bytes()).next().unwrap().unwrap();
    kv.insert(Tree::History, &place, &[7; 8]).unwrap();
    kv.flush().unwrap();
}

#[test]
fn state_verify_says_when_the_next_start_would_not_use_the_state() {
    let (mut node, ..) = lived_in();
    assert_eq!(node.stop(), 0);
    let checkpoint = node.data().join("state/checkpoint");
    edit(&checkpoint, |bytes| bytes[30] ^= 1);
    let (code, _, said) = node.run(&["state", "verify"]);
    assert!(code == 1 && said.contains("the checkpoint is damaged"), "{said}");
    assert_eq!(node.run(&["state", "rebuild"]).0, 0);
    assert_eq!(node.run(&["state", "verify"]).0, 0);
}
