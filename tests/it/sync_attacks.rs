//! Bulk sync as a way into somebody else's account: none of a careless company's rows changes
//! anything of the victim, opens the account or shuts it, whatever they name and when they claim to
//! be from; and a trusted company's old rows undo nothing.

use std::time::Duration;

use serde_json::{Value, json};

use crate::attacks::{ACCOMPLICES, VICTIMS, World, is, is_own, seen, set_policy};
use crate::node::Company;
use crate::sync::hash_of;
use crate::syncing::synced;

const MAIL: &str = "ada@example.com";
const PHONE: &str = "+2348031234567";

fn ago(seconds: u64) -> String {
    (jiff::Timestamp::now() - Duration::from_secs(seconds)).to_string()
}

fn victim_of(home: &Company, verified: bool) -> String {
    home.register(json!({
        "country": "NG", "email": MAIL, "email_verified": verified, "phone": PHONE,
        "phone_verified": verified, "password": VICTIMS, "profile": { "nickname": "Ada" },
    }))
}

/// Rows that would take an account over, if they did anything to it.
fn takeovers(named: &Value, when: Option<&str>) -> Vec<Value> {
    let wishes = [
        json!({ "legacy_hash": { "hash": hash_of(ACCOMPLICES) } }),
        json!({ "profile": { "nickname": "mine" } }),
        json!({ "status": "disabled" }),
        json!({ "status": "active" }),
    ];
    let row = |wish: &Value| {
        let mut row = named.clone();
        row.as_object_mut().unwrap().extend(wish.as_object().unwrap().clone());
        if let Some(when) = when {
            row["changed_at"] = when.into();
        }
        row
    };
    wishes.iter().map(row).collect()
}

fn keeps_all_of_it(world: &World, victim: &str, before: &crate::attacks::Seen, what: &str) {
    let World { home, third, .. } = world;
    assert_eq!(seen(home, victim), *before, "{what}");
    is(&home.login("NG", MAIL, VICTIMS), victim);
    is(&phone_login(home, VICTIMS), victim);
    for company in [home, third] {
        company.login("NG", MAIL, ACCOMPLICES).refused(401, "invalid_credentials");
        phone_login(company, ACCOMPLICES).refused(401, "invalid_credentials");
    }
}

fn phone_login(company: &Company, password: &str) -> crate::node::Answer {
    let body = json!({ "country": "NG", "phone": PHONE, "password": password });
    company.call("POST", "/v1/login", body)
}

#[test]
fn rows_of_a_careless_company_do_nothing_to_a_victim_by_any_name_and_of_any_time() {
    let now = ago(0);
    for verified in [false, true] {
        let world = World::new(verified, "all");
        let victim = victim_of(&world.home, verified);
        let before = seen(&world.home, &victim);
        let ways = [
            json!({ "user_id": victim }),
            json!({ "user_id": victim, "email": MAIL, "email_verified": true }),
            json!({ "email": MAIL, "email_verified": true }),
            json!({ "email": MAIL, "phone": PHONE }),
            json!({ "phone": PHONE, "phone_verified": true }),
        ];
        for named in ways {
            for when in [None, Some("1991-01-01T00:00:00Z"), Some(now.as_str())] {
                for row in takeovers(&named, when) {
                    let came = synced(&world.rogue, std::slice::from_ref(&row)).remove(0);
                    if named.get("user_id").is_some() {
                        assert_eq!(came, "invalid policy_denied user_id", "{row}");
                    } else {
                        assert_ne!(came, "linked", "{row}");
                    }
                }
            }
            keeps_all_of_it(&world, &victim, &before, &named.to_string());
        }
        // A time to come is taken from nobody.
        let ahead = (jiff::Timestamp::now() + Duration::from_hours(1)).to_string();
        let rows = takeovers(&json!({ "email": MAIL }), Some(&ahead));
        for came in synced(&world.rogue, &rows) {
            assert!(["invalid", "conflict"].contains(&came.split(' ').next().unwrap()), "{came}");
        }
        keeps_all_of_it(&world, &victim, &before, "a time to come");
        // What its rows made is the rogue's own, and opens nothing but that.
        let own = world.rogue.login("NG", MAIL, ACCOMPLICES);
        is_own(&own, &victim);
    }
}

#[test]
fn with_the_policy_own_a_customer_of_both_is_still_out_of_reach_of_rows() {
    let world = World::new(false, "all");
    let World { home, rogue, .. } = &world;
    let victim = victim_of(home, false);
    let by_id = json!({ "country": "NG", "user_id": victim, "password": VICTIMS });
    is(&rogue.call("POST", "/v1/login", by_id), &victim);
    let before = seen(home, &victim);
    let now = ago(0);
    for named in [json!({ "user_id": victim }), json!({ "email": MAIL }), json!({ "phone": PHONE })]
    {
        for row in takeovers(&named, Some(&now)) {
            let came = synced(rogue, std::slice::from_ref(&row)).remove(0);
            if named.get("user_id").is_some() {
                assert_eq!(came, "invalid policy_denied user_id", "{row}");
            } else {
                // At most it is about a user of the rogue's own.
                assert_ne!(came, "linked", "{row}");
            }
        }
        keeps_all_of_it(&world, &victim, &before, &named.to_string());
    }
    // An identity that the user has not, is not added either, and none is taken.
    for row in [
        json!({ "user_id": victim, "email": "rogue@example.com" }),
        json!({ "user_id": victim, "email": null }),
        json!({ "user_id": victim, "phone": null, "changed_at": now }),
    ] {
        assert_eq!(synced(rogue, &[row]), ["invalid policy_denied user_id"]);
    }
    keeps_all_of_it(&world, &victim, &before, "identities");
    // Nor does a link make the victim the rogue's own.
    let accomplice = rogue.register(json!({
        "country": "NG", "email": "accomplice@example.com", "password": ACCOMPLICES,
    }));
    let path = format!("/v1/users/{accomplice}/link");
    rogue.call("POST", &path, json!({ "with": victim })).refused(403, "policy_denied");
    keeps_all_of_it(&world, &victim, &before, "a link");
    let own = rogue.login("NG", "accomplice@example.com", ACCOMPLICES);
    is(&own, &accomplice);
}

#[test]
fn with_the_policy_own_a_linked_user_of_ones_own_is_no_way_into_the_account() {
    let now = ago(0);
    for verified in [false, true] {
        let world = World::new(verified, "all");
        let World { node, home, rogue, third } = &world;
        set_policy(node, third, &[("link", json!("all"))]);
        let victim = victim_of(home, verified);
        let own = rogue.register(json!({
            "country": "NG", "email": "own@example.com", "phone": "+2348030000000",
            "password": ACCOMPLICES,
        }));
        // Who is trusted with it says that they are one person, and is wrong.
        let link = format!("/v1/users/{own}/link");
        third.call("POST", &link, json!({ "with": victim })).done(200);
        let before = seen(home, &victim);
        let ways = [
            json!({ "user_id": own }),
            json!({ "user_id": victim }),
            json!({ "email": "own@example.com", "email_verified": true }),
            json!({ "phone": "+2348030000000", "phone_verified": true }),
        ];
        for named in &ways {
            for when in [None, Some("1991-01-01T00:00:00Z"), Some(now.as_str())] {
                for row in takeovers(named, when) {
                    let came = synced(rogue, std::slice::from_ref(&row)).remove(0);
                    let is_active = row["status"] == "active";
                    let is_refused = came.starts_with("invalid policy_denied ");
                    assert!(is_refused || (is_active && came == "unchanged"), "{row}: {came}");
                }
            }
        }
        for row in [
            json!({ "user_id": own, "email": "other@example.com" }),
            json!({ "user_id": own, "phone": null }),
            json!({ "email": "own@example.com", "phone": "+2348030000001" }),
        ] {
            assert_eq!(synced(rogue, &[row]), ["invalid policy_denied email"]);
        }
        // A bystander's word that the victim's identities are the rogue's own user's, neither.
        let row = json!({ "email": "own@example.com", "phone": PHONE, "phone_verified": true });
        let came = synced(rogue, &[row]).remove(0);
        assert!(["invalid policy_denied email", "unchanged"].contains(&&*came), "{came}");
        assert_eq!(seen(home, &victim), before);
    }
}

#[test]
fn whom_a_company_shut_out_no_others_nightly_list_lets_in() {
    let world = World::new(true, "all");
    let World { node, home, rogue, third } = &world;
    node.trust(third);
    let victim = victim_of(home, true);
    let row = json!({ "email": MAIL, "email_verified": true, "status": "active" });
    assert_eq!(synced(third, std::slice::from_ref(&row)), ["linked"]);
    let path = format!("/v1/users/{victim}/status");
    home.call("PUT", &path, json!({ "status": "disabled" })).done(200);
    let mut backdated = row.clone();
    backdated["changed_at"] = ago(3600).into();
    for night in 0..3 {
        for row in [&row, &backdated] {
            assert_eq!(synced(third, std::slice::from_ref(row)), ["older"], "{night}");
            let came = synced(rogue, std::slice::from_ref(row)).remove(0);
            assert!(["created", "unchanged"].contains(&came.as_str()), "{came}");
        }
        home.login("NG", MAIL, VICTIMS).refused(403, "user_disabled");
        assert_eq!(home.user(&victim)["status"], json!("disabled"));
    }
}

#[test]
fn an_old_dump_that_is_replayed_brings_no_old_password_back() {
    let world = World::new(true, "all");
    let World { node, home, rogue, third } = &world;
    node.trust(home);
    node.trust(third);
    let dump = |when: Option<&str>| {
        let mut row = json!({
            "email": MAIL, "email_verified": true, "profile": { "nickname": "of old" },
            "legacy_hash": { "hash": hash_of("of old") },
        });
        if let Some(when) = when {
            row["changed_at"] = when.into();
        }
        row
    };
    let of_old = "2020-01-01T00:00:00Z";
    for row in [dump(None), dump(Some(of_old))] {
        synced(home, &[row]);
    }
    let login = home.login("NG", MAIL, "of old");
    let user = login.done(200).body["user_id"].as_str().unwrap().to_owned();
    let set = json!({ "password": VICTIMS });
    home.call("PUT", &format!("/v1/users/{user}/password"), set).done(200);
    let patch = json!({ "profile": { "nickname": "Ada" } });
    home.call("PATCH", &format!("/v1/users/{user}"), patch).done(200);
    let before = home.user(&user);
    // By who had it, by a trusted company that got hold of it, and by one that nobody trusts.
    for company in [home, third, rogue] {
        for row in [dump(None), dump(Some(of_old)), dump(None)] {
            let came = synced(company, &[row]).remove(0);
            // What a company makes of it that nobody trusts, is a user of its own.
            assert!(came != "applied" || company.id == "rogue", "{}", company.id);
            assert_eq!(home.user(&user)["profile"], before["profile"]);
            for at in [home, third] {
                at.login("NG", MAIL, "of old").refused(401, "invalid_credentials");
            }
            is(&home.login("NG", MAIL, VICTIMS), &user);
        }
    }
    is(&third.login("NG", MAIL, VICTIMS), &user);
    is_own(&rogue.login("NG", MAIL, "of old"), &user);
}

#[test]
fn an_old_hash_in_a_row_that_is_new_for_other_reasons_is_no_new_password() {
    let world = World::new(true, "all");
    let (node, home) = (&world.node, &world.home);
    node.trust(home);
    let old = json!({ "hash": hash_of("of old") });
    synced(home, &[json!({ "email": MAIL, "legacy_hash": old })]);
    let login = home.login("NG", MAIL, "of old");
    let user = login.done(200).body["user_id"].as_str().unwrap().to_owned();
    let set = json!({ "password": VICTIMS });
    home.call("PUT", &format!("/v1/users/{user}/password"), set).done(200);
    // The row's time says that something of it changed: here the name.
    let profile = json!({ "nickname": "Ada" });
    let row = json!({
        "email": MAIL, "legacy_hash": old, "profile": profile, "changed_at": ago(0),
    });
    assert_eq!(synced(home, &[row]), ["applied"]);
    assert_eq!(home.user(&user)["profile"]["nickname"], "Ada");
    home.login("NG", MAIL, "of old").refused(401, "invalid_credentials");
    is(&home.login("NG", MAIL, VICTIMS), &user);
    // A time of the hash's own says that the password was changed, back to what it was.
    let dated = json!({ "hash": old["hash"], "changed_at": ago(0) });
    assert_eq!(synced(home, &[json!({ "email": MAIL, "legacy_hash": dated })]), ["applied"]);
    is(&home.login("NG", MAIL, "of old"), &user);
    home.login("NG", MAIL, VICTIMS).refused(401, "invalid_credentials");
}

#[test]
fn of_two_companies_changes_with_one_time_the_one_that_stands_stays() {
    let world = World::new(true, "all");
    let World { node, home, third, .. } = &world;
    node.trust(home);
    node.trust(third);
    let when = ago(0);
    let row = |password: &str| {
        json!({ "email": MAIL, "email_verified": true, "changed_at": when,
            "legacy_hash": { "hash": hash_of(password) }, "profile": { "nickname": password } })
    };
    assert_eq!(synced(home, &[row(VICTIMS)]), ["created"]);
    let user = home.login("NG", MAIL, VICTIMS).done(200).body["user_id"].clone();
    let user = user.as_str().unwrap();
    // It makes the user a customer there, and changes nothing that has a time.
    assert_eq!(synced(third, &[row(ACCOMPLICES)]), ["linked"]);
    for _ in 0..2 {
        assert_eq!(synced(third, &[row(ACCOMPLICES)]), ["older"]);
        for company in [home, third] {
            is(&company.login("NG", MAIL, VICTIMS), user);
            company.login("NG", MAIL, ACCOMPLICES).refused(401, "invalid_credentials");
        }
        assert_eq!(home.user(user)["profile"]["nickname"], VICTIMS);
    }
    assert_eq!(synced(home, &[row(VICTIMS)]), ["unchanged"]);
}

#[test]
fn rows_of_a_number_that_changed_hands_open_neither_account_to_the_other() {
    for verified in [false, true] {
        let world = World::new(verified, "all");
        let World { node, home, rogue, third } = &world;
        set_policy(node, third, &[("verifies", json!(true))]);
        let old = victim_of(home, verified);
        let before = seen(home, &old);
        // The new owner has the number at other companies, and an address of their own.
        let row = |password: &str| {
            json!({ "email": "new@example.com", "email_verified": true, "phone": PHONE,
                "phone_verified": true, "legacy_hash": { "hash": hash_of(password) } })
        };
        for company in [rogue, third] {
            let came = synced(company, &[row(ACCOMPLICES)]).remove(0);
            assert!(["created", "conflict identity_taken phone"].contains(&&*came), "{came}");
            let login = company.login("NG", "new@example.com", ACCOMPLICES);
            if came == "created" {
                is_own(&login, &old);
            } else {
                login.refused(401, "invalid_credentials");
            }
        }
        assert_eq!(seen(home, &old), before);
        is(&home.login("NG", MAIL, VICTIMS), &old);
        home.login("NG", MAIL, ACCOMPLICES).refused(401, "invalid_credentials");
        // With the number alone the old owner's account stays the old owner's too.
        let alone = json!({ "phone": PHONE, "phone_verified": true,
            "legacy_hash": { "hash": hash_of("by number") } });
        for company in [rogue, third] {
            assert_ne!(synced(company, std::slice::from_ref(&alone)), ["linked"]);
        }
        assert_eq!(seen(home, &old), before);
        home.login("NG", MAIL, "by number").refused(401, "invalid_credentials");
        // The old owner gets into the old account by the number or into none. This comes last: who
        // logs in becomes a customer there.
        for company in [rogue, third] {
            let by_number = phone_login(company, VICTIMS);
            assert!(by_number.status == 401 || by_number.body["user_id"] == json!(old));
        }
    }
}
