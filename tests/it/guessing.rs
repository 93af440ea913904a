//! Whoever guesses is slowed down, whoever is walked through is not found, and the owner gets in.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::node::{Answer, Company, Node, PATIENCE, pause};

/// Settings under which delays are short, yet longer than an answer takes.
const SHORT: [(&str, &str); 3] = [
    ("guessing.free_failures", "3"),
    ("guessing.first_delay_ms", "1000"),
    ("guessing.longest_delay_s", "4"),
];

fn login(shop: &Company, who: &Value, password: &str, client: Option<&str>) -> Answer {
    let mut body = json!({ "country": "NG", "password": password });
    let members = body.as_object_mut().unwrap();
    members.extend(who.as_object().unwrap().clone());
    members.extend(client.map(|client| ("client_ip".to_owned(), json!(client))));
    shop.call("POST", "/v1/login", body)
}

fn email(name: &str) -> Value {
    json!({ "email": format!("{name}@example.com") })
}

fn register(shop: &Company, name: &str) -> String {
    shop.register(json!({ "country": "NG", "email": format!("{name}@example.com"),
        "password": "right" }))
}

/// The wait that a refusal tells, in whole seconds, the least there is being one.
#[track_caller]
fn wait_of(answer: &Answer, code: &str) -> u64 {
    answer.refused(429, code);
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let seconds = answer.header("retry-after").unwrap().parse().unwrap();
    assert!(seconds > 0, "{answer:?}");
    seconds
}

/// Lets so much time pass.
fn wait(seconds: u64) {
    let until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until {
        pause();
    }
}

#[test]
fn each_failure_is_followed_by_a_longer_wait_and_the_wait_is_what_is_told() {
    let node = Node::started(&SHORT);
    let shop = node.company("shop", &["NG"]);
    register(&shop, "a");
    let who = email("a");
    for _ in 0..3 {
        login(&shop, &who, "wrong", None).refused(401, "invalid_credentials");
    }
    for delay in [1, 2, 4, 4] {
        // The right password is not looked at either, and asking makes the wait no longer.
        for password in ["wrong", "right", "right"] {
            let refused = login(&shop, &who, password, None);
            assert!(wait_of(&refused, "too_many_attempts") <= delay);
        }
        let before = Instant::now();
        let told = wait_of(&login(&shop, &who, "right", None), "too_many_attempts");
        if delay > 1 {
            assert!(told > delay / 2, "{told} s instead of {delay}");
        }
        wait(told);
        assert!(before.elapsed() < PATIENCE);
        login(&shop, &who, "wrong", None).refused(401, "invalid_credentials");
    }
    wait(wait_of(&login(&shop, &who, "right", None), "too_many_attempts"));
    login(&shop, &who, "right", None).done(200);
    // And counting starts anew.
    for _ in 0..3 {
        login(&shop, &who, "wrong", None).refused(401, "invalid_credentials");
    }
    wait_of(&login(&shop, &who, "right", None), "too_many_attempts");
}

#[test]
fn the_owner_gets_in_from_a_known_address_while_others_guess() {
    // A delay that no test waits for.
    let settings = [("guessing.free_failures", "3"), ("guessing.first_delay_ms", "60000")];
    let node = Node::started(&settings);
    let (shop, bank) = (node.company("shop", &["NG"]), node.company("bank", &["NG"]));
    let id = register(&shop, "a");
    let who = email("a");
    login(&shop, &who, "right", Some("192.0.2.1")).done(200);
    for _ in 0..3 {
        login(&shop, &who, "wrong", Some("198.51.100.7")).refused(401, "invalid_credentials");
    }
    for attacker in [Some("198.51.100.7"), Some("198.51.100.8"), Some("::1"), None] {
        let refused = login(&shop, &who, "right", attacker);
        assert!(wait_of(&refused, "too_many_attempts") > 50);
    }
    // The address is known of the company that told it, and of nobody else.
    let refused = login(&bank, &who, "right", Some("192.0.2.1"));
    wait_of(&refused, "too_many_attempts");
    login(&shop, &who, "wrong", Some("192.0.2.1")).refused(401, "invalid_credentials");
    login(&shop, &who, "right", Some("192.0.2.1")).done(200);
    // What the owner does lets nobody else try again.
    wait_of(&login(&shop, &who, "right", Some("198.51.100.7")), "too_many_attempts");
    // At a new address the owner waits, unless the company sets a new password.
    let path = format!("/v1/users/{id}/password");
    shop.call("PUT", &path, json!({ "password": "new" })).done(200);
    login(&shop, &who, "new", Some("203.0.113.9")).done(200);
}

#[test]
fn an_unknown_user_is_answered_as_a_known_one() {
    let settings = [("guessing.free_failures", "3"), ("guessing.first_delay_ms", "60000")];
    let node = Node::started(&settings);
    let shop = node.company("shop", &["NG"]);
    let id = register(&shop, "known");
    register(&shop, "active");
    login(&shop, &email("active"), "right", None).done(200);
    let nobody = json!({ "user_id": "019a7b3c-5d6e-7f80-8a91-b2c3d4e5f607" });
    let whose =
        [email("known"), email("active"), email("nobody"), json!({ "user_id": id }), nobody];
    let answers: Vec<Vec<_>> = whose
        .iter()
        .map(|who| {
            let tried = (0..5).map(|_| login(&shop, who, "wrong", Some("192.0.2.1")));
            let told = |answer: Answer| {
                let mut body = answer.body;
                body["request_id"] = Value::Null;
                // What time it was is told with a 401, and says nothing about who is there.
                if let Some(body) = body.as_object_mut() {
                    body.remove("server_time");
                }
                let mut names: Vec<_> = answer.headers.into_iter().map(|(name, _)| name).collect();
                names.sort();
                (answer.status, body, names)
            };
            tried.map(told).collect()
        })
        .collect();
    let statuses: Vec<_> = answers[0].iter().map(|(status, ..)| *status).collect();
    assert_eq!(statuses, [401, 401, 401, 429, 429]);
    for (who, answers_of) in whose.iter().zip(&answers) {
        assert_eq!(answers_of, &answers[0], "{who}");
    }
}

#[test]
fn a_current_password_is_guessed_no_faster_than_a_login() {
    let settings = [("guessing.free_failures", "3"), ("guessing.first_delay_ms", "60000")];
    let node = Node::started(&settings);
    let shop = node.company("shop", &["NG"]);
    let other = node.company("other", &["NG"]);
    let id = register(&shop, "a");
    let path = format!("/v1/users/{id}/password");
    let set = |current: &str| {
        let body = json!({ "password": "new one", "current_password": current });
        other.call("PUT", &path, body)
    };
    for _ in 0..3 {
        set("wrong").refused(401, "invalid_credentials");
    }
    assert!(wait_of(&set("right"), "too_many_attempts") > 50);
    let who = json!({ "user_id": id });
    wait_of(&login(&shop, &who, "right", None), "too_many_attempts");
    login(&shop, &email("a"), "right", None).done(200);
}

#[test]
fn one_password_is_not_tried_on_everybody_from_one_address() {
    let settings =
        [("guessing.client_failures_burst", "20"), ("guessing.client_failures_per_minute", "1")];
    let node = Node::started(&settings);
    let (shop, bank) = (node.company("shop", &["NG"]), node.company("bank", &["NG"]));
    register(&shop, "a");
    let spray = |name: usize, client: &str| {
        login(&shop, &email(&format!("p{name}")), "summer", Some(client))
    };
    login(&shop, &email("a"), "right", Some("192.0.2.1")).done(200);
    for name in 0..20 {
        spray(name, "192.0.2.1").refused(401, "invalid_credentials");
    }
    let told = wait_of(&spray(20, "192.0.2.1"), "too_many_attempts");
    assert!((30..=60).contains(&told), "{told}");
    spray(20, "192.0.2.2").refused(401, "invalid_credentials");
    let elsewhere = login(&bank, &email("p20"), "summer", Some("192.0.2.1"));
    elsewhere.refused(401, "invalid_credentials");
    // Those who got in from there still do.
    login(&shop, &email("a"), "right", Some("192.0.2.1")).done(200);
}

#[test]
fn a_company_out_of_failures_logs_in_whom_it_knows_and_others_go_on() {
    let settings = [("limits.failed_logins_burst", "20"), ("limits.failed_logins_per_second", "1")];
    let node = Node::started(&settings);
    let (shop, bank) = (node.company("shop", &["NG"]), node.company("bank", &["NG"]));
    register(&shop, "a");
    login(&shop, &email("a"), "right", Some("192.0.2.1")).done(200);
    let mut answered = Vec::new();
    for name in 0..200 {
        let answer = login(&shop, &email(&format!("p{name}")), "summer", None);
        answered.push(answer.status);
        if answer.status == 429 {
            let told = wait_of(&answer, "rate_limited");
            assert_eq!(told, 1);
            break;
        }
    }
    assert_eq!(answered.last(), Some(&429), "{answered:?}");
    assert!(answered.len() > 20);
    login(&shop, &email("a"), "right", Some("192.0.2.1")).done(200);
    login(&bank, &email("b"), "summer", None).refused(401, "invalid_credentials");
}

#[test]
fn attempts_at_once_are_bounded_too() {
    let settings = [("hash.failure_quantum_ms", "2000"), ("guessing.attempts_at_once", "4")];
    let node = Node::started(&settings);
    let shop = node.company("shop", &["NG"]);
    register(&shop, "a");
    for who in [email("a"), email("nobody")] {
        let statuses: Vec<_> = std::thread::scope(|scope| {
            let tries: Vec<_> =
                (0..16).map(|_| scope.spawn(|| login(&shop, &who, "wrong", None).status)).collect();
            tries.into_iter().map(|tried| tried.join().unwrap()).collect()
        });
        let looked_at = statuses.iter().filter(|status| **status == 401).count();
        let held_back = statuses.iter().filter(|status| **status == 429).count();
        assert_eq!((looked_at, held_back), (4, 12), "{who}: {statuses:?}");
    }
}
