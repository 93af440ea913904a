//! A node is killed again and again under its callers' hands, who keep a ledger of what it
//! answered them. Afterwards everything answered is there.
//!
//! `JCAS_KILLS` says how often (10 by default), `JCAS_SEED` what the callers do and when the kill
//! comes; where in the program it hits is up to the machine.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::Instant;

use serde_json::{Value, json};

use crate::node::{Answer, Company, Node, PATIENCE, wait_for};
use crate::problem::problem;

/// Callers at once.
const CALLERS: usize = 40;

/// Requests that are under way at every kill.
const IN_FLIGHT_MIN: usize = 32;

/// A number from the environment.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

/// Splitmix64: small, and the same everywhere.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}

/// What a caller knows of one value: what was answered last, and what was sent after it and never
/// answered.
#[derive(Debug, Clone)]
struct Known<T> {
    answered: T,
    unsure: Option<T>,
}

impl<T: Clone + PartialEq + std::fmt::Debug> Known<T> {
    const fn new(answered: T) -> Self {
        Self { answered, unsure: None }
    }

    fn send(&mut self, value: T) {
        self.unsure = Some(value);
    }

    fn confirm(&mut self) {
        if let Some(value) = self.unsure.take() {
            self.answered = value;
        }
    }

    /// What is read must be what was answered, or what was sent later. From now on it is known.
    #[track_caller]
    fn settle(&mut self, what: &str, read: T) {
        assert!(
            read == self.answered || Some(&read) == self.unsure.as_ref(),
            "{what} is {read:?}, the ledger says {self:?}"
        );
        *self = Self::new(read);
    }
}

/// A user in a caller's ledger.
#[derive(Debug, Clone)]
struct Person {
    id: String,
    email: String,
    number: Known<u64>,
    password: Known<String>,
    active: Known<bool>,
    /// Whether it has a second address.
    second: Known<bool>,
    revision: String,
}

/// What all callers share.
#[derive(Default)]
struct Shared {
    in_flight: AtomicUsize,
    answered: AtomicU64,
    /// Identities that all want, and who got them, as far as anybody was told.
    contended: Mutex<BTreeMap<String, String>>,
}

/// One caller and its ledger.
struct Caller {
    number: usize,
    people: Vec<Person>,
    /// A registration that was sent and not answered.
    sent: Option<Person>,
    next: u64,
}

/// One caller at work, in one life of the node.
struct Work<'a> {
    caller: &'a mut Caller,
    shop: &'a Company,
    shared: &'a Shared,
    dice: Dice,
    round: u64,
}

impl Work<'_> {
    /// Calls. None: the node is gone, and what became of the call is not known.
    fn call(&self, method: &str, path: &str, body: Value) -> Option<Answer> {
        self.shared.in_flight.fetch_add(1, Ordering::SeqCst);
        let answer = self.shop.call(method, path, body);
        self.shared.in_flight.fetch_sub(1, Ordering::SeqCst);
        if answer.status == 0 {
            return None;
        }
        self.shared.answered.fetch_add(1, Ordering::SeqCst);
        Some(answer)
    }

    fn until_killed(mut self) {
        while self.step().is_some() {}
    }

    fn step(&mut self) -> Option<()> {
        self.caller.next += 1;
        let people = u64::try_from(self.caller.people.len()).unwrap();
        let kind = self.dice.roll(10);
        if people == 0 || (kind == 0 && people < 12) {
            return self.register();
        }
        if kind == 1 {
            return self.contend();
        }
        let at = usize::try_from(self.dice.roll(people)).unwrap();
        match kind {
            2 | 3 => self.set_password(at),
            4 | 5 => self.set_status(at),
            6 | 7 => self.toggle_second(at),
            _ => self.patch(at),
        }
    }

    fn register(&mut self) -> Option<()> {
        let (number, next) = (self.caller.number, self.caller.next);
        let person = Person {
            id: String::new(),
            email: format!("p{number}-{next}@example.com"),
            number: Known::new(next),
            password: Known::new(format!("p{next}")),
            active: Known::new(true),
            second: Known::new(false),
            revision: String::new(),
        };
        let body = json!({
            "country": "NG", "email": person.email, "password": person.password.answered,
            "profile": { "number": next, "twin": next },
        });
        self.caller.sent = Some(person);
        let answer = self.call("POST", "/v1/users", body)?;
        let mut person = self.caller.sent.take().unwrap();
        person.id = text(answer.done(201), "user_id");
        person.revision = text(&answer, "revision");
        self.caller.people.push(person);
        Some(())
    }

    /// Registers what many others register, too.
    fn contend(&mut self) -> Option<()> {
        let email = format!("c{}-{}@example.com", self.round, self.dice.roll(24));
        let body = json!({ "country": "NG", "email": email });
        let answer = self.call("POST", "/v1/users", body)?;
        if answer.status != 201 {
            problem(&answer, 409, "identity_taken");
        }
        let id = text(&answer, "user_id");
        let mut contended = self.shared.contended.lock().unwrap();
        let winner = contended.entry(email).or_insert_with(|| id.clone());
        assert_eq!(*winner, id, "two users have one identity");
        Some(())
    }

    fn patch(&mut self, at: usize) -> Option<()> {
        let next = self.caller.next;
        let person = &mut self.caller.people[at];
        person.number.send(next);
        let path = format!("/v1/users/{}", person.id);
        let body = json!({ "profile": { "number": next, "twin": next } });
        let answer = self.call("PATCH", &path, body)?;
        self.written(at, &answer);
        self.caller.people[at].number.confirm();
        Some(())
    }

    fn set_password(&mut self, at: usize) -> Option<()> {
        let password = format!("p{}", self.caller.next);
        let person = &mut self.caller.people[at];
        person.password.send(password.clone());
        let path = format!("/v1/users/{}/password", person.id);
        let answer = self.call("PUT", &path, json!({ "password": password }))?;
        self.written(at, &answer);
        self.caller.people[at].password.confirm();
        Some(())
    }

    fn set_status(&mut self, at: usize) -> Option<()> {
        let person = &mut self.caller.people[at];
        let active = !person.active.answered;
        person.active.send(active);
        let path = format!("/v1/users/{}/status", person.id);
        let word = if active { "active" } else { "disabled" };
        let answer = self.call("PUT", &path, json!({ "status": word }))?;
        self.written(at, &answer);
        self.caller.people[at].active.confirm();
        Some(())
    }

    fn toggle_second(&mut self, at: usize) -> Option<()> {
        let person = &mut self.caller.people[at];
        let claims = !person.second.answered;
        person.second.send(claims);
        let path = format!("/v1/users/{}/identities/email", person.id);
        let value = json!({ "value": format!("second-{}", person.email) });
        let answer = self.call(if claims { "PUT" } else { "DELETE" }, &path, value)?;
        self.written(at, &answer);
        self.caller.people[at].second.confirm();
        Some(())
    }

    /// A write was answered: its revision is above all before.
    fn written(&mut self, at: usize, answer: &Answer) {
        let person = &mut self.caller.people[at];
        let revision = text(answer.done(200), "revision");
        assert!(revision > person.revision, "{revision} came after {}", person.revision);
        person.revision = revision;
    }
}

#[track_caller]
fn text(answer: &Answer, name: &str) -> String {
    let text = answer.body[name].as_str();
    assert!(text.is_some(), "answered: {}", answer.text);
    text.unwrap().to_owned()
}

impl Caller {
    /// Compares the ledger with what is there after a kill.
    fn check(&mut self, shop: &Company) {
        if let Some(mut person) = self.sent.take() {
            let found = shop.call("POST", "/v1/users/lookup", json!({ "email": person.email }));
            if found.status == 200 {
                person.id = text(&found, "user_id");
                self.people.push(person);
            } else {
                problem(&found, 404, "user_not_found");
            }
        }
        for person in &mut self.people {
            check(person, shop);
        }
    }
}

fn check(person: &mut Person, shop: &Company) {
    let read = shop.user(&person.id);
    let profile = &read["profile"];
    assert_eq!(profile["number"], profile["twin"], "half a patch");
    person.number.settle("the number", profile["number"].as_u64().unwrap());
    person.active.settle("whether it is active", read["status"] == "active");
    let second = format!("second-{}", person.email);
    let identities = read["identities"].as_array().unwrap();
    let has = |email: &String| identities.iter().any(|it| it["value"] == json!(email));
    person.second.settle("the second address", has(&second));
    assert!(has(&person.email), "{identities:?}");
    assert_eq!(identities.len(), 1 + usize::from(person.second.answered), "{identities:?}");
    let found = shop.call("POST", "/v1/users/lookup", json!({ "email": second }));
    assert_eq!(found.status, if person.second.answered { 200 } else { 404 });

    let right = |password: &String| {
        let answer = shop.login("NG", &person.email, password);
        let (status, code) =
            if person.active.answered { (200, "") } else { (403, "user_disabled") };
        if answer.status != 401 {
            answer.refused(status, code);
        }
        answer.status == status
    };
    let all = [Some(&person.password.answered), person.password.unsure.as_ref()];
    let working: Vec<_> = all.into_iter().flatten().filter(|it| right(it)).cloned().collect();
    assert_eq!(working.len(), 1, "{working:?} work, the ledger says {:?}", person.password);
    person.password.settle("the password", working[0].clone());

    let revision = read["revision"].as_str().unwrap();
    assert!(revision >= person.revision.as_str(), "{revision} is below {}", person.revision);
    revision.clone_into(&mut person.revision);
}

/// Every user as it is read, by id.
fn views(shop: &Company, callers: &[Caller], shared: &Shared) -> BTreeMap<String, Value> {
    let people = callers.iter().flat_map(|caller| caller.people.iter().map(|it| it.id.clone()));
    let ids: Vec<String> =
        people.chain(shared.contended.lock().unwrap().values().cloned()).collect();
    ids.into_iter().map(|id| (id.clone(), shop.user(&id))).collect()
}

/// Lets all callers check their ledgers and then work until the node is killed.
fn one_life(
    node: &mut Node,
    callers: &mut [Caller],
    shop: &Company,
    shared: &Shared,
    at: [u64; 2],
) {
    let [seed, round] = at;
    let mut dice = Dice(seed ^ round.wrapping_mul(0x1000_0000_01b3));
    let goal = 100 + dice.roll(500);
    let checked = Barrier::new(callers.len() + 1);
    std::thread::scope(|scope| {
        for caller in callers {
            let dice = Dice(dice.roll(u64::MAX));
            let checked = &checked;
            scope.spawn(move || {
                caller.check(shop);
                checked.wait();
                Work { caller, shop, shared, dice, round }.until_killed();
            });
        }
        for (email, id) in shared.contended.lock().unwrap().iter() {
            let found = shop.call("POST", "/v1/users/lookup", json!({ "email": email }));
            assert_eq!(found.done(200).body["user_id"], json!(id), "{email} was answered");
        }
        checked.wait();
        let before = shared.answered.load(Ordering::SeqCst);
        wait_for("the callers to be busy", || {
            let answered = shared.answered.load(Ordering::SeqCst) - before;
            (answered >= goal).then_some(())
        });
        let started = Instant::now();
        while shared.in_flight.load(Ordering::SeqCst) < IN_FLIGHT_MIN {
            assert!(started.elapsed() < PATIENCE, "too few requests are under way at once");
            std::hint::spin_loop();
        }
        node.kill();
    });
}

#[test]
fn what_was_answered_is_there_after_a_kill_at_any_moment() {
    let (kills, seed) = (setting("JCAS_KILLS", 10), setting("JCAS_SEED", 1));
    println!("JCAS_KILLS={kills} JCAS_SEED={seed}");
    let mut node = Node::started(&[("log.segment_mib", "1"), ("state.checkpoint_s", "1")]);
    let shop = node.company("shop", &["NG"]);
    let new = |number| Caller { number, people: Vec::new(), sent: None, next: 0 };
    let mut callers: Vec<_> = (0..CALLERS).map(new).collect();
    let shared = Shared::default();
    for round in 0..kills {
        let at = shop.at(&node);
        one_life(&mut node, &mut callers, &at, &shared, [seed, round]);
        node.start();
    }
    let at = shop.at(&node);
    for caller in &mut callers {
        caller.check(&at);
    }
    // What runs on what every kill left is what a fold of the log from its start gives.
    let (before, (hash, users)) = (views(&at, &callers, &shared), node.state_hash());
    node.kill();
    let (code, replayed, said) = node.run(&["replay", "jcas-data", "--state-hash"]);
    assert_eq!((code, replayed.trim()), (0, hash.as_str()), "{said}");
    let (code, _, said) = node.run(&["log", "verify"]);
    assert_eq!(code, 0, "{said}");
    std::fs::remove_dir_all(node.data().join("state")).unwrap();
    node.start();
    let at = shop.at(&node);
    assert_eq!(views(&at, &callers, &shared), before);
    assert_eq!(node.state_hash().1, users);
    for caller in &mut callers {
        caller.check(&at);
    }
}
