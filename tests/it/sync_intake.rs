//! Bulk syncs: what a stream may take of the node, and what it may not.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::node::{Answer, Company, Node, PATIENCE, files_below, pause, wait_for};
use crate::syncing::{begin, over, post, post_bytes, verdicts};

/// Longer than any test sends.
const ENDLESS: usize = 1 << 40;

const MIB: usize = 1 << 20;

/// Reads the answer to a stream that has not ended.
#[track_caller]
fn answer(mut stream: TcpStream) -> Answer {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = serde_json::from_str(body).unwrap_or(Value::Null);
    Answer { status, text: text.clone(), body, headers: Vec::new() }
}

/// Nothing of a stream is left: no file, no job.
#[track_caller]
fn assert_nothing_left(node: &Node, company: &Company) {
    let left = files_below(&node.data().join("sync"));
    assert!(left.is_empty(), "{} files are left", left.len());
    assert_eq!(company.call("GET", "/v1/sync", Value::Null).body["jobs"], json!([]));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

#[test]
fn a_stream_without_an_end_is_refused_once_it_is_longer_than_any_may_be() {
    let node = Node::started(&[("sync.company_mib", "1")]);
    let shop = node.company("shop", &["NG"]);
    let coding = "Content-Encoding: gzip\r\n";
    // A line that never ends; a small gzip of much; a gzip of any number of parts with nothing.
    let line = vec![b'x'; MIB + 1];
    let nothing = gzip(b"");
    let mut parts = nothing.repeat(MIB / nothing.len());
    parts.extend_from_slice(&nothing);
    let small = gzip(&line.repeat(2));
    for (headers, bytes) in [("", line), (coding, small), (coding, parts)] {
        let mut stream = begin(&node, &shop, headers, ENDLESS);
        stream.write_all(&bytes).unwrap();
        answer(stream).refused(413, "body_too_large");
        assert_nothing_left(&node, &shop);
    }
    let whole = "\n".repeat(100);
    assert_eq!(over(&shop, &post(&shop, &whole))["state"], "done");
}

#[test]
fn a_stream_that_comes_well_but_does_not_end_is_refused_when_its_time_is_over() {
    let node = Node::started(&[("sync.upload_s", "1")]);
    let shop = node.company("shop", &["NG"]);
    let mut stream = begin(&node, &shop, "", ENDLESS);
    stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    let (started, mut first) = (Instant::now(), [0]);
    loop {
        assert!(started.elapsed() < PATIENCE, "it is taken without end");
        stream.write_all(&[b'x'; 64]).unwrap();
        match stream.peek(&mut first) {
            Ok(_) => break,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => panic!("{error}"),
        }
        pause();
    }
    answer(stream).refused(408, "request_timeout");
    assert_nothing_left(&node, &shop);
}

#[test]
fn the_verdicts_on_rows_count_as_what_a_company_takes() {
    let node = Node::started(&[("sync.company_mib", "1")]);
    let (shop, other) = (node.company("shop", &["NG"]), node.company("other", &["NG"]));
    // Rows of three bytes, whose verdicts take much more.
    post_bytes(&node, &shop, "", "{}\n".repeat(20_000).as_bytes()).refused(413, "body_too_large");
    assert_nothing_left(&node, &shop);
    let rows = "{}\n".repeat(2_400);
    let taken = || files_below(&node.data().join("sync")).iter().map(|(_, it)| it.len()).sum();
    let mut jobs = 0;
    let refused = loop {
        let answer = post_bytes(&node, &shop, "", rows.as_bytes());
        let bytes: usize = taken();
        assert!(bytes <= MIB + 64 * 1024, "{jobs} jobs take {bytes} bytes");
        if answer.status != 202 {
            break answer;
        }
        let id = answer.body["job_id"].as_str().unwrap();
        assert_eq!(over(&shop, id)["invalid"], 2_400);
        jobs += 1;
        assert!(jobs < 100, "there is no end to it");
    };
    refused.refused(429, "rate_limited");
    assert!(jobs > 0);
    let id = post(&other, &rows);
    assert_eq!(over(&other, &id)["invalid"], 2_400);
    assert_eq!(verdicts(&other, &id).len(), 2_400);
}

#[test]
fn a_stream_that_is_told_to_end_while_it_comes_is_a_job_that_does_nothing() {
    let mut node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let row = b"{\"email\":\"ada@example.com\"}\n";
    let mut stream = begin(&node, &shop, "", row.len());
    stream.write_all(&row[..5]).unwrap();
    let id = wait_for("the stream to begin", || {
        let jobs = shop.call("GET", "/v1/sync", Value::Null).done(200).body.clone();
        Some(jobs["jobs"][0]["job_id"].as_str()?.to_owned())
    });
    shop.call("DELETE", &format!("/v1/sync/{id}"), Value::Null).done(200);
    stream.write_all(&row[5..]).unwrap();
    answer(stream).done(202);
    assert_eq!(over(&shop, &id)["state"], "cancelled");
    node.kill();
    node.start();
    assert_eq!(over(&shop.at(&node), &id)["state"], "cancelled");
    assert_eq!(node.state_hash().1, 0);
}
