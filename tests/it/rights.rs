//! What docs/companies.md says a call needs is what the contract says and what the node asks for:
//! every scope, every policy, on one's own users and on others'.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::commands::{marked, run};
use crate::node::{Answer, Company, Node};
use crate::problem::{Untouched, problem};
use crate::syncing::{begun, over, post, post_to, put_part};

const POLICIES: [&str; 7] = ["read", "password", "profile", "identity", "status", "link", "erase"];
const SCOPES: [&str; 6] = ["login", "read", "write", "sync", "link", "erase"];

fn text(path: &str) -> String {
    std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn contract() -> Value {
    serde_json::from_str(&text("src/http/openapi.json")).unwrap()
}

/// The rows of the table in docs/companies.md that begins with this heading, without backticks.
fn table(heading: &str) -> Vec<Vec<String>> {
    let document = text("docs/companies.md");
    let mut lines = document.lines().skip_while(|line| *line != heading);
    assert!(lines.next().is_some(), "there is no table {heading}");
    let rows = lines.skip(1).take_while(|line| line.starts_with('|'));
    let cells = |line: &str| {
        let cells = line.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().replace('`', "")).collect()
    };
    rows.map(cells).collect()
}

/// A call of the table and what it needs.
struct Needs {
    method: String,
    path: String,
    scope: String,
    policy: String,
    default: String,
}

fn calls() -> Vec<Needs> {
    let rows = table("| call | scope | policy | default |").into_iter();
    let calls = rows.map(|row| {
        let [call, scope, policy, default] = <[String; 4]>::try_from(row).unwrap();
        let (method, path) = call.split_once(' ').unwrap();
        Needs { method: method.to_owned(), path: path.to_owned(), scope, policy, default }
    });
    calls.collect()
}

/// One user that a call is made on, fresh for each call.
struct Target {
    id: String,
    /// Another user of the same company.
    with: String,
    number: usize,
    job: String,
    upload: String,
}

fn target(company: &Company, number: usize) -> Target {
    let id = company.register(json!({
        "country": "NG", "email": format!("ada{number}@example.com"),
        "phone": format!("+2348031{number:06}"), "password": "correct horse",
    }));
    let with =
        company.register(json!({ "country": "NG", "email": format!("w{number}@example.com") }));
    let job = "node-1.019a7b3c-5d6e-7f80-8a91-b2c3d4e5f607".to_owned();
    let upload = job.clone();
    Target { id, with, number, job, upload }
}

/// A body with which the call does something, where it may.
fn body(method: &str, path: &str, on: &Target) -> Value {
    let number = on.number;
    let hash = "$2y$04$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy";
    match (method, path) {
        ("POST", "/v1/login") => {
            json!({ "country": "NG", "user_id": on.id, "password": "correct horse" })
        }
        ("POST", "/v1/users") => {
            json!({ "country": "NG", "email": format!("{number}@example.com") })
        }
        ("POST", "/v1/users/lookup") => json!({ "email": format!("ada{number}@example.com") }),
        ("PATCH", "/v1/users/{id}") => json!({ "profile": { "given_name": "Ada" } }),
        ("PUT", "/v1/users/{id}/password") => json!({ "password": "another one" }),
        ("PUT", "/v1/users/{id}/legacy-hashes/{country}") => json!({ "hash": hash }),
        ("PUT", "/v1/users/{id}/identities/{kind}") => {
            json!({ "value": format!("b{number}@example.com") })
        }
        ("DELETE", "/v1/users/{id}/identities/{kind}") => {
            json!({ "value": format!("ada{number}@example.com") })
        }
        ("PUT", "/v1/users/{id}/identities/{kind}/{value}") => json!({}),
        ("PUT", "/v1/users/{id}/status") => json!({ "status": "disabled" }),
        ("POST", "/v1/users/{id}/link" | "/v1/users/{id}/unlink") => json!({ "with": on.with }),
        ("PUT", "/v1/hash-profiles/{country}/{name}") => json!({ "scheme": "magento1" }),
        ("POST", "/v1/hash-profiles/probe") => {
            json!({ "hash": "83878c91171338902e0fe0fb97a8c47a", "password": "p" })
        }
        ("POST", "/v1/sync/uploads") => {
            let digest = "AbpHGcgLb-kRsJGnwFEktk7uzpZOCcBY74-YBdrKVGs".to_owned();
            json!({ "country": "NG", "length": 1, "digest": digest })
        }
        _ => Value::Null,
    }
}

impl Needs {
    fn make(&self, company: &Company, on: &Target) -> Answer {
        let url = self
            .path
            .replace("{id}", &on.id)
            .replace("{country}", "NG")
            .replace("{kind}", "email")
            .replace("{value}", &format!("ada{}@example.com", on.number))
            .replace("{name}", "default")
            .replace("{with}", &on.with)
            .replace("{job}", &on.job)
            .replace("{upload}", &on.upload)
            .replace("{offset}", "0");
        if (self.method.as_str(), self.path.as_str()) == ("POST", "/v1/sync") {
            return post_to(company, "/v1/sync?country=NG", "\n");
        }
        if self.path.ends_with("/{offset}") {
            return put_part(company, &url, "\n");
        }
        company.call(&self.method, &url, body(&self.method, &self.path, on))
    }
}

#[test]
fn the_table_of_calls_is_the_contracts() {
    let contract = contract();
    let mut documented = BTreeMap::new();
    for (path, item) in contract["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if operation["security"] != json!([]) {
                let word = |name: &str| operation[name].as_str().unwrap_or_default().to_owned();
                let needs = [word("x-scope"), word("x-policy")];
                let description = word("description");
                for (name, word) in ["Scope", "Policy"].into_iter().zip(&needs) {
                    let said = description.contains(&format!("{name}: `{word}`"));
                    assert_eq!(said, !word.is_empty(), "{method} {path}: {description}");
                }
                documented.insert((method.to_uppercase(), path.clone()), needs);
            }
        }
    }
    let rows = calls().into_iter().map(|row| ((row.method, row.path), [row.scope, row.policy]));
    assert_eq!(rows.collect::<BTreeMap<_, _>>(), documented);
}

#[test]
fn the_defaults_of_the_table_are_those_of_a_new_company() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let policies = shop.call("GET", "/v1/whoami", Value::Null).body["policies"].clone();
    assert_eq!(policies["verifies"], json!(false));
    for row in calls() {
        let default = policies[&row.policy].as_str().unwrap_or_default();
        assert_eq!(row.default, default, "{} {}", row.method, row.path);
    }
}

#[test]
fn a_call_is_made_with_its_scope_alone_and_with_all_others_it_is_not() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let key = |scopes: &[&str]| {
        let body = json!({ "scopes": scopes });
        let issued = node.operate("POST", "/operator/companies/shop/keys", Some(&body));
        let key = issued.done(201).body["api_key"].as_str().unwrap().to_owned();
        Company { key, ..shop.clone() }
    };
    let job = post(&shop, "\n");
    over(&shop, &job);
    let (mut number, mut scoped) = (0, 0);
    for scope in SCOPES {
        let others: Vec<_> = SCOPES.into_iter().filter(|other| *other != scope).collect();
        let (without, alone) = (key(&others), key(&[scope]));
        for row in calls().iter().filter(|row| row.scope == scope) {
            number += 1;
            let upload = begun(&shop, b"\n").body["upload_id"].as_str().unwrap().to_owned();
            let on = Target { job: job.clone(), upload, ..target(&shop, number) };
            if row.path.ends_with("/erasure") {
                shop.call("DELETE", &format!("/v1/users/{}", on.id), Value::Null).done(202);
            }
            let untouched = Untouched::of(&node);
            let refused = row.make(&without, &on);
            problem(&refused, 403, "scope_missing");
            let named = format!("\"{scope}\"");
            assert!(refused.body["detail"].as_str().unwrap().contains(&named), "{}", refused.text);
            untouched.holds();
            let made = row.make(&alone, &on);
            assert!(matches!(made.status, 200..=202), "{} {}: {}", row.method, row.path, made.text);
            scoped += 1;
        }
    }
    let powerless = key(&[]);
    let on = target(&shop, 0);
    for row in calls() {
        let made = row.make(&powerless, &on);
        assert_eq!(made.code() == "scope_missing", !row.scope.is_empty(), "{}", made.text);
    }
    assert_eq!(scoped + 1, calls().len(), "whoami alone needs no scope");
}

#[test]
fn a_call_is_held_to_its_policy_and_to_no_other_on_own_users_and_on_others() {
    let node = Node::started(&[]);
    let (shop, other) = (node.company("shop", &["NG"]), node.company("other", &["NG"]));
    let mut number = 0;
    let (mut taken, mut denied) = (0, 0);
    for row in calls().iter().filter(|row| !row.policy.is_empty()) {
        for reach in ["off", "own", "all"] {
            // Every other policy says the contrary.
            let contrary = if reach == "all" { "off" } else { "all" };
            let mut policies = json!({ "verifies": reach != "all" });
            for policy in POLICIES {
                policies[policy] = json!(if policy == row.policy { reach } else { contrary });
            }
            let path = "/operator/companies/shop/policies";
            node.operate("PUT", path, Some(&policies)).done(200);
            for whose in ["own", "other's", "own, that is the other's customer too"] {
                number += 1;
                let on = target(if whose == "other's" { &other } else { &shop }, number);
                let login = json!({ "country": "NG", "user_id": on.id,
                    "password": "correct horse" });
                // A customer of both is still the creator's own.
                match whose {
                    "other's" => drop(shop.call("POST", "/v1/login", login).done(200)),
                    "own" => {}
                    _ => drop(other.call("POST", "/v1/login", login).done(200)),
                }
                let untouched = Untouched::of(&node);
                let answer = row.make(&shop, &on);
                let what = format!("{} {}: {reach}, {whose}", row.method, row.path);
                if row.policy == "erase" && reach == "own" && whose != "own" {
                    // Whoever has the user too keeps it; tests/it/erasure.rs says what becomes.
                    problem(&answer, 409, "linked_elsewhere");
                } else if reach == "all" || reach == "own" && whose != "other's" {
                    assert!(matches!(answer.status, 200 | 202), "{what}: {}", answer.text);
                    taken += 1;
                } else {
                    problem(&answer, 403, "policy_denied");
                    let named = format!("\"{}\"", row.policy);
                    assert!(answer.body["detail"].as_str().unwrap().contains(&named), "{what}");
                    assert!(!answer.text.contains(&on.id), "{what}: {}", answer.text);
                    untouched.holds();
                    denied += 1;
                }
            }
        }
    }
    assert!(taken > 50 && denied > 40, "{taken} calls were taken, {denied} denied");
}

#[test]
fn a_login_needs_no_policy_and_shows_what_the_company_may_read() {
    let node = Node::started(&[]);
    let (shop, other) = (node.company("shop", &["NG"]), node.company("other", &["NG"]));
    let own = target(&shop, 1);
    let others = target(&other, 2);
    for reach in ["off", "own", "all"] {
        let mut policies = json!({ "verifies": false });
        for policy in POLICIES {
            policies[policy] = json!(if policy == "read" { reach } else { "off" });
        }
        let path = "/operator/companies/shop/policies";
        node.operate("PUT", path, Some(&policies)).done(200);
        for (on, whose) in [(&own, "own"), (&others, "other's")] {
            let login = json!({ "country": "NG", "user_id": on.id, "password": "correct horse" });
            let answer = shop.call("POST", "/v1/login", login);
            assert_eq!(answer.done(200).body["user_id"], json!(on.id));
            let shown = reach == "all" || reach == "own" && whose == "own";
            for part in ["profile", "identities"] {
                assert_eq!(answer.body.get(part).is_some(), shown, "{reach}, {whose}: {part}");
            }
        }
    }
}

#[test]
fn whom_policy_keeps_out_is_not_told_the_revision() {
    let node = Node::started(&[]);
    let (shop, other) = (node.company("shop", &["NG"]), node.company("other", &["NG"]));
    let on = target(&other, 1);
    let stale = json!({ "profile": {}, "if_revision": "0000000000000000-00000000" });
    let path = format!("/v1/users/{}", on.id);
    other.call("PATCH", &path, stale.clone()).refused(412, "revision_mismatch");
    let refused = shop.call("PATCH", &path, stale);
    problem(&refused, 403, "policy_denied");
    assert!(refused.body.get("revision").is_none(), "{}", refused.text);
}

#[test]
fn what_a_company_says_is_verified_is_recorded_so_only_where_its_word_counts() {
    let node = Node::started(&[]);
    let (shop, other) = (node.company("shop", &["NG"]), node.company("other", &["NG"]));
    node.trust(&other);
    let mut number = 0;
    for (company, counts) in [(&shop, false), (&other, true)] {
        for flagged in [false, true] {
            let name = format!("{}{flagged}", company.id);
            number += 1;
            let user = company.register(json!({ "country": "NG",
                "email": format!("{name}@example.com"), "email_verified": flagged,
                "phone": format!("+23480312345{number:02}"), "phone_verified": flagged }));
            let path = format!("/v1/users/{user}/identities/email");
            let claim = json!({ "value": format!("b{name}@example.com"), "verified": flagged });
            company.call("PUT", &path, claim).done(200);
            // What the event says, and what is read from it.
            let history = company.call("GET", &format!("/v1/users/{user}/history"), Value::Null);
            let events = history.done(200).body["events"].as_array().unwrap().clone();
            let claimed = events.iter().filter(|event| event["kind"] == "IdentityClaimed");
            let claimed: Vec<_> = claimed.map(|event| event["about"][1].clone()).collect();
            let word = if flagged && counts { "verified" } else { "unverified" };
            assert_eq!(claimed, vec![json!(word); 3], "{name}");
            for identity in company.user(&user)["identities"].as_array().unwrap() {
                assert_eq!(identity["verified"], json!(flagged && counts), "{name}");
            }
        }
    }
}

#[test]
fn the_table_of_codes_is_the_contracts() {
    let contract = contract();
    let mut documented = BTreeMap::new();
    for code in contract["components"]["schemas"]["ProblemCode"]["enum"].as_array().unwrap() {
        documented.insert(code.as_str().unwrap().to_owned(), String::new());
    }
    // Said of methods that no operation is for.
    documented.insert("method_not_allowed".to_owned(), "405".to_owned());
    for item in contract["paths"].as_object().unwrap().values() {
        for operation in item.as_object().unwrap().values() {
            for (status, response) in operation["responses"].as_object().unwrap() {
                let reference = response["$ref"].as_str().map(|at| at.trim_start_matches('#'));
                let response = reference.map_or(response, |at| contract.pointer(at).unwrap());
                let problem = &response["content"]["application/problem+json"]["schema"];
                let codes = &problem["allOf"][1]["properties"]["code"]["enum"];
                for code in codes.as_array().into_iter().flatten() {
                    let known = documented.get_mut(code.as_str().unwrap()).unwrap();
                    assert!(known.is_empty() || known == status, "{code}: {known} and {status}");
                    known.clone_from(status);
                }
            }
        }
    }
    let rows = table("| code | status | what it means | what to do |").into_iter();
    let rows = rows.map(|row| {
        let [code, status, means, what] = <[String; 4]>::try_from(row).unwrap();
        assert!(!means.is_empty() && !what.is_empty(), "{code} is explained");
        (code, status)
    });
    assert_eq!(rows.collect::<BTreeMap<_, _>>(), documented);
}

#[test]
fn the_commands_for_companies_work_in_the_order_they_stand_there() {
    let blocks = marked("docs/companies.md", "");
    assert!(blocks.len() >= 5, "from nothing to the first login");
    let text = run(&Node::started(&[]), blocks);
    assert!(text.contains("\"upgraded\":true"), "somebody logs in with an old password: {text}");
}
