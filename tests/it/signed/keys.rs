//! What companies sign with: issued, shown once, kept sealed, two at once, expired, withdrawn.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{Key, Signer, issue, pair};
use crate::leak::{Scanner, Secret};
use crate::node::{Node, files_below, wait_for};

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn list(node: &Node) -> Vec<Value> {
    let (code, listed, said) = node.run(&["key", "list", "shop"]);
    assert_eq!(code, 0, "{said}");
    parsed(&listed).as_array().unwrap().clone()
}

#[test]
fn two_keys_hold_at_once_until_one_is_withdrawn_or_expires() {
    let mut node = Node::started(&[]);
    let first = Signer::hs256(&node, "shop");
    let second = issue(&node, "shop", &json!({ "signing": "hs256", "expires_in_s": 600 }));
    let text = |name: &str| second[name].as_str().unwrap().to_owned();
    let mut second = first.clone();
    (second.kid, second.company.key) = (text("key"), text("api_key"));
    second.key = Key::Secret(text("signing_secret"));
    for signer in [&first, &second] {
        signer.call("GET", "/v1/whoami", Value::Null).done(200);
    }
    // One key's secret signs nothing for the other.
    let mixed = Signer { key: second.key.clone(), ..first.clone() };
    mixed.call("GET", "/v1/whoami", Value::Null).refused(401, "token_invalid");
    let (code, _, said) = node.run(&["key", "revoke", "shop", &first.kid]);
    assert_eq!(code, 0, "{said}");
    for _ in 0..2 {
        let (first, second) = (first.at(&node), second.at(&node));
        first.call("GET", "/v1/whoami", Value::Null).refused(401, "api_key_invalid");
        second.call("GET", "/v1/whoami", Value::Null).done(200);
        node.kill();
        node.start();
    }
    let short = issue(&node, "shop", &json!({ "signing": "hs256", "expires_in_s": 1 }));
    let text = |name: &str| short[name].as_str().unwrap().to_owned();
    let mut last = second.at(&node);
    (last.kid, last.company.key) = (text("key"), text("api_key"));
    last.key = Key::Secret(text("signing_secret"));
    wait_for("the key to expire", || {
        let answer = last.call("GET", "/v1/whoami", Value::Null);
        (answer.code() == "api_key_invalid").then_some(())
    });
    second.at(&node).call("GET", "/v1/whoami", Value::Null).done(200);
}

#[test]
fn a_company_moves_between_secrets_and_pairs_while_both_hold_and_each_ends_by_itself() {
    let mut node = Node::started(&[]);
    let secret = Signer::hs256(&node, "shop");
    let folder = tempfile::tempdir().unwrap();
    // A key of a new pair, issued by the command line.
    let with_pair = |node: &Node, number: u8, expires: &str| {
        let (pair, public) = pair(number);
        let file = folder.path().join(format!("{number}.jwk"));
        std::fs::write(&file, public.to_string()).unwrap();
        let issue = ["key", "issue", "shop", "--scopes", "read", "--signing", "eddsa"];
        let with = ["--expires", expires, "--public-jwk", file.to_str().unwrap()];
        let (code, issued, said) = node.run(&[&issue[..], &with[..]].concat());
        assert_eq!(code, 0, "{said}");
        let (issued, mut signer) = (parsed(&issued), secret.clone());
        let text = |name: &str| issued[name].as_str().unwrap().to_owned();
        (signer.kid, signer.company.key) = (text("key"), text("api_key"));
        signer.key = Key::Pair(pair);
        signer
    };
    let who = |signer: &Signer| signer.call("GET", "/v1/whoami", Value::Null);
    let (old, new) = (with_pair(&node, 21, "90d"), with_pair(&node, 22, "90d"));
    for signer in [&secret, &old, &new] {
        who(signer).done(200);
    }
    // No key signs for another, of the same kind or of the other one.
    for (signer, key) in [(&old, &new.key), (&old, &secret.key), (&secret, &old.key)] {
        who(&Signer { key: key.clone(), ..signer.clone() }).refused(401, "token_invalid");
    }
    let short = with_pair(&node, 23, "2s");
    wait_for("the pair's key to expire", || {
        let answer = who(&short);
        if answer.status != 200 {
            answer.refused(401, "api_key_invalid");
        }
        (answer.status != 200).then_some(())
    });
    for gone in [&secret, &old] {
        let (code, _, said) = node.run(&["key", "revoke", "shop", &gone.kid]);
        assert_eq!(code, 0, "{said}");
        who(gone).refused(401, "api_key_invalid");
        who(&new).done(200);
    }
    node.kill();
    node.start();
    for gone in [&secret, &old, &short] {
        who(&gone.at(&node)).refused(401, "api_key_invalid");
    }
    who(&new.at(&node)).done(200);
}

#[test]
fn the_command_line_issues_lists_and_signs_with_both_kinds_of_keys() {
    let node = Node::started(&[]);
    let run = |arguments: &[&str]| {
        let (code, shown, said) = node.run(arguments);
        assert_eq!(code, 0, "{arguments:?}: {said}");
        shown
    };
    run(&["company", "add", "shop", "--country", "NG"]);
    let issued = parsed(&run(&["key", "issue", "shop", "--scopes", "read"]));
    assert_eq!(issued["signing"], "HS256", "what a company must do is the default");
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let call = |key: &str, signing_key: &str, arguments: &[&str]| {
        let mut command = node.command(&["call"]);
        command.args(arguments).env("JCAS_API_KEY", key).env("JCAS_SIGNING_KEY", signing_key);
        let output = command.env("XDG_CONFIG_HOME", folder.path()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{arguments:?}: {said}");
        parsed(&String::from_utf8(output.stdout).unwrap())
    };
    let text = |issued: &Value, name: &str| issued[name].as_str().unwrap().to_owned();
    let (key, secret) = (text(&issued, "api_key"), text(&issued, "signing_secret"));
    let who = call(&key, &secret, &["GET", "/v1/whoami"]);
    assert!(who["skew_ms"].as_i64().unwrap().abs() < 5000, "{who}");

    let (pair, public) = pair(9);
    let mut private = public.clone();
    private["d"] = json!(super::base64url(pair.to_bytes()));
    std::fs::write(at("public.jwk"), public.to_string()).unwrap();
    std::fs::write(at("private.jwk"), private.to_string()).unwrap();
    let issue = ["key", "issue", "shop", "--scopes", "read", "--signing", "eddsa"];
    let with = |file: String| [&issue[..], &["--public-jwk", &file]].concat().join("\n");
    let words = with(at("public.jwk"));
    let issued = parsed(&run(&words.split('\n').collect::<Vec<_>>()));
    assert_eq!(
        (issued["signing"].as_str(), &issued["signing_secret"]),
        (Some("EdDSA"), &Value::Null)
    );
    let who = call(&text(&issued, "api_key"), &private.to_string(), &["GET", "/v1/whoami"]);
    assert!(who["skew_ms"].is_i64());
    let words = with(at("private.jwk"));
    let (code, _, said) = node.run(&words.split('\n').collect::<Vec<_>>());
    assert!(code == 1 && said.contains("private key"), "{said}");
    let d = private["d"].as_str().unwrap();
    assert!(!said.contains(d) && !node.output().contains(d), "the private half is repeated");
    assert_eq!(node.run(&issue).0, 2, "EdDSA without a key is wrong use");

    let profile = at("profile.json");
    let shown = run(&["key", "issue", "shop", "--scopes", "read", "--profile", &profile]);
    assert!(!shown.contains("api_key") && !shown.contains("signing_secret"), "{shown}");
    let mode = std::fs::metadata(&profile).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let lookup = ["POST", "/v1/users/lookup", r#"{"email":"nobody@example.com"}"#];
    let call_with = |words: &[&str]| {
        let mut command = node.command(&["call", "--profile", &profile]);
        command.args(words).env_remove("JCAS_API_KEY").output().unwrap()
    };
    let output = call_with(&["GET", "/v1/whoami"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(parsed(&String::from_utf8(output.stdout).unwrap())["skew_ms"].is_i64());
    let output = call_with(&lookup);
    assert_eq!(parsed(&String::from_utf8(output.stdout).unwrap())["code"], "user_not_found");
    let (code, _, said) =
        node.run(&["key", "issue", "shop", "--scopes", "read", "--profile", &profile]);
    assert!(code == 1 && said.contains("there already"), "{said}");
    std::fs::set_permissions(&profile, std::fs::Permissions::from_mode(0o644)).unwrap();
    let output = call_with(&lookup);
    assert!(String::from_utf8(output.stderr).unwrap().contains("open to other users"));

    let listed = list(&node);
    let kinds: Vec<_> = listed.iter().map(|key| key["signing"].as_str().unwrap()).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "EdDSA").count(), 1, "{listed:?}");
    assert_eq!(kinds.iter().filter(|kind| **kind == "HS256").count(), 2, "{listed:?}");
    assert!(!json!(listed).to_string().contains(&secret));
}

#[test]
fn a_key_is_issued_as_asked_or_not_at_all() {
    let node = Node::started(&[]);
    Signer::hs256(&node, "shop");
    let (_, jwk) = pair(1);
    let weak = json!({ "kty": "OKP", "crv": "Ed25519",
        "x": "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" });
    let secret = json!({ "kty": "oct", "k": "AA" });
    let before = list(&node).len();
    for wrong in [
        json!({ "scopes": ["read"], "signing": "eddsa" }),
        json!({ "scopes": ["read"], "signing": "eddsa", "public_jwk": weak }),
        json!({ "scopes": ["read"], "signing": "eddsa", "public_jwk": secret }),
        json!({ "scopes": ["read"], "signing": "hs256", "public_jwk": jwk }),
        json!({ "scopes": ["read"], "signing": "rs256" }),
    ] {
        let answer = node.operate("POST", "/operator/companies/shop/keys", Some(&wrong));
        answer.refused(422, "invalid_fields");
    }
    assert_eq!(list(&node).len(), before);
    // A company that must sign may still be given a key that cannot: it opens nothing.
    let plain = issue(&node, "shop", &json!({ "signing": "none" }));
    let mut shop = Signer::hs256(&node, "shop").company;
    plain["api_key"].as_str().unwrap().clone_into(&mut shop.key);
    shop.call("GET", "/v1/whoami", Value::Null).refused(401, "token_missing");
}

#[test]
fn a_signing_secret_is_nowhere_but_where_it_was_shown() {
    let mut node = Node::started(&[("logging.level", "trace")]);
    let signer = Signer::hs256(&node, "shop");
    let Key::Secret(secret) = &signer.key else { panic!("it is a secret") };
    signer.call("GET", "/v1/whoami", Value::Null).done(200);
    let jti = "a-jti-that-is-easily-found";
    let mut claims = signer.claims("GET", "/v1/whoami", &Value::Null);
    claims["jti"] = json!(jti);
    let token = signer.token(&signer.header(), &claims);
    signer.send("GET", "/v1/whoami", false, &token).done(200);
    signer.send("GET", "/v1/whoami?", false, &token).refused(401, "token_invalid");
    assert_eq!(node.stop(), 0);
    let mut places = files_below(&node.data());
    places.push(("what the node wrote".into(), node.output().into_bytes()));
    let signature = token.rsplit_once('.').unwrap().1;
    for (name, text) in [("the secret", secret.as_str()), ("a jti", jti), ("a token", signature)] {
        assert_eq!(found(&places, name, text), Vec::<String>::new());
    }
    places.push(("a leak".into(), format!("key={secret}").into_bytes()));
    assert_eq!(found(&places, "the secret", secret).len(), 1, "a leak would be found");
}

/// Where a text is found, however it is written.
fn found(places: &[(PathBuf, Vec<u8>)], name: &str, text: &str) -> Vec<String> {
    let secret = Secret { name: name.to_owned(), text: text.to_owned(), digest: true };
    let scanner = Scanner::new(&[secret]);
    let in_one = |(path, bytes): &(PathBuf, Vec<u8>)| {
        let found = scanner.find(bytes);
        found.first().map(|first| format!("{}: {first}", path.display()))
    };
    places.iter().filter_map(in_one).collect()
}
