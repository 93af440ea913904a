//! What docker-compose.yml and the Dockerfile say can be started, is healthy, takes README's calls
//! and stops as it should; and the image is built from all it needs.

use std::path::Path;
use std::process::Command;

use crate::commands::{SHOWN_URL, marked};
use crate::node::{Node, files_below};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap()
}

#[test]
fn the_readmes_calls_are_answered_by_what_the_compose_file_starts() {
    let blocks = marked("README.md", "");
    let script: Vec<String> = blocks.into_iter().flat_map(|block| block.commands).collect();
    let script = script.join("\n").replace(SHOWN_URL, "$PUBLISHED");
    let script = format!("PUBLISHED=$JCAS_URL\njcas health\n{script}");
    let mut started = Command::new(root().join("scripts/compose-without-docker"));
    started.args(["--free-ports", "--program", env!("CARGO_BIN_EXE_jcas")]);
    let output = started.args(["sh", "-e", "-x", "-c", &script]).output().unwrap();
    let answers = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{answers}");
    assert!(answers.contains("\"upgraded\":true"), "{said}\n{answers}");
    for service in ["node", "broker"] {
        assert!(said.contains(&format!("{service}: healthy")), "{said}");
    }
}

#[test]
fn a_command_that_fails_is_not_taken_for_one_that_worked() {
    let script = root().join("scripts/compose-without-docker");
    let refused = Command::new(&script).arg("--unknown").output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let missing = Command::new(&script).args(["--program", "/nowhere"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(1));
    let help = Command::new(&script).arg("--help").output().unwrap();
    assert!(help.status.success() && !help.stdout.is_empty());
}

/// The words of a Dockerfile's lines that begin with this one.
fn lines<'a>(dockerfile: &'a str, word: &'a str) -> impl Iterator<Item = Vec<&'a str>> {
    let lines =
        dockerfile.lines().filter_map(move |line| line.strip_prefix(word)?.strip_prefix(' '));
    lines.map(|rest| rest.split(' ').collect())
}

#[test]
fn the_image_is_built_from_all_the_program_is_made_of() {
    let dockerfile = text("Dockerfile");
    let mut copied = Vec::new();
    for words in lines(&dockerfile, "COPY").filter(|words| !words[0].starts_with("--")) {
        for source in &words[..words.len() - 1] {
            assert!(root().join(source).exists(), "COPY {source}");
            copied.push((*source).to_owned());
        }
    }
    let let_through = text(".dockerignore");
    for source in &copied {
        assert!(let_through.contains(&format!("!{source}\n")), ".dockerignore keeps {source} out");
    }
    let is_copied = |path: &str| copied.iter().any(|source| path.starts_with(source.as_str()));
    let mut named = 0;
    for (path, bytes) in files_below(&root().join("src")) {
        let source = String::from_utf8(bytes).unwrap();
        for after in source.split("include_str!(\"").skip(1) {
            let target = path.parent().unwrap().join(after.split('"').next().unwrap());
            let target = target.canonicalize().unwrap();
            let target = target.strip_prefix(root().canonicalize().unwrap()).unwrap();
            assert!(is_copied(target.to_str().unwrap()), "{} is not copied", target.display());
            named += 1;
        }
    }
    for line in text("Cargo.toml").lines().filter_map(|line| line.strip_prefix("path = \"")) {
        assert!(is_copied(line), "{line} is not copied");
        named += 1;
    }
    assert!(named > 5, "only {named} files were looked for");
}

#[test]
fn the_image_runs_as_nobody_in_particular_and_is_stopped_softly() {
    let (dockerfile, compose) = (text("Dockerfile"), text("docker-compose.yml"));
    let last = |word| lines(&dockerfile, word).last().unwrap_or_default().join(" ");
    let user: u32 = last("USER").split(':').next().unwrap().parse().unwrap();
    assert!(user > 0);
    assert_eq!(last("STOPSIGNAL"), "SIGTERM");
    assert!(last("HEALTHCHECK").ends_with(r#"CMD ["jcas", "health"]"#));
    for said in ["read_only: true", r#"cap_drop: ["ALL"]"#, "no-new-privileges:true"] {
        assert!(compose.contains(said), "{said}");
    }
    // The time to stop in is longer than the program takes.
    let grace_s = compose.split("stop_grace_period: ").nth(1).unwrap().split('s').next().unwrap();
    assert!(grace_s.parse::<u64>().unwrap() > shutdown_s());
}

/// How long the program may take to stop, in seconds.
fn shutdown_s() -> u64 {
    let settings = text("config/default.toml");
    let after = settings.split("\nshutdown_s = ").nth(1).unwrap();
    after.lines().next().unwrap().parse().unwrap()
}

#[test]
fn the_unit_for_systemd_starts_what_there_is_and_gives_it_time_to_stop() {
    let unit = text("docs/systemd/jcas.service");
    let value = |name: &str| {
        let line = unit.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_else(|| unreachable!("there is no {name}"))
    };
    let mut words = value("ExecStart").split(' ');
    assert_eq!(words.next(), Some("/usr/local/bin/jcas"));
    let node = Node::new(&[]);
    let mut arguments: Vec<_> = words.collect();
    arguments.push("--help");
    assert_eq!(node.run(&arguments).0, 0, "{arguments:?}");
    let settings = root().join("docs/systemd/jcas.toml");
    let checked = Command::new(env!("CARGO_BIN_EXE_jcas"))
        .args(["--config", settings.to_str().unwrap(), "check-config"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && said.contains("/var/lib/jcas/data"), "{said}");
    assert!(value("TimeoutStopSec").parse::<u64>().unwrap() > shutdown_s());
    assert_ne!(value("User"), "root");
}

#[test]
fn health_says_how_the_node_is_and_fails_when_it_is_not() {
    let mut node = Node::started(&[]);
    let (code, said, errors) = node.run(&["health"]);
    assert_eq!((code, errors.as_str()), (0, ""));
    assert_eq!(said, "ready\n  log: ok\n  clock: ok\n  hash_pool: ok\n");
    let (code, said, _) = node.run(&["health", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &report["status"]), (0, &serde_json::json!("ready")));
    assert_eq!(node.stop(), 0);
    let (code, said, errors) = node.run(&["health"]);
    assert_eq!((code, said.as_str()), (1, ""));
    assert!(errors.contains("is jcas running?"), "{errors}");
}
