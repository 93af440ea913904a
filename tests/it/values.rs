//! Values that are refused at the door, or taken for what they are: passwords, e-mail addresses,
//! phone numbers, profile fields, legacy hashes, revisions, cursors.

use serde_json::{Map, Value, json};

use crate::node::{Company, Node};
use crate::problem::{MARK, Untouched, problem, wrong_field};

fn house() -> (Node, Company) {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG", "DE"]);
    (node, shop)
}

fn password_path(user: &str) -> String {
    format!("/v1/users/{user}/password")
}

#[test]
fn passwords_that_cannot_be_one_are_refused_and_match_nothing() {
    let (node, shop) = house();
    let user =
        shop.register(json!({ "country": "NG", "email": "a@example.com", "password": MARK }));
    let untouched = Untouched::of(&node);
    let nul = format!("{MARK}\0");
    let long = format!("{MARK}{}", "x".repeat(73 - MARK.len()));
    let wide = "\u{e9}".repeat(37);
    let huge = MARK.repeat(5000);
    for bad in ["", "\0", nul.as_str(), long.as_str(), wide.as_str(), huge.as_str()] {
        let new = json!({ "country": "NG", "email": "new@example.com", "password": bad });
        problem(&shop.call("POST", "/v1/users", new), 422, "password_refused");
        for body in
            [json!({ "password": bad }), json!({ "password": bad, "current_password": MARK })]
        {
            let answer = shop.call("PUT", &password_path(&user), body);
            problem(&answer, 422, "password_refused");
        }
        problem(&shop.login("NG", "a@example.com", bad), 401, "invalid_credentials");
        let body = json!({ "password": "new", "current_password": bad });
        problem(&shop.call("PUT", &password_path(&user), body), 401, "invalid_credentials");
    }
    untouched.holds();
    let lookup = json!({ "email": "new@example.com" });
    shop.call("POST", "/v1/users/lookup", lookup).refused(404, "user_not_found");
    // What bcrypt reads to the end is a password; one more byte is another one.
    let longest = "x".repeat(72);
    shop.call("PUT", &password_path(&user), json!({ "password": longest })).done(200);
    shop.login("NG", "a@example.com", &longest).done(200);
    shop.login("NG", "a@example.com", &format!("{longest}y")).refused(401, "invalid_credentials");
    shop.login("NG", "a@example.com", &longest[1..]).refused(401, "invalid_credentials");
}

#[test]
fn spellings_of_one_identity_are_one_identity() {
    let (node, shop) = house();
    let groups: [(&str, &[&str]); 4] = [
        ("email", &["Ada@Example.com", " ada@example.COM\t", "ADA@EXAMPLE.COM"]),
        (
            "email",
            &[
                "J\u{fc}rgen@b\u{fc}cher.example",
                "ju\u{308}rgen@bu\u{308}cher.example",
                "j\u{fc}rgen@xn--bcher-kva.example",
                "J\u{dc}RGEN@B\u{dc}CHER.EXAMPLE",
            ],
        ),
        ("phone", &["0803 123 4567", "+234 803 123 4567", "+2348031234567", "(0803) 123-4567"]),
        ("phone", &["+49 30 901820", "+4930901820", "+49 (30) 90 18 20"]),
    ];
    for (kind, spellings) in groups {
        let user = shop.register(json!({ "country": "NG", kind: spellings[0] }));
        let other =
            shop.register(json!({ "country": "NG", "email": format!("{user}@example.com") }));
        let untouched = Untouched::of(&node);
        for spelling in spellings {
            let found =
                shop.call("POST", "/v1/users/lookup", json!({ "country": "NG", kind: spelling }));
            assert_eq!(found.done(200).body["user_id"], json!(user), "{spelling}");
            let answer = shop.call("POST", "/v1/users", json!({ "country": "NG", kind: spelling }));
            problem(&answer, 409, "identity_taken");
            assert_eq!(answer.body["user_id"], json!(user));
            let path = format!("/v1/users/{other}/identities/{kind}");
            let claim = json!({ "value": spelling, "country": "NG" });
            problem(&shop.call("PUT", &path, claim.clone()), 409, "identity_taken");
            let mine = format!("/v1/users/{user}/identities/{kind}");
            shop.call("PUT", &mine, claim.clone()).done(200);
            problem(&shop.call("DELETE", &path, claim), 404, "not_found");
        }
        untouched.holds();
        assert_eq!(shop.user(&user)["identities"].as_array().unwrap().len(), 1);
        assert_eq!(shop.user(&other)["identities"].as_array().unwrap().len(), 1);
    }
    // In another country the same digits are another number.
    let there = json!({ "country": "DE", "phone": "0803 123 4567" });
    shop.call("POST", "/v1/users/lookup", there).refused(404, "user_not_found");
}

#[test]
fn what_is_no_identity_is_refused() {
    let (node, shop) = house();
    let user = shop.register(json!({ "country": "NG", "email": "a@example.com" }));
    let untouched = Untouched::of(&node);
    let local = "x".repeat(65);
    let mails = [
        "",
        " ",
        "@",
        MARK,
        "s3cr3t@",
        "@s3cr3t.com",
        "a@s3cr3t@b.com",
        "a b@s3cr3t.com",
        "s3cr3t\u{200b}@example.com",
        "s3cr3t\0@example.com",
        "s3cr3t@exa_mple.com",
        "s3cr3t@example..com",
        "s3cr3t@-\u{fffd}.com",
    ];
    let long = format!("{local}@s3cr3t.com");
    for mail in mails.into_iter().chain([long.as_str()]) {
        let body = json!({ "country": "NG", "email": mail });
        wrong_field(&shop.call("POST", "/v1/users", body), "email", "invalid_email");
        let lookup = json!({ "email": mail });
        wrong_field(&shop.call("POST", "/v1/users/lookup", lookup), "email", "invalid_email");
        let path = format!("/v1/users/{user}/identities/email");
        let answer = shop.call("PUT", &path, json!({ "value": mail }));
        wrong_field(&answer, "email", "invalid_email");
    }
    for phone in [
        "",
        "s3cr3t",
        "+",
        "0",
        "12",
        "+2348031",
        "+23480312345678901",
        "+9990000000",
        "+234 803 123 4567 ext. 9",
        "+234803123456a",
    ] {
        let body = json!({ "country": "NG", "phone": phone });
        wrong_field(&shop.call("POST", "/v1/users", body), "phone", "invalid_phone");
        let path = format!("/v1/users/{user}/identities/phone");
        let answer = shop.call("PUT", &path, json!({ "value": phone, "country": "NG" }));
        wrong_field(&answer, "phone", "invalid_phone");
    }
    // Everything that is wrong is named at once.
    let both = json!({ "country": "NG", "email": MARK, "phone": MARK });
    let answer = shop.call("POST", "/v1/users", both);
    wrong_field(&answer, "email", "invalid_email");
    wrong_field(&answer, "phone", "invalid_phone");
    let national = json!({ "phone": "0803 123 4567" });
    problem(&shop.call("POST", "/v1/users/lookup", national), 422, "phone_country_required");
    let path = format!("/v1/users/{user}/identities/phone");
    let answer = shop.call("PUT", &path, json!({ "value": "0803 123 4567" }));
    problem(&answer, 422, "phone_country_required");
    untouched.holds();
}

#[test]
fn an_identity_that_is_anothers_is_refused_by_the_rules_of_ownership() {
    let node = Node::started(&[]);
    let (shop, other) = (node.company("shop", &["NG"]), node.company("other", &["NG"]));
    node.trust(&shop);
    let mail = |name: &str| json!({ "country": "NG", "email": format!("{name}@example.com") });
    let mut verified = mail("verified");
    verified["email_verified"] = json!(true);
    let owner = shop.register(verified.clone());
    let loose = shop.register(mail("loose"));
    let untouched = Untouched::of(&node);
    // A verified owner keeps it from everybody, the own member from the own company.
    let answer = other.call("POST", "/v1/users", verified);
    problem(&answer, 409, "identity_taken");
    assert_eq!(answer.body["user_id"], json!(owner));
    problem(&shop.call("POST", "/v1/users", mail("loose")), 409, "identity_taken");
    untouched.holds();
    // Who is not verified keeps it from nobody else: each company has its own login by it.
    let mut theirs = mail("loose");
    theirs["password"] = json!("theirs");
    theirs["email_verified"] = json!(true);
    let twin = other.register(theirs);
    assert_ne!(twin, loose);
    let identities = other.user(&twin)["identities"].clone();
    assert_eq!(identities[0]["verified"], json!(false), "its word that it verified does not count");
    for (company, expected) in [(&shop, &loose), (&other, &twin)] {
        let lookup = json!({ "email": "LOOSE@example.com" });
        let found = company.call("POST", "/v1/users/lookup", lookup);
        assert_eq!(found.done(200).body["user_id"], json!(expected));
    }
    other.login("NG", "loose@example.com", "theirs").done(200);
    shop.login("NG", "loose@example.com", "theirs").refused(401, "invalid_credentials");
    // Where a company may not read the owner it is not told who that is.
    let path = "/operator/companies/other/policies";
    let mut policies = json!({ "verifies": false, "read": "own" });
    for name in ["password", "profile", "identity", "status", "link", "erase"] {
        policies[name] = json!("own");
    }
    node.operate("PUT", path, Some(&policies)).done(200);
    let answer = other.call("POST", "/v1/users", mail("verified"));
    problem(&answer, 409, "identity_taken");
    assert_eq!(answer.body["user_id"], Value::Null);
}

#[test]
fn the_last_identity_stays() {
    let (node, shop) = house();
    let user = shop.register(json!({
        "country": "NG", "email": "a@example.com", "phone": "0803 123 4567", "password": MARK,
    }));
    let path = |kind: &str| format!("/v1/users/{user}/identities/{kind}");
    shop.call("DELETE", &format!("{}/0803%20123%204567?country=NG", path("phone")), Value::Null)
        .done(200);
    let untouched = Untouched::of(&node);
    let answer = shop.call("DELETE", &format!("{}/A%40EXAMPLE.com", path("email")), Value::Null);
    problem(&answer, 409, "last_identity");
    let again = shop.call("DELETE", &path("phone"), json!({ "value": "+2348031234567" }));
    problem(&again, 404, "not_found");
    untouched.holds();
    assert_eq!(shop.user(&user)["identities"].as_array().unwrap().len(), 1);
    shop.login("NG", "a@example.com", MARK).done(200);
    // What was released is free, and claiming something else frees the last one.
    shop.register(json!({ "country": "NG", "phone": "+2348031234567" }));
    shop.call("PUT", &path("email"), json!({ "value": "b@example.com" })).done(200);
    shop.call("DELETE", &path("email"), json!({ "value": "a@example.com" })).done(200);
    shop.login("NG", "a@example.com", MARK).refused(401, "invalid_credentials");
    shop.login("NG", "b@example.com", MARK).done(200);
}

fn fields(count: usize) -> Map<String, Value> {
    (0..count).map(|number| (format!("f{number}"), json!(number))).collect()
}

#[test]
fn profiles_are_bounded_by_number_name_and_size() {
    let (node, shop) = house();
    let user = shop.register(json!({ "country": "NG", "email": "a@example.com" }));
    let one = format!("/v1/users/{user}");
    let untouched = Untouched::of(&node);
    let new =
        |profile: Value| json!({ "country": "NG", "email": "b@example.com", "profile": profile });
    let too_many = Value::Object(fields(65));
    let answer = shop.call("POST", "/v1/users", new(too_many.clone()));
    wrong_field(&answer, "profile", "too_many");
    wrong_field(&shop.call("PATCH", &one, json!({ "profile": too_many })), "profile", "too_many");
    let text = |bytes: usize| "x".repeat(bytes - 2);
    let list = json!([text(2048), text(2048)]);
    assert!(list.to_string().len() > 4096);
    for value in [json!(text(4097)), list] {
        let answer = shop.call("POST", "/v1/users", new(json!({ "a": value })));
        wrong_field(&answer, "profile.a", "too_long");
        let patch = json!({ "profile": { "a": value, "b": 1 } });
        wrong_field(&shop.call("PATCH", &one, patch), "profile.a", "too_long");
    }
    let longest = "x".repeat(64);
    for name in ["", "A", "1a", "_a", "a-b", "a.b", "caf\u{e9}", "a b", "a\0", &"x".repeat(65)] {
        let shown: String =
            name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(64).collect();
        let field = format!("profile.{shown}");
        let mut profile = Map::new();
        profile.insert(name.to_owned(), json!(MARK));
        profile.insert("fine".to_owned(), json!(1));
        let answer = shop.call("POST", "/v1/users", new(Value::Object(profile.clone())));
        wrong_field(&answer, &field, "invalid_name");
        wrong_field(
            &shop.call("PATCH", &one, json!({ "profile": profile })),
            &field,
            "invalid_name",
        );
    }
    let answer = shop.call("POST", "/v1/users", new(json!({ "a": null, "b": 1 })));
    wrong_field(&answer, "profile.a", "null");
    untouched.holds();
    assert_eq!(shop.user(&user)["profile"], json!({}));

    // At the bounds everything is taken, and a removal makes room.
    let mut most = fields(63);
    most.insert(longest.clone(), json!(text(4096)));
    shop.call("PATCH", &one, json!({ "profile": most })).done(200);
    assert_eq!(shop.user(&user)["profile"], Value::Object(most.clone()));
    let untouched = Untouched::of(&node);
    let answer = shop.call("PATCH", &one, json!({ "profile": { "one_more": 1, "f0": MARK } }));
    wrong_field(&answer, "profile", "too_many");
    untouched.holds();
    assert_eq!(shop.user(&user)["profile"], Value::Object(most));
    shop.call("PATCH", &one, json!({ "profile": { "one_more": 1, "f0": null } })).done(200);
    assert_eq!(shop.user(&user)["profile"].as_object().unwrap().len(), 64);
}

#[test]
fn a_write_on_what_is_no_longer_so_is_refused() {
    let (node, shop) = house();
    let user =
        shop.register(json!({ "country": "NG", "email": "a@example.com", "password": MARK }));
    let one = format!("/v1/users/{user}");
    let first = shop.user(&user)["revision"].clone();
    let patch = |value: &str, revision: &Value| {
        let body = json!({ "profile": { "a": value }, "if_revision": revision });
        shop.call("PATCH", &one, body)
    };
    patch("one", &first).done(200);
    let untouched = Untouched::of(&node);
    let now = shop.user(&user)["revision"].clone();
    let answer = patch(MARK, &first);
    problem(&answer, 412, "revision_mismatch");
    assert_eq!(answer.body["revision"], now, "the revision that would do is told");
    for bad in ["", "0", "\"", "x", "ffffffffffffffff", "-1"] {
        wrong_field(&patch(MARK, &json!(bad)), "if_revision", "invalid");
    }
    untouched.holds();
    assert_eq!(shop.user(&user)["profile"], json!({ "a": "one" }));
    patch("two", &now).done(200);
    // A change of anything else of the user counts as well.
    let seen = shop.user(&user)["revision"].clone();
    shop.call("PUT", &password_path(&user), json!({ "password": "other" })).done(200);
    problem(&patch(MARK, &seen), 412, "revision_mismatch");
}

#[test]
fn a_history_is_read_in_pages_and_only_by_its_own_cursors() {
    let (node, shop) = house();
    let user =
        shop.register(json!({ "country": "NG", "email": "a@example.com", "password": MARK }));
    let one = format!("/v1/users/{user}");
    for number in 0..7 {
        shop.call("PATCH", &one, json!({ "profile": { "a": number } })).done(200);
    }
    let untouched = Untouched::of(&node);
    let page = |query: &str| shop.call("GET", &format!("{one}/history{query}"), Value::Null);
    let whole = page("").done(200).body.clone();
    let events = whole["events"].as_array().unwrap().clone();
    assert_eq!(whole["has_more"], json!(false));
    assert_eq!(events.last().unwrap()["about"], json!(["a"]));
    for limit in [1, 2, 5, events.len(), 1000] {
        let (mut walked, mut after) = (Vec::new(), String::new());
        loop {
            let answer = page(&format!("?limit={limit}{after}"));
            let part = &answer.done(200).body;
            let got = part["events"].as_array().unwrap();
            assert!(got.len() <= limit);
            walked.extend(got.iter().cloned());
            after = format!("&after={}", part["next"].as_str().unwrap());
            if part["has_more"] == json!(false) {
                break;
            }
            assert_eq!(got.len(), limit);
        }
        assert_eq!(walked, events, "in pages of {limit}");
        let end = page(&format!("?limit={limit}{after}"));
        assert_eq!(end.done(200).body["events"], json!([]));
    }
    for bad in ["", "x", "-1", "%00", "g000000000000000", "10000000000000000", "%2B5"] {
        problem(&page(&format!("?after={bad}")), 400, "invalid_cursor");
    }
    for bad in ["0", "1001", "-1", "x", "", "1e2", "99999999999999999999"] {
        wrong_field(&page(&format!("?limit={bad}")), "limit", "out_of_range");
    }
    // A cursor far beyond the end is one that finds nothing.
    let far = page("?after=ffffffffffffffff");
    assert!(far.status == 400 || far.body["events"] == json!([]), "answered: {}", far.text);
    let unknown = page(&format!("?since={MARK}"));
    assert_eq!(unknown.status / 100, 4);
    untouched.holds();
}
