//! Logins, which are bcrypt: how many a second, and how long one takes, beside one bcrypt by itself,
//! a plain service that does the same with the `bcrypt` crate, slapd, and a shop's own check in
//! PHP. All of cost 10.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::Options;
use crate::bare::Bare;
use crate::drive::{Calls, Drive, Driven, drive};
use crate::http::request;
use crate::ldap::Slapd;
use crate::node::Node;
use crate::report::Report;

/// The cost of all hashes.
pub const COST: u32 = 10;

/// Connections that keep the machine busy: twice as many as lanes on two cores.
const SATURATING: usize = 24;

/// Connections of an open loop: more than can be under way at its rate.
const OPEN: usize = 64;

/// Customers, in turn: so many that no account has many attempts under way at once.
const PEOPLE: u64 = 256;

/// Hashes that the others check, in turn.
pub const HASHES: usize = 16;

/// Everybody's password.
pub const PASSWORD: &str = "one two three";

/// How many times a script checks a password.
const CHECKS: usize = 60;

/// Measures and reports.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let data = options.folder.join("login");
    if data.exists() {
        std::fs::remove_dir_all(&data)?;
    }
    std::fs::create_dir_all(&options.folder)?;
    let lasting = Duration::from_secs(options.seconds);
    let mut report = Report::new("login", &["a second", "p50 ms", "p99 ms"]);
    let (rate, alone) = alone(lasting)?;
    let (alone_p50, alone_p99) = (ms(&alone, 0.5), ms(&alone, 0.99));
    let name = format!("one bcrypt of cost {COST} after the other, one thread");
    report.row(&name, &[Some(rate), Some(alone_p50), Some(alone_p99)]);

    let plain = Bare::with_logins()?;
    let plain = drive(&closed(&plain.address, lasting), logins("none".to_owned()))?;
    row(&mut report, "plain service: bcrypt crate, one at a time a core", &plain);
    let slapd = slapd(&options.folder, lasting, &mut report)?;

    let cost = [("JCAS__HASH__BCRYPT_COST", COST.to_string())];
    let node = Node::start_with(&options.program, &data, &cost)?;
    let key = node.plain_company("shop")?;
    register(&node, &key)?;
    let full = drive(&closed(&node.address, lasting), logins(key.clone()))?;
    row(&mut report, &format!("jcas: as many as it can, {SATURATING} clients"), &full);
    let at = |share: f64| {
        // A tenth of what it can is few: longer, for the same certainty.
        let lasting = if share < 0.5 { lasting * 3 } else { lasting * 2 };
        let rate = Some(full.rate() * share);
        let open = Drive { rate, clients: OPEN, ..closed(&node.address, lasting) };
        drive(&open, logins(key.clone()))
    };
    let (tenth, most) = (at(0.1)?, at(0.7)?);
    row(&mut report, "jcas: at a tenth of that", &tenth);
    row(&mut report, "jcas: at 70% of that", &most);
    in_php(&node, &key, &mut report)?;

    let times = |one: f64, other: f64| format!("{:.2} times", one / other);
    report.note(format!("logins against the plain service: {}", times(full.rate(), plain.rate())));
    if let Some(slapd) = slapd {
        report.note(format!("logins against slapd: {}", times(full.rate(), slapd)));
    }
    report.note(format!("p50 at a tenth against one bcrypt: {}", times(tenth.ms(0.5), alone_p50)));
    report.note(format!("p99 at 70% against one bcrypt: {}", times(most.ms(0.99), alone_p50)));
    report.note("open loops count from when each was due".to_owned());
    report.finish(&options.folder)?;
    node.stop().map(drop)
}

fn row(report: &mut Report, name: &str, driven: &Driven) {
    report.row(name, &[Some(driven.rate()), Some(driven.ms(0.5)), Some(driven.ms(0.99))]);
}

#[expect(clippy::cast_precision_loss, reason = "microseconds are far below 2^52")]
fn ms(latency: &Histogram<u64>, quantile: f64) -> f64 {
    latency.value_at_quantile(quantile) as f64 / 1000.0
}

/// One hash after the other in one thread: how many a second, and how long each took.
fn alone(lasting: Duration) -> anyhow::Result<(f64, Histogram<u64>)> {
    let hash = bcrypt::hash(PASSWORD, COST)?;
    let mut latency = Histogram::new(3)?;
    let began = Instant::now();
    while began.elapsed() < lasting {
        let one = Instant::now();
        ensure!(bcrypt::verify(PASSWORD, &hash)?, "a hash does not verify");
        latency.record(u64::try_from(one.elapsed().as_micros())?)?;
    }
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let rate = latency.len() as f64 / began.elapsed().as_secs_f64();
    Ok((rate, latency))
}

/// The same password hashed with different salts.
pub fn hashes() -> anyhow::Result<Vec<String>> {
    (0..HASHES).map(|_| Ok(bcrypt::hash(PASSWORD, COST)?)).collect()
}

fn slapd(folder: &Path, lasting: Duration, report: &mut Report) -> anyhow::Result<Option<f64>> {
    if !Slapd::is_there() {
        report.note("slapd is not installed: no comparison (apt-get install slapd)".to_owned());
        return Ok(None);
    }
    let hashes = hashes()?;
    let people = (0..PEOPLE).zip(hashes.iter().cycle());
    let people: Vec<_> = people.map(|(number, hash)| (email(number), hash.clone())).collect();
    let slapd = Slapd::start(&folder.join("slapd"), &people)?;
    let done = slapd.drive(SATURATING, lasting, &people, Some(PASSWORD))?;
    let times = [Some(done.rate), Some(done.ms(0.5)), Some(done.ms(0.99))];
    report.row("slapd: search by mail, then bind", &times);
    Ok(Some(done.rate))
}

fn closed(address: &str, lasting: Duration) -> Drive<'_> {
    let (clients, limit) = (SATURATING, u64::MAX);
    Drive { address, clients, lasting, rate: None, status: 200, refusal: None, limit }
}

fn email(number: u64) -> String {
    format!("p{}@bench.example.com", number % PEOPLE)
}

fn register(node: &Node, key: &str) -> anyhow::Result<()> {
    let key = key.to_owned();
    let calls = Calls::new(move |number| {
        let body = json!({ "country": "NG", "email": email(number), "password": PASSWORD });
        request("POST", "/v1/users", ("X-Api-Key", &key), Some(&body.to_string()))
    });
    let lasting = Duration::from_hours(1);
    drive(&Drive { status: 201, limit: PEOPLE, ..closed(&node.address, lasting) }, calls).map(drop)
}

fn logins(key: String) -> Calls {
    Calls::new(move |number| {
        let body = json!({ "country": "NG", "email": email(number), "password": PASSWORD });
        request("POST", "/v1/login", ("X-Api-Key", &key), Some(&body.to_string()))
    })
}

/// From a shop's side: its own `password_verify`, and the login at JCAS on the same machine.
fn in_php(node: &Node, key: &str, report: &mut Report) -> anyhow::Result<()> {
    let script = r#"
        [, $url, $key, $password, $hash, $checks] = $argv;
        $timed = function (callable $check) use ($checks) {
            for ($times = [], $n = 0; $n < $checks; $n++) {
                $at = hrtime(true);
                if (!$check($n)) { fwrite(STDERR, "refused\n"); exit(1); }
                $times[] = (hrtime(true) - $at) / 1e6;
            }
            sort($times);
            return [$times[intdiv(count($times), 2)], end($times)];
        };
        $own = $timed(fn ($n) => password_verify($password, $hash));
        $there = $timed(fn ($n) => false !== file_get_contents($url, false, stream_context_create([
            'http' => ['method' => 'POST',
                'header' => "X-Api-Key: $key\r\nContent-Type: application/json",
                'content' => json_encode(['country' => 'NG', 'password' => $password,
                    'email' => "p$n@bench.example.com"])]])));
        echo json_encode([$own, $there]);
    "#;
    let url = format!("http://{}/v1/login", node.address);
    // The crate writes $2b$, which is what PHP calls $2y$.
    let hash = bcrypt::hash(PASSWORD, COST)?.replacen("$2b$", "$2y$", 1);
    let checks = CHECKS.to_string();
    let mut php = Command::new("php");
    php.args(["-r", script, "--", &url, key, PASSWORD, &hash, &checks]);
    let Ok(output) = php.stderr(Stdio::inherit()).output() else {
        report.note("php is not installed: no comparison (apt-get install php-cli)".to_owned());
        return Ok(());
    };
    ensure!(output.status.success(), "the script failed");
    let found: [[f64; 2]; 2] = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("PHP said {}", String::from_utf8_lossy(&output.stdout)))?;
    for (name, [middle, longest]) in
        ["PHP: password_verify", "PHP: the login at jcas"].iter().zip(found)
    {
        report.row(name, &[None, Some(middle), Some(longest)]);
    }
    report.note(format!("PHP: {CHECKS} one after the other; the longest for p99"));
    Ok(())
}

/// What the plain service does: finds a hash by the e-mail address and checks the password.
pub fn is_right(hashes: &[String], call: &Value) -> bool {
    let text = |name: &str| call[name].as_str().unwrap_or_default();
    let place = text("email").len() % hashes.len().max(1);
    let hash = hashes.get(place).map(String::as_str).unwrap_or_default();
    bcrypt::verify(text("password"), hash).unwrap_or(false)
}
