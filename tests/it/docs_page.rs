//! The contract as a page: there only where it is built in, and then whole, from this node alone.

use serde_json::Value;

use crate::node::Node;
use crate::problem::problem;

/// What a browser says it takes of a page.
#[cfg(feature = "docs-page")]
const BROWSER: (&str, &str) = ("Accept", "text/html,application/xhtml+xml;q=0.9");

#[cfg(not(feature = "docs-page"))]
#[test]
fn a_program_without_the_page_has_nothing_there() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    for path in ["/docs", "/docs/", "/docs/index.html"] {
        problem(&shop.call("GET", path, Value::Null), 404, "not_found");
    }
}

/// What stands in quotes behind a name.
#[cfg(feature = "docs-page")]
fn values_of<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!("{name}=\"");
    text.split(&start).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

#[cfg(feature = "docs-page")]
#[test]
fn the_page_is_whole_and_takes_nothing_from_elsewhere() {
    let node = Node::started(&[]);
    let call = |method: &str, path: &str, accept: (&str, &str)| {
        crate::node::send(method, &format!("{}{path}", node.url()), &[accept], None)
    };
    let page = call("GET", "/docs/", BROWSER);
    assert_eq!(page.done(200).header("content-type"), Some("text/html"));
    let named: Vec<_> = [values_of(&page.text, "src"), values_of(&page.text, "href")]
        .concat()
        .into_iter()
        .collect();
    assert!(named.len() >= 4, "{}", page.text);
    let mut initializer = String::new();
    for name in named {
        assert!(!name.contains("//"), "{name} is loaded from elsewhere");
        let path = format!("/docs/{}", name.trim_start_matches("./"));
        // A picture is no text.
        let method = if name.ends_with(".png") { "HEAD" } else { "GET" };
        let file = call(method, &path, ("Accept", "*/*"));
        assert!(!file.done(200).text.is_empty() || method == "HEAD", "{name}");
        if name.ends_with("swagger-initializer.js") {
            initializer.clone_from(&file.text);
        }
        let policy = file.header("content-security-policy").unwrap_or_default();
        assert!(policy.starts_with("default-src 'none'"), "{name}: {policy}");
        assert_eq!(file.header("x-content-type-options"), Some("nosniff"), "{name}");
    }
    assert!(initializer.contains("/openapi.json"), "{initializer}");
    assert!(!initializer.contains("http://") && !initializer.contains("https://"), "{initializer}");
    // No script stands in the page itself: the policy would keep it from running.
    assert_eq!(page.text.matches("<script").count(), values_of(&page.text, "src").len());
}

#[cfg(feature = "docs-page")]
#[test]
fn the_page_has_an_address_and_nothing_beside_its_files() {
    let node = Node::started(&[]);
    let shop = node.company("shop", &["NG"]);
    let agent: ureq::Agent =
        ureq::Agent::config_builder().max_redirects(0).http_status_as_error(false).build().into();
    let answer = agent.get(format!("{}/docs", node.url())).call().unwrap();
    assert_eq!(answer.status(), 308);
    assert_eq!(answer.headers()["location"], "/docs/");
    for path in ["/docs/nothing.js", "/docs/..%2f..%2fetc%2fpasswd", "/docs/%2e%2e/v1/whoami"] {
        problem(&shop.call("GET", path, Value::Null), 404, "not_found");
    }
    let answer = shop.call("POST", "/docs/index.html", Value::Null);
    problem(&answer, 405, "method_not_allowed");
    assert_eq!(shop.call("HEAD", "/docs/", Value::Null).done(200).text, "");
    // Elsewhere what a caller takes still counts.
    let answer = shop.call_raw("GET", "/v1/whoami", &[BROWSER], None);
    problem(&answer, 406, "not_acceptable");
}
