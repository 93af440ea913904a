//! Keys that open nothing, users that are not there, countries that are not the company's.

use serde_json::{Value, json};

use crate::node::{Company, Node, send, wait_for};
use crate::problem::{MARK, Untouched, problem};

/// One call of each kind on a user.
fn calls(user: &str) -> Vec<(&'static str, String, Value)> {
    let one = format!("/v1/users/{user}");
    let new = json!({ "country": "NG", "email": "new@example.com", "password": MARK });
    let login = json!({ "country": "NG", "user_id": user, "password": MARK });
    let hash = json!({ "hash": "$2y$04$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy" });
    vec![
        ("POST", "/v1/users".to_owned(), new),
        ("POST", "/v1/login".to_owned(), login),
        ("POST", "/v1/users/lookup".to_owned(), json!({ "email": "a@example.com" })),
        ("GET", one.clone(), Value::Null),
        ("GET", format!("{one}/history"), Value::Null),
        ("PATCH", one.clone(), json!({ "profile": { "a": MARK } })),
        ("PUT", format!("{one}/password"), json!({ "password": MARK })),
        ("PUT", format!("{one}/legacy-hashes/NG"), hash),
        ("PUT", format!("{one}/identities/email"), json!({ "value": "b@example.com" })),
        ("DELETE", format!("{one}/identities/phone/+2348031234567"), Value::Null),
        ("PUT", format!("{one}/status"), json!({ "status": "disabled" })),
        ("PUT", "/v1/hash-profiles/NG/other".to_owned(), json!({ "scheme": "magento1" })),
        ("GET", "/v1/hash-profiles/NG/other".to_owned(), Value::Null),
    ]
}

fn register(shop: &Company) -> String {
    shop.register(json!({
        "country": "NG", "email": "a@example.com", "phone": "+2348031234567", "password": MARK,
        "profile": { "given_name": "Ada" },
    }))
}

fn issue(node: &Node, shop: &Company, body: &Value) -> (Company, String) {
    let issued = node.operate("POST", &format!("/operator/companies/{}/keys", shop.id), Some(body));
    let text = |name: &str| issued.done(201).body[name].as_str().unwrap().to_owned();
    (Company { key: text("api_key"), ..shop.clone() }, text("key"))
}

fn set_policies(node: &Node, shop: &Company, changed: &[(&str, &str)]) {
    let mut policies = json!({ "verifies": false });
    for name in ["read", "password", "profile", "identity", "status", "link", "erase"] {
        policies[name] = json!("all");
    }
    for (name, reach) in changed {
        policies[*name] = json!(reach);
    }
    let path = format!("/operator/companies/{}/policies", shop.id);
    node.operate("PUT", &path, Some(&policies)).done(200);
}

#[test]
fn a_key_that_is_none_opens_nothing() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let user = register(&shop);
    let (id, secret) = shop.key.strip_prefix("jcas_").unwrap().split_once('_').unwrap();
    let (other, _) = issue(&node, &shop, &json!({ "scopes": ["read"] }));
    let other_id = other.key.split('_').nth(1).unwrap().to_owned();
    let mut bad = vec![
        String::new(),
        "jcas".to_owned(),
        format!("jcas_{MARK}"),
        format!("jcas__{secret}"),
        format!("jcas_{id}_"),
        format!("jcas_{id}"),
        format!("JCAS_{id}_{secret}"),
        format!("jcas_{id}_{secret}x"),
        format!("jcas_{id}_{}", &secret[..secret.len() - 1]),
        format!("jcas_{id}_{}", secret.to_uppercase()),
        format!("jcas_{other_id}_{secret}"),
        format!("jcas_0123456789abcdef_{secret}"),
        format!("jcas_{}_{MARK}", "x".repeat(2000)),
        format!("Bearer {}", shop.key),
        format!("caf\u{e9}{MARK}"),
    ];
    bad.push(format!("{},{}", shop.key, shop.key));
    let untouched = Untouched::of(&node);
    for key in bad {
        let nobody = Company { key: key.clone(), ..shop.clone() };
        for (method, path, body) in calls(&user) {
            let answer = nobody.call(method, &path, body);
            problem(&answer, 401, "api_key_invalid");
            assert!(!answer.text.contains(secret), "{key:?}: it repeats the secret");
        }
    }
    for (method, path, body) in calls(&user) {
        let body = if body.is_null() { None } else { Some(body.to_string()) };
        let url = format!("{}{path}", shop.url);
        problem(&send(method, &url, &[], body.as_deref()), 401, "api_key_invalid");
        // The operator's token is no key, and a key no token.
        let bearer = format!("Bearer {}", shop.key);
        let headers = [("Authorization", bearer.as_str())];
        problem(&send(method, &url, &headers, body.as_deref()), 401, "api_key_invalid");
    }
    untouched.holds();
}

#[test]
fn a_key_that_was_revoked_or_expired_opens_nothing() {
    let mut node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let user = register(&shop);
    let all = json!(["login", "read", "write", "sync"]);
    let (revoked, id) = issue(&node, &shop, &json!({ "scopes": all }));
    let (expired, _) = issue(&node, &shop, &json!({ "scopes": all, "expires_in_s": 0 }));
    let (lasting, _) = issue(&node, &shop, &json!({ "scopes": all, "expires_in_s": 3600 }));
    let (short, _) = issue(&node, &shop, &json!({ "scopes": all, "expires_in_s": 1 }));
    revoked.call("GET", "/v1/whoami", Value::Null).done(200);
    node.operate("DELETE", &format!("/operator/companies/shop/keys/{id}"), None).done(200);
    wait_for("a key to expire", || {
        (short.call("GET", "/v1/whoami", Value::Null).status == 401).then_some(())
    });
    for life in 0..2 {
        let untouched = Untouched::of(&node);
        for company in [&revoked, &expired, &short] {
            for (method, path, body) in calls(&user) {
                let answer = company.at(&node).call(method, &path, body);
                problem(&answer, 401, "api_key_invalid");
            }
        }
        untouched.holds();
        lasting.at(&node).call("GET", "/v1/whoami", Value::Null).done(200);
        if life == 0 {
            node.kill();
            node.start();
        }
    }
    assert_eq!(shop.at(&node).user(&user)["profile"], json!({ "given_name": "Ada" }));
}

#[test]
fn with_the_right_current_password_a_policy_does_not_matter_and_with_a_wrong_one_nothing_does() {
    let node = Node::started(&[]);
    let (shop, other) = (node.company("shop", &["NG"]), node.company("other", &["NG"]));
    let user = register(&shop);
    let path = format!("/v1/users/{user}/password");
    for company in [&shop, &other] {
        set_policies(&node, company, &[("password", "off")]);
    }
    let untouched = Untouched::of(&node);
    let wrong = json!({ "password": "new-s3cr3t", "current_password": "wrong-s3cr3t" });
    problem(&other.call("PUT", &path, wrong), 401, "invalid_credentials");
    untouched.holds();
    let right = json!({ "password": "new-s3cr3t", "current_password": MARK });
    other.call("PUT", &path, right).done(200);
    shop.login("NG", "a@example.com", "new-s3cr3t").done(200);
    shop.login("NG", "a@example.com", MARK).refused(401, "invalid_credentials");
}

#[test]
fn a_user_that_is_not_there_is_not_found_by_any_call() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let user = register(&shop);
    let untouched = Untouched::of(&node);
    let unknown = [
        "018f0000-0000-7000-8000-000000000000".to_owned(),
        "00000000-0000-0000-0000-000000000000".to_owned(),
        "ffffffff-ffff-ffff-ffff-ffffffffffff".to_owned(),
        "me".to_owned(),
        "1".to_owned(),
        format!("{user}0"),
        user[..35].to_owned(),
        format!("{MARK}%00"),
        "%2e%2e%2f".to_owned(),
        "x".repeat(2000),
    ];
    for nobody in unknown {
        for (method, path, body) in calls(&nobody) {
            if !path.starts_with(&format!("/v1/users/{nobody}")) {
                continue;
            }
            problem(&shop.call(method, &path, body), 404, "user_not_found");
        }
        if nobody.len() == 36 {
            let login = json!({ "country": "NG", "user_id": nobody, "password": MARK });
            problem(&shop.call("POST", "/v1/login", login), 401, "invalid_credentials");
        }
    }
    let lookup = json!({ "email": format!("{MARK}@example.com") });
    problem(&shop.call("POST", "/v1/users/lookup", lookup), 404, "user_not_found");
    problem(&shop.login("NG", "nobody-s3cr3t@example.com", MARK), 401, "invalid_credentials");
    problem(&shop.call("GET", "/v1/hash-profiles/NG/none", Value::Null), 404, "not_found");
    untouched.holds();
}

#[test]
fn a_country_that_is_not_the_companys_is_refused() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG", "KE"]);
    let user = register(&shop);
    let untouched = Untouched::of(&node);
    let hash = json!({ "hash": "$2y$04$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy" });
    let one = format!("/v1/users/{user}");
    for (method, path, body) in [
        ("POST", "/v1/users".to_owned(), json!({ "country": "GH", "email": "g@example.com" })),
        ("POST", "/v1/users/lookup".to_owned(), json!({ "country": "GH", "phone": "0241234567" })),
        (
            "POST",
            "/v1/login".to_owned(),
            json!({ "country": "GH", "email": "a@example.com", "password": MARK }),
        ),
        ("PUT", format!("{one}/legacy-hashes/GH"), hash.clone()),
        (
            "PUT",
            format!("{one}/identities/phone"),
            json!({ "value": "024 123 4567", "country": "GH" }),
        ),
        ("DELETE", format!("{one}/identities/phone/0241234567?country=GH"), Value::Null),
        ("PUT", "/v1/hash-profiles/GH/default".to_owned(), json!({ "scheme": "magento1" })),
    ] {
        let answer = shop.call(method, &path, body);
        assert_eq!(answer.status, 422, "{method} {path}: {}", answer.text);
        problem(&answer, 422, "country_not_allowed");
    }
    for bad in ["ng", "NGA", "N1", "%00", "N"] {
        let path = format!("{one}/legacy-hashes/{bad}");
        problem(&shop.call("PUT", &path, hash.clone()), 422, "invalid_fields");
    }
    untouched.holds();
}
