//! Two nodes of one region behind a balancer that gives each connection to the next of them: what a
//! caller was answered holds at whichever node it asks next.

use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::brokers::{self, PASSWORD, RabbitMq, USER};
use crate::node::{Answer, Company, Node, wait_for};
use crate::signed::Signer;

/// A balancer of connections, in turn. Who does not take one is passed over.
struct Balancer {
    port: u16,
    nodes: Arc<Mutex<Vec<String>>>,
}

impl Balancer {
    fn before(nodes: &[&Node]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let nodes: Vec<_> = nodes.iter().map(|node| node.address().to_owned()).collect();
        let nodes = Arc::new(Mutex::new(nodes));
        let known = Arc::clone(&nodes);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let mut known = known.lock().unwrap();
                known.rotate_left(1);
                if let Some(far) = known.iter().find_map(|node| TcpStream::connect(node).ok()) {
                    carry(&near, &far);
                }
            }
        });
        Self { port, nodes }
    }

    /// A node was started again, maybe on another port.
    fn moved(&self, from: &str, to: &Node) {
        let mut nodes = self.nodes.lock().unwrap();
        let place = nodes.iter().position(|node| node == from).unwrap();
        to.address().clone_into(&mut nodes[place]);
    }

    fn company(&self, company: &Company) -> Company {
        Company { url: format!("http://127.0.0.1:{}", self.port), ..company.clone() }
    }
}

/// Carries bytes both ways until one side ends.
fn carry(near: &TcpStream, far: &TcpStream) {
    for (from, to) in [(near, far), (far, near)] {
        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        std::thread::spawn(move || {
            let _ended = std::io::copy(&mut from, &mut to);
            let _closed = to.shutdown(Shutdown::Both);
        });
    }
}

/// Two running nodes of a region of its own at a broker.
fn two_nodes(region: &str, broker: &RabbitMq, folder: &Path) -> [Node; 2] {
    let credentials = folder.join("brokers");
    std::fs::write(&credentials, format!("{region} {USER} {PASSWORD}\n")).unwrap();
    std::fs::set_permissions(&credentials, std::fs::Permissions::from_mode(0o600)).unwrap();
    let url = broker.url();
    let node = |own: &str, other: &str| {
        Node::new(&[
            ("node.region", region),
            ("node.name", own),
            ("replication.peers", &format!("[\"{region}/{other}\"]")),
            ("replication.brokers", &format!("[{{region=\"{region}\",url=\"{url}\"}}]")),
            ("replication.credentials_file", credentials.to_str().unwrap()),
            ("replication.vector_ms", "200"),
            ("replication.away_s", "2"),
            // How long a busy machine takes is not what these tests are about.
            ("replication.wait_ms", "10000"),
        ])
    };
    let (mut one, mut other) = (node("n1", "n2"), node("n2", "n1"));
    let (code, _, said) = one.run(&["init", "--with", &format!("{region}/n2")]);
    assert_eq!(code, 0, "{said}");
    let bundle = one.data().join("bundles").join(format!("{region}.n2.bundle"));
    let (code, _, said) = other.run(&["join", bundle.to_str().unwrap()]);
    assert_eq!(code, 0, "{said}");
    one.start();
    other.start();
    [one, other]
}

/// Waits until both nodes know a company and each other.
fn wait_until_level(nodes: [&Node; 2], company: &Company) {
    for node in nodes {
        wait_for("the company to be known at both nodes", || {
            let answer = company.at(node).call("GET", "/v1/whoami", Value::Null);
            (answer.status == 200).then_some(())
        });
        wait_for("the nodes to hear each other", || {
            let seen = node.operate("GET", "/operator/regions", None).done(200).body.clone();
            (seen["replication"]["peers"][0]["connected"] == true).then_some(())
        });
    }
}

fn email(number: usize) -> String {
    format!("p{number}@example.com")
}

fn register(company: &Company, number: usize) -> String {
    company
        .register(json!({ "country": "NG", "email": email(number), "password": "one two three" }))
}

fn log_in(company: &Company, number: usize) -> Answer {
    company.login("NG", &email(number), "one two three")
}

#[test]
fn what_one_node_answered_holds_at_the_next_also_while_one_is_killed_and_comes_back() {
    let two = brokers::shared();
    let folder = tempfile::tempdir().unwrap();
    let [one, mut other] = two_nodes("pair", &two[0], folder.path());
    let shop = one.company("shop", &["NG"]);
    wait_until_level([&one, &other], &shop);
    let balancer = Balancer::before(&[&one, &other]);
    let anywhere = balancer.company(&shop);
    for number in 0..10 {
        // An odd number of calls each: every call is made at both nodes.
        let user = register(&anywhere, number);
        log_in(&anywhere, number).done(200);
        let status = format!("/v1/users/{user}/status");
        anywhere.call("PUT", &status, json!({ "status": "disabled" })).done(200);
        log_in(&anywhere, number).refused(403, "user_disabled");
        anywhere.call("PUT", &status, json!({ "status": "active" })).done(200);
        let profile = json!({ "profile": { "given_name": format!("Ada {number}") } });
        anywhere.call("PATCH", &format!("/v1/users/{user}"), profile.clone()).done(200);
        assert_eq!(anywhere.user(&user)["profile"], profile["profile"]);
    }

    let gone = other.address().to_owned();
    other.kill();
    for number in 10..20 {
        register(&anywhere, number);
        log_in(&anywhere, number).done(200);
    }
    other.start();
    balancer.moved(&gone, &other);
    let there = shop.at(&other);
    wait_for("the node to have what it missed", || {
        (log_in(&there, 19).status == 200).then_some(())
    });
    (0..20).for_each(|number| drop(log_in(&there, number).done(200).clone()));
    register(&anywhere, 20);
    log_in(&anywhere, 20).done(200);
}

#[test]
fn a_token_that_one_node_took_is_refused_by_the_other() {
    let two = brokers::shared();
    let folder = tempfile::tempdir().unwrap();
    let [one, other] = two_nodes("tokens", &two[0], folder.path());
    let bank = Signer::hs256(&one, "bank");
    wait_until_level([&one, &other], &one.company("shop", &["NG"]));
    let there = bank.at(&other);
    wait_for("the bank to be known at the other node", || {
        (there.call("GET", "/v1/whoami", Value::Null).status == 200).then_some(())
    });
    // A node is told without anybody waiting for it, so the very first may be taken twice.
    let refused = wait_for("a token to be refused at the node that did not take it", || {
        let token = bank.token(&bank.header(), &bank.claims("GET", "/v1/whoami", &Value::Null));
        bank.send("GET", "/v1/whoami", false, &token).done(200);
        let again = there.send("GET", "/v1/whoami", false, &token);
        (again.status != 200).then_some(again)
    });
    refused.refused(409, "replayed_request");
}
