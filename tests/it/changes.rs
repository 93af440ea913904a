//! The change feed: a company hears of every change of its customers, wherever it reads on, and of
//! nobody else's.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::kill::Dice;
use crate::node::{Answer, Company, Node, wait_for};
use crate::regions::{Places, Region, converge};

/// A person of a number.
fn person(number: u64) -> Value {
    json!({ "country": "NG", "email": format!("p{number}@example.com"), "password": "one two" })
}

fn page(company: &Company, after: &str, query: &str) -> Answer {
    let after = if after.is_empty() { String::new() } else { format!("after={after}&") };
    company.call("GET", &format!("/v1/changes?{after}{query}"), Value::Null)
}

/// All changes from a cursor on, and the cursor behind them.
fn all(company: &Company, after: &str) -> (Vec<Value>, String) {
    let (mut changes, mut cursor) = (Vec::new(), after.to_owned());
    loop {
        let answer = page(company, &cursor, "limit=100");
        let body = &answer.done(200).body;
        changes.extend(body["changes"].as_array().unwrap().iter().cloned());
        body["next"].as_str().unwrap().clone_into(&mut cursor);
        if body["has_more"] == false {
            return (changes, cursor);
        }
    }
}

fn kinds(change: &Value) -> Vec<&str> {
    change["kinds"].as_array().unwrap().iter().map(|kind| kind.as_str().unwrap()).collect()
}

fn about<'a>(changes: &'a [Value], user: &str) -> Vec<Vec<&'a str>> {
    changes.iter().filter(|change| change["user_id"] == user).map(kinds).collect()
}

#[test]
fn every_kind_of_change_is_told_with_the_revision_a_reader_sees() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let hash = "$2y$04$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy";
    let import = json!({ "country": "NG", "email": "i@example.com",
        "legacy_hash": { "hash": "0f359740bd1cda994f8b55330c86d845" } });
    let profile = json!({ "scheme": "digest", "digest": "md5" });
    shop.call("PUT", "/v1/hash-profiles/NG/default", profile).done(200);
    let imported = shop.register(import);
    let user = shop.register(person(1));
    let path = format!("/v1/users/{user}");
    shop.call("PATCH", &path, json!({ "profile": { "given_name": "Ada" } })).done(200);
    let identities = format!("{path}/identities/phone");
    shop.call("PUT", &identities, json!({ "value": "+2348031234567" })).done(200);
    shop.call("PUT", &format!("{path}/password"), json!({ "password": "three" })).done(200);
    shop.call("PUT", &format!("{path}/status"), json!({ "status": "disabled" })).done(200);
    shop.call("PUT", &format!("{path}/status"), json!({ "status": "active" })).done(200);
    let slot = format!("{path}/legacy-hashes/NG");
    shop.call("PUT", &slot, json!({ "hash": hash })).done(200);
    shop.call(
        "PUT",
        &slot,
        json!({ "hash": hash.replace("Wy", "Wz"),
        "changed_at": "2026-01-01T00:00:00.000Z" }),
    )
    .done(200);
    shop.login("NG", "i@example.com", "p@ssw0rd").done(200);
    let (changes, end) = all(&shop, "");
    assert_eq!(
        about(&changes, &imported),
        [vec!["registered", "identity", "credential"], vec!["credential"]]
    );
    let told = about(&changes, &user);
    assert_eq!(told[0], ["registered", "identity", "password"]);
    assert_eq!(
        told[1..],
        [
            ["profile"],
            ["identity"],
            ["password"],
            ["status"],
            ["status"],
            ["credential"],
            // It was changed before the password was set: it came too late.
            ["credential"]
        ]
    );
    let revision = shop.user(&user)["revision"].clone();
    assert!(changes.iter().filter(|it| it["user_id"] == user).all(|it| it["revision"] == revision));
    assert_eq!(all(&shop, &end), (Vec::new(), all(&shop, &end).1));
}

#[test]
fn a_company_hears_of_its_own_customers_and_of_nobody_else() {
    let node = Node::started(&[]);
    let (shop, other) = (node.company("shop", &["NG"]), node.company("other", &["NG"]));
    let ours: Vec<_> = (0..10).map(|number| shop.register(person(number))).collect();
    let theirs: Vec<_> = (10..20).map(|number| other.register(person(number))).collect();
    let users = |company: &Company| {
        let changes = all(company, "").0;
        let users = changes.iter().map(|it| it["user_id"].as_str().unwrap().to_owned());
        users.collect::<BTreeSet<_>>()
    };
    assert_eq!(users(&shop), ours.iter().cloned().collect());
    assert_eq!(users(&other), theirs.iter().cloned().collect());
    // A login makes a customer: it is told, and from then on what others do with the person.
    let before = all(&other, "").1;
    let login = json!({ "country": "NG", "user_id": ours[3], "password": "one two" });
    other.call("POST", "/v1/login", login).done(200);
    let path = format!("/v1/users/{}", ours[3]);
    shop.call("PATCH", &path, json!({ "profile": { "given_name": "Ada" } })).done(200);
    let (changes, _) = all(&other, &before);
    assert_eq!(about(&changes, &ours[3]), [["registered"], ["profile"]]);
    assert_eq!(changes.len(), 2);
    // Who reads from the beginning hears of those who are its customers now, from their beginning.
    assert_eq!(about(&all(&other, "").0, &ours[3])[0], ["registered", "identity", "password"]);
    // That somebody became the other's customer is not this company's business.
    assert_eq!(about(&all(&shop, "").0, &ours[3]).len(), 2);
}

#[test]
fn that_a_customer_was_erased_is_told_to_whoever_had_it_and_nothing_else_of_it_any_more() {
    let mut node = Node::started(&[]);
    let [shop, other, third] = ["shop", "other", "third"].map(|id| node.company(id, &["NG"]));
    node.trust(&shop);
    let [one, two] = [1, 2].map(|number| shop.register(person(number)));
    let login = json!({ "country": "NG", "user_id": one, "password": "one two" });
    other.call("POST", "/v1/login", login).done(200);
    let ends = [&shop, &other].map(|company| all(company, "").1);
    shop.call("DELETE", &format!("/v1/users/{one}"), Value::Null).done(202);
    let told = |node: &Node| {
        for (company, end) in [&shop, &other].into_iter().zip(&ends) {
            let company = company.at(node);
            assert_eq!(about(&all(&company, end).0, &one), [["erased"]]);
            assert_eq!(about(&all(&company, "").0, &one), [["erased"]]);
        }
        assert_eq!(all(&third.at(node), "").0, Vec::<Value>::new());
    };
    told(&node);
    assert_eq!(about(&all(&shop, "").0, &two).len(), 1);
    node.kill();
    std::fs::remove_dir_all(node.data().join("state")).unwrap();
    node.start();
    told(&node);
}

#[test]
fn a_cursor_that_was_not_given_to_the_company_is_refused() {
    let node = Node::started(&[]);
    let (shop, other) = (node.company("shop", &["NG"]), node.company("other", &["NG"]));
    shop.register(person(1));
    let (changes, end) = all(&shop, "");
    let cursor = changes[0]["cursor"].as_str().unwrap();
    page(&shop, cursor, "").done(200);
    page(&other, cursor, "").refused(400, "invalid_cursor");
    for at in 0..end.len() {
        let mut forged = end.clone().into_bytes();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(forged).unwrap();
        page(&shop, &forged, "").refused(400, "invalid_cursor");
    }
    for cut in [&end[1..], &end[..end.len() - 1], "AAAA", "0000000100000a40", "%00"] {
        page(&shop, cut, "").refused(400, "invalid_cursor");
    }
}

#[test]
fn who_waits_is_answered_at_the_first_change_or_when_time_is_over_or_the_node_stops() {
    let mut node = Node::started(&[("metrics.sample_s", "1")]);
    let (shop, other) = (node.company("shop", &["NG"]), node.company("other", &["NG"]));
    let user = shop.register(person(1));
    let end = all(&shop, "").1;
    let waiting = |count: u64| {
        let line = format!("jcas_changes_waiting {count}");
        wait_for("the call to wait", || {
            let figures = shop.call("GET", "/metrics", Value::Null);
            figures.text.lines().any(|it| it == line).then_some(())
        });
    };
    let poll = |after: String, query: &'static str| {
        let shop = shop.clone();
        std::thread::spawn(move || (page(&shop, &after, query), Instant::now()))
    };
    let polling = poll(end.clone(), "wait=30");
    waiting(1);
    // Somebody else's change is none.
    other.register(person(2));
    assert!(!polling.is_finished());
    let written = Instant::now();
    let path = format!("/v1/users/{user}");
    shop.call("PATCH", &path, json!({ "profile": { "given_name": "Ada" } })).done(200);
    let (answer, at) = polling.join().unwrap();
    assert_eq!(about(answer.done(200).body["changes"].as_array().unwrap(), &user), [["profile"]]);
    assert!(at.duration_since(written) < Duration::from_secs(10), "it was not woken");

    let end = answer.body["next"].as_str().unwrap().to_owned();
    let asked = Instant::now();
    let (answer, at) = poll(end.clone(), "wait=1").join().unwrap();
    assert_eq!(answer.done(200).body["changes"], json!([]));
    assert!(at.duration_since(asked) >= Duration::from_secs(1), "it did not wait");
    assert_eq!(answer.body["has_more"], false);

    let polling = poll(end, "wait=30");
    waiting(1);
    let stopped = Instant::now();
    assert_eq!(node.stop(), 0);
    let (answer, at) = polling.join().unwrap();
    assert_eq!(answer.done(200).body["changes"], json!([]));
    assert!(at.duration_since(stopped) < Duration::from_secs(15), "the stop waited for it");
}

/// A reader that keeps a cursor and what it took in up to there.
#[derive(Default)]
struct Reader {
    cursor: String,
    /// How often each kind was told of each user.
    heard: BTreeMap<(String, String), u64>,
    /// The revision that came last, by user.
    revisions: BTreeMap<String, String>,
    told: BTreeSet<String>,
    /// Which kind was told of each user as made when.
    made: BTreeSet<(String, String, String)>,
    /// Which kinds were told with the user's coming.
    with_coming: BTreeSet<(String, String)>,
}

impl Reader {
    fn take(&mut self, change: &Value) {
        let user = change["user_id"].as_str().unwrap();
        for kind in kinds(change) {
            *self.heard.entry((user.to_owned(), kind.to_owned())).or_default() += 1;
            let at = change["at"].as_str().unwrap().to_owned();
            self.made.insert((user.to_owned(), kind.to_owned(), at));
            if kinds(change).contains(&"registered") {
                self.with_coming.insert((user.to_owned(), kind.to_owned()));
            }
        }
        let revision = change["revision"].as_str().unwrap().to_owned();
        self.revisions.insert(user.to_owned(), revision);
        change["cursor"].as_str().unwrap().clone_into(&mut self.cursor);
        assert!(self.told.insert(self.cursor.clone()), "a cursor came twice to one reader");
    }

    /// Reads a page, is killed somewhere in it, or not, and goes on from what was kept.
    fn read(&mut self, company: &Company, dice: &mut Dice) {
        let answer = page(company, &self.cursor, &format!("limit={}", 1 + dice.roll(20)));
        if answer.status == 0 {
            return;
        }
        let changes = answer.done(200).body["changes"].as_array().unwrap().clone();
        let killed = dice.roll(3) == 0;
        let kept = if killed { dice.roll(changes.len() as u64 + 1) } else { changes.len() as u64 };
        for change in changes.iter().take(usize::try_from(kept).unwrap()) {
            self.take(change);
        }
        if !killed {
            answer.body["next"].as_str().unwrap().clone_into(&mut self.cursor);
        }
    }

    /// Reads until nothing is left.
    fn finish(&mut self, company: &Company) {
        let (changes, cursor) = all(company, &self.cursor);
        for change in &changes {
            self.take(change);
        }
        self.cursor = cursor;
    }

    fn heard(&self, user: &str, kind: &str) -> u64 {
        self.heard.get(&(user.to_owned(), kind.to_owned())).copied().unwrap_or_default()
    }
}

/// What was written and answered.
#[derive(Default)]
struct Written {
    users: Vec<String>,
    /// How often each kind was, by user.
    made: BTreeMap<(String, String), u64>,
}

impl Written {
    fn note(&mut self, user: &str, kind: &str) {
        *self.made.entry((user.to_owned(), kind.to_owned())).or_default() += 1;
    }

    /// Writes something at random, where it is answered.
    fn write(&mut self, company: &Company, dice: &mut Dice, number: u64) {
        if self.users.is_empty() || dice.roll(4) == 0 {
            let answer = company.call("POST", "/v1/users", person(number));
            if answer.status == 201 {
                let user = answer.body["user_id"].as_str().unwrap().to_owned();
                self.note(&user, "registered");
                self.users.push(user);
            }
            return;
        }
        let user = self.users[usize::try_from(dice.roll(self.users.len() as u64)).unwrap()].clone();
        let path = format!("/v1/users/{user}");
        let (answer, kind) = if dice.roll(3) == 0 {
            let body = json!({ "password": format!("password {number}") });
            (company.call("PUT", &format!("{path}/password"), body), "password")
        } else {
            let body = json!({ "profile": { "nickname": number.to_string() } });
            (company.call("PATCH", &path, body), "profile")
        };
        if answer.status == 200 {
            self.note(&user, kind);
        }
    }

    /// Everything that was answered was heard.
    fn was_heard(&self, reader: &Reader, company: &Company) {
        for ((user, kind), count) in &self.made {
            let heard = reader.heard(user, kind);
            assert!(heard >= *count, "{user}: {kind} was made {count} times, heard {heard}");
        }
        self.ended(reader, company);
    }

    /// Everything that is in the users' histories was heard: by itself, or with the coming of a
    /// user that the node read from knew only later.
    fn was_heard_in_any_order(&self, reader: &Reader, company: &Company) {
        for user in &self.users {
            let path = format!("/v1/users/{user}/history?limit=1000");
            let history = company.call("GET", &path, Value::Null).done(200).body.clone();
            for event in history["events"].as_array().unwrap() {
                let kind = match event["kind"].as_str().unwrap() {
                    "ProfileUpdated" => "profile",
                    "PasswordSet" => "password",
                    _ => continue,
                };
                let at = event["at"].as_str().unwrap().to_owned();
                let heard = reader.made.contains(&(user.clone(), kind.to_owned(), at))
                    || reader.with_coming.contains(&(user.clone(), kind.to_owned()));
                assert!(heard, "{user} {event} was not told");
            }
        }
        self.ended(reader, company);
    }

    /// The last that was heard of a user is how it is.
    fn ended(&self, reader: &Reader, company: &Company) {
        for user in &self.users {
            assert_eq!(company.user(user)["revision"], json!(reader.revisions[user]), "{user}");
        }
    }
}

#[test]
fn a_reader_killed_at_random_beside_a_node_killed_at_random_misses_nothing() {
    let seed = 7;
    println!("seed {seed}");
    let mut dice = Dice(seed);
    // Small segments, so that places are searched for in several.
    let mut node = Node::started(&[("log.segment_mib", "1")]);
    let (mut shop, mut other) = (node.company("shop", &["NG"]), node.company("other", &["NG"]));
    let (mut written, mut elsewhere) = (Written::default(), Written::default());
    let mut reader = Reader::default();
    for number in 0..600 {
        written.write(&shop, &mut dice, number);
        elsewhere.write(&other, &mut dice, 10_000 + number);
        if dice.roll(3) == 0 {
            reader.read(&shop, &mut dice);
        }
        if dice.roll(120) == 0 {
            if dice.roll(2) == 0 {
                node.kill();
            } else {
                assert_eq!(node.stop(), 0);
            }
            node.start();
            (shop, other) = (shop.at(&node), other.at(&node));
        }
    }
    reader.finish(&shop);
    written.was_heard(&reader, &shop);
    let strangers = elsewhere.users.iter().filter(|user| reader.revisions.contains_key(*user));
    assert_eq!(strangers.count(), 0);
    // From the beginning it is the same, and nothing is told twice by one node.
    let mut anew = Reader::default();
    anew.finish(&shop);
    assert_eq!(anew.heard, reader.heard);
}

#[test]
fn a_reader_that_moves_between_nodes_and_regions_misses_nothing() {
    let seed = 11;
    println!("seed {seed}");
    let mut dice = Dice(seed);
    let places = Places::new(&["eu/n1", "eu/n2", "us/n1"]);
    let mut nodes: Vec<Region> = (0..3).map(|number| places.start(number)).collect();
    let shop = nodes[0].company("shop");
    converge([&nodes[0], &nodes[1]]);
    converge([&nodes[0], &nodes[2]]);
    let mut written = Written::default();
    let mut reader = Reader::default();
    for number in 0..300 {
        let at = usize::try_from(dice.roll(3)).unwrap();
        written.write(&nodes[at].at(&shop), &mut dice, number);
        if dice.roll(2) == 0 {
            let at = usize::try_from(dice.roll(3)).unwrap();
            // The same change may come again at another node, with that node's cursor.
            reader.told.clear();
            reader.read(&nodes[at].at(&shop), &mut dice);
        }
        match dice.roll(40) {
            0 => places.cut(0, 2),
            1 => places.cut(1, 2),
            2 => {
                let at = usize::try_from(dice.roll(3)).unwrap();
                nodes[at].stop();
                nodes[at] = places.start(at);
            }
            3..6 => {
                places.heal(0, 2);
                places.heal(1, 2);
            }
            _ => {}
        }
    }
    places.heal(0, 2);
    places.heal(1, 2);
    converge([&nodes[0], &nodes[1]]);
    converge([&nodes[0], &nodes[2]]);
    for node in &nodes {
        reader.told.clear();
        reader.finish(&node.at(&shop));
    }
    written.was_heard_in_any_order(&reader, &nodes[2].at(&shop));
    // Whoever has read all at one node has nothing left at any other.
    let (_, end) = all(&nodes[0].at(&shop), "");
    for node in &nodes {
        assert_eq!(all(&node.at(&shop), &end).0, Vec::<Value>::new());
    }
}
