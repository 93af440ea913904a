//! Bulk sync: what rows do to users.

use std::time::Duration;

use serde_json::{Value, json};

use crate::erasure::erase;
use crate::node::{Company, Node};
use crate::problem::problem;
use crate::regions::{Places, converge};
use crate::syncing::{lines, over, post, post_to, sync_text, synced, users, verdicts, words};

/// A hash that a shop has of a password.
pub fn hash_of(password: &str) -> String {
    bcrypt::hash_with_salt(password, 4, *b"a salt of 16 b..").unwrap().to_string()
}

/// So many seconds from now, as a row writes it.
fn at(seconds: u64) -> String {
    (jiff::Timestamp::now() + Duration::from_secs(seconds)).to_string()
}

fn shop(node: &Node) -> Company {
    node.company("shop", &["NG", "KE"])
}

fn row(email: &str, password: &str) -> Value {
    json!({
        "ref": email, "email": email, "phone": null,
        "legacy_hash": { "hash": hash_of(password) }, "profile": { "given_name": "Ada" },
    })
}

#[test]
fn rows_make_users_who_log_in_with_their_old_passwords() {
    let node = Node::started(&[]);
    let shop = shop(&node);
    let ada = row("ada@example.com", "one two");
    let grace = json!({
        "ref": 7, "email": "Grace@Example.com", "phone": "08031234567",
        "legacy_hash": { "hash": hash_of("three four") }, "status": "disabled",
    });
    let id = post(&shop, &lines(&[ada, grace]));
    let done = over(&shop, &id);
    assert_eq!(
        (&done["state"], &done["rows"], &done["created"]),
        (&"done".into(), &2.into(), &2.into())
    );
    let verdicts = verdicts(&shop, &id);
    assert_eq!(words(&verdicts), ["created", "created"]);
    assert_eq!(verdicts[0]["ref"], "ada@example.com");
    assert_eq!(verdicts[1]["ref"], "7");
    let login = shop.login("NG", "ada@example.com", "one two");
    assert_eq!(login.done(200).body["user_id"], verdicts[0]["user_id"]);
    assert_eq!(login.body["profile"]["given_name"], "Ada");
    assert_eq!(login.body["upgraded"], true);
    shop.login("NG", "grace@example.com", "three four").refused(403, "user_disabled");
    let user = shop.user(&users(&verdicts)[1]);
    assert_eq!(user["identities"][1]["value"], "+2348031234567");
}

#[test]
fn the_same_file_twice_or_shuffled_changes_nothing() {
    let node = Node::started(&[]);
    let shop = shop(&node);
    let mut rows: Vec<_> = (0..60)
        .map(|number| {
            json!({
                "email": format!("{number}@example.com"), "phone": format!("0803{number:07}"),
                "legacy_hash": { "hash": hash_of("one two") },
                "profile": { "given_name": "Ada", "locale": "en-NG" },
                "status": if number % 7 == 0 { "disabled" } else { "active" },
            })
        })
        .collect();
    // One person in two lines.
    rows.push(json!({ "email": "3@example.com", "profile": { "nickname": "Three" } }));
    let first = synced(&shop, &rows);
    assert!(first[..60].iter().all(|word| word == "created"), "{first:?}");
    assert_eq!(first[60], "applied");
    let state = node.state_hash();
    assert_eq!(state.1, 60);
    let again = synced(&shop, &rows);
    assert!(again.iter().all(|word| word == "unchanged"), "{again:?}");
    rows.reverse();
    rows.swap(7, 31);
    let shuffled = synced(&shop, &rows);
    assert!(shuffled.iter().all(|word| word == "unchanged"), "{shuffled:?}");
    assert_eq!(node.state_hash(), state);
}

#[test]
fn shuffled_rows_of_new_people_come_to_the_same() {
    let rows = [
        json!({ "email": "a@example.com", "phone": "08030000001", "profile": { "x": 1 } }),
        json!({ "phone": "08030000001", "profile": { "y": 2 } }),
        json!({ "email": "b@example.com", "phone": "08030000002" }),
        json!({ "email": "c@example.com", "phone": "08030000002" }),
        json!({ "email": "d@example.com", "legacy_hash": { "hash": hash_of("one") } }),
        json!({ "email": "d@example.com", "legacy_hash": { "hash": hash_of("two") } }),
        json!({ "email": "d@example.com" }),
    ];
    for turn in 0..rows.len() {
        let node = Node::started(&[]);
        let shop = shop(&node);
        let mut turned = rows.to_vec();
        turned.rotate_left(turn);
        let mut words = synced(&shop, &turned);
        words.rotate_right(turn);
        let mut first: Vec<_> = words[..2].to_vec();
        first.sort();
        assert_eq!(first, ["applied", "created"], "{turn}");
        let phone = "conflict two_values email";
        let hash = "conflict two_values legacy_hash";
        assert_eq!(words[2..], [phone, phone, hash, hash, hash], "{turn}");
        assert_eq!(node.state_hash().1, 1, "{turn}");
        shop.call("POST", "/v1/users/lookup", json!({ "email": "b@example.com" }))
            .refused(404, "user_not_found");
        let found = shop.call("POST", "/v1/users/lookup", json!({ "email": "a@example.com" }));
        let user = shop.user(found.done(200).body["user_id"].as_str().unwrap());
        assert_eq!(user["profile"], json!({ "x": 1, "y": 2 }), "{turn}");
    }
}

#[test]
fn a_dry_run_says_what_would_become_of_rows_and_changes_nothing() {
    let node = Node::started(&[]);
    let shop = shop(&node);
    synced(&shop, &[row("ada@example.com", "one two")]);
    let before = node.state_hash();
    let rows = [
        row("grace@example.com", "one two"),
        json!({ "email": "ada@example.com", "profile": { "nickname": "A" } }),
        json!({ "email": "ada" }),
    ];
    let target = "/v1/sync?country=NG&dry_run=true";
    let said = sync_text(&shop, target, &lines(&rows));
    assert_eq!(said, ["created", "applied", "invalid invalid_email email"]);
    assert_eq!(node.state_hash(), before);
    assert_eq!(synced(&shop, &rows), said);
    assert_ne!(node.state_hash(), before);
}

#[test]
fn imports_never_displace_a_password_in_use_and_fields_fill_gaps_only() {
    let node = Node::started(&[]);
    let shop = shop(&node);
    let id = shop.register(json!({
        "country": "NG", "email": "ada@example.com", "password": "in use",
        "profile": { "given_name": "Ada" },
    }));
    let old = json!({
        "email": "ada@example.com", "legacy_hash": { "hash": hash_of("of old") },
        "profile": { "given_name": "Adah" },
    });
    assert_eq!(synced(&shop, std::slice::from_ref(&old)), ["older"]);
    assert_eq!(synced(&shop, &[old]), ["older"], "the field is still another");
    shop.login("NG", "ada@example.com", "of old").refused(401, "invalid_credentials");
    shop.login("NG", "ada@example.com", "in use").done(200);
    let gap =
        json!({ "email": "ada@example.com", "profile": { "nickname": "A", "given_name": "B" } });
    assert_eq!(synced(&shop, &[gap]), ["applied"]);
    assert_eq!(shop.user(&id)["profile"], json!({ "given_name": "Ada", "nickname": "A" }));
}

#[test]
fn changes_prevail_by_their_time() {
    let node = Node::started(&[]);
    let shop = shop(&node);
    let id = shop.register(json!({
        "country": "NG", "email": "ada@example.com", "password": "first",
        "profile": { "given_name": "Ada" },
    }));
    let change = |password: &str, name: &str, when: &str| {
        json!({
            "email": "ada@example.com", "legacy_hash": { "hash": hash_of(password) },
            "profile": { "given_name": name }, "changed_at": when,
        })
    };
    let earlier = change("earlier", "Earlier", "2001-01-01T00:00:00Z");
    assert_eq!(synced(&shop, &[earlier]), ["older"]);
    let later = at(0);
    let later_row = change("later", "Later", &later);
    assert_eq!(synced(&shop, std::slice::from_ref(&later_row)), ["applied"]);
    shop.login("NG", "ada@example.com", "first").refused(401, "invalid_credentials");
    assert_eq!(shop.user(&id)["profile"]["given_name"], "Later");
    // Two changes of one time: the one that stands, stays, however often the other comes.
    let rival = change("rival", "Rival", &later);
    assert_eq!(synced(&shop, std::slice::from_ref(&rival)), ["older"]);
    assert_eq!(synced(&shop, &[rival]), ["older"]);
    assert_eq!(synced(&shop, &[later_row]), ["unchanged"]);
    shop.login("NG", "ada@example.com", "later").done(200);
}

#[test]
fn times_before_1990_and_far_ahead_are_refused_and_near_ones_are_waited_for() {
    let node = Node::started(&[]);
    let shop = shop(&node);
    let row = |email: &str, when: &str| {
        let profile = json!({ "x": 1 });
        json!({ "email": email, "changed_at": when, "profile": profile })
    };
    let hashed = json!({
        "email": "c@example.com",
        "legacy_hash": { "hash": hash_of("p"), "changed_at": at(600) },
    });
    let rows = [
        row("a@example.com", "1989-12-31T23:59:59Z"),
        row("b@example.com", &at(90)),
        hashed,
        row("d@example.com", "yesterday"),
        row("e@example.com", &at(2)),
        row("f@example.com", "2020-01-01T00:00:00+01:00"),
    ];
    let soon = jiff::Timestamp::now() + Duration::from_secs(2);
    let words = synced(&shop, &rows);
    assert!(jiff::Timestamp::now() >= soon, "it did not wait");
    let invalid = "invalid changed_at_in_future";
    assert_eq!(
        words,
        [
            "invalid invalid_time changed_at",
            &format!("{invalid} changed_at"),
            &format!("{invalid} legacy_hash.changed_at"),
            "invalid invalid_time changed_at",
            "created",
            "created",
        ]
    );
}

#[test]
fn a_status_shuts_out_and_lets_in_by_time() {
    let node = Node::started(&[]);
    let shop = shop(&node);
    let id = shop.register(json!({ "country": "NG", "email": "ada@example.com", "password": "p" }));
    let status = |word: &str, when: Option<&str>| {
        let mut row = json!({ "email": "ada@example.com", "status": word });
        if let Some(when) = when {
            row["changed_at"] = when.into();
        }
        synced(&shop, &[row]).remove(0)
    };
    let is = |word: &str| assert_eq!(shop.user(&id)["status"], word);
    let put = |word: &str| {
        let path = format!("/v1/users/{id}/status");
        shop.call("PUT", &path, json!({ "status": word })).done(200);
    };
    assert_eq!(status("active", None), "unchanged");
    put("disabled");
    // A nightly list that says "active" does not let in whom somebody shut out since.
    assert_eq!(status("active", None), "older");
    assert_eq!(status("active", Some("2020-01-01T00:00:00Z")), "older");
    is("disabled");
    assert_eq!(status("active", Some(&at(0))), "applied");
    is("active");
    assert_eq!(status("disabled", None), "older", "it was let in since");
    assert_eq!(status("disabled", Some("2020-01-01T00:00:00Z")), "older");
    is("active");
    assert_eq!(status("disabled", Some(&at(0))), "applied");
    is("disabled");
}

#[test]
fn with_a_users_id_another_address_is_a_change_and_null_removes() {
    let node = Node::started(&[]);
    let shop = shop(&node);
    let id = shop.register(json!({
        "country": "NG", "email": "old@example.com", "phone": "08031234567",
    }));
    let identities = || {
        let user = shop.user(&id);
        let all = user["identities"].as_array().unwrap().iter();
        let mut all: Vec<_> = all.map(|it| it["value"].as_str().unwrap().to_owned()).collect();
        all.sort();
        all
    };
    let change = json!({ "user_id": id, "email": "new@example.com" });
    assert_eq!(synced(&shop, std::slice::from_ref(&change)), ["applied"]);
    assert_eq!(identities(), ["+2348031234567", "new@example.com"]);
    assert_eq!(synced(&shop, &[change]), ["unchanged"]);
    // An old list does not bring back what the user gave up.
    let old = json!({ "user_id": id, "email": "old@example.com" });
    assert_eq!(synced(&shop, &[old]), ["older"]);
    assert_eq!(identities(), ["+2348031234567", "new@example.com"]);
    let dated = json!({ "user_id": id, "email": "old@example.com", "changed_at": at(0) });
    assert_eq!(synced(&shop, &[dated]), ["applied"]);
    assert_eq!(identities(), ["+2348031234567", "old@example.com"]);
    assert_eq!(synced(&shop, &[json!({ "user_id": id, "phone": null })]), ["applied"]);
    assert_eq!(identities(), ["old@example.com"]);
    let last = json!({ "user_id": id, "email": null });
    assert_eq!(synced(&shop, &[last]), ["conflict last_identity email"]);
    let nobody = json!({ "user_id": "019a7b3c-5d6e-7f80-8a91-b2c3d4e5f607" });
    assert_eq!(synced(&shop, &[nobody]), ["invalid user_not_found user_id"]);
}

#[test]
fn the_address_of_one_and_the_number_of_another_is_a_conflict_and_changes_neither() {
    let node = Node::started(&[]);
    let shop = shop(&node);
    let rows = [
        json!({ "email": "a@example.com", "phone": "08031111111" }),
        json!({ "email": "b@example.com", "phone": "08032222222" }),
    ];
    assert_eq!(synced(&shop, &rows), ["created", "created"]);
    let before = node.state_hash();
    let mixed = json!({ "email": "a@example.com", "phone": "08032222222", "profile": { "x": 1 } });
    assert_eq!(synced(&shop, &[mixed]), ["conflict identity_taken phone"]);
    let new = json!({ "email": "c@example.com", "phone": "08032222222" });
    assert_eq!(synced(&shop, &[new]), ["conflict identity_taken phone"]);
    assert_eq!(node.state_hash(), before);
}

#[test]
fn a_company_without_trust_makes_users_of_its_own_and_gets_into_nobody_elses() {
    let node = Node::started(&[]);
    let (shop, other) = (shop(&node), node.company("other", &["NG"]));
    node.trust(&shop);
    let theirs = shop.register(json!({
        "country": "NG", "email": "ada@example.com", "email_verified": true,
        "phone": "08031234567", "phone_verified": true, "password": "hers",
    }));
    let mut row = row("ada@example.com", "known to other");
    row["email_verified"] = true.into();
    let id = post(&other, &lines(&[row.clone()]));
    over(&other, &id);
    let by_email = verdicts(&other, &id);
    assert_eq!(words(&by_email), ["created"]);
    assert_ne!(users(&by_email)[0], theirs);
    other.login("NG", "ada@example.com", "known to other").done(200);
    shop.login("NG", "ada@example.com", "known to other").refused(401, "invalid_credentials");
    assert_eq!(shop.login("NG", "ada@example.com", "hers").body["user_id"], theirs);
    assert_eq!(synced(&other, &[row]), ["unchanged"]);
    let by_phone = json!({ "phone": "+2348031234567", "legacy_hash": { "hash": hash_of("q") } });
    assert_eq!(synced(&other, &[by_phone]), ["created"]);
    let named = json!({ "user_id": theirs, "legacy_hash": { "hash": hash_of("q") } });
    assert_eq!(synced(&other, &[named]), ["invalid policy_denied user_id"]);
    let named = json!({ "user_id": theirs, "email": "ada@example.com", "email_verified": true });
    assert_eq!(synced(&other, &[named]), ["invalid policy_denied user_id"]);
    shop.login("NG", "ada@example.com", "q").refused(401, "invalid_credentials");
}

#[test]
fn a_row_attaches_to_others_users_where_both_are_verified() {
    let node = Node::started(&[]);
    let (shop, other) = (shop(&node), node.company("other", &["NG"]));
    node.trust(&shop);
    node.trust(&other);
    let theirs = shop.register(json!({
        "country": "NG", "email": "ada@example.com", "email_verified": true, "password": "hers",
    }));
    let unverified = shop.register(json!({ "country": "NG", "email": "bob@example.com" }));
    let row = |email: &str, verified: bool| {
        let profile = json!({ "nickname": "A" });
        json!({ "email": email, "email_verified": verified, "profile": profile })
    };
    let rows = [row("ada@example.com", true), row("bob@example.com", true)];
    let id = post(&other, &lines(&rows));
    over(&other, &id);
    let came = verdicts(&other, &id);
    assert_eq!(words(&came), ["linked", "created"]);
    assert_eq!(users(&came)[0], theirs);
    assert_ne!(users(&came)[1], unverified);
    assert_eq!(synced(&other, &rows), ["unchanged", "unchanged"]);
    assert_eq!(other.login("NG", "ada@example.com", "hers").done(200).body["user_id"], theirs);
}

#[test]
fn one_person_in_two_companies_files_at_once_is_a_user_of_each_or_of_both() {
    let node = Node::started(&[]);
    let (shop, other) = (shop(&node), node.company("other", &["NG"]));
    let rows: Vec<_> = (0..300)
        .map(|number| json!({ "email": format!("{number}@example.com"), "email_verified": true }))
        .collect();
    let at_once = |one: &Company, two: &Company| {
        let text = lines(&rows);
        let jobs = (post(one, &text), post(two, &text));
        (over(one, &jobs.0), over(two, &jobs.1))
    };
    let (one, two) = at_once(&shop, &other);
    assert_eq!((&one["created"], &two["created"]), (&300.into(), &300.into()));
    assert_eq!(node.state_hash().1, 600);
    let node = Node::started(&[]);
    let (shop, other) = (self::shop(&node), node.company("other", &["NG"]));
    node.trust(&shop);
    node.trust(&other);
    let (one, two) = at_once(&shop, &other);
    let sum = |name: &str| one[name].as_u64().unwrap() + two[name].as_u64().unwrap();
    assert_eq!((sum("created"), sum("linked")), (300, 300));
    assert_eq!(node.state_hash().1, 300);
}

#[test]
fn an_erased_person_in_a_file_is_somebody_new_by_address_and_nobody_by_id() {
    let node = Node::started(&[]);
    let shop = shop(&node);
    let old = shop.register(json!({
        "country": "NG", "email": "ada@example.com", "phone": "+2348031234567",
        "password": "one two", "profile": { "nickname": "A" },
    }));
    erase(&shop, &old).done(202);
    let named = json!({ "user_id": old, "email": "ada@example.com", "profile": { "x": 1 } });
    let before = node.state_hash();
    assert_eq!(synced(&shop, std::slice::from_ref(&named)), ["invalid user_erased user_id"]);
    assert_eq!(node.state_hash(), before, "a row with an id makes nobody");
    // An old file has the person still: a new user, and the file's company sees that.
    let rows = [row("ada@example.com", "one two"), json!({ "phone": "08031234567" })];
    let id = post(&shop, &lines(&rows));
    over(&shop, &id);
    let came = verdicts(&shop, &id);
    assert_eq!(words(&came), ["created", "created"]);
    let users = users(&came);
    assert!(users.iter().all(|user| *user != old), "{users:?}");
    assert_eq!(shop.user(&users[0])["profile"], json!({ "given_name": "Ada" }));
    shop.call("GET", &format!("/v1/users/{old}"), Value::Null).refused(410, "user_erased");
    // Rows of one file that name one address are one: neither is taken, and each says why.
    let both = [named, row("ada@example.com", "one two")];
    assert_eq!(synced(&shop, &both), ["invalid user_erased user_id"; 2]);
}

#[test]
fn a_job_that_is_asked_for_at_another_node_is_said_to_be_at_its_own() {
    let places = Places::new(&["eu/n1", "eu/n2"]);
    let [one, two] = [0, 1].map(|number| places.start(number));
    let at_one = one.company("shop");
    converge([&one, &two]);
    let at_two = two.at(&at_one);
    let id = post(&at_one, &lines(&[row("ada@example.com", "one two")]));
    assert!(id.starts_with("n1."), "{id}");
    assert_eq!(over(&at_one, &id)["state"], "done");
    let path = format!("/v1/sync/{id}");
    for (method, path) in
        [("GET", path.clone()), ("GET", format!("{path}/rows")), ("DELETE", path.clone())]
    {
        let elsewhere = at_two.call(method, &path, Value::Null);
        problem(&elsewhere, 503, "job_node_unreachable");
        let detail = elsewhere.body["detail"].as_str().unwrap();
        assert!(detail.contains("n1"), "it does not say where: {detail}");
    }
    // What the job did is known at both.
    converge([&one, &two]);
    at_two.login("NG", "ada@example.com", "one two").done(200);
    assert_eq!(at_two.call("GET", "/v1/sync", Value::Null).body["jobs"], json!([]));
}

#[test]
fn what_the_call_needs_it_says() {
    let node = Node::started(&[]);
    let shop = shop(&node);
    let row = lines(&[json!({ "email": "a@example.com" })]);
    post_to(&shop, "/v1/sync", &row).refused(422, "invalid_fields");
    post_to(&shop, "/v1/sync?country=GH", &row).refused(422, "country_not_allowed");
    post_to(&shop, "/v1/sync?country=NG&dry_run=yes", &row).refused(422, "invalid_fields");
    let json = [("Content-Type", "application/json")];
    shop.call_raw("POST", "/v1/sync?country=NG", &json, Some(&row))
        .refused(415, "unsupported_media_type");
    let get = |path: &str| shop.call("GET", path, Value::Null);
    get("/v1/sync/node-1.019a7b3c-5d6e-7f80-8a91-b2c3d4e5f607").refused(404, "job_not_found");
    get("/v1/sync/nonsense").refused(404, "job_not_found");
    let elsewhere = get("/v1/sync/node-9.019a7b3c-5d6e-7f80-8a91-b2c3d4e5f607");
    elsewhere.refused(503, "job_node_unreachable");
    assert!(elsewhere.body["detail"].as_str().unwrap().contains("node-9"), "{}", elsewhere.text);
    let body = json!({ "scopes": ["write", "read"] });
    let issued = node.operate("POST", "/operator/companies/shop/keys", Some(&body));
    let key = issued.body["api_key"].as_str().unwrap().to_owned();
    let without = Company { key, ..shop.clone() };
    post_to(&without, "/v1/sync?country=NG", &row).refused(403, "scope_missing");
    // A job is its company's alone.
    let id = post(&shop, &row);
    over(&shop, &id);
    let other = node.company("other", &["NG"]);
    other.call("GET", &format!("/v1/sync/{id}"), Value::Null).refused(404, "job_not_found");
    let rows = other.call("GET", &format!("/v1/sync/{id}/rows"), Value::Null);
    rows.refused(404, "job_not_found");
    assert_eq!(other.call("GET", "/v1/sync", Value::Null).body["jobs"], json!([]));
    let listed = shop.call("GET", "/v1/sync", Value::Null);
    assert_eq!(listed.done(200).body["jobs"][0]["job_id"], id);
}

#[test]
fn verdicts_are_listed_by_page_and_by_word() {
    let node = Node::started(&[]);
    let shop = shop(&node);
    let rows: Vec<_> = (0..250)
        .map(|number| match number % 5 {
            0 => json!({ "ref": number, "email": "nobody" }),
            _ => json!({ "ref": number, "email": format!("{number}@example.com") }),
        })
        .collect();
    let id = post(&shop, &lines(&rows));
    assert_eq!(over(&shop, &id)["invalid"], 50);
    let page = |query: &str| {
        shop.call("GET", &format!("/v1/sync/{id}/rows?{query}"), Value::Null).done(200).body.clone()
    };
    let (mut refs, mut after) = (Vec::new(), String::new());
    loop {
        let page = page(&format!("verdict=invalid&limit=7{after}"));
        let rows = page["rows"].as_array().unwrap();
        assert!(rows.len() <= 7);
        refs.extend(rows.iter().map(|row| row["ref"].as_str().unwrap().parse::<u64>().unwrap()));
        after = format!("&after={}", page["next"].as_str().unwrap());
        if page["has_more"] == false {
            break;
        }
    }
    assert_eq!(refs, (0..250).step_by(5).collect::<Vec<_>>());
    assert_eq!(page(&format!("limit=7{after}&verdict=invalid"))["rows"], json!([]));
    let rows = |query: &str| shop.call("GET", &format!("/v1/sync/{id}/rows?{query}"), Value::Null);
    rows("after=no").refused(400, "invalid_cursor");
    rows("limit=0").refused(422, "invalid_fields");
    rows("verdict=good").refused(422, "invalid_fields");
}
