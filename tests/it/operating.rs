//! What operators see of replication and do about it.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Arc, OnceLock};

use jcas::actors::recovery::{fold_log, fold_registry};
use jcas::events::record::LogPosition;
use jcas::events::registry::RegistryState;
use jcas::events::vec_map::VecMap;
use jcas::files::{Disk, Files};
use jcas::log::LogReader;
use jcas::replication::link::Link as _;
use jcas::state::checkpoint::{Reading, read};
use jcas::state::folder::StateFolder;
use jcas::state::store::Store;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde_json::{Value, json};

use crate::node::{Node, wait_for};
use crate::regions::{Places, Region, converge, person};

/// Runs the program with the settings of a region's node.
pub fn run(region: &Region, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jcas"));
    let listen = region.operator_url.trim_start_matches("http://");
    command.args(arguments).current_dir(&region.data);
    command.env("JCAS__NODE__DATA_DIR", &region.data).env("JCAS__HTTP__OPERATOR_LISTEN", listen);
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[track_caller]
fn done(region: &Region, arguments: &[&str]) -> String {
    let (code, printed, said) = run(region, arguments);
    assert_eq!(code, 0, "{arguments:?}: {said}");
    printed
}

pub fn regions(region: &Region) -> Value {
    region.operate("GET", "/operator/regions", None).done(200).body.clone()
}

fn peer(region: &Region) -> Value {
    regions(region)["replication"]["peers"][0].clone()
}

/// A check of `/health/ready`, and the whole status.
fn check(region: &Region, name: &str) -> (String, String) {
    let report = region.operate("GET", "/health/ready", None).done(200).body.clone();
    let checks = report["checks"].as_array().unwrap();
    let found = checks.iter().find(|check| check["name"] == name).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&report["status"]), text(&found["state"]))
}

#[test]
fn a_node_without_peers_says_so() {
    let node = Node::started(&[]);
    for arguments in [&["regions"][..], &["held"], &["parked", "list"]] {
        let (code, _, said) = node.run(arguments);
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("has no peers: nothing is replicated"), "{arguments:?}: {said}");
    }
    let report: Value = serde_json::from_str(&node.run(&["regions", "--json"]).1).unwrap();
    assert_eq!(report["replication"], Value::Null);
    assert_eq!(node.run(&["parked", "retry"]).0, 1);
}

#[test]
fn operators_see_how_nodes_stand_to_each_other_and_who_is_away() {
    let places = Places::new(&["eu/n1", "us/n1"]);
    let (eu, mut us) = (places.start(0), places.start(1));
    let shop = eu.company("shop");
    shop.register(person(1));
    converge([&eu, &us]);
    wait_for("both to be level and connected", || {
        let peer = peer(&eu);
        let is_level = peer["behind_events"] == 0 && peer["ahead_events"] == 0;
        let is_caught_up = regions(&eu)["replication"]["caught_up"] == true;
        (peer["connected"] == true && is_level && is_caught_up).then_some(())
    });
    wait_for("eu to be well", || (check(&eu, "replication").1 == "ok").then_some(()));
    let printed = done(&eu, &["regions"]);
    for part in ["life       eu/n1#1.", "caught up  yes", "eu      connected", "us/n1  yes"] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    let report: Value = serde_json::from_str(&done(&eu, &["regions", "--json"])).unwrap();
    assert_eq!(report["node"], "eu/n1");
    assert_eq!(done(&eu, &["held", "--json"]).trim(), "{}");

    us.stop();
    shop.register(person(2));
    assert!(peer(&eu)["ahead_events"].as_u64().unwrap() > 0);
    let (status, state) = wait_for("us to be away", || {
        let (status, state) = check(&eu, "replication");
        (state != "ok").then_some((status, state))
    });
    assert_eq!((status.as_str(), state.as_str()), ("degraded", "us/n1 is away"));
    assert!(done(&eu, &["regions"]).contains("us/n1  NO"));
}

#[test]
fn what_could_not_be_taken_is_listed_with_its_reason_and_taken_again() {
    let places = Places::new(&["eu/n1", "us/n1"]);
    let eu = places.start(0);
    let (stranger, _heard) = places.hub.attach("zz/x1".parse().unwrap());
    stranger.send(places.names[0], b"no message at all".to_vec().into()).unwrap();
    let list =
        || -> Value { serde_json::from_str(&done(&eu, &["parked", "list", "--json"])).unwrap() };
    let parked = wait_for("the message to be parked", || {
        let parked = list();
        (parked["total"] == 1).then_some(parked)
    });
    assert_eq!(parked["messages"][0]["bytes"], 17);
    let reason = parked["messages"][0]["reason"].as_str().unwrap();
    assert!(!reason.is_empty());
    assert!(done(&eu, &["parked", "list"]).contains(reason));
    assert_eq!(done(&eu, &["parked", "retry"]).trim(), "1 messages were taken again");
    assert_eq!((&list()["total"], list()["messages"].as_array().unwrap().len()), (&json!(2), 1));
}

#[test]
fn equal_states_are_shown_as_equal_and_a_damaged_one_is_noticed() {
    let places = Places::new(&["eu/n1", "us/n1"]);
    let (mut eu, us) = (places.start(0), places.start(1));
    let shop = eu.company("shop");
    let user = shop.register(person(1));
    let body = json!({ "profile": { "given_name": "Ada" } });
    shop.call("PATCH", &format!("/v1/users/{user}"), body).done(200);
    // Asking for the hash computes it, and the other node computes its own to compare.
    let agreed = |region: &Region| {
        let hash = region.state_hash();
        let peer = peer(region);
        (peer["agreed_hash"] == hash && peer["diverged_ms"].is_null()).then_some(hash)
    };
    converge([&eu, &us]);
    let hash = wait_for("eu to know that the states are equal", || agreed(&eu));
    assert_eq!(wait_for("us to know it", || agreed(&us)), hash);
    assert!(done(&eu, &["regions"]).contains("equal "), "{}", done(&eu, &["regions"]));

    eu.stop();
    let path = eu.data.join("state");
    let Reading::Valid(checkpoint) = read(&Disk, &path).unwrap() else {
        panic!("there is no checkpoint")
    };
    {
        let folder = StateFolder::open(&path, Arc::new(Disk), 1 << 20).unwrap();
        // A program that another test starts at this moment holds the lock until it is begun.
        let open = || folder.open_counting(&checkpoint).ok();
        let (kv, _) = wait_for("the trees to be let go", open);
        let store = Store::new(Arc::new(kv));
        let user = user.parse().unwrap();
        let before = store.user(user).unwrap().unwrap();
        let mut after = before.clone();
        after.profile = VecMap::default();
        assert_ne!(before, after);
        store.apply(user, Some(&before), &after, []).unwrap();
        store.kv().flush().unwrap();
    }
    let eu = places.start(0);
    for region in [&eu, &us] {
        wait_for("the difference to be noticed", || {
            let _computed = region.state_hash();
            (!peer(region)["diverged_ms"].is_null()).then_some(())
        });
        let (status, state) = check(region, "replication");
        assert_eq!(status, "degraded");
        assert!(state.contains("equal events and another state at "), "{state}");
        assert!(done(region, &["regions"]).contains("DIFFERS"));
    }
}

#[test]
fn what_an_operator_cuts_off_is_gone_everywhere_also_what_was_upgraded_from_it() {
    let places = Places::new(&["eu/n1", "us/n1"]);
    let (mut eu, mut us) = (places.start(0), places.start(1));
    let shop = eu.company("shop");
    let kept = shop.register(person(1));
    let upgraded =
        shop.register(json!({ "country": "NG", "email": "old@example.com", "password": "own" }));
    let there = us.at(&shop);
    let before_cut = there.register(person(2));
    converge([&eu, &us]);
    let life = regions(&us)["life"].as_str().unwrap().to_owned();
    let log = us.data.join("log");
    let last = |life: &str| -> u64 {
        let arguments = ["log", "show", log.to_str().unwrap(), "--origin", life, "--json"];
        let shown = done(&us, &arguments);
        serde_json::from_str::<Value>(shown.lines().last().unwrap()).unwrap()["sequence"]
            .as_u64()
            .unwrap()
    };
    let from = (last(&life) + 1).to_string();

    // From here on us lies: a user that is none, and a hash by which somebody gets in.
    let invented = there.register(person(3));
    let now = jiff::Timestamp::now().to_string();
    let hash = json!({ "hash": bcrypt::hash("thief", 4).unwrap(), "changed_at": now });
    there.call("PUT", &format!("/v1/users/{upgraded}/legacy-hashes/NG"), hash).done(200);
    converge([&eu, &us]);
    shop.login("NG", "old@example.com", "thief").done(200);
    converge([&eu, &us]);
    let count_upgrades = |region: &Region| {
        let log = region.data.join("log");
        let shown = done(region, &["log", "show", log.to_str().unwrap(), "--user", &upgraded]);
        shown.matches("upgrade_of").count()
    };
    assert_eq!(count_upgrades(&eu), 1, "the login upgraded the hash");

    let key = jcas::deployment::open(&eu.data).unwrap().operator_key_left_here().unwrap();
    let other = us.data.join("keys").join("region-signing.key");
    let distrust = |origin: &str, key: &std::path::Path| {
        let key = key.to_str().unwrap();
        run(&eu, &["regions", "distrust", origin, "--from", &from, "--operator-key", key])
    };
    let (code, _, said) = distrust(&life, &other);
    assert_eq!(code, 1, "{said}");
    let unknown = life.replace("us/n1#1", "us/n1#9");
    let (code, _, said) = distrust(&unknown, &key);
    assert!(code == 1 && said.contains("has no event of"), "{said}");
    let forged = json!({ "origin": life, "from_sequence": 1, "and_later": true,
        "signature": "00".repeat(64) });
    eu.operate("POST", "/operator/regions/distrust", Some(&forged)).done(422);
    let (code, _, said) = distrust(&life, &key);
    assert_eq!(code, 0, "{said}");
    eu.ended();
    us.ended();

    let (eu, us) = (places.start(0), places.start(1));
    converge([&eu, &us]);
    for region in [&eu, &us] {
        let shop = region.at(&shop);
        for user in [&kept, &upgraded, &before_cut] {
            assert_eq!(shop.user(user)["user_id"], json!(user));
        }
        shop.call("GET", &format!("/v1/users/{invented}"), Value::Null)
            .refused(404, "user_not_found");
        shop.login("NG", "p3@example.com", "one two three").refused(401, "invalid_credentials");
        shop.login("NG", "old@example.com", "thief").refused(401, "invalid_credentials");
        shop.login("NG", "old@example.com", "own").done(200);
        let cut = &regions(region)["cut_off"][0];
        assert_eq!(
            (&cut["origin"], cut["from_sequence"].to_string()),
            (&json!(life), from.clone())
        );
        assert!(done(region, &["regions"]).contains(&format!("cut off    {life} from {from} on")));
    }
    converge([&eu, &us]);
    let log = eu.data.join("log");
    let folded = done(&eu, &["replay", log.to_str().unwrap(), "--state-hash"]);
    assert_eq!(json!(folded.trim()), eu.state_hash());
    // The same once more changes nothing, so nobody starts again.
    let key = key.to_str().unwrap();
    let again = ["regions", "distrust", &life, "--from", &from, "--operator-key", key];
    assert!(done(&eu, &again).contains("Unchanged"));
}

#[test]
fn a_served_node_starts_again_by_itself_when_something_is_cut_off() {
    let mut node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let kept = shop.register(person(1));
    assert_eq!(node.stop(), 0);
    node.start();
    let shop = shop.at(&node);
    let invented = shop.register(person(2));
    let answer = node.operate("GET", "/operator/regions", None);
    let life = answer.done(200).body["life"].as_str().unwrap().to_owned();
    let key = node.data().join("keys").join("operator.key");
    let cut = ["regions", "distrust", &life, "--from", "2", "--operator-key"];
    let (code, _, said) = node.run(&[&cut[..], &[key.to_str().unwrap()]].concat());
    assert_eq!(code, 0, "{said}");
    let url = wait_for("the node to start again", || {
        let output = node.output();
        let mut urls = output.lines().filter_map(|line| line.strip_prefix("companies: "));
        let third = urls.nth(2)?.split_whitespace().next()?.to_owned();
        output.ends_with('\n').then_some(third)
    });
    let mut shop = shop;
    shop.url = url;
    assert_eq!(shop.user(&kept)["user_id"], json!(kept));
    shop.call("GET", &format!("/v1/users/{invented}"), Value::Null).refused(404, "user_not_found");
    assert_eq!(node.stop(), 0, "it is the process that was started");

    // A fold that did not know of it leaves no state behind that seems to.
    let files: Arc<dyn Files> = Arc::new(Disk);
    let reader = LogReader::open_path(&files, &node.data().join("log")).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let folder = StateFolder::open(scratch.path(), files, 1 << 20).unwrap();
    let store = Store::new(Arc::new(folder.begin_rebuild().unwrap().0));
    let mut registry = RegistryState::default();
    let start = LogPosition::START;
    let replayed = fold_log(&reader, start, &store, &mut registry, |_| {}).unwrap();
    assert!(replayed.distrust_changed && !registry.distrust.is_empty());
    let known = fold_registry(&reader, store.registry_positions().unwrap()).unwrap();
    assert!(known.distrust.is_empty(), "the next start would not fold anew");
}

#[test]
fn every_refused_rival_write_is_listed_with_what_it_lost_to() {
    let places = Places::new(&["eu/n1", "us/n1"]);
    let (mut eu, mut us) = (places.start(0), places.start(1));
    let shop = eu.company("shop");
    let user = shop.register(person(1));
    converge([&eu, &us]);
    places.cut(0, 1);
    let there = us.at(&shop);
    let path = format!("/v1/users/{user}");
    for (company, name) in [(&shop, "Ada"), (&there, "Bea")] {
        let body = json!({ "profile": { "given_name": name }, "replicate": "none" });
        company.call("PATCH", &path, body).done(200);
    }
    places.heal(0, 1);
    // The states are equal as soon as the loser's region has the winner.
    wait_for("both to have both", || {
        let is_level = |peer: &Value| peer["behind_events"] == 0 && peer["ahead_events"] == 0;
        (is_level(&peer(&eu)) && is_level(&peer(&us))).then_some(())
    });
    let name = shop.user(&user)["profile"]["given_name"].clone();
    let (winner, loser) = if name == "Ada" { ("eu/n1", "us/n1") } else { ("us/n1", "eu/n1") };
    eu.stop();
    us.stop();
    let mut listed = BTreeMap::new();
    for region in [&eu, &us] {
        let log = region.data.join("log");
        let log = log.to_str().unwrap();
        let (code, printed, said) = run(region, &["log", "conflicts", log, "--json"]);
        assert_eq!(code, 0, "{said}");
        for line in printed.lines() {
            let conflict: Value = serde_json::from_str(line).unwrap();
            let of = |side: &str| conflict[side]["origin"].as_str().unwrap().to_owned();
            assert!(of("winner").starts_with(winner) && of("loser").starts_with(loser), "{line}");
            assert_eq!(conflict["part"], "profile given_name");
            assert_eq!(
                (&conflict["user"], &conflict["loser"]["company"]),
                (&json!(user), &json!("shop"))
            );
            assert!(said.contains("1 refused: profile 1"), "{said}");
            let shown = run(region, &["log", "conflicts", log]).1;
            assert!(shown.contains("profile given_name: ") && shown.contains("lost to"), "{shown}");
            listed.insert(region.data.clone(), conflict);
        }
    }
    assert_eq!(listed.len(), 1, "in the log of the region that recorded the winner");
}

/// Counts in this process, as `serve` does in its own.
fn recorder() -> &'static PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| PrometheusBuilder::new().install_recorder().unwrap())
}

/// What two nodes that replicate show of themselves once every gauge was set.
pub fn figures() -> String {
    let recorder = recorder();
    let places = Places::new(&["eu/n1", "us/n1"]);
    let (eu, us) = (places.start(0), places.start(1));
    eu.company("shop").register(person(1));
    converge([&eu, &us]);
    wait_for("the gauges of replication", || {
        let _computed = (eu.state_hash(), us.state_hash());
        let page = recorder.render();
        let all = ["jcas_replication_peer_agreed_seconds", "jcas_replication_parked"];
        all.iter().all(|name| page.contains(name)).then_some(page)
    })
}
