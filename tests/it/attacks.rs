//! A company that nobody trusts, and its accomplice, against somebody else's customer: they get
//! into nothing and keep nobody out, whoever comes first. Seen by logging in as each party at each
//! company, and by what the victim's account and history say afterwards.

use serde_json::{Value, json};

use crate::node::{Answer, Company, Node};
use crate::problem::Untouched;

pub const VICTIMS: &str = "the victim's own";
pub const ACCOMPLICES: &str = "the accomplice's";

/// Three companies: the victim's, one without trust, and one that has to do with neither.
pub struct World {
    pub node: Node,
    pub home: Company,
    pub rogue: Company,
    pub third: Company,
}

impl World {
    /// `verifies`: whether the word of the victim's company counts. The rogue may read its own
    /// users only, or everybody's as a new company may.
    pub fn new(verifies: bool, rogue_reads: &str) -> Self {
        let node = Node::started(&[]);
        let [home, rogue, third] = ["home", "rogue", "third"].map(|id| node.company(id, &["NG"]));
        set_policy(&node, &home, &[("verifies", json!(verifies))]);
        set_policy(&node, &rogue, &[("read", json!(rogue_reads))]);
        Self { node, home, rogue, third }
    }
}

/// Sets some policies of a company; the others are those of a new one.
pub fn set_policy(node: &Node, company: &Company, changed: &[(&str, Value)]) {
    let mut policies = json!({ "read": "all", "verifies": false });
    for name in ["password", "profile", "identity", "status", "link", "erase"] {
        policies[name] = json!("own");
    }
    for (name, value) in changed {
        policies[*name] = value.clone();
    }
    let path = format!("/operator/companies/{}/policies", company.id);
    node.operate("PUT", &path, Some(&policies)).done(200);
}

/// An identity that victim and accomplice both name.
#[derive(Clone, Copy)]
struct Named<'a> {
    kind: &'a str,
    value: &'a str,
}

const IDENTITIES: [Named<'_>; 2] = [
    Named { kind: "email", value: "ada@example.com" },
    Named { kind: "phone", value: "+2348031234567" },
];

impl Named<'_> {
    fn registration(self, password: &str, verified: bool) -> Value {
        let mut body = json!({ "country": "NG", "password": password,
            "profile": { "nickname": password } });
        body[self.kind] = json!(self.value);
        body[format!("{}_verified", self.kind)] = json!(verified);
        body
    }

    fn login(self, at: &Company, password: &str) -> Answer {
        let mut body = json!({ "country": "NG", "password": password });
        body[self.kind] = json!(self.value);
        at.call("POST", "/v1/login", body)
    }

    fn lookup(self, at: &Company) -> Answer {
        let mut body = json!({});
        body[self.kind] = json!(self.value);
        at.call("POST", "/v1/users/lookup", body)
    }
}

/// What a company is shown of one of its users.
#[derive(Debug, PartialEq)]
pub struct Seen {
    pub profile: Value,
    identities: Value,
    pub status: Value,
    kinds: Vec<String>,
    companies: Vec<String>,
}

pub fn seen(company: &Company, user: &str) -> Seen {
    let read = company.user(user);
    let history = company.call("GET", &format!("/v1/users/{user}/history"), Value::Null);
    let events = history.done(200).body["events"].as_array().unwrap().clone();
    let texts = |name: &str| {
        let all = events.iter().filter_map(|event| event[name].as_str());
        all.map(str::to_owned).collect::<Vec<_>>()
    };
    Seen {
        profile: read["profile"].clone(),
        identities: read["identities"].clone(),
        status: read["status"].clone(),
        kinds: texts("kind"),
        companies: texts("company"),
    }
}

#[track_caller]
pub fn is(answer: &Answer, user: &str) {
    assert_eq!(answer.done(200).body["user_id"], json!(user), "{}", answer.text);
}

/// Everything the rogue can call about a user whose id it knows.
fn everything_about(rogue: &Company, user: &str) -> Vec<Answer> {
    let one = format!("/v1/users/{user}");
    let hash = bcrypt::hash(ACCOMPLICES, 4).unwrap();
    let by_id = json!({ "country": "NG", "user_id": user, "password": ACCOMPLICES });
    let now = jiff::Timestamp::now().to_string();
    let mut answers = vec![
        rogue.call("POST", "/v1/login", by_id),
        rogue.call("PATCH", &one, json!({ "profile": { "nickname": "mine" } })),
        rogue.call("PUT", &format!("{one}/password"), json!({ "password": ACCOMPLICES })),
        rogue.call(
            "PUT",
            &format!("{one}/password"),
            json!({ "password": ACCOMPLICES, "current_password": ACCOMPLICES }),
        ),
        rogue.call("PUT", &format!("{one}/legacy-hashes/NG"), json!({ "hash": hash })),
        rogue.call(
            "PUT",
            &format!("{one}/legacy-hashes/NG"),
            json!({ "hash": hash, "changed_at": now }),
        ),
        rogue.call("PUT", &format!("{one}/status"), json!({ "status": "disabled" })),
        rogue.call("PUT", &format!("{one}/status"), json!({ "status": "active" })),
    ];
    for Named { kind, value } in IDENTITIES {
        let path = format!("{one}/identities/{kind}");
        answers.push(rogue.call("DELETE", &path, json!({ "value": value })));
    }
    for verified in [false, true] {
        let claim = json!({ "value": "rogue@example.com", "verified": verified });
        answers.push(rogue.call("PUT", &format!("{one}/identities/email"), claim));
    }
    answers
}

#[test]
fn a_user_id_opens_nothing_to_a_company_without_trust() {
    for reads in ["all", "own", "off"] {
        let world = World::new(false, reads);
        let victim = world.home.register(json!({
            "country": "NG", "email": IDENTITIES[0].value, "phone": IDENTITIES[1].value,
            "password": VICTIMS, "profile": { "nickname": "Ada" },
        }));
        // An accomplice of its own makes the rogue no customer's company.
        let accomplice = IDENTITIES[0].registration(ACCOMPLICES, true);
        world.rogue.register(accomplice);
        is_own(&IDENTITIES[0].login(&world.rogue, ACCOMPLICES), &victim);
        let before = seen(&world.home, &victim);
        let untouched = Untouched::of(&world.node);
        for answer in everything_about(&world.rogue, &victim) {
            assert!(matches!(answer.status, 401 | 403), "{}", answer.text);
            assert!(!answer.text.contains("Ada"), "{}", answer.text);
        }
        for path in [format!("/v1/users/{victim}"), format!("/v1/users/{victim}/history")] {
            let read = world.rogue.call("GET", &path, Value::Null);
            assert_eq!(read.status == 200, reads == "all", "{}", read.text);
        }
        untouched.holds();
        assert_eq!(seen(&world.home, &victim), before);
        for named in IDENTITIES {
            is(&named.login(&world.home, VICTIMS), &victim);
            named.login(&world.home, ACCOMPLICES).refused(401, "invalid_credentials");
        }
    }
}

/// Asserts a login into an account that is not the victim's.
#[track_caller]
pub fn is_own(answer: &Answer, victim: &str) {
    assert_ne!(answer.done(200).body["user_id"], json!(victim), "{}", answer.text);
    assert!(!answer.text.contains(VICTIMS), "it shows what is the victim's: {}", answer.text);
}

/// One way that things may go.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
struct Case {
    /// What both name: an e-mail address or a phone number.
    identity: usize,
    /// The accomplice comes before the victim.
    first: bool,
    /// The rogue says that it verified the identity.
    flagged: bool,
    /// The victim's company says so, and its word counts.
    verified: bool,
    /// The accomplice logs in at each company before the victim comes there.
    everywhere: bool,
}

fn cases() -> impl Iterator<Item = Case> {
    (0..32).map(|number: usize| Case {
        identity: number & 1,
        first: number & 2 != 0,
        flagged: number & 4 != 0,
        verified: number & 8 != 0,
        everywhere: number & 16 != 0,
    })
}

#[test]
fn whoever_registers_somebody_elses_identity_gets_into_nothing_and_keeps_nobody_out() {
    let worlds = [false, true].map(|verified| World::new(verified, "own"));
    for (number, case) in cases().enumerate() {
        eprintln!("{case:?}");
        // Each case has identities of its own.
        let value = [format!("ada{number}@example.com"), format!("+23480312345{number:02}")];
        let (kind, value) = (["email", "phone"][case.identity], &*value[case.identity]);
        let named = Named { kind, value };
        let world = &worlds[usize::from(case.verified)];
        let World { home, rogue, third, .. } = world;
        let squat =
            || rogue.call("POST", "/v1/users", named.registration(ACCOMPLICES, case.flagged));
        let come = || {
            // Nobody who came before keeps the victim out of a company it registers at.
            home.register(named.registration(VICTIMS, case.verified))
        };
        let (squatted, victim);
        if case.first {
            squatted = squat();
            squatted.done(201);
            if case.everywhere {
                for company in [rogue, third, home] {
                    named.login(company, ACCOMPLICES).done(200);
                }
            }
            victim = come();
        } else {
            victim = come();
            squatted = squat();
            if case.verified {
                // Said to a company that may not read the owner: not who it is.
                let refused = squatted.refused(409, "identity_taken");
                assert!(refused.body.get("user_id").is_none(), "{}", refused.text);
            } else {
                squatted.done(201);
                if case.everywhere {
                    // An unverified claim comes after the owner's and gets in nowhere else.
                    named.login(third, ACCOMPLICES).refused(401, "invalid_credentials");
                    named.login(home, ACCOMPLICES).refused(401, "invalid_credentials");
                }
            }
        }
        let accomplice = squatted.body["user_id"].as_str();
        check(world, named, case, (&victim, accomplice));
    }
}

/// Both are there: who gets in where, and what was recorded of the victim.
#[track_caller]
fn check(world: &World, named: Named<'_>, case: Case, (victim, accomplice): (&str, Option<&str>)) {
    let World { home, rogue, third, .. } = world;
    // The victim's company knows its own customer, whoever else names the identity.
    is(&named.login(home, VICTIMS), victim);
    is(&named.lookup(home), victim);
    let recorded = &seen(home, victim);
    assert_eq!(recorded.profile, json!({ "nickname": VICTIMS }));
    assert_eq!(recorded.status, json!("active"));
    assert_eq!(recorded.identities[0]["verified"], json!(case.verified));
    assert!(recorded.companies.iter().all(|company| company == "home"), "{recorded:?}");

    // The accomplice keeps the rogue's login and gets into nothing else.
    if let Some(accomplice) = accomplice {
        is(&named.login(rogue, ACCOMPLICES), accomplice);
        is(&named.lookup(rogue), accomplice);
        let own = seen(rogue, accomplice);
        assert_eq!(own.identities[0]["verified"], json!(false), "a flag is no proof");
    }
    for company in [home, third] {
        let answer = named.login(company, ACCOMPLICES);
        let joined = case.first && case.everywhere;
        // Into its own account where it was a customer before; never into the victim's.
        if joined || case.first && !case.verified && company.id == "third" {
            is(&answer, accomplice.unwrap());
            is_own(&answer, victim);
        } else {
            answer.refused(401, "invalid_credentials");
        }
    }
    // A right password of the victim's opens the victim's account or nothing, also at the rogue.
    for company in [rogue, third] {
        let answer = named.login(company, VICTIMS);
        let is_owner = case.verified || !case.first;
        let knows_another = company.id == "rogue" && accomplice.is_some();
        if case.verified || is_owner && !knows_another {
            is(&answer, victim);
        } else {
            answer.refused(401, "invalid_credentials");
        }
    }
    // Who is not let in at the third company may register there, whoever was there before.
    let owned = named.login(third, VICTIMS).status == 200;
    let registered = third.call("POST", "/v1/users", named.registration(VICTIMS, true));
    if case.verified {
        registered.refused(409, "identity_taken");
        assert!(owned);
    } else {
        let id = registered.done(201).body["user_id"].as_str().unwrap().to_owned();
        is(&named.login(third, VICTIMS), &id);
        is(&named.lookup(third), &id);
    }
    assert_eq!(seen(home, victim).profile, json!({ "nickname": VICTIMS }));
    is(&named.login(home, VICTIMS), victim);
}

#[test]
fn an_owner_who_is_verified_later_takes_the_identity_from_whoever_only_named_it() {
    for joined in [false, true] {
        let world = World::new(true, "own");
        let World { home, rogue, third, .. } = &world;
        let named = IDENTITIES[0];
        let accomplice = rogue.register(named.registration(ACCOMPLICES, true));
        if joined {
            is(&named.login(third, ACCOMPLICES), &accomplice);
        }
        let victim = home.register(named.registration(VICTIMS, false));
        named.login(third, VICTIMS).refused(401, "invalid_credentials");
        let path = format!("/v1/users/{victim}/identities/{}", named.kind);
        let verified = json!({ "value": named.value, "verified": true });
        home.call("PUT", &path, verified).done(200);
        // From now on the owner gets in everywhere, and is who is meant wherever it is a customer.
        for company in [home, third, rogue] {
            is(&named.login(company, VICTIMS), &victim);
        }
        for company in [home, third] {
            is(&named.lookup(company), &victim);
        }
        named.lookup(rogue).refused(403, "policy_denied");
        // The accomplice has its own account, as before, where it was a customer.
        is(&named.login(rogue, ACCOMPLICES), &accomplice);
        let elsewhere = named.login(third, ACCOMPLICES);
        if joined {
            is(&elsewhere, &accomplice);
        } else {
            elsewhere.refused(401, "invalid_credentials");
        }
        // And the rogue cannot have it verified, nor claim it anew.
        let path = format!("/v1/users/{accomplice}/identities/{}", named.kind);
        let claim = json!({ "value": named.value, "verified": true });
        rogue.call("PUT", &path, claim.clone()).done(200);
        assert_eq!(seen(rogue, &accomplice).identities[0]["verified"], json!(false));
        let other = json!({ "value": "rogue@example.com" });
        rogue.call("PUT", &path, other).done(200);
        rogue.call("DELETE", &path, json!({ "value": named.value })).done(200);
        rogue.call("PUT", &path, claim).refused(409, "identity_taken");
    }
}

/// A number that its operator gave to somebody else.
#[test]
fn a_phone_number_that_changed_hands_opens_neither_account_to_the_other() {
    let named = IDENTITIES[1];
    for verified in [false, true] {
        let world = World::new(verified, "all");
        let World { node, home, third, .. } = &world;
        set_policy(node, third, &[("verifies", json!(true))]);
        let mut old = named.registration("the old owner's", verified);
        old["email"] = json!("old@example.com");
        let old = home.register(old);
        let before = seen(home, &old);

        // The new owner proves the number to a company that verifies.
        let new = named.registration("the new owner's", true);
        let registered = third.call("POST", "/v1/users", new.clone());
        if verified {
            // One verified claim stands until it is released by whoever may.
            registered.refused(409, "identity_taken");
            let path = format!("/v1/users/{old}/identities/phone");
            let release = json!({ "value": named.value });
            third.call("DELETE", &path, release.clone()).refused(403, "policy_denied");
            assert_eq!(seen(home, &old), before);
            home.call("DELETE", &path, release).done(200);
        }
        let new = if verified {
            third.register(new)
        } else {
            registered.done(201).body["user_id"].as_str().unwrap().to_owned()
        };
        is(&named.login(third, "the new owner's"), &new);
        named.login(third, "the old owner's").refused(401, "invalid_credentials");
        is(&named.lookup(third), &new);

        // The old owner keeps the account, by what is still theirs, and nothing of the new one.
        is(&home.login("NG", "old@example.com", "the old owner's"), &old);
        let by_number = named.login(home, "the old owner's");
        if verified {
            by_number.refused(401, "invalid_credentials");
        } else {
            is(&by_number, &old);
        }
        // The number is the new owner's now, at every company, and verified for nobody else.
        is(&named.login(home, "the new owner's"), &new);
        let path = format!("/v1/users/{old}/identities/phone");
        let claim = json!({ "value": named.value, "verified": true });
        let again = home.call("PUT", &path, claim);
        if verified {
            again.refused(409, "identity_taken");
        } else {
            again.done(200);
            assert_eq!(seen(home, &old).identities, before.identities);
        }
        assert_eq!(seen(home, &old).profile, json!({ "nickname": "the old owner's" }));
        assert_eq!(seen(third, &new).profile, json!({ "nickname": "the new owner's" }));
    }
}

#[test]
fn with_the_policy_own_a_company_shuts_out_only_whom_it_registered() {
    let world = World::new(false, "all");
    let World { home, rogue, third, .. } = &world;
    let named = IDENTITIES[0];
    let accomplice = rogue.register(named.registration(ACCOMPLICES, false));
    let victim = home.register(named.registration(VICTIMS, false));
    let status = |company: &Company, user: &str, status: &str| {
        let path = format!("/v1/users/{user}/status");
        company.call("PUT", &path, json!({ "status": status }))
    };
    // The victim becomes a customer of the rogue, and is not the rogue's own for that.
    let by_id = json!({ "country": "NG", "user_id": victim, "password": VICTIMS });
    is(&rogue.call("POST", "/v1/login", by_id), &victim);
    for wanted in ["disabled", "active"] {
        status(rogue, &victim, wanted).refused(403, "policy_denied");
        status(third, &victim, wanted).refused(403, "policy_denied");
    }
    is(&named.login(home, VICTIMS), &victim);

    // Its accomplice's status is the accomplice's alone.
    status(rogue, &accomplice, "disabled").done(200);
    named.login(rogue, ACCOMPLICES).refused(403, "user_disabled");
    is(&named.login(home, VICTIMS), &victim);

    // And whom the victim's company shut out stays out.
    status(home, &victim, "disabled").done(200);
    status(rogue, &victim, "active").refused(403, "policy_denied");
    let by_id = json!({ "country": "NG", "user_id": victim, "password": VICTIMS });
    for company in [home, rogue, third] {
        let again = company.call("POST", "/v1/login", by_id.clone());
        again.refused(403, "user_disabled");
        let wrong = json!({ "country": "NG", "user_id": victim, "password": ACCOMPLICES });
        company.call("POST", "/v1/login", wrong).refused(401, "invalid_credentials");
    }
    assert_eq!(home.user(&victim)["status"], json!("disabled"));
    status(home, &victim, "active").done(200);
    is(&named.login(home, VICTIMS), &victim);
}
