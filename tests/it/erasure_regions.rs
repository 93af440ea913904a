//! A person who is erased in one region is gone in every region, also where a node was away.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::erasure::{ada, bodies, erase, receipt, wait_until_complete};
use crate::node::{Company, wait_for};
use crate::operating::{regions, run};
use crate::regions::{Places, Region, converge};

fn state_of(receipt: &Value, region: &str) -> Value {
    let regions = receipt["regions"].as_array().unwrap().iter();
    regions.filter(|it| it["region"] == region).map(|it| it["state"].clone()).next().unwrap()
}

fn wait_until_there(company: &Company, user: &str) {
    wait_for("the user to be in the other region", || {
        let path = format!("/v1/users/{user}");
        (company.call("GET", &path, Value::Null).status == 200).then_some(())
    });
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let there = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &there);
        } else {
            std::fs::copy(&path, &there).unwrap();
        }
    }
}

/// Two regions, a company, and a user that both have.
fn begun(places: &Places) -> (Region, Region, Company, String) {
    let (eu, us) = (places.start(0), places.start(1));
    let shop = eu.company("shop");
    let user = shop.register(ada());
    wait_until_there(&us.at(&shop), &user);
    (eu, us, shop, user)
}

#[test]
fn a_region_that_was_away_blanks_too_when_it_is_back_and_says_so() {
    let places = Places::new(&["eu/n1", "us/n1"]);
    let (eu, mut us, shop, user) = begun(&places);
    us.stop();
    erase(&shop, &user).done(202);
    let half = wait_for("the region to confirm", || {
        let receipt = receipt(&shop, &user);
        (state_of(&receipt, "eu") == "complete").then_some(receipt)
    });
    assert_eq!((&half["state"], state_of(&half, "us")), (&json!("pending"), json!("pending")));
    assert_eq!(half["regions"][1]["waiting_for"], json!(["us/n1"]));
    assert_eq!((bodies(&eu.data, &user), bodies(&us.data, &user)), ((0, 3), (3, 0)));

    let us = places.start(1);
    wait_until_complete(&shop, &user);
    assert_eq!(bodies(&us.data, &user), (0, 3));
    let there = us.at(&shop);
    wait_until_complete(&there, &user);
    let path = format!("/v1/users/{user}");
    there.call("GET", &path, Value::Null).refused(410, "user_erased");
    converge([&eu, &us]);
}

#[test]
fn what_was_changed_elsewhere_meanwhile_brings_nobody_back() {
    let places = Places::new(&["eu/n1", "us/n1"]);
    let (eu, us, shop, user) = begun(&places);
    let there = us.at(&shop);
    places.cut(0, 1);
    erase(&shop, &user).done(202);
    let path = format!("/v1/users/{user}");
    there.call("PUT", &format!("{path}/password"), json!({ "password": "four five" })).done(200);
    there
        .call("PUT", &format!("{path}/identities/email"), json!({ "value": "b@example.com" }))
        .done(200);
    there.login("NG", "ada@example.com", "four five").done(200);
    wait_for("the region to confirm", || {
        (state_of(&receipt(&shop, &user), "eu") == "complete").then_some(())
    });
    places.heal(0, 1);
    wait_until_complete(&shop, &user);
    converge([&eu, &us]);
    for company in [&shop, &there] {
        company.call("GET", &path, Value::Null).refused(410, "user_erased");
        let refused = company.login("NG", "b@example.com", "four five");
        refused.refused(401, "invalid_credentials");
    }
    // What came late is blanked as well, where it came and where it came from.
    for region in [&eu, &us] {
        wait_for("all of it to be blanked", || {
            (bodies(&region.data, &user) == (0, 4)).then_some(())
        });
    }
}

#[test]
fn a_copy_from_before_the_erasure_blanks_again() {
    let places = Places::new(&["eu/n1", "us/n1"]);
    let (eu, mut us, shop, user) = begun(&places);
    us.stop();
    let folder = tempfile::tempdir().unwrap();
    for part in ["log", "state"] {
        copy(&us.data.join(part), &folder.path().join(part));
    }
    let mut us = places.start(1);
    erase(&shop, &user).done(202);
    wait_until_complete(&shop, &user);
    us.stop();
    assert_eq!(bodies(&us.data, &user), (0, 3));
    for part in ["log", "state"] {
        std::fs::remove_dir_all(us.data.join(part)).unwrap();
        copy(&folder.path().join(part), &us.data.join(part));
    }
    assert_eq!(bodies(&us.data, &user), (3, 0));

    let us = places.start(1);
    wait_for("the restored copy to be blanked", || {
        (bodies(&us.data, &user) == (0, 3)).then_some(())
    });
    let path = format!("/v1/users/{user}");
    us.at(&shop).call("GET", &path, Value::Null).refused(410, "user_erased");
    converge([&eu, &us]);
}

/// What another implementation finds of the person in the files of these data folders, with the
/// master keys of all of them.
fn audit(user: &str, data: [&Path; 2]) -> (Option<i32>, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/erasure-audit");
    let mut command = Command::new(script);
    command.args(["--user", user, "--identity", "email:ada@example.com"]);
    command.args(["--identity", "phone:+2348031234567"]).args(data);
    let ran = command.output().unwrap();
    let said = [ran.stdout, ran.stderr].concat();
    (ran.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn with_all_master_keys_the_person_is_found_in_every_region_before_and_in_none_after() {
    let places = Places::new(&["eu/n1", "us/n1"]);
    let (mut eu, mut us, shop, user) = begun(&places);
    us.stop();
    eu.stop();
    let (code, said) = audit(&user, [&eu.data, &us.data]);
    assert_eq!(code, Some(1), "{said}");
    for region in [&eu, &us] {
        for what in [
            "identity/email = ada@example.com",
            "identity/phone = +2348031234567",
            "field/given_name = \"Adaeze\"",
            "key of the user",
            "blind index of the email",
        ] {
            for folder in ["log", "state"] {
                let place = format!("in {}", region.data.join(folder).display());
                let found = said.lines().any(|it| it.starts_with(what) && it.contains(&place));
                // The state holds no key.
                assert_eq!(
                    found,
                    folder == "log" || !what.starts_with("key"),
                    "{what} {place}: {said}"
                );
            }
        }
    }

    let mut eu = places.start(0);
    let shop = eu.at(&shop);
    erase(&shop, &user).done(202);
    wait_for("the region to confirm", || {
        (state_of(&receipt(&shop, &user), "eu") == "complete").then_some(())
    });
    // The other region was away, and comes back.
    let mut us = places.start(1);
    wait_until_complete(&shop, &user);
    us.stop();
    eu.stop();
    let (code, said) = audit(&user, [&eu.data, &us.data]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("nothing of the user was found"), "{said}");
}

/// Cuts off what a region recorded from a sequence on; both nodes stop for it and start again.
fn cut_off(
    places: &Places,
    (mut eu, mut us): (Region, Region),
    life: &str,
    from: u64,
) -> (Region, Region) {
    let key = jcas::deployment::open(&eu.data).unwrap().operator_key_left_here().unwrap();
    let (from, key) = (from.to_string(), key.to_str().unwrap().to_owned());
    let cut = ["regions", "distrust", life, "--from", &from, "--operator-key", &key];
    let (code, _, said) = run(&eu, &cut);
    assert_eq!(code, 0, "{said}");
    eu.ended();
    us.ended();
    (places.start(0), places.start(1))
}

/// Where a region's own life recorded a user's tombstone.
fn tombstone_of(region: &Region, user: &str, life: &str) -> u64 {
    let log = region.data.join("log");
    let show = ["log", "show", log.to_str().unwrap(), "--user", user, "--origin", life, "--json"];
    let (code, shown, said) = run(region, &show);
    assert_eq!(code, 0, "{said}");
    let mut events = shown.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let erasing = events.find(|event| event["kind"] == "UserErased").unwrap();
    erasing["sequence"].as_u64().unwrap()
}

#[test]
fn a_tombstone_that_is_cut_off_after_it_was_carried_out_is_said_again() {
    let places = Places::new(&["eu/n1", "us/n1"]);
    let (eu, us, shop, user) = begun(&places);
    let life = regions(&us)["life"].as_str().unwrap().to_owned();
    erase(&us.at(&shop), &user).done(202);
    wait_for("the erasure to be complete", || {
        let answer = shop.call("GET", &format!("/v1/users/{user}/erasure"), Value::Null);
        (answer.status == 200 && answer.body["state"] == "complete").then_some(())
    });
    let from = tombstone_of(&us, &user, &life);
    let (eu, us) = cut_off(&places, (eu, us), &life, from);
    for region in [&eu, &us] {
        let path = format!("/v1/users/{user}");
        wait_for("the user to be erased again", || {
            let answer = region.at(&shop).call("GET", &path, Value::Null);
            (answer.code() == "user_erased").then_some(())
        });
    }
    wait_until_complete(&eu.at(&shop), &user);
    converge([&eu, &us]);
}
