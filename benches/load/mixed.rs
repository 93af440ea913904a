//! A company's day at once: signed calls of every kind, each an open loop at its own rate, and a bulk
//! sync of another company beside them.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::Options;
use crate::drive::{Calls, Drive, Driven, drive};
use crate::http::request;
use crate::login::PASSWORD;
use crate::node::{Made, Node, email, with_users};
use crate::report::Report;
use crate::sign::Signer;
use crate::sync::write_rows;

/// Connections of each kind: more than can be under way at its rate.
const CLIENTS: usize = 32;

/// Customers with a password, in turn.
const PEOPLE: u64 = 512;

/// Rows of the bulk sync.
const ROWS: usize = 200_000;

/// Method, path and body of a call. What has no body has the API key alone.
type Call = (&'static str, String, Option<Value>);

/// Makes the call with a number.
type Make = fn(&Made, u64) -> Call;

/// A kind of call.
struct Kind {
    name: &'static str,
    /// Its share of all calls, in percent.
    share: f64,
    status: u16,
    make: Make,
}

const KINDS: [Kind; 6] = [
    Kind { name: "look-up", share: 40.0, status: 200, make: look_up },
    Kind { name: "get", share: 25.0, status: 200, make: get },
    Kind { name: "patch", share: 15.0, status: 200, make: patch },
    Kind { name: "login", share: 12.0, status: 200, make: login },
    Kind { name: "login, wrong password", share: 3.0, status: 401, make: wrong },
    Kind { name: "register", share: 5.0, status: 201, make: register },
];

/// Measures and reports.
pub fn run(options: &Options, rate: f64) -> anyhow::Result<()> {
    let users = options.users.unwrap_or(10_000);
    let (node, made) = with_users(options, users)?;
    let signer = Arc::new(Signer::of(&node, "bench", &["login", "read", "write"])?);
    let made = Arc::new(made);
    people(&node, &signer)?;
    let lasting = Duration::from_secs(options.seconds);
    let job = begin_sync(options, &node)?;
    let all = std::thread::scope(|scope| {
        let driven = KINDS.map(|kind| {
            let (made, signer, address) = (&made, &signer, &node.address);
            scope.spawn(move || {
                let calls = calls(made, signer, kind.make);
                let (rate, status) = (Some(rate * kind.share / 100.0), kind.status);
                let (clients, limit) = (CLIENTS, u64::MAX);
                let refusal = Some(503);
                let open = Drive { address, clients, lasting, rate, status, refusal, limit };
                (kind.name, drive(&open, calls))
            })
        });
        driven.map(std::thread::ScopedJoinHandle::join)
    });
    let rows = job.created()?;
    let mut report = Report::new("mixed", &["a second", "p50 ms", "p99 ms", "refused"]);
    for joined in all {
        let (name, driven) = joined.map_err(|_| anyhow::anyhow!("a client broke off"))?;
        row(&mut report, name, &driven.with_context(|| name.to_owned())?);
    }
    report.note(format!("signed, open loops, {rate} calls a second; from when each was due"));
    report.note(format!("rows that a bulk sync of another company applied meanwhile: {rows}"));
    report.finish(&options.folder)?;
    node.stop().map(drop)
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn row(report: &mut Report, name: &str, driven: &Driven) {
    let refused = driven.refused.len() as f64;
    let times = [driven.rate(), driven.ms(0.5), driven.ms(0.99), refused];
    report.row(name, &times.map(Some));
}

fn calls(made: &Arc<Made>, signer: &Arc<Signer>, call: Make) -> Calls {
    let (made, signer) = (Arc::clone(made), Arc::clone(signer));
    Calls::new(move |number| {
        let (method, path, body) = call(&made, number);
        let Some(body) = body else {
            return request(method, &path, ("X-Api-Key", &made.key), None);
        };
        signer.request(method, &path, &body.to_string())
    })
}

fn look_up(made: &Made, number: u64) -> Call {
    let users = made.users.len() as u64;
    ("POST", "/v1/users/lookup".to_owned(), Some(json!({ "email": email(number % users) })))
}

fn get(made: &Made, number: u64) -> Call {
    ("GET", user(made, number), None)
}

fn patch(made: &Made, number: u64) -> Call {
    let profile = json!({ "profile": { "nickname": format!("Nickname {number}") } });
    ("PATCH", user(made, number), Some(profile))
}

fn login(_: &Made, number: u64) -> Call {
    ("POST", "/v1/login".to_owned(), Some(with_password(&customer(number), PASSWORD)))
}

fn wrong(_: &Made, number: u64) -> Call {
    // Another password each time, of another customer: nobody is guessed at twice in a row.
    let guess = format!("not it {number}");
    ("POST", "/v1/login".to_owned(), Some(with_password(&customer(number * 7), &guess)))
}

fn register(_: &Made, number: u64) -> Call {
    let new = with_password(&format!("new{number}@bench.example.com"), PASSWORD);
    ("POST", "/v1/users".to_owned(), Some(new))
}

fn user(made: &Made, number: u64) -> String {
    let at = usize::try_from(number).unwrap_or_default() % made.users.len().max(1);
    format!("/v1/users/{}", made.users.get(at).map(String::as_str).unwrap_or_default())
}

fn customer(number: u64) -> String {
    format!("customer{}@bench.example.com", number % PEOPLE)
}

fn with_password(email: &str, password: &str) -> Value {
    json!({ "country": "NG", "email": email, "password": password })
}

/// Registers the customers with a password.
fn people(node: &Node, signer: &Arc<Signer>) -> anyhow::Result<()> {
    let signer = Arc::clone(signer);
    let calls = Calls::new(move |number| {
        let body = with_password(&customer(number), PASSWORD);
        signer.request("POST", "/v1/users", &body.to_string())
    });
    let (address, lasting) = (node.address.as_str(), Duration::from_hours(1));
    let (clients, limit, rate, refusal) = (CLIENTS, PEOPLE, None, None);
    let all = Drive { address, clients, lasting, rate, status: 201, refusal, limit };
    drive(&all, calls).map(drop)
}

/// Begins a bulk sync of another company.
fn begin_sync(options: &Options, node: &Node) -> anyhow::Result<Job> {
    node.company("other")?;
    let key = node.key_of("other", &["sync"])?;
    let file = options.folder.join("mixed.ndjson");
    write_rows(&file, ROWS)?;
    let url = format!("http://{}/v1/sync", node.address);
    let mut answer = ureq::post(format!("{url}?country=NG"))
        .header("X-Api-Key", &key)
        .header("Content-Type", "application/x-ndjson")
        .send(File::open(file)?)?;
    let answer: Value = serde_json::from_str(&answer.body_mut().read_to_string()?)?;
    let id = answer.get("job_id").and_then(Value::as_str).context("no job")?;
    Ok(Job { url: format!("{url}/{id}"), key })
}

/// A job that was begun.
struct Job {
    url: String,
    key: String,
}

impl Job {
    /// How many rows made a user so far.
    fn created(&self) -> anyhow::Result<u64> {
        let mut answer = ureq::get(&self.url).header("X-Api-Key", &self.key).call()?;
        let job: Value = serde_json::from_str(&answer.body_mut().read_to_string()?)?;
        job.get("created").and_then(Value::as_u64).context("no count")
    }
}
