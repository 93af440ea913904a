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
struct Region {
    data: PathBuf,
    company_url: String,
    operator_url: String,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

fn config(data: &Path, name: NodeName) -> Config {
    let mut config = Config::embedded().unwrap();
    config.node.data_dir = data.to_owned();
    config.node.region = name.region;
    config.node.name = name.node;
    config.http.listen = "127.0.0.1:0".parse().unwrap();
    config.http.operator_listen = "127.0.0.1:0".parse().unwrap();
    config.hash.bcrypt_cost = 4;
    config.hash.failure_quantum_ms = 20;
    config.log.warn_percent = 99;
    config.log.stop_percent = 100;
    config.replication.vector_ms = 100;
    config.replication.fetch_ms = 1000;
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
                let node = Inside::start_wired(&config, listeners, peers, Box::new(connect));
                let node = node.await.unwrap();
                ready.send((node.company_address, node.operator_address)).unwrap();
                let _stop = stopped.await;
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

    fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    fn operate(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let token = std::fs::read_to_string(self.data.join("operator-token")).unwrap();
        let bearer = format!("Bearer {}", token.trim());
        let body = body.map(Value::to_string);
        let url = format!("{}{path}", self.operator_url);
        send(method, &url, &[("Authorization", &bearer)], body.as_deref())
    }

    fn company(&self, id: &str) -> Company {
        let body = json!({ "countries": ["NG"], "signing": "optional" });
        self.operate("PUT", &format!("/operator/companies/{id}"), Some(&body)).done(200);
        let scopes = json!({ "scopes": ["login", "read", "write", "sync", "link", "erase"] });
        let issued = self.operate("POST", &format!("/operator/companies/{id}/keys"), Some(&scopes));
        let key = issued.done(201).body["api_key"].as_str().unwrap().to_owned();
        Company { url: self.company_url.clone(), key, id: id.to_owned(), authority: None }
    }

    fn at(&self, company: &Company) -> Company {
        Company { url: self.company_url.clone(), ..company.clone() }
    }

    fn state_hash(&self) -> Value {
        self.operate("GET", "/operator/state", None).done(200).body["state_hash"].clone()
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Two regions with a node each, not started.
struct Two {
    folders: TempDir,
    hub: MemoryHub,
    names: [NodeName; 2],
}

impl Two {
    fn new() -> Self {
        let folders = tempfile::tempdir().unwrap();
        let names = ["eu/n1", "us/n1"].map(|name| name.parse::<NodeName>().unwrap());
        let first = config(&folders.path().join("0"), names[0]);
        let made = app::init(&first, &names[1..]).unwrap();
        let bundle = made.bundles_left_here()[0].clone();
        deployment::bundle::join(&bundle, &folders.path().join("1"), &mut getrandom::fill).unwrap();
        Self { folders, hub: MemoryHub::default(), names }
    }

    fn start(&self, number: usize) -> Region {
        let data = self.folders.path().join(number.to_string());
        let peers = [self.names[1 - number]];
        Region::start(&data, self.names[number], &peers, &self.hub)
    }
}

fn converge(regions: [&Region; 2]) {
    wait_for("both regions to have the same state", || {
        (regions[0].state_hash() == regions[1].state_hash()).then_some(())
    });
}

#[test]
fn what_one_region_records_the_other_has_also_after_it_was_cut_off() {
    let two = Two::new();
    let (eu, us) = (two.start(0), two.start(1));
    let shop = eu.company("shop");
    let body = json!({ "country": "NG", "email": "a@example.com", "password": "one two three" });
    let user = shop.register(body);
    let there = us.at(&shop);
    let answer = wait_for("the login to work in the other region", || {
        let answer = there.login("NG", "a@example.com", "one two three");
        (answer.status == 200).then_some(answer)
    });
    assert_eq!(answer.body["user_id"], json!(user));
    converge([&eu, &us]);

    two.hub.cut(two.names[0], two.names[1]);
    let other = json!({ "country": "NG", "email": "b@example.com", "password": "one two three" });
    let lonely = there.register(other);
    let path = format!("/v1/users/{user}/password");
    shop.call("PUT", &path, json!({ "password": "four five six" })).done(200);
    there.login("NG", "a@example.com", "one two three").done(200);
    shop.login("NG", "b@example.com", "one two three").refused(401, "invalid_credentials");
    assert_ne!(eu.state_hash(), us.state_hash());

    two.hub.heal(two.names[0], two.names[1]);
    converge([&eu, &us]);
    there.login("NG", "a@example.com", "one two three").refused(401, "invalid_credentials");
    there.login("NG", "a@example.com", "four five six").done(200);
    assert_eq!(shop.user(&lonely)["user_id"], json!(lonely));
}

#[test]
fn a_region_that_begins_with_nothing_fills_itself_and_a_restart_loses_nothing() {
    let two = Two::new();
    let mut eu = two.start(0);
    let shop = eu.company("shop");
    let users: Vec<String> = (0..300)
        .map(|number| {
            let email = format!("p{number}@example.com");
            shop.register(json!({ "country": "NG", "email": email, "password": "one two three" }))
        })
        .collect();
    eu.stop();
    let eu = two.start(0);
    let us = two.start(1);
    converge([&eu, &us]);
    let there = us.at(&shop);
    for user in &users {
        assert_eq!(there.user(user)["user_id"], json!(user));
    }
}
