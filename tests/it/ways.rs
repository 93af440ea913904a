//! The ways through the house, as a company goes them.

use serde_json::{Value, json};

use crate::node::Node;

#[test]
fn a_person_registers_logs_in_changes_and_is_found_again_after_a_restart() {
    let mut node = Node::started(&[]);
    let shop = node.company("shop", &["NG", "KE"]);
    let id = shop.register(json!({
        "country": "NG", "email": " Ada@Example.COM ", "phone": "0803 123 4567",
        "password": "correct horse", "profile": { "given_name": "Ada", "address": { "x": 1 } },
    }));
    let logged_in = shop.login("NG", "ada@example.com", "correct horse");
    assert_eq!(logged_in.done(200).body["user_id"], json!(id));
    assert_eq!(logged_in.body["upgraded"], json!(false));
    shop.login("NG", "ada@example.com", "Correct horse").refused(401, "invalid_credentials");
    shop.login("NG", "eve@example.com", "correct horse").refused(401, "invalid_credentials");

    let patched = shop.call(
        "PATCH",
        &format!("/v1/users/{id}"),
        json!({ "profile": { "given_name": null,
            "nickname": "A" } }),
    );
    assert_eq!(patched.done(200).body["revision"], shop.user(&id)["revision"]);
    assert_eq!(shop.user(&id)["profile"], json!({ "nickname": "A", "address": { "x": 1 } }));

    let (hash, users) = node.state_hash();
    assert_eq!(users, 1);
    assert_eq!(node.stop(), 0);
    node.start();
    let shop = shop.at(&node);
    let found = shop.call("POST", "/v1/users/lookup", json!({ "phone": "+2348031234567" }));
    assert_eq!(found.done(200).body["user_id"], json!(id));
    shop.login("NG", "ada@example.com", "correct horse").done(200);
    assert_ne!(node.state_hash().0, hash, "a start is an event too");
}

#[test]
fn a_reader_who_has_seen_the_revision_is_told_so() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let id = shop.register(json!({ "country": "NG", "email": "a@example.com" }));
    let path = format!("/v1/users/{id}");
    let read = shop.call("GET", &path, Value::Null);
    let etag = read.done(200).header("etag").unwrap().to_owned();
    let again = shop.call_raw("GET", &path, &[("If-None-Match", &etag)], None);
    again.done(304);
    assert_eq!(again.text, "");
    shop.call("PATCH", &path, json!({ "profile": { "a": 1 } })).done(200);
    shop.call_raw("GET", &path, &[("If-None-Match", &etag)], None).done(200);
    let stale = json!({ "profile": { "a": 2 }, "if_revision": etag.trim_matches('"') });
    shop.call("PATCH", &path, stale).refused(412, "revision_mismatch");
    assert_eq!(shop.user(&id)["profile"], json!({ "a": 1 }));
}
