//! The log's indexes: who makes them, and that a replay says the same with and without them.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::node::{Node, wait_for};

/// A stopped node with several segments, and a user of whom there is something in each of them.
fn long_lived() -> (Node, String) {
    let mut node = Node::started(&[("log.segment_mib", "1")]);
    let shop = node.company("shop", &["NG"]);
    let one = shop.register(json!({ "country": "NG", "email": "ada@example.com" }));
    let other = shop.register(json!({ "country": "NG", "email": "ben@example.com" }));
    let segment = |number: u32| node.data().join(format!("log/{number:08}.seg"));
    let mut number = 0;
    while !segment(4).exists() {
        for user in [&one, &other, &other, &other] {
            number += 1;
            let value = format!("{number} {}", "x".repeat(3000));
            let profile: Value = (0..4)
                .map(|at| (format!("note_{at}"), json!(value)))
                .collect::<serde_json::Map<_, _>>()
                .into();
            let path = format!("/v1/users/{user}");
            shop.call("PATCH", &path, json!({ "profile": profile })).done(200);
        }
    }
    assert_eq!(node.stop(), 0);
    (node, one)
}

fn idx(node: &Node, number: u32) -> PathBuf {
    node.data().join(format!("log/{number:08}.idx"))
}

fn timeline(node: &Node, user: &str) -> String {
    let (code, text, said) = node.run(&["replay", "jcas-data", "--user", user, "--json"]);
    assert_eq!(code, 0, "{said}");
    text
}

fn made(node: &Node, path: &Path) -> Value {
    let (code, text, said) = node.run(&["log", "index", path.to_str().unwrap(), "--json"]);
    assert_eq!(code, 0, "{said}");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_node_and_the_command_make_indexes_and_a_replay_says_the_same_with_and_without_them() {
    let (mut node, ada) = long_lived();
    let log = node.data().join("log");
    let remove = || (1..=3).for_each(|number| drop(std::fs::remove_file(idx(&node, number))));
    remove();
    let without = timeline(&node, &ada);
    assert!(without.lines().count() > 30, "{}", without.lines().count());
    assert!(!idx(&node, 1).exists(), "a replay writes nothing");
    assert_eq!(made(&node, &log), json!({ "segments": 3, "made": 3 }));
    assert_eq!(made(&node, &node.data()), json!({ "segments": 3, "made": 0 }));
    assert!(!idx(&node, 4).exists(), "the last segment takes further events");
    assert_eq!(timeline(&node, &ada), without);
    // One is gone, one is damaged, one is another's.
    let whole = [1, 2, 3].map(|number| std::fs::read(idx(&node, number)).unwrap());
    let bytes = &whole[0];
    std::fs::remove_file(idx(&node, 1)).unwrap();
    std::fs::write(idx(&node, 2), &bytes[..bytes.len() / 2]).unwrap();
    std::fs::write(idx(&node, 3), bytes).unwrap();
    assert_eq!(timeline(&node, &ada), without);
    let (code, text, _) = node.run(&["log", "verify"]);
    assert!(code == 0 && text.contains("sound"), "an index is no part of the log: {text}");
    // The node makes them whole again by itself.
    node.start();
    wait_for("the indexes to be made", || {
        let found = [1, 2, 3].map(|number| std::fs::read(idx(&node, number)).unwrap_or_default());
        (found == whole).then_some(())
    });
    assert_eq!(timeline(&node, &ada), without);
    // Somebody it knows nothing of is told so, with no less reading than that.
    let nobody = "0199b5b0-4a49-7aa4-b6a1-3d2f0a1c9e11";
    let (code, text, said) = node.run(&["replay", "jcas-data", "--user", nobody]);
    assert!((code, text.as_str()) == (0, "") && said.contains("is about user"), "{said}");
    assert_eq!(node.stop(), 0);
    let (code, _, said) = node.run(&["log", "index", log.join("00000001.seg").to_str().unwrap()]);
    assert!(code == 1 && said.contains("only that has indexes"), "{said}");
}
