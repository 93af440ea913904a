//! How long a failed login takes says nothing about why it failed: unknown users against each kind
//! of known ones, in pairs, one of each pair right after the other.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::node::{Company, Node, pause};

/// Pairs of each kind.
const PAIRS: usize = 200;

/// The default, in milliseconds: so much that what a busy machine adds is little beside it.
const QUANTUM_MS: u32 = 500;

/// What is measured: with `JCAS_TEST_LONG` set the dearest usual hashes, else a part of that.
struct Scale {
    /// The current cost.
    cost: &'static str,
    /// The cost of bcrypt imports.
    import_cost: u32,
    /// Connections. Each is busy with one call at a time, so this is how hard the node works: so
    /// little that hardly any hash waits for another.
    callers: u32,
}

impl Scale {
    fn asked_for() -> Self {
        if std::env::var_os("JCAS_TEST_LONG").is_some() {
            return Self { cost: "10", import_cost: 12, callers: 2 };
        }
        Self { cost: "5", import_cost: 9, callers: 40 }
    }
}

const KINDS: [&str; 3] = ["secret", "md5 import", "bcrypt import"];

fn register(shop: &Company, kind: &str, number: usize, bcrypt: &str) -> String {
    let email = format!("{}{number}@example.com", kind.replace(' ', "-"));
    let mut body = json!({ "country": "NG", "email": email });
    match kind {
        "secret" => body["password"] = json!("right"),
        "md5 import" => {
            body["legacy_hash"] = json!({ "profile": "md5", "hash": "0123456789abcdef".repeat(2) });
        }
        _ => body["legacy_hash"] = json!({ "hash": bcrypt }),
    }
    shop.register(body);
    email
}

/// How long a failed login took, in milliseconds.
fn fail(shop: &Company, email: &str) -> f64 {
    let started = Instant::now();
    shop.login("NG", email, "wrong").refused(401, "invalid_credentials");
    started.elapsed().as_secs_f64() * 1000.0
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// How long a pair took: an unknown user, and this one.
fn pair(shop: &Company, email: &str, unknown_first: bool) -> (f64, f64) {
    let nobody = format!("nobody-{email}");
    if unknown_first {
        let unknown = fail(shop, &nobody);
        (unknown, fail(shop, email))
    } else {
        let known = fail(shop, email);
        (fail(shop, &nobody), known)
    }
}

/// The medians of the pairs of each kind: of unknown users, and of these. Callers begin one after
/// another within a quantum, and since each call takes whole ones, they never come all at once.
fn medians(shop: &Company, users: &[(usize, String)], callers: u32) -> Vec<(f64, f64)> {
    let next = Mutex::new(users.iter().enumerate());
    let times = Mutex::new(KINDS.map(|_| (Vec::new(), Vec::new())));
    let began = Instant::now();
    let call = |caller: u32| {
        let share = Duration::from_millis(u64::from(QUANTUM_MS)) / callers;
        while began.elapsed() < share * caller {
            pause();
        }
        loop {
            let Some((number, (kind, email))) = next.lock().unwrap().next() else { return };
            let (unknown, known) = pair(shop, email, number % 2 == 0);
            let mut times = times.lock().unwrap();
            times[*kind].0.push(unknown);
            times[*kind].1.push(known);
        }
    };
    std::thread::scope(|scope| {
        for caller in 0..callers {
            let call = &call;
            scope.spawn(move || call(caller));
        }
    });
    let times = times.into_inner().unwrap().into_iter();
    let measured = times.filter(|(unknown, _)| !unknown.is_empty());
    measured.map(|(unknown, known)| (median(unknown), median(known))).collect()
}

#[test]
fn a_failed_login_takes_as_long_for_an_unknown_user_as_for_any_known_one() {
    let scale = Scale::asked_for();
    let quantum = QUANTUM_MS.to_string();
    let mut node =
        Node::started(&[("hash.bcrypt_cost", scale.cost), ("hash.failure_quantum_ms", &quantum)]);
    let shop = node.company("shop", &["NG"]);
    let profile = json!({ "scheme": "digest", "digest": "md5" });
    shop.call("PUT", "/v1/hash-profiles/NG/md5", profile).done(200);
    let bcrypt = bcrypt::hash("right", scale.import_cost).unwrap();
    // All kinds in turn.
    let numbers: Vec<_> = (0..PAIRS * KINDS.len()).collect();
    let users: Vec<_> = std::thread::scope(|scope| {
        let (shop, bcrypt) = (&shop, &bcrypt);
        let make = |number: &usize| {
            let kind = number % KINDS.len();
            (kind, register(shop, KINDS[kind], *number, bcrypt))
        };
        let chunks = numbers.chunks(PAIRS.div_ceil(4));
        let makers: Vec<_> =
            chunks.map(|chunk| scope.spawn(move || chunk.iter().map(make).collect())).collect();
        makers.into_iter().flat_map(|maker| -> Vec<_> { maker.join().unwrap() }).collect()
    });
    let measured = medians(&shop, &users, scale.callers);
    assert_eq!(measured.len(), KINDS.len());
    for (kind, (unknown, known)) in KINDS.iter().zip(measured) {
        let apart = (known - unknown).abs() / unknown;
        assert!(apart < 0.05, "{kind}: {known:.1} ms, unknown users: {unknown:.1} ms");
        assert!(known >= f64::from(QUANTUM_MS), "{kind}: answered after {known:.1} ms");
    }
    // Without ticks the same measurement sees the work: it is not blind.
    assert_eq!(node.stop(), 0);
    node.set("hash.failure_quantum_ms", "1");
    node.start();
    let dear: Vec<_> = users.into_iter().filter(|(kind, _)| *kind == 2).take(20).collect();
    let (unknown, known) = medians(&shop.at(&node), &dear, 1)[0];
    assert!(known > unknown * 1.5, "seen: {known:.1} ms, unknown users: {unknown:.1} ms");
}
