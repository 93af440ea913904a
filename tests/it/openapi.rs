//! The contract's document is whole: each call says what it takes and everything it may answer,
//! with examples that fit.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::schema::Document;

const PROBLEM: &str = "application/problem+json";

fn document() -> Document {
    let text = include_str!("../../src/http/openapi.json");
    Document::new(serde_json::from_str(text).unwrap())
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// The statuses that any call of its kind may answer with.
fn expected(path: &str, operation: &Value) -> BTreeSet<&'static str> {
    let mut expected = BTreeSet::from(["406"]);
    if path.starts_with("/v1/") {
        expected.extend(["401", "500"]);
    }
    if operation["x-scope"].is_string() {
        expected.extend(["403", "503"]);
    }
    if operation["requestBody"].is_object() {
        expected.extend(["400", "413", "415", "422"]);
    }
    if path.starts_with("/v1/users/{id}") {
        expected.insert("404");
    }
    // Who was erased is what a receipt is about.
    if path.starts_with("/v1/users/{id}") && !path.ends_with("/erasure") {
        expected.insert("410");
    }
    expected
}

#[test]
fn every_call_says_what_it_takes_and_all_it_may_answer() {
    let document = document();
    let mut names = BTreeSet::new();
    for (method, path) in document.operations() {
        let operation = &document.root["paths"][path][method];
        let at = format!("{method} {path}");
        assert!(names.insert(text(operation, "operationId").to_owned()), "{at}: operationId");
        assert!(!text(operation, "summary").is_empty(), "{at}: no summary");
        let statuses: BTreeSet<_> = operation["responses"].as_object().unwrap().keys().collect();
        for status in expected(path, operation) {
            assert!(statuses.contains(&status.to_owned()), "{at}: no {status}");
        }
        parameters(&document, operation, path, &at);
    }
}

fn parameters(document: &Document, operation: &Value, path: &str, at: &str) {
    let taken = operation["parameters"].as_array().unwrap().iter();
    let taken: Vec<_> = taken.map(|it| document.resolved(it)).collect();
    let named = |place: &str| {
        let of = taken.iter().filter(|it| it["in"] == place);
        of.map(|it| text(it, "name").to_owned()).collect::<BTreeSet<_>>()
    };
    let in_path = path.split('{').skip(1).map(|rest| rest.split('}').next().unwrap().to_owned());
    assert_eq!(named("path"), in_path.collect(), "{at}");
    for name in ["X-Request-Id", "traceparent"] {
        assert!(named("header").contains(name), "{at}: no {name}");
    }
    for parameter in &taken {
        let name = text(parameter, "name");
        assert!(parameter["in"] != "path" || parameter["required"] == true, "{at}: {name}");
        if parameter["example"].is_null() {
            continue;
        }
        document.check(&parameter["schema"], &parameter["example"], &format!("{at}: {name}"));
    }
    let once = named("header").contains("Idempotency-Key");
    let refused = operation["responses"]["422"].to_string().contains("idempotency_key_reused");
    assert_eq!(once, refused, "{at}");
}

#[test]
fn every_body_has_an_example_that_fits_whether_it_is_sent_or_answered() {
    let document = document();
    for (method, path) in document.operations() {
        let operation = &document.root["paths"][path][method];
        if let Some(content) = operation["requestBody"]["content"].as_object() {
            for (media, body) in content {
                fitting_examples(&document, body, &format!("{method} {path}: {media}"));
            }
        }
        for (status, response) in operation["responses"].as_object().unwrap() {
            let response = document.resolved(response);
            let content = response["content"].as_object();
            for (media, body) in content.into_iter().flatten().filter(|it| it.0 != PROBLEM) {
                fitting_examples(&document, body, &format!("{method} {path} {status}: {media}"));
            }
            // What has no body is said to have none by its status.
            assert!(content.is_some() || ["204", "304"].contains(&status.as_str()), "{path}");
        }
    }
}

/// A body's own examples, else those of its schema.
fn fitting_examples(document: &Document, body: &Value, at: &str) {
    let schema = &body["schema"];
    let own = body["examples"].as_object().into_iter().flatten();
    let mut examples: Vec<_> = own.map(|(_, example)| &example["value"]).collect();
    examples.extend(document.resolved(schema)["examples"].as_array().into_iter().flatten());
    assert!(!examples.is_empty(), "{at} has no example");
    for example in examples {
        document.check(schema, example, at);
    }
}

#[test]
fn every_answer_names_its_headers_and_every_refusal_its_codes() {
    let document = document();
    for (method, path) in document.operations() {
        for (status, response) in
            document.root["paths"][path][method]["responses"].as_object().unwrap()
        {
            let response = document.resolved(response);
            let at = format!("{method} {path} {status}");
            let said = text(response, "description");
            assert!(!said.is_empty(), "{at}: no description");
            let header = |name: &str| {
                let header = document.resolved(&response["headers"][name]);
                !text(header, "description").is_empty() && header["schema"].is_object()
            };
            assert!(header("X-Request-Id"), "{at}");
            assert_eq!(header("Location"), status == "201", "{at}: Location");
            assert_eq!(header("Accept"), status == "415", "{at}: Accept");
            let problem = &response["content"][PROBLEM];
            if problem.is_null() {
                assert!(status < &"400".to_owned() || path == "/health/ready", "{at}: no problem");
                continue;
            }
            let waits = ["429", "503"].contains(&status.as_str());
            assert_eq!(header("Retry-After"), waits, "{at}: Retry-After");
            let codes = &problem["schema"]["allOf"][1]["properties"]["code"]["enum"];
            let codes = codes.as_array().unwrap().iter().map(|code| code.as_str().unwrap());
            let codes: BTreeSet<_> = codes.collect();
            assert!(!codes.is_empty(), "{at}");
            let (_, listed) = said.split_once("Codes: ").unwrap_or_else(|| panic!("{at}: {said}"));
            let listed = listed.trim_end_matches('.').split(", ");
            let listed: BTreeSet<_> = listed.map(|code| code.trim_matches('`')).collect();
            assert_eq!(listed, codes, "{at}");
        }
    }
}

#[test]
fn every_link_leads_to_a_call_that_takes_what_it_gives() {
    let document = document();
    let operations: Vec<_> = document
        .operations()
        .map(|(method, path)| (path, &document.root["paths"][path][method]))
        .collect();
    for (name, link) in document.root["components"]["links"].as_object().unwrap() {
        let target = operations.iter().find(|it| it.1["operationId"] == link["operationId"]);
        let (path, _) = target.unwrap_or_else(|| panic!("{name} leads nowhere"));
        for parameter in link["parameters"].as_object().unwrap().keys() {
            assert!(path.contains(&format!("{{{parameter}}}")), "{name}: {parameter}");
        }
    }
}
