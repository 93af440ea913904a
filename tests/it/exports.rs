//! Exports as files: laid out as the document says, packed and not, whole and not; and how much
//! room it takes to look into a log.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::history_tools::{emptied, exported, lived_in};
use crate::log_tools::{made_up_of, text};
use crate::node::{Node, pause};

fn number(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

/// The blocks of a packed export by docs/log-format.md: where each one's head starts.
fn blocks(file: &[u8]) -> Vec<usize> {
    assert_eq!(&file[..8], b"JCASPACK");
    let (mut at, mut found) = (16, Vec::new());
    while file[at + 1] == 0x42 {
        found.push(at);
        at += 60 + number(file, at + 20);
    }
    assert_eq!((at + 48, number(file, at + 8)), (file.len(), found.len()));
    found
}

/// An export as it was before exports were packed.
fn unpacked(file: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    for at in blocks(file) {
        assert_eq!((number(file, at + 8), number(file, at + 12)), (1, plain.len()));
        let packed = &file[at + 60..at + 60 + number(file, at + 20)];
        let before = plain.len();
        flate2::read::DeflateDecoder::new(packed).read_to_end(&mut plain).unwrap();
        assert_eq!(plain.len() - before, number(file, at + 16));
    }
    plain
}

fn run(node: &Node, arguments: &[&str]) -> String {
    let (code, printed, said) = node.run(arguments);
    assert_eq!(code, 0, "{arguments:?}: {said}");
    printed
}

#[test]
fn an_export_is_packed_as_documented_and_one_that_is_not_packed_is_as_good() {
    let (mut node, ..) = lived_in();
    let (hash, users) = node.state_hash();
    let file = exported(&node, "packed.jcas", &["--with-keys"]);
    assert_eq!(node.stop(), 0);
    let packed = std::fs::read(&file).unwrap();
    let bytes = unpacked(&packed);
    assert!(packed.len() * 10 < bytes.len() * 9, "{} of {}", packed.len(), bytes.len());
    let plain = file.with_file_name("plain.jcas");
    std::fs::write(&plain, &bytes).unwrap();
    let verified = |path: &Path| run(&node, &["log", "verify", text(path)]);
    assert_eq!(verified(&plain), verified(&file));
    for path in [&file, &plain] {
        let found = run(&node, &["replay", text(path), "--state-hash"]);
        assert_eq!(found.trim(), hash, "{}", path.display());
        let mut other = emptied(&node);
        run(&other, &["log", "import", text(path)]);
        other.start();
        assert_eq!(other.state_hash().1, users, "{}", path.display());
        // An export of an export is the same again.
        let again = file.with_file_name("again.jcas");
        run(&node, &["log", "export", text(&again), text(path), "--with-keys"]);
        assert!(std::fs::read(&again).unwrap() == packed, "{}", path.display());
        std::fs::remove_file(&again).unwrap();
    }
    let json = run(&node, &["log", "verify", text(&file), "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["end"]["segment"], &json["end"]["offset"]), (&json!(1), &json!(bytes.len())));
    assert_eq!(json["greatest_revision"].as_str().unwrap().len(), 16);
    let lives = json["vector"].as_array().unwrap();
    let of_life = |it: &Value| it["origin"].is_string() && it["head"].as_str().unwrap().len() == 64;
    assert!(!lives.is_empty() && lives.iter().all(of_life), "{json}");
    // Two people may compare what they have.
    let other = file.with_file_name("other.jcas");
    let made = run(&node, &["log", "export", text(&other), "--with-keys", "--json"]);
    let made: Value = serde_json::from_str(&made).unwrap();
    let end = packed.len() - 48;
    assert_eq!(made["digest"], crate::node::hex(&packed[end + 12..end + 44]));
    assert_eq!(made["unpacked_bytes"].as_u64().unwrap(), bytes.len() as u64);
    assert!(std::fs::read(&other).unwrap() == packed);
}

#[test]
fn a_damaged_or_cut_export_is_neither_imported_nor_replayed_and_says_where() {
    let (mut node, ..) = lived_in();
    let file = exported(&node, "packed.jcas", &["--with-keys"]);
    assert_eq!(node.stop(), 0);
    let other = emptied(&node);
    let whole = std::fs::read(&file).unwrap();
    let first = blocks(&whole)[0];
    let changed = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let block = format!("is damaged at offset {}", first + 60);
    let head = format!("is damaged at offset {first}");
    let cut = "ends before the export does".to_owned();
    for (bytes, why, what) in [
        (changed(first + 60 + 99), &block, "does not match its digest"),
        (changed(whole.len() - 60), &block, "does not match its digest"),
        (changed(first + 30), &head, "head does not match"),
        (whole[..whole.len() / 2].to_vec(), &cut, "`jcas log verify` says what it holds"),
        (whole[..whole.len() - 1].to_vec(), &cut, "it was cut"),
    ] {
        std::fs::write(&file, &bytes).unwrap();
        for command in [["log", "import"].as_slice(), &["replay"], &["log", "show"]] {
            let (code, _, said) = other.run(&[command, &[text(&file)]].concat());
            assert!(code == 1 && said.contains(text(&file)), "{command:?}: {said}");
            assert!(said.contains(why.as_str()) && said.contains(what), "{command:?}: {said}");
        }
        let (code, _, said) = other.run(&["log", "verify", text(&file)]);
        let nothing = said.contains("ends within its first block: nothing of it can be read");
        assert!(code == 1 && nothing == (bytes.len() == whole.len() / 2), "{said}");
        let data = other.data();
        assert!(!data.join("log").exists() && !data.join("log.import").exists());
    }
}

/// The most memory that a replay takes, in KiB.
fn peak(arguments: &[&str]) -> u64 {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jcas"));
    let mut child = command.args(arguments).stdout(Stdio::null()).spawn().unwrap();
    let status = PathBuf::from(format!("/proc/{}/status", child.id()));
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let status = std::fs::read_to_string(&status).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let of = |line: &str| line.trim().trim_end_matches(" kB").parse::<u64>().unwrap();
        peak = line.map_or(0, of).max(peak);
        pause();
    }
    assert!(child.wait().unwrap().success());
    peak
}

#[test]
fn memory_is_bounded_by_the_users_and_not_by_the_length_of_the_log() {
    const EVENTS: u64 = 8000;
    let folder = tempfile::tempdir().unwrap();
    let make = |name: &str, events: u64| made_up_of(&folder, name, events, 50);
    let short = [make("short", EVENTS), make("short-too", EVENTS - 1)];
    let long = [make("long", EVENTS * 10), make("long-too", EVENTS * 10 - 1)];
    let bytes = |path: &str| -> u64 {
        let entries = std::fs::read_dir(path).unwrap();
        entries.map(|it| it.unwrap().metadata().unwrap().len()).sum()
    };
    let more_log = 2 * (bytes(&long[0]) - bytes(&short[0])) / 1024;
    assert!(more_log > 20_000, "{more_log} KiB more");
    // Twice eight bytes an event, and room that a growing list keeps.
    let allowed = 8 * 1024;
    for question in ["--against", ""] {
        let ask = |[one, other]: &[String; 2]| match question {
            "" => peak(&["replay", one]),
            question => peak(&["replay", one, question, other]),
        };
        let (little, much) = (ask(&short), ask(&long));
        assert!(little > 1000 && much < little + allowed, "{question}: {little} and {much} KiB");
    }
}
