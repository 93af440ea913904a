//! Every format that companies bring, through the socket: hostile ones stay outside, the doctor
//! says how the others were made, and a login over very many of them is bounded.

use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::node::{Answer, Company, Node};
use crate::problem::{MARK, Untouched, problem};

const PASSWORD: &str = "correct horse battery staple";

fn put(shop: &Company, user: &str, country: &str, given: Value) -> Answer {
    shop.call("PUT", &format!("/v1/users/{user}/legacy-hashes/{country}"), given)
}

fn declare(shop: &Company, country: &str, name: &str, profile: &Value) {
    let path = format!("/v1/hash-profiles/{country}/{name}");
    shop.call("PUT", &path, profile.clone()).done(200);
}

fn probe(shop: &Company, specimen: Value) -> Answer {
    shop.call("POST", "/v1/hash-profiles/probe", specimen)
}

/// Each of its own format, asking for more work or memory than is given.
fn too_expensive() -> Vec<String> {
    let (salt, key) = ("c2FsdFNBTFRzYWx0U0FMVA", "K+U/eB0rAhZVJmMc+1H25N1xrFwI5kbmMHfwYlBaJu0");
    let keycloak = |data: &str| {
        json!({ "secretData": { "value": key, "salt": salt }, "credentialData": data }).to_string()
    };
    vec![
        "$2y$31$abcdefghijklmnopqrstuuGGgFFcYeueaAql8Z7U7CnCTRw4DR77W".to_owned(),
        "$wp$2y$15$abcdefghijklmnopqrstuuGGgFFcYeueaAql8Z7U7CnCTRw4DR77W".to_owned(),
        format!("$argon2id$v=19$m=4194304,t=1,p=1${salt}${key}"),
        format!("$argon2id$v=19$m=65537,t=1,p=1${salt}${key}"),
        format!("$argon2i$v=19$m=1024,t=4294967295,p=1${salt}${key}"),
        format!("$argon2d$m=1024,t=1,p=99999999999999999999${salt}${key}"),
        format!("argon2$argon2id$v=19$m=4194304,t=1,p=1${salt}${key}"),
        format!("scrypt$1048576$salt$8$1${key}="),
        format!("scrypt$16384$salt$4096$1${key}="),
        format!("scrypt$16384$salt$8$11${key}="),
        format!("pbkdf2_sha256$2147483648$salt${key}="),
        format!("pbkdf2_sha256$2000001$salt${key}="),
        format!("$pbkdf2-sha256$99999999999${salt}${}", key.replace('+', ".")),
        "$5$rounds=2147483648$salt$ckgXiXIbrLYPGoolJiismKTreYgpk9AVgbhIYI0uoGC".to_owned(),
        format!("$6$rounds=999999999$salt${}", "a".repeat(86)),
        "$sha1$2147483648$saltSALT$gmcI.P/qD8RSxiV2euI8Pf.1GlkV".to_owned(),
        "$P$SabcdEFGHOLnSzOk6FdLpLPq203S/E.".to_owned(),
        "$S$SabcdEFGHrGO/LGf6cuST/DdOCqLQEY516kh8aDcb6EK5NofD6iE".to_owned(),
        "U$S$SabcdEFGHrGO/LGf6cuST/DdOCqLQEY516kh8aDcb6EK5NofD6iE".to_owned(),
        "$y$jFT$saltSALTsaltSALT1234$ulOcpfnEB8CVY/XjJtcrx6wlAzEstTwHC/fqKU2jH/3".to_owned(),
        "$y$j9T/8$saltSALTsaltSALT1234$ulOcpfnEB8CVY/XjJtcrx6wlAzEstTwHC/fqKU2jH/3".to_owned(),
        "$7$zU..../....saltSALT$jBPQ84UwziSOucuXE9IPSiKbX5cHmkzoQ9Ab2BFxbp8".to_owned(),
        format!("{}:salt:3_32_2_4398046511104", "6a".repeat(32)),
        format!("{}:salt:0:0:0:0:0", "6a".repeat(16)),
        format!("{{CRYPT}}$6$rounds=2000000$salt${}", "a".repeat(86)),
        keycloak(r#"{"hashIterations":2147483648,"algorithm":"pbkdf2-sha256"}"#),
    ]
}

/// Each of its own format, and not a hash of it.
fn malformed() -> Vec<String> {
    let good = "$2y$10$abcdefghijklmnopqrstuuGGgFFcYeueaAql8Z7U7CnCTRw4DR77W";
    vec![
        good.replace("$2y$", "$2x$"),
        good[..59].to_owned(),
        format!("$wp{}", good.replace("$2y$", "$2x$")),
        format!("bcrypt${}", &good[..50]),
        format!("argon2{good}"),
        "!".to_owned(),
        "$argon2id$v=19$m=8192,t=2,p=1$c2FsdFNBTFRzYWx0U0FMVA$".to_owned(),
        "$argon2id$v=19$m=8192,t=2,p=1$c2FsdFNBTFRzYWx0U0FMVA".to_owned(),
        "$argon2id$v=19$m=8192,t=2,p=1$c2Fs$K+U/eB0rAhZVJmMc+1H25N1xrFwI5kbmMHfwYlBaJu0".to_owned(),
        "$argon2id$v=18$m=8192,t=2,p=1$c2FsdFNBTFRzYWx0U0FMVA$K+U/eB0rAhZVJmMc+1H25A".to_owned(),
        "$argon2x$v=19$m=8192,t=2,p=1$c2FsdFNBTFRzYWx0U0FMVA$K+U/eB0rAhZVJmMc+1H25A".to_owned(),
        "$argon2id$v=19$m=-1,t=2,p=1$c2FsdFNBTFRzYWx0U0FMVA$K+U/eB0rAhZVJmMc+1H25A".to_owned(),
        "scrypt$16383$salt$8$1$30SXN64CqHhJaCe0VN7Ucb9fjP/1B881QKa0AVJ5OaM=".to_owned(),
        "scrypt$0$salt$8$1$30SXN64CqHhJaCe0VN7Ucb9fjP/1B881QKa0AVJ5OaM=".to_owned(),
        "pbkdf2_sha256$0$salt$XEALm2h2GZ98IVpl4IIQKxp7DRF98pqGM2KeccSYxzs=".to_owned(),
        "pbkdf2_sha256$1000$salt$XEALm2h2GZ98IVpl4II=".to_owned(),
        "pbkdf2_sha512$1000$salt$XEALm2h2GZ98IVpl4IIQKxp7DRF98pqGM2KeccSYxzs=".to_owned(),
        "$pbkdf2-sha512$25000$c2FsdA$c2FsdA".to_owned(),
        "$1$longsaltlong$OmAchJ/i5SmOrTe9uxr/Q0".to_owned(),
        "$1$saltSALT$OmAchJ/i5SmOrTe9uxr/Q".to_owned(),
        "$apr1$saltSALT$".to_owned(),
        "$5$rounds=$salt$ckgXiXIbrLYPGoolJiismKTreYgpk9AVgbhIYI0uoGC".to_owned(),
        "$6$saltSALTsaltSALT$IzKYcodoqGnbi/6aagep30Iz9WMwcCvVEorjjJ61FtZXXbi5Oyflz4".to_owned(),
        "$sha1$0$saltSALT$gmcI.P/qD8RSxiV2euI8Pf.1GlkV".to_owned(),
        "$P$4abcdEFGHOLnSzOk6FdLpLPq203S/E.".to_owned(),
        "$P$BabcdEFGHOLnSzOk6FdLpLPq203S/E".to_owned(),
        "$S$DabcdEFGHrGO/LGf6cuST/DdOCqLQEY516kh8aDcb6EK5NofD6i~".to_owned(),
        "$y$jzzzzT$saltSALTsaltSALT1234$ulOcpfnEB8CVY/XjJtcrx6wlAzEstTwHC/fqKU2jH/3".to_owned(),
        "$y$j9T$salt".to_owned(),
        "$y$j9T$saltSALTsaltSALT1234$ulOcpfnEB8CVY".to_owned(),
        "$gy$j9T$saltSALTsaltSALT1234$ulOcpfnEB8CVY/XjJtcrx6wlAzEstTwHC/fqKU2jH/3".to_owned(),
        "$7$".to_owned(),
        "{SSHA}aSXp".to_owned(),
        "{SHA}aSXprXtsDmxCeOIYRMivgXV90wUBAgMEc2FMVA==".to_owned(),
        "{CRYPT}abJnggxhB/yWI".to_owned(),
        "{CRYPT}{CRYPT}$1$saltSALT$OmAchJ/i5SmOrTe9uxr/Q0".to_owned(),
        "{SHA256}zz:salt".to_owned(),
        format!("{}:salt:4", "6a".repeat(32)),
        format!("{}::2", "6a".repeat(32)),
        format!("{}:salt:3_32_2", "6a".repeat(32)),
        "{\"credentialData\":1}".to_owned(),
        "{\"credentialData\":{},\"secretData\":{}}".to_owned(),
        format!("md5$salt${}", "z".repeat(32)),
        "9cc2ae8a1ba7a93da39b46fc1019c481".to_owned(),
        MARK.to_owned(),
        "p\u{e4}ssword".to_owned(),
        format!("{good}\u{e4}"),
        format!("$6${}$x", "s".repeat(2000)),
    ]
}

#[test]
fn hostile_hashes_of_every_format_are_refused_with_their_code() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let user =
        shop.register(json!({ "country": "NG", "email": "a@example.com", "password": "own" }));
    let untouched = Untouched::of(&node);
    let all = too_expensive().into_iter().map(|hash| (hash, "hash_cost_out_of_bounds"));
    for (hash, code) in all.chain(malformed().into_iter().map(|hash| (hash, "unsupported_hash"))) {
        let answer = put(&shop, &user, "NG", json!({ "hash": hash }));
        assert_eq!((answer.status, answer.code()), (422, code), "{hash}: {}", answer.text);
        problem(&answer, 422, code);
    }
    let salt = "s".repeat(60_000);
    let salted = json!({ "hash": "9cc2ae8a1ba7a93da39b46fc1019c481", "salt": salt });
    problem(&put(&shop, &user, "NG", salted), 422, "unsupported_hash");
    untouched.holds();
}

#[test]
fn hostile_profiles_are_refused() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    for profile in [
        json!({ "scheme": "symfony-message-digest", "iterations": 2_147_483_648_u32 }),
        json!({ "scheme": "symfony-message-digest", "iterations": 0 }),
        json!({ "scheme": "symfony-pbkdf2", "length": 4096 }),
        json!({ "scheme": "authlogic", "stretches": 1_000_001 }),
        json!({ "scheme": "firebase-scrypt" }),
        json!({ "scheme": "firebase-scrypt", "signer_key": "AA==", "mem_cost": 30 }),
        json!({ "scheme": "firebase-scrypt", "signer_key": "AA==", "rounds": 4096 }),
        json!({ "scheme": "firebase-scrypt", "signer_key": format!("{MARK}!") }),
        json!({ "scheme": "nopcommerce", "digest": MARK }),
        json!({ "scheme": "prestashop" }),
        json!({ "scheme": "devise", "stretches": 11 }),
    ] {
        let answer = shop.call("PUT", "/v1/hash-profiles/NG/default", profile);
        problem(&answer, 422, "invalid_fields");
    }
    // PBKDF2's bound is the operator's, so that hash is refused, not its profile.
    let profile = json!({ "scheme": "symfony-pbkdf2", "iterations": 4_000_000_000_u32 });
    declare(&shop, "NG", "default", &profile);
    let user = shop.register(json!({ "country": "NG", "email": "a@example.com" }));
    let hash = "3Q6inLjpsrRx0HzH56Lr62SkBXldigkF78Ixy9zKQVtvuPlMiZDlCQ==";
    let given = json!({ "hash": hash, "salt": "s4ltS4lt" });
    problem(&put(&shop, &user, "NG", given), 422, "hash_cost_out_of_bounds");
}

#[test]
fn an_operator_may_let_in_more_memory_and_iterations() {
    let mut node =
        Node::started(&[("hash.argon2_max_mib", "100"), ("hash.pbkdf2_max_iterations", "3000000")]);
    let shop = node.company("shop", &["NG", "KE"]);
    let email = "a@example.com";
    let user = shop.register(json!({ "country": "NG", "email": email }));
    let django = "argon2$argon2id$v=19$m=102400,t=2,p=8$c2FsdFNBTFRzYWx0U0FMVA$\
        K+U/eB0rAhZVJmMc+1H25N1xrFwI5kbmMHfwYlBaJu0";
    put(&shop, &user, "NG", json!({ "hash": django })).done(200);
    let iterated = "pbkdf2_sha256$3000000$salt$XEALm2h2GZ98IVpl4IIQKxp7DRF98pqGM2KeccSYxzs=";
    put(&shop, &user, "KE", json!({ "hash": iterated })).done(200);
    // A node that lets in less leaves them out, and goes on to the others.
    node.set("hash.argon2_max_mib", "64");
    node.set("hash.pbkdf2_max_iterations", "2000000");
    node.stop();
    node.start();
    let shop = shop.at(&node);
    shop.login("NG", email, PASSWORD).refused(401, "invalid_credentials");
    put(&shop, &user, "KE", json!({ "hash": bcrypt::hash(PASSWORD, 4).unwrap() })).done(200);
    shop.login("NG", email, PASSWORD).done(200);
}

/// What the doctor finds for a hash is declared, and the hash with it logs in.
#[test]
fn what_the_doctor_finds_logs_in() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let specimens = [
        (json!({ "hash": "1602c7c51922e88d5876d58985ddb39f:aB" }), "magento1"),
        (
            json!({
                "hash": "65f090dd16df27ccb5ee25cb84b96595",
                "pepper": "COOKIEKEYabcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKL",
            }),
            "prestashop",
        ),
        (
            json!({ "hash": "468caa805239a1a49e5003917e9658c74a44b8a1", "salt": "aB3dE6gH9" }),
            "opencart",
        ),
        (json!({ "hash": "9cc2ae8a1ba7a93da39b46fc1019c481" }), "digest"),
        (json!({ "hash": "$P$BabcdEFGHOLnSzOk6FdLpLPq203S/E." }), "phpass"),
    ];
    for (index, (mut specimen, scheme)) in specimens.into_iter().enumerate() {
        let (hash, salt) = (specimen["hash"].clone(), specimen["salt"].clone());
        specimen["password"] = json!(PASSWORD);
        let answer = probe(&shop, specimen);
        let found = &answer.done(200).body;
        assert_eq!(found["complete"], json!(true), "{found}");
        let best = &found["profiles"][0];
        assert_eq!(best["profile"]["scheme"], json!(scheme), "{found}");
        assert_eq!(best["needed"], json!(scheme != "phpass"), "{found}");
        let name = format!("profile-{index}");
        declare(&shop, "NG", &name, &best["profile"]);
        let email = format!("user{index}@example.com");
        let user = shop.register(json!({ "country": "NG", "email": email }));
        let mut given = json!({ "hash": hash, "profile": name });
        if salt.is_string() {
            given["salt"] = salt;
        }
        put(&shop, &user, "NG", given).done(200);
        shop.login("NG", &email, "another password").refused(401, "invalid_credentials");
        assert_eq!(shop.login("NG", &email, PASSWORD).done(200).body["upgraded"], json!(true));
    }
}

#[test]
fn the_doctor_says_what_it_cannot_tell() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let md5 = "9cc2ae8a1ba7a93da39b46fc1019c481";
    let untouched = Untouched::of(&node);
    let unmatched = probe(&shop, json!({ "hash": md5, "password": "another" }));
    assert_eq!(unmatched.done(200).body, json!({ "profiles": [], "complete": true }));
    // Two shops compute the same.
    let several = probe(&shop, json!({ "hash": format!("{md5}:"), "password": PASSWORD }));
    let several = several.done(200).body["profiles"].as_array().unwrap().len();
    assert!(several > 1);
    let refused = |specimen: Value, code: &str| problem(&probe(&shop, specimen), 422, code);
    refused(json!({ "hash": MARK, "password": MARK }), "unsupported_hash");
    let hash = "$2y$31$abcdefghijklmnopqrstuuGGgFFcYeueaAql8Z7U7CnCTRw4DR77W";
    refused(json!({ "hash": hash, "password": MARK }), "hash_cost_out_of_bounds");
    refused(json!({ "hash": md5 }), "invalid_fields");
    refused(json!({ "hash": md5, "password": MARK, "more": 1 }), "invalid_fields");
    untouched.holds();
    let issued = json!({ "scopes": ["login", "read", "write"] });
    let issued = node.operate("POST", "/operator/companies/shop/keys", Some(&issued));
    let key = issued.done(201).body["api_key"].as_str().unwrap().to_owned();
    let without = Company { key, ..shop.clone() };
    let specimen = json!({ "hash": md5, "password": MARK });
    problem(&probe(&without, specimen), 403, "scope_missing");
}

#[test]
fn the_command_line_asks_the_doctor() {
    let node = Node::started(&[]);
    let ask = |arguments: &[&str], input: &str| {
        let mut command = node.command(&["hash-profile", "probe"]);
        command.args(arguments).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let ran = child.wait_with_output().unwrap();
        let said = String::from_utf8(ran.stderr).unwrap();
        (ran.status.code().unwrap(), serde_json::from_slice::<Value>(&ran.stdout), said)
    };
    let peppered = ["65f090dd16df27ccb5ee25cb84b96595", "--pepper"];
    let lines = format!("{PASSWORD}\nCOOKIEKEYabcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKL\n");
    let (code, found, said) = ask(&peppered, &lines);
    assert_eq!(code, 0, "{said}");
    assert_eq!(found.unwrap()["profiles"][0]["profile"]["scheme"], json!("prestashop"));
    let salted = ["468caa805239a1a49e5003917e9658c74a44b8a1", "--salt", "aB3dE6gH9"];
    let (code, found, _) = ask(&salted, PASSWORD);
    assert_eq!(
        (code, found.unwrap()["profiles"][0]["profile"]["scheme"].clone()),
        (0, json!("opencart"))
    );
    let (code, _, said) = ask(&["9cc2ae8a1ba7a93da39b46fc1019c481"], "another\n");
    assert_eq!(code, 1);
    assert!(said.contains("no profile verifies"), "{said}");
    let (code, _, said) = ask(&peppered, PASSWORD);
    assert_eq!(code, 1);
    assert!(said.contains("pepper"), "{said}");
}

const COUNTRIES: [&str; 22] = [
    "NG", "KE", "GH", "ZA", "EG", "MA", "TN", "DZ", "SN", "CI", "CM", "UG", "TZ", "RW", "ET", "ZM",
    "ZW", "BW", "NA", "MZ", "AO", "BJ",
];

/// A bcrypt hash that no password is known to have; each number gives another.
fn unknown_bcrypt(number: usize) -> String {
    let digest = format!("{number:04}GFcYeueaAql8Z7U7CnCTRw4D77e");
    assert_eq!(digest.len(), 31);
    format!("$2y$10$abcdefghijklmnopqrstuu{digest}")
}

#[test]
fn a_login_over_198_bcrypt_hashes_stays_within_its_budget() {
    let quantum = Duration::from_secs(1);
    let node = Node::started(&[
        // Of bcrypts at cost 10 it is enough for five.
        ("hash.verify_budget_ms", "300"),
        ("hash.failure_quantum_ms", "1000"),
    ]);
    let shops: Vec<_> = (0..9)
        .map(|number| {
            let shop = node.company(&format!("shop{number}"), &COUNTRIES);
            node.trust(&shop);
            shop
        })
        .collect();
    let (first, last) = (&shops[0], &shops[8]);
    let email = "a@example.com";
    let user = first.register(json!({ "country": "NG", "email": email }));
    for (number, (shop, country)) in
        shops.iter().flat_map(|shop| COUNTRIES.map(|country| (shop, country))).enumerate()
    {
        let hash = match (shop.id.as_str(), country) {
            ("shop8", "BJ") => bcrypt::hash("of the last", 10).unwrap(),
            ("shop4", "SN") => bcrypt::hash("beyond the budget", 11).unwrap(),
            _ => unknown_bcrypt(number),
        };
        put(shop, &user, country, json!({ "hash": hash })).done(200);
    }
    let failed = |shop: &Company, country: &str, email: &str, password: &str| {
        let started = Instant::now();
        shop.login(country, email, password).refused(401, "invalid_credentials");
        started.elapsed()
    };
    let wrong = failed(first, "NG", email, "wrong");
    let unknown = failed(first, "NG", "nobody@example.com", "wrong");
    assert!(wrong >= quantum && unknown >= quantum, "{wrong:?} {unknown:?}");
    // Right ones, where the budget does not reach them: so it is not exceeded, however long a busy
    // machine takes for it. The last one's own is the first that is tried.
    failed(first, "NG", email, "beyond the budget");
    failed(first, "NG", email, "of the last");
    failed(last, "NG", email, "of the last");
    assert_eq!(last.login("BJ", email, "of the last").done(200).body["upgraded"], json!(true));
    // Now it is the password, everywhere.
    assert_eq!(first.login("NG", email, "of the last").done(200).body["upgraded"], json!(false));
}

#[test]
fn cheap_hashes_are_tried_before_the_budget_is_spent_and_equal_ones_count_once() {
    let node = Node::started(&[("hash.verify_budget_ms", "300")]);
    let shop = node.company("shop", &COUNTRIES);
    let other = node.company("other", &["NG"]);
    node.trust(&other);
    declare(&shop, "BJ", "default", &json!({ "scheme": "magento1" }));
    let import = |email: &str, hash_of: &dyn Fn(usize, &str) -> String| {
        let user = shop.register(json!({ "country": "NG", "email": email }));
        for (number, country) in COUNTRIES.into_iter().enumerate() {
            put(&shop, &user, country, json!({ "hash": hash_of(number, country) })).done(200);
        }
    };
    import("cheap@example.com", &|number, country| match country {
        "BJ" => "1602c7c51922e88d5876d58985ddb39f:aB".to_owned(),
        _ => unknown_bcrypt(number),
    });
    other.login("NG", "cheap@example.com", PASSWORD).done(200);
    let right = bcrypt::hash("right", 10).unwrap();
    import("equal@example.com", &|_, country| match country {
        "BJ" => right.clone(),
        _ => unknown_bcrypt(0),
    });
    other.login("NG", "equal@example.com", "right").done(200);
}
