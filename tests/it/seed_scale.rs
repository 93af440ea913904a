//! The size the service was made for: nine companies in 22 countries, 120 API keys, people who are
//! customers of several of them in several countries.

use std::collections::BTreeSet;
use std::thread;

use serde_json::{Value, json};

use crate::node::{Company, Node};
use crate::sync::hash_of;
use crate::syncing::{lines, over, post_to};

const COUNTRIES: [&str; 22] = [
    "AO", "BJ", "BW", "CI", "CM", "EG", "ET", "GH", "KE", "MA", "MG", "MU", "MZ", "NA", "NG", "RW",
    "SN", "TN", "TZ", "UG", "ZA", "ZM",
];
const COMPANIES: usize = 9;
const KEYS: usize = 120;

/// So many, that with two countries each every company has customers in every country.
const PEOPLE: usize = 99;

/// What a person's password was at the first, the second and the third of their companies.
const PASSWORDS: [&str; 3] = ["old at the first", "old at the second", "old at the third"];

/// The companies a person is a customer of, in the order of their passwords.
const fn companies_of(person: usize) -> [usize; 3] {
    [person % COMPANIES, (person + 4) % COMPANIES, (person + 7) % COMPANIES]
}

/// The countries they are so in.
const fn countries_of(person: usize) -> [usize; 2] {
    [person % COUNTRIES.len(), (person + 11) % COUNTRIES.len()]
}

fn email_of(person: usize) -> String {
    format!("person-{person}@example.com")
}

fn phone_of(person: usize) -> String {
    format!("+234803{person:07}")
}

/// A company's rows of a country. The second company knows the phone number too.
fn rows(company: usize, country: usize, hashes: &[String; 3]) -> Vec<Value> {
    let mut rows = Vec::new();
    for person in (0..PEOPLE).filter(|person| countries_of(*person).contains(&country)) {
        let place = companies_of(person).iter().position(|it| *it == company);
        let Some(place) = place else { continue };
        let mut row = json!({ "email": email_of(person), "email_verified": true,
            "legacy_hash": { "hash": hashes[place] } });
        if place == 1 {
            row["phone"] = json!(phone_of(person));
            row["phone_verified"] = json!(true);
        }
        rows.push(row);
    }
    rows
}

/// The companies, each with all its keys.
fn companies(node: &Node) -> Vec<Vec<Company>> {
    let mut companies: Vec<Vec<Company>> = Vec::new();
    for number in 0..COMPANIES {
        let company = node.company(&format!("company-{number}"), &COUNTRIES);
        node.trust(&company);
        companies.push(vec![company]);
    }
    let wanted = json!({ "scopes": ["login", "read", "sync"] });
    for number in COMPANIES..KEYS {
        let keys = &mut companies[number % COMPANIES];
        let path = format!("/operator/companies/{}/keys", keys[0].id);
        let issued = node.operate("POST", &path, Some(&wanted));
        let key = issued.done(201).body["api_key"].as_str().unwrap().to_owned();
        let company = Company { key, ..keys[0].clone() };
        keys.push(company);
    }
    companies
}

/// Brings all customers of a company in, country by country, each with another key.
fn bring_in(number: usize, keys: &[Company], hashes: &[String; 3]) {
    let jobs: Vec<_> = (0..COUNTRIES.len())
        .map(|country| {
            let rows = rows(number, country, hashes);
            assert!(!rows.is_empty(), "nobody of company {number} in {}", COUNTRIES[country]);
            let target = format!("/v1/sync?country={}", COUNTRIES[country]);
            let answer = post_to(&keys[country % keys.len()], &target, &lines(&rows));
            (answer.done(202).body["job_id"].as_str().unwrap().to_owned(), rows.len())
        })
        .collect();
    for (id, rows) in jobs {
        let job = over(&keys[0], &id);
        assert_eq!((&job["state"], &job["rows"]), (&json!("done"), &json!(rows)), "{job}");
        let refused = ["conflict", "invalid"].map(|verdict| job[verdict].as_u64().unwrap_or(0));
        assert_eq!(refused, [0, 0], "{job}");
    }
}

/// A person logs in with the password of their second company, and is one account everywhere.
fn lives_here(person: usize, companies: &[Vec<Company>]) -> String {
    let [first, second, third] = companies_of(person).map(|number| &companies[number]);
    let [one, other] = countries_of(person).map(|country| COUNTRIES[country]);
    let key = |of: &Vec<Company>, turn: usize| of[(person + turn) % of.len()].clone();
    let email = email_of(person);
    let login = key(second, 0).login(one, &email, PASSWORDS[1]);
    assert_eq!(login.done(200).body["upgraded"], true, "{person}");
    let id = login.body["user_id"].as_str().unwrap().to_owned();
    // Theirs at every company from then on, in any country, and the others of theirs no longer.
    let login = key(third, 1).login(other, &email, PASSWORDS[1]);
    assert_eq!(login.done(200).body["user_id"], json!(id), "{person}");
    assert_eq!(login.body["upgraded"], false, "{person}");
    if person.is_multiple_of(10) {
        first[0].login(one, &email, PASSWORDS[0]).refused(401, "invalid_credentials");
    }
    for keys in [first, second, third] {
        for identity in [json!({ "email": email }), json!({ "phone": phone_of(person) })] {
            let company = key(keys, 2);
            let found = company.call("POST", "/v1/users/lookup", identity.clone());
            assert_eq!(found.done(200).body["user_id"], json!(id), "{identity}");
        }
    }
    id
}

#[test]
fn nine_companies_in_22_countries_with_120_keys_share_one_account_a_person() {
    let node = Node::started(&[]);
    let companies = companies(&node);
    let listed = node.operate("GET", "/operator/companies", None).done(200).body.clone();
    let listed = listed["companies"].as_array().unwrap().clone();
    let keys = listed.iter().map(|company| company["keys"].as_array().unwrap().len());
    assert_eq!((listed.len(), keys.sum::<usize>()), (COMPANIES, KEYS));

    // All at once: whoever comes first makes the user, the others find it.
    let hashes = PASSWORDS.map(hash_of);
    thread::scope(|scope| {
        for (number, keys) in companies.iter().enumerate() {
            let hashes = &hashes;
            scope.spawn(move || bring_in(number, keys, hashes));
        }
    });
    assert_eq!(node.state_hash().1, PEOPLE as u64, "a user a person");

    let ids: BTreeSet<String> = thread::scope(|scope| {
        let companies = &companies;
        let lives = move |from: usize| -> Vec<_> {
            (from..PEOPLE).step_by(4).map(|person| lives_here(person, companies)).collect()
        };
        let running: Vec<_> = (0..4).map(|from| scope.spawn(move || lives(from))).collect();
        running.into_iter().flat_map(|lane| lane.join().unwrap()).collect()
    });
    assert_eq!(ids.len(), PEOPLE);

    // What each company sees of it.
    for number in 0..COMPANIES {
        let company = format!("company-{number}");
        let (code, printed, said) = node.run(&["company", "report", &company, "--json"]);
        assert_eq!(code, 0, "{said}");
        let report = serde_json::from_str::<Value>(&printed).unwrap()["report"].clone();
        assert_eq!(report["all"]["customers"], json!(33), "three of nine companies have each");
        assert_eq!(report["all"]["with_secret"], json!(33));
        let countries = report["countries"].as_object().unwrap();
        assert_eq!(countries.keys().map(String::as_str).collect::<Vec<_>>(), COUNTRIES);
        for (country, sum) in countries {
            let bcrypt = json!({ "bcrypt": { "hashes": 3, "never_came": 0 } });
            assert_eq!((&sum["customers"], &sum["schemes"]), (&json!(3), &bcrypt), "{country}");
        }
    }
}
