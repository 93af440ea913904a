//! Two regions as they are run: the built binary, a real broker each, and what goes wrong between
//! them, again and again while both are written to.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::RwLockWriteGuard;

use serde_json::{Value, json};

use crate::brokers::{self, PASSWORD, Proxy, Two, USER};
use crate::node::{Company, Node, wait_for};

/// Faults in a default run. `JCAS_TEST_LONG=1` makes it ten times as many.
const CYCLES: usize = 20;

/// The regions; no other test's nodes use these names at the brokers.
const REGIONS: [&str; 2] = ["cycles-eu", "cycles-us"];

/// Users that each region registers while something is wrong.
const USERS: usize = 5;

fn node(number: usize, ways: &[Proxy; 2], credentials: &Path) -> Node {
    let peers = format!("[\"{}/n1\"]", REGIONS[1 - number]);
    let broker = |at: usize| format!("{{region=\"{}\",url=\"{}\"}}", REGIONS[at], ways[at].url());
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

/// What can go wrong, and is mended.
struct World {
    two: RwLockWriteGuard<'static, Two>,
    /// The ways to the brokers.
    ways: [Proxy; 2],
    us: Node,
}

/// Something goes wrong. What is returned mends it.
fn hurt(fault: usize, world: &mut World) -> fn(&mut World) {
    let World { two, ways, us } = world;
    match fault {
        0 => {
            let _gone = two[0].ctl(&["delete_queue", "jcas.events.to.cycles-us.n1"]);
            |_| ()
        }
        1 => {
            two[1].freeze();
            |world| world.two[1].thaw()
        }
        2 => {
            two[0].alarm(true);
            |world| world.two[0].alarm(false)
        }
        3 => {
            us.kill();
            |world| world.us.start()
        }
        4 => {
            let _closed = two[0].ctl(&["close_all_connections", "a test closes them"]);
            let _closed = two[1].ctl(&["close_all_connections", "a test closes them"]);
            |_| ()
        }
        5 => {
            for way in ways.iter() {
                way.cut(false);
            }
            |world| world.ways.iter().for_each(Proxy::mend)
        }
        6 => {
            two[0].disk_alarm(true);
            |world| world.two[0].disk_alarm(false)
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
            |world| {
                world.two[0].begin();
                world.two[0].wait_until_ready();
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
    let two = brokers::alone();
    let ways = [0, 1].map(|number| Proxy::to(two[number].port()));
    let folder = tempfile::tempdir().unwrap();
    let credentials = folder.path().join("brokers");
    let lines = REGIONS.map(|region| format!("{region} {USER} {PASSWORD}\n")).concat();
    std::fs::write(&credentials, lines).unwrap();
    std::fs::set_permissions(&credentials, std::fs::Permissions::from_mode(0o600)).unwrap();
    let (mut eu, us) = (node(0, &ways, &credentials), node(1, &ways, &credentials));
    let mut world = World { two, ways, us };
    let (code, _, said) = eu.run(&["init", "--with", "cycles-us/n1"]);
    assert_eq!(code, 0, "{said}");
    let bundle = eu.data().join("bundles").join("cycles-us.n1.bundle");
    let (code, _, said) = world.us.run(&["join", bundle.to_str().unwrap()]);
    assert_eq!(code, 0, "{said}");
    eu.start();
    world.us.start();
    let shop = eu.company("shop", &["NG"]);
    wait_for("the company to be known in the other region", || {
        let answer = shop.at(&world.us).call("GET", "/v1/whoami", Value::Null);
        (answer.status == 200).then_some(())
    });

    let cycles = if std::env::var_os("JCAS_TEST_LONG").is_some() { CYCLES * 10 } else { CYCLES };
    let mut users = Vec::new();
    for cycle in 0..cycles {
        // A broker's start takes seconds: it is killed every tenth time.
        let fault = if cycle % 10 == 9 { 7 } else { cycle % 7 };
        let mend = hurt(fault, &mut world);
        users.extend(register(&shop, REGIONS[0], cycle));
        if fault != 3 {
            users.extend(register(&shop.at(&world.us), REGIONS[1], cycle));
        }
        mend(&mut world);
        wait_for(&format!("the regions to hold the same after fault {fault}"), || {
            (eu.state_hash() == world.us.state_hash()).then_some(())
        });
    }
    for node in [&eu, &world.us] {
        for user in &users {
            assert_eq!(shop.at(node).user(user)["user_id"], json!(user));
        }
    }
    assert_eq!((eu.stop(), world.us.stop()), (0, 0));
}
