//! Deployments of several regions and nodes, as operators make them: init, join, bundle.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use jcas::config::Config;
use serde_json::{Value, json};

use crate::node::{Node, wait_for};

/// Runs a command that is done, and returns what it printed and what it said.
#[track_caller]
fn done(node: &Node, arguments: &[&str]) -> (String, String) {
    let (code, printed, said) = node.run(arguments);
    assert_eq!(code, 0, "{arguments:?}: {said}");
    (printed.trim().to_owned(), said)
}

/// Runs a command that is refused, and returns what it says.
#[track_caller]
fn refused(node: &Node, arguments: &[&str]) -> String {
    let (code, printed, said) = node.run(arguments);
    assert_eq!((code, printed.as_str()), (1, ""), "{arguments:?}: {said}");
    said
}

/// The deployment shops with its first node, eu/n1, and the folder of bundles for further nodes.
fn shops(further: &[&str]) -> (Node, PathBuf) {
    let node = Node::new(&[]);
    let mut arguments = vec!["init", "--name", "shops", "--region", "eu", "--node", "n1"];
    arguments.extend(further.iter().flat_map(|name| ["--with", name]));
    done(&node, &arguments);
    let bundles = node.data().join("bundles");
    (node, bundles)
}

/// A node that joined with this bundle.
#[track_caller]
fn joined(bundle: &Path) -> Node {
    let node = Node::new(&[]);
    done(&node, &["join", bundle.to_str().unwrap()]);
    node
}

#[test]
fn nodes_of_two_regions_are_let_in_and_serve() {
    let (mut first, bundles) = shops(&["eu/n2", "us/n1"]);
    let mut nodes = [joined(&bundles.join("eu.n2.bundle")), joined(&bundles.join("us.n1.bundle"))];
    first.start();
    let here = first.output();
    assert!(here.contains(r#"deployment "shops", region "eu", node "n1""#), "{here}");
    for left in ["operator.key", "eu.n2.bundle", "us.n1.bundle"] {
        assert!(here.contains(left), "nothing is said of {left}: {here}");
    }
    for (node, place) in nodes.iter_mut().zip([r#""eu", node "n2""#, r#""us", node "n1""#]) {
        node.start();
        let said = node.output();
        assert!(said.contains(&format!(r#"deployment "shops", region {place}"#)), "{said}");
        assert!(!said.contains("operator.key") && !said.contains(".bundle"), "{said}");
        let shop = node.company("shop", &["NG"]);
        shop.register(json!({ "country": "NG", "email": "a@example.com", "password": "a word" }));
        shop.login("NG", "a@example.com", "a word").done(200);
    }
    // What a node records opens there again after a restart: its keys are its region's.
    let us = &mut nodes[1];
    assert_eq!(us.stop(), 0);
    us.start();
    let hash = us.state_hash();
    assert_eq!(hash.1, 1);
}

#[test]
fn what_is_left_out_of_init_is_as_the_settings_say() {
    let node = Node::new(&[("node.deployment", "retail"), ("node.region", "south")]);
    let (_, said) = done(&node, &["init", "--node", "n7"]);
    let expected = r#"made deployment "retail" ("#;
    assert!(said.contains(expected) && said.contains(r#"region "south" and node "n7""#), "{said}");
    let elsewhere = node.data().with_file_name("elsewhere");
    let (_, said) = done(&node, &["init", elsewhere.to_str().unwrap(), "--name", "other"]);
    assert!(elsewhere.join("deployment.json").exists());
    assert!(said.contains("next: jcas serve, with node.data_dir = "), "{said}");
    for wrong in [["--name", "Big"], ["--region", "a/b"], ["--with", "eu"], ["--with", "eu/n1/x"]] {
        let (code, _, said) = node.run(&[&["init", "x"], &wrong[..]].concat());
        assert_eq!(code, 2, "{wrong:?}: {said}");
    }
}

#[test]
fn a_running_node_makes_a_bundle_for_its_region_alone() {
    let (mut first, _) = shops(&["us/n1"]);
    first.start();
    let (path, said) = done(&first, &["bundle", "--node", "n2"]);
    assert_eq!(path, first.data().join("bundles/eu.n2.bundle").to_str().unwrap());
    assert!(said.contains("delete it"), "{said}");
    let second = joined(Path::new(&path));
    // That one can do it, too, and into another folder.
    let out = second.data().with_file_name("out");
    let (path, _) = done(
        &second,
        &["bundle", "--node", "n3", "--region", "eu", "--out", out.to_str().unwrap()],
    );
    joined(Path::new(&path));
    let other = refused(&second, &["bundle", "--node", "n2", "--region", "us"]);
    assert!(other.contains("make the bundle on a node of us"), "{other}");
    let own = refused(&second, &["bundle", "--node", "n2"]);
    assert!(own.contains("there is a node eu/n2 already"), "{own}");
}

#[test]
fn a_bundle_that_was_tampered_with_or_lies_open_lets_nobody_in() {
    let (_first, bundles) = shops(&["us/n1"]);
    let bundle = bundles.join("us.n1.bundle");
    let name = bundle.to_str().unwrap();
    let node = Node::new(&[]);
    std::fs::set_permissions(&bundle, std::fs::Permissions::from_mode(0o644)).unwrap();
    let open = refused(&node, &["join", name]);
    assert!(open.contains("mode 0644") && open.contains("chmod go-rwx"), "{open}");
    std::fs::set_permissions(&bundle, std::fs::Permissions::from_mode(0o600)).unwrap();
    let whole = std::fs::read(&bundle).unwrap();
    let mut changed = whole.clone();
    changed[200] ^= 1;
    std::fs::write(&bundle, changed).unwrap();
    let damaged = refused(&node, &["join", name]);
    assert!(damaged.contains("check sum is wrong"), "{damaged}");
    assert!(!node.data().exists());
    std::fs::write(&bundle, whole).unwrap();
    let (_, said) = done(&node, &["join", name]);
    assert!(said.contains(&format!("delete {name} now")), "{said}");
    // A folder is joined once, and another deployment's never.
    let again = refused(&node, &["join", name]);
    assert!(again.contains("already holds the deployment shops ("), "{again}");
    let stranger = Node::new(&[]);
    done(&stranger, &["init", "--name", "retail"]);
    let foreign = refused(&stranger, &["join", name]);
    assert!(foreign.contains("deployment shops (") && foreign.contains("deployment retail ("));
}

/// The version of the description that a node has, and its regions that are not retired.
fn regions(node: &Node) -> (u64, Vec<String>) {
    let (printed, _) = done(node, &["regions", "show"]);
    let shown: Value = serde_json::from_str(&printed).unwrap();
    let regions = shown["regions"].as_array().unwrap().iter();
    let active = regions.filter(|it| it["retired"] == json!(false));
    let names = active.map(|it| it["region"].as_str().unwrap().to_owned()).collect();
    (shown["version"].as_u64().unwrap(), names)
}

#[test]
fn a_region_is_added_and_another_retired_while_nodes_run() {
    let (mut first, bundles) = shops(&["us/n1"]);
    let mut us = joined(&bundles.join("us.n1.bundle"));
    let operator = first.data().with_file_name("offline.key");
    std::fs::rename(first.data().join("keys/operator.key"), &operator).unwrap();
    first.start();
    us.start();
    let missing = refused(&first, &["regions", "add", "asia/n1"]);
    assert!(missing.contains("--operator-key"), "{missing}");

    let key = operator.to_str().unwrap();
    let (printed, said) = done(&first, &["regions", "add", "asia/n1", "--operator-key", key]);
    let [bundle, update] = printed.lines().collect::<Vec<_>>().try_into().unwrap();
    assert!(said.contains("jcas regions accept"), "{said}");
    done(&us, &["regions", "accept", update]);
    let (_, again) = done(&us, &["regions", "accept", update]);
    assert!(again.contains("version 2 already"), "{again}");
    let mut asia = joined(Path::new(bundle));
    for node in [&first, &us, &asia] {
        assert_eq!(regions(node), (2, ["asia", "eu", "us"].map(str::to_owned).to_vec()));
    }
    for node in [&mut first, &mut us] {
        assert_eq!(node.stop(), 0);
        node.start();
    }
    asia.start();

    // Branch keys that are made from now on are wrapped for the new region.
    let shop = us.company("shop", &["NG"]);
    shop.register(json!({ "country": "NG", "email": "a@example.com", "password": "a word" }));
    assert_eq!(us.stop(), 0);
    assert_eq!(wrapped_for(&us), ["asia", "eu", "us"]);

    let out = first.data().with_file_name("out");
    let out = ["--operator-key", key, "--out", out.to_str().unwrap()];
    let (update, _) = done(&first, &[&["regions", "retire", "us"], &out[..]].concat());
    for node in [&us, &asia] {
        done(node, &["regions", "accept", &update]);
        assert_eq!(regions(node), (3, ["asia", "eu"].map(str::to_owned).to_vec()));
    }
    assert!(!us.try_start());
    let expected = format!("region us of deployment {} is retired", us.named());
    assert!(us.output().contains(&expected), "{}", us.output());
    // What it recorded stays readable.
    done(&us, &["log", "verify"]);
    assert_eq!(asia.stop(), 0);
    asia.start();
    let shop = asia.company("shop", &["NG"]);
    shop.register(json!({ "country": "NG", "email": "a@example.com", "password": "a word" }));
    assert_eq!(asia.stop(), 0);
    assert_eq!(wrapped_for(&asia), ["asia", "eu"]);
}

/// The regions that a node's log says branch keys were wrapped for later.
fn wrapped_later(node: &Node) -> Vec<Value> {
    let (printed, _) = done(node, &["log", "show", "--json"]);
    let events = printed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let wrapped = events.filter(|event| event["kind"] == json!("BranchKeyWrapped"));
    wrapped.map(|event| event["content"]["region"].clone()).collect()
}

#[test]
fn older_branch_keys_are_wrapped_once_for_a_region_that_comes_later() {
    let (mut first, _) = shops(&[]);
    first.start();
    let shop = first.company("shop", &["NG"]);
    shop.register(json!({ "country": "NG", "email": "a@example.com", "password": "a word" }));
    done(&first, &["regions", "add", "asia/n1"]);
    assert_eq!(wrapped_later(&first), Vec::<Value>::new());
    for _ in 0..2 {
        assert_eq!(first.stop(), 0);
        first.start();
        wait_for("the hole to be filled", || (!wrapped_later(&first).is_empty()).then_some(()));
        assert_eq!(wrapped_later(&first), [json!("asia")]);
    }
    let holes = first.operate("GET", "/metrics", None);
    let none = holes.text.lines().any(|line| line == "jcas_branch_key_holes 0");
    assert!(none, "{}", holes.text);
}

/// The regions that the newest branch key in a node's log is wrapped for.
fn wrapped_for(node: &Node) -> Vec<String> {
    let (printed, _) = done(node, &["log", "show", "--json"]);
    let mut events = printed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let made = events.rfind(|event| event["kind"] == json!("BranchKeyCreated")).unwrap();
    let regions = made["content"]["regions"].as_array().unwrap().iter();
    let mut names: Vec<_> = regions.map(|it| it.as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[test]
fn an_update_of_another_deployment_or_of_another_signer_is_refused() {
    let (first, bundles) = shops(&["us/n1"]);
    let us = joined(&bundles.join("us.n1.bundle"));
    let (printed, _) = done(&first, &["regions", "add", "asia/n1"]);
    let update = printed.lines().last().unwrap();
    let stranger = Node::new(&[]);
    done(&stranger, &["init", "--name", "retail"]);
    let foreign = refused(&stranger, &["regions", "accept", update]);
    for node in [&first, &stranger] {
        assert!(foreign.contains(&node.named()), "{foreign}");
    }
    let forged = us.data().with_file_name("forged.json");
    let text = std::fs::read_to_string(update).unwrap();
    std::fs::write(&forged, text.replace("\"retired\": false", "\"retired\": true")).unwrap();
    let unsigned = refused(&us, &["regions", "accept", forged.to_str().unwrap()]);
    assert!(unsigned.contains("not signed by the operator key"), "{unsigned}");
    let other = stranger.data().join("keys/operator.key");
    let key = other.to_str().unwrap();
    let foreign = refused(&first, &["regions", "retire", "us", "--operator-key", key]);
    assert!(foreign.contains(&first.named()), "{foreign}");
    assert_eq!(regions(&us).0, 1);
}

#[test]
fn a_node_that_has_peers_and_no_deployment_does_not_make_one() {
    let mut node = Node::new(&[
        ("replication.peers", r#"["us/n1"]"#),
        ("replication.brokers", r#"[{region="us",url="amqp://127.0.0.1:1"}]"#),
    ]);
    assert!(!node.try_start());
    assert!(node.output().contains("jcas join"), "{}", node.output());
    assert!(!node.data().exists());
}

#[test]
fn the_example_of_two_regions_is_two_nodes_that_name_each_other() {
    let credentials = tempfile::NamedTempFile::new().unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/two-regions");
    let read = |name: &str| {
        let path = folder.join(format!("{name}.toml"));
        let file = credentials.path().to_str().unwrap();
        let mut checked = std::process::Command::new(env!("CARGO_BIN_EXE_jcas"));
        checked.env("JCAS__REPLICATION__CREDENTIALS_FILE", file);
        let checked = checked.args(["--config", path.to_str().unwrap(), "check-config"]).output();
        let checked = checked.unwrap();
        let said = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{}: {said}", path.display());
        Config::load(Some(&path), Vec::<(OsString, OsString)>::new()).unwrap().replication
    };
    let [eu, us] = ["eu-n1", "us-n1"].map(read);
    assert_eq!(eu.peers, ["us/n1".parse().unwrap()]);
    assert_eq!(us.peers, ["eu/n1".parse().unwrap()]);
    assert_eq!(eu.brokers, us.brokers);
    let regions: Vec<_> = eu.brokers.iter().map(|broker| broker.region.to_string()).collect();
    assert_eq!(regions, ["eu", "us"]);
}
