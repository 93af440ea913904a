//! Hashes that companies bring: hostile ones stay outside, and what a company had gives way to
//! what a person set later.

use serde_json::{Value, json};

use crate::node::{Answer, Company, Node};
use crate::problem::{MARK, Untouched, problem, wrong_field};

/// A bcrypt hash, as a company's shop would have made it.
fn hash_of(password: &str) -> String {
    bcrypt::hash(password, 4).unwrap()
}

/// A time as the contract writes it, in seconds from now.
fn in_seconds(seconds: i64) -> String {
    (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds)).to_string()
}

fn put(shop: &Company, user: &str, body: Value) -> Answer {
    shop.call("PUT", &format!("/v1/users/{user}/legacy-hashes/NG"), body)
}

fn verdict(answer: &Answer) -> &str {
    answer.done(200).body["verdict"].as_str().unwrap()
}

/// Asserts which of the passwords logs the user in.
fn only(shop: &Company, email: &str, passwords: &[&str], right: &str) {
    for password in passwords.iter().filter(|password| **password != right) {
        shop.login("NG", email, password).refused(401, "invalid_credentials");
    }
    shop.login("NG", email, right).done(200);
}

#[test]
fn a_hostile_hash_is_refused_at_the_door() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let user =
        shop.register(json!({ "country": "NG", "email": "a@example.com", "password": "own" }));
    let untouched = Untouched::of(&node);
    let end = "N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy";
    let unsupported = [
        String::new(),
        MARK.to_owned(),
        format!("$2x$04${end}"),
        format!("$2$04${end}"),
        format!("$2y$4${end}"),
        format!("$2y$04${}", &end[1..]),
        format!("$2y$04${end}{end}"),
        format!("$2y$04${}\u{e9}", &end[2..]),
        format!("$2y$04${}\0", &end[1..]),
        format!("$2y$04$ {}", &end[1..]),
        format!("$2y$0x${end}"),
        format!("$9${MARK}"),
        "s3cr3t:".repeat(8000),
    ];
    let refused = |given: Value, status: u16, code: &str| {
        let new = json!({ "country": "NG", "email": "new@example.com", "legacy_hash": given });
        problem(&shop.call("POST", "/v1/users", new), status, code);
        problem(&put(&shop, &user, given), status, code);
    };
    for hash in unsupported {
        refused(json!({ "hash": hash }), 422, "unsupported_hash");
    }
    for cost in ["00", "03", "15", "31", "32", "99"] {
        let given = json!({ "hash": format!("$2y${cost}${end}") });
        refused(given, 422, "hash_cost_out_of_bounds");
    }
    let good = format!("$2y$04${end}");
    refused(json!({ "hash": MARK.repeat(175_000) }), 413, "body_too_large");
    refused(json!({ "hash": good, "profile": "nobodys" }), 422, "unsupported_hash");
    refused(json!({ "hash": good, "profile": format!("{MARK} {MARK}") }), 422, "invalid_fields");
    for (at, code) in [
        ("s3cr3t".to_owned(), "invalid_time"),
        (String::new(), "invalid_time"),
        ("1989-12-31T23:59:59Z".to_owned(), "invalid_time"),
        (in_seconds(120), "changed_at_in_future"),
        ("9000-12-31T00:00:00Z".to_owned(), "changed_at_in_future"),
    ] {
        let answer = put(&shop, &user, json!({ "hash": good, "changed_at": at }));
        wrong_field(&answer, "changed_at", code);
    }
    for profile in [
        json!({ "scheme": "digest", "rounds": 4_000_000_000_u32 }),
        json!({ "scheme": "digest", "rounds": MARK }),
        json!({ "scheme": "s3cr3t" }),
        json!({ "scheme": "magento1", "pepper": [MARK] }),
        json!({ "pepper": MARK }),
        json!({ "scheme": "magento1", "s3cr3t": 1 }),
        json!([MARK]),
        json!(MARK),
    ] {
        let answer = shop.call("PUT", "/v1/hash-profiles/NG/default", profile);
        problem(&answer, 422, "invalid_fields");
    }
    untouched.holds();
    shop.login("NG", "a@example.com", "own").done(200);
}

#[test]
fn an_import_counts_until_there_is_a_password_and_a_change_by_its_time() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let email = "a@example.com";
    let user = shop.register(json!({ "country": "NG", "email": email }));
    let all = ["first", "second", "changed", "older", "set", "late", "newest"];
    shop.login("NG", email, "first").refused(401, "invalid_credentials");
    let import = |password: &str| json!({ "hash": hash_of(password) });
    let change = |password: &str, seconds: i64| {
        let changed_at = in_seconds(seconds);
        json!({ "hash": hash_of(password), "changed_at": changed_at })
    };
    let first = import("first");
    assert_eq!(verdict(&put(&shop, &user, first.clone())), "applied");
    assert_eq!(verdict(&put(&shop, &user, first)), "unchanged");
    let logged_in = shop.login("NG", email, "first");
    assert_eq!(logged_in.done(200).body["upgraded"], json!(true));
    assert_eq!(shop.login("NG", email, "first").done(200).body["upgraded"], json!(false));
    // Now there is a password: an import does not displace it.
    assert_eq!(verdict(&put(&shop, &user, import("second"))), "older");
    only(&shop, email, &all, "first");
    // A change prevails over what an import became, and over older changes.
    let hour_ago = change("changed", -3600);
    assert_eq!(verdict(&put(&shop, &user, hour_ago.clone())), "applied");
    assert_eq!(verdict(&put(&shop, &user, hour_ago)), "unchanged");
    let untouched = Untouched::of(&node);
    assert_eq!(verdict(&put(&shop, &user, change("older", -7200))), "older");
    assert_eq!(verdict(&put(&shop, &user, import("second"))), "older");
    untouched.holds();
    only(&shop, email, &all, "changed");
    // What is set here and now prevails over changes made before it, whenever they arrive.
    let path = format!("/v1/users/{user}/password");
    shop.call("PUT", &path, json!({ "password": "set" })).done(200);
    assert_eq!(verdict(&put(&shop, &user, change("late", -60))), "older");
    only(&shop, email, &all, "set");
    // A clock that is a little fast is believed up to now.
    assert_eq!(verdict(&put(&shop, &user, change("newest", 30))), "applied");
    only(&shop, email, &all, "newest");
    shop.call("PUT", &path, json!({ "password": "set" })).done(200);
    only(&shop, email, &all, "set");
}
