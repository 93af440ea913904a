//! Deployments of several regions and nodes, as operators make them: init, join, bundle.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::node::Node;

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
