//! `jcas company report`: how far a company's customers have moved over.

use serde_json::{Value, json};

use crate::node::{Company, Node};
use crate::sync::hash_of;
use crate::syncing::{lines, sync_text};

const MAGENTO1: &str = "1602c7c51922e88d5876d58985ddb39f:aB";
const MAGENTO2: &str = "566bcfc07db91ae24a4e93f77b7d8668:xxxxxxxxMagento2Salt1234567890ab:0";

fn row(email: &str, hash: &str) -> Value {
    json!({ "email": email, "legacy_hash": { "hash": hash } })
}

#[track_caller]
fn made(company: &Company, country: &str, rows: &[Value]) {
    let verdicts = sync_text(company, &format!("/v1/sync?country={country}"), &lines(rows));
    assert!(verdicts.iter().all(|verdict| verdict == "created"), "{verdicts:?}");
}

fn tally([customers, with_secret, never_came, without_password]: [u64; 4]) -> Value {
    json!({ "customers": customers, "with_secret": with_secret, "never_came": never_came,
        "without_password": without_password })
}

fn country(counts: [u64; 4], schemes: Value) -> Value {
    let mut sum = tally(counts);
    sum["schemes"] = schemes;
    sum
}

/// Customers of two countries with hashes of three schemes: some came, some did not.
fn shop_of(node: &Node) -> Company {
    let (shop, other) = (node.company("shop", &["NG", "KE"]), node.company("other", &["NG"]));
    shop.call("PUT", "/v1/hash-profiles/KE/default", json!({ "scheme": "magento1" })).done(200);
    let bcrypt = hash_of("an old one");
    let names = ["ada", "grace", "hal"];
    let mut rows: Vec<_> =
        names.iter().map(|name| row(&format!("{name}@example.com"), &bcrypt)).collect();
    rows.push(row("carol@example.com", MAGENTO2));
    rows.push(json!({ "email": "dan@example.com" }));
    made(&shop, "NG", &rows);
    let rows = [row("eve@example.com", MAGENTO1), row("hal@example.org", MAGENTO1)];
    made(&shop, "KE", &rows);
    // She came with her old password, the next one never had another.
    shop.login("NG", "ada@example.com", "an old one").done(200);
    let own = |country: &str, email: &str| {
        let password = "own";
        json!({ "country": country, "email": email, "password": password })
    };
    shop.register(own("KE", "fay@example.com"));
    // Somebody else's customer, and one who is the shop's as well since she logged in there.
    other.register(own("NG", "zed@example.com"));
    other.register(own("NG", "yan@example.com"));
    shop.login("NG", "yan@example.com", "own").done(200);
    // One person who is in both countries, and one who is forgotten.
    let id = |email: &str| {
        let found = shop.call("POST", "/v1/users/lookup", json!({ "email": email }));
        found.done(200).body["user_id"].as_str().unwrap().to_owned()
    };
    let (one, two) = (id("hal@example.com"), id("hal@example.org"));
    shop.call("POST", &format!("/v1/users/{one}/link"), json!({ "with": two })).done(200);
    let ivy = shop.register(own("NG", "ivy@example.com"));
    let erased = shop.call("DELETE", &format!("/v1/users/{ivy}"), Value::Null);
    assert!((200..300).contains(&erased.status), "{}", erased.text);
    shop
}

#[test]
fn the_report_counts_schemes_secrets_and_who_never_came_by_country() {
    let node = Node::started(&[]);
    shop_of(&node);
    let expected = json!({
        "all": tally([8, 3, 5, 1]),
        "countries": {
            "KE": country([3, 1, 2, 0], json!({ "magento1": { "hashes": 2, "never_came": 2 } })),
            "NG": country([5, 1, 4, 1], json!({
                "bcrypt": { "hashes": 3, "never_came": 2 },
                "magento2": { "hashes": 1, "never_came": 1 },
            })),
        },
        "without_country": tally([1, 1, 0, 0]),
    });
    let (code, printed, said) = node.run(&["company", "report", "shop", "--json"]);
    assert_eq!(code, 0, "{said}");
    let printed: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(printed, json!({ "company": "shop", "users_looked_at": 11, "report": expected }));

    let (code, printed, said) = node.run(&["company", "report", "shop"]);
    assert_eq!((code, said.as_str()), (0, ""));
    let table = "\
country  customers  with secret  never came  no password
KE       3          1            2           0
NG       5          1            4           1
none     1          1            0           0
all      8          3            5           1

country  scheme    hashes  never came
KE       magento1  2       2
NG       bcrypt    3       2
NG       magento2  1       1
";
    assert_eq!(printed, table);
}

#[test]
fn the_report_is_asked_for_in_pages_that_miss_and_repeat_nobody() {
    let node = Node::started(&[]);
    shop_of(&node);
    let path = "/operator/companies/shop/report";
    let whole = node.operate("GET", path, None).done(200).body.clone();
    assert_eq!((&whole["users"], &whole["next"]), (&json!(11), &Value::Null));
    for limit in [1, 3, 11] {
        let (mut pages, mut users, mut customers, mut hashes) = (0, 0, 0, 0);
        let mut after = String::new();
        loop {
            let page = node.operate("GET", &format!("{path}?limit={limit}{after}"), None);
            let body = &page.done(200).body;
            let count = |pointer: &str| body.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
            assert!(count("/users") <= limit);
            users += count("/users");
            customers += count("/report/all/customers");
            hashes += count("/report/countries/NG/schemes/bcrypt/hashes");
            pages += 1;
            match body["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        assert_eq!((pages, users, customers, hashes), (11_u64.div_ceil(limit), 11, 8, 3));
    }
    node.operate("GET", &format!("{path}?after=nobody"), None).refused(400, "invalid_cursor");
    assert_eq!(node.operate("GET", &format!("{path}?limit=0"), None).status, 422);
    node.operate("GET", "/operator/companies/nobody/report", None).done(404);
    let (code, printed, said) = node.run(&["company", "report", "nobody"]);
    assert_eq!((code, printed.as_str()), (1, ""));
    assert!(said.contains("not found"), "{said}");
}
