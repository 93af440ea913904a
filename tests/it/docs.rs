//! The documents hold: what they name exists, what they show can be typed, what they say of bytes
//! is so.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use jcas::crypto::sealing::{BranchKey, Context, JobKey, UserKey, open, seal};
use serde_json::json;

use crate::certificates::Certificates;
use crate::node::{Node, files_below, hex};
use crate::python::python_tools;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every document and its text.
fn documents() -> Vec<(PathBuf, String)> {
    let mut found = files_below(&root().join("docs"));
    for name in ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"] {
        let path = root().join(name);
        found.extend(std::fs::read(&path).ok().map(|bytes| (path, bytes)));
    }
    let texts = found.into_iter().filter(|(path, _)| path.extension().is_some_and(|it| it == "md"));
    texts.map(|(path, bytes)| (path, String::from_utf8(bytes).unwrap())).collect()
}

#[test]
fn every_test_the_documents_name_exists() {
    let mut named = 0;
    for (document, text) in documents() {
        for quoted in text.split('`').skip(1).step_by(2) {
            let Some((file, test)) = quoted.split_once(" :: ") else { continue };
            let source = std::fs::read_to_string(root().join(file));
            let source = source.unwrap_or_else(|_| String::new());
            let is_there = source.contains(&format!("fn {test}("));
            assert!(is_there, "{}: there is no {file} :: {test}", document.display());
            named += 1;
        }
    }
    assert!(named > 50, "the tables were not found: {named} tests");
}

#[test]
fn every_file_the_documents_link_to_exists() {
    for (document, text) in documents() {
        for after in text.split("](").skip(1) {
            let target = after.split([')', '#']).next().unwrap();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let path = document.parent().unwrap().join(target);
            assert!(path.exists(), "{}: no {target}", document.display());
        }
    }
}

/// The commands of a block: a line, or several where a quoted word or a backslash goes on over the
/// line's end.
fn commands(block: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in block.lines() {
        match found.last_mut() {
            Some(command) if command.matches('\'').count() % 2 == 1 || command.ends_with('\\') => {
                command.push('\n');
                command.push_str(line);
            }
            _ => found.push(line.to_owned()),
        }
    }
    found
}

#[test]
fn every_command_the_documents_show_is_one() {
    let mut shown = 0;
    // What a command writes beside its help is written where nothing is kept.
    let folder = tempfile::tempdir().unwrap();
    for (document, text) in documents() {
        let blocks = text.split("```sh\n").skip(1).map(|after| after.split("```").next().unwrap());
        for command in blocks.flat_map(commands) {
            let Some(arguments) = command.trim().strip_prefix("jcas ") else { continue };
            let arguments = arguments.split(" #").next().unwrap().trim();
            // With --help nothing is done, but what stands before it must be known and valid.
            let typed = format!("{:?} {arguments} --help", env!("CARGO_BIN_EXE_jcas"));
            let mut shell = Command::new("sh");
            shell.args(["-c", &typed]).current_dir(&folder).stdin(Stdio::null());
            let ran = shell.output().unwrap();
            let said = String::from_utf8_lossy(&ran.stderr);
            assert!(ran.status.success(), "{}: jcas {arguments}: {said}", document.display());
            shown += 1;
        }
    }
    assert!(shown > 5, "no commands were found");
}

/// What a node shows of itself once every gauge was set.
fn figures() -> String {
    let mut node = Node::new(&[("metrics.sample_s", "1")]);
    let certificates = Certificates::new();
    certificates.install(&mut node);
    node.start();
    let mut shop = node.company("shop", &["NG"]);
    shop.authority = Some(certificates.authority());
    shop.register(json!({ "country": "NG", "email": "a@example.com", "password": "one two" }));
    shop.login("NG", "a@example.com", "one two").done(200);
    let page = crate::node::wait_for("the gauges", || {
        let page = shop.call("GET", "/metrics", json!(null)).text;
        page.contains("jcas_registry_lives").then_some(page)
    });
    page + &crate::operating::figures()
}

/// The names that a page of figures declares.
fn declared(page: &str) -> Vec<&str> {
    let shown = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let shown: Vec<_> = shown.map(|line| line.split(' ').next().unwrap()).collect();
    assert!(shown.len() > 10, "{page}");
    shown
}

#[test]
fn every_figure_the_node_shows_is_documented() {
    let page = figures();
    let shown = declared(&page);
    let text = std::fs::read_to_string(root().join("docs/operations.md")).unwrap();
    for name in &shown {
        assert!(text.contains(&format!("`{name}`")), "{name} is not in docs/operations.md");
    }
    for name in text.split('`').filter(|word| word.starts_with("jcas_") && !word.contains('<')) {
        assert!(shown.contains(&name), "{name} is in docs/operations.md only");
    }
}

/// The names of figures in an expression, each with the labels it is asked by.
fn names_in(expression: &str) -> Vec<(String, Vec<String>)> {
    let is_of_a_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let found = expression
        .match_indices("jcas_")
        .filter(|(at, _)| !expression[..*at].chars().next_back().is_some_and(is_of_a_name));
    let read = |(at, _): (usize, &str)| {
        let rest = &expression[at..];
        let end = rest.find(|c| !is_of_a_name(c)).unwrap_or(rest.len());
        let labels = rest[end..].strip_prefix('{').map(|after| after.split('}').next().unwrap());
        let labels = labels.unwrap_or_default().split(", ").filter(|label| !label.is_empty());
        let labels = labels.map(|label| label.split(['=', '!']).next().unwrap().to_owned());
        (rest[..end].to_owned(), labels.collect())
    };
    found.map(read).collect()
}

#[test]
fn the_dashboard_asks_for_figures_and_labels_that_there_are_and_for_all_of_them() {
    let page = figures();
    let text = std::fs::read_to_string(root().join("docs/grafana/jcas.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let mut expressions: Vec<_> = targets.map(|it| it["expr"].as_str().unwrap()).collect();
    let variables = dashboard["templating"]["list"].as_array().unwrap().iter();
    expressions.extend(variables.filter_map(|it| it["query"].as_str()));
    assert!(expressions.len() > 20, "{expressions:?}");
    let mut asked = Vec::new();
    for expression in expressions {
        assert_eq!(expression.matches('(').count(), expression.matches(')').count());
        for (name, labels) in names_in(expression) {
            let mut series = page.lines().filter(|line| {
                line.strip_prefix(&*name).is_some_and(|rest| rest.starts_with(['{', ' ']))
            });
            let one = series.next();
            assert!(one.is_some(), "{expression}: there is no {name}");
            // Which node it is, the one who scrapes adds.
            for label in labels.iter().filter(|label| *label != "instance") {
                let is_there = one.unwrap().contains(&format!("{label}=\""));
                assert!(is_there, "{expression}: {name} has no {label}");
            }
            asked.push(name);
        }
    }
    for name in declared(&page) {
        let is_asked = asked.iter().any(|it| it == name || it.starts_with(&format!("{name}_")));
        assert!(is_asked, "{name} is not in the dashboard");
    }
}

#[test]
fn a_state_folder_that_is_deleted_is_folded_from_the_log_to_the_same_users() {
    let mut node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let body = json!({ "country": "NG", "email": "a@example.com", "password": "one two",
        "profile": { "given_name": "Ada" } });
    let id = shop.register(body);
    let before = shop.user(&id);
    assert_eq!(node.stop(), 0);
    std::fs::remove_dir_all(node.data().join("state")).unwrap();
    node.start();
    let shop = shop.at(&node);
    assert_eq!(shop.user(&id), before);
    shop.login("NG", "a@example.com", "one two").done(200);
    let rebuilt = node.state_hash().0;
    node.stop();
    node.start();
    let restarted = node.state_hash();
    assert_ne!(restarted.0, rebuilt, "a start is an event too");
    assert_eq!(restarted.1, 1);
}

/// Runs the other implementation.
fn python(
    form: &str,
    verb: &str,
    key: [u8; 32],
    context: &Context<'_>,
    value: &[u8],
) -> (i32, Vec<u8>) {
    let script = root().join("tests/vectors/sealing.py");
    let parts: [&[u8]; 5] = [&key, &context.deployment, &context.subject, context.register, value];
    let mut command = Command::new(python_tools().join("bin/python"));
    command.arg(script).args([form, verb]).args(parts.map(hex)).stderr(Stdio::inherit());
    let ran = command.output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).trim().to_owned();
    let bytes = said
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap());
    (ran.status.code().unwrap(), bytes.collect())
}

const SECRET: [u8; 32] = [7; 32];

fn sealed_here(form: &str, context: &Context<'_>, clear: &[u8]) -> Vec<u8> {
    match form {
        "user" => seal(&UserKey::from_bytes(SECRET), context, clear),
        "branch" => BranchKey::from_bytes(SECRET).seal(context, clear),
        "job" => JobKey::from_bytes(SECRET).seal(context, clear),
        _ => {
            let key = UserKey::from_bytes(clear.try_into().unwrap());
            BranchKey::from_bytes(SECRET).wrap(context, &key)
        }
    }
    .unwrap()
}

/// What is opened; of a user key its name.
fn opened_here(form: &str, context: &Context<'_>, sealed: &[u8]) -> Option<Vec<u8>> {
    let opened = match form {
        "user" => open(&UserKey::from_bytes(SECRET), context, sealed),
        "branch" => BranchKey::from_bytes(SECRET).open(context, sealed),
        "job" => JobKey::from_bytes(SECRET).open(context, sealed),
        _ => {
            let opened = BranchKey::from_bytes(SECRET).unwrap_user_key(context, sealed);
            return opened.map(|key| key.id().to_vec()).ok();
        }
    };
    opened.map(|clear| clear.to_vec()).ok()
}

#[test]
fn a_sealed_value_opens_as_the_key_document_says() {
    let context =
        Context { deployment: [1; 16], subject: [2; 16], register: b"a/register", profile: None };
    let elsewhere = [
        Context { deployment: [3; 16], ..context },
        Context { subject: [3; 16], ..context },
        Context { register: b"another", ..context },
    ];
    let other = |form| if form == "user" { "job" } else { "user" };
    for form in ["user", "wrapped", "branch", "job"] {
        let text = |text: &str| text.as_bytes().to_vec();
        let clear = if form == "wrapped" {
            vec![vec![5; 32]]
        } else {
            vec![text(""), text("exactly sixteen."), text("it is longer than one block is")]
        };
        for clear in &clear {
            let ours = sealed_here(form, &context, clear);
            assert_eq!(python(form, "open", SECRET, &context, &ours), (0, clear.clone()), "{form}");
            let (code, theirs) = python(form, "seal", SECRET, &context, clear);
            assert_eq!(code, 0, "{form}");
            let opened = opened_here(form, &context, &theirs).unwrap();
            let id = (form == "wrapped").then(|| UserKey::from_bytes([5; 32]).id().to_vec());
            assert_eq!(opened, id.unwrap_or_else(|| clear.clone()), "{form}");
        }
        // Not elsewhere, not as another form, not under another key, with no bit changed: there
        // and here.
        let sealed = sealed_here(form, &context, &[5; 32]);
        let refused = (3, Vec::new());
        for elsewhere in &elsewhere {
            assert_eq!(python(form, "open", SECRET, elsewhere, &sealed), refused, "{form}");
            assert_eq!(opened_here(form, elsewhere, &sealed), None, "{form}");
        }
        assert_eq!(python(other(form), "open", SECRET, &context, &sealed), refused, "{form}");
        assert_eq!(opened_here(other(form), &context, &sealed), None, "{form}");
        assert_eq!(python(form, "open", [8; 32], &context, &sealed), refused, "{form}");
        assert_eq!(python(form, "flips", SECRET, &context, &sealed), refused, "{form}");
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(opened_here(form, &context, &changed), None, "{form}: bit {bit}");
        }
    }
}
