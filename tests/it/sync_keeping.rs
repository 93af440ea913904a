//! Bulk syncs over the lives of a node: jobs that wait, that are told to end, and that a node finds
//! when it starts.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::clock::{say, take_time_from};
use crate::node::{Company, Node, files_below, wait_for};
use crate::syncing::{job, lines, over, post, verdicts, words};

/// So many seconds from now, as a row writes it.
fn at(seconds: u64) -> String {
    (jiff::Timestamp::now() + Duration::from_secs(seconds)).to_string()
}

fn row(name: &str) -> Value {
    json!({ "email": format!("{name}@example.com") })
}

fn row_at(name: &str, seconds: u64) -> Value {
    json!({ "email": format!("{name}@example.com"), "changed_at": at(seconds) })
}

fn cancel(shop: &Company, id: &str) {
    shop.call("DELETE", &format!("/v1/sync/{id}"), Value::Null).done(200);
}

/// A file of a job.
fn file(node: &Node, job: &str, part: &str) -> PathBuf {
    let (_, number) = job.split_once('.').unwrap();
    node.data().join("sync").join(format!("{number}.{part}"))
}

#[test]
fn a_job_that_was_told_to_end_stays_so_after_a_kill() {
    let mut node = Node::started(&[("sync.rows_at_once", "1")]);
    let shop = node.company("shop", &["NG"]);
    let rows: Vec<_> = (0..20_000).map(|number| row(&number.to_string())).collect();
    let running = post(&shop, &lines(&rows));
    let queued = post(&shop, &lines(&rows[..1]));
    wait_for("some users", || (node.state_hash().1 > 0).then_some(()));
    cancel(&shop, &queued);
    cancel(&shop, &running);
    node.kill();
    let ended = |node: &Node| {
        let shop = shop.at(node);
        let ended = [&running, &queued].map(|id| over(&shop, id));
        assert_eq!(ended.each_ref().map(|job| &job["state"]), ["cancelled"; 2], "{ended:?}");
        assert_eq!(verdicts(&shop, &running).len() as u64, ended[0]["created"].as_u64().unwrap());
        for id in [&running, &queued] {
            assert!(!file(node, id, "rows").exists(), "the rows are kept");
        }
        (ended, node.state_hash().1)
    };
    node.start();
    let before = ended(&node);
    assert!(before.1 < 20_000);
    node.kill();
    node.start();
    assert_eq!(ended(&node), before);
}

#[test]
fn rows_that_a_kill_left_of_a_job_that_is_over_are_removed_at_the_next_start() {
    let mut node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let id = post(&shop, &lines(&[row("ada"), row_at("bola", 2)]));
    let path = file(&node, &id, "rows");
    let rows = std::fs::read(&path).unwrap();
    let done = over(&shop, &id);
    assert_eq!((&done["state"], &done["created"]), (&json!("done"), &json!(2)));
    node.kill();
    assert!(!path.exists(), "the rows are kept");
    // As it is where the node is killed between the end and that.
    std::fs::write(&path, rows).unwrap();
    node.start();
    let shop = shop.at(&node);
    assert_eq!(job(&shop, &id), done);
    assert!(!path.exists(), "the rows are still there");
    assert_eq!(verdicts(&shop, &id).len(), 2);
}

#[test]
fn a_job_whose_note_cannot_be_read_once_is_not_thrown_away() {
    let mut node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let id = post(&shop, &lines(&[row("ada"), row_at("bola", 50)]));
    wait_for("the job to wait", || (job(&shop, &id)["created"] == 1).then_some(()));
    node.kill();
    let path = file(&node, &id, "note");
    let noted = std::fs::read(&path).unwrap();
    let folder = node.data().join("sync");
    let kept = || {
        let files = files_below(&folder).into_iter();
        let parts = files.filter(|(it, _)| *it != path).collect::<Vec<_>>();
        assert_eq!(parts.len(), 2, "rows and verdicts");
        parts
    };
    let before = kept();
    // Damaged, of a program that is newer, and none that can be read at all.
    for wrong in [Some(&b"{"[..]), Some(br#"{"version":99}"#), None] {
        std::fs::remove_file(&path).unwrap();
        match wrong {
            Some(wrong) => std::fs::write(&path, wrong).unwrap(),
            None => std::fs::create_dir(&path).unwrap(),
        }
        node.start();
        let shop = shop.at(&node);
        shop.call("GET", &format!("/v1/sync/{id}"), Value::Null).refused(404, "job_not_found");
        assert!(node.output().contains("a job's note cannot be read"));
        node.kill();
        assert_eq!(kept(), before);
        if wrong.is_none() {
            std::fs::remove_dir(&path).unwrap();
            std::fs::write(&path, &noted).unwrap();
        }
    }
    node.start();
    let shop = shop.at(&node);
    let done = over(&shop, &id);
    assert_eq!((&done["state"], &done["created"]), (&json!("done"), &json!(2)), "{done}");
    assert_eq!(words(&verdicts(&shop, &id)), ["created", "created"]);
}

#[test]
fn a_job_that_waits_ends_at_once_when_it_is_told_to_and_stops_with_its_node() {
    let mut node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let started = Instant::now();
    let told = post(&shop, &lines(&[row("ada"), row_at("bola", 55)]));
    wait_for("the job to wait", || (job(&shop, &told)["created"] == 1).then_some(()));
    cancel(&shop, &told);
    let ended = over(&shop, &told);
    assert_eq!((&ended["state"], &ended["created"]), (&json!("cancelled"), &json!(1)));
    let id = post(&shop, &lines(&[row("cece"), row_at("dayo", 20)]));
    wait_for("the job to wait", || (job(&shop, &id)["created"] == 1).then_some(()));
    assert_eq!(node.stop(), 0);
    assert!(started.elapsed() < Duration::from_secs(50), "it waited");
    node.start();
    let shop = shop.at(&node);
    assert_eq!(over(&shop, &id)["created"], 2);
    assert_eq!(words(&verdicts(&shop, &id)), ["created", "created"]);
    assert_eq!(node.state_hash().1, 3);
}

#[test]
fn rows_that_wait_before_others_do_not_hide_what_a_killed_node_had_applied() {
    let mut node = Node::started(&[("sync.rows_at_once", "1")]);
    let shop = node.company("shop", &["NG"]);
    // More than are applied at once, so that they are all of the first batch after every start.
    let mut rows: Vec<_> = (0..2500).map(|number| row_at(&format!("w{number}"), 15)).collect();
    rows.extend((0..4000).map(|number| row(&number.to_string())));
    let id = post(&shop, &lines(&rows));
    for users in [300, 2300] {
        wait_for("some users", || (node.state_hash().1 >= users).then_some(()));
        node.kill();
        node.start();
    }
    let shop = shop.at(&node);
    let done = over(&shop, &id);
    assert_eq!((&done["state"], &done["created"]), (&json!("done"), &json!(6500)), "{done}");
    let told = verdicts(&shop, &id);
    let numbers: Vec<_> = told.iter().map(|row| row["line"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=6500).collect::<Vec<_>>());
    assert_eq!(node.state_hash().1, 6500);
}

#[test]
fn times_are_held_against_when_rows_came_however_long_their_job_was_in_line() {
    let folder = tempfile::tempdir().unwrap();
    let time = folder.path().join("time");
    say(&time, "+0");
    let mut node = Node::new(&[]);
    take_time_from(&mut node, &time);
    node.start();
    let shop = node.company("shop", &["NG"]);
    let first = post(&shop, &lines(&[row_at("ada", 55)]));
    let rows = [row("bola"), row_at("cece", 50), row_at("dayo", 90), row_at("efe", 0)];
    let second = post(&shop, &lines(&rows));
    wait_for("the first to wait", || (job(&shop, &first)["state"] == "running").then_some(()));
    assert_eq!(job(&shop, &second)["state"], "queued");
    // The clock goes on by two minutes.
    say(&time, "+120");
    assert_eq!(over(&shop, &first)["created"], 1);
    assert_eq!(over(&shop, &second)["state"], "done");
    let words = words(&verdicts(&shop, &second));
    let refused = "invalid changed_at_in_future changed_at";
    assert_eq!(words, ["created", "created", refused, "created"]);
}
