//! A token is taken once: at once, after a stop, after a kill, after a loss of power.

use serde_json::{Value, json};

use super::{Signer, fresh_jti, now};
use crate::node::{Answer, Node, wait_for};
use crate::problem::{Untouched, problem};

fn token(signer: &Signer, req: &Value) -> String {
    let path = if req.is_null() { "/v1/whoami" } else { "/v1/users" };
    let method = if req.is_null() { "GET" } else { "POST" };
    signer.token(&signer.header(), &signer.claims(method, path, req))
}

fn register(email: &str) -> Value {
    json!({ "country": "NG", "email": email })
}

fn post(signer: &Signer, token: &str) -> Answer {
    signer.send("POST", "/v1/users", true, token)
}

fn whoami(signer: &Signer, token: &str) -> Answer {
    signer.send("GET", "/v1/whoami", false, token)
}

#[test]
fn a_token_is_taken_once_however_often_the_node_is_stopped_or_killed() {
    let mut node = Node::started(&[]);
    let mut signer = Signer::hs256(&node, "shop");
    let mut used = Vec::new();
    for life in 0..4 {
        let (write, read) = (
            token(&signer, &register(&format!("{life}@example.com"))),
            token(&signer, &Value::Null),
        );
        post(&signer, &write).done(201);
        whoami(&signer, &read).done(200);
        used.push((write, read));
        let untouched = Untouched::of(&node);
        for (write, read) in &used {
            problem(&post(&signer, write), 409, "replayed_request");
            problem(&whoami(&signer, read), 409, "replayed_request");
        }
        untouched.holds();
        if life % 2 == 0 {
            node.kill();
        } else {
            assert_eq!(node.stop(), 0);
        }
        node.start();
        signer = signer.at(&node);
    }
    for (write, read) in &used {
        problem(&post(&signer, write), 409, "replayed_request");
        problem(&whoami(&signer, read), 409, "replayed_request");
    }
}

#[test]
fn a_jti_is_used_once_with_whatever_else_its_token_says_and_by_one_company() {
    let node = Node::started(&[]);
    let (signer, other) = (Signer::hs256(&node, "shop"), Signer::hs256(&node, "other"));
    let jti = fresh_jti();
    let with = |signer: &Signer, iat: i64| {
        let mut claims = signer.claims("GET", "/v1/whoami", &Value::Null);
        claims["jti"] = json!(jti);
        claims["iat"] = json!(iat);
        claims["exp"] = json!(iat + 60);
        whoami(signer, &signer.token(&signer.header(), &claims))
    };
    with(&signer, now()).done(200);
    problem(&with(&signer, now() - 20), 409, "replayed_request");
    problem(&with(&signer, now() + 20), 409, "replayed_request");
    with(&other, now()).done(200);
    // One that is refused for another reason is not used up.
    let claims = signer.claims("GET", "/v1/whoami", &Value::Null);
    let right = signer.token(&signer.header(), &claims);
    signer.send("GET", "/v1/whoami?x", false, &right).refused(401, "token_invalid");
    whoami(&signer, &right).done(200);
}

#[test]
fn of_one_token_sent_many_times_at_once_one_is_taken() {
    let node = Node::started(&[]);
    let signer = Signer::hs256(&node, "shop");
    for round in 0..5 {
        let token = token(&signer, &register(&format!("{round}@example.com")));
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let calls: Vec<_> =
                (0..8).map(|_| scope.spawn(|| post(&signer, &token).status)).collect();
            calls.into_iter().map(|call| call.join().unwrap()).collect()
        });
        let count = |status: u16| statuses.iter().filter(|it| **it == status).count();
        assert_eq!((count(201), count(409)), (1, 7), "{statuses:?}");
    }
}

#[test]
fn after_a_loss_of_power_older_tokens_are_refused_until_they_would_have_ended() {
    let mut node = Node::started(&[]);
    let mut signer = Signer::hs256(&node, "shop");
    let used = token(&signer, &Value::Null);
    whoami(&signer, &used).done(200);
    let known = node.data().join("tokens/known");
    for what in ["another boot", "no folder"] {
        node.kill();
        if what == "another boot" {
            // As after a loss of power: the machine's boot has another id, and pages that were not
            // written are gone.
            let text = std::fs::read_to_string(&known).unwrap();
            let boot = text.split(' ').nth(1).unwrap().to_owned();
            let other = text.replace(&boot, "00000000-0000-4000-8000-000000000000");
            std::fs::write(&known, other).unwrap();
        } else {
            std::fs::remove_dir_all(node.data().join("tokens")).unwrap();
        }
        node.start();
        signer = signer.at(&node);
        for token in [&used, &token(&signer, &Value::Null)] {
            let refused = whoami(&signer, token);
            problem(&refused, 503, "not_ready");
            let wait: i64 = refused.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=32).contains(&wait), "{wait}");
        }
        // A token issued after all that may have been used is taken at once.
        let late = wait_for("a token that cannot have been used before", || {
            let mut claims = signer.claims("GET", "/v1/whoami", &Value::Null);
            claims["iat"] = json!(now() + 30);
            claims["exp"] = json!(now() + 60);
            let token = signer.token(&signer.header(), &claims);
            (whoami(&signer, &token).status == 200).then_some(token)
        });
        problem(&whoami(&signer, &late), 409, "replayed_request");
        // Companies that need not sign wait for nothing.
        let plain = node.company("plain", &["NG"]);
        plain.call("GET", "/v1/whoami", Value::Null).done(200);
    }
}

#[test]
fn at_the_bound_signed_calls_are_refused_and_none_is_taken_twice() {
    let node = Node::started(&[("http.signed_calls_remembered", "1000")]);
    let (signer, other) = (Signer::hs256(&node, "shop"), Signer::hs256(&node, "other"));
    let first = token(&signer, &Value::Null);
    whoami(&signer, &first).done(200);
    let full = wait_for("the bound", || {
        let answer = whoami(&signer, &token(&signer, &Value::Null));
        (answer.status != 200).then_some(answer)
    });
    problem(&full, 503, "overloaded");
    let wait: i64 = full.header("retry-after").unwrap().parse().unwrap();
    assert!((60..=100).contains(&wait), "the first token ends then: {wait}");
    problem(&whoami(&signer, &first), 409, "replayed_request");
    whoami(&other, &token(&other, &Value::Null)).done(200);
}
