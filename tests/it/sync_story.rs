//! The story the service was made for, step by step; and `jcas sync`.

use serde_json::{Value, json};

use crate::node::{Company, Node};
use crate::sync::hash_of;
use crate::syncing::{lines, synced};

const MAIL: &str = "ada@example.com";

/// Two companies of one group; Ada has an old password at each, and is one user.
fn two_shops(node: &Node) -> (Company, Company) {
    let (a, b) = (node.company("a", &["NG"]), node.company("b", &["NG"]));
    node.trust(&a);
    node.trust(&b);
    let row = |password: &str| {
        json!({ "email": MAIL, "email_verified": true,
            "legacy_hash": { "hash": hash_of(password) } })
    };
    assert_eq!(synced(&a, &[row("old at a")]), ["created"]);
    assert_eq!(synced(&b, &[row("old at b")]), ["linked"]);
    (a, b)
}

fn changed_while_cut_off(password: &str, when: &str) -> Value {
    json!({ "email": MAIL, "email_verified": true,
        "legacy_hash": { "hash": hash_of(password), "changed_at": when } })
}

fn logs_in(company: &Company, password: &str) -> Value {
    company.login("NG", MAIL, password).done(200).body.clone()
}

fn is_kept_out(company: &Company, password: &str) {
    company.login("NG", MAIL, password).refused(401, "invalid_credentials");
}

#[test]
fn a_password_changed_while_cut_off_is_the_password_everywhere_after_the_sync() {
    let node = Node::started(&[]);
    let (a, b) = two_shops(&node);
    // Cut off from JCAS, she changes her password at a.
    let when = jiff::Timestamp::now().to_string();
    // b still takes the old ones: nobody else knows.
    let state = a.call("POST", "/v1/users/lookup", json!({ "email": MAIL })).done(200).body.clone();
    let change = changed_while_cut_off("new at a", &when);
    assert_eq!(synced(&a, std::slice::from_ref(&change)), ["applied"]);
    for company in [&a, &b] {
        is_kept_out(company, "old at a");
        is_kept_out(company, "old at b");
    }
    let login = logs_in(&b, "new at a");
    assert_eq!((&login["user_id"], &login["upgraded"]), (&state["user_id"], &json!(true)));
    // It is the secret now, and nothing older works or comes back.
    assert_eq!(logs_in(&a, "new at a")["upgraded"], false);
    assert_eq!(synced(&a, &[change]), ["unchanged"]);
    let dump = json!({ "email": MAIL, "email_verified": true,
        "legacy_hash": { "hash": hash_of("old at a") } });
    assert_eq!(synced(&a, &[dump]), ["older"]);
    is_kept_out(&a, "old at a");
    logs_in(&b, "new at a");
}

#[test]
fn a_login_elsewhere_between_the_change_and_the_sync_does_not_undo_the_change() {
    let node = Node::started(&[]);
    let (a, b) = two_shops(&node);
    let when = jiff::Timestamp::now().to_string();
    // b takes the old password meanwhile, and makes a secret of it.
    assert_eq!(logs_in(&b, "old at b")["upgraded"], true);
    is_kept_out(&b, "old at a");
    assert_eq!(synced(&a, &[changed_while_cut_off("new at a", &when)]), ["applied"]);
    is_kept_out(&b, "old at b");
    is_kept_out(&a, "old at a");
    assert_eq!(logs_in(&b, "new at a")["upgraded"], true);
    logs_in(&a, "new at a");
    // A change that she made at b before that comes late, and loses.
    let earlier = changed_while_cut_off("earlier at b", "2020-01-01T00:00:00Z");
    assert_eq!(synced(&b, &[earlier]), ["older"]);
    logs_in(&b, "new at a");
}

#[test]
fn the_command_sends_follows_and_names_what_was_refused() {
    let node = Node::started(&[]);
    let body = json!({ "countries": ["NG"], "signing": "required" });
    node.operate("PUT", "/operator/companies/shop", Some(&body)).done(200);
    let wanted = json!({ "scopes": ["sync"], "signing": "hs256" });
    let issued = node.operate("POST", "/operator/companies/shop/keys", Some(&wanted));
    let text = |name: &str| issued.done(201).body[name].as_str().unwrap().to_owned();
    let rows =
        [json!({ "ref": "1", "email": "a@example.com" }), json!({ "ref": "2", "email": "nobody" })];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rows.ndjson");
    std::fs::write(&file, lines(&rows)).unwrap();
    let run = |more: &[&str], file: &std::path::Path| {
        let mut command = node.command(&["sync", file.to_str().unwrap(), "--country", "NG"]);
        command.args(more).env("JCAS_API_KEY", text("api_key"));
        let output = command.env("JCAS_SIGNING_KEY", text("signing_secret")).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        (output.status.code(), said, String::from_utf8(output.stderr).unwrap())
    };
    let expected = "created    1\ninvalid    1\nline 2: invalid invalid_email email 2\n";
    let (code, said, beside) = run(&["--dry-run"], &file);
    assert_eq!((code, said.as_str()), (Some(1), expected), "{beside}");
    assert_eq!(node.state_hash().1, 0);
    assert_eq!(run(&[], &file).1, expected);
    assert_eq!(node.state_hash().1, 1);
    // As gzip, and as JSON for programs.
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut gzip, lines(&rows[..1]).as_bytes()).unwrap();
    let packed = folder.path().join("rows.ndjson.gz");
    std::fs::write(&packed, gzip.finish().unwrap()).unwrap();
    let (code, said, beside) = run(&["--json"], &packed);
    let job: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &job["unchanged"]), (Some(0), &json!(1)), "{beside}");
    let (code, _, beside) = run(&[], std::path::Path::new("nothing.ndjson"));
    assert_eq!(code, Some(1));
    assert!(beside.contains("cannot read nothing.ndjson"), "{beside}");
}
