//! Every command in README.md is run, in the order it stands there.
//!
//! `<!-- two commands -->` marks those that build or check everything, and `<!-- keeps running -->`
//! what serves until it is stopped: they are not run as they stand.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::commands::{Block, marked, run};
use crate::node::Node;

#[test]
fn the_two_commands_of_the_readme_are_there_and_work() {
    let found = marked("README.md", "<!-- two commands -->");
    let commands: Vec<&str> = found.iter().flat_map(Block::bare).collect();
    assert_eq!(commands, ["cargo run --release -- demo", "scripts/test"]);
    let (_, arguments) = commands[0].split_once(" -- ").unwrap();
    let mut arguments: Vec<&str> = arguments.split(' ').collect();
    arguments.push("--once");
    let (code, output, errors) = Node::new(&[]).run(&arguments);
    assert_eq!(code, 0, "{output}{errors}");

    // The checks cannot run within themselves; that they start and say what they do can be seen.
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(commands[1]);
    let mode = std::fs::metadata(&script).unwrap().permissions().mode();
    assert_eq!(mode & 0o111, 0o111, "it is executable");
    let help = Command::new(&script).arg("--help").output().unwrap();
    assert!(help.status.success());
    assert!(String::from_utf8(help.stdout).unwrap().contains("N passed, N failed"));
}

#[test]
fn the_other_commands_of_the_readme_work_in_the_order_they_stand_there() {
    let serving = marked("README.md", "<!-- keeps running -->");
    let commands: Vec<&str> = serving.iter().flat_map(Block::bare).collect();
    assert_eq!(commands, ["export PATH=\"$PWD/target/release:$PATH\"", "jcas serve"]);
    let rest = marked("README.md", "");
    assert!(rest.len() >= 2, "README.md shows first calls");
    let text = run(&Node::started(&[]), rest);
    for upgraded in ["\"upgraded\":false", "\"upgraded\":true"] {
        assert!(text.contains(upgraded), "somebody logs in with {upgraded}: {text}");
    }
}
