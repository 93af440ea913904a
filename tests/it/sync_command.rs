//! `jcas sync` where things break: nodes that are killed, have no room, or are not there.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::node::{Node, wait_for};
use crate::syncing::lines;

/// The one address of a node that may move: what is in front of nodes. It may be shut once so many
/// bytes went to the node.
pub struct Door {
    port: u16,
    behind: Arc<Mutex<Behind>>,
}

struct Behind {
    node: String,
    /// Bytes that go through until it is shut.
    until_shut: Option<usize>,
    is_shut: bool,
    /// Bytes that went to the node.
    carried: usize,
}

impl Door {
    /// A door before a node.
    pub fn before(node: &Node) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let node = node.address().to_owned();
        let behind = Behind { node, until_shut: None, is_shut: false, carried: 0 };
        let behind = Arc::new(Mutex::new(behind));
        let known = Arc::clone(&behind);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let node = {
                    let behind = known.lock().unwrap();
                    if behind.is_shut {
                        continue;
                    }
                    behind.node.clone()
                };
                let Ok(far) = TcpStream::connect(node) else { continue };
                let (mut back, mut near_back) =
                    (far.try_clone().unwrap(), near.try_clone().unwrap());
                std::thread::spawn(move || {
                    let _ended = std::io::copy(&mut back, &mut near_back);
                    let _closed = near_back.shutdown(Shutdown::Both);
                });
                let known = Arc::clone(&known);
                std::thread::spawn(move || carry(near, far, &known));
            }
        });
        Self { port, behind }
    }

    /// It leads to a node, that was started again maybe, and is open.
    pub fn leads_to(&self, node: &Node) {
        let mut behind = self.behind.lock().unwrap();
        node.address().clone_into(&mut behind.node);
        behind.is_shut = false;
    }

    /// Is shut with the connection that brings this byte, counted from now.
    pub fn shut_after(&self, bytes: usize) {
        self.behind.lock().unwrap().until_shut = Some(bytes);
    }

    /// How many bytes went to the node.
    pub fn carried(&self) -> usize {
        self.behind.lock().unwrap().carried
    }

    /// Where callers call.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

fn carry(mut near: TcpStream, mut far: TcpStream, behind: &Mutex<Behind>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = near.read(&mut buffer) {
        {
            let mut behind = behind.lock().unwrap();
            if behind.until_shut.is_some_and(|left| left < count) {
                (behind.until_shut, behind.is_shut) = (None, true);
            }
            if behind.is_shut {
                break;
            }
            behind.until_shut = behind.until_shut.map(|left| left - count);
            behind.carried += count;
        }
        if far.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    for stream in [near, far] {
        let _closed = stream.shutdown(Shutdown::Both);
    }
}

/// A company that must sign, and a file of its rows.
pub struct Shop {
    folder: TempDir,
    key: String,
    secret: String,
}

impl Shop {
    /// The company, at a node.
    pub fn at(node: &Node) -> Self {
        let body = json!({ "countries": ["NG"], "signing": "required" });
        node.operate("PUT", "/operator/companies/shop", Some(&body)).done(200);
        let wanted = json!({ "scopes": ["sync"], "signing": "hs256" });
        let issued = node.operate("POST", "/operator/companies/shop/keys", Some(&wanted));
        let text = |name: &str| issued.done(201).body[name].as_str().unwrap().to_owned();
        let folder = tempfile::tempdir().unwrap();
        Self { folder, key: text("api_key"), secret: text("signing_secret") }
    }

    /// Writes so many customers' rows, each with so many notes of a thousand bytes.
    pub fn rows(&self, count: usize, notes: usize) -> PathBuf {
        let row = |number| {
            let note = |number| (format!("note{number}"), json!("x".repeat(1000)));
            let profile: serde_json::Map<_, _> = (0..notes).map(note).collect();
            json!({ "email": format!("{number}@example.com"), "profile": profile })
        };
        let rows: Vec<_> = (0..count).map(row).collect();
        let file = self.folder.path().join("rows.ndjson");
        std::fs::write(&file, lines(&rows)).unwrap();
        file
    }

    /// Runs the command at an address.
    pub fn sync(&self, node: &Node, url: &str, arguments: &[&str]) -> Running {
        let mut command = node.command(&["sync"]);
        command.args(arguments).env("JCAS_API_KEY", &self.key);
        command.env("JCAS_SIGNING_KEY", &self.secret).env("JCAS_URL", url);
        Running::start(command)
    }
}

/// The command under way.
pub struct Running {
    child: Child,
    folder: TempDir,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| File::create(folder.path().join(name)).unwrap();
        command.stdin(Stdio::null()).stdout(file("out")).stderr(file("err"));
        Self { child: command.spawn().unwrap(), folder }
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    /// Waits until it tells something beside its output.
    pub fn tells(&self, text: &str) {
        wait_for("the command to tell", || self.read("err").contains(text).then_some(()));
    }

    /// Ends it where it stands.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end: exit code, output, and what it told beside that.
    pub fn ended(mut self) -> (Option<i32>, String, String) {
        let status = wait_for("the command to end", || self.child.try_wait().unwrap());
        (status.code(), self.read("out"), self.read("err"))
    }
}

#[test]
fn a_command_that_follows_a_job_goes_on_after_the_node_was_killed() {
    let mut node = Node::started(&[("sync.rows_at_once", "8")]);
    let (shop, door) = (Shop::at(&node), Door::before(&node));
    let file = shop.rows(6000, 0);
    let running = shop.sync(&node, &door.url(), &[file.to_str().unwrap(), "--country", "NG"]);
    wait_for("some rows", || (node.state_hash().1 > 500).then_some(()));
    node.kill();
    running.tells("asking again");
    node.start();
    door.leads_to(&node);
    let (code, said, told) = running.ended();
    assert_eq!((code, said.as_str()), (Some(0), "created    6000\n"), "{told}");
    assert!(told.contains("it goes on"), "{told}");
    assert_eq!(node.state_hash().1, 6000);
}

/// A server that gives these answers, one a connection, and writes down what was asked and when.
struct Script {
    port: u16,
    asked: Arc<Mutex<Vec<(String, Instant)>>>,
}

impl Script {
    /// Answers: status, a header, body. Status 0 closes the connection instead. The last one is
    /// given again and again.
    fn new(answers: Vec<(u16, &'static str, Value)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        std::thread::spawn(move || {
            let last = answers.last().unwrap().clone();
            let mut answers = answers.into_iter();
            for stream in listener.incoming().map_while(Result::ok) {
                let mut stream = BufReader::new(stream);
                let mut first = String::new();
                stream.read_line(&mut first).unwrap();
                let mut line = String::new();
                while stream.read_line(&mut line).unwrap() > 2 {
                    line.clear();
                }
                noted.lock().unwrap().push((first, Instant::now()));
                let (status, header, body) = answers.next().unwrap_or_else(|| last.clone());
                if status != 0 {
                    let (body, close) = (body.to_string(), "Connection: close\r\n");
                    let length = body.len();
                    let head =
                        format!("HTTP/1.1 {status} X\r\n{header}Content-Length: {length}\r\n");
                    write!(stream.get_mut(), "{head}{close}\r\n{body}").unwrap();
                }
            }
        });
        Self { port, asked }
    }

    /// Runs `jcas sync` with these arguments at the server.
    fn sync(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jcas"));
        command.arg("sync").args(arguments).current_dir("/").env("HOME", "/nonexistent");
        command.env("JCAS_URL", format!("http://127.0.0.1:{}", self.port));
        command.env("JCAS_API_KEY", "jcas_key_secret");
        Running::start(command).ended()
    }
}

fn problem(detail: &str) -> Value {
    json!({ "detail": detail })
}

fn job(state: &str, invalid: u64) -> Value {
    json!({ "state": state, "rows": 2, "created": 1, "invalid": invalid })
}

#[test]
fn the_command_waits_as_long_as_it_is_told_and_ends_as_the_job_did() {
    let refused = json!({ "rows": [{ "line": 2, "verdict": "invalid", "code": "required",
        "field": "email" }], "next": "x", "has_more": false });
    let none = json!({ "rows": [], "next": "x", "has_more": false });
    let script = Script::new(vec![
        (429, "Retry-After: 1\r\n", problem("too many calls")),
        (503, "Retry-After: 2\r\n", problem("the node restarts")),
        (200, "", job("running", 0)),
        (0, "", Value::Null),
        (502, "", json!("a proxy's page")),
        (200, "", job("done", 1)),
        (200, "", none),
        (503, "", problem("once more")),
        (200, "", refused),
    ]);
    let (code, said, told) = script.sync(&["--job", "n1.7"]);
    let expected = "created    1\ninvalid    1\nline 2: invalid required email\n";
    assert_eq!((code, said.as_str()), (Some(1), expected), "{told}");
    let parts = ["too many calls; asking again", "the node restarts; asking again", "no answer"];
    let parts = [&parts[..], &["status 502", "it goes on", "once more", "1 rows were not"]];
    let mut rest = told.as_str();
    for part in parts.concat() {
        let at = rest.find(part).unwrap_or_else(|| panic!("no {part} in its place: {told}"));
        rest = &rest[at..];
    }
    let asked = script.asked.lock().unwrap();
    let between = |first: usize| asked[first + 1].1 - asked[first].1;
    assert!(between(0) >= Duration::from_secs(1) && between(1) >= Duration::from_secs(2));
    assert!(asked[0].0.starts_with("GET /v1/sync/n1.7 "), "{}", asked[0].0);
}

#[test]
fn the_command_says_how_to_go_on_where_its_patience_ends() {
    let script = Script::new(vec![(200, "", job("running", 0)), (0, "", Value::Null)]);
    let (code, said, told) = script.sync(&["--job", "n1.7", "--patience", "1"]);
    assert_eq!((code, said.as_str()), (Some(1), ""), "{told}");
    assert!(told.contains("jcas sync --job n1.7"), "{told}");
    // What it is asked to wait is longer than it may.
    let full = Script::new(vec![(429, "Retry-After: 60\r\n", problem("no room"))]);
    let (code, said, _) = full.sync(&["--job", "n1.7", "--patience", "1"]);
    assert_eq!((code, said.contains("no room")), (Some(1), true));
    assert_eq!(full.asked.lock().unwrap().len(), 1);
    // What a further call does not change is asked once.
    for (state, invalid) in [("cancelled", 0), ("failed", 0)] {
        let over = Script::new(vec![(200, "", job(state, invalid))]);
        let (code, _, told) = over.sync(&["--job", "n1.7"]);
        assert_eq!(code, Some(1));
        assert!(told.contains(&format!("the job ended {state}")), "{told}");
    }
    let unknown = Script::new(vec![(404, "", problem("there is no such job"))]);
    let (code, said, _) = unknown.sync(&["--job", "n1.7"]);
    assert_eq!((code, said.contains("no such job")), (Some(1), true));
    assert_eq!(unknown.asked.lock().unwrap().len(), 1);
}

#[test]
fn where_nobody_ever_answers_the_command_says_so_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let nobody = Script { port, asked: Arc::default() };
    let (code, said, told) = nobody.sync(&["--job", "n1.7"]);
    assert_eq!((code, said.as_str()), (Some(1), ""));
    assert!(told.contains("is jcas running?") && !told.contains("asking again"), "{told}");
}
