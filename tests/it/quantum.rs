//! How long a failed login takes says nothing about why it failed: unknown users against each kind
//! of known ones, in pairs, one of each pair right after the other.

use std::sync::Mutex;
use std::time::Instant;

use serde_json::{Value, json};

use crate::node::{Company, Node};

/// What is measured: with `JCAS_TEST_LONG` set the defaults, else all of it smaller.
struct Scale {
    /// Of each kind.
    pairs: usize,
    quantum_ms: &'static str,
    cost: &'static str,
    import_cost: u32,
    callers: usize,
}

impl Scale {
    fn asked_for() -> Self {
        if std::env::var_os("JCAS_TEST_LONG").is_some() {
            let (quantum_ms, cost) = ("500", "10");
            return Self { pairs: 200, quantum_ms, cost, import_cost: 12, callers: 4 };
        }
        let (quantum_ms, cost) = ("100", "6");
        Self { pairs: 200, quantum_ms, cost, import_cost: 9, callers: 12 }
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

/// The medians of so many pairs: of unknown users, and of these.
fn medians(shop: &Company, emails: &[String], callers: usize) -> (f64, f64) {
    let times = Mutex::new((Vec::new(), Vec::new()));
    let next = Mutex::new(emails.iter().enumerate());
    std::thread::scope(|scope| {
        for _ in 0..callers {
            scope.spawn(|| {
                loop {
                    let Some((number, email)) = next.lock().unwrap().next() else { return };
                    let nobody = format!("nobody-{email}");
                    // Whatever else the machine does meets both alike.
                    let (unknown, known) = if number % 2 == 0 {
                        let unknown = fail(shop, &nobody);
                        (unknown, fail(shop, email))
                    } else {
                        let known = fail(shop, email);
                        (fail(shop, &nobody), known)
                    };
                    let mut times = times.lock().unwrap();
                    times.0.push(unknown);
                    times.1.push(known);
                }
            });
        }
    });
    let (unknown, known) = times.into_inner().unwrap();
    assert_eq!((unknown.len(), known.len()), (emails.len(), emails.len()));
    (median(unknown), median(known))
}

#[test]
fn a_failed_login_takes_as_long_for_an_unknown_user_as_for_any_known_one() {
    let scale = Scale::asked_for();
    let mut node = Node::started(&[
        ("hash.bcrypt_cost", scale.cost),
        ("hash.failure_quantum_ms", scale.quantum_ms),
    ]);
    let shop = node.company("shop", &["NG"]);
    let profile = json!({ "scheme": "digest", "digest": "md5" });
    shop.call("PUT", "/v1/hash-profiles/NG/md5", profile).done(200);
    let bcrypt = bcrypt::hash("right", scale.import_cost).unwrap();
    let mut users: Vec<Vec<String>> = Vec::new();
    for kind in KINDS {
        let numbers: Vec<_> = (0..scale.pairs).collect();
        let made = std::thread::scope(|scope| {
            let makers: Vec<_> = numbers
                .chunks(scale.pairs.div_ceil(8))
                .map(|chunk| {
                    let (shop, bcrypt) = (&shop, &bcrypt);
                    scope.spawn(move || -> Vec<_> {
                        chunk.iter().map(|number| register(shop, kind, *number, bcrypt)).collect()
                    })
                })
                .collect();
            makers.into_iter().flat_map(|maker| maker.join().unwrap()).collect()
        });
        users.push(made);
    }
    for (kind, emails) in KINDS.iter().zip(&users) {
        let (unknown, known) = medians(&shop, emails, scale.callers);
        let apart = (known - unknown).abs() / unknown;
        assert!(apart < 0.05, "{kind}: {known:.1} ms, unknown users: {unknown:.1} ms");
        let quantum: f64 = scale.quantum_ms.parse().unwrap();
        assert!(known >= quantum, "{kind}: answered after {known:.1} ms");
    }
    // Without ticks the same measurement sees the work: it is not blind.
    assert_eq!(node.stop(), 0);
    node.set("hash.failure_quantum_ms", "1");
    node.start();
    let shop = shop.at(&node);
    let (unknown, known) = medians(&shop, &users[2][..20], 1);
    assert!(known > unknown * 1.5, "seen: {known:.1} ms, unknown users: {unknown:.1} ms");
    shop.call("GET", "/v1/whoami", Value::Null).done(200);
}
