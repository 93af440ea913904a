//! Commands that a document shows, run as whoever reads it would type them.
//!
//! A block that begins with ```` ```sh ```` holds commands. A comment before it, `<!-- so -->`,
//! marks it: what a mark means is the test's matter.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::node::Node;

/// Where the documents say that JCAS listens. A test's node has a port of its own.
pub const SHOWN_URL: &str = "http://127.0.0.1:8080";

/// A block of commands and the comment before it, if there is one.
pub struct Block {
    /// The comment.
    pub mark: String,
    /// The commands, as they stand there.
    pub commands: Vec<String>,
}

impl Block {
    /// Its commands without their comments.
    pub fn bare(&self) -> Vec<&str> {
        let bare = self.commands.iter().map(|line| line.split(" #").next().unwrap().trim());
        bare.filter(|line| !line.is_empty()).collect()
    }
}

/// The blocks of a document, by its path in the project, that carry a mark; the empty one is none.
pub fn marked(document: &str, mark: &str) -> Vec<Block> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    let text = std::fs::read_to_string(path).unwrap();
    blocks(&text).into_iter().filter(|block| block.mark == mark).collect()
}

fn blocks(text: &str) -> Vec<Block> {
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
    assert!(open.is_none(), "the last block of commands has no end");
    blocks
}

/// Runs the commands of blocks in one shell, in the node's folder, until one fails. Returns what
/// they wrote to standard output.
#[track_caller]
pub fn run(node: &Node, blocks: Vec<Block>) -> String {
    let programs = tempfile::tempdir().unwrap();
    symlink(env!("CARGO_BIN_EXE_jcas"), programs.path().join("jcas")).unwrap();
    let script: Vec<String> = blocks.into_iter().flat_map(|block| block.commands).collect();
    let script = script.join("\n").replace(SHOWN_URL, node.url());
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
    text
}
