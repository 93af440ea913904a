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

#[test]
fn a_raised_cost_hashes_anew_at_the_next_login_and_once() {
    let mut node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    shop.register(json!({ "country": "NG", "email": "a@example.com", "password": "open sesame" }));
    assert_eq!(node.stop(), 0);
    node.set("hash.bcrypt_cost", "5");
    node.start();
    let shop = shop.at(&node);
    let upgraded = |answer: &crate::node::Answer| answer.done(200).body["upgraded"].clone();
    assert_eq!(upgraded(&shop.login("NG", "a@example.com", "open sesame")), json!(true));
    assert_eq!(upgraded(&shop.login("NG", "a@example.com", "open sesame")), json!(false));
}

#[test]
fn an_old_hash_logs_in_once_and_then_no_longer_counts() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let profile = json!({ "scheme": "magento1" });
    shop.call("PUT", "/v1/hash-profiles/NG/default", profile).done(200);
    // md5("aB" + "correct horse battery staple"), as a Magento 1 shop keeps it.
    let hash = "1602c7c51922e88d5876d58985ddb39f:aB";
    let id = shop.register(json!({
        "country": "NG", "email": "a@example.com", "legacy_hash": { "hash": hash },
    }));
    let first = shop.login("NG", "a@example.com", "correct horse battery staple");
    assert_eq!(first.done(200).body["upgraded"], json!(true));
    let again = shop.login("NG", "a@example.com", "correct horse battery staple");
    assert_eq!(again.done(200).body["upgraded"], json!(false));
    let path = format!("/v1/users/{id}/password");
    shop.call("PUT", &path, json!({ "password": "another one" })).done(200);
    shop.login("NG", "a@example.com", "correct horse battery staple")
        .refused(401, "invalid_credentials");
    let again = json!({ "hash": hash });
    let verdict = shop.call("PUT", &format!("/v1/users/{id}/legacy-hashes/NG"), again);
    assert_eq!(verdict.done(200).body["verdict"], json!("unchanged"), "the same import again");
    shop.login("NG", "a@example.com", "another one").done(200);
}
