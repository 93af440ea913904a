//! Whom rows are about and what they may do to each other: rows of one person taken together, rows
//! that others would push together, users who are linked, erased or come at two nodes at once.

use std::time::Duration;

use serde_json::{Value, json};

use crate::erasure::{bodies, erase, wait_until_complete};
use crate::node::{Company, Node, wait_for};
use crate::regions::{Places, Region, converge};
use crate::sync::hash_of;
use crate::syncing::{job, lines, over, post, sync_text, synced, users, verdicts, words};

const MAIL: &str = "ada@example.com";

fn ago(seconds: u64) -> String {
    (jiff::Timestamp::now() - Duration::from_secs(seconds)).to_string()
}

fn ahead(seconds: u64) -> String {
    (jiff::Timestamp::now() + Duration::from_secs(seconds)).to_string()
}

/// A user's identities: the values, in the order of the account.
fn identities(company: &Company, user: &str) -> Vec<String> {
    let shown = company.user(user)["identities"].as_array().unwrap().clone();
    shown.iter().map(|it| it["value"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn whoever_claims_the_addresses_of_others_does_not_make_their_rows_too_many() {
    let node = Node::started(&[]);
    let [shop, rogue] = ["shop", "rogue"].map(|id| node.company(id, &["NG"]));
    let addresses: Vec<_> = (0..260).map(|number| format!("p{number}@example.com")).collect();
    let claimer = rogue.register(json!({ "country": "NG", "email": "rogue@example.com" }));
    let claim = format!("/v1/users/{claimer}/identities/email");
    for address in &addresses {
        rogue.call("PUT", &claim, json!({ "value": address })).done(200);
    }
    let row = |address: &String| json!({ "email": address, "profile": { "nickname": "x" } });
    let rows: Vec<_> = addresses.iter().map(row).collect();
    assert_eq!(synced(&shop, &rows), vec!["created"; rows.len()]);
    assert_eq!(synced(&shop, &rows), vec!["unchanged"; rows.len()]);
    // So many rows of one person are too many still, with somebody else's among them or not.
    let many = |number: usize| json!({ "email": "one@example.com", "ref": number.to_string() });
    let mut rows: Vec<_> = (0..257).map(many).collect();
    rows.push(json!({ "email": "two@example.com" }));
    let mut came = synced(&shop, &rows);
    assert_eq!(came.pop().unwrap(), "created");
    assert_eq!(came, vec!["conflict too_many_rows"; 257]);
}

#[test]
fn a_full_mailbox_does_not_part_the_rows_of_a_person() {
    let node = Node::started(&[
        ("actors.shard_mailbox", "16"),
        ("actors.cached_users", "0"),
        ("sync.rows_at_once", "4096"),
    ]);
    let shop = node.company("shop", &["NG"]);
    let number = |person: usize| format!("+23480{:08}", 30_000_000 + person);
    let address = |person: usize| format!("p{person}@example.com");
    let whole = |person| json!({ "email": address(person), "phone": number(person) });
    let rows: Vec<_> = (0..1500).map(whole).collect();
    assert_eq!(synced(&shop, &rows), vec!["created"; rows.len()]);
    let halves = |person| {
        let by = |member: &str, value: String| {
            let profile = json!({ "nickname": member });
            json!({ member: value, "profile": profile })
        };
        [by("email", address(person)), by("phone", number(person))]
    };
    let rows: Vec<_> = (0..1500).flat_map(halves).collect();
    assert_eq!(synced(&shop, &rows), vec!["conflict two_values profile.nickname"; rows.len()]);
}

#[test]
fn an_identity_is_given_up_by_the_row_that_has_another_and_by_none_beside_it() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let (old, new) = ("+2348031234567", "+2348031234568");
    let user = shop.register(json!({ "country": "NG", "email": MAIL, "phone": old }));
    let rows = |by_id: Value| {
        [by_id, json!({ "email": MAIL, "phone": new, "profile": { "nickname": "Ada" } })]
    };
    let apart = rows(json!({ "user_id": user, "profile": { "given_name": "Ada" } }));
    assert_eq!(synced(&shop, &apart), ["applied", "applied"]);
    assert_eq!(identities(&shop, &user), [MAIL, old, new]);
    let newest = "+2348031234569";
    let said = [json!({ "user_id": user, "phone": newest }), json!({ "email": MAIL })];
    assert_eq!(synced(&shop, &said), ["applied", "applied"]);
    assert_eq!(identities(&shop, &user), [MAIL, new, newest]);
}

#[test]
fn an_older_change_of_an_address_adds_none() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let user = shop.register(json!({ "country": "NG", "email": MAIL }));
    let row = |when: &str| json!({ "user_id": user, "email": "b@example.com", "changed_at": when });
    assert_eq!(synced(&shop, &[row(&ago(3600))]), ["older"]);
    assert_eq!(identities(&shop, &user), [MAIL]);
    assert_eq!(synced(&shop, &[row(&ago(0))]), ["applied"]);
    assert_eq!(identities(&shop, &user), ["b@example.com"]);
}

#[test]
fn the_feed_tells_of_a_password_only_what_became_one() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let user = shop.register(json!({ "country": "NG", "email": MAIL }));
    let set = json!({ "password": "one two three" });
    let row = |password: &str, when: Option<String>| {
        let mut row = json!({ "email": MAIL, "legacy_hash": { "hash": hash_of(password) } });
        if let Some(when) = when {
            row["changed_at"] = when.into();
        }
        row
    };
    let (before, between) = (ago(3600), ago(0));
    assert_eq!(synced(&shop, &[row("import", None)]), ["applied"]);
    assert_eq!(synced(&shop, &[row("changed", Some(between))]), ["applied"]);
    shop.call("PUT", &format!("/v1/users/{user}/password"), set).done(200);
    assert_eq!(synced(&shop, &[row("late", Some(before))]), ["older"]);
    let told = shop.call("GET", "/v1/changes?limit=100", Value::Null).done(200).body.clone();
    let changes = told["changes"].as_array().unwrap();
    let kinds: Vec<_> = changes.iter().map(|change| change["kinds"].clone()).collect();
    // The late one came to a slot with something newer, and is not even recorded.
    let expected = [json!(["registered", "identity"]), json!(["credential"]), json!(["password"])];
    assert_eq!(kinds, [&expected[..], &[json!(["password"])]].concat());
    // Where there is room for it, it is a credential and no password.
    let slot = json!({ "hash": hash_of("elsewhere"), "changed_at": ago(7200) });
    let body = json!({ "countries": ["NG", "KE"], "signing": "optional" });
    node.operate("PUT", "/operator/companies/shop", Some(&body)).done(200);
    let put = shop.call("PUT", &format!("/v1/users/{user}/legacy-hashes/KE"), slot);
    put.done(200);
    let after = format!("/v1/changes?after={}", told["next"].as_str().unwrap());
    let told = shop.call("GET", &after, Value::Null).done(200).body.clone();
    assert_eq!(told["changes"][0]["kinds"], json!(["credential"]));
}

#[test]
fn a_linked_user_of_ones_own_is_still_whom_rows_are_about() {
    let node = Node::started(&[]);
    let [shop, other, group] = ["shop", "other", "group"].map(|id| node.company(id, &["NG"]));
    node.trust(&group);
    let row = json!({ "email": MAIL, "profile": { "nickname": "Ada" }, "status": "active",
        "legacy_hash": { "hash": hash_of("of old") } });
    let id = post(&shop, &lines(std::slice::from_ref(&row)));
    over(&shop, &id);
    let user = users(&verdicts(&shop, &id)).remove(0);
    let theirs = other.register(json!({
        "country": "NG", "email": "b@example.com", "password": "the second",
    }));
    let link = format!("/v1/users/{user}/link");
    group.call("POST", &link, json!({ "with": theirs })).done(200);
    let mut named = row.clone();
    named["user_id"] = user.clone().into();
    for row in [&row, &named] {
        // The nightly file again.
        let id = post(&shop, &lines(std::slice::from_ref(row)));
        over(&shop, &id);
        let came = verdicts(&shop, &id);
        assert_eq!(
            (words(&came), users(&came)),
            (vec!["unchanged".to_owned()], vec![user.clone()])
        );
        // What the policies no longer reach, is refused by name.
        let mut changed = row.clone();
        changed["profile"]["nickname"] = "mine".into();
        changed["profile_changed_at"] = ago(0).into();
        assert_eq!(synced(&shop, &[changed]), ["invalid policy_denied profile"]);
        let mut changed = row.clone();
        changed["status"] = "disabled".into();
        assert_eq!(synced(&shop, &[changed]), ["invalid policy_denied status"]);
        let mut changed = row.clone();
        changed["legacy_hash"] = json!({ "hash": hash_of("new"), "changed_at": ago(0) });
        assert_eq!(synced(&shop, &[changed]), ["invalid policy_denied legacy_hash"]);
    }
    other.login("NG", "b@example.com", "the second").done(200);
    assert_eq!(shop.user(&user)["profile"]["nickname"], "Ada");
}

#[test]
fn who_is_erased_while_a_job_has_rows_of_them_stays_so() {
    let node = Node::started(&[("erasure.grace_hours", "0"), ("erasure.rebuild_minutes", "0")]);
    let shop = node.company("shop", &["NG"]);
    let person = |email: &str| shop.register(json!({ "country": "NG", "email": email }));
    let (named, addressed) = (person("a@example.com"), person("b@example.com"));
    let when = ahead(5);
    let profile = json!({ "nickname": "x" });
    let rows = [
        json!({ "ref": "1", "user_id": named, "profile": profile, "changed_at": when }),
        json!({ "ref": "2", "email": "b@example.com", "profile": profile, "changed_at": when }),
        json!({ "ref": "3", "email": "c@example.com" }),
    ];
    let id = post(&shop, &lines(&rows));
    wait_for("the row without a time", || (job(&shop, &id)["created"] == 1).then_some(()));
    for user in [&named, &addressed] {
        erase(&shop, user).done(202);
    }
    assert_eq!(job(&shop, &id)["state"], "running", "the rows with a time wait for it");
    over(&shop, &id);
    let came = verdicts(&shop, &id);
    // An address may be somebody else's by now; an id is nobody's.
    assert_eq!(words(&came), ["invalid user_erased user_id", "created", "created"]);
    assert!(!users(&came).contains(&addressed) && !users(&came).contains(&named), "{came:?}");
    for user in [&named, &addressed] {
        shop.call("GET", &format!("/v1/users/{user}"), Value::Null).refused(410, "user_erased");
        wait_until_complete(&shop, user);
        assert_eq!(bodies(&node.data(), user).0, 0);
    }
}

#[test]
fn erasing_people_in_the_midst_of_their_rows_leaves_them_erased() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let people: Vec<_> = (0..150)
        .map(|number| {
            let email = format!("p{number}@example.com");
            shop.register(json!({ "country": "NG", "email": email }))
        })
        .collect();
    let row = |user: &String| json!({ "user_id": user, "profile": { "nickname": "x" } });
    let text = lines(&people.iter().map(row).collect::<Vec<_>>());
    let came = std::thread::scope(|scope| {
        let syncing = scope.spawn(|| sync_text(&shop, "/v1/sync?country=NG", &text));
        for user in &people {
            erase(&shop, user).done(202);
        }
        syncing.join().unwrap()
    });
    for (verdict, user) in came.iter().zip(&people) {
        assert!(
            ["applied", "invalid user_erased user_id"].contains(&verdict.as_str()),
            "{verdict}"
        );
        shop.call("GET", &format!("/v1/users/{user}"), Value::Null).refused(410, "user_erased");
    }
    assert_eq!(synced(&shop, &people.iter().map(row).collect::<Vec<_>>()), {
        vec!["invalid user_erased user_id"; people.len()]
    });
}

/// A company of both regions, trusted, as each of them has it.
fn trusted(regions: [&Region; 2], id: &str) -> [Company; 2] {
    let company = regions[0].company(id);
    let mut policies = json!({ "verifies": true });
    for name in ["read", "password", "profile", "identity", "status", "link", "erase"] {
        policies[name] = "all".into();
    }
    let path = format!("/operator/companies/{id}/policies");
    regions[0].operate("PUT", &path, Some(&policies)).done(200);
    regions.map(|region| region.at(&company))
}

/// What a company is told of a person.
fn told(company: &Company, email: &str) -> Value {
    let answer = company.call("POST", "/v1/users/lookup", json!({ "email": email }));
    let body = company.user(answer.done(200).body["user_id"].as_str().unwrap());
    json!([body["user_id"], body["linked_ids"], body["profile"], body["identities"]])
}

#[test]
fn a_person_in_two_companies_files_at_two_regions_at_once_ends_the_same_at_both() {
    const PEOPLE: usize = 40;
    let address = |person: usize| format!("p{person}@example.com");
    for cut_off in [false, true] {
        let places = Places::new(&["eu/n1", "us/n1"]);
        let (eu, us) = (places.start(0), places.start(1));
        let [one, one_there] = trusted([&eu, &us], "one");
        let [other_here, other] = trusted([&eu, &us], "other");
        converge([&eu, &us]);
        if cut_off {
            places.cut(0, 1);
        }
        let when = ago(60);
        let file = |name: &str| {
            let row = |person| {
                json!({ "email": address(person), "email_verified": true, "changed_at": when,
                    "profile": { name: person.to_string(), "nickname": name },
                    "legacy_hash": { "hash": hash_of(name) } })
            };
            lines(&(0..PEOPLE).map(row).collect::<Vec<_>>())
        };
        let (text, text_there) = (file("given_name"), file("family_name"));
        let jobs = (post(&one, &text), post(&other, &text_there));
        for ended in [over(&one, &jobs.0), over(&other, &jobs.1)] {
            assert_eq!((&ended["invalid"], &ended["conflict"]), (&json!(0), &json!(0)), "{ended}");
        }
        places.heal(0, 1);
        converge([&eu, &us]);
        for person in 0..PEOPLE {
            let address = address(person);
            // Both have the verified address of one person: with a login they are one account.
            let first = [(&one, "given_name"), (&other, "family_name")];
            let let_in =
                first.map(|(at, password)| at.login("NG", &address, password).status == 200);
            assert_ne!(let_in, [false; 2], "{address}");
            let views = [&one, &one_there, &other_here, &other];
            let settled = wait_for("both regions to say the same", || {
                let told: Vec<_> = views.iter().map(|company| told(company, &address)).collect();
                let is_one = told.iter().all(|it| *it == told[0]);
                let names = ["given_name", "family_name"].map(|name| told[0][2][name].is_string());
                (is_one && names == [true; 2]).then(|| told[0].clone())
            });
            // Of two changes of one time one is the password: the same at both nodes.
            let right = ["given_name", "family_name"].map(|password| {
                let here = one.login("NG", &address, password).status;
                let there = other.login("NG", &address, password).status;
                assert_eq!(here, there, "{address} with {password}: {settled}");
                here == 200
            });
            assert_ne!(right[0], right[1], "one of the two: {settled}");
        }
        converge([&eu, &us]);
        // The files once more change nothing, wherever they are brought.
        let before = eu.state_hash();
        for company in [&one, &one_there] {
            let came = sync_text(company, "/v1/sync?country=NG", &text);
            assert!(
                came.iter().all(|it| ["unchanged", "older"].contains(&it.as_str())),
                "{came:?}"
            );
        }
        converge([&eu, &us]);
        assert_eq!(eu.state_hash(), before);
    }
}
