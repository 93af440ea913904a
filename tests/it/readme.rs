//! Every command in README.md is run, in the order it stands there.
//!
//! A block that begins with ```` ```sh ```` holds commands. A comment before it says where it is
//! not run as it stands: `<!-- two commands -->` for those that build or check everything, and
//! `<!-- keeps running -->` for what serves until it is stopped.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use crate::node::Node;

/// Where README says that JCAS listens. The test's node has a port of its own.
const README_URL: &str = "http://127.0.0.1:8080";

/// A block of commands and the comment before it, if there is one.
struct Block {
    mark: String,
    commands: Vec<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn blocks() -> Vec<Block> {
    let text = std::fs::read_to_string(root().join("README.md")).unwrap();
    let mut blocks = Vec::new();
    let (mut mark, mut open) = (String::new(), None);
    for line in text.lines() {
        match (&mut open, line) {
            (None, "```sh") => {
                open = Some(Block { mark: std::mem::take(&mut mark), commands: Vec::new() });
            }
            (Some(_), "```") => blocks.extend(open.take()),
            (Some(block), command) => block.commands.push(command.to_owned()),
            (None, line) if line.starts_with("<!-- ") => line.clone_into(&mut mark),
            (None, "") => {}
            (None, _) => mark.clear(),
        }
    }
    assert!(open.is_none(), "the last block of README.md has no end");
    blocks
}

fn marked(mark: &str) -> Vec<Block> {
    blocks().into_iter().filter(|block| block.mark == mark).collect()
}

/// Commands of a block without their comments.
fn bare(block: &Block) -> Vec<&str> {
    let bare = block.commands.iter().map(|line| line.split(" #").next().unwrap().trim());
    bare.filter(|line| !line.is_empty()).collect()
}

#[test]
fn the_two_commands_of_the_readme_are_there_and_work() {
    let found = marked("<!-- two commands -->");
    let commands: Vec<&str> = found.iter().flat_map(bare).collect();
    assert_eq!(commands, ["cargo run --release -- demo", "scripts/test"]);
    let (_, arguments) = commands[0].split_once(" -- ").unwrap();
    let mut arguments: Vec<&str> = arguments.split(' ').collect();
    arguments.push("--once");
    let (code, output, errors) = Node::new(&[]).run(&arguments);
    assert_eq!(code, 0, "{output}{errors}");

    // The checks cannot run within themselves; that they start and say what they do can be seen.
    let script = root().join(commands[1]);
    let mode = std::fs::metadata(&script).unwrap().permissions().mode();
    assert_eq!(mode & 0o111, 0o111, "it is executable");
    let help = Command::new(&script).arg("--help").output().unwrap();
    assert!(help.status.success());
    assert!(String::from_utf8(help.stdout).unwrap().contains("N passed, N failed"));
}

#[test]
fn the_other_commands_of_the_readme_work_in_the_order_they_stand_there() {
    let serving = marked("<!-- keeps running -->");
    let commands: Vec<&str> = serving.iter().flat_map(bare).collect();
    assert_eq!(commands, ["export PATH=\"$PWD/target/release:$PATH\"", "jcas serve"]);
    let node = Node::started(&[]);
    let programs = tempfile::tempdir().unwrap();
    symlink(env!("CARGO_BIN_EXE_jcas"), programs.path().join("jcas")).unwrap();

    let rest = marked("");
    assert!(rest.len() >= 2, "README.md shows first calls");
    let script: Vec<String> = rest.into_iter().flat_map(|block| block.commands).collect();
    let script = script.join("\n").replace(README_URL, node.url());
    let jcas = node.command(&[]);
    let path = std::env::var("PATH").unwrap();
    let mut shell = Command::new("sh");
    shell
        .args(["-e", "-x", "-c", &script])
        .current_dir(jcas.get_current_dir().unwrap())
        .envs(jcas.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env_remove("JCAS_URL")
        .env("PATH", format!("{}:{path}", programs.path().display()));
    let output = shell.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}\n{text}");
    for upgraded in ["\"upgraded\":false", "\"upgraded\":true"] {
        assert!(text.contains(upgraded), "somebody logs in with {upgraded}: {text}");
    }
}
