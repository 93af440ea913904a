//! Bulk syncs beside a disk that is full: what is refused is refused whole, and what is under way
//! waits for space and comes to its end.

use serde_json::{Value, json};

use crate::disk::Failing;
use crate::node::{files_below, wait_for};
use crate::problem::problem;
use crate::syncing::{job, lines, over, post, post_to, synced, verdicts};

/// Rows of so many people, every fifth of which is wrong.
pub fn rows(count: usize) -> Vec<Value> {
    let row = |number: usize| match number % 5 {
        4 => json!({ "ref": number, "email": format!("no {number}") }),
        _ => json!({ "ref": number, "email": format!("{number}@example.com") }),
    };
    (0..count).map(row).collect()
}

/// A job whose disk fills under it and has room again; nothing of it is lost or told twice.
fn goes_on_when_there_is_space(part: &str, is_full: impl Fn(&Failing) -> bool) {
    const COUNT: usize = 8_000;
    let mut failing = Failing::started(part, &[("sync.rows_at_once", "8")]);
    let shop = failing.node.company("shop", &["NG"]);
    let rows = rows(COUNT);
    let id = post(&shop, &lines(&rows));
    wait_for("some verdicts", || (job(&shop, &id)["created"].as_u64() > Some(0)).then_some(()));
    failing.begin("full");
    wait_for("the node to find no space", || is_full(&failing).then_some(()));
    let waits = job(&shop, &id);
    assert_eq!(waits["state"], "running", "{waits}");
    failing.end("full");
    let done = over(&shop, &id);
    let (bad, good) = (COUNT / 5, COUNT - COUNT / 5);
    assert_eq!(
        (&done["state"], &done["created"], &done["invalid"]),
        (&json!("done"), &json!(good), &json!(bad)),
        "{done}"
    );
    let told = verdicts(&shop, &id);
    let numbers: Vec<_> = told.iter().map(|row| row["line"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=COUNT as u64).collect::<Vec<_>>());
    assert_eq!(failing.node.state_hash().1, good as u64);
    failing.node.kill();
    failing.node.start();
    let shop = shop.at(&failing.node);
    assert_eq!(job(&shop, &id), done);
    assert_eq!(failing.node.state_hash().1, good as u64);
    assert!(synced(&shop, &rows[..4]).iter().all(|word| word == "unchanged"));
}

#[test]
fn a_job_waits_while_there_is_no_space_for_verdicts() {
    goes_on_when_there_is_space("/jcas-data/sync/", |failing| {
        failing.node.output().contains("verdicts of a bulk sync cannot be kept")
    });
}

#[test]
fn a_job_waits_while_there_is_no_space_for_events() {
    goes_on_when_there_is_space("/jcas-data/log/", |failing| {
        failing.health().body["checks"].to_string().contains("the disk is full")
    });
}

#[test]
fn a_stream_that_finds_no_space_is_refused_and_leaves_nothing() {
    let failing = Failing::started("/jcas-data/sync/", &[]);
    let shop = failing.node.company("shop", &["NG"]);
    let rows = rows(500);
    failing.begin("full");
    let refused = post_to(&shop, "/v1/sync?country=NG", &lines(&rows));
    problem(&refused, 503, "read_only");
    let left = files_below(&failing.node.data().join("sync"));
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(shop.call("GET", "/v1/sync", Value::Null).body["jobs"], json!([]));
    assert_eq!(failing.node.state_hash().1, 0);
    // Everything else goes on.
    shop.register(json!({ "country": "NG", "email": "ada@example.com", "password": "p" }));
    failing.end("full");
    let done = over(&shop, &post(&shop, &lines(&rows)));
    assert_eq!((&done["created"], &done["invalid"]), (&json!(400), &json!(100)));
}
