//! A person who is erased: gone for everybody at once, and from the disk after the grace.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jcas::events::codec;
use jcas::events::event::{Event, EventKind};
use jcas::events::ids::{Digest, UserId};
use jcas::events::record::{LogPosition, Subject};
use jcas::files::{Disk, Files};
use jcas::log::LogReader;
use serde_json::{Value, json};

use crate::node::{Answer, Company, Node, files_below, wait_for};

/// Settings under which a person is blanked as soon as that can be.
const AT_ONCE: [(&str, &str); 2] = [("erasure.grace_hours", "0"), ("erasure.rebuild_minutes", "0")];

pub fn ada() -> Value {
    json!({
        "country": "NG", "email": "ada@example.com", "phone": "+2348031234567",
        "password": "one two three", "profile": { "given_name": "Adaeze" },
    })
}

pub fn erase(company: &Company, user: &str) -> Answer {
    company.call("DELETE", &format!("/v1/users/{user}"), Value::Null)
}

pub fn receipt(company: &Company, user: &str) -> Value {
    let path = format!("/v1/users/{user}/erasure");
    company.call("GET", &path, Value::Null).done(200).body.clone()
}

pub fn wait_until_complete(company: &Company, user: &str) -> Value {
    wait_for("the erasure to be complete", || {
        let receipt = receipt(company, user);
        (receipt["state"] == "complete").then_some(receipt)
    })
}

/// Of a user's records that erasure blanks: how many still have a body, how many have none.
pub fn bodies(data: &Path, user: &str) -> (usize, usize) {
    let user: UserId = user.parse().unwrap();
    let files: Arc<dyn Files> = Arc::new(Disk);
    let (mut whole, mut blank) = (0, 0);
    let reader = LogReader::open_path(&files, &data.join("log")).unwrap();
    for stored in reader.scan(LogPosition::START, None) {
        let record = stored.unwrap().record;
        let header = codec::decode_header(&record.header).unwrap();
        if header.subject == Subject::User(user) && header.kind.is_blanked_by_erasure() {
            *(if record.body.is_some() { &mut whole } else { &mut blank }) += 1;
        }
    }
    (whole, blank)
}

/// What finds a user's identities: their blind indexes, while the log has them.
fn indexes(data: &Path, user: &str) -> BTreeSet<Digest> {
    let user: UserId = user.parse().unwrap();
    let files: Arc<dyn Files> = Arc::new(Disk);
    let reader = LogReader::open_path(&files, &data.join("log")).unwrap();
    let facts = reader.scan(LogPosition::START, None);
    let facts = facts.map(|stored| codec::decode_record(&stored.unwrap().record).unwrap().1);
    let of_user = facts.filter(|fact| fact.subject == Subject::User(user));
    let claimed = of_user.filter_map(|fact| match fact.event {
        Some(Event::IdentityClaimed(claimed)) => Some(claimed.index.mac),
        _ => None,
    });
    claimed.collect()
}

/// The files below a folder that hold one of these.
fn holding(data: &Path, indexes: &BTreeSet<Digest>) -> Vec<String> {
    let holds = |bytes: &[u8]| {
        indexes.iter().any(|index| bytes.windows(32).any(|window| window == index.0))
    };
    let files = files_below(data).into_iter().filter(|(_, bytes)| holds(bytes));
    files.map(|(path, _)| path.display().to_string()).collect()
}

#[test]
fn who_is_erased_is_gone_for_everybody_at_once() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let user = shop.register(ada());
    shop.login("NG", "ada@example.com", "one two three").done(200);
    let path = format!("/v1/users/{user}");
    shop.call("GET", &format!("{path}/erasure"), Value::Null).refused(404, "not_found");

    let receipt = erase(&shop, &user).done(202).body.clone();
    assert_eq!((&receipt["user_id"], &receipt["state"]), (&json!(user), &json!("pending")));
    assert_eq!(receipt["regions"][0]["state"], "pending");
    assert!(receipt["erased_at"].is_string(), "{receipt}");

    shop.call("GET", &path, Value::Null).refused(410, "user_erased");
    shop.call("GET", &format!("{path}/history"), Value::Null).refused(410, "user_erased");
    shop.call("GET", &format!("{path}/export"), Value::Null).refused(410, "user_erased");
    let change = json!({ "profile": { "given_name": "Ada" } });
    shop.call("PATCH", &path, change).refused(410, "user_erased");
    shop.login("NG", "ada@example.com", "one two three").refused(401, "invalid_credentials");
    let by_id = json!({ "country": "NG", "user_id": user, "password": "one two three" });
    shop.call("POST", "/v1/login", by_id).refused(401, "invalid_credentials");
    let lookup = json!({ "email": "ada@example.com" });
    shop.call("POST", "/v1/users/lookup", lookup).refused(404, "user_not_found");

    // Again is the same again.
    let again = erase(&shop, &user).done(202).body.clone();
    assert_eq!(again["erased_at"], receipt["erased_at"]);
    // Whoever comes with the identity is somebody new.
    let new = shop.register(ada());
    assert_ne!(new, user);
    shop.login("NG", "ada@example.com", "one two three").done(200);
    shop.call("GET", &path, Value::Null).refused(410, "user_erased");
    // Everywhere is no more than that where nobody is linked.
    let everywhere = |value: &str| {
        shop.call("DELETE", &format!("/v1/users/{new}?everywhere={value}"), Value::Null)
    };
    everywhere("perhaps").refused(422, "invalid_fields");
    everywhere("true").done(202);
    shop.call("GET", &format!("/v1/users/{new}"), Value::Null).refused(410, "user_erased");
}

#[test]
fn after_the_grace_nothing_on_the_disk_finds_or_opens_the_person() {
    let mut node = Node::started(&AT_ONCE);
    let shop = node.company("shop", &["NG"]);
    let (user, other) = (
        shop.register(ada()),
        shop.register(json!({
            "country": "NG", "email": "bola@example.com", "password": "four five six",
        })),
    );
    let found_by = indexes(&node.data(), &user);
    assert_eq!(found_by.len(), 2);
    assert!(!holding(&node.data(), &found_by).is_empty());
    assert_eq!(bodies(&node.data(), &user), (3, 0));

    erase(&shop, &user).done(202);
    let receipt = wait_until_complete(&shop, &user);
    assert_eq!(receipt["regions"][0]["waiting_for"], json!([]));
    assert_eq!(bodies(&node.data(), &user), (0, 3));
    assert_eq!(holding(&node.data(), &found_by), Vec::<String>::new());
    // The state that was folded anew is the same, is written on, and is read after a restart.
    shop.login("NG", "bola@example.com", "four five six").done(200);
    let third = shop.register(json!({ "country": "NG", "email": "cece@example.com" }));
    let hash = node.state_hash();
    node.kill();
    node.start();
    assert_eq!(node.state_hash().1, hash.1);
    let here = shop.at(&node);
    for user in [&other, &third] {
        assert_eq!(here.user(user)["user_id"], json!(user));
    }
    here.call("GET", &format!("/v1/users/{user}"), Value::Null).refused(410, "user_erased");
    assert_eq!(node.stop(), 0);
    let (code, said, error) = node.run(&["state", "verify"]);
    assert_eq!(code, 0, "{said}{error}");
    let (code, said, error) = node.run(&["log", "verify"]);
    assert_eq!(code, 0, "{said}{error}");
    assert_eq!(holding(&node.data(), &found_by), Vec::<String>::new());
}

#[test]
fn an_erasure_that_a_kill_interrupted_is_carried_out_after_it() {
    let mut node = Node::started(&[("erasure.rebuild_minutes", "0")]);
    let shop = node.company("shop", &["NG"]);
    let user = shop.register(ada());
    erase(&shop, &user).done(202);
    node.kill();
    assert_eq!(bodies(&node.data(), &user), (3, 0), "the grace had not passed");
    node.set("erasure.grace_hours", "0");
    // Killed wherever it happens to be, over and over.
    for _ in 0..5 {
        node.start();
        node.kill();
    }
    node.start();
    wait_until_complete(&shop.at(&node), &user);
    assert_eq!(bodies(&node.data(), &user), (0, 3));
}

#[test]
fn a_state_that_is_gone_before_the_blanking_makes_no_difference() {
    let mut node = Node::started(&[("erasure.rebuild_minutes", "0")]);
    let shop = node.company("shop", &["NG"]);
    let user = shop.register(ada());
    erase(&shop, &user).done(202);
    assert_eq!(node.stop(), 0);
    std::fs::remove_dir_all(node.data().join("state")).unwrap();
    node.set("erasure.grace_hours", "0");
    node.start();
    wait_until_complete(&shop.at(&node), &user);
    assert_eq!(bodies(&node.data(), &user), (0, 3));
}

#[test]
fn more_than_the_bound_are_held_back_and_shown() {
    let node = Node::started(&[
        AT_ONCE[0],
        AT_ONCE[1],
        ("erasure.users_per_hour", "2"),
        ("metrics.sample_s", "1"),
    ]);
    let shop = node.company("shop", &["NG"]);
    let users: Vec<_> = (0..5)
        .map(|number| {
            let email = format!("p{number}@example.com");
            shop.register(json!({ "country": "NG", "email": email }))
        })
        .collect();
    for user in &users {
        erase(&shop, user).done(202);
    }
    wait_for("three to be held back", || {
        let figures = shop.call("GET", "/metrics", Value::Null).text;
        figures.contains("\njcas_erasures_held_back 3\n").then_some(())
    });
    let left = users.iter().filter(|user| bodies(&node.data(), user) == (2, 0)).count();
    assert_eq!(left, 3);
    for user in &users {
        let path = format!("/v1/users/{user}");
        shop.call("GET", &path, Value::Null).refused(410, "user_erased");
    }
}

#[test]
fn whom_others_have_too_a_company_only_lets_go() {
    let node = Node::started(&[]);
    let (shop, cafe) = (node.company("shop", &["NG"]), node.company("cafe", &["NG"]));
    let user = shop.register(ada());
    // It becomes the cafe's customer by logging in there.
    cafe.login("NG", "ada@example.com", "one two three").done(200);
    erase(&shop, &user).refused(409, "linked_elsewhere");
    let left = |company: &Company| {
        let path = format!("/v1/users/{user}/history");
        let history = company.call("GET", &path, Value::Null).done(200).body.clone();
        let events = history["events"].as_array().unwrap().clone();
        let left = events.iter().filter(|event| event["kind"] == "CompanyLeft");
        left.map(|event| event["about"][0].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(left(&cafe), ["shop"]);
    cafe.login("NG", "ada@example.com", "one two three").done(200);
    // The cafe may not erase what it did not register; it can only let go.
    erase(&cafe, &user).refused(409, "linked_elsewhere");
    assert_eq!(left(&cafe), ["shop", "cafe"]);
    erase(&cafe, &user).refused(403, "policy_denied");
    // Nobody else has it now.
    erase(&shop, &user).done(202);

    let user = shop.register(ada());
    cafe.login("NG", "ada@example.com", "one two three").done(200);
    let everywhere = format!("/v1/users/{user}?everywhere=true");
    shop.call("DELETE", &everywhere, Value::Null).refused(409, "linked_elsewhere");
    cafe.user(&user);
    node.trust(&cafe);
    erase(&cafe, &user).done(202);
    let path = format!("/v1/users/{user}");
    shop.call("GET", &path, Value::Null).refused(410, "user_erased");
}

#[test]
fn of_two_who_claim_an_address_one_may_go() {
    let node = Node::started(&AT_ONCE);
    let (shop, cafe) = (node.company("shop", &["NG"]), node.company("cafe", &["NG"]));
    let address = "ada@example.com";
    let body = |word: &str| json!({ "country": "NG", "email": address, "password": word });
    let (first, second) = (shop.register(body("one two")), cafe.register(body("three four")));
    assert_ne!(first, second);
    erase(&shop, &first).done(202);
    wait_until_complete(&shop, &first);
    let answer = cafe.login("NG", "ada@example.com", "three four");
    assert_eq!(answer.done(200).body["user_id"], json!(second));
    shop.login("NG", "ada@example.com", "one two").refused(401, "invalid_credentials");
    assert_eq!(bodies(&node.data(), &second), (2, 0));
}

#[test]
fn a_person_is_told_all_that_is_held_and_where_it_came_from_and_no_hash() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let user = shop.register(ada());
    let path = format!("/v1/users/{user}");
    let change = json!({ "profile": { "given_name": "Ada", "locale": "en" } });
    shop.call("PATCH", &path, change).done(200);
    let hash = "$2y$04$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy";
    let legacy = format!("{path}/legacy-hashes/NG");
    shop.call("PUT", &legacy, json!({ "hash": hash })).done(200);
    let export = shop.call("GET", &format!("{path}/export"), Value::Null);
    let body = &export.done(200).body;
    assert_eq!(body["user"]["identities"].as_array().unwrap().len(), 2);
    let records = body["users"][0]["records"].as_array().unwrap();
    assert!(records.iter().all(|it| it["origin"].is_string() && it["at"].is_string()));
    let asked = records.iter().filter(|it| it["kind"] != "UserKeyCreated");
    assert!(asked.clone().all(|it| it["company"] == "shop"), "{body}");
    let held: Vec<_> =
        records.iter().flat_map(|it| it["holds"].as_array().unwrap().clone()).collect();
    for part in [
        json!({ "part": "identity", "kind": "email", "value": "ada@example.com",
            "verified": false, "stands": true }),
        json!({ "part": "identity", "kind": "phone", "value": "+2348031234567",
            "verified": false, "stands": true }),
        json!({ "part": "field", "field": "given_name", "value": "Adaeze", "stands": false }),
        json!({ "part": "field", "field": "given_name", "value": "Ada", "stands": true }),
        json!({ "part": "field", "field": "locale", "value": "en", "stands": true }),
        json!({ "part": "password", "scheme": "bcrypt", "stands": true }),
        json!({ "part": "legacy_hash", "company": "shop", "country": "NG", "scheme": "bcrypt",
            "stands": true }),
    ] {
        assert!(held.contains(&part), "{part} is not among {held:?}");
    }
    assert!(!export.text.contains("$2"), "{}", export.text);
}

#[test]
fn what_confirms_an_erasure_is_an_event_of_its_own_that_names_nobody() {
    let node = Node::started(&AT_ONCE);
    let shop = node.company("shop", &["NG"]);
    let user = shop.register(ada());
    erase(&shop, &user).done(202);
    wait_until_complete(&shop, &user);
    let files: Arc<dyn Files> = Arc::new(Disk);
    let reader = LogReader::open_path(&files, &node.data().join("log")).unwrap();
    let headers = reader.scan(LogPosition::START, None);
    let headers = headers.map(|it| codec::decode_header(&it.unwrap().record.header).unwrap());
    let confirming: Vec<_> = headers.filter(|header| header.kind == EventKind(13)).collect();
    assert_eq!(confirming.len(), 1, "it is said once");
    assert_eq!(confirming[0].subject, Subject::User(user.parse().unwrap()));
    assert_eq!(confirming[0].cause.company, None);
}

#[test]
fn what_is_written_while_the_state_is_folded_anew_is_in_it() {
    let mut node = Node::started(&AT_ONCE);
    let shop = node.company("shop", &["NG"]);
    let done = AtomicBool::new(false);
    let (shop, done) = (&shop, &done);
    let users: Vec<String> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|writer| {
                scope.spawn(move || {
                    let mut users = Vec::new();
                    while !done.load(Ordering::Relaxed) {
                        let email = format!("w{writer}n{}@example.com", users.len());
                        let user = shop.register(json!({ "country": "NG", "email": email }));
                        let patch = json!({ "profile": { "locale": "en" } });
                        shop.call("PATCH", &format!("/v1/users/{user}"), patch).done(200);
                        users.push(user);
                    }
                    users
                })
            })
            .collect();
        for number in 0..4 {
            let email = format!("p{number}@example.com");
            let user = shop.register(json!({ "country": "NG", "email": email }));
            erase(shop, &user).done(202);
            wait_until_complete(shop, &user);
            assert_eq!(bodies(&node.data(), &user), (0, 2));
        }
        done.store(true, Ordering::Relaxed);
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    assert!(users.len() > 20, "{} users were written meanwhile", users.len());
    node.kill();
    node.start();
    let here = shop.at(&node);
    for user in &users {
        assert_eq!(here.user(user)["profile"]["locale"], "en");
    }
    assert_eq!(node.stop(), 0);
    let (code, said, error) = node.run(&["state", "verify"]);
    assert_eq!(code, 0, "{said}{error}");
}
