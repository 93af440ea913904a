//! Two nodes with a broker each: how long after its answer at one a write is read at the other,
//! and how fast a node that was away catches up.
//!
//! What is readable is found out as a company would: by reading the user at the other node. One
//! connection asks without pause when nothing else is going on, and once a millisecond beside load.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use hdrhistogram::Histogram;

use crate::Options;
use crate::broker::{Broker, micros};
use crate::drive::{Calls, Drive, Driven, drive};
use crate::http::{Connection, request};
use crate::node::{Made, Node, pause, register};
use crate::report::Report;
use crate::writes::folder_bytes;

/// Writes a second in the open loop.
const RATE: f64 = 1000.0;

/// Of these one is to the user that is looked at: 100 looks a second that count.
const EACH: u64 = 10;

/// Events that the other node misses while it is away.
const MISSED: u64 = 100_000;

/// Between two looks beside load.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// What a message holds beside the event, in bytes: about a seal and its frame.
const AROUND_BYTES: usize = 200;

/// Longest wait for one region to have what the other has.
const PATIENCE: Duration = Duration::from_mins(5);

/// The two nodes, the company and its users.
struct Pair {
    eu: Node,
    us: Node,
    us_data: PathBuf,
    settings: [Settings; 2],
    made: Made,
}

type Settings = Vec<(&'static str, String)>;

/// Measures and reports.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let folder = options.folder.join("replication");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    let (one, other) = (folder.join("broker-eu"), folder.join("broker-us"));
    let starting = std::thread::spawn(move || Broker::start(&other));
    let first = Broker::start(&one)?;
    let second = starting.join().map_err(|_| anyhow::anyhow!("a broker's start panicked"))??;
    let mut pair = Pair::start(options, &folder, [&first, &second])?;
    let lasting = Duration::from_secs(options.seconds);
    let rounds = u32::try_from(options.rounds)?;

    eprintln!("idle: one write at a time");
    let idle = pair.idle(lasting * rounds)?;
    eprintln!("{RATE} writes a second");
    let (log, before) = (folder.join("eu/log"), folder_bytes(&folder.join("eu/log"))?);
    let (answers, loaded) = pair.loaded(lasting * rounds)?;
    let event = usize::try_from((folder_bytes(&log)? - before) / answers.answered.max(1))?;
    let bytes = event + AROUND_BYTES;
    eprintln!("a quorum queue by itself");
    let limit = first.round_trips(bytes, lasting)?;
    eprintln!("{MISSED} events while the other node is away");
    let (caught_up, start) = pair.catch_up(options)?;

    let mut report = Report::new("replication", &["a second", "p50 ms", "p99 ms"]);
    let row = |report: &mut Report, name: &str, latency: &Histogram<u64>| {
        let ms = |quantile| Some(milliseconds(latency.value_at_quantile(quantile)));
        report.row(name, &[None, ms(0.5), ms(0.99)]);
    };
    let queue = format!("broker: quorum queue, {bytes} bytes, one at a time");
    row(&mut report, &format!("{queue}, to its confirm"), &limit.confirmed);
    row(&mut report, &format!("{queue}, to its delivery"), &limit.delivered);
    row(&mut report, "jcas: idle, from the answer to readable there", &idle);
    row(&mut report, &format!("jcas: {RATE} writes a second, from due to readable there"), &loaded);
    let of = |quantile| Some(answers.ms(quantile));
    let name = format!("jcas: {RATE} writes a second, from due to the answer here");
    report.row(&name, &[Some(answers.rate()), of(0.5), of(0.99)]);
    let name = format!("jcas: {MISSED} events missed, from the node's start to the last readable");
    report.row(&name, &[Some(caught_up), None, None]);
    report.note(format!("its start took {:.2} s of that", start.as_secs_f64()));
    report.note(format!("reads that counted: {} idle, {} loaded", idle.len(), loaded.len()));
    if let Ok(load) = std::fs::read_to_string("/proc/loadavg") {
        report.note(format!("load average at the end: {}", load.trim()));
    }
    report.finish(&options.folder)?;
    pair.us.stop()?;
    pair.eu.stop().map(drop)
}

#[expect(clippy::cast_precision_loss, reason = "microseconds are far below 2^52")]
fn milliseconds(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

impl Pair {
    fn start(
        options: &Options,
        folder: &Path,
        [eu_broker, us_broker]: [&Broker; 2],
    ) -> anyhow::Result<Self> {
        let (eu_data, us_data) = (folder.join("eu"), folder.join("us"));
        let run = |arguments: &[&str]| {
            let mut command = Command::new(&options.program);
            let output = command.args(arguments).current_dir(folder).output()?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(output.status.success(), "jcas {arguments:?}: {said}");
            Ok(())
        };
        run(&[
            "init", "eu", "--name", "bench", "--region", "eu", "--node", "n1", "--with", "us/n1",
        ])?;
        run(&["join", "eu/bundles/us.n1.bundle", "--data", "us"])?;
        let brokers = format!(
            r#"[{{region="eu",url="{}"}},{{region="us",url="{}"}}]"#,
            eu_broker.url(),
            us_broker.url()
        );
        let of = |region: &str, peer: &str| {
            vec![
                ("JCAS__NODE__REGION", region.to_owned()),
                ("JCAS__NODE__NAME", "n1".to_owned()),
                ("JCAS__REPLICATION__PEERS", format!(r#"["{peer}/n1"]"#)),
                ("JCAS__REPLICATION__BROKERS", brokers.clone()),
            ]
        };
        let settings = [of("eu", "us"), of("us", "eu")];
        let eu = Node::start_with(&options.program, &eu_data, &settings[0])?;
        let us = Node::start_with(&options.program, &us_data, &settings[1])?;
        let key = eu.company("bench")?;
        let users = options.users.unwrap_or(2000);
        eprintln!("registering {users} users");
        let (_, users) = register(&eu, &key, 0, users, options.clients)?;
        let made = Made { key, users };
        let pair = Self { eu, us, us_data, settings, made };
        pair.alike()?;
        // Every user once, so that its key has been opened at both.
        for node in [&pair.eu, &pair.us] {
            pair.read_all(node, options.clients)?;
        }
        Ok(pair)
    }

    /// Waits until both have the same state.
    fn alike(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        let hash = |node: &Node| node.operate("GET", "/operator/state", None);
        while hash(&self.eu)?.get("state_hash") != hash(&self.us)?.get("state_hash") {
            ensure!(began.elapsed() < PATIENCE, "the regions do not converge");
            pause();
        }
        Ok(())
    }

    fn read_all(&self, node: &Node, clients: usize) -> anyhow::Result<()> {
        let made = Made { key: self.made.key.clone(), users: self.made.users.clone() };
        let limit = made.users.len() as u64;
        let calls = Calls::new(move |number| {
            let user = made.users.get(usize::try_from(number).unwrap_or_default());
            get(&made.key, user.map(String::as_str).unwrap_or_default())
        });
        drive(&Drive { limit, ..closed(node, clients) }, calls).map(drop)
    }

    /// The user that is looked at.
    fn looked_at(&self) -> anyhow::Result<&str> {
        self.made.users.first().map(String::as_str).context("there are no users")
    }

    /// One write at a time: answered at one node, then read at the other until it is there.
    fn idle(&self, lasting: Duration) -> anyhow::Result<Histogram<u64>> {
        let (key, user) = (&self.made.key, self.looked_at()?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut here = Connection::open(&self.eu.address).await?;
            let mut there = Connection::open(&self.us.address).await?;
            let look = get(key, user);
            let (mut found, began) = (Histogram::new(3)?, Instant::now());
            let mut number = 0;
            while began.elapsed() < lasting {
                number += 1;
                let reply = here.send(&patch(key, user, number)).await?;
                ensure!(reply.status == 200, "a write was answered with {}", reply.status);
                let answered = Instant::now();
                while number_in(there.send(&look).await?.body) != Some(number) {
                    ensure!(answered.elapsed() < PATIENCE, "a write does not arrive");
                }
                found.record(micros(answered.elapsed()))?;
                // So that what the one before left behind is over, and no rhythm is kept.
                tokio::time::sleep(Duration::from_millis(5 + number % 7)).await;
            }
            Ok(found)
        })
    }

    /// So many writes a second, whether the node keeps up or not.
    fn loaded(&self, lasting: Duration) -> anyhow::Result<(Driven, Histogram<u64>)> {
        let over = Arc::new(AtomicBool::new(false));
        let looking = {
            let (over, look) = (Arc::clone(&over), get(&self.made.key, self.looked_at()?));
            let address = self.us.address.clone();
            std::thread::spawn(move || look_on(&address, &look, &over))
        };
        let first = 1_000_000;
        let drive_at = Drive {
            address: &self.eu.address,
            clients: 64,
            lasting,
            rate: Some(RATE),
            status: 200,
            refusal: None,
            limit: u64::MAX,
        };
        let driven = drive(&drive_at, self.patches(first));
        if driven.is_ok() {
            self.alike()?;
        }
        over.store(true, Ordering::Relaxed);
        let seen = looking.join().map_err(|_| anyhow::anyhow!("the reader panicked"))??;
        let driven = driven?;
        let mut found = Histogram::new(3)?;
        let mut seen = seen.into_iter().filter(|(number, _)| *number >= first).peekable();
        for number in (0..driven.answered).step_by(usize::try_from(EACH)?) {
            // The first look that shows this write or a later one.
            while seen.next_if(|(shown, _)| *shown < first + number).is_some() {}
            let Some((_, at)) = seen.peek() else { break };
            #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
            let due = driven.start + Duration::from_secs_f64(number as f64 / RATE);
            found.record(micros(at.saturating_duration_since(due)))?;
        }
        Ok((driven, found))
    }

    /// Writes to the users in turn, every [`EACH`]th to the one that is looked at.
    fn patches(&self, first: u64) -> Calls {
        let (key, users) = (self.made.key.clone(), self.made.users.clone());
        Calls::new(move |number| {
            let turn = if number % EACH == 0 { 0 } else { number };
            let at = usize::try_from(turn).unwrap_or_default() % users.len();
            let user = users.get(at).map(String::as_str).unwrap_or_default();
            patch(&key, user, first + number)
        })
    }

    /// Events a second from the start of the node that was away until it shows the last one, and
    /// how long its start took.
    fn catch_up(&mut self, options: &Options) -> anyhow::Result<(f64, Duration)> {
        self.us.ask_to_stop()?;
        let (first, clients) = (2_000_000, options.clients);
        let writing = Drive { limit: MISSED, ..closed(&self.eu, clients) };
        drive(&writing, self.patches(first))?;
        let last = 9_000_000;
        let (key, user) = (self.made.key.clone(), self.looked_at()?.to_owned());
        let final_write = Drive { limit: 1, ..closed(&self.eu, 1) };
        let (of, to) = (key.clone(), user.clone());
        drive(&final_write, Calls::new(move |_| patch(&of, &to, last)))?;
        let began = Instant::now();
        self.us = Node::start_with(&options.program, &self.us_data, &self.settings[1])?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let took = runtime.block_on(async {
            let mut there = Connection::open(&self.us.address).await?;
            let look = get(&key, &user);
            while number_in(there.send(&look).await?.body) != Some(last) {
                ensure!(began.elapsed() < PATIENCE, "the node does not catch up");
                tokio::time::sleep(LOOK_EVERY).await;
            }
            anyhow::Ok(began.elapsed())
        })?;
        self.alike()?;
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let rate = (MISSED + 1) as f64 / took.as_secs_f64();
        Ok((rate, self.us.start))
    }
}

fn closed(node: &Node, clients: usize) -> Drive<'_> {
    let (address, lasting) = (node.address.as_str(), Duration::from_hours(1));
    Drive { address, clients, lasting, rate: None, status: 200, refusal: None, limit: u64::MAX }
}

fn get(key: &str, user: &str) -> Vec<u8> {
    request("GET", &format!("/v1/users/{user}"), ("X-Api-Key", key), None)
}

fn patch(key: &str, user: &str, number: u64) -> Vec<u8> {
    let body = format!(r#"{{"profile":{{"nickname":"n{number}"}}}}"#);
    request("PATCH", &format!("/v1/users/{user}"), ("X-Api-Key", key), Some(&body))
}

/// The number that a user's nickname holds.
fn number_in(body: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once(r#""nickname":"n"#)?;
    rest.split_once('"')?.0.parse().ok()
}

/// Looks at a user once a millisecond, and notes when it shows another number.
fn look_on(address: &str, look: &[u8], over: &AtomicBool) -> anyhow::Result<Vec<(u64, Instant)>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut there = Connection::open(address).await?;
        let mut seen: Vec<(u64, Instant)> = Vec::new();
        while !over.load(Ordering::Relaxed) {
            if let Some(number) = number_in(there.send(look).await?.body)
                && seen.last().is_none_or(|(last, _)| *last < number)
            {
                seen.push((number, Instant::now()));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(seen)
    })
}
