//! Nothing personal and nothing secret is anywhere but in answers to those who may have it: not in
//! the log, the state, what the program writes, the metrics, a refusal. And a leak would be found.

use base64::Engine as _;
use serde_json::{Value, json};

use crate::leak::{Scanner, Secret, forms};
use crate::node::{Answer, Company, Node, files_below};
use crate::problem::raw;

const PASSWORDS: [&str; 5] = [
    "Kormoran-7-Tiefseeanker",
    "Plankton&Quitte 99 \u{fc}ber",
    "Wrong-Horse???>>>~~~-4711",
    "Zimtschnecke+Pfefferm\u{fc}hle",
    "Leuchtturm_W\u{e4}rter_1889",
];
const EMAILS: [&str; 4] = [
    "Adaeze.Okonkwo-Canary@Quokka-Mail.example",
    "second.canary.address@quokka-mail.example",
    "nobody.knows.this@quokka-mail.example",
    "j\u{fc}rgen.kanarienvogel@b\u{fc}cher-quokka.example",
];
const NAMES: [&str; 4] =
    ["Adaeze-Quokkabert", "Ngozi Canaryfeather", "Kanarienweg 17, Enugu", "1987-03-14-birthday"];
const PEPPER: &str = "Pfeffer-und-Salz-canary-0815";
const SALT: &str = "sAlTcAnArY42";
const IDEMPOTENCY_KEY: &str = "canary-order-4711-first-try";

/// A phone number in every way it is written.
fn phone(country: &str, groups: [&str; 3]) -> Vec<String> {
    let national = groups.concat();
    let mut written = vec![
        format!("+{country}{national}"),
        format!("{country}{national}"),
        format!("00{country}{national}"),
        format!("0{national}"),
        national,
    ];
    for between in [" ", "-", ".", ""] {
        written.push(format!("+{country} {}", groups.join(between)));
        written.push(format!("0{}", groups.join(between)));
        written.push(format!("(0{}) {}", groups[0], groups[1..].join(between)));
    }
    written
}

fn secret(name: &str, text: &str) -> Secret {
    Secret { name: name.to_owned(), text: text.to_owned(), digest: true }
}

/// What people and companies entrusted.
fn entrusted(hashes: &[String]) -> Vec<Secret> {
    let mut secrets = Vec::new();
    secrets.extend(PASSWORDS.iter().map(|text| secret("a password", text)));
    secrets.extend(NAMES.iter().map(|text| secret("a name", text)));
    for email in EMAILS {
        secrets.push(secret("an e-mail address", email));
        secrets.push(secret("what is before the @", email.split('@').next().unwrap()));
    }
    secrets.push(secret("an address in ASCII", "xn--bcher-quokka"));
    for number in [phone("234", ["803", "777", "4129"]), phone("49", ["171", "552", "9038"])] {
        secrets.extend(number.iter().map(|text| secret("a phone number", text)));
    }
    secrets.push(secret("a pepper", PEPPER));
    secrets.push(secret("a salt", SALT));
    secrets.push(secret("an idempotency key", IDEMPOTENCY_KEY));
    for hash in hashes {
        secrets.push(secret("a legacy hash", hash));
        secrets.push(secret("a legacy hash's end", &hash[hash.len().saturating_sub(24)..]));
    }
    secrets
}

/// Magento 1's way: MD5 of salt and password, and the salt behind a colon.
fn hashes() -> Vec<String> {
    use md5::Digest as _;
    let salted = format!("{PEPPER}{SALT}{}", PASSWORDS[3]);
    vec![
        bcrypt::hash(PASSWORDS[3], 4).unwrap(),
        bcrypt::hash(PASSWORDS[4], 4).unwrap(),
        format!("{}:{SALT}", hex::encode(md5::Md5::digest(salted))),
    ]
}

/// A text as a part of a path, every byte escaped.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |path, byte| path + &format!("%{byte:02x}"))
}

/// Does with a node everything that anything personal goes into. Returns what must be clean of it:
/// the refusals and what is for everybody to read.
fn use_everything(node: &Node, shop: &Company, hashes: &[String]) -> Vec<Answer> {
    let mut kept = Vec::new();
    let profile = json!({ "scheme": "magento1", "pepper": PEPPER });
    shop.call("PUT", "/v1/hash-profiles/NG/canary", profile).done(200);
    kept.push(shop.call("GET", "/v1/hash-profiles/NG/canary", Value::Null));
    let user = shop.register(json!({
        "country": "NG", "email": EMAILS[0], "phone": "0803 777 4129", "password": PASSWORDS[0],
        "profile": { "given_name": NAMES[0], "address": { "street": NAMES[2], "of": [NAMES[1]] } },
    }));
    let one = format!("/v1/users/{user}");
    let put = |part: &str, body: Value| shop.call("PUT", &format!("{one}/{part}"), body);
    shop.login("NG", EMAILS[0], PASSWORDS[0]).done(200);
    kept.push(shop.login("NG", EMAILS[0], PASSWORDS[2]));
    kept.push(shop.login("NG", EMAILS[2], PASSWORDS[2]));
    shop.call("PATCH", &one, json!({ "profile": { "birthdate": NAMES[3], "given_name": null } }))
        .done(200);
    put("password", json!({ "password": PASSWORDS[1], "current_password": PASSWORDS[0] }))
        .done(200);
    kept.push(put("password", json!({ "password": "x", "current_password": PASSWORDS[2] })));
    put("identities/email", json!({ "value": EMAILS[1] })).done(200);
    put("identities/phone", json!({ "value": "+49 171 552 9038" })).done(200);
    let released = format!("{one}/identities/phone/%2B49%20171%205529038");
    shop.call("DELETE", &released, Value::Null).done(200);
    let body = json!({ "country": "NG", "email": EMAILS[3], "legacy_hash": { "hash": hashes[0] } });
    let key = [("Idempotency-Key", IDEMPOTENCY_KEY)];
    let registered = shop.call_raw("POST", "/v1/users", &key, Some(&body.to_string()));
    let old = registered.done(201).body["user_id"].as_str().unwrap().to_owned();
    let other = json!({ "country": "NG", "email": EMAILS[2] }).to_string();
    kept.push(shop.call_raw("POST", "/v1/users", &key, Some(&other)));
    shop.login("NG", EMAILS[3], PASSWORDS[3]).done(200);
    let slot = format!("/v1/users/{old}/legacy-hashes/NG");
    let now = jiff::Timestamp::now().to_string();
    shop.call("PUT", &slot, json!({ "hash": hashes[1], "changed_at": now })).done(200);
    shop.login("NG", EMAILS[3], PASSWORDS[4]).done(200);
    let import = json!({ "hash": hashes[2], "profile": "canary" });
    shop.call("PUT", &slot, import.clone()).done(200);
    kept.push(shop.call("GET", &format!("{one}/history"), Value::Null));

    // Refusals of everything, with the secrets where they do not belong.
    let all = EMAILS.iter().chain(&PASSWORDS).chain(&NAMES).chain([&PEPPER, &SALT]);
    for text in all {
        let body = json!({ "country": "NG", "email": text, "email_verified": text });
        kept.push(shop.call("POST", "/v1/users", body));
        kept.push(shop.call(
            "POST",
            "/v1/users",
            json!({ "country": text, text.to_owned(): text }),
        ));
        kept.push(shop.call_raw("POST", "/v1/login", &[], Some(&format!("{{\"password\":{text}"))));
        kept.push(put("status", json!({ "status": text })));
        let profile = json!({ "scheme": text, "pepper": text });
        kept.push(shop.call("PUT", "/v1/hash-profiles/NG/other", profile));
        let profile = json!({ "scheme": "digest", "rounds": text, "salt_position": text });
        kept.push(shop.call("PUT", "/v1/hash-profiles/NG/other", profile));
        let given = json!({ "hash": text, "salt": text, "profile": text });
        kept.push(shop.call("PUT", &slot, given));
        let encoded = encoded(text);
        kept.push(shop.call("GET", &format!("/v1/{encoded}"), Value::Null));
        kept.push(shop.call("GET", &format!("/v1/users/{encoded}?after={encoded}"), Value::Null));
        kept.push(shop.call("DELETE", &format!("{one}/identities/{encoded}/x"), Value::Null));
        kept.push(Company { key: (*text).to_owned(), ..shop.clone() }.call(
            "GET",
            &one,
            Value::Null,
        ));
        let broken = format!("GET /{encoded} HTTP/7.7\r\n{text}\r\nX: {text}\r\n\r\n{text}");
        kept.push(raw(node, broken.as_bytes(), true));
    }
    for email in [EMAILS[0], EMAILS[3]] {
        kept.push(shop.call("POST", "/v1/users", json!({ "country": "NG", "email": email })));
    }
    let taken = json!({ "country": "NG", "phone": "+2348037774129" });
    kept.push(shop.call("POST", "/v1/users", taken));
    let succeeded: Vec<_> = kept.iter().filter(|answer| answer.status < 300).collect();
    assert_eq!(
        succeeded.len(),
        2,
        "only the history and the hash profile are shown: {succeeded:?}"
    );
    for path in ["/metrics", "/health/ready", "/health/live", "/operator/companies"] {
        kept.push(node.operate("GET", path, None));
    }
    kept.push(shop.call("GET", "/metrics", Value::Null));
    kept.push(shop.call("GET", "/v1/whoami", Value::Null));
    kept
}

/// Asserts that nothing is found in any file of the data folder, except the operator's token in
/// its own, and in what the node wrote.
fn assert_clean(node: &Node, scanner: &Scanner) {
    let files = files_below(&node.data());
    let bytes: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(files.len() > 5 && bytes > 10_000, "{} files: that is no data folder", files.len());
    for (path, bytes) in files {
        if path.ends_with("operator-token") {
            continue;
        }
        let found = scanner.find(&bytes);
        assert!(found.is_empty(), "{}: {found:?}", path.display());
    }
    for arguments in [
        &["log", "export", "export"][..],
        &["log", "export", "export-with-keys", "--with-keys"],
        &["log", "show"],
        &["log", "show", "--json"],
        &["replay", "jcas-data"],
    ] {
        let (code, shown, said) = node.run(arguments);
        assert_eq!(code, 0, "{arguments:?}: {said}");
        let found = scanner.find((shown + &said).as_bytes());
        assert!(found.is_empty(), "{arguments:?}: {found:?}");
    }
    for name in ["export", "export-with-keys"] {
        let path = node.data().with_file_name(name);
        let found = scanner.find(&std::fs::read(&path).unwrap());
        assert!(found.is_empty(), "{name}: {found:?}");
        std::fs::remove_file(path).unwrap();
    }
    let output = node.output();
    let found = scanner.find(output.as_bytes());
    assert!(found.is_empty(), "the output: {found:?}\n{output}");
}

#[test]
fn nothing_entrusted_is_found_anywhere() {
    let hashes = hashes();
    for format in ["text", "json"] {
        let mut node = Node::new(&[
            ("logging.level", "trace"),
            ("logging.format", format),
            ("state.checkpoint_s", "1"),
            ("metrics.sample_s", "1"),
        ]);
        node.start();
        let shop = node.company("shop", &["NG"]);
        let mut secrets = entrusted(&hashes);
        let key = shop.key.rsplit('_').next().unwrap().to_owned();
        let token = std::fs::read_to_string(node.data().join("operator-token")).unwrap();
        for (name, text) in [("an API key", key), ("the token", token.trim().to_owned())] {
            secrets.push(Secret { name: name.to_owned(), text, digest: false });
        }
        let scanner = Scanner::new(&secrets);
        let kept = use_everything(&node, &shop, &hashes);
        for answer in &kept {
            let headers = answer.headers.iter().map(|(name, value)| format!("{name}: {value}\n"));
            let whole = headers.collect::<String>() + &answer.text;
            let found = scanner.find(whole.as_bytes());
            assert!(found.is_empty(), "{found:?} in an answer: {whole}");
        }
        // The scanner sees what a user's own company is told.
        let lookup = shop.call("POST", "/v1/users/lookup", json!({ "email": EMAILS[1] }));
        let id = lookup.done(200).body["user_id"].as_str().unwrap().to_owned();
        assert!(!scanner.find(shop.user(&id).to_string().as_bytes()).is_empty());
        // As it lies after a kill, after a start that folds, and after a stop.
        node.kill();
        assert_clean(&node, &scanner);
        node.start();
        let again = shop.at(&node);
        again.login("NG", EMAILS[0], PASSWORDS[1]).done(200);
        assert_eq!(node.stop(), 0);
        assert_clean(&node, &scanner);
        // And a leak among the node's files is found.
        let planted = node.data().join("log").join("planted");
        std::fs::write(&planted, format!("..{}..", hex::encode(EMAILS[0].to_lowercase()))).unwrap();
        let leaked = std::panic::catch_unwind(|| assert_clean(&node, &scanner));
        let said = *leaked.unwrap_err().downcast::<String>().unwrap();
        assert!(said.contains("planted") && said.contains("an e-mail address (hex)"), "{said}");
    }
}

#[test]
fn the_scanner_finds_every_form_of_every_secret() {
    let secrets = entrusted(&hashes());
    let scanner = Scanner::new(&secrets);
    let mut names = std::collections::BTreeSet::new();
    for secret in &secrets {
        for (form, bytes) in forms(secret) {
            names.insert(form);
            let leak = [b"\x00\xff some page \x80", bytes.as_slice(), b"\x00 more"].concat();
            let wanted = format!("{} ({form}) at 14", secret.name);
            let found = scanner.find(&leak);
            assert!(found.contains(&wanted), "{wanted} is not among {found:?}");
        }
    }
    let expected = [
        "HEX",
        "base64",
        "base64url",
        "hex",
        "json escapes",
        "lower",
        "percent",
        "percent, all",
        "percent, lower",
        "percent, reserved only",
        "raw",
        "sha-256",
        "sha-256, HEX",
        "sha-256, base64",
        "sha-256, base64url",
        "sha-256, hex",
        "upper",
        "utf-16be",
        "utf-16le",
    ];
    assert_eq!(names.into_iter().collect::<Vec<_>>(), expected);
    assert!(scanner.find(b"nothing of all this, 0803 and example and Kormoran").is_empty());
}

#[test]
fn base64_is_found_wherever_it_begins() {
    let scanner = Scanner::new(&[secret("it", "Kormoran-7-Tiefseeanker")]);
    for before in 0..6 {
        let clear = format!("{}Kormoran-7-Tiefseeanker and more", "x".repeat(before));
        let encoded = base64::engine::general_purpose::STANDARD.encode(clear);
        assert!(!scanner.find(encoded.as_bytes()).is_empty(), "{before} bytes before it");
    }
}
