//! More passwords to check than the node can: who asks too much waits for itself, is told so in
//! time, and holds nobody else up.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::scope;

use serde_json::json;

use crate::node::{Answer, Company, Node, wait_for};

/// Customers of each company.
const PEOPLE: usize = 4;

/// A node that checks one password at a time, two companies, and a user of each.
fn node(max_wait_ms: &str) -> (Node, Company, Company) {
    let node = Node::started(&[
        ("hash.bcrypt_cost", "10"),
        ("hash.threads", "1"),
        ("hash.lanes", "1"),
        ("hash.max_wait_ms", max_wait_ms),
        ("metrics.sample_s", "1"),
        // Many log in as few people at once, and the bound that is meant here is another.
        ("guessing.attempts_at_once", "100"),
    ]);
    let [one, other] = ["one", "other"].map(|id| {
        let company = node.company(id, &["NG"]);
        for number in 0..PEOPLE {
            let email = email(&company, number);
            company.register(json!({ "country": "NG", "email": email, "password": "one two" }));
        }
        company
    });
    (node, one, other)
}

fn email(company: &Company, number: usize) -> String {
    format!("{}-{}@example.com", company.id, number % PEOPLE)
}

fn login(company: &Company, number: usize) -> Answer {
    company.login("NG", &email(company, number), "one two")
}

fn queued(node: &Node) -> usize {
    let page = node.operate("GET", "/metrics", None).text;
    let mut lines = page.lines();
    let found = lines.find_map(|line| line.strip_prefix("jcas_hash_pool_queued "));
    found.map_or(0, |figure| figure.parse().unwrap())
}

#[test]
fn a_flood_of_one_company_does_not_hold_up_another() {
    let (node, flooding, other) = node("60000");
    let answered = AtomicUsize::new(0);
    let all = 40;
    scope(|scope| {
        let (flooding, answered) = (&flooding, &answered);
        for number in 0..all {
            scope.spawn(move || {
                login(flooding, number).done(200);
                answered.fetch_add(1, Ordering::SeqCst);
            });
        }
        wait_for("the flood", || (queued(&node) >= 10).then_some(()));
        let before = answered.load(Ordering::SeqCst);
        login(&other, 0).done(200);
        let meanwhile = answered.load(Ordering::SeqCst) - before;
        let waiting = all - before - meanwhile;
        println!("{before} before, {meanwhile} meanwhile, {waiting} still waiting");
        // What was being checked already, and at most what became known a little late.
        assert!(meanwhile <= 4, "{meanwhile} of the flood were answered first");
        assert!(waiting >= 3, "the flood was over: {waiting}");
    });
}

#[test]
fn what_would_wait_too_long_gets_503_while_everything_else_goes_on() {
    let (node, flooding, other) = node("2000");
    let id = other.call("POST", "/v1/users/lookup", json!({ "email": email(&other, 0) }));
    let id = id.done(200).body["user_id"].as_str().unwrap().to_owned();
    let (done, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let all = 80;
    scope(|scope| {
        let (flooding, done, refused) = (&flooding, &done, &refused);
        for number in 0..all {
            scope.spawn(move || {
                let answer = login(flooding, number);
                if answer.status == 200 {
                    done.fetch_add(1, Ordering::SeqCst);
                } else {
                    answer.refused(503, "overloaded");
                    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
                    assert!((1..=10).contains(&seconds), "Retry-After: {seconds}");
                    refused.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        wait_for("the first refusal", || (refused.load(Ordering::SeqCst) > 0).then_some(()));
        node.operate("GET", "/health/live", None).done(200);
        let health = node.operate("GET", "/health/ready", None);
        health.done(200);
        other.user(&id);
        let profile = json!({ "profile": { "given_name": "Ada" } });
        other.call("PATCH", &format!("/v1/users/{id}"), profile).done(200);
        login(&other, 0).done(200);
    });
    let (done, refused) = (done.into_inner(), refused.into_inner());
    println!("{done} done, {refused} refused");
    assert_eq!(done + refused, all);
    assert!(done > 0, "none was done");
    // Afterwards there is room again.
    login(&flooding, 0).done(200);
}
