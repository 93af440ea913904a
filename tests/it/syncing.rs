//! A company that syncs: streams of rows, and what became of them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::node::{Answer, Company, Node, PATIENCE, wait_for};
use crate::signed::base64url;

/// Lines of JSON.
pub fn lines(rows: &[Value]) -> String {
    let mut text = String::new();
    for row in rows {
        text.push_str(&row.to_string());
        text.push('\n');
    }
    text
}

/// Sends rows, and comes back with the job's id.
#[track_caller]
pub fn post(company: &Company, rows: &str) -> String {
    let answer = post_to(company, "/v1/sync?country=NG", rows);
    answer.done(202).body["job_id"].as_str().unwrap().to_owned()
}

/// Sends rows to a target.
pub fn post_to(company: &Company, target: &str, rows: &str) -> Answer {
    company.call_raw("POST", target, &[("Content-Type", "application/x-ndjson")], Some(rows))
}

/// Begins an upload of bytes for Nigeria.
pub fn begun(company: &Company, bytes: &[u8]) -> Answer {
    let digest = base64url(Sha256::digest(bytes));
    let asked = json!({ "country": "NG", "length": bytes.len(), "digest": digest });
    company.call("POST", "/v1/sync/uploads", asked)
}

/// Sends a part of an upload.
pub fn put_part(company: &Company, target: &str, part: &str) -> Answer {
    company.call_raw("PUT", target, &[("Content-Type", "application/octet-stream")], Some(part))
}

/// A job as it is now.
#[track_caller]
pub fn job(company: &Company, id: &str) -> Value {
    company.call("GET", &format!("/v1/sync/{id}"), Value::Null).done(200).body.clone()
}

/// Waits until a job is over.
#[track_caller]
pub fn over(company: &Company, id: &str) -> Value {
    wait_for("the job to be over", || {
        let job = job(company, id);
        ["done", "failed", "cancelled"].contains(&job["state"].as_str().unwrap()).then_some(job)
    })
}

/// Every verdict of a job that is over, in the order of lines.
#[track_caller]
pub fn verdicts(company: &Company, id: &str) -> Vec<Value> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let page =
            company.call("GET", &format!("/v1/sync/{id}/rows?limit=1000{after}"), Value::Null);
        all.extend(page.done(200).body["rows"].as_array().unwrap().iter().cloned());
        if page.body["has_more"] == false {
            break;
        }
        after = format!("&after={}", page.body["next"].as_str().unwrap());
    }
    all.sort_by_key(|row| row["line"].as_u64());
    all
}

/// Sends rows, waits, and comes back with the verdicts as words: `created`, or with a code and a
/// field `invalid invalid_email email`.
#[track_caller]
pub fn synced(company: &Company, rows: &[Value]) -> Vec<String> {
    sync_text(company, "/v1/sync?country=NG", &lines(rows))
}

/// The same with text as it is, to a target.
#[track_caller]
pub fn sync_text(company: &Company, target: &str, text: &str) -> Vec<String> {
    let answer = post_to(company, target, text);
    let id = answer.done(202).body["job_id"].as_str().unwrap().to_owned();
    assert_eq!(over(company, &id)["state"], "done");
    words(&verdicts(company, &id))
}

/// Verdicts as words.
pub fn words(verdicts: &[Value]) -> Vec<String> {
    let word = |row: &Value| {
        let parts = ["verdict", "code", "field"].map(|name| row[name].as_str().unwrap_or_default());
        parts.join(" ").trim_end().to_owned()
    };
    verdicts.iter().map(word).collect()
}

/// The users a job's rows came to, by line.
pub fn users(verdicts: &[Value]) -> Vec<String> {
    let user = |row: &Value| row["user_id"].as_str().unwrap_or_default().to_owned();
    verdicts.iter().map(user).collect()
}

/// Begins to send bytes as rows, as a stream that declares this length.
pub fn begin(node: &Node, company: &Company, headers: &str, length: usize) -> TcpStream {
    let mut stream = node.connect();
    let head = format!(
        "POST /v1/sync?country=NG HTTP/1.1\r\nHost: jcas\r\nX-Api-Key: {}\r\nContent-Type: \
         application/x-ndjson\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n",
        company.key
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

/// Sends bytes that need not be text.
pub fn post_bytes(node: &Node, company: &Company, headers: &str, bytes: &[u8]) -> Answer {
    let mut stream = begin(node, company, headers, bytes.len());
    stream.write_all(bytes).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body: Value = serde_json::from_str(body).unwrap_or(Value::Null);
    Answer { status, text: text.clone(), body, headers: Vec::new() }
}
