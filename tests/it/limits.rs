//! An API key's limits: they hold, they are told, and they are nobody else's.

use serde_json::{Value, json};

use crate::node::{Answer, Company, Node};

fn lookup(shop: &Company, number: u64) -> Answer {
    let body = json!({ "phone": format!("+23480{number:08}") });
    shop.call("POST", "/v1/users/lookup", body)
}

fn register(shop: &Company, number: u64) -> Answer {
    let body = json!({ "country": "NG", "phone": format!("+23480{number:08}") });
    shop.call("POST", "/v1/users", body)
}

/// A header's entries: name and two numbers, as `"default";q=10;w=2, "misses";q=5;w=250`.
#[track_caller]
fn entries(answer: &Answer, header: &str, [one, two]: [&str; 2]) -> Vec<(String, u64, u64)> {
    let text = answer.header(header).unwrap_or_default();
    let entry = |entry: &str| {
        let mut parts = entry.split(';');
        let name = parts.next()?.strip_prefix('"')?.strip_suffix('"')?.to_owned();
        let first = parts.next()?.strip_prefix(one)?.strip_prefix('=')?.parse().ok()?;
        let second = parts.next()?.strip_prefix(two)?.strip_prefix('=')?.parse().ok()?;
        parts.next().is_none().then_some((name, first, second))
    };
    let read: Option<Vec<_>> = text.split(", ").map(entry).collect();
    assert!(read.is_some(), "{header}: {text:?}");
    read.unwrap()
}

/// What there is of a policy, its window, what is left, and when it is all there again.
#[track_caller]
fn standing(answer: &Answer, policy: &str) -> (u64, u64, u64, u64) {
    let policies = entries(answer, "ratelimit-policy", ["q", "w"]);
    let left = entries(answer, "ratelimit", ["r", "t"]);
    let names = |all: &[(String, u64, u64)]| -> Vec<_> {
        all.iter().map(|(name, ..)| name.clone()).collect()
    };
    assert_eq!(names(&policies), names(&left));
    let of = |all: &[(String, u64, u64)]| {
        let found = all.iter().find(|(name, ..)| name == policy);
        assert!(found.is_some(), "no {policy} in {all:?}");
        found.map(|(_, one, two)| (*one, *two)).unwrap()
    };
    let ((quota, window), (remaining, reset)) = (of(&policies), of(&left));
    assert!(remaining <= quota && reset <= window * 2, "{answer:?}");
    (quota, window, remaining, reset)
}

#[test]
fn ten_thousand_numbers_cannot_be_walked_through() {
    let node = Node::started(&[("limits.misses_burst", "300")]);
    let (shop, bank) = (node.company("shop", &["NG"]), node.company("bank", &["NG"]));
    // One number in fifty has a user: what the one who walks wants to know.
    for number in (0..400).step_by(50) {
        register(&shop, number).done(201);
    }
    let (mut found, mut missed, mut cut_short) = (0, 0, 0);
    for number in 0..10_000 {
        let answer = lookup(&bank, number);
        match answer.status {
            200 => found += 1,
            404 => missed += 1,
            _ => {
                answer.refused(429, "rate_limited");
                assert_eq!(answer.header("retry-after"), Some("1"));
                cut_short += 1;
            }
        }
        // Somebody who is there is as little looked up now as somebody who is not.
        if cut_short == 1 {
            lookup(&bank, 0).refused(429, "rate_limited");
        }
        if cut_short > 20 {
            break;
        }
    }
    assert!((300..400).contains(&missed) && found <= 8, "{missed} misses, {found} found");
    // Nothing else of the company's is cut short, and nothing of another one's.
    bank.call("GET", "/v1/whoami", Value::Null).done(200);
    lookup(&shop, 0).done(200);
    lookup(&shop, 1).refused(404, "user_not_found");
}

#[test]
fn looking_up_those_who_are_there_uses_up_nothing_but_calls() {
    let node = Node::started(&[("limits.misses_burst", "3"), ("limits.misses_per_minute", "1")]);
    let shop = node.company("shop", &["NG"]);
    register(&shop, 1).done(201);
    for _ in 0..20 {
        lookup(&shop, 1).done(200);
    }
    // What is no look-up is no miss.
    shop.call("POST", "/v1/users/lookup", json!({ "phone": "no" })).refused(422, "invalid_fields");
    for left in [2, 1, 0] {
        let missed = lookup(&shop, 2);
        missed.refused(404, "user_not_found");
        assert_eq!(standing(&missed, "misses").2, left);
    }
    let refused = lookup(&shop, 1);
    refused.refused(429, "rate_limited");
    let told: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((50..=60).contains(&told), "{told}");
}

#[test]
fn users_that_may_not_be_seen_are_misses_too() {
    let node = Node::started(&[("limits.misses_burst", "3"), ("limits.misses_per_minute", "1")]);
    let (shop, bank) = (node.company("shop", &["NG"]), node.company("bank", &["NG"]));
    register(&shop, 1).done(201);
    let policies = json!({ "read": "own", "password": "own", "profile": "own", "identity": "own",
        "status": "own", "link": "own", "erase": "own", "verifies": false });
    node.operate("PUT", "/operator/companies/bank/policies", Some(&policies)).done(200);
    for _ in 0..3 {
        lookup(&bank, 1).refused(403, "policy_denied");
    }
    lookup(&bank, 1).refused(429, "rate_limited");
}

#[test]
fn registrations_that_find_somebody_are_soon_cut_short() {
    let node = Node::started(&[("limits.claims_burst", "50"), ("limits.claims_per_second", "1")]);
    let shop = node.company("shop", &["NG"]);
    let one = register(&shop, 1).done(201).body["user_id"].as_str().unwrap().to_owned();
    register(&shop, 2).done(201);
    let mut taken = 0;
    let refused = loop {
        let claim = json!({ "value": "+2348000000002" });
        let answer = match taken % 2 {
            0 => register(&shop, 1),
            _ => shop.call("PUT", &format!("/v1/users/{one}/identities/phone"), claim),
        };
        if answer.status == 429 {
            break answer;
        }
        answer.refused(409, "identity_taken");
        taken += 1;
    };
    refused.refused(429, "rate_limited");
    assert!((4..=6).contains(&taken), "{taken}");
    register(&shop, 3).refused(429, "rate_limited");
    lookup(&shop, 3).refused(404, "user_not_found");
}

#[test]
fn every_call_of_a_company_is_told_its_limits_and_no_other_is() {
    let node = Node::started(&[("limits.calls_per_second", "7"), ("limits.calls_burst", "21")]);
    let (shop, bank) = (node.company("shop", &["NG"]), node.company("bank", &["NG"]));
    let first = shop.call("GET", "/v1/whoami", Value::Null);
    let (quota, window, remaining, reset) = standing(&first, "default");
    assert_eq!((quota, window, remaining, reset), (21, 3, 20, 1));
    let kinds = [
        (lookup(&shop, 1), "misses", 500, 250),
        (register(&shop, 1), "claims", 2000, 100),
        (shop.login("NG", "a@example.com", "x"), "failed-logins", 2000, 10),
    ];
    for (answer, policy, quota, window) in &kinds {
        standing(answer, "default");
        let of = standing(answer, policy);
        assert_eq!((of.0, of.1), (*quota, *window), "{policy}");
    }
    // Refused calls are told as well, and count.
    for _ in 0..100 {
        let answer = shop.call("GET", "/v1/users/none", Value::Null);
        let remaining = standing(&answer, "default").2;
        if answer.status == 429 {
            answer.refused(429, "rate_limited");
            assert_eq!((remaining, answer.header("retry-after")), (0, Some("1")));
            break;
        }
        answer.refused(404, "user_not_found");
    }
    // The body of a call beyond the limit is not looked at.
    let mut tries = (0..30).map(|_| shop.call_raw("POST", "/v1/login", &[], Some("{")));
    assert!(tries.any(|answer| answer.code() == "rate_limited"));
    assert_eq!(standing(&bank.call("GET", "/v1/whoami", Value::Null), "default").2, 20);
    let nobody = Company { key: "jcas_0_0".to_owned(), ..shop };
    for path in ["/health/live", "/metrics", "/openapi.json", "/v1/whoami"] {
        let answer = nobody.call("GET", path, Value::Null);
        assert_eq!(answer.header("ratelimit"), None, "{path}");
        assert_eq!(answer.header("ratelimit-policy"), None, "{path}");
    }
}
