//! Durable profile writes over HTTP, beside their two limits in the same run, the disk's and the
//! web framework's, and beside what slapd makes durable.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use crate::Options;
use crate::bare::Bare;
use crate::drive::{Calls, Drive, Driven, drive};
use crate::http::request;
use crate::ldap::Slapd;
use crate::node::{Made, with_users};
use crate::raw;
use crate::report::{Report, median};
use crate::sign::Signer;

/// The share of the greatest rate at which the open loop runs.
const OPEN_SHARE: f64 = 0.6;

/// One round: the limits and the node right after each other, so that what else the machine does
/// meets all of them.
struct Round {
    raw: raw::Appended,
    bare: Driven,
    node: Driven,
    signed: Driven,
    cpu_us: f64,
}

/// Measures and reports.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let users = options.users.unwrap_or(10_000);
    let (node, made) = with_users(options, users)?;
    let bare = Bare::start()?;
    let key = Arc::new(Signer::of(&node, "bench", &["write"])?);
    let data = options.data(users);
    let lasting = Duration::from_secs(options.seconds);
    let closed =
        |address: &str, first: u64| patch(address, &made, options.clients, lasting, None, first);
    // Every user once, so that its key has been opened: what a node does in its first minute.
    let warm =
        Drive { limit: u64::try_from(users)?, ..closed_loop(&node.address, options.clients) };
    drive(&warm, patches(&made, 0))?;
    let before = log_bytes(&data)?;
    let (mut rounds, mut first) = (Vec::new(), warm.limit);
    let mut record = 600;
    for _ in 0..options.rounds {
        let raw = raw::append(&options.folder, options.clients, record, lasting)?;
        let bare = closed(&bare.address, 0)?;
        let cpu = node.cpu_seconds()?;
        let written = closed(&node.address, first)?;
        first += written.answered;
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let cpu_us = (node.cpu_seconds()? - cpu) * 1e6 / written.answered as f64;
        record = usize::try_from((log_bytes(&data)? - before) / (first - warm.limit))?;
        let closed = Drive { lasting, ..closed_loop(&node.address, options.clients) };
        let signed = drive(&closed, signed_patches(&made, &key, first))?;
        first += signed.answered;
        rounds.push(Round { raw, bare, node: written, signed, cpu_us });
    }
    let rate = median(&rounds.iter().map(|round| round.node.rate()).collect::<Vec<_>>());
    let rate = (rate * OPEN_SHARE).round();
    let open = patch(&node.address, &made, options.clients, lasting, Some(rate), first)?;
    report(options, &rounds, &open, rate, record)?;
    node.stop().map(drop)
}

fn closed_loop(address: &str, clients: usize) -> Drive<'_> {
    let lasting = Duration::from_hours(1);
    Drive { address, clients, lasting, rate: None, status: 200, refusal: None, limit: u64::MAX }
}

/// Writes for a while, from the write with a number on.
pub fn patch(
    address: &str,
    made: &Made,
    clients: usize,
    lasting: Duration,
    rate: Option<f64>,
    first: u64,
) -> anyhow::Result<Driven> {
    drive(&Drive { lasting, rate, ..closed_loop(address, clients) }, patches(made, first))
}

/// Each write sets one field of the next user to a value it has not had.
fn patches(made: &Made, first: u64) -> Calls {
    let (key, users) = (made.key.clone(), made.users.clone());
    Calls::new(move |number| {
        let number = first + number;
        let at = usize::try_from(number).unwrap_or_default() % users.len();
        let user = users.get(at).map(String::as_str).unwrap_or_default();
        let body = format!(r#"{{"profile":{{"nickname":"Nickname {number}"}}}}"#);
        request("PATCH", &format!("/v1/users/{user}"), ("X-Api-Key", &key), Some(&body))
    })
}

/// The same, signed. The client signs while it measures: what that takes, the node does not have.
fn signed_patches(made: &Made, signer: &Arc<Signer>, first: u64) -> Calls {
    let (signer, users) = (Arc::clone(signer), made.users.clone());
    Calls::new(move |number| {
        let number = first + number;
        let at = usize::try_from(number).unwrap_or_default() % users.len();
        let user = users.get(at).map(String::as_str).unwrap_or_default();
        let body = format!(r#"{{"profile":{{"nickname":"Nickname {number}"}}}}"#);
        signer.request("PATCH", &format!("/v1/users/{user}"), &body)
    })
}

/// Bytes of the log's segments.
fn log_bytes(data: &Path) -> anyhow::Result<u64> {
    folder_bytes(&data.join("log"))
}

/// Bytes of all files in and below a folder.
pub fn folder_bytes(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).context("cannot list a folder")? {
        let entry = entry?;
        let about = entry.metadata()?;
        bytes += if about.is_dir() { folder_bytes(&entry.path())? } else { about.len() };
    }
    Ok(bytes)
}

/// What slapd makes durable: people added, one answer each.
fn slapd(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    if !Slapd::is_there() {
        report.note("slapd is not installed: no comparison (apt-get install slapd)".to_owned());
        return Ok(());
    }
    let slapd = Slapd::start(&options.folder.join("slapd"), &[])?;
    let done = slapd.add(options.clients, Duration::from_secs(options.seconds))?;
    let times = [Some(done.rate), Some(done.ms(0.5)), Some(done.ms(0.99)), None];
    report.row(&format!("slapd: durable adds, {} clients", options.clients), &times);
    Ok(())
}

fn report(
    options: &Options,
    rounds: &[Round],
    open: &Driven,
    rate: f64,
    record: usize,
) -> anyhow::Result<()> {
    let clients = options.clients;
    let of =
        |value: &dyn Fn(&Round) -> f64| Some(median(&rounds.iter().map(value).collect::<Vec<_>>()));
    let mut report = Report::new("writes", &["a second", "p50 ms", "p99 ms", "CPU us each"]);
    report.row(
        &format!("disk: {record} bytes, group-committed fdatasync, {clients} writers"),
        &[of(&|it| it.raw.rate), of(&|it| it.raw.ms(0.5)), of(&|it| it.raw.ms(0.99)), None],
    );
    report.row(
        &format!("framework: bare actix-web JSON handler, {clients} clients"),
        &[of(&|it| it.bare.rate()), of(&|it| it.bare.ms(0.5)), of(&|it| it.bare.ms(0.99)), None],
    );
    report.row(
        &format!("jcas: PATCH /v1/users/{{id}}, {clients} clients"),
        &[
            of(&|it| it.node.rate()),
            of(&|it| it.node.ms(0.5)),
            of(&|it| it.node.ms(0.99)),
            of(&|it| it.cpu_us),
        ],
    );
    report.row(
        &format!("jcas: the same, signed, {clients} clients"),
        &[
            of(&|it| it.signed.rate()),
            of(&|it| it.signed.ms(0.5)),
            of(&|it| it.signed.ms(0.99)),
            None,
        ],
    );
    slapd(options, &mut report)?;
    report.row(
        &format!("jcas: open loop at {rate} a second, from when each was due"),
        &[Some(open.rate()), Some(open.ms(0.5)), Some(open.ms(0.99)), None],
    );
    let all: Vec<_> = rounds.iter().map(|it| format!("{:.0}", it.node.rate())).collect();
    report.note(format!("jcas in each round: {} a second", all.join(", ")));
    report
        .note("every answer came after the event was fdatasync'ed; p50 and p99 of the".to_owned());
    report.note("closed loops are times at the greatest rate; medians of the rounds".to_owned());
    report.finish(&options.folder)
}
