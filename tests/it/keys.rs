//! Keys on the disk and in memory: what refuses a start, what a running node lets out, and a region
//! that gets a new wrapping key.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::clock::{say, take_time_from};
use crate::node::{Company, Node, files_below, wait_for};

const WRAPPING_KEY: &str = "keys/region-wrapping.key";

fn register(shop: &Company, number: usize) {
    let email = format!("p{number}@example.com");
    shop.register(json!({ "country": "NG", "email": email, "password": "a word" }));
}

fn login(shop: &Company, number: usize) {
    shop.login("NG", &format!("p{number}@example.com"), "a word").done(200);
}

fn status(node: &Node) -> Value {
    let (code, printed, said) = node.run(&["keys", "status", "--json"]);
    assert_eq!(code, 0, "{said}");
    serde_json::from_str(&printed).unwrap()
}

#[track_caller]
fn done(node: &Node, arguments: &[&str]) -> (String, String) {
    let (code, printed, said) = node.run(arguments);
    assert_eq!(code, 0, "{arguments:?}: {said}");
    (printed, said)
}

#[track_caller]
fn refused(node: &Node, arguments: &[&str]) -> String {
    let (code, _, said) = node.run(arguments);
    assert_eq!(code, 1, "{arguments:?}: {said}");
    said
}

#[test]
fn a_running_node_leaves_no_core_dump() {
    let node = Node::started(&[]);
    let limits = fs::read_to_string(format!("/proc/{}/limits", node.process())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!(words[4..6], ["0", "0"], "{line}");
}

#[test]
fn a_master_key_that_is_missing_open_or_foreign_refuses_the_start_and_nothing_is_touched() {
    let mut node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    register(&shop, 1);
    assert_eq!(node.stop(), 0);
    let path = node.data().join(WRAPPING_KEY);
    let key = fs::read(&path).unwrap();
    let other = Node::new(&[]);
    done(&other, &["init"]);
    let foreign = fs::read(other.data().join(WRAPPING_KEY)).unwrap();
    let (open, private) = (Permissions::from_mode(0o644), Permissions::from_mode(0o600));
    for (what, expected) in
        [("missing", "is missing"), ("open", "mode 0644"), ("foreign", "is of deployment")]
    {
        match what {
            "missing" => fs::remove_file(&path).unwrap(),
            "open" => fs::set_permissions(&path, open.clone()).unwrap(),
            _ => fs::write(&path, &foreign).unwrap(),
        }
        let before = files_below(&node.data());
        assert!(!node.try_start(), "{what}");
        assert!(node.output().contains(expected), "{what}: {}", node.output());
        assert!(files_below(&node.data()) == before, "{what}: something was changed");
        fs::write(&path, &key).unwrap();
        fs::set_permissions(&path, private.clone()).unwrap();
    }
    node.start();
    login(&shop.at(&node), 1);
}

#[test]
fn branch_keys_are_made_each_month() {
    let folder = tempfile::tempdir().unwrap();
    let time = folder.path().join("time");
    say(&time, "+0d");
    let mut node = Node::new(&[("keys.branch_key_days", "30")]);
    take_time_from(&mut node, &time);
    node.start();
    let shop = node.company("shop", &["NG"]);
    for (number, (days, keys)) in
        [("+0d", 1), ("+29d", 1), ("+31d", 2), ("+62d", 3)].iter().enumerate()
    {
        say(&time, days);
        register(&shop, number);
        (0..=number).for_each(|number| login(&shop, number));
        let made = status(&node)["branch_keys"].as_array().unwrap().len();
        assert_eq!(made, *keys, "{days}");
    }
}

#[test]
fn a_region_gets_a_new_wrapping_key_and_nothing_is_lost() {
    let mut node = Node::new(&[("keys.keeper_s", "1")]);
    done(&node, &["init"]);
    let before = fs::read(node.data().join(WRAPPING_KEY)).unwrap();
    node.start();
    let shop = node.company("shop", &["NG"]);
    register(&shop, 1);
    let (printed, _) = done(&node, &["keys", "rotate"]);
    assert!(printed.contains("region-wrapping-2.key") && printed.contains("regions-2.json"));
    let said = refused(&node, &["keys", "rotate", "--finish"]);
    assert!(said.contains("start it anew"), "{said}");
    let said = refused(&node, &["keys", "rotate"]);
    assert!(said.contains("not finished"), "{said}");
    // It goes on meanwhile, and a kill in the middle of the renewal does no harm.
    register(&shop, 2);
    node.kill();
    node.start();
    node.kill();
    node.start();
    let at = shop.at(&node);
    (1..3).for_each(|number| login(&at, number));
    wait_for("all to be wrapped anew", || (status(&node)["to_renew"] == 0).then_some(()));
    done(&node, &["keys", "rotate", "--finish"]);
    let keys = fs::read_dir(node.data().join("keys")).unwrap();
    assert!(keys.map(Result::unwrap).all(|it| fs::read(it.path()).unwrap() != before));
    assert_eq!(node.stop(), 0);
    node.start();
    let at = shop.at(&node);
    (1..3).for_each(|number| login(&at, number));
    register(&at, 3);
    assert_eq!((&status(&node)["to_renew"], &status(&node)["holes"]), (&json!(0), &json!(0)));
}

#[test]
fn a_regions_other_node_needs_the_new_key_before_it_takes_the_update() {
    let node = Node::new(&[]);
    done(&node, &["init", "--region", "eu", "--node", "n1", "--with", "eu/n2", "--with", "us/n1"]);
    let joined = |bundle: &str| {
        let other = Node::new(&[]);
        let bundle = node.data().join("bundles").join(bundle);
        done(&other, &["join", bundle.to_str().unwrap()]);
        other
    };
    let (second, us) = (joined("eu.n2.bundle"), joined("us.n1.bundle"));
    let (printed, _) = done(&node, &["keys", "rotate"]);
    let [key, update] = printed.lines().collect::<Vec<_>>()[..] else { panic!("{printed}") };
    let said = refused(&second, &["regions", "accept", update]);
    assert!(said.contains("region-wrapping-N.key"), "{said}");
    done(&us, &["regions", "accept", update]);
    fs::copy(key, second.data().join("keys/region-wrapping-2.key")).unwrap();
    done(&second, &["regions", "accept", update]);
}

#[test]
fn a_rotation_that_was_killed_is_taken_up_where_it_was() {
    let node = Node::new(&[]);
    done(&node, &["init"]);
    let description = fs::read(node.data().join("deployment.json")).unwrap();
    let (first, _) = done(&node, &["keys", "rotate"]);
    let [key, update] = first.lines().collect::<Vec<_>>()[..] else { panic!("{first}") };
    let (made, signed) = (fs::read(key).unwrap(), fs::read(update).unwrap());
    // As after a kill before the description was replaced, and one before the update was written.
    for without_update in [false, true] {
        fs::write(node.data().join("deployment.json"), &description).unwrap();
        if without_update {
            fs::remove_file(update).unwrap();
        }
        let said = refused(&node, &["keys", "rotate", "--finish"]);
        assert!(said.contains("run it again"), "{said}");
        let (again, _) = done(&node, &["keys", "rotate"]);
        assert_eq!(again, first);
        assert!(fs::read(key).unwrap() == made, "another key was made");
        assert!(fs::read(update).unwrap() == signed, "another update was made");
    }
}
