//! Nodes of two regions in one process, on a link that can be cut: what one records the other has.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;

use jcas::app::replication::Wire;
use jcas::app::{self, Node as Inside, listeners::Listeners};
use jcas::config::Config;
use jcas::deployment;
use jcas::events::ids::NodeName;
use jcas::replication::memory::MemoryHub;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::node::{Answer, Company, send, wait_for};

/// A node that runs on a thread of this process.
pub struct Region {
    pub data: PathBuf,
    pub company_url: String,
    pub operator_url: String,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

pub fn config(data: &Path, name: NodeName) -> Config {
    let mut config = Config::embedded().unwrap();
    data.clone_into(&mut config.node.data_dir);
    config.node.region = name.region;
    config.node.name = name.node;
    config.http.listen = "127.0.0.1:0".parse().unwrap();
    config.http.operator_listen = "127.0.0.1:0".parse().unwrap();
    config.hash.bcrypt_cost = 4;
    config.hash.failure_quantum_ms = 20;
    config.log.warn_percent = 99;
    config.log.stop_percent = 100;
    // Nothing here is about how long a write waits on a machine that is busy.
    config.replication.wait_ms = 10_000;
    config.replication.wait_all_ms = 10_000;
    config.replication.vector_ms = 100;
    config.replication.fetch_ms = 1000;
    config.replication.away_s = 2;
    // Who is erased is blanked as soon as it can be.
    config.erasure.grace_hours = 0;
    config.erasure.rebuild_minutes = 0;
    config
}

impl Region {
    /// Starts a node on a data folder.
    fn start(data: &Path, name: NodeName, peers: &[NodeName], hub: &MemoryHub) -> Self {
        let (config, peers, hub) = (config(data, name), peers.to_vec(), hub.clone());
        let (ready, started) = mpsc::channel();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn(move || {
            actix::System::new().block_on(async move {
                let listeners = Listeners::bind(&config).unwrap();
                let connect = move || {
                    let (link, incoming) = hub.attach(name);
                    Ok(Wire { link: std::sync::Arc::new(link), incoming })
                };
                let node = Inside::start_wired(&config, listeners, None, peers, Box::new(connect));
                let node = node.await.unwrap();
                ready.send((node.company_address, node.operator_address)).unwrap();
                let mut fatal = node.fatal.clone();
                tokio::select! {
                    _ = stopped => {}
                    _ = fatal.changed() => {}
                }
                node.stop().await.unwrap();
            });
        });
        let (company, operator) = started.recv().unwrap();
        Self {
            data: data.to_owned(),
            company_url: format!("http://{company}"),
            operator_url: format!("http://{operator}"),
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    /// Waits until the node has stopped by itself.
    pub fn ended(&mut self) {
        wait_for("the node to end", || self.thread.as_ref().unwrap().is_finished().then_some(()));
        self.thread.take().unwrap().join().unwrap();
    }

    pub fn operate(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let token = std::fs::read_to_string(self.data.join("operator-token")).unwrap();
        let bearer = format!("Bearer {}", token.trim());
        let body = body.map(Value::to_string);
        let url = format!("{}{path}", self.operator_url);
        send(method, &url, &[("Authorization", &bearer)], body.as_deref())
    }

    pub fn company(&self, id: &str) -> Company {
        let body = json!({ "countries": ["NG"], "signing": "optional" });
        self.operate("PUT", &format!("/operator/companies/{id}"), Some(&body)).done(200);
        let scopes = json!({ "scopes": ["login", "read", "write", "sync", "link", "erase"] });
        let issued = self.operate("POST", &format!("/operator/companies/{id}/keys"), Some(&scopes));
        let key = issued.done(201).body["api_key"].as_str().unwrap().to_owned();
        Company { url: self.company_url.clone(), key, id: id.to_owned(), authority: None }
    }

    pub fn at(&self, company: &Company) -> Company {
        Company { url: self.company_url.clone(), ..company.clone() }
    }

    pub fn state_hash(&self) -> Value {
        self.operate("GET", "/operator/state", None).done(200).body["state_hash"].clone()
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Nodes of one deployment, none of them started.
pub struct Places {
    folders: TempDir,
    pub hub: MemoryHub,
    pub names: Vec<NodeName>,
}

impl Places {
    /// All of them at once: none has anything that another lacks.
    pub fn new(names: &[&str]) -> Self {
        let places = Self::joining(names);
        for number in 1..names.len() {
            let folder = places.folders.path().join(number.to_string());
            deployment::catching_up::unmark(&folder).unwrap();
        }
        places
    }

    /// The first one is there; the others join.
    pub fn joining(names: &[&str]) -> Self {
        let folders = tempfile::tempdir().unwrap();
        let names: Vec<NodeName> = names.iter().map(|name| name.parse().unwrap()).collect();
        let first = config(&folders.path().join("0"), names[0]);
        let made = app::init(&first, &names[1..]).unwrap();
        for (number, NodeName { region, node }) in names.iter().enumerate().skip(1) {
            let bundle = format!("{region}.{node}.bundle");
            let bundle = made.folder().join(deployment::BUNDLES_FOLDER).join(bundle);
            let folder = folders.path().join(number.to_string());
            deployment::bundle::join(&bundle, &folder, &mut getrandom::fill).unwrap();
        }
        Self { folders, hub: MemoryHub::default(), names }
    }

    pub fn start(&self, number: usize) -> Region {
        let own = self.names[number];
        let data = self.folders.path().join(number.to_string());
        let peers: Vec<_> = self.names.iter().copied().filter(|name| *name != own).collect();
        Region::start(&data, own, &peers, &self.hub)
    }

    /// Cuts two nodes off from each other.
    pub fn cut(&self, one: usize, other: usize) {
        self.hub.cut(self.names[one], self.names[other]);
    }

    pub fn heal(&self, one: usize, other: usize) {
        self.hub.heal(self.names[one], self.names[other]);
    }
}

pub fn converge(regions: [&Region; 2]) {
    wait_for("both regions to have the same state", || {
        (regions[0].state_hash() == regions[1].state_hash()).then_some(())
    });
}

pub fn person(number: usize) -> Value {
    let email = format!("p{number}@example.com");
    json!({ "country": "NG", "email": email, "password": "one two three" })
}

/// Waits until writes at a node are had by these regions.
fn wait_until_heard(company: &Company, regions: &Value) {
    let mut number = 1_000_000;
    wait_for("the others to be heard", || {
        number += 1;
        let mut body = person(number);
        body["replicate"] = json!("all");
        let answer = company.call("POST", "/v1/users", body);
        (answer.done(201).body["replication"]["have"] == *regions).then_some(())
    });
}

#[test]
fn what_one_region_records_the_other_has_also_after_it_was_cut_off() {
    let places = Places::new(&["eu/n1", "us/n1"]);
    let (eu, us) = (places.start(0), places.start(1));
    let shop = eu.company("shop");
    let user = shop.register(person(1));
    let there = us.at(&shop);
    let answer = wait_for("the login to work in the other region", || {
        let answer = there.login("NG", "p1@example.com", "one two three");
        (answer.status == 200).then_some(answer)
    });
    assert_eq!(answer.body["user_id"], json!(user));
    converge([&eu, &us]);

    places.cut(0, 1);
    let lonely = there.register(person(2));
    let path = format!("/v1/users/{user}/password");
    shop.call("PUT", &path, json!({ "password": "four five six" })).done(200);
    there.login("NG", "p1@example.com", "one two three").done(200);
    shop.login("NG", "p2@example.com", "one two three").refused(401, "invalid_credentials");
    assert_ne!(eu.state_hash(), us.state_hash());

    places.heal(0, 1);
    converge([&eu, &us]);
    there.login("NG", "p1@example.com", "one two three").refused(401, "invalid_credentials");
    there.login("NG", "p1@example.com", "four five six").done(200);
    assert_eq!(shop.user(&lonely)["user_id"], json!(lonely));
}

#[test]
fn a_region_that_begins_with_nothing_fills_itself_and_a_restart_loses_nothing() {
    let places = Places::new(&["eu/n1", "us/n1"]);
    let mut eu = places.start(0);
    let shop = eu.company("shop");
    let users: Vec<String> = (0..300).map(|number| shop.register(person(number))).collect();
    eu.stop();
    let eu = places.start(0);
    let us = places.start(1);
    converge([&eu, &us]);
    let there = us.at(&shop);
    for user in &users {
        assert_eq!(there.user(user)["user_id"], json!(user));
    }
}

#[test]
fn a_third_node_passes_on_what_the_first_recorded() {
    let places = Places::new(&["eu/n1", "us/n1", "af/n1"]);
    places.cut(0, 2);
    let (eu, _us, af) = (places.start(0), places.start(1), places.start(2));
    let shop = eu.company("shop");
    let users: Vec<String> = (0..20).map(|number| shop.register(person(number))).collect();
    converge([&eu, &af]);
    let there = af.at(&shop);
    for user in &users {
        assert_eq!(there.user(user)["user_id"], json!(user));
    }
}

#[test]
fn a_write_says_who_has_it_and_does_not_wait_for_who_is_away() {
    let places = Places::new(&["eu/n1", "us/n1"]);
    let (eu, mut us) = (places.start(0), places.start(1));
    let shop = eu.company("shop");
    wait_until_heard(&shop, &json!(["eu", "us"]));
    let user = shop.register(person(1));
    let path = format!("/v1/users/{user}");
    let write = |value: &str, replicate: &str| {
        let body = json!({ "profile": { "given_name": value }, "replicate": replicate });
        shop.call("PATCH", &path, body).done(200).body["replication"].clone()
    };
    assert_eq!(write("Ada", "all"), json!({ "have": ["eu", "us"], "pending": [] }));
    assert_eq!(us.at(&shop).user(&user)["profile"]["given_name"], "Ada");
    us.stop();
    assert_eq!(write("Bea", "all"), json!({ "have": ["eu"], "pending": ["us"] }));
    assert_eq!(write("Cea", "none"), json!({ "have": ["eu"], "pending": ["us"] }));
}

#[test]
fn what_a_node_answered_its_regions_other_node_knows_at_once() {
    let places = Places::new(&["eu/n1", "eu/n2"]);
    let (one, mut other) = (places.start(0), places.start(1));
    let shop = one.company("shop");
    wait_until_heard(&shop, &json!(["eu"]));
    let there = other.at(&shop);
    for number in 0..30 {
        let user = shop.register(person(number));
        let email = format!("p{number}@example.com");
        let answer = there.login("NG", &email, "one two three");
        assert_eq!(answer.done(200).body["user_id"], json!(user), "user {number}");
        let path = format!("/v1/users/{user}/status");
        there.call("PUT", &path, json!({ "status": "disabled" })).done(200);
        shop.login("NG", &email, "one two three").refused(403, "user_disabled");
    }
    other.stop();
    let user = shop.register(person(100));
    shop.login("NG", "p100@example.com", "one two three").done(200);
    let other = places.start(1);
    converge([&one, &other]);
    assert_eq!(other.at(&shop).user(&user)["user_id"], json!(user));
}

#[test]
fn a_region_that_is_added_later_opens_what_was_sealed_before_it_was_there() {
    let mut places = Places::new(&["eu/n1"]);
    let mut eu = places.start(0);
    let shop = eu.company("shop");
    shop.register(person(1));
    eu.stop();

    let asia: NodeName = "asia/n1".parse().unwrap();
    let folder = |number: usize| places.folders.path().join(number.to_string());
    let mut first = deployment::open(&folder(0)).unwrap();
    let operator = first.read_operator_key(&first.operator_key_left_here().unwrap()).unwrap();
    let out = places.folders.path().join("out");
    let added = first.add_region(asia, &operator, &out, &mut getrandom::fill).unwrap();
    deployment::bundle::join(&added.bundle, &folder(1), &mut getrandom::fill).unwrap();

    places.names.push(asia);
    let (eu, there) = (places.start(0), places.start(1));
    let shop = there.at(&shop);
    wait_for("the login to work in the new region", || {
        (shop.login("NG", "p1@example.com", "one two three").status == 200).then_some(())
    });
    converge([&eu, &there]);
}
