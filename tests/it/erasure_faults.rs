//! What goes wrong around an erasure: calls that are cut short, nodes that are killed, and what
//! else lies in a data folder.

use std::io::Write as _;

use serde_json::{Value, json};

use crate::clock::{say, take_time_from};
use crate::erasure::{ada, bodies, erase, receipt, wait_until_complete};
use crate::erasure_regions::audit;
use crate::node::{Answer, Company, Node, wait_for};
use crate::sync::hash_of;
use crate::syncing::{begin, lines, over, post, synced, users, verdicts, words};

const AT_ONCE: [(&str, &str); 2] = [("erasure.grace_hours", "0"), ("erasure.rebuild_minutes", "0")];

fn everywhere(company: &Company, user: &str) -> Answer {
    company.call("DELETE", &format!("/v1/users/{user}?everywhere=true"), Value::Null)
}

fn is_gone(company: &Company, user: &str) -> bool {
    // Who is read in the very moment of the erasure may still be known, and the key no more.
    wait_for("an answer", || {
        let answer = company.call("GET", &format!("/v1/users/{user}"), Value::Null);
        assert!([200, 410, 503].contains(&answer.status), "{}", answer.text);
        (answer.status != 503).then_some(answer.status == 410)
    })
}

/// Users of one account, the first of them linked with each of the others.
fn linked(company: &Company, count: usize) -> Vec<String> {
    let register = |number: usize| {
        let email = format!("linked{number}@example.com");
        company.register(json!({ "country": "NG", "email": email }))
    };
    let users: Vec<_> = (0..count).map(register).collect();
    for with in &users[1..] {
        let path = format!("/v1/users/{}/link", users[0]);
        company.call("POST", &path, json!({ "with": with })).done(200);
    }
    users
}

#[test]
fn an_account_of_which_one_is_gone_goes_as_a_whole() {
    let node = Node::started(&[]);
    let group = node.company("group", &["NG"]);
    node.trust(&group);
    let users = linked(&group, 3);
    erase(&group, &users[0]).done(202);
    assert_eq!(users.iter().filter(|user| is_gone(&group, user)).count(), 1);
    // A repeat of what was asked says what it came to, and erases nobody else.
    erase(&group, &users[0]).done(202);
    assert!(!is_gone(&group, &users[1]));
    let answer = everywhere(&group, &users[0]);
    assert_eq!(answer.done(202).body["user_id"], json!(users[0]));
    assert!(users.iter().all(|user| is_gone(&group, user)));
    everywhere(&group, &users[0]).done(202);
}

#[test]
fn an_account_that_was_half_erased_when_the_node_was_killed_goes_with_the_repeat() {
    let mut node = Node::started(&[]);
    let group = node.company("group", &["NG"]);
    node.trust(&group);
    let all = linked(&group, 60);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // It ends as it may: the node is killed meanwhile.
            let _cut = std::panic::catch_unwind(|| everywhere(&group, &all[0]));
        });
        wait_for("the first to be gone", || all.iter().any(|it| is_gone(&group, it)).then_some(()));
        node.kill();
    });
    node.start();
    let group = group.at(&node);
    let (first, others) = all.split_first().unwrap();
    let is_all = others.iter().all(|user| is_gone(&group, user));
    assert!(is_all || !is_gone(&group, first), "it says that it is done and is not");
    everywhere(&group, first).done(202);
    assert!(all.iter().all(|user| is_gone(&group, user)));
}

#[test]
fn a_start_gives_no_fresh_hour() {
    let mut node = Node::started(&[
        AT_ONCE[0],
        AT_ONCE[1],
        ("erasure.users_per_hour", "2"),
        ("metrics.sample_s", "1"),
    ]);
    let shop = node.company("shop", &["NG"]);
    let register = |number: usize| {
        let email = format!("p{number}@example.com");
        shop.register(json!({ "country": "NG", "email": email }))
    };
    let users: Vec<_> = (0..4).map(register).collect();
    for user in &users {
        erase(&shop, user).done(202);
    }
    let left = |node: &Node| users.iter().filter(|it| bodies(&node.data(), it) == (2, 0)).count();
    for _ in 0..3 {
        let figures = shop.at(&node);
        wait_for("two to be held back", || {
            let figures = figures.call("GET", "/metrics", Value::Null).text;
            figures.contains("\njcas_erasures_held_back 2\n").then_some(())
        });
        assert_eq!(left(&node), 2);
        node.kill();
        node.start();
    }
}

#[test]
fn what_interrupted_commands_left_is_gone_with_the_next_start() {
    let mut node = Node::started(&[]);
    assert_eq!(node.stop(), 0);
    let left = ["state.verify", "log.import"].map(|name| node.data().join(name));
    for folder in &left {
        std::fs::create_dir_all(folder.join("below")).unwrap();
        std::fs::write(folder.join("below/file"), b"blind indexes, bodies of keys").unwrap();
    }
    node.start();
    assert!(left.iter().all(|folder| !folder.exists()));
}

#[test]
fn an_erasure_is_not_confirmed_while_rows_from_before_it_are_kept() {
    // However slow the machine is, the stream is not given up.
    let node = Node::started(&[AT_ONCE[0], AT_ONCE[1], ("http.client_body_s", "120")]);
    let shop = node.company("shop", &["NG"]);
    let (user, other) = (
        shop.register(ada()),
        shop.register(json!({ "country": "NG", "email": "bola@example.com" })),
    );
    // Rows that are still on their way.
    let row = lines(&[json!({ "email": "ada@example.com", "profile": { "x": 1 } })]);
    let mut stream = begin(&node, &shop, "", row.len() + 1);
    stream.write_all(row.as_bytes()).unwrap();
    wait_for("the rows to come", || {
        let jobs = shop.call("GET", "/v1/sync", Value::Null).done(200).body.clone();
        (jobs["jobs"][0]["state"] == "receiving").then_some(())
    });
    erase(&shop, &user).done(202);
    wait_for("the user to be blanked", || (bodies(&node.data(), &user) == (0, 3)).then_some(()));
    // With a later look the first one is over.
    erase(&shop, &other).done(202);
    wait_for("the other to be blanked", || (bodies(&node.data(), &other) == (0, 2)).then_some(()));
    assert_eq!(receipt(&shop, &user)["state"], "pending");
    drop(stream);
    wait_until_complete(&shop, &user);
    wait_until_complete(&shop, &other);
}

#[test]
fn verdicts_do_not_name_who_was_erased_and_a_later_file_makes_somebody_new() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let row = |email: &str| {
        json!({
            "ref": format!("customer of {email}"), "email": email,
            "legacy_hash": { "hash": hash_of("one two") },
        })
    };
    let rows = [row("ada@example.com"), row("bola@example.com")];
    let first = post(&shop, &lines(&rows));
    assert_eq!(over(&shop, &first)["created"], 2);
    let named = users(&verdicts(&shop, &first));
    erase(&shop, &named[0]).done(202);

    let told = verdicts(&shop, &first);
    assert_eq!(words(&told), ["created", "created"]);
    for member in ["ref", "user_id", "revision"] {
        assert_eq!(told[0][member], Value::Null, "{member}");
        assert!(told[1][member].is_string(), "{member}");
    }
    // The company's nightly file still has the person: that makes a new user, and says so.
    let nightly = post(&shop, &lines(&rows));
    over(&shop, &nightly);
    let told = verdicts(&shop, &nightly);
    assert_eq!(words(&told), ["created", "unchanged"]);
    let new = users(&told)[0].clone();
    assert_ne!(new, named[0]);
    shop.login("NG", "ada@example.com", "one two").done(200);
    assert!(is_gone(&shop, &named[0]));
    // One that names the erased user is told so.
    let by_id = json!({ "user_id": named[0], "email": "ada@example.com" });
    assert_eq!(synced(&shop, &[by_id]), ["invalid user_erased user_id"]);
}

#[test]
fn an_audit_uses_the_keys_of_a_rotation_and_says_nothing_where_one_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let time = folder.path().join("time");
    say(&time, "+0d");
    let mut node = Node::new(&[("keys.branch_key_days", "30")]);
    take_time_from(&mut node, &time);
    node.start();
    let shop = node.company("shop", &["NG"]);
    shop.register(json!({ "country": "NG", "email": "bola@example.com" }));
    let (code, _, said) = node.run(&["keys", "rotate"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(node.stop(), 0);
    // What comes a month later is under a branch key that is wrapped for the new key alone.
    say(&time, "+31d");
    node.start();
    let user = shop.at(&node).register(ada());
    assert_eq!(node.stop(), 0);
    let (data, keys) = (node.data(), node.data().join("keys"));
    let (old, new) = (keys.join("region-wrapping.key"), keys.join("region-wrapping-2.key"));
    let (code, said) = audit(&user, &[&data]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("identity/email = ada@example.com"), "{said}");
    for (gone, why) in [(&new, "stayed closed"), (&old, "has no keys/region-wrapping")] {
        std::fs::remove_file(gone).unwrap();
        let (code, said) = audit(&user, &[&data]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(why) && said.contains("this audit says nothing"), "{said}");
    }
}
