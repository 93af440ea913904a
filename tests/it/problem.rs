//! What every refusal looks like, whatever it refuses, and what it leaves behind: nothing.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;

use serde_json::Value;

use crate::node::{Answer, Node};

/// A part of every secret value that these tests send. No refusal repeats it.
pub const MARK: &str = "s3cr3t";

/// Asserts status, code and shape of a refusal, and that it repeats nothing secret.
#[track_caller]
pub fn problem(answer: &Answer, status: u16, code: &str) {
    answer.refused(status, code);
    let body = &answer.body;
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{body}");
    assert_eq!(body["type"], format!("urn:jcas:problem:{code}"));
    assert_eq!(body["status"], status);
    for name in ["title", "detail"] {
        assert!(body[name].as_str().is_some_and(|text| !text.is_empty()), "no {name}: {body}");
    }
    assert_eq!(body["request_id"].as_str(), answer.header("x-request-id"), "{body}");
    let errors = body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    assert_eq!(code == "invalid_fields", !errors.is_empty(), "{body}");
    for error in errors {
        for name in ["field", "code", "detail"] {
            assert!(error[name].as_str().is_some_and(|text| !text.is_empty()), "{body}");
        }
    }
    let waits = matches!(status, 429 | 503);
    let seconds = answer.header("retry-after").and_then(|text| text.parse::<u64>().ok());
    assert_eq!(waits, seconds.is_some_and(|seconds| seconds > 0), "Retry-After: {seconds:?}");
    assert_silent(answer);
}

/// Asserts that an answer repeats nothing secret, in its headers or its body.
#[track_caller]
pub fn assert_silent(answer: &Answer) {
    let headers = answer.headers.iter().map(|(name, value)| format!("{name}: {value}\n"));
    let whole = headers.collect::<String>() + &answer.text;
    assert!(!whole.to_lowercase().contains(MARK), "it repeats what was sent: {whole}");
}

/// Asserts a refusal with one wrong field.
#[track_caller]
pub fn wrong_field(answer: &Answer, field: &str, code: &str) {
    problem(answer, 422, "invalid_fields");
    let errors = answer.body["errors"].as_array().unwrap();
    let named = errors.iter().any(|error| error["field"] == field && error["code"] == code);
    assert!(named, "{field} is not named as {code}: {}", answer.text);
}

/// The state before something that must change nothing.
pub struct Untouched<'a> {
    node: &'a Node,
    before: (String, u64),
}

impl<'a> Untouched<'a> {
    /// Remembers the state as it is.
    pub fn of(node: &'a Node) -> Self {
        Self { node, before: node.state_hash() }
    }

    /// Asserts that no event was recorded since.
    #[track_caller]
    pub fn holds(&self) {
        assert_eq!(self.node.state_hash(), self.before, "something was recorded");
    }
}

/// Sends bytes as they are and reads one answer. `close` says whether the sending half is closed
/// after them. A connection that ends without an answer is status 0.
pub fn raw(node: &Node, bytes: &[u8], close: bool) -> Answer {
    let mut stream = node.connect();
    // A server may answer and close before it has read everything.
    drop(stream.write_all(bytes));
    if close {
        drop(stream.shutdown(Shutdown::Write));
    }
    let mut got = Vec::new();
    let mut chunk = [0; 4096];
    while !is_whole(&got) {
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => break,
            Ok(count) => got.extend_from_slice(&chunk[..count]),
        }
    }
    read_answer(&got)
}

fn head_end(got: &[u8]) -> Option<usize> {
    got.windows(4).position(|window| window == b"\r\n\r\n")
}

fn is_whole(got: &[u8]) -> bool {
    let Some(end) = head_end(got) else { return false };
    let length = read_answer(got).header("content-length").and_then(|text| text.parse().ok());
    got.len() >= end + 4 + length.unwrap_or(0_usize)
}

fn read_answer(got: &[u8]) -> Answer {
    let end = head_end(got).unwrap_or(got.len());
    let head = String::from_utf8_lossy(&got[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
    let mut text = String::from_utf8_lossy(got.get(end + 4..).unwrap_or_default()).into_owned();
    let mut answer =
        Answer { status: status.unwrap_or(0), headers: headers.collect(), body: Value::Null, text };
    // What comes behind is another answer.
    text = std::mem::take(&mut answer.text);
    if let Some(length) = answer.header("content-length").and_then(|text| text.parse().ok()) {
        text.truncate(length);
    }
    answer.body = serde_json::from_str(&text).unwrap_or(Value::Null);
    answer.text = text;
    answer
}
