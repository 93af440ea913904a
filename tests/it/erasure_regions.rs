//! A person who is erased in one region is gone in every region, also where a node was away.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use jcas::app::backup;
use jcas::deployment;
use jcas::events::codec;
use jcas::events::ids::UserId;
use jcas::events::record::{LogPosition, Register, Subject};
use jcas::files::{Disk, Files};
use jcas::log::{Log, LogOptions};
use serde_json::{Value, json};

use crate::backups::put_back;
use crate::erasure::{ada, bodies, erase, receipt, wait_until_complete};
use crate::node::{Company, wait_for};
use crate::operating::{regions, run};
use crate::regions::{Places, Region, config, converge};
use crate::syncing::{lines, over, post};

pub fn state_of(receipt: &Value, region: &str) -> Value {
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

#[test]
fn a_node_that_is_restored_from_a_backup_of_before_the_erasure_blanks_again() {
    let places = Places::new(&["eu/n1", "us/n1"]);
    let (eu, mut us, shop, user) = begun(&places);
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("copy");
    backup::backup(&config(&us.data, places.names[1]), &made, false, &mut |_, _| {}).unwrap();
    erase(&shop, &user).done(202);
    wait_until_complete(&shop, &user);
    us.stop();
    put_back(&made, &us.data, places.names[1]);
    assert_eq!(bodies(&us.data, &user), (3, 0));

    let us = places.start(1);
    wait_for("the restored node to be blanked", || {
        (bodies(&us.data, &user) == (0, 3)).then_some(())
    });
    let path = format!("/v1/users/{user}");
    wait_for("companies to be answered", || {
        let answer = us.at(&shop).call("GET", &path, Value::Null);
        (answer.status != 503).then(|| answer.refused(410, "user_erased").status)
    });
    converge([&eu, &us]);
}

/// What another implementation finds of the person in the files of these data folders, with the
/// master keys of all of them.
pub fn audit(user: &str, data: &[&Path]) -> (Option<i32>, String) {
    audit_also(user, data, &[])
}

/// The same, in further files too.
pub fn audit_also(user: &str, data: &[&Path], also: &[PathBuf]) -> (Option<i32>, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/erasure-audit");
    let mut command = Command::new(script);
    command.args(["--user", user, "--identity", "email:ada@example.com"]);
    command.args(["--identity", "phone:+2348031234567"]).args(data);
    command.args(also.iter().flat_map(|path| [Path::new("--also"), path]));
    let ran = command.output().unwrap();
    let said = [ran.stdout, ran.stderr].concat();
    (ran.status.code(), String::from_utf8(said).unwrap())
}

/// What lies in the log, and what of it in the state, which holds no key.
const IN_THE_LOG: [&str; 5] = [
    "key of the user",
    "identity/email = ada@example.com",
    "identity/phone = +2348031234567",
    "field/given_name = \"Adaeze\"",
    "blind index of the email",
];

#[test]
fn with_all_master_keys_the_person_is_found_in_every_region_before_and_in_none_after() {
    let places = Places::new(&["eu/n1", "us/n1", "ap/n1"]);
    let mut all = [0, 1, 2].map(|number| places.start(number));
    let shop = all[0].company("shop");
    let user = shop.register(ada());
    for region in &all[1..] {
        wait_until_there(&region.at(&shop), &user);
    }
    // A bulk sync has had the person too, and there are backups.
    let row = json!({ "ref": "17", "email": "ada@example.com", "profile": { "x": 1 } });
    let job = post(&shop, &lines(&[row]));
    assert_eq!(over(&shop, &job)["applied"], 1);
    let back_up = |region: &Region, place: usize, name: &str| {
        let to = region.data.join(name);
        backup::backup(&config(&region.data, places.names[place]), &to, false, &mut |_, _| {})
            .unwrap();
        to
    };
    let before = back_up(&all[2], 2, "copy-before");
    all.iter_mut().for_each(Region::stop);
    let folders = [0, 1, 2].map(|number: usize| all[number].data.clone());
    let folders: Vec<&Path> = folders.iter().map(PathBuf::as_path).collect();
    let (code, said) = audit(&user, &folders);
    assert_eq!(code, Some(1), "{said}");
    let found = |what: &str, place: &Path| {
        let place = format!("in {}", place.display());
        said.lines().any(|it| it.starts_with(what) && it.contains(&place))
    };
    for data in &folders {
        assert!(IN_THE_LOG.iter().all(|what| found(what, &data.join("log"))), "{data:?}: {said}");
        let state = data.join("state");
        assert!(IN_THE_LOG[1..].iter().all(|what| found(what, &state)), "{data:?}: {said}");
        assert!(!found(IN_THE_LOG[0], &state), "{data:?}: {said}");
    }
    assert!(IN_THE_LOG.iter().all(|what| found(what, &before)), "{said}");
    assert!(found("verdicts of a bulk sync", &folders[0].join("sync")), "{said}");

    // One region is away when the person is erased, and comes back.
    let [_, us, _] = &mut all;
    let mut others = [places.start(0), places.start(2)];
    let shop = others[0].at(&shop);
    erase(&shop, &user).done(202);
    wait_for("the regions that are there to confirm", || {
        let receipt = receipt(&shop, &user);
        let done = ["eu", "ap"].iter().all(|region| state_of(&receipt, region) == "complete");
        done.then(|| assert_eq!(state_of(&receipt, "us"), "pending"))
    });
    *us = places.start(1);
    wait_until_complete(&shop, &user);
    // What was copied before is the operator's to throw away; a copy made now has nothing.
    std::fs::remove_dir_all(before).unwrap();
    back_up(&others[1], 2, "copy-after");
    us.stop();
    others.iter_mut().for_each(Region::stop);
    let (code, said) = audit(&user, &folders);
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
    let key = deployment::open(&eu.data).unwrap().operator_key_left_here().unwrap();
    let (from, key) = (from.to_string(), key.to_str().unwrap().to_owned());
    let cut = ["regions", "distrust", life, "--from", &from, "--operator-key", &key];
    let (code, _, said) = run(&eu, &cut);
    assert_eq!(code, 0, "{said}");
    eu.ended();
    us.ended();
    (places.start(0), places.start(1))
}

/// Where a region's own life recorded something of a user.
fn recorded(region: &Region, user: &str, life: &str, kind: &str) -> u64 {
    let log = region.data.join("log");
    let show = ["log", "show", log.to_str().unwrap(), "--user", user, "--origin", life, "--json"];
    let (code, shown, said) = run(region, &show);
    assert_eq!(code, 0, "{said}");
    let mut events = shown.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let found = events.find(|event| event["kind"] == kind).unwrap();
    found["sequence"].as_u64().unwrap()
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
    let from = recorded(&us, &user, &life, "UserErased");
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

/// Takes the bodies of a user's keys out of a log, as whoever passed it on may have done.
fn strip(data: &Path, user: &str) {
    let (user, id): (UserId, _) = (user.parse().unwrap(), deployment::open(data).unwrap().id());
    let (files, folder): (Arc<dyn Files>, _) = (Arc::new(Disk), data.join("log"));
    let options = LogOptions::new(id, Arc::new(|| Duration::ZERO));
    let (log, _) = Log::open(files, &folder, options).unwrap();
    let stored = log.reader().scan(LogPosition::START, None).map(Result::unwrap);
    let keys = stored.filter(|it| {
        let header = codec::decode_header(&it.record.header).unwrap();
        header.subject == Subject::User(user) && matches!(header.register, Register::UserKey(_))
    });
    let keys: Vec<_> = keys.map(|it| it.position).collect();
    assert_eq!(keys.len(), 1);
    log.blank(&keys).unwrap();
    drop(log);
    std::fs::remove_file(folder.join("erase.list")).unwrap();
}

#[test]
fn a_key_that_came_without_its_body_erases_nobody() {
    let places = Places::new(&["eu/n1", "us/n1"]);
    let (eu, us, shop, user) = begun(&places);
    let life = regions(&us)["life"].as_str().unwrap().to_owned();
    let register = |company: &Company, name: &str| {
        let email = format!("{name}@example.com");
        company.register(json!({ "country": "NG", "email": email }))
    };
    // Some life is cut off somewhere.
    let other = register(&us.at(&shop), "bola");
    wait_until_there(&shop, &other);
    let from = recorded(&us, &other, &life, "UserRegistered");
    let (eu, mut us) = cut_off(&places, (eu, us), &life, from);
    us.stop();
    strip(&us.data, &user);
    let us = places.start(1);
    // When it confirms the erasure of another it has looked at all that there is.
    let shop = eu.at(&shop);
    let third = register(&shop, "cece");
    erase(&shop, &third).done(202);
    wait_until_complete(&shop, &third);
    let path = format!("/v1/users/{user}");
    assert_eq!(shop.call("GET", &path, Value::Null).done(200).body["user_id"], json!(user));
    drop(us);
}

#[test]
fn what_one_peer_gives_without_bodies_is_taken_from_another_that_has_them() {
    let places = Places::new(&["eu/n1", "us/n1", "ap/n1"]);
    let (_eu, mut us, shop, user) = begun(&places);
    us.stop();
    strip(&us.data, &user);
    let us = places.start(1);
    // The third one fills itself, and hears at first of nobody else.
    places.cut(0, 2);
    let ap = places.start(2);
    wait_for("what has no bodies to come", || {
        let inbox = regions(&ap)["replication"]["inbox"].clone();
        (inbox["bodiless"].as_u64().unwrap() > 0).then_some(())
    });
    places.heal(0, 2);
    wait_for("the user to be there", || {
        let answer = ap.at(&shop).login("NG", "ada@example.com", "one two three");
        (answer.status == 200).then_some(())
    });
    drop(us);
}
