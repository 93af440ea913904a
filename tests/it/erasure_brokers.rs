//! A person who is erased is in no file of the brokers either, also where a node was away and
//! messages with the person's key waited for it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::RwLockWriteGuard;

use serde_json::{Value, json};

use crate::brokers::{self, PASSWORD, Two, USER};
use crate::erasure::{ada, erase, receipt, wait_until_complete};
use crate::erasure_regions::{audit_also, state_of};
use crate::node::{Company, Node, wait_for};

/// The regions; no other test's nodes use these names at the brokers. The last one has no broker.
const REGIONS: [&str; 3] = ["erased-eu", "erased-us", "erased-ap"];

/// A deployment of three regions, each of one node, and two brokers.
struct World {
    two: RwLockWriteGuard<'static, Two>,
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self { two: brokers::alone(), folder: tempfile::tempdir().unwrap() }
    }

    /// A node, not started.
    fn node(&self, number: usize) -> Node {
        let credentials = self.folder.path().join("brokers");
        let lines = REGIONS.map(|region| format!("{region} {USER} {PASSWORD}\n")).concat();
        std::fs::write(&credentials, lines).unwrap();
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&credentials, mode).unwrap();
        let others = REGIONS.iter().filter(|region| **region != REGIONS[number]);
        let peers: Vec<_> = others.map(|region| format!("\"{region}/n1\"")).collect();
        let brokers = REGIONS.iter().zip(self.two.iter());
        let brokers =
            brokers.map(|(name, at)| format!("{{region=\"{name}\",url=\"{}\"}}", at.url()));
        let brokers: Vec<_> = brokers.collect();
        Node::new(&[
            ("node.region", REGIONS[number]),
            ("node.name", "n1"),
            ("replication.peers", &format!("[{}]", peers.join(","))),
            ("replication.brokers", &format!("[{}]", brokers.join(","))),
            ("replication.credentials_file", credentials.to_str().unwrap()),
            ("replication.vector_ms", "200"),
            ("erasure.grace_hours", "0"),
            ("erasure.rebuild_minutes", "0"),
        ])
    }

    /// Three nodes of one deployment.
    fn nodes(&self) -> [Node; 3] {
        let nodes = [0, 1, 2].map(|number| self.node(number));
        let further = REGIONS.map(|region| format!("{region}/n1"));
        let made = nodes[0].run(&["init", "--with", &further[1], "--with", &further[2]]);
        assert_eq!(made.0, 0, "{}", made.2);
        for (node, region) in nodes.iter().zip(REGIONS).skip(1) {
            let bundle = nodes[0].data().join(format!("bundles/{region}.n1.bundle"));
            let joined = node.run(&["join", bundle.to_str().unwrap()]);
            assert_eq!(joined.0, 0, "{}", joined.2);
        }
        nodes
    }

    /// What the brokers have on their disks now.
    fn copies(&self, name: &str) -> Vec<PathBuf> {
        let copies = self.two.iter().enumerate().map(|(number, broker)| {
            let to = self.folder.path().join(format!("{name}-{number}"));
            broker.copy_files(&to);
            to
        });
        copies.collect()
    }

    /// How many messages wait in the queue of events for a node, at all brokers.
    fn waiting(&self, region: &str) -> usize {
        let line = format!("jcas.events.to.{region}.n1\t");
        let listed = |broker: &brokers::RabbitMq| {
            broker.ctl(&["list_queues", "name", "messages", "--no-table-headers"])
        };
        let count = |listed: String| {
            let counts =
                listed.lines().filter_map(|it| it.strip_prefix(&line)?.parse::<usize>().ok());
            counts.sum::<usize>()
        };
        self.two.iter().map(listed).map(count).sum()
    }

    /// What docs/keys.md says to do about a broker's files.
    fn clean(&mut self) {
        for broker in self.two.iter_mut() {
            broker.stop();
            broker.begin();
            broker.wait_until_ready();
            for region in REGIONS {
                let queue = format!("jcas.events.to.{region}.n1");
                // Not before the queue has its leader again.
                wait_for("the queue to be deleted", || {
                    broker.try_ctl(&["delete_queue", &queue]).ok()
                });
            }
        }
    }
}

fn wait_until_there(company: &Company, user: &str) {
    wait_for("the user to be in the other region", || {
        let path = format!("/v1/users/{user}");
        (company.call("GET", &path, Value::Null).status == 200).then_some(())
    });
}

/// What a scan of the nodes' data folders and of further files says.
fn scan(user: &str, nodes: &[Node; 3], also: &[PathBuf]) -> (Option<i32>, String) {
    let folders = [0, 1, 2].map(|number: usize| nodes[number].data());
    let folders: Vec<&Path> = folders.iter().map(PathBuf::as_path).collect();
    audit_also(user, &folders, also)
}

#[test]
fn what_waited_in_a_queue_for_a_node_that_was_away_is_gone_from_the_brokers_disks_too() {
    let mut world = World::new();
    let mut nodes = world.nodes();
    nodes.iter_mut().for_each(Node::start);
    let shop = nodes[0].company("shop", &["NG"]);
    wait_for("the company to be known in the last region", || {
        let answer = shop.at(&nodes[2]).call("GET", "/v1/whoami", Value::Null);
        (answer.status == 200).then_some(())
    });
    // One region is away from before the person comes until after the person went.
    nodes[2].stop();
    let user = shop.register(ada());
    wait_until_there(&shop.at(&nodes[1]), &user);
    wait_for("what is for the one that is away", || (world.waiting(REGIONS[2]) > 0).then_some(()));
    nodes[..2].iter_mut().for_each(|node| assert_eq!(node.stop(), 0));
    let before = world.copies("before");
    let (code, said) = scan(&user, &nodes, &before);
    assert_eq!(code, Some(1), "{said}");
    let found = |what: &str| {
        let mut lines = said.lines().filter(|it| it.contains(before[0].to_str().unwrap()));
        lines.any(|it| it.starts_with(what))
    };
    for what in ["key of the user", "identity/email = ada@example.com", "blind index of the email"]
    {
        assert!(found(what), "{what}: {said}");
    }

    nodes[..2].iter_mut().for_each(Node::start);
    let there = shop.at(&nodes[0]);
    erase(&there, &user).done(202);
    wait_for("the regions that are there to confirm", || {
        let receipt = receipt(&there, &user);
        let done = REGIONS[..2].iter().all(|region| state_of(&receipt, region) == "complete");
        done.then(|| assert_eq!(state_of(&receipt, REGIONS[2]), json!("pending")))
    });
    nodes[2].start();
    wait_until_complete(&there, &user);
    wait_for("the queue to be empty", || (world.waiting(REGIONS[2]) == 0).then_some(()));
    world.clean();
    let export = world.folder.path().join("after.jcas");
    for node in &mut nodes {
        assert_eq!(node.stop(), 0);
    }
    let exported = nodes[2].run(&["log", "export", "--with-keys", export.to_str().unwrap()]);
    assert_eq!(exported.0, 0, "{}", exported.2);
    let mut after = world.copies("after");
    after.push(export);
    let (code, said) = scan(&user, &nodes, &after);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("nothing of the user was found"), "{said}");
}
