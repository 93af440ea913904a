//! What the source must look like: who may use whom, how long files and lines may be, and which
//! words have no place here.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Longest file, without its tests.
const FILE_LINES_MAX: usize = 400;

/// Longest line, in characters.
const LINE_CHARS_MAX: usize = 100;

/// Which rooms a room may use, beside itself. `*`: all of them.
const ROOMS: &[(&str, &[&str])] = &[
    ("events", &[]),
    ("files", &[]),
    ("clock", &["events"]),
    ("log", &["events", "files", "clock"]),
    ("state", &["events", "files", "clock"]),
    ("crypto", &["events", "clock"]),
    ("kms", &["events", "clock"]),
    // The data folder holds the local KMS's key: the one who makes both knows both.
    ("deployment", &["events", "files", "kms"]),
    ("config", &["events"]),
    ("tokens", &["events", "files"]),
    // Rows and verdicts on disk, which are sealed there and nowhere else.
    ("spool", &["files", "crypto"]),
    ("tls", &["clock"]),
    ("replication", &["events", "clock"]),
    ("actors", &["events", "log", "state", "crypto", "kms", "replication", "files", "clock"]),
    ("accounts", &["events", "actors", "crypto", "kms", "clock", "tokens", "spool"]),
    ("http", &["events", "accounts"]),
    // A log folded in memory: what developers look at history with.
    ("replay", &["events", "files", "log"]),
    // What works without a node works on its files.
    (
        "cli",
        &["events", "accounts", "app", "config", "deployment", "files", "clock", "log", "replay"],
    ),
    ("health", &["*"]),
    ("gauges", &["accounts", "actors", "clock", "log", "tls"]),
    ("app", &["*"]),
    ("main", &["*"]),
    ("lib", &["*"]),
];

/// Crates that are used in few places, and those places: a room, or a file.
const CRATES: &[(&str, &[&str])] = &[
    ("actix_web", &["http", "app"]),
    ("actix_http", &["app"]),
    ("actix_server", &["app"]),
    ("actix_service", &["app"]),
    // A room, a file, or a folder of a room.
    ("lapin", &["replication/amqp"]),
    ("async_rs", &["replication/amqp/socket.rs"]),
    ("async_compat", &["replication/amqp/socket.rs"]),
    ("rustls", &["tls", "replication/amqp"]),
    ("tokio_rustls", &["app", "replication/amqp/socket.rs"]),
    ("actix", &["actors", "app", "cli"]),
    ("sled", &["state"]),
    ("bincode", &["events/codec.rs"]),
    ("figment", &["config"]),
    ("clap", &["cli"]),
    ("indicatif", &["cli"]),
    ("anyhow", &["cli", "main"]),
];

/// Crates that have no place in the core: it does no I/O and knows no time and no chance.
const NOT_IN_EVENTS: &[&str] =
    &["actix", "actix_web", "tokio", "sled", "lapin", "rand", "getrandom", "jiff", "rustix"];

/// What the core does not name of the standard library either.
const NO_STD_IN_EVENTS: &[&str] =
    &["std::fs", "std::net", "std::time", "std::thread", "std::env", "std::process"];

/// A source file, split at its tests.
struct Source {
    path: PathBuf,
    /// The path below `src`, with slashes.
    name: String,
    text: String,
}

impl Source {
    /// The room it is in: the first part of its path.
    fn room(&self) -> &str {
        let first = self.name.split('/').next().unwrap();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// Whether the whole file is tests.
    fn is_test(&self) -> bool {
        ["_test.rs", "fixture.rs", "fixtures.rs"].iter().any(|end| self.name.ends_with(end))
    }

    /// What is before the file's own tests.
    fn without_tests(&self) -> &str {
        let tests = self.text.find("\n#[cfg(test)]\nmod ");
        tests.map_or(self.text.as_str(), |at| &self.text[..at])
    }

    /// Its lines of code, numbered from one: without comments and without tests.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.without_tests().lines().enumerate();
        lines
            .map(|(at, line)| (at + 1, line.split("//").next().unwrap_or_default()))
            .filter(|(_, line)| !line.trim().is_empty())
    }
}

/// All Rust files below a folder of the project.
fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                let text = std::fs::read_to_string(&path).unwrap();
                found.push(Source { path, name, text });
            }
        }
    }
    assert!(!found.is_empty(), "no source below {}", root.display());
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

/// The names that stand directly after `word::` in a line, also those of `word::{one, two::Three}`.
fn named_after<'a>(line: &'a str, word: &str) -> Vec<&'a str> {
    let mut names = Vec::new();
    let mut rest = line;
    while let Some(at) = rest.find(word) {
        let before = rest[..at].chars().next_back();
        let after = &rest[at + word.len()..];
        rest = after;
        if before.is_some_and(is_of_a_name) {
            continue;
        }
        let Some(after) = after.strip_prefix("::") else { continue };
        let listed = after.strip_prefix('{').map(|list| list.trim_end_matches(['}', ';']));
        let parts = listed.map_or_else(|| vec![after], |list| list.split(',').collect());
        names.extend(parts.into_iter().map(|part| {
            let part = part.trim();
            &part[..part.find(|c| !is_of_a_name(c)).unwrap_or(part.len())]
        }));
    }
    names
}

fn is_of_a_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Whether a line names a crate: `use sled;`, `sled::Db`.
fn names_crate(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = &line[at + name.len()..];
        let alone = !before.is_some_and(|c| is_of_a_name(c) || c == ':' || c == '.');
        let used = line.trim_start().starts_with("use ") && after.starts_with([';', ' ']);
        alone && (after.starts_with("::") || used)
    })
}

#[track_caller]
fn assert_none(faults: &BTreeSet<String>) {
    let mut text = String::new();
    for fault in faults {
        writeln!(text, "  {fault}").unwrap();
    }
    assert!(faults.is_empty(), "\n{text}");
}

/// What of our own a file uses that its room may not.
fn forbidden_rooms(source: &Source) -> Vec<String> {
    let room = source.room();
    let Some((_, allowed)) = ROOMS.iter().find(|(known, _)| *known == room) else {
        return vec![format!("src/{}: the room {room} has no rule here", source.name)];
    };
    if allowed.contains(&"*") {
        return Vec::new();
    }
    let rooms: Vec<&str> = ROOMS.iter().map(|(room, _)| *room).collect();
    let mut faults = Vec::new();
    for (number, line) in source.code() {
        for used in named_after(line, "crate") {
            if used.is_empty() {
                faults.push(format!("src/{}:{number}: name each room on a line", source.name));
            }
            if used != room && rooms.contains(&used) && !allowed.contains(&used) {
                faults.push(format!("src/{}:{number}: {room} may not use {used}", source.name));
            }
        }
    }
    faults
}

/// What of others a file uses that has its place elsewhere.
fn forbidden_crates(source: &Source) -> Vec<String> {
    let (room, name) = (source.room(), source.name.as_str());
    let mut faults = Vec::new();
    for (number, line) in source.code() {
        let used = |word: &str| names_crate(line, word);
        for (word, places) in CRATES {
            let within = |place: &&str| name.starts_with(&format!("{place}/"));
            let at_home = places.contains(&room) || places.contains(&name);
            if used(word) && !at_home && !places.iter().any(within) {
                faults.push(format!("src/{name}:{number}: {word} has its place in {places:?}"));
            }
        }
        if room == "events" {
            let of_std = NO_STD_IN_EVENTS.iter().filter(|path| line.contains(*path));
            for word in NOT_IN_EVENTS.iter().filter(|word| used(word)).chain(of_std) {
                faults.push(format!("src/{name}:{number}: the core may not know {word}"));
            }
        }
    }
    faults
}

#[test]
fn every_room_uses_only_the_rooms_it_may() {
    let faults = sources("src").iter().flat_map(forbidden_rooms).collect();
    assert_none(&faults);
}

#[test]
fn every_crate_stays_in_its_place() {
    let faults = sources("src").iter().flat_map(forbidden_crates).collect();
    assert_none(&faults);
}

#[test]
fn the_rules_find_what_they_forbid() {
    let at = |name: &str, text: &str| Source {
        path: PathBuf::new(),
        name: name.to_owned(),
        text: text.to_owned(),
    };
    let rooms = |name, text| forbidden_rooms(&at(name, text)).len();
    assert_eq!(rooms("events/a.rs", "use crate::clock::Clock;\n"), 1);
    assert_eq!(rooms("http/a.rs", "use crate::{accounts, actors, crypto::secret};"), 2);
    assert_eq!(rooms("http/a.rs", "let x: crate::state::Store;"), 1);
    assert_eq!(rooms("http/a.rs", "// crate::state\nuse crate::http::api;"), 0);
    assert_eq!(rooms("http/a.rs", "use crate::{\n    state,\n};"), 1);
    assert_eq!(rooms("garden/a.rs", ""), 1);
    let crates = |name, text| forbidden_crates(&at(name, text)).len();
    assert_eq!(crates("log/a.rs", "use sled::Db;"), 1);
    assert_eq!(crates("log/a.rs", "use sled;"), 1);
    assert_eq!(crates("log/a.rs", "let assled::x = 1;"), 0);
    assert_eq!(crates("state/a.rs", "use sled::Db; actix_web::main"), 1);
    assert_eq!(crates("events/codec.rs", "bincode::encode()"), 0);
    assert_eq!(crates("events/event.rs", "bincode::encode()"), 1);
    assert_eq!(crates("events/a.rs", "std::time::Instant; tokio::spawn();"), 2);
    assert_eq!(crates("log/a.rs", "fn a() {}\n#[cfg(test)]\nmod tests { use sled::Db; }"), 0);
}

#[test]
fn files_and_lines_are_short_enough_to_read() {
    let mut faults = BTreeSet::new();
    for source in sources("src").iter().chain(&sources("crates")).chain(&sources("tests")) {
        for (number, line) in source.text.lines().enumerate() {
            let chars = line.chars().count();
            if chars > LINE_CHARS_MAX {
                let path = source.path.display();
                faults.insert(format!("{path}:{}: {chars} characters", number + 1));
            }
        }
    }
    let shipped = sources("src").into_iter().chain(sources("crates"));
    for source in shipped.filter(|source| !source.is_test()) {
        let lines = source.without_tests().lines().count();
        if lines > FILE_LINES_MAX {
            faults.insert(format!("{}: {lines} lines", source.path.display()));
        }
    }
    assert_none(&faults);
}

#[test]
fn every_file_says_what_it_is_for() {
    let all = sources("src").into_iter().chain(sources("crates")).chain(sources("tests"));
    let without = all.filter(|source| !source.text.starts_with("//! "));
    assert_none(&without.map(|source| source.path.display().to_string()).collect());
}

/// Words of where and how the project was made: it speaks of itself alone. Each is written here in
/// two halves, so that this file does not hold it.
const STRANGE_WORDS: &[(&str, &str)] = &[
    ("assis", "tant"),
    ("/wo", "rk/"),
    ("/ro", "ot/"),
    ("/home", "/"),
    ("DESIGN", ".md"),
    ("FACTS", ".md"),
    ("STYLE", ".md"),
    ("iss", "ue #"),
    ("TO", "DO"),
    ("FIX", "ME"),
    ("XX", "X"),
];

/// Whether a text refers to an entry of a tracker: a `#` and a number, as in nothing we write.
fn names_an_entry(line: &str) -> bool {
    line.match_indices('#').any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let digits = line[at + 1..].chars().take_while(char::is_ascii_digit).count();
        let end = line[at + 1 + digits..].chars().next();
        let closed = !end.is_some_and(|c| c.is_ascii_alphanumeric() || c == ';' || c == '"');
        before.is_some_and(|c| c == ' ' || c == '(') && (1..5).contains(&digits) && closed
    })
}

#[test]
fn the_project_speaks_of_itself_alone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "tests/it", "tests/events", "tests/support", "config", "docs", "scripts"]
    {
        if root.join(folder).is_dir() {
            files.extend(crate::node::files_below(&root.join(folder)));
        }
    }
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        let ends = ["md", "toml"];
        if path.extension().is_some_and(|end| ends.iter().any(|known| end == *known)) {
            let bytes = std::fs::read(&path).unwrap();
            files.push((path, bytes));
        }
    }
    assert!(files.len() > 100, "only {} files were read", files.len());
    let mut faults = BTreeSet::new();
    // What a picture's bytes happen to spell says nothing.
    let is_picture = |path: &Path| path.extension().is_some_and(|end| end == "png");
    for (path, bytes) in files.into_iter().filter(|(path, _)| !is_picture(path)) {
        for (number, line) in String::from_utf8_lossy(&bytes).lines().enumerate() {
            let place = format!("{}:{}", path.display(), number + 1);
            for (one, other) in STRANGE_WORDS {
                let word = format!("{one}{other}");
                if line.contains(&word) {
                    faults.insert(format!("{place}: holds \"{word}\""));
                }
            }
            if names_an_entry(line) {
                faults.insert(format!("{place}: names an entry of a tracker"));
            }
        }
    }
    assert_none(&faults);
}
