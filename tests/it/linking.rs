//! Users who are one person: linked, taken apart, listed, declined, by whom and by whom not.

use serde_json::{Value, json};

use crate::node::{Answer, Company, Node, wait_for};
use crate::regions::{Places, Region, converge};

fn user(company: &Company, email: &str, password: &str) -> String {
    company.register(json!({ "country": "NG", "email": email, "password": password }))
}

fn say(company: &Company, what: &str, one: &str, other: &str) -> Answer {
    company.call("POST", &format!("/v1/users/{one}/{what}"), json!({ "with": other }))
}

fn decline(company: &Company, one: &str, other: &str) -> Answer {
    company.call("DELETE", &format!("/v1/link-candidates/{one}/{other}"), Value::Null)
}

/// All candidates a company is told, read two at a time.
fn candidates(company: &Company) -> Vec<Value> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/link-candidates?limit=2{after}");
        let page = company.call("GET", &path, Value::Null).done(200).body.clone();
        found.extend(page["candidates"].as_array().unwrap().iter().cloned());
        if page["has_more"] == false {
            return found;
        }
        after = format!("&after={}", page["next"].as_str().unwrap());
    }
}

fn pairs(company: &Company) -> Vec<(String, String)> {
    let id = |value: &Value| value.as_str().unwrap().to_owned();
    candidates(company).iter().map(|it| (id(&it["user_id"]), id(&it["with"]))).collect()
}

/// Two shops and a company of the same group that is trusted with everybody's users.
fn house() -> (Node, Company, Company, Company) {
    let node = Node::started(&[]);
    let (shop, other) = (node.company("shop", &["NG"]), node.company("other", &["NG"]));
    let group = node.company("group", &["NG"]);
    node.trust(&group);
    (node, shop, other, group)
}

#[test]
fn the_repeat_of_a_link_does_not_undo_what_was_said_since() {
    let (mut node, shop, other, group) = house();
    let one = user(&shop, "a@example.com", "the first");
    let two = user(&other, "b@example.com", "the second");
    let with_key = |group: &Company, key: &str, what: &str, with: &str| {
        let body = json!({ "with": with }).to_string();
        let path = format!("/v1/users/{one}/{what}");
        group.call_raw("POST", &path, &[("Idempotency-Key", key)], Some(&body))
    };
    let linked = |answer: &Answer| answer.done(200).body["linked_ids"].clone();
    assert_eq!(linked(&with_key(&group, "l-1", "link", &two)), json!([two]));
    assert_eq!(linked(&with_key(&group, "u-1", "unlink", &two)), json!([]));
    let before = node.state_hash();
    assert_eq!(linked(&with_key(&group, "l-1", "link", &two)), json!([]));
    with_key(&group, "l-1", "unlink", &two).refused(422, "idempotency_key_reused");
    with_key(&group, "l-1", "link", &one).refused(422, "idempotency_key_reused");
    assert_eq!(node.state_hash(), before);
    node.kill();
    node.start();
    let group = group.at(&node);
    assert_eq!(linked(&with_key(&group, "l-1", "link", &two)), json!([]));
    assert_eq!(linked(&with_key(&group, "l-2", "link", &two)), json!([two]));
    assert_eq!(linked(&with_key(&group, "u-1", "unlink", &two)), json!([two]));
}

#[test]
fn linked_users_are_one_account_by_any_id_and_any_identity() {
    let (mut node, shop, other, group) = house();
    let one = user(&shop, "a@example.com", "the first");
    let two = user(&other, "b@example.com", "the second");
    let answer = say(&group, "link", &two, &one);
    let account = &answer.done(200).body;
    assert_eq!((&account["user_id"], &account["requested_id"]), (&json!(one), &json!(two)));
    assert_eq!(account["linked_ids"], json!([two]));
    assert_eq!(account["identities"].as_array().unwrap().len(), 2);
    for (company, email) in [
        (&shop, "a@example.com"),
        (&shop, "b@example.com"),
        (&other, "a@example.com"),
        (&other, "b@example.com"),
    ] {
        let answer = company.login("NG", email, "the second");
        assert_eq!(answer.done(200).body["user_id"], json!(one), "{email}");
        company.login("NG", email, "the first").refused(401, "invalid_credentials");
    }
    // A write goes to the user it is addressed to, and shows at both.
    let path = format!("/v1/users/{two}");
    group.call("PATCH", &path, json!({ "profile": { "given_name": "Ada" } })).done(200);
    assert_eq!(shop.user(&one)["profile"], shop.user(&two)["profile"]);
    assert_eq!(shop.user(&one)["revision"], shop.user(&two)["revision"]);
    // A password set on either is the password of both.
    let path = format!("/v1/users/{one}/password");
    let body = json!({ "password": "the third", "current_password": "the second" });
    shop.call("PUT", &path, body).done(200);
    other.login("NG", "b@example.com", "the third").done(200);
    other.login("NG", "b@example.com", "the second").refused(401, "invalid_credentials");
    // It is shut out while one of them is.
    let status = format!("/v1/users/{two}/status");
    group.call("PUT", &status, json!({ "status": "disabled" })).done(200);
    shop.login("NG", "a@example.com", "the third").refused(403, "user_disabled");
    group.call("PUT", &status, json!({ "status": "active" })).done(200);
    let before = shop.user(&two);
    // The same again is nothing new, and all of it is in the log.
    assert_eq!(say(&group, "link", &one, &two).done(200).body["revision"], before["revision"]);
    node.kill();
    std::fs::remove_dir_all(node.data().join("state")).unwrap();
    node.start();
    assert_eq!(shop.at(&node).user(&two), before);
    assert_eq!(node.stop(), 0);
    let (code, printed, said) = node.run(&["state", "verify"]);
    assert_eq!(code, 0, "{printed}{said}");
}

#[test]
fn old_hashes_of_all_linked_users_work_until_one_of_them_is_the_password() {
    let (_node, shop, _, _) = house();
    let profile = json!({ "scheme": "digest", "digest": "md5" });
    shop.call("PUT", "/v1/hash-profiles/NG/default", profile).done(200);
    let import = |email: &str, hash: &str| {
        shop.register(json!({ "country": "NG", "email": email, "legacy_hash": { "hash": hash } }))
    };
    let one = import("a@example.com", "0f359740bd1cda994f8b55330c86d845");
    let two = import("b@example.com", "5f4dcc3b5aa765d61d8327deb882cf99");
    say(&shop, "link", &one, &two).done(200);
    // Both are of one slot. The first login makes its own the password.
    let answer = shop.login("NG", "a@example.com", "password");
    assert_eq!(answer.done(200).body["upgraded"], json!(true));
    shop.login("NG", "b@example.com", "password").done(200);
    // An upgrade carries the time of the import it verified, and is a secret.
    shop.login("NG", "a@example.com", "p@ssw0rd").refused(401, "invalid_credentials");
}

#[test]
fn taken_apart_each_has_its_own_and_the_side_without_the_password_sets_a_new_one() {
    let (_node, shop, other, group) = house();
    let one = user(&shop, "a@example.com", "the first");
    let two = user(&other, "b@example.com", "the second");
    say(&group, "link", &one, &two).done(200);
    // Whoever knew the first password is not let into what the second guards, before and after.
    let answer = say(&group, "unlink", &one, &two);
    assert_eq!(answer.done(200).body["linked_ids"], json!([]));
    shop.login("NG", "a@example.com", "the second").refused(401, "invalid_credentials");
    shop.login("NG", "a@example.com", "the first").refused(401, "invalid_credentials");
    other.login("NG", "b@example.com", "the second").done(200);
    let path = format!("/v1/users/{one}/password");
    shop.call("PUT", &path, json!({ "password": "the third" })).done(200);
    let answer = shop.login("NG", "a@example.com", "the third");
    assert_eq!(answer.done(200).body["user_id"], json!(one));
    other.login("NG", "b@example.com", "the third").refused(401, "invalid_credentials");
    // Again it changes nothing, and they can be joined again.
    say(&group, "unlink", &one, &two).done(200);
    say(&group, "link", &one, &two).done(200);
    other.login("NG", "b@example.com", "the third").done(200);
}

#[test]
fn of_three_the_one_who_leaves_takes_along_whoever_is_joined_by_it_alone() {
    let (_node, shop, _, _) = house();
    let [a, b, c, d] =
        ["a", "b", "c", "d"].map(|name| user(&shop, &format!("{name}@example.com"), name));
    for (one, other) in [(&a, &b), (&b, &c), (&c, &a), (&b, &d)] {
        say(&shop, "link", one, other).done(200);
    }
    let ids = |user: &String| {
        let body = shop.user(user);
        let mut ids = body["linked_ids"].as_array().unwrap().clone();
        ids.push(body["user_id"].clone());
        let mut ids: Vec<_> = ids.iter().map(|id| id.as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&d).len(), 4);
    say(&shop, "unlink", &a, &b).done(200);
    assert_eq!(ids(&a), [a.clone(), c.clone()], "who is joined by another way stays");
    assert_eq!(ids(&d), [b.clone(), d.clone()], "who is joined by the one who leaves leaves too");
    // The newest password was d's: it goes with it, and the others have none.
    shop.login("NG", "b@example.com", "d").done(200);
    for (email, password) in
        [("a@example.com", "a"), ("c@example.com", "c"), ("a@example.com", "d")]
    {
        shop.login("NG", email, password).refused(401, "invalid_credentials");
    }
}

#[test]
fn nobody_gets_into_anothers_account_by_linking() {
    let (node, shop, careless, group) = house();
    let victim = user(&shop, "victim@example.com", "victim's own");
    let decoy = user(&careless, "victim@example.com", "thief's own");
    let second = user(&careless, "second@example.com", "thief's too");
    let victim_before = shop.user(&victim);
    // With policy `own` only one's own users are joined, in either direction, by any of them.
    for (one, other) in [(&decoy, &victim), (&victim, &decoy)] {
        say(&careless, "link", one, other).refused(403, "policy_denied");
        say(&careless, "unlink", one, other).refused(403, "policy_denied");
        decline(&careless, one, other).refused(403, "policy_denied");
    }
    say(&careless, "link", &decoy, &second).done(200);
    say(&careless, "link", &second, &victim).refused(403, "policy_denied");
    // A customer of both is still its creator's.
    let login = json!({ "country": "NG", "user_id": victim, "password": "victim's own" });
    careless.call("POST", "/v1/login", login).done(200);
    say(&careless, "link", &decoy, &victim).refused(403, "policy_denied");
    for password in ["thief's own", "thief's too"] {
        shop.login("NG", "victim@example.com", password).refused(401, "invalid_credentials");
    }
    // Joined by somebody who may, neither company is trusted with the account alone any more.
    let fourth = user(&careless, "fourth@example.com", "another");
    say(&group, "link", &fourth, &victim).done(200);
    for company in [&careless, &shop] {
        for user in [&fourth, &victim] {
            let path = format!("/v1/users/{user}");
            let set = json!({ "password": "taken over" });
            company.call("PUT", &format!("{path}/password"), set).refused(403, "policy_denied");
            let off = json!({ "status": "disabled" });
            company.call("PUT", &format!("{path}/status"), off).refused(403, "policy_denied");
        }
        say(company, "unlink", &fourth, &victim).refused(403, "policy_denied");
    }
    say(&careless, "link", &fourth, &second).refused(403, "policy_denied");
    say(&group, "unlink", &victim, &fourth).done(200);
    assert_eq!(shop.user(&victim)["identities"], victim_before["identities"]);
    // What is nobody's, or oneself, is not linked.
    say(&group, "link", &victim, &victim).refused(422, "invalid_fields");
    let nobody = "019a7b3c-5d6e-7f80-8a91-b2c3d4e5f607";
    say(&group, "link", &victim, nobody).refused(404, "user_not_found");
    say(&group, "link", &victim, "no id").refused(404, "user_not_found");
    let off = json!({ "read": "all", "password": "own", "profile": "own", "identity": "own",
        "status": "own", "link": "off", "erase": "own", "verifies": false });
    node.operate("PUT", "/operator/companies/shop/policies", Some(&off)).done(200);
    let own = user(&shop, "own@example.com", "own");
    say(&shop, "link", &own, &victim).refused(403, "policy_denied");
}

#[test]
fn candidates_are_pairs_with_one_identity_of_whom_nobody_said_anything() {
    let (_node, shop, other, group) = house();
    let phone = "+2348031234567";
    let person = |company: &Company, email: &str| {
        company.register(json!({ "country": "NG", "email": email, "phone": phone }))
    };
    let [a, b, c] = [
        person(&shop, "a@example.com"),
        person(&other, "a@example.com"),
        person(&group, "c@example.com"),
    ];
    user(&shop, "nobody@example.com", "else");
    // Whose customer none of them is hears of none, nor whose policy reaches only its own.
    assert_eq!(pairs(&shop), []);
    assert_eq!(pairs(&group), [(a.clone(), c.clone()), (b.clone(), c.clone())]);
    // Having one of them as a customer, it hears of that pair, too.
    let path = format!("/v1/users/{a}/password");
    group.call("PUT", &path, json!({ "password": "of a" })).done(200);
    group.login("NG", "a@example.com", "of a").done(200);
    let found = candidates(&group);
    assert_eq!(found.len(), 3);
    assert_eq!(
        found[0]["evidence"],
        json!([{ "kind": "email", "verified": false },
        { "kind": "phone", "verified": false }])
    );
    assert_eq!(found[1]["evidence"], json!([{ "kind": "phone", "verified": false }]));
    decline(&group, &c, &b).done(200);
    decline(&group, &b, &c).done(200);
    assert_eq!(pairs(&group), [(a.clone(), b.clone()), (a.clone(), c.clone())]);
    say(&group, "link", &a, &c).done(200);
    assert_eq!(pairs(&group), [(a.clone(), b.clone())]);
    decline(&group, &a, &c).refused(404, "not_found");
    say(&group, "unlink", &a, &c).done(200);
    assert_eq!(pairs(&group), [(a.clone(), b.clone())], "what a person took apart is none");
    group.call("GET", "/v1/link-candidates?after=no", Value::Null).refused(400, "invalid_cursor");
}

#[test]
fn companies_hear_of_links_and_from_then_on_of_both_users() {
    let (_node, shop, other, group) = house();
    let one = user(&shop, "a@example.com", "the first");
    let two = user(&other, "b@example.com", "the second");
    let changes = |company: &Company, after: &Value| {
        let after = after.as_str().map(|it| format!("?after={it}")).unwrap_or_default();
        company.call("GET", &format!("/v1/changes{after}"), Value::Null).done(200).body.clone()
    };
    let ends = [&shop, &other].map(|company| changes(company, &Value::Null)["next"].clone());
    say(&group, "link", &one, &two).done(200);
    let path = format!("/v1/users/{two}");
    group.call("PATCH", &path, json!({ "profile": { "given_name": "Ada" } })).done(200);
    let told = |page: &Value| {
        let changes = page["changes"].as_array().unwrap().clone();
        changes
            .into_iter()
            .map(|it| (it["user_id"].clone(), it["kinds"].clone()))
            .collect::<Vec<_>>()
    };
    for (company, end) in [&shop, &other].into_iter().zip(&ends) {
        let page = changes(company, end);
        assert_eq!(
            told(&page),
            [
                (json!(one), json!(["linked"])),
                (json!(two), json!(["linked"])),
                (json!(two), json!(["profile"]))
            ]
        );
        for change in &page["changes"].as_array().unwrap()[..2] {
            assert_eq!(change["canonical_id"], json!(one));
            assert_eq!(change["linked_ids"], json!([two]));
        }
        // One event, two users: whoever stops between them is told the second.
        let first = page["changes"][0]["cursor"].clone();
        assert_eq!(told(&changes(company, &first)), told(&page)[1..]);
    }
    let end = changes(&shop, &Value::Null)["next"].clone();
    say(&group, "unlink", &one, &two).done(200);
    group.call("PATCH", &path, json!({ "profile": { "given_name": "Bea" } })).done(200);
    assert_eq!(told(&changes(&shop, &end)), [(json!(one), json!(["unlinked"]))]);
}

/// Gives a company all policies, at a region.
fn trust(region: &Region, company: &Company) {
    let all = ["read", "password", "profile", "identity", "status", "link", "erase"];
    let mut policies: serde_json::Map<String, Value> =
        all.iter().map(|policy| ((*policy).to_owned(), json!("all"))).collect();
    policies.insert("verifies".to_owned(), json!(true));
    let path = format!("/operator/companies/{}/policies", company.id);
    region.operate("PUT", &path, Some(&Value::Object(policies))).done(200);
}

#[test]
fn what_two_regions_say_at_once_ends_the_same_in_both() {
    let places = Places::new(&["eu/n1", "us/n1"]);
    let (eu, us) = (places.start(0), places.start(1));
    let shop = eu.company("shop");
    let there = us.at(&shop);
    let users: Vec<String> =
        (0..8).map(|number| user(&shop, &format!("u{number}@example.com"), "one")).collect();
    converge([&eu, &us]);
    places.cut(0, 1);
    // The same link at both; a ring; a link here that is declined later there; apart and together.
    say(&shop, "link", &users[0], &users[1]).done(200);
    say(&there, "link", &users[1], &users[0]).done(200);
    say(&shop, "link", &users[2], &users[3]).done(200);
    say(&there, "link", &users[3], &users[4]).done(200);
    say(&shop, "link", &users[5], &users[6]).done(200);
    decline(&there, &users[6], &users[5]).done(200);
    decline(&shop, &users[6], &users[7]).done(200);
    say(&there, "link", &users[7], &users[6]).done(200);
    places.heal(0, 1);
    converge([&eu, &us]);
    for company in [&shop, &there] {
        let linked = |number: usize| company.user(&users[number])["linked_ids"].clone();
        assert_eq!(linked(0), json!([users[1]]));
        assert_eq!(linked(2), json!([users[3], users[4]]));
        assert_eq!(linked(5), json!([]), "declined later");
        assert_eq!(linked(6), json!([users[7]]), "linked later");
    }
    // Taken apart at one, given a password at the other: the same again.
    places.cut(0, 1);
    say(&shop, "unlink", &users[2], &users[4]).done(200);
    let path = format!("/v1/users/{}/password", users[3]);
    there.call("PUT", &path, json!({ "password": "newer" })).done(200);
    places.heal(0, 1);
    converge([&eu, &us]);
    let logins = |company: &Company| {
        let status = |number: usize, password| {
            company.login("NG", &format!("u{number}@example.com"), password).status
        };
        [2, 3, 4].map(|number| ["one", "newer"].map(|password| status(number, password)))
    };
    assert_eq!(logins(&shop), logins(&there));
    assert_eq!(logins(&shop)[1], [401, 200]);
}

#[test]
fn by_themselves_only_users_with_a_verified_address_are_linked_and_only_once() {
    let places = Places::new(&["eu/n1", "us/n1"]);
    let (eu, us) = (places.start(0), places.start(1));
    let group = eu.company("group");
    trust(&eu, &group);
    converge([&eu, &us]);
    let there = us.at(&group);
    let person = |company: &Company, name: &str, verified: &str| {
        company.register(json!({ "country": "NG", "email": format!("{name}@example.com"),
            "phone": if name == "p" { "+2348031234567" } else { "+2348031234568" },
            "email_verified": verified == "email", "phone_verified": verified == "phone",
            "password": "one" }))
    };
    places.cut(0, 1);
    let one = person(&group, "e", "email");
    let two = person(&there, "e", "email");
    let three = person(&group, "p", "phone");
    let four = person(&there, "p", "phone");
    places.heal(0, 1);
    converge([&eu, &us]);
    // A phone number changes hands: that is for somebody to look at.
    let phone = json!({ "country": "NG", "phone": "+2348031234567", "password": "one" });
    group.call("POST", "/v1/login", phone).done(200);
    assert_eq!(group.user(&three)["linked_ids"], json!([]));
    assert!(pairs(&group).contains(&(three.clone().min(four.clone()), three.max(four))));
    let answer = group.login("NG", "e@example.com", "one");
    assert_eq!(answer.done(200).body["linked_ids"].as_array().unwrap().len(), 1);
    wait_for("the other region to hear of it", || {
        (there.user(&one)["linked_ids"].as_array().unwrap().len() == 1).then_some(())
    });
    // A person says otherwise: nothing joins them again, wherever who logs in.
    say(&there, "unlink", &one, &two).done(200);
    converge([&eu, &us]);
    for company in [&group, &there] {
        for id in [&one, &two] {
            let path = format!("/v1/users/{id}/password");
            company.call("PUT", &path, json!({ "password": "again" })).done(200);
            let login = json!({ "country": "NG", "user_id": id, "password": "again" });
            let answer = company.call("POST", "/v1/login", login);
            assert_eq!(answer.done(200).body["linked_ids"], json!([]));
        }
    }
}
