//! Two regions as they are run: the built binary, a real broker each, and what goes wrong between
//! them, again and again while both are written to.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::brokers::{self, PASSWORD, Two, USER};
use crate::node::{Company, Node, wait_for};

/// Faults in a default run. `JCAS_TEST_LONG=1` makes it ten times as many.
const CYCLES: usize = 20;

/// The regions; no other test's nodes use these names at the brokers.
const REGIONS: [&str; 2] = ["cycles-eu", "cycles-us"];

/// Users that each region registers while something is wrong.
const USERS: usize = 5;

fn node(number: usize, two: &Two, credentials: &Path) -> Node {
    let peers = format!("[\"{}/n1\"]", REGIONS[1 - number]);
    let broker = |at: usize| format!("{{region=\"{}\",url=\"{}\"}}", REGIONS[at], two[at].url());
    let all = format!("[{},{}]", broker(0), broker(1));
    Node::new(&[
        ("node.region", REGIONS[number]),
        ("node.name", "n1"),
        ("replication.peers", &peers),
        ("replication.brokers", &all),
        ("replication.credentials_file", credentials.to_str().unwrap()),
        ("replication.vector_ms", "200"),
    ])
}

/// Something goes wrong. What is returned mends it.
fn hurt(fault: usize, two: &mut Two, us: &mut Node) -> fn(&mut Two, &mut Node) {
    match fault {
        0 => {
            let _gone = two[0].ctl(&["delete_queue", "jcas.events.to.cycles-us.n1"]);
            |_, _| ()
        }
        1 => {
            two[1].freeze();
            |two, _| two[1].thaw()
        }
        2 => {
            two[0].alarm(true);
            |two, _| two[0].alarm(false)
        }
        3 => {
            us.kill();
            |_, us| us.start()
        }
        4 => {
            let _closed = two[0].ctl(&["close_all_connections", "a test closes them"]);
            let _closed = two[1].ctl(&["close_all_connections", "a test closes them"]);
            |_, _| ()
        }
        _ => {
            // Killed before, it would start without a leader for the queue.
            for region in REGIONS {
                let queue = format!("jcas.events.to.{region}.n1");
                wait_for("the queue to be on the disk", || {
                    two[0].has_on_disk(&queue).then_some(())
                });
            }
            two[0].kill();
            |two, _| {
                two[0].begin();
                two[0].wait_until_ready();
            }
        }
    }
}

/// Registers people at a node that is up, whatever is wrong between the nodes.
fn register(company: &Company, region: &str, cycle: usize) -> Vec<String> {
    let people = (0..USERS).map(|number| {
        let email = format!("p{number}-{cycle}-{region}@example.com");
        company.register(json!({ "country": "NG", "email": email, "password": "one two three" }))
    });
    people.collect()
}

#[test]
fn both_regions_are_written_to_through_every_fault_and_hold_the_same_after_it() {
    let mut two = brokers::alone();
    let folder = tempfile::tempdir().unwrap();
    let credentials = folder.path().join("brokers");
    let lines = REGIONS.map(|region| format!("{region} {USER} {PASSWORD}\n")).concat();
    std::fs::write(&credentials, lines).unwrap();
    std::fs::set_permissions(&credentials, std::fs::Permissions::from_mode(0o600)).unwrap();
    let (mut eu, mut us) = (node(0, &two, &credentials), node(1, &two, &credentials));
    let (code, _, said) = eu.run(&["init", "--with", "cycles-us/n1"]);
    assert_eq!(code, 0, "{said}");
    let bundle = eu.data().join("bundles").join("cycles-us.n1.bundle");
    let (code, _, said) = us.run(&["join", bundle.to_str().unwrap()]);
    assert_eq!(code, 0, "{said}");
    eu.start();
    us.start();
    let shop = eu.company("shop", &["NG"]);
    wait_for("the company to be known in the other region", || {
        let answer = shop.at(&us).call("GET", "/v1/whoami", Value::Null);
        (answer.status == 200).then_some(())
    });

    let cycles = if std::env::var_os("JCAS_TEST_LONG").is_some() { CYCLES * 10 } else { CYCLES };
    let mut users = Vec::new();
    for cycle in 0..cycles {
        // A broker's start takes seconds: it is killed every tenth time.
        let fault = if cycle % 10 == 9 { 5 } else { cycle % 5 };
        let mend = hurt(fault, &mut two, &mut us);
        users.extend(register(&shop, REGIONS[0], cycle));
        if fault != 3 {
            users.extend(register(&shop.at(&us), REGIONS[1], cycle));
        }
        mend(&mut two, &mut us);
        wait_for(&format!("the regions to hold the same after fault {fault}"), || {
            (eu.state_hash() == us.state_hash()).then_some(())
        });
    }
    for node in [&eu, &us] {
        for user in &users {
            assert_eq!(shop.at(node).user(user)["user_id"], json!(user));
        }
    }
    assert_eq!((eu.stop(), us.stop()), (0, 0));
}
