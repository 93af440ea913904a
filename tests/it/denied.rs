//! Keys that open nothing, scopes and policies that do not reach, users that are not there.

use serde_json::{Value, json};

use crate::node::{Company, Node, send, wait_for};
use crate::problem::{MARK, Untouched, problem};

/// One call of each kind on a user, with the scope it needs.
fn calls(user: &str) -> Vec<(&'static str, String, Value, &'static str)> {
    let one = format!("/v1/users/{user}");
    let new = json!({ "country": "NG", "email": "new@example.com", "password": MARK });
    let login = json!({ "country": "NG", "user_id": user, "password": MARK });
    let hash = json!({ "hash": "$2y$04$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy" });
    vec![
        ("POST", "/v1/users".to_owned(), new, "write"),
        ("POST", "/v1/login".to_owned(), login, "login"),
        ("POST", "/v1/users/lookup".to_owned(), json!({ "email": "a@example.com" }), "read"),
        ("GET", one.clone(), Value::Null, "read"),
        ("GET", format!("{one}/history"), Value::Null, "read"),
        ("PATCH", one.clone(), json!({ "profile": { "a": MARK } }), "write"),
        ("PUT", format!("{one}/password"), json!({ "password": MARK }), "write"),
        ("PUT", format!("{one}/legacy-hashes/NG"), hash, "write"),
        ("PUT", format!("{one}/identities/email"), json!({ "value": "b@example.com" }), "write"),
        ("DELETE", format!("{one}/identities/phone/+2348031234567"), Value::Null, "write"),
        ("PUT", format!("{one}/status"), json!({ "status": "disabled" }), "write"),
        ("PUT", "/v1/hash-profiles/NG/other".to_owned(), json!({ "scheme": "magento1" }), "sync"),
        ("GET", "/v1/hash-profiles/NG/other".to_owned(), Value::Null, "sync"),
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
        for (method, path, body, _) in calls(&user) {
            let answer = nobody.call(method, &path, body);
            problem(&answer, 401, "api_key_invalid");
            assert!(!answer.text.contains(secret), "{key:?}: it repeats the secret");
        }
    }
    for (method, path, body, _) in calls(&user) {
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
            for (method, path, body, _) in calls(&user) {
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
fn a_scope_that_is_missing_is_named_by_every_call_that_needs_it() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let user = register(&shop);
    let mut keys = Vec::new();
    for scope in ["login", "read", "write", "sync"] {
        let scopes = ["login", "read", "write", "sync", "link", "erase"];
        let others: Vec<_> = scopes.into_iter().filter(|other| *other != scope).collect();
        keys.push((scope, issue(&node, &shop, &json!({ "scopes": others })).0));
    }
    let (powerless, _) = issue(&node, &shop, &json!({ "scopes": [] }));
    let untouched = Untouched::of(&node);
    for (scope, company) in &keys {
        for (method, path, body, needed) in calls(&user) {
            if needed == *scope {
                let answer = company.call(method, &path, body.clone());
                problem(&answer, 403, "scope_missing");
                assert!(answer.body["detail"].as_str().unwrap().contains(scope));
            }
            problem(&powerless.call(method, &path, body), 403, "scope_missing");
        }
    }
    untouched.holds();
    let read = shop.user(&user);
    assert_eq!(
        (&read["status"], &read["profile"]),
        (&json!("active"), &json!({ "given_name": "Ada" }))
    );
}

#[test]
fn a_policy_that_does_not_reach_denies_and_leaves_no_trace() {
    let node = Node::started(&[]);
    let (shop, other) = (node.company("shop", &["NG"]), node.company("other", &["NG"]));
    let user = register(&shop);
    let policy_of = |method: &str, path: &str| match (method, path.rsplit('/').next().unwrap()) {
        ("GET", _) | (_, "lookup") => Some("read"),
        (_, "password") => Some("password"),
        (_, "status") => Some("status"),
        _ if path.contains("/legacy-hashes/") => Some("password"),
        _ if path.contains("/identities/") => Some("identity"),
        ("PATCH", _) => Some("profile"),
        _ => None,
    };
    for reach in ["own", "off"] {
        for policy in ["read", "password", "profile", "identity", "status"] {
            set_policies(&node, &other, &[(policy, reach)]);
            set_policies(&node, &shop, &[(policy, reach)]);
            let untouched = Untouched::of(&node);
            for (method, path, body, scope) in calls(&user) {
                if scope == "sync" || policy_of(method, &path) != Some(policy) {
                    continue;
                }
                // A hash goes to the caller's own slot: the user of another company is the same.
                problem(&other.call(method, &path, body.clone()), 403, "policy_denied");
                if reach == "off" {
                    problem(&shop.call(method, &path, body), 403, "policy_denied");
                }
            }
            untouched.holds();
        }
    }
    // With the right password a policy does not matter; with a wrong one nothing does.
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
        for (method, path, body, _) in calls(&nobody) {
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
