//! How long a failed login takes says nothing about why it failed: unknown users against each kind
//! of known ones, in pairs, one of each pair right after the other.
//!
//! What is held is that a quantum hides the work that fits into it. On a machine with much else to
//! do the work may take so long that it does not: then the whole round says nothing, and another is
//! run with a quantum twice as long. A node that shows its work does so in every round.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::node::{Company, Node, pause};

/// Pairs of each kind.
const PAIRS: usize = 200;

/// The quanta of the rounds, in milliseconds: so long that what a busy machine adds is little
/// beside one. The first round that holds ends the test.
const QUANTA_MS: [u32; 3] = [500, 1000, 2000];

/// How far apart two shares of so many may be that are the same but for chance: four standard
/// deviations.
const SHARES_APART_MAX: f64 = 0.2;

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

const MD5_OF_RIGHT: &str = "7c4f29407893c334a6cb7a87bf045c0d";

const KINDS: [&str; 3] = ["secret", "md5 import", "bcrypt import"];

fn register(shop: &Company, kind: &str, number: usize, bcrypt: &str) -> String {
    let email = format!("{}{number}@example.com", kind.replace(' ', "-"));
    let mut body = json!({ "country": "NG", "email": email });
    match kind {
        "secret" => body["password"] = json!("right"),
        "md5 import" => body["legacy_hash"] = json!({ "profile": "md5", "hash": MD5_OF_RIGHT }),
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

/// How long a login with the right password took.
fn succeed(shop: &Company, email: &str) -> f64 {
    let started = Instant::now();
    shop.login("NG", email, "right").done(200);
    started.elapsed().as_secs_f64() * 1000.0
}

/// How long failed logins took.
#[derive(Default)]
struct Times(Vec<f64>);

impl Times {
    fn median(&self) -> f64 {
        let mut times = self.0.clone();
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    }

    /// The share that was answered by a tick.
    fn by(&self, tick: u32, quantum_ms: u32) -> f64 {
        let until = f64::from(quantum_ms) * f64::from(tick + 1);
        let count = |times: &[f64]| f64::from(u32::try_from(times.len()).unwrap());
        let early: Vec<_> = self.0.iter().copied().filter(|time| *time < until).collect();
        count(&early) / count(&self.0)
    }
}

/// Unknown users, and known ones.
#[derive(Default)]
struct Pairs {
    unknown: Times,
    known: Times,
}

/// Says how one can be told from the other, if it can. It cannot where the medians are within 5%,
/// except where so slow a machine answers about half at one tick and half at the next. Then either
/// median is either tick's, by chance; but the shares are the same, as far as so many pairs can
/// tell.
fn told_apart(kind: &str, quantum_ms: u32, Pairs { unknown, known }: &Pairs) -> Option<String> {
    let (one, other) = (unknown.median(), known.median());
    // However busy the machine is, nothing is answered early.
    for time in unknown.0.iter().chain(&known.0) {
        assert!(*time >= f64::from(quantum_ms), "{kind}: answered after {time:.1} ms");
    }
    let by = |times: &Times, tick| times.by(tick, quantum_ms);
    let apart = (1..100).map(|tick| (by(known, tick) - by(unknown, tick)).abs());
    let apart = apart.fold(0.0, f64::max);
    if apart >= SHARES_APART_MAX {
        return Some(format!("{kind}: {apart:.2} of the answers came at other ticks"));
    }
    let is_split = (1..100).any(|tick| (by(unknown, tick) - 0.5).abs() < SHARES_APART_MAX);
    let within = (one - other).abs() / one < 0.05;
    let says = || format!("{kind}: {other:.1} ms, unknown users: {one:.1} ms");
    (!within && !is_split).then(says)
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

/// The pairs of each kind. Callers begin one after another within a quantum, and since each call
/// takes whole ones, they never come all at once.
fn measure(
    shop: &Company,
    users: &[(usize, String)],
    callers: u32,
    quantum_ms: u32,
) -> [Pairs; KINDS.len()] {
    let next = Mutex::new(users.iter().enumerate());
    let times = Mutex::new(KINDS.map(|_| Pairs::default()));
    let began = Instant::now();
    let call = |caller: u32| {
        let share = Duration::from_millis(u64::from(quantum_ms)) / callers;
        while began.elapsed() < share * caller {
            pause();
        }
        loop {
            let Some((number, (kind, email))) = next.lock().unwrap().next() else { return };
            let (unknown, known) = pair(shop, email, number % 2 == 0);
            let mut times = times.lock().unwrap();
            times[*kind].unknown.0.push(unknown);
            times[*kind].known.0.push(known);
        }
    };
    std::thread::scope(|scope| {
        for caller in 0..callers {
            let call = &call;
            scope.spawn(move || call(caller));
        }
    });
    times.into_inner().unwrap()
}

/// A round at a node of its own. Returns how users of some kind can be told from unknown ones.
fn round(scale: &Scale, quantum_ms: u32) -> Vec<String> {
    let quantum = quantum_ms.to_string();
    let node =
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
    let mut found = Vec::new();
    for (kind, pairs) in KINDS.iter().zip(measure(&shop, &users, scale.callers, quantum_ms)) {
        assert_eq!((pairs.unknown.0.len(), pairs.known.0.len()), (PAIRS, PAIRS));
        found.extend(told_apart(kind, quantum_ms, &pairs));
    }
    found
}

#[test]
fn a_failed_login_takes_as_long_for_an_unknown_user_as_for_any_known_one() {
    let scale = Scale::asked_for();
    let mut rounds = Vec::new();
    for quantum_ms in QUANTA_MS {
        let found = round(&scale, quantum_ms);
        if found.is_empty() {
            return;
        }
        rounds.push((quantum_ms, found));
    }
    panic!("in every round users were told apart: {rounds:?}");
}

#[test]
fn what_is_not_held_back_shows_its_work_so_the_clock_of_these_tests_sees_hashing() {
    let node = Node::started(&[("hash.bcrypt_cost", "5")]);
    let shop = node.company("shop", &["NG"]);
    let profile = json!({ "scheme": "digest", "digest": "md5" });
    shop.call("PUT", "/v1/hash-profiles/NG/md5", profile).done(200);
    let bcrypt = bcrypt::hash("right", 12).unwrap();
    let mut dearer = Times::default();
    for number in 0..9 {
        let emails = KINDS.map(|kind| register(&shop, kind, number, &bcrypt));
        let cheap = succeed(&shop, &emails[1]);
        dearer.0.push(succeed(&shop, &emails[2]) - cheap);
    }
    let dearer = dearer.median();
    assert!(dearer > 100.0, "a right password of a dear hash: {dearer:.1} ms more");
}
