//! Credentials of the role that AWS gave to where a node runs: fetched when the KMS is to be asked,
//! fetched anew before they end, and from nobody who is not named.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::brokers::Proxy;
use crate::kms::{Masters, kms_of, try_register};
use crate::moto::moto;
use crate::node::{Node, send, wait_for};

/// What is asked: the first line, the headers with their names in lower case, the body.
struct Asked {
    line: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Asked {
    fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }
}

/// A server that answers each request with a status and a body.
fn played(answer: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || speak(stream, &*answer));
        }
    });
    port
}

fn speak(mut stream: TcpStream, answer: &dyn Fn(&Asked) -> (u16, String)) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        Some(line.trim_end().to_owned())
    };
    let first = line()?;
    let mut headers = Vec::new();
    while let Some((name, value)) = line()?.split_once(':') {
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let mut asked = Asked { line: first, headers, body: String::new() };
    let length = asked.header("content-length").parse().unwrap_or(0);
    reader.take(length).read_to_string(&mut asked.body).ok()?;
    let (status, body) = answer(&asked);
    let length = body.len();
    let lasts = "x-aws-ec2-metadata-token-ttl-seconds: 600";
    let headers =
        format!("content-type: application/x-amz-json-1.1\r\n{lasts}\r\nconnection: close");
    let head = format!("HTTP/1.1 {status} said\r\n{headers}\r\ncontent-length: {length}");
    write!(stream, "{head}\r\n\r\n{body}").ok()
}

/// A KMS that notes whose calls it was asked.
fn noting(callers: &Arc<Mutex<BTreeSet<String>>>) -> u16 {
    let callers = Arc::clone(callers);
    played(move |asked| {
        let authorization = asked.header("authorization");
        let caller = authorization.split("Credential=").nth(1).unwrap().split('/').next().unwrap();
        callers.lock().unwrap().insert(caller.to_owned());
        let passed = ["authorization", "x-amz-target", "content-type"];
        let passed = passed.map(|name| (name, asked.header(name)));
        let url = format!("http://127.0.0.1:{}/", moto().port());
        let answer = send("POST", &url, &passed, Some(&asked.body));
        (answer.status, answer.text)
    })
}

/// Credentials of a role for some seconds, as containers and instances are given them.
fn credentials(name: &str, seconds: i64) -> String {
    let until = Timestamp::now() + SignedDuration::from_secs(seconds);
    let until = format!("{until:.0}");
    let given = json!({
        "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": "2026-01-01T00:00:00Z",
        "AccessKeyId": name, "SecretAccessKey": "geheim", "Token": "marke", "Expiration": until,
    });
    given.to_string()
}

/// A node that is given no credentials, at a KMS that notes who asks it, and those who did.
fn node(masters: &mut Masters) -> (Node, Arc<Mutex<BTreeSet<String>>>) {
    let callers = Arc::default();
    let kms = noting(&callers);
    (0..3).for_each(|number| masters.ask_at(number, kms));
    let mut node = masters.node();
    node.set("keys.aws.credentials_file", "");
    (node, callers)
}

/// Runs the node in an environment that names a role.
fn named(node: &mut Node, environment: &[String]) {
    let without = ["env", "-u", "AWS_ACCESS_KEY_ID", "-u", "AWS_SECRET_ACCESS_KEY"];
    let program: Vec<_> =
        without.into_iter().chain(environment.iter().map(String::as_str)).collect();
    node.through(&program);
}

#[test]
fn the_role_of_a_container_is_fetched_anew_before_it_ends() {
    let fetched = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&fetched);
    let container = played(move |asked| {
        if asked.line != "GET /v2/role HTTP/1.1" || asked.header("authorization") != "of-the-task" {
            return (401, String::new());
        }
        let number = counted.fetch_add(1, Ordering::SeqCst);
        (200, credentials(&format!("ROLE{number}"), 3))
    });
    let mut masters = Masters::new();
    let (mut node, callers) = node(&mut masters);
    // One region's KMS is away at first, so that there is something to do later.
    let way = Proxy::to(masters.port_of(2));
    way.cut(false);
    masters.ask_at(2, way.port());
    masters.set_at(&mut node);
    let environment = [
        format!("AWS_CONTAINER_CREDENTIALS_FULL_URI=http://127.0.0.1:{container}/v2/role"),
        "AWS_CONTAINER_AUTHORIZATION_TOKEN=of-the-task".to_owned(),
    ];
    named(&mut node, &environment);
    node.start();
    let shop = node.company("shop", &["NG"]);
    assert_eq!(fetched.load(Ordering::SeqCst), 0, "nobody needs it yet");
    try_register(&shop, 1).done(201);
    let first = callers.lock().unwrap().len();
    assert!(first >= 1, "the KMS was asked by nobody");
    way.mend();
    wait_for("the hole to be filled by the role as it is then", || {
        (callers.lock().unwrap().len() > first).then_some(())
    });
    let callers = callers.lock().unwrap().clone();
    assert!(callers.iter().all(|name| name.starts_with("ROLE")), "{callers:?}");
    assert!(!node.output().contains("geheim"), "{}", node.output());
}

#[test]
fn the_role_of_an_instance_is_asked_for_only_where_the_settings_say_so() {
    let asked = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&asked);
    let metadata = played(move |asked| {
        counted.fetch_add(1, Ordering::SeqCst);
        let list = "GET /latest/meta-data/iam/security-credentials/ HTTP/1.1";
        match asked.line.as_str() {
            "PUT /latest/api/token HTTP/1.1" => (200, "session".to_owned()),
            _ if asked.header("x-aws-ec2-metadata-token") != "session" => (401, String::new()),
            line if line == list => (200, "jcas-node".to_owned()),
            line if line.contains("/jcas-node ") => (200, credentials("INSTANCE", 3600)),
            _ => (404, String::new()),
        }
    });
    let mut masters = Masters::new();
    let (mut node, callers) = node(&mut masters);
    let at = format!("AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:{metadata}");
    named(&mut node, &[at]);
    node.start();
    let shop = node.company("shop", &["NG"]);
    try_register(&shop, 1).refused(503, "not_ready");
    let error = kms_of(&node, "eu")["error"].as_str().unwrap().to_owned();
    assert!(error.contains("no role is named"), "{error}");
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    assert_eq!(node.stop(), 0);
    node.set("keys.aws.instance_role", "true");
    node.start();
    try_register(&shop.at(&node), 1).done(201);
    assert_eq!(*callers.lock().unwrap(), BTreeSet::from(["INSTANCE".to_owned()]));
}

#[test]
fn a_pods_web_identity_is_shown_to_sts() {
    let sts = played(|asked| {
        let shown = "WebIdentityToken=of-the-pod";
        let is_it = asked.body.contains("Action=AssumeRoleWithWebIdentity");
        if !is_it || !asked.body.contains(shown) || !asked.body.contains("role%2Fjcas") {
            return (400, String::new());
        }
        let credentials = "<Credentials><AccessKeyId>POD</AccessKeyId><SecretAccessKey>geheim\
             </SecretAccessKey><SessionToken>marke</SessionToken><Expiration>2100-01-01T00:00:00Z\
             </Expiration></Credentials>";
        let user = "<AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/jcas/s</Arn>\
             <AssumedRoleId>AROA:s</AssumedRoleId></AssumedRoleUser>";
        let of = "AssumeRoleWithWebIdentity";
        let space = "https://sts.amazonaws.com/doc/2011-06-15/";
        let result = format!("<{of}Result>{credentials}{user}</{of}Result>");
        (200, format!("<{of}Response xmlns=\"{space}\">{result}</{of}Response>"))
    });
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "of-the-pod").unwrap();
    let mut masters = Masters::new();
    let (mut node, callers) = node(&mut masters);
    let environment = [
        format!("AWS_WEB_IDENTITY_TOKEN_FILE={}", token.display()),
        "AWS_ROLE_ARN=arn:aws:iam::123456789012:role/jcas".to_owned(),
        format!("AWS_ENDPOINT_URL_STS=http://127.0.0.1:{sts}"),
    ];
    named(&mut node, &environment);
    node.start();
    let shop = node.company("shop", &["NG"]);
    try_register(&shop, 1).done(201);
    assert_eq!(*callers.lock().unwrap(), BTreeSet::from(["POD".to_owned()]));
}
