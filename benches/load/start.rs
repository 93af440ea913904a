//! How long a start takes, after a clean stop and after a kill in the middle of writing, and what
//! the users take in memory and on disk. A user has an e-mail address, a phone number, five profile
//! fields, a password and two old hashes.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::Options;
use crate::drive::{Calls, Drive, drive};
use crate::http::request;
use crate::node::{Made, Node, email, made_with, register_as};
use crate::report::{Report, median};
use crate::writes::{folder_bytes, patch};

const MIB: f64 = 1024.0 * 1024.0;

/// One start.
struct Start {
    seconds: f64,
    /// Log records that were folded because no checkpoint lay above them.
    folded: f64,
    resident_mib: f64,
}

/// Measures and reports.
pub fn run(options: &Options, load_s: u64) -> anyhow::Result<()> {
    let users = options.users.unwrap_or(200_000);
    // What a password's hash takes to compute is not the question, and its size is the same.
    let cheap = [("JCAS__HASH__BCRYPT_COST", "4".to_owned())];
    let (node, made) =
        made_with(options, users, &cheap, |node, key| whole_users(node, key, users, options))?;
    let loaded = mib(node.memory()?.0);
    let data = options.data(users);
    let stopped = node.stop()?.as_secs_f64();
    let disk = Disk::of(&data)?;
    let (mut clean, mut killed) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        let node = Node::start(&options.program, &data)?;
        clean.push(Start::of(&node, &data)?);
        node.stop()?;
    }
    let node = Node::start(&options.program, &data)?;
    let (load, under_load) = load(&node, &made, options.clients, Duration::from_secs(load_s))?;
    node.stop()?;
    let lasting = Duration::from_secs(options.seconds * 4);
    let mut written = 0;
    for _ in 0..options.rounds {
        let node = Node::start(&options.program, &data)?;
        written += patch(&node.address, &made, options.clients, lasting, None, written)?.answered;
        node.kill()?;
        let node = Node::start(&options.program, &data)?;
        killed.push(Start::of(&node, &data)?);
        node.stop()?;
    }
    let mut report = Report::new("start", &["median s", "longest s", "records", "resident MiB"]);
    row(&mut report, &format!("start with {users} users after a clean stop"), &clean);
    row(&mut report, "start after a kill -9 under writes from all clients", &killed);
    report.row("clean stop, last checkpoint included", &[Some(stopped), None, None, None]);
    report.row("resident after registering them all", &[None, None, None, Some(loaded)]);
    report.row(
        &format!("resident after {load_s} s of look-ups and writes of all users in turn"),
        &[None, None, None, Some(under_load)],
    );
    disk.note(&mut report, users);
    report.note(format!("{load} look-ups and writes were answered under that load"));
    report.note(format!("{written} writes were answered before the kills; records are those that"));
    report.note("had to be folded again; the files are in the page cache".to_owned());
    report.finish(&options.folder)
}

/// Users with everything that the memory and the disk are measured with.
fn whole_users(
    node: &Node,
    key: &str,
    users: usize,
    options: &Options,
) -> anyhow::Result<Vec<String>> {
    let body = |number: u64| {
        json!({
            "country": "NG",
            "email": email(number),
            "phone": format!("+23480{number:08}"),
            "password": format!("the password of {number}"),
            "profile": {
                "given_name": format!("Given {number}"),
                "family_name": format!("Family {number}"),
                "birthdate": "1990-01-01",
                "locale": "en-NG",
                "zoneinfo": "Africa/Lagos",
            },
        })
    };
    let (_, made) = register_as(node, key, body, users, options.clients)?;
    for country in ["NG", "GH"] {
        let (key, made) = (key.to_owned(), made.clone());
        let calls = Calls::new(move |number| {
            let hash =
                json!({ "hash": format!("{number:064x}"), "salt": format!("{number:016x}") });
            let at = usize::try_from(number).unwrap_or_default();
            let user = made.get(at).map(String::as_str).unwrap_or_default();
            let path = format!("/v1/users/{user}/legacy-hashes/{country}");
            request("PUT", &path, ("X-Api-Key", &key), Some(&hash.to_string()))
        });
        drive(&Drive { limit: users as u64, ..closed(node, options.clients) }, calls)?;
    }
    Ok(made)
}

/// Look-ups and writes in turn, of all users. Returns how many were answered, and what is resident
/// after them, in MiB.
fn load(node: &Node, made: &Made, clients: usize, lasting: Duration) -> anyhow::Result<(u64, f64)> {
    let (key, users) = (made.key.clone(), made.users.clone());
    let calls = Calls::new(move |number| {
        // A step that shares no divisor with a round number: neighbours are seldom met together.
        let at = number.wrapping_mul(7_919) % users.len() as u64;
        if number % 2 == 0 {
            let body = json!({ "email": email(at) }).to_string();
            return request("POST", "/v1/users/lookup", ("X-Api-Key", &key), Some(&body));
        }
        let user = users.get(usize::try_from(at).unwrap_or_default());
        let user = user.map(String::as_str).unwrap_or_default();
        let body = format!(r#"{{"profile":{{"nickname":"Nickname {number}"}}}}"#);
        request("PATCH", &format!("/v1/users/{user}"), ("X-Api-Key", &key), Some(&body))
    });
    let driven = drive(&Drive { lasting, ..closed(node, clients) }, calls)?;
    Ok((driven.answered, mib(node.memory()?.0)))
}

fn closed(node: &Node, clients: usize) -> Drive<'_> {
    let (address, lasting) = (node.address.as_str(), Duration::from_hours(2));
    Drive { address, clients, lasting, rate: None, status: 200, refusal: None, limit: u64::MAX }
}

impl Start {
    fn of(node: &Node, data: &Path) -> anyhow::Result<Self> {
        let output = std::fs::read_to_string(data.with_extension("output"))?;
        let folded = output.lines().rfind(|line| line.contains("folded the log into the state"));
        let folded = folded.and_then(|line| line.split("records=").nth(1)?.trim().parse().ok());
        Ok(Self {
            seconds: node.start.as_secs_f64(),
            folded: folded.unwrap_or(0.0),
            resident_mib: mib(node.memory()?.0),
        })
    }
}

fn row(report: &mut Report, name: &str, starts: &[Start]) {
    let of = |value: fn(&Start) -> f64| starts.iter().map(value).collect::<Vec<_>>();
    let seconds = of(|it| it.seconds);
    let longest = seconds.iter().copied().fold(0.0, f64::max);
    let (folded, resident) = (median(&of(|it| it.folded)), median(&of(|it| it.resident_mib)));
    report.row(name, &[Some(median(&seconds)), Some(longest), Some(folded), Some(resident)]);
}

/// What a data folder takes.
struct Disk {
    log: u64,
    state: u64,
}

impl Disk {
    fn of(data: &Path) -> anyhow::Result<Self> {
        let (log, state) = (folder_bytes(&data.join("log"))?, folder_bytes(&data.join("state"))?);
        Ok(Self { log, state })
    }

    fn note(&self, report: &mut Report, users: usize) {
        let each = |bytes: u64| bytes / u64::try_from(users).unwrap_or(1).max(1);
        report.note(format!(
            "on disk: log {:.0} MiB, {} bytes a user; state {:.0} MiB, {} bytes a user",
            mib(self.log),
            each(self.log),
            mib(self.state),
            each(self.state),
        ));
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB
}
