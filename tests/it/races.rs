//! Callers who want the same thing at once, and more of them than there is room for.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::{Value, json};

use crate::node::{Answer, Company, Node};
use crate::problem::problem;

/// Runs one closure for each number at the same moment and returns what they gave, in order.
pub fn at_once<T: Send>(count: usize, run: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(count);
    std::thread::scope(|scope| {
        let (barrier, run) = (&barrier, &run);
        let start = |number| {
            scope.spawn(move || {
                barrier.wait();
                run(number)
            })
        };
        let threads: Vec<_> = (0..count).map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Asserts that one of the answers is a registration and the others refusals that name it.
#[track_caller]
fn one_winner(answers: &[&Answer]) -> String {
    let winners: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
    assert_eq!(winners.len(), 1, "{:?}", answers.iter().map(|it| it.status).collect::<Vec<_>>());
    let id = winners[0].body["user_id"].as_str().unwrap().to_owned();
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        problem(answer, 409, "identity_taken");
        assert_eq!(answer.body["user_id"], json!(id));
    }
    id
}

#[test]
fn one_of_many_registrations_of_one_identity_wins_at_each_company() {
    let mut node = Node::started(&[]);
    let (shop, other) = (node.company("shop", &["NG"]), node.company("other", &["NG"]));
    let mut expected = Vec::new();
    for (round, count) in [2, 16, 2, 16, 2, 16].into_iter().enumerate() {
        // Spellings differ, and so does what else is claimed.
        let register = |company: &Company, number: usize| {
            let mut email = format!("race{round}@example.com");
            if number % 2 == 1 {
                email = email.to_uppercase();
            }
            let mut body =
                json!({ "country": "NG", "email": email, "password": number.to_string() });
            if number.is_multiple_of(3) {
                body["phone"] = json!(format!("+23480312300{round:02}"));
            }
            company.call("POST", "/v1/users", body)
        };
        let answers = at_once(count * 2, |number| {
            register(if number < count { &shop } else { &other }, number % count)
        });
        let answers: Vec<_> = answers.iter().collect();
        let winners = [one_winner(&answers[..count]), one_winner(&answers[count..])];
        let password = |part: &[&Answer]| part.iter().position(|it| it.status == 201).unwrap();
        let passwords = [password(&answers[..count]), password(&answers[count..])];
        expected.push((round, winners, passwords));
    }
    for life in 0..2 {
        for (round, winners, passwords) in &expected {
            for (company, (winner, password)) in
                [&shop, &other].into_iter().zip(winners.iter().zip(passwords))
            {
                let email = format!("race{round}@example.com");
                let company = company.at(&node);
                let lookup = json!({ "email": email });
                let found = company.call("POST", "/v1/users/lookup", lookup);
                assert_eq!(found.done(200).body["user_id"], json!(winner));
                let logged_in = company.login("NG", &email, &password.to_string());
                assert_eq!(logged_in.done(200).body["user_id"], json!(winner));
            }
        }
        assert_eq!(node.state_hash().1, 12, "users of losers are left");
        if life == 0 {
            node.kill();
            node.start();
        }
    }
}

#[test]
fn one_of_many_claims_of_a_verified_identity_wins_in_the_whole_deployment() {
    let node = Node::started(&[]);
    let companies = ["one", "two", "three", "four"].map(|id| node.company(id, &["NG"]));
    for company in &companies {
        node.trust(company);
    }
    for round in 0..4 {
        let users: Vec<_> = (0..16)
            .map(|number| {
                let email = format!("own{round}-{number}@example.com");
                companies[number % 4].register(json!({ "country": "NG", "email": email }))
            })
            .collect();
        let answers = at_once(16, |number| {
            let path = format!("/v1/users/{}/identities/email", users[number]);
            let body = json!({ "value": format!("all{round}@example.com"), "verified": true });
            companies[number % 4].call("PUT", &path, body)
        });
        let won: Vec<_> = (0..16).filter(|number| answers[*number].status == 200).collect();
        assert_eq!(won.len(), 1);
        for answer in answers.iter().filter(|answer| answer.status != 200) {
            problem(answer, 409, "identity_taken");
        }
        for (number, user) in users.iter().enumerate() {
            let identities = companies[number % 4].user(user)["identities"].clone();
            let expected = if number == won[0] { 2 } else { 1 };
            assert_eq!(identities.as_array().unwrap().len(), expected);
        }
    }
}

#[test]
fn patches_of_one_profile_at_once_lose_nothing() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let user = shop.register(json!({ "country": "NG", "email": "a@example.com" }));
    let path = format!("/v1/users/{user}");
    let walked = at_once(16, |number| {
        let mut revisions = Vec::new();
        for turn in 0..8 {
            let profile = json!({ format!("own{number}"): turn, "shared": [number, turn] });
            let answer = shop.call("PATCH", &path, json!({ "profile": profile }));
            revisions.push(answer.done(200).body["revision"].as_str().unwrap().to_owned());
        }
        revisions
    });
    for revisions in &walked {
        assert!(revisions.is_sorted_by(|one, next| one < next), "{revisions:?}");
    }
    let read = shop.user(&user);
    for number in 0..16 {
        assert_eq!(read["profile"][format!("own{number}")], json!(7));
    }
    assert_eq!(read["profile"]["shared"][1], json!(7), "a last write of somebody prevails");
    let newest = walked.iter().flatten().max().unwrap();
    assert_eq!(read["revision"], json!(newest));

    // Of many that saw the same, one may write.
    let answers = at_once(16, |number| {
        let body = json!({ "profile": { "winner": number }, "if_revision": newest });
        shop.call("PATCH", &path, body)
    });
    let won: Vec<_> = (0..16).filter(|number| answers[*number].status == 200).collect();
    assert_eq!(won.len(), 1);
    assert_eq!(shop.user(&user)["profile"]["winner"], json!(won[0]));
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        problem(answer, 412, "revision_mismatch");
    }
}

#[test]
fn a_password_counts_from_its_answer_on_while_others_log_in() {
    // Whoever guesses on and on is let through again at once.
    let node = Node::started(&[
        ("guessing.first_delay_ms", "10"),
        ("guessing.longest_delay_s", "1"),
        ("guessing.pause_s", "1"),
    ]);
    let shop = node.company("shop", &["NG"]);
    let body = json!({ "country": "NG", "email": "a@example.com", "password": "p0" });
    let path = format!("/v1/users/{}/password", shop.register(body));
    let login = |password: &str, client: &str| {
        let body = json!({ "country": "NG", "email": "a@example.com", "password": password,
            "client_ip": client });
        shop.call("POST", "/v1/login", body)
    };
    let set = |password: &str| shop.call("PUT", &path, json!({ "password": password }));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let guessing = |number: usize| {
            let (login, over) = (&login, &over);
            move || {
                while !over.load(Ordering::Relaxed) {
                    let tried = login(&format!("p{number}"), "192.0.2.1");
                    assert!(matches!(tried.status, 200 | 401 | 429), "answered: {}", tried.text);
                    let never = login("never", "192.0.2.1");
                    assert!(matches!(never.status, 401 | 429), "answered: {}", never.text);
                }
            }
        };
        for number in 0..4 {
            scope.spawn(guessing(number * 5));
        }
        for turn in 1..20 {
            set(&format!("p{turn}")).done(200);
            login(&format!("p{turn}"), "192.0.2.2").done(200);
            let old = login(&format!("p{}", turn - 1), "192.0.2.2");
            old.refused(401, "invalid_credentials");
        }
        over.store(true, Ordering::Relaxed);
    });
    at_once(16, |number| set(&format!("q{number}")).done(200).status);
    let works = |number: &usize| login(&format!("q{number}"), "192.0.2.3").status == 200;
    assert_eq!((0..16).filter(works).count(), 1);
}

#[test]
fn a_password_that_is_set_prevails_over_the_upgrade_of_the_old_one() {
    let node = Node::started(&[("hash.bcrypt_cost", "6")]);
    let shop = node.company("shop", &["NG"]);
    let hash = bcrypt::hash("old", 4).unwrap();
    for number in 0..16 {
        let email = format!("a{number}@example.com");
        let body = json!({ "country": "NG", "email": email, "legacy_hash": { "hash": hash } });
        let path = format!("/v1/users/{}/password", shop.register(body));
        // With the current password, too: an upgrade does not make a right one wrong.
        let change = match number % 2 {
            0 => json!({ "password": "new", "current_password": "old" }),
            _ => json!({ "password": "new" }),
        };
        let answers = at_once(4, |caller| match caller {
            0 => shop.call("PUT", &path, change.clone()),
            _ => shop.login("NG", &email, "old"),
        });
        answers[0].done(200);
        for login in &answers[1..] {
            assert!(matches!(login.status, 200 | 401), "answered: {}", login.text);
        }
        shop.login("NG", &email, "old").refused(401, "invalid_credentials");
        let logged_in = shop.login("NG", &email, "new");
        assert_eq!(logged_in.done(200).body["upgraded"], json!(false));
    }
}

/// What one caller of a flood got: for each of its calls the seconds it took and the answer.
type Flooded = Vec<(f64, Answer)>;

fn flood(count: usize, turns: usize, call: impl Fn(usize, usize) -> Answer + Sync) -> Flooded {
    let answers = at_once(count, |number| {
        let timed = |turn| {
            let started = Instant::now();
            let answer = call(number, turn);
            (started.elapsed().as_secs_f64(), answer)
        };
        (0..turns).map(timed).collect::<Vec<_>>()
    });
    answers.into_iter().flatten().collect()
}

/// Asserts that a flood was partly refused, the way it should be, and returns how many got through.
#[track_caller]
fn overloaded(flooded: &Flooded, done: u16) -> usize {
    let refused: Vec<_> = flooded.iter().filter(|(_, answer)| answer.status != done).collect();
    assert!(!refused.is_empty(), "nobody was refused: this was no flood");
    for (_, answer) in &refused {
        problem(answer, 503, "overloaded");
    }
    flooded.len() - refused.len()
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

#[test]
fn a_flood_is_refused_at_once_and_loses_nothing() {
    let node = Node::started(&[
        ("actors.shard_mailbox", "16"),
        ("actors.pending_per_user", "1"),
        ("log.queue_events", "64"),
        ("hash.queue_jobs", "8"),
        ("hash.bcrypt_cost", "9"),
    ]);
    let shop = node.company("shop", &["NG"]);
    let body = json!({ "country": "NG", "email": "a@example.com", "password": "right" });
    let user = shop.register(body);
    let path = format!("/v1/users/{user}");

    // One user, more writers than may wait for it. What was answered is there.
    let patches = flood(64, 4, |number, turn| {
        let body = json!({ "profile": { format!("f{number}"): turn } });
        shop.call("PATCH", &path, body)
    });
    let done = overloaded(&patches, 200);
    assert!(done > 0, "everybody was refused");
    let read = shop.user(&user);
    for (number, turns) in patches.chunks(4).enumerate() {
        let last = turns.iter().rposition(|(_, answer)| answer.status == 200);
        let expected = last.map_or(Value::Null, |turn| json!(turn));
        assert_eq!(read["profile"][format!("f{number}")], expected, "field of caller {number}");
    }

    // More logins than hashes may wait. Refusals come sooner than what is computed.
    let emails: Vec<_> = (0..8).map(|number| format!("b{number}@example.com")).collect();
    for email in &emails {
        shop.register(json!({ "country": "NG", "email": email, "password": "right" }));
    }
    let logins = flood(64, 2, |number, _| {
        if number == 0 {
            let health = shop.call("GET", "/health/live", Value::Null);
            health.done(200);
        }
        shop.login("NG", &emails[number % emails.len()], "right")
    });
    assert!(overloaded(&logins, 200) > 0, "everybody was refused");
    let seconds = |done: bool| {
        let of_those = logins.iter().filter(|(_, answer)| (answer.status == 200) == done);
        median(of_those.map(|(seconds, _)| *seconds).collect())
    };
    assert!(seconds(false) < seconds(true), "{} and {}", seconds(false), seconds(true));

    // Registrations of one identity: as many as may wait for it, and no user of a refused one.
    let before = node.state_hash().1;
    let new = flood(64, 1, |_, _| {
        let body = json!({ "country": "NG", "email": "new@example.com" });
        shop.call("POST", "/v1/users", body)
    });
    let created = new.iter().filter(|(_, answer)| answer.status == 201).count();
    assert_eq!(created, 1);
    for (_, answer) in new.iter().filter(|(_, answer)| answer.status != 201) {
        let (status, code) =
            if answer.status == 409 { (409, "identity_taken") } else { (503, "overloaded") };
        problem(answer, status, code);
    }
    assert_eq!(node.state_hash().1, before + 1);

    // And then it is as before.
    let health = node.operate("GET", "/health/ready", None);
    assert_eq!(health.done(200).body["status"], "ready");
    shop.login("NG", "a@example.com", "right").done(200);
    shop.call("PATCH", &path, json!({ "profile": { "after": true } })).done(200);
    assert_eq!(shop.user(&user)["profile"]["after"], json!(true));
}
