//! `jcas demo`: what it shows, that it goes on where it was, that every call it prints works, and
//! what it says where it cannot run.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::node::{Node, wait_for};

/// People the demo logs in.
const PEOPLE: usize = 12;

fn upgrades(output: &str) -> usize {
    output.lines().filter(|line| line.ends_with("ms  yes")).count()
}

#[test]
fn a_demo_upgrades_everybody_and_a_second_run_goes_on_from_there() {
    let node = Node::new(&[]);
    let (code, output, errors) = node.run(&["demo", "--once"]);
    assert_eq!((code, errors.as_str()), (0, ""), "{output}");
    assert!(output.contains("registered 900 customers in"), "{output}");
    assert_eq!(upgrades(&output), PEOPLE, "{output}");
    assert!(output.contains("the old one: refused"), "{output}");
    regions_agree(&output);

    let (code, output, errors) = node.run(&["demo", "--once"]);
    assert_eq!((code, errors.as_str()), (0, ""), "{output}");
    assert!(output.contains("all 900 are here from an earlier run"), "{output}");
    assert_eq!(upgrades(&output), 0, "{output}");
    assert!(output.contains("the old one: refused"), "{output}");
    regions_agree(&output);
}

/// What both regions answer while they are cut off from each other, and after that.
fn regions_agree(output: &str) {
    let rows = |what: &str| -> Vec<Vec<&str>> {
        let rows = output.lines().filter_map(|line| line.trim().strip_prefix(what));
        rows.map(|row| row.split_whitespace().collect()).collect()
    };
    assert_eq!(rows("the new password  "), [["in", "refused"], ["in", "in"]], "{output}");
    assert_eq!(rows("the old password  "), [["refused", "in"], ["refused", "refused"]], "{output}");
    assert_eq!(rows("the newcomer  "), [["unknown", "found"], ["found", "found"]], "{output}");
    let names = rows("the nickname  ");
    assert_eq!(names.len(), 2, "{output}");
    assert_ne!(names[0][0], names[0][1], "{output}");
    assert_eq!(names[1], [names[0][1], names[0][1]], "{output}");
    assert!(output.contains("later both have the same state: "), "{output}");
}

#[test]
fn a_demo_of_one_region_is_told_apart() {
    let node = Node::new(&[]);
    let folder = node.data().with_file_name("jcas-demo");
    let (code, _, errors) = node.run(&["init", folder.to_str().unwrap()]);
    assert_eq!(code, 0, "{errors}");
    let (code, output, errors) = node.run(&["demo", "--once"]);
    assert_eq!((code, output.as_str()), (1, ""), "{errors}");
    for said in ["of one region", "JCAS__DEMO__DATA_DIR", "delete it"] {
        assert!(errors.contains(said), "{errors}");
    }
}

#[test]
fn every_call_that_a_demo_prints_works_as_printed() {
    let node = Node::new(&[]);
    let mut command = node.command(&["demo"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut demo = command.spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines().map(Result::unwrap);
    let printed: Vec<String> =
        lines.by_ref().take_while(|line| line != "serving until Ctrl-C").collect();
    let explained = printed.windows(2).filter(|pair| pair[0].starts_with("  # "));
    let calls: Vec<&str> = explained.map(|pair| pair[1].trim()).collect();
    assert_eq!(calls.len(), 11, "{printed:#?}");
    for call in calls {
        // Nothing of the test's own surroundings: a reader has nothing but the line.
        let answered = Command::new("sh").args(["-c", call]).env_clear().output().unwrap();
        let text = String::from_utf8(answered.stdout).unwrap();
        let errors = String::from_utf8_lossy(&answered.stderr).into_owned();
        assert!(answered.status.success(), "{call}\n{text}{errors}");
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        assert!(answer.is_object() && answer.get("code").is_none(), "{call}\n{text}{errors}");
    }
    Command::new("kill").args(["-TERM", &demo.id().to_string()]).status().unwrap();
    let ended = wait_for("the demo to stop", || demo.try_wait().unwrap());
    assert_eq!(ended.code(), Some(0));
}

#[test]
fn a_demo_that_finds_its_port_taken_names_the_setting() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let node = Node::new(&[("http.listen", &address)]);
    let (code, output, errors) = node.run(&["demo", "--once"]);
    assert_eq!((code, output.as_str()), (1, ""), "{errors}");
    for said in ["cannot listen on", address.as_str(), "JCAS__HTTP__LISTEN=127.0.0.1:0"] {
        assert!(errors.contains(said), "{errors}");
    }
    assert!(!node.data().with_file_name("jcas-demo").exists(), "nothing was made");
}

#[test]
fn a_demo_whose_folder_cannot_be_made_says_which_and_what_to_do() {
    let node = Node::new(&[("demo.data_dir", "in-the-way/demo")]);
    std::fs::write(node.data().with_file_name("in-the-way"), "a file").unwrap();
    let (code, output, errors) = node.run(&["demo", "--once"]);
    assert_eq!((code, output.as_str()), (1, ""), "{errors}");
    for said in ["in-the-way/demo", "JCAS__DEMO__DATA_DIR", "because: "] {
        assert!(errors.contains(said), "{errors}");
    }
}
