//! Bulk sync in parts: what was cut off goes on where it was, and nothing is applied before all of
//! it is here and is what was announced.

use std::io::Write as _;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::node::{Answer, Company, Node, files_below, wait_for};
use crate::signed::base64url;
use crate::sync_command::{Door, Shop};
use crate::syncing::{begun, lines, over, put_part};

/// A file of the command's that takes several parts: its rows, and the notes of each.
const ROWS: usize = 1000;
const NOTES: usize = 8;
const MIB: usize = 1024 * 1024;

fn path(upload: &Answer) -> String {
    format!("/v1/sync/uploads/{}", upload.body["upload_id"].as_str().unwrap())
}

fn offset(company: &Company, path: &str) -> u64 {
    company.call("GET", path, Value::Null).done(200).body["offset"].as_u64().unwrap()
}

fn rows(count: usize) -> String {
    let row = |number| json!({ "email": format!("{number}@example.com") });
    lines(&(0..count).map(row).collect::<Vec<_>>())
}

#[track_caller]
fn nothing_lies_there(node: &Node) {
    assert!(files_below(&node.data().join("sync/uploads")).is_empty(), "parts are left");
}

#[test]
fn parts_become_a_job_with_the_last_of_them_and_the_end_may_be_asked_for_again() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let text = rows(5000);
    let upload = begun(&shop, text.as_bytes());
    assert_eq!(upload.done(200).body["offset"], 0);
    let (path, half) = (path(&upload), text.len() / 2);
    let part = put_part(&shop, &format!("{path}/0"), &text[..half]);
    assert_eq!(part.done(200).body["offset"], half);
    assert!(part.body.get("job_id").is_none());
    // It is found again, and is among the jobs until it is whole.
    let again = begun(&shop, text.as_bytes());
    assert_eq!(
        (&again.done(200).body["offset"], &again.body["upload_id"]),
        (&json!(half), &upload.body["upload_id"])
    );
    let jobs = shop.call("GET", "/v1/sync", Value::Null).done(200).body["jobs"].clone();
    assert_eq!((&jobs[0]["state"], jobs.as_array().unwrap().len()), (&json!("receiving"), 1));
    for wrong in [0, half - 1, half + 1, text.len()] {
        let refused = put_part(&shop, &format!("{path}/{wrong}"), &text[half..]);
        refused.refused(409, "upload_offset_mismatch");
    }
    put_part(&shop, &format!("{path}/{half}"), &format!("{}x", &text[half..]))
        .refused(413, "body_too_large");
    assert_eq!(offset(&shop, &path), half as u64, "what was refused left nothing");
    put_part(&shop, &format!("{path}/half"), "x").refused(422, "invalid_fields");
    shop.call_raw("PUT", &format!("{path}/{half}"), &[], Some("x"))
        .refused(415, "unsupported_media_type");
    assert_eq!(node.state_hash().1, 0);
    let last = put_part(&shop, &format!("{path}/{half}"), &text[half..]);
    let job = last.done(200).body["job_id"].as_str().unwrap().to_owned();
    assert_eq!(over(&shop, &job)["created"], 5000);
    let end = put_part(&shop, &format!("{path}/{}", text.len()), "");
    assert_eq!(end.done(200).body["job_id"], job);
    assert_eq!(offset(&shop, &path), text.len() as u64);
    // The next day's file is another upload, with the same bytes as well.
    let next = begun(&shop, text.as_bytes());
    assert_ne!(next.done(200).body["upload_id"], upload.body["upload_id"]);
    let empty = begun(&shop, b"");
    let end = put_part(&shop, &format!("{}/0", self::path(&empty)), "");
    assert_eq!(over(&shop, end.done(200).body["job_id"].as_str().unwrap())["rows"], 0);
}

#[test]
fn what_is_not_what_was_announced_is_not_applied_and_gone() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let text = rows(10);
    let upload = begun(&shop, text.as_bytes());
    let other = text.replace("0@example", "0@exemple");
    let path = path(&upload);
    put_part(&shop, &format!("{path}/0"), &other).refused(400, "body_digest_mismatch");
    shop.call("GET", &path, Value::Null).refused(404, "not_found");
    nothing_lies_there(&node);
    // No gzip, and gzip that breaks off.
    let digest = base64url(Sha256::digest(&text));
    let asked = json!({ "country": "NG", "gzip": true, "length": text.len(), "digest": digest });
    let upload = shop.call("POST", "/v1/sync/uploads", asked);
    put_part(&shop, &format!("{}/0", self::path(&upload)), &text).refused(400, "malformed_json");
    nothing_lies_there(&node);
    assert_eq!(shop.call("GET", "/v1/sync", Value::Null).body["jobs"], json!([]));
    assert_eq!(node.state_hash().1, 0);
    for (name, value) in [("digest", json!("short")), ("length", json!(-1)), ("more", json!(1))] {
        let mut asked = json!({ "country": "NG", "length": 1, "digest": base64url([0; 32]) });
        asked[name] = value;
        shop.call("POST", "/v1/sync/uploads", asked).refused(422, "invalid_fields");
    }
}

#[test]
fn an_upload_is_its_companys_has_its_room_and_may_be_taken_back() {
    let node = Node::started(&[("sync.company_mib", "1"), ("sync.total_mib", "1")]);
    let (shop, other) = (node.company("shop", &["NG"]), node.company("other", &["NG"]));
    let big = vec![b'\n'; 700 * 1024];
    let upload = begun(&shop, &big);
    let path = path(upload.done(200));
    begun(&shop, &vec![b' '; 400 * 1024]).refused(429, "rate_limited");
    begun(&shop, &vec![b' '; 1100 * 1024]).refused(413, "body_too_large");
    begun(&other, &big).refused(503, "overloaded");
    other.call("GET", &path, Value::Null).refused(404, "not_found");
    put_part(&other, &format!("{path}/0"), "x").refused(404, "not_found");
    let elsewhere = path.replace("node-1.", "node-9.");
    shop.call("GET", &elsewhere, Value::Null).refused(503, "job_node_unreachable");
    put_part(&shop, &format!("{path}/0"), "\n\n").done(200);
    let job = upload.body["upload_id"].as_str().unwrap();
    let ended = shop.call("DELETE", &format!("/v1/sync/{job}"), Value::Null);
    assert_eq!(ended.done(200).body["state"], "cancelled");
    shop.call("GET", &path, Value::Null).refused(404, "not_found");
    nothing_lies_there(&node);
    begun(&other, &big).done(200);
}

#[test]
fn an_upload_outlives_the_node_lies_there_sealed_and_ends_in_time() {
    let mut node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let text = rows(20_000);
    let path = path(begun(&shop, text.as_bytes()).done(200));
    put_part(&shop, &format!("{path}/0"), &text[..1000]).done(200);
    // Half a part: what came of it before the kill is nobody's.
    let mut half = node.connect();
    let head = format!(
        "PUT {path}/1000 HTTP/1.1\r\nHost: jcas\r\nX-Api-Key: {}\r\nContent-Type: \
         application/octet-stream\r\nContent-Length: 400000\r\n\r\n",
        shop.key
    );
    half.write_all(head.as_bytes()).unwrap();
    half.write_all(&text.as_bytes()[1000..300_000]).unwrap();
    wait_for("the part to be on its way", || {
        let files = files_below(&node.data().join("sync/uploads"));
        (files.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() > 100_000).then_some(())
    });
    put_part(&shop, &format!("{path}/1000"), "").refused(409, "upload_offset_mismatch");
    node.kill();
    node.start();
    let at = shop.at(&node);
    assert_eq!(offset(&at, &path), 1000);
    for (file, bytes) in files_below(&node.data()) {
        let clear = bytes.windows(13).any(|part| part == b"7@example.com");
        assert!(!clear, "{} holds it in clear", file.display());
    }
    put_part(&at, &format!("{path}/1000"), &text[1000..2000]).done(200);
    assert_eq!(begun(&at, text.as_bytes()).done(200).body["offset"], 2000);
    assert_eq!(node.stop(), 0);
    node.through(&["faketime", "-f", "+25h"]);
    node.start();
    let at = shop.at(&node);
    at.call("GET", &path, Value::Null).refused(404, "not_found");
    nothing_lies_there(&node);
    assert_eq!(begun(&at, text.as_bytes()).done(200).body["offset"], 0);
}

/// What a run of the command must not have sent again.
#[track_caller]
fn nothing_went_twice(door: &Door, file: &std::path::Path) {
    let (carried, length) = (door.carried(), std::fs::metadata(file).unwrap().len());
    let most = usize::try_from(length).unwrap() + 3 * MIB;
    assert!(carried < most, "{carried} bytes went to the node, of {length}");
}

#[test]
fn the_command_goes_on_where_its_connection_was_cut() {
    let node = Node::started(&[]);
    let (shop, door) = (Shop::at(&node), Door::before(&node));
    let file = shop.rows(ROWS, NOTES);
    door.shut_after(5 * MIB + 1000);
    let running = shop.sync(&node, &door.url(), &[file.to_str().unwrap(), "--country", "NG"]);
    running.tells("asking again");
    door.leads_to(&node);
    let (code, said, told) = running.ended();
    assert_eq!((code, said.as_str()), (Some(0), "created    1000\n"), "{told}");
    nothing_went_twice(&door, &file);
}

#[test]
fn the_command_goes_on_where_the_node_was_killed() {
    let mut node = Node::started(&[]);
    let (shop, door) = (Shop::at(&node), Door::before(&node));
    let file = shop.rows(ROWS, NOTES);
    door.shut_after(5 * MIB + 1000);
    let running = shop.sync(&node, &door.url(), &[file.to_str().unwrap(), "--country", "NG"]);
    running.tells("asking again");
    node.kill();
    node.start();
    door.leads_to(&node);
    let (code, said, told) = running.ended();
    assert_eq!((code, said.as_str()), (Some(0), "created    1000\n"), "{told}");
    nothing_went_twice(&door, &file);
}

#[test]
fn the_command_goes_on_where_it_was_killed_itself() {
    let node = Node::started(&[]);
    let (shop, door) = (Shop::at(&node), Door::before(&node));
    let file = shop.rows(ROWS, NOTES);
    let arguments = [file.to_str().unwrap(), "--country", "NG"];
    door.shut_after(5 * MIB + 1000);
    let running = shop.sync(&node, &door.url(), &arguments);
    running.tells("asking again");
    running.kill();
    door.leads_to(&node);
    let (code, said, told) = shop.sync(&node, &door.url(), &arguments).ended();
    assert_eq!((code, said.as_str()), (Some(0), "created    1000\n"), "{told}");
    assert!(told.contains("bytes are there already"), "{told}");
    nothing_went_twice(&door, &file);
}
