//! Master keys at a KMS: a server of AWS KMS's API, a key in each of three regions, and what
//! happens while some of them cannot be asked.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jcas::events::ids::{BranchKeyId, DeploymentId, RegionId};
use jcas::kms::aws::{AwsKms, AwsParts, MasterKey};
use jcas::kms::{EncryptionContext, KeyMaterial, Kms as _, KmsError, Purpose, Sight};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::brokers::Proxy;
use crate::moto::moto;
use crate::node::{Answer, Company, Node, wait_for};
use crate::syncing::{job, lines, over, post, verdicts, words};

/// The regions of JCAS and those of AWS.
const REGIONS: [(&str, &str); 3] =
    [("eu", "eu-central-1"), ("us", "us-east-1"), ("asia", "ap-southeast-1")];

/// Each region's master key.
pub struct Masters {
    keys: Vec<Master>,
    folder: TempDir,
}

struct Master {
    key: String,
    former: Vec<String>,
    endpoint: String,
}

impl Masters {
    /// A new key in every region.
    pub fn new() -> Self {
        let endpoint = format!("http://127.0.0.1:{}", moto().port());
        let key = |(_, aws_region): &(_, &str)| Master {
            key: moto().key(aws_region),
            former: Vec::new(),
            endpoint: endpoint.clone(),
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        let text = "[default]\naws_access_key_id = test\naws_secret_access_key = test\n";
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        Self { keys: REGIONS.iter().map(key).collect(), folder }
    }

    pub fn port_of(&self, number: usize) -> u16 {
        self.keys[number].endpoint.rsplit(':').next().unwrap().parse().unwrap()
    }

    pub fn ask_at(&mut self, number: usize, port: u16) {
        self.keys[number].endpoint = format!("http://127.0.0.1:{port}");
    }

    /// As the settings have it.
    fn setting(&self) -> String {
        let entries = self.keys.iter().zip(REGIONS).map(|(master, (region, aws_region))| {
            let Master { key, former, endpoint } = master;
            format!(
                "{{region={region:?},key={key:?},aws_region={aws_region:?},\
                 former={former:?},endpoint={endpoint:?}}}"
            )
        });
        format!("[{}]", entries.collect::<Vec<_>>().join(","))
    }

    /// Has the node ask here from its next start on.
    pub fn set_at(&self, node: &mut Node) {
        node.set("keys.aws.regions", &self.setting());
    }

    /// The first node of a deployment of three regions, not started.
    pub fn node(&self) -> Node {
        let credentials = self.folder.path().join("credentials");
        let mut node = Node::new(&[
            ("keys.aws.credentials_file", credentials.to_str().unwrap()),
            ("keys.kms_deadline_ms", "4000"),
            ("keys.keeper_s", "1"),
            ("keys.kms_pause_max_s", "1"),
        ]);
        let made = ["init", "--name", "shops", "--region", "eu", "--node", "n1"];
        let further = ["--with", "us/n1", "--with", "asia/n1"];
        let (code, _, said) = node.run(&[&made[..], &further].concat());
        assert_eq!(code, 0, "{said}");
        node.set("keys.kms", "aws");
        self.set_at(&mut node);
        node
    }

    /// A client of `region`'s, without a node.
    fn client(&self, region: &str) -> AwsKms {
        let keys = self.keys.iter().zip(REGIONS).map(|(master, (region, aws_region))| MasterKey {
            region: name(region),
            key: master.key.clone(),
            former: master.former.clone(),
            aws_region: aws_region.to_owned(),
            endpoint: Some(master.endpoint.clone()),
        });
        let parts = AwsParts {
            own: name(region),
            keys: keys.collect(),
            credentials: Some(self.folder.path().join("credentials")),
            instance_role: false,
            ca_file: None,
            attempts: 2,
            attempt_timeout: Duration::from_secs(10),
        };
        AwsKms::new(&parts).unwrap()
    }
}

fn name(region: &str) -> RegionId {
    region.parse().unwrap()
}

fn status(node: &Node) -> Value {
    let (code, printed, said) = node.run(&["keys", "status", "--json"]);
    assert_eq!(code, 0, "{said}");
    serde_json::from_str(&printed).unwrap()
}

/// What a node says of one region's KMS.
pub fn kms_of(node: &Node, region: &str) -> Value {
    let status = status(node);
    let regions = status["regions"].as_array().unwrap();
    regions.iter().find(|it| it["region"] == region).unwrap()["kms"].clone()
}

/// Calls that a node made at the KMS of each region: to wrap, to open.
fn calls(node: &Node) -> Vec<(u64, u64)> {
    let count = |region| {
        let kms = kms_of(node, region);
        (kms["wraps"].as_u64().unwrap(), kms["unwraps"].as_u64().unwrap())
    };
    REGIONS.iter().map(|(region, _)| count(region)).collect()
}

pub fn try_register(shop: &Company, number: usize) -> Answer {
    let email = format!("p{number}@example.com");
    let person = json!({ "country": "NG", "email": email, "password": "a word" });
    shop.call("POST", "/v1/users", person)
}

fn register(shop: &Company, number: usize) {
    try_register(shop, number).done(201);
}

fn login(shop: &Company, number: usize) -> Answer {
    shop.login("NG", &format!("p{number}@example.com"), "a word")
}

/// Logs each of these in.
fn logins(shop: &Company, numbers: impl Iterator<Item = usize>) {
    for number in numbers {
        login(shop, number).done(200);
    }
}

#[test]
fn the_kms_is_asked_once_a_branch_key_and_never_for_a_login() {
    let masters = Masters::new();
    let mut node = masters.node();
    node.set("keys.user_key_cache_entries", "0");
    node.start();
    let shop = node.company("shop", &["NG"]);
    for number in 0..200 {
        register(&shop, number);
    }
    logins(&shop, 0..200);
    assert_eq!(calls(&node), [(1, 0), (1, 0), (1, 0)], "200 registrations and 200 logins");
    let shown = status(&node);
    assert_eq!(shown["branch_keys"].as_array().unwrap().len(), 1);
    assert_eq!((&shown["holes"], &shown["branch_keys"][0]["in_memory"]), (&json!(0), &json!(true)));
    assert_eq!(shown["branch_keys"][0]["regions"].as_array().unwrap().len(), 3);
    let (code, table, _) = node.run(&["keys", "status"]);
    assert!(code == 0 && table.contains("1 branch keys, 0 holes, 0 to renew"), "{table}");
    // After a start it is opened once, however many ask at the same time.
    assert_eq!(node.stop(), 0);
    node.start();
    let shop = shop.at(&node);
    std::thread::scope(|scope| {
        for start in 0..4 {
            let shop = &shop;
            scope.spawn(move || logins(shop, (start..200).step_by(4)));
        }
    });
    assert_eq!(calls(&node), [(0, 1), (0, 0), (0, 0)], "200 logins after a start");
}

#[test]
fn a_region_whose_kms_is_down_is_a_hole_until_it_is_back() {
    let mut masters = Masters::new();
    let way = Proxy::to(moto().port());
    masters.ask_at(1, way.port());
    let mut node = masters.node();
    way.cut(false);
    node.start();
    let shop = node.company("shop", &["NG"]);
    register(&shop, 1);
    login(&shop, 1).done(200);
    let shown = status(&node);
    let hole = &shown["branch_keys"][0]["holes"][0];
    assert_eq!((&shown["holes"], &hole["region"]), (&json!(1), &json!("us")));
    assert!(hole["why"].as_str().unwrap().contains("cannot be asked now"), "{hole}");
    let (_, table, _) = node.run(&["keys", "status"]);
    assert!(table.contains("has no wrapping for us"), "{table}");
    way.mend();
    wait_for("the hole to be filled", || (status(&node)["holes"] == 0).then_some(()));
    let (_, log, _) = node.run(&["log", "show", "--json"]);
    let filled = log.lines().filter(|line| line.contains("BranchKeyWrapped")).count();
    assert_eq!(filled, 1, "{log}");
    // A start on what the log holds finds nothing to do.
    assert_eq!(node.stop(), 0);
    node.start();
    login(&shop.at(&node), 1).done(200);
    assert_eq!(status(&node)["holes"], 0);
}

#[test]
fn a_node_whose_own_kms_is_down_goes_on_with_a_key_that_others_can_open() {
    let mut masters = Masters::new();
    let way = Proxy::to(moto().port());
    masters.ask_at(0, way.port());
    let mut node = masters.node();
    way.cut(false);
    node.start();
    let shop = node.company("shop", &["NG"]);
    register(&shop, 1);
    login(&shop, 1).done(200);
    assert_eq!(status(&node)["branch_keys"][0]["holes"][0]["region"], "eu");
    way.mend();
    wait_for("the hole to be filled", || (status(&node)["holes"] == 0).then_some(()));
    assert_eq!(node.stop(), 0);
    node.start();
    login(&shop.at(&node), 1).done(200);
}

#[test]
fn with_no_kms_at_the_start_nothing_is_sealed_or_opened_until_one_is_back() {
    let mut masters = Masters::new();
    let way = Proxy::to(moto().port());
    (0..3).for_each(|number| masters.ask_at(number, way.port()));
    let mut node = masters.node();
    node.start();
    let shop = node.company("shop", &["NG"]);
    register(&shop, 1);
    assert_eq!(node.stop(), 0);
    way.cut(false);
    node.start();
    let shop = shop.at(&node);
    for number in 2..5 {
        try_register(&shop, number).refused(503, "not_ready");
        login(&shop, 1).refused(503, "not_ready");
    }
    assert_eq!(status(&node)["branch_keys"].as_array().unwrap().len(), 1, "none was made");
    way.mend();
    wait_for("the KMS to be asked again", || (login(&shop, 1).status == 200).then_some(()));
    wait_for("a registration", || (try_register(&shop, 2).status == 201).then_some(()));
}

#[test]
fn rows_whose_users_keys_no_kms_opens_wait_until_it_does() {
    let mut masters = Masters::new();
    let way = Proxy::to(moto().port());
    masters.ask_at(0, way.port());
    let mut node = masters.node();
    node.start();
    let shop = node.company("shop", &["NG"]);
    register(&shop, 1);
    assert_eq!(node.stop(), 0);
    // The other regions' KMS wrap a new branch key, and the old one opens nowhere.
    way.cut(false);
    node.start();
    let shop = shop.at(&node);
    let row = |number: usize| {
        let email = format!("p{number}@example.com");
        json!({ "email": email, "profile": { "nickname": "Ada" } })
    };
    let id = post(&shop, &lines(&[row(1), row(2)]));
    // For longer than a key is tried that is not there while the KMS is.
    let posted = Instant::now();
    wait_for("the rows to have waited so long", || {
        let job = job(&shop, &id);
        let waits_for = job.get("waits_for").is_none_or(|it| it == "keys");
        let goes_on = job["state"] == "queued" || job["state"] == "running";
        assert!(goes_on && waits_for, "{job}");
        (posted.elapsed() > Duration::from_secs(15)).then_some(())
    });
    assert_eq!(job(&shop, &id)["waits_for"], "keys");
    login(&shop, 1).refused(503, "not_ready");
    way.mend();
    let ended = over(&shop, &id);
    assert_eq!((&ended["state"], &ended["waits_for"]), (&json!("done"), &Value::Null));
    assert_eq!(words(&verdicts(&shop, &id)), ["applied", "created"]);
}

/// A server that takes connections and answers them all alike, with a status and a body, or not at
/// all.
fn listener(answer: Option<(&'static str, String)>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let speak = move |mut stream: TcpStream| {
        let Some((status, body)) = &answer else {
            // Held until the other side gives up.
            let _gone = stream.read_to_end(&mut Vec::new());
            return;
        };
        let mut asked = [0; 16 << 10];
        let _read = stream.read(&mut asked);
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/x-amz-json-1.1");
        let length = body.len();
        let close = "Connection: close";
        let _gone = write!(stream, "{head}\r\nContent-Length: {length}\r\n{close}\r\n\r\n{body}");
    };
    let speak = Arc::new(speak);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let speak = Arc::clone(&speak);
            std::thread::spawn(move || speak(stream));
        }
    });
    port
}

/// A KMS that answers with this error.
fn refusing(code: &str) -> u16 {
    let body = format!(r#"{{"__type":"{code}","message":"says the test"}}"#);
    listener(Some(("400 Bad Request", body)))
}

#[test]
fn what_a_gateway_says_or_a_kms_in_trouble_is_no_refusal() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let key = KeyMaterial::new(&[7; 32]);
    let mut masters = Masters::new();
    let wrapped = runtime.block_on(masters.client("us").wrap_key(name("eu"), &key, &CONTEXT));
    let wrapped = wrapped.unwrap();
    let typed = |code: &str| format!(r#"{{"__type":"{code}"}}"#);
    let page = "<html><body>Bad Gateway</body></html>";
    for (status, body) in [
        ("502 Bad Gateway", page.to_owned()),
        ("503 Service Unavailable", String::new()),
        ("504 Gateway Timeout", "{}".to_owned()),
        ("500 Internal Server Error", typed("AccessDeniedException")),
        ("403 Forbidden", page.to_owned()),
        ("200 OK", page.to_owned()),
        ("400 Bad Request", "{}".to_owned()),
        ("400 Bad Request", typed("ExpiredTokenException")),
        ("400 Bad Request", typed("ThrottlingException")),
        ("429 Too Many Requests", typed("SomethingNew")),
    ] {
        masters.ask_at(0, listener(Some((status, body.clone()))));
        let eu = masters.client("eu");
        let opened = runtime.block_on(eu.unwrap_key(&wrapped, &CONTEXT)).map(drop);
        let made = runtime.block_on(eu.wrap_key(name("eu"), &key, &CONTEXT)).map(drop);
        for asked in [opened, made] {
            let error = asked.unwrap_err();
            assert!(matches!(error, KmsError::Unavailable { .. }), "{status} {body}: {error:?}");
        }
    }
}

#[test]
fn a_silent_kms_costs_one_deadline_and_not_one_a_call() {
    let mut masters = Masters::new();
    let silent = listener(None);
    (0..3).for_each(|number| masters.ask_at(number, silent));
    let mut node = masters.node();
    node.set("keys.kms_deadline_ms", "300");
    node.set("keys.kms_pause_s", "600");
    node.set("keys.kms_pause_max_s", "600");
    node.start();
    let shop = node.company("shop", &["NG"]);
    for number in 0..20 {
        try_register(&shop, number).refused(503, "not_ready");
    }
    for (region, _) in REGIONS {
        let kms = kms_of(&node, region);
        assert_eq!((&kms["wraps"], &kms["unanswered"]), (&json!(1), &json!(1)), "{kms}");
        assert_eq!(kms["spared"], 19, "{kms}");
        assert!(kms["silent_for_ms"].as_u64().unwrap() > 0, "{kms}");
    }
    let (_, table, _) = node.run(&["keys", "status"]);
    assert!(table.contains("silent, asked again in"), "{table}");
}

#[test]
fn access_that_was_revoked_is_named_and_closes_what_is_not_in_memory() {
    for code in ["AccessDeniedException", "DisabledException", "NotFoundException"] {
        let mut masters = Masters::new();
        let mut node = masters.node();
        node.start();
        let shop = node.company("shop", &["NG"]);
        register(&shop, 1);
        assert_eq!(node.stop(), 0);
        let right = masters.keys[0].endpoint.clone();
        masters.ask_at(0, refusing(code));
        masters.set_at(&mut node);
        node.start();
        let shop = shop.at(&node);
        for _ in 0..10 {
            login(&shop, 1).refused(503, "not_ready");
        }
        let kms = kms_of(&node, "eu");
        assert!(kms["error"].as_str().unwrap().contains(code), "{kms}");
        assert!(kms["refused"].as_u64().unwrap() < 10, "asked for every login: {kms}");
        assert_eq!(node.stop(), 0);
        masters.keys[0].endpoint = right;
        masters.set_at(&mut node);
        node.start();
        login(&shop.at(&node), 1).done(200);
    }
}

#[test]
fn a_new_master_key_takes_over_and_the_one_before_can_go() {
    let mut masters = Masters::new();
    let mut node = masters.node();
    node.start();
    let shop = node.company("shop", &["NG"]);
    register(&shop, 1);
    assert_eq!(node.stop(), 0);
    // Without a word about the key before, what it wrapped is not opened, and why is said.
    let new = moto().key(REGIONS[0].1);
    let old = std::mem::replace(&mut masters.keys[0].key, new);
    masters.set_at(&mut node);
    node.start();
    login(&shop.at(&node), 1).refused(503, "not_ready");
    let kms = kms_of(&node, "eu");
    assert!(kms["error"].as_str().unwrap().contains("which the settings do not name"), "{kms}");
    assert_eq!(status(&node)["to_renew"], 1);
    node.kill();
    // With it, everything is wrapped anew, also when the node was killed meanwhile.
    masters.keys[0].former = vec![old];
    masters.set_at(&mut node);
    node.start();
    node.kill();
    node.start();
    login(&shop.at(&node), 1).done(200);
    wait_for("all to be wrapped anew", || (status(&node)["to_renew"] == 0).then_some(()));
    assert_eq!(node.stop(), 0);
    masters.keys[0].former.clear();
    masters.set_at(&mut node);
    node.start();
    login(&shop.at(&node), 1).done(200);
    let kms = kms_of(&node, "eu");
    assert_eq!((&kms["refused"], &kms["error"]), (&json!(0), &Value::Null), "the newest first");
    let (code, _, said) = node.run(&["keys", "rotate"]);
    assert!(code == 1 && said.contains("keys.aws.regions"), "{said}");
}

const CONTEXT: EncryptionContext = EncryptionContext {
    deployment: DeploymentId([1; 16]),
    purpose: Purpose::BranchKey,
    key: BranchKeyId([2; 16]),
};

#[test]
fn a_wrapping_opens_for_its_region_and_context_and_for_nothing_else() {
    let masters = Masters::new();
    let (eu, us) = (masters.client("eu"), masters.client("us"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let key = KeyMaterial::new(&[7; 32]);
    let wrap = |region| runtime.block_on(us.wrap_key(name(region), &key, &CONTEXT)).unwrap();
    let open = |wrapped: &[u8], context: &EncryptionContext| {
        runtime.block_on(eu.unwrap_key(wrapped, context)).map(|key| *key.expose())
    };
    let wrapped = wrap("eu");
    assert_eq!(open(&wrapped, &CONTEXT).unwrap(), [7; 32]);
    assert_ne!(wrap("eu"), wrapped);
    assert!(matches!(eu.sight(&wrapped, &CONTEXT), Sight::Named));
    assert!(matches!(us.sight(&wrapped, &CONTEXT), Sight::Former));
    let others = [
        EncryptionContext { deployment: DeploymentId([9; 16]), ..CONTEXT },
        EncryptionContext { key: BranchKeyId([9; 16]), ..CONTEXT },
    ];
    for other in others {
        assert!(matches!(open(&wrapped, &other), Err(KmsError::Malformed)));
    }
    // Another region's wrapping in its place.
    let swapped = open(&wrap("us"), &CONTEXT).unwrap_err();
    assert!(swapped.chain().contains("which the settings do not name"), "{}", swapped.chain());
    // One bit, anywhere in what the KMS made: some bytes name the key there, so it may say no.
    let start = wrapped.len() - 60;
    for position in (start..wrapped.len()).step_by(7) {
        let mut damaged = wrapped.clone();
        damaged[position] ^= 1;
        let refused = open(&damaged, &CONTEXT).unwrap_err();
        assert!(matches!(refused, KmsError::Malformed | KmsError::Refused { .. }), "{position}");
    }
    for damaged in [&wrapped[..0], &wrapped[..20], b"\x01"] {
        assert!(matches!(open(damaged, &CONTEXT), Err(KmsError::Malformed)));
    }
    let error = runtime.block_on(eu.wrap_key(name("mars"), &key, &CONTEXT)).unwrap_err();
    assert!(matches!(error, KmsError::NoSuchRegion(_)), "{error}");
}

#[test]
fn a_node_that_lacks_credentials_or_its_regions_key_says_so() {
    let masters = Masters::new();
    let mut node = masters.node();
    let nowhere = Path::new("/nowhere/credentials");
    node.set("keys.aws.credentials_file", nowhere.to_str().unwrap());
    node.start();
    let shop = node.company("shop", &["NG"]);
    try_register(&shop, 1).refused(503, "not_ready");
    let error = kms_of(&node, "eu")["error"].as_str().unwrap().to_owned();
    assert!(error.contains("/nowhere/credentials"), "{error}");
    assert_eq!(node.stop(), 0);
    let key = &masters.keys[1].key;
    node.set("keys.aws.regions", &format!(r#"[{{region="us",key="{key}",aws_region="x"}}]"#));
    assert!(!node.try_start());
    assert!(node.output().contains("no key for region eu"), "{}", node.output());
}
