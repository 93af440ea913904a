//! What verifying costs: each format's vectors, measured beside what src/crypto/legacy/cost.rs says.
//!
//! ```text
//! cargo bench --bench hashes
//! ```
//!
//! One thread, the fastest of many runs: what it takes when nobody else wants the core. A line
//! whose ratio is far from 1 says that the stated costs are not of this machine, or wrong; below 20
//! microseconds all is the same.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench prints, and stops where what it measures is not there"
)]

use std::time::{Duration, Instant};

use jcas::crypto::legacy::{self, HashProfile, LegacyHash, Limits};
use jcas::crypto::secret::Password;
use serde_json::{Value, json};

/// How long one format is measured, at least.
const LONG_ENOUGH: Duration = Duration::from_millis(150);

fn vectors() -> Vec<Value> {
    let files = [
        include_str!("../tests/vectors/legacy-hashes.jsonl"),
        include_str!("../tests/vectors/more-hashes.jsonl"),
    ];
    let lines = files.into_iter().flat_map(str::lines);
    lines.map(|line| serde_json::from_str(line).expect("a vector is JSON")).collect()
}

/// Beside the vectors: as much as one profile can ask for.
fn extremes() -> Vec<Value> {
    let of = |digest: &str, hash: usize| {
        let profile = json!({ "scheme": "digest", "digest": digest, "rounds": 100_000 });
        json!({ "format": format!("{digest} x 100000"), "hash": "00".repeat(hash),
            "profile": profile, "password": "correct horse battery staple" })
    };
    let plain = |format: &str, hash: &str| json!({ "format": format, "hash": hash, "password": "correct horse battery staple" });
    let key = "K+U/eB0rAhZVJmMc+1H25N1xrFwI5kbmMHfwYlBaJu0";
    let argon2 = format!("$argon2id$v=19$m=65536,t=3,p=1$c2FsdFNBTFRzYWx0U0FMVA${key}");
    let scrypt = format!("scrypt$131072$salt$8$1${key}=");
    vec![
        of("md5", 16),
        of("sha1", 20),
        of("sha256", 32),
        of("sha512", 64),
        plain("argon2 of 64 MiB", &argon2),
        plain("scrypt of 128 MiB", &scrypt),
    ]
}

fn admitted(vector: &Value) -> LegacyHash {
    let text = |name: &str| vector[name].as_str();
    let profile = Some(&vector["profile"]).filter(|profile| !profile.is_null());
    let profile =
        profile.map(|json| HashProfile::from_json(json.to_string().as_bytes()).expect("a profile"));
    let hash = text("hash").expect("a hash");
    legacy::admit(hash, text("salt"), profile.as_ref(), Limits::default()).expect("it is admitted")
}

fn least_micros(hash: &LegacyHash, password: &Password) -> f64 {
    let (mut runs, mut least) = (0, Duration::MAX);
    let started = Instant::now();
    while started.elapsed() < LONG_ENOUGH || runs < 9 {
        let run = Instant::now();
        std::hint::black_box(legacy::verify(hash, password));
        least = least.min(run.elapsed());
        runs += 1;
    }
    least.as_secs_f64() * 1e6
}

fn main() {
    println!("{:<24} {:>10} {:>12} {:>8}  hash", "format", "stated us", "measured us", "ratio");
    let mut last = String::new();
    for vector in vectors().into_iter().take(70).chain(extremes()) {
        let format = vector["format"].as_str().unwrap_or_default().to_owned();
        let hash = admitted(&vector);
        let password = Password::new(vector["password"].as_str().unwrap_or_default().to_owned());
        let (stated, measured) = (hash.cost_for(&password), least_micros(&hash, &password));
        let shown = vector["hash"].as_str().unwrap_or_default().get(..24).unwrap_or_default();
        let ratio = measured / f64::from(stated);
        if format != last {
            println!("{format:<24} {stated:>10} {measured:>12.1} {ratio:>8.2}  {shown}");
        }
        last = format;
    }
}
