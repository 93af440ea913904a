//! The calls that a demo prints: each can be copied and works as it stands, from the folder the
//! demo was started in.

use std::path::Path;

use anyhow::Context as _;
use serde_json::json;

use super::load::Company;
use super::people::Known;
use super::regions::Regions;

/// All of them, with a line of explanation each.
pub(super) fn to_copy(
    regions: &Regions,
    companies: &[Company],
    people: &[Known],
    users: &[String],
) -> anyhow::Result<String> {
    let (known, user) = people.first().zip(users.first()).context("no sample person")?;
    let company = companies.iter().find(|company| company.id == known.company);
    let company = company.context("an unknown company")?;
    let key = company.key.text.as_str();
    let node = &regions.eu;
    let (url, other) = (node.company_url(), regions.us.company_url());
    let jcas = quoted(&program());
    let curl_at = |url: &str, method: &str, path: &str, body: Option<serde_json::Value>| {
        let body = body.map(|body| quoted(&body.to_string()));
        let body = body.map(|body| format!(" -H 'Content-Type: application/json' -d {body}"));
        let body = body.unwrap_or_default();
        format!("curl -sS -X {method} {url}{path} -H 'X-Api-Key: {key}'{body}")
    };
    let curl = |method: &str, path: &str, body| curl_at(&url, method, path, body);
    let client = |words: &str| format!("JCAS_URL={url} JCAS_API_KEY={key} {jcas} call {words}");
    let login =
        json!({ "country": known.country, "email": known.email, "password": known.password });
    let register = json!({
        "country": known.country,
        "email": format!("ada.{}@example.com", company.key.id),
        "password": "correct horse battery",
        "profile": { "given_name": "Ada" },
    });
    let nickname = quoted(&json!({ "profile": { "nickname": "Ade" } }).to_string());
    let folder = quoted(&node.deployment.folder().display().to_string());
    let operator = format!(
        "JCAS__NODE__DATA_DIR={folder} JCAS__HTTP__OPERATOR_LISTEN={} {jcas}",
        node.operator_address
    );
    let calls = [
        ("who am I", curl("GET", "/v1/whoami", None)),
        ("log in", curl("POST", "/v1/login", Some(login.clone()))),
        ("the same in the other region, from PHP", php(&other, key, "/v1/login", &login)),
        (
            "register somebody (a second time it is refused)",
            curl("POST", "/v1/users", Some(register)),
        ),
        ("find", curl("POST", "/v1/users/lookup", Some(json!({ "email": known.email })))),
        ("read", curl("GET", &format!("/v1/users/{user}"), None)),
        ("change", client(&format!("PATCH /v1/users/{user} {nickname}"))),
        (
            "read that in the other region",
            curl_at(&other, "GET", &format!("/v1/users/{user}"), None),
        ),
        ("what happened to a user", client(&format!("GET /v1/users/{user}/history"))),
        ("how the node is", curl("GET", "/health/ready", None)),
        ("as an operator: the companies", format!("{operator} company list")),
    ];
    let calls: Vec<_> =
        calls.iter().map(|(what, call)| format!("\n  # {what}\n  {call}\n")).collect();
    let head = format!("\nCalls to copy, as {} (its key holds for a day):\n", company.id);
    Ok(head + &calls.concat())
}

/// A POST from PHP without any library.
fn php(url: &str, key: &str, path: &str, body: &serde_json::Value) -> String {
    let content = body.to_string();
    let content = content.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$");
    let script = format!(
        "echo file_get_contents(\"{url}{path}\", false, stream_context_create([\"http\" => [\
         \"method\" => \"POST\", \"header\" => \"X-Api-Key: {key}\\r\\nContent-Type: \
         application/json\", \"content\" => \"{content}\"]])), \"\\n\";"
    );
    format!("php -r {}", quoted(&script))
}

/// The running program as it can be called from here.
fn program() -> String {
    let found = std::env::current_exe().unwrap_or_else(|_| Path::new("jcas").to_owned());
    let here = std::env::current_dir().unwrap_or_default();
    match found.strip_prefix(&here) {
        Ok(below) => format!("./{}", below.display()),
        Err(_) => found.display().to_string(),
    }
}

/// A word as the shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_quoted_where_the_shell_would_read_more_into_it() {
        for plain in ["plain/word.x", "127.0.0.1:80", "-"] {
            assert_eq!(quoted(plain), plain);
        }
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("two words"), "'two words'");
        assert_eq!(quoted("$HOME `x` \"y\" \\"), "'$HOME `x` \"y\" \\'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }
}
