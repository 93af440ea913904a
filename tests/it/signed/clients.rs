//! Clients written from the contract alone: the PHP lines of docs/companies.md and the Python
//! client of examples/, run as a company would.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::{Key, Signer, base64url, issue, pair};
use crate::node::Node;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A block of docs/companies.md in a language.
fn block(language: &str) -> String {
    let text = std::fs::read_to_string(root().join("docs/companies.md")).unwrap();
    let fence = format!("```{language}\n");
    let after = text.split(&fence).nth(1).unwrap();
    after.split("```").next().unwrap().to_owned()
}

fn run(command: &mut Command) -> Output {
    let program = format!("{command:?}");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// What a client is told by its environment.
fn tell<'a>(command: &'a mut Command, signer: &Signer, signing_key: &str) -> &'a mut Command {
    command
        .env("JCAS_URL", &signer.company.url)
        .env("JCAS_COMPANY", &signer.company.id)
        .env("JCAS_AUDIENCE", "jcas:jcas")
        .env("JCAS_API_KEY", &signer.company.key)
        .env("JCAS_SIGNING_KEY", signing_key)
}

fn secret(signer: &Signer) -> &str {
    match &signer.key {
        Key::Secret(secret) => secret,
        Key::Pair(_) => "",
    }
}

/// Debian's package `php-cli` must be installed; `scripts/test` sees to it.
#[test]
fn the_php_lines_of_the_document_work() {
    let node = Node::started(&[]);
    let signer = Signer::hs256(&node, "shop");
    let shown = block("php");
    let calls = r#"
        $password = "one 'two' \u{e9}";
        $register = ['country' => 'NG', 'email' => 'a@example.com', 'password' => $password,
            'profile' => ['given_name' => "Ad\u{e0}"]];
        $login = ['country' => 'NG', 'email' => 'a@example.com', 'password' => $password];
        $bare = ['country' => 'NG', 'phone' => '08031234567', 'profile' => []];
        echo json_encode([
            jcas('POST', '/v1/users', $register),
            jcas('POST', '/v1/login', $login),
            jcas('POST', '/v1/users', []),
            jcas('POST', '/v1/users', $bare),
            jcas('GET', '/v1/whoami'),
            jcas('POST', '/v1/users', ['country' => 'NG', 'email' => 'b@example.com'], 'once'),
            jcas('POST', '/v1/users', ['country' => 'NG', 'email' => 'b@example.com'], 'once'),
        ]);
    "#;
    let script = format!("{shown}{calls}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("call.php");
    std::fs::write(&file, script).unwrap();
    let mut php = Command::new("php");
    let output = run(tell(php.arg(&file), &signer, secret(&signer)));
    let answers: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answers[0]["profile"]["given_name"], "Ad\u{e0}");
    assert_eq!(answers[1]["user_id"], answers[0]["user_id"]);
    // An empty array is an object without fields, not a body that cannot be read.
    assert_eq!(answers[2]["errors"][0]["code"], "required", "{answers}");
    assert_eq!(answers[3]["status"], "active", "{answers}");
    assert_eq!(answers[4]["company"], "shop");
    assert!(answers[5]["user_id"].is_string(), "{answers}");
    assert_eq!(answers[6], answers[5], "a repeat is given the first answer");
}

#[test]
fn the_python_lines_of_the_document_work() {
    let node = Node::started(&[]);
    let signer = Signer::hs256(&node, "shop");
    let calls = r#"
import json
ada = {"country": "NG", "email": "a@example.com", "password": "one two"}
print(json.dumps([status, answer] + [
    jcas.call("POST", "/v1/users", ada, idempotency_key="once"),
    jcas.call("POST", "/v1/users", ada, idempotency_key="once"),
    jcas.call("POST", "/v1/login", ada),
]))
"#;
    let mut python = Command::new("python3");
    python.args(["-c", &format!("{}{calls}", block("python"))]);
    python.env("PYTHONPATH", root().join("examples")).env("PYTHONDONTWRITEBYTECODE", "1");
    let output = run(tell(&mut python, &signer, secret(&signer)));
    let answers: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&answers[0], &answers[1]["company"]), (&json!(200), &json!("shop")));
    assert_eq!(answers[2][0], 201, "{answers}");
    assert_eq!(answers[3], answers[2], "a repeat is given the first answer");
    assert_eq!(answers[4][1]["user_id"], answers[2][1]["user_id"]);
}

#[test]
fn jcas_call_repeats_a_post_with_its_idempotency_key_signed_or_not() {
    let node = Node::started(&[]);
    let signed = Signer::hs256(&node, "shop");
    let plain = node.company("group", &["NG"]);
    let post = |api_key: &str, signing_key: &str, email: &str, options: &[&str]| {
        let body = json!({ "country": "NG", "email": email }).to_string();
        let mut command = node.command(&["call", "POST", "/v1/users", &body]);
        command.args(options).env("JCAS_API_KEY", api_key).env("JCAS_SIGNING_KEY", signing_key);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let answer = serde_json::from_slice::<Value>(&output.stdout);
        answer.unwrap_or_else(|error| panic!("{error}: {said}"))
    };
    for (api_key, signing_key) in [(&signed.company.key, secret(&signed)), (&plain.key, "")] {
        let post = |email: &str, options: &[&str]| post(api_key, signing_key, email, options);
        let key = ["--idempotency-key", "customer-4711"];
        let first = post("a@example.com", &key);
        assert!(first["user_id"].is_string(), "{first}");
        assert_eq!(post("a@example.com", &key), first, "a repeat is given the first answer");
        assert_eq!(post("a@example.com", &[])["code"], "identity_taken");
        assert_eq!(post("b@example.com", &key)["code"], "idempotency_key_reused");
        let refused = post("b@example.com", &["--idempotency-key", "two words"]);
        assert!(refused["code"].is_string(), "{refused}");
    }
}

#[test]
fn the_python_client_works_with_both_kinds_of_keys() {
    let node = Node::started(&[]);
    let signer = Signer::hs256(&node, "shop");
    let client = root().join("examples/client.py");
    let call = |signer: &Signer, signing_key: &str, words: &[&str]| {
        let mut python = Command::new("python3");
        let output = run(tell(python.arg(&client).args(words), signer, signing_key));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let register = json!({ "country": "NG", "email": "a@example.com", "password": "one two" });
    let registered = call(&signer, secret(&signer), &["POST", "/v1/users", &register.to_string()]);
    let user = registered["user_id"].as_str().unwrap();
    let read = call(&signer, secret(&signer), &["GET", &format!("/v1/users/{user}")]);
    assert_eq!(read["identities"][0]["value"], "a@example.com");
    let refused = call(&signer, "another secret", &["GET", "/v1/whoami"]);
    assert_eq!(
        (&refused["code"], &refused["claim"]),
        (&json!("token_invalid"), &json!("signature"))
    );

    let (pair, jwk) = pair(3);
    let issued = issue(&node, "shop", &json!({ "signing": "eddsa", "public_jwk": jwk }));
    let mut with_pair = signer.clone();
    issued["api_key"].as_str().unwrap().clone_into(&mut with_pair.company.key);
    let mut private = jwk;
    private["d"] = json!(base64url(pair.to_bytes()));
    // Ed25519 is not in Python's own library; where that package is missing the client says so.
    let has_ed25519 = Command::new("python3").args(["-c", "import cryptography"]).output().unwrap();
    if has_ed25519.status.success() {
        let who = call(&with_pair, &private.to_string(), &["GET", "/v1/whoami"]);
        assert!(who["skew_ms"].is_i64(), "{who}");
    } else {
        let mut python = Command::new("python3");
        python.arg(&client).args(["GET", "/v1/whoami"]);
        let output = tell(&mut python, &with_pair, &private.to_string()).output().unwrap();
        assert!(String::from_utf8(output.stderr).unwrap().contains("pip install cryptography"));
    }
}
