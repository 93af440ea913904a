//! As much of JSON Schema and OpenAPI as the contract uses. A keyword it does not know fails the
//! test, so nothing is passed over in silence.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::node::Answer;

/// The contract.
pub struct Document {
    /// All of it.
    pub root: Value,
}

/// Keywords that say something to people only, or that are looked at beside another.
const SILENT: [&str; 7] = [
    "description",
    "examples",
    "default",
    "format",
    "pattern",
    "contentMediaType",
    "contentSchema",
];

/// Headers that HTTP itself needs, whatever is answered.
const TRANSPORT: [&str; 5] =
    ["connection", "content-length", "content-type", "date", "transfer-encoding"];

impl Document {
    pub fn new(root: Value) -> Self {
        assert_eq!(root["openapi"], "3.1.0");
        Self { root }
    }

    /// Every method and path.
    pub fn operations(&self) -> impl Iterator<Item = (&str, &str)> {
        let paths = self.root["paths"].as_object().unwrap().iter();
        paths.flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys();
            methods.map(move |method| (method.as_str(), path.as_str()))
        })
    }

    /// Asserts that an answer is the operation's documented success.
    #[track_caller]
    pub fn check_success(&self, operation: &Value, answer: &Answer, what: &str) {
        let responses = operation["responses"].as_object().unwrap();
        let status = responses.keys().find(|status| status.starts_with('2')).unwrap();
        assert_eq!(&answer.status.to_string(), status, "{what}: {}", answer.text);
        self.check_answer(&responses[status], answer, what);
    }

    /// Asserts that an answer is one of the operation's documented refusals.
    #[track_caller]
    pub fn check_refusal(&self, operation: &Value, answer: &Answer) {
        let response = &operation["responses"][answer.status.to_string()];
        assert!(response.is_object(), "{} is not documented: {}", answer.status, answer.text);
        self.check_answer(response, answer, &answer.text);
    }

    #[track_caller]
    fn check_answer(&self, response: &Value, answer: &Answer, what: &str) {
        let response = self.resolved(response);
        for (name, header) in response["headers"].as_object().unwrap() {
            assert!(self.resolved(header).is_object(), "{what}: {name}");
            let is_there = answer.header(&name.to_lowercase()).is_some();
            // A caller without a key that is known has no limits to be told.
            let may_lack = name.starts_with("RateLimit") && answer.status == 401;
            assert!(is_there || may_lack, "{what}: no header {name}");
        }
        let documented = response["headers"].as_object().unwrap().keys();
        let documented: BTreeSet<_> = documented.map(|name| name.to_lowercase()).collect();
        for (name, value) in &answer.headers {
            let known = TRANSPORT.contains(&name.as_str()) || documented.contains(name);
            assert!(known, "{what}: the header {name}: {value} is not documented");
        }
        let Some(content) = response["content"].as_object() else { return };
        let media = answer.header("content-type").unwrap_or_default();
        let media = media.split(';').next().unwrap();
        assert!(content.contains_key(media), "{what}: {media} is not documented");
        let content = &content[media];
        if answer.body.is_object() {
            self.check(&content["schema"], &answer.body, what);
        }
    }

    /// Asserts that a value is as a schema says, and has no member that the schema does not name.
    #[track_caller]
    pub fn check(&self, schema: &Value, value: &Value, what: &str) {
        let mut wrong = Vec::new();
        self.walk(schema, value, "$", None, &mut wrong);
        assert!(wrong.is_empty(), "{what}: {wrong:?} in {value}");
    }

    /// Every problem code that some operation is documented to answer with.
    pub fn codes_in_use(&self) -> BTreeSet<String> {
        let mut codes = BTreeSet::new();
        for (method, path) in self.operations() {
            for response in
                self.root["paths"][path][method]["responses"].as_object().unwrap().values()
            {
                let problem = &self.resolved(response)["content"]["application/problem+json"];
                let narrowed = &problem["schema"]["allOf"][1]["properties"]["code"]["enum"];
                let narrowed = narrowed.as_array().into_iter().flatten();
                codes.extend(narrowed.map(|code| code.as_str().unwrap().to_owned()));
            }
        }
        codes
    }

    /// What a reference leads to.
    pub fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let Some(reference) = schema["$ref"].as_str() else { return schema };
        let path = reference.strip_prefix('#').unwrap();
        let found = self.root.pointer(path);
        assert!(found.is_some(), "{reference} leads nowhere");
        found.unwrap()
    }

    /// `beside`: names that another part of an `allOf` knows.
    fn walk(
        &self,
        schema: &Value,
        value: &Value,
        at: &str,
        beside: Option<&BTreeSet<&str>>,
        wrong: &mut Vec<String>,
    ) {
        let schema = self.resolved(schema);
        let keywords = schema.as_object().unwrap();
        for (keyword, said) in keywords {
            match keyword.as_str() {
                "type" => {
                    let types =
                        said.as_array().map_or_else(|| vec![said], |all| all.iter().collect());
                    if !types.iter().any(|name| is(name.as_str().unwrap(), value)) {
                        wrong.push(format!("{at} is no {said}"));
                    }
                }
                "enum" if !said.as_array().unwrap().contains(value) => {
                    wrong.push(format!("{at} is none of {said}"));
                }
                "const" if said != value => wrong.push(format!("{at} is not {said}")),
                "required" => {
                    let names = said.as_array().unwrap().iter().map(|name| name.as_str().unwrap());
                    let missing = names.filter(|name| value.get(name).is_none());
                    wrong.extend(missing.map(|name| format!("{at}.{name} is missing")));
                }
                "items" => {
                    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.walk(said, item, &format!("{at}[{index}]"), None, wrong);
                    }
                }
                "allOf" => {
                    let parts = said.as_array().unwrap();
                    let known = parts.iter().flat_map(|part| self.names(part)).collect();
                    for part in parts {
                        self.walk(part, value, at, Some(&known), wrong);
                    }
                }
                "anyOf" | "oneOf" | "not" => {
                    let fits = |part: &Value| {
                        let mut wrong = Vec::new();
                        self.walk(part, value, at, None, &mut wrong);
                        usize::from(wrong.is_empty())
                    };
                    let parts = said.as_array().map_or(std::slice::from_ref(said), Vec::as_slice);
                    let fitting: usize = parts.iter().map(fits).sum();
                    let right = match keyword.as_str() {
                        "anyOf" => fitting > 0,
                        "oneOf" => fitting == 1,
                        _ => fitting == 0,
                    };
                    if !right {
                        wrong.push(format!("{at} fits {fitting} of {keyword}"));
                    }
                }
                "minLength" | "maxLength" => {
                    let length = value.as_str().map(|text| text.chars().count() as u64);
                    let bound = said.as_u64().unwrap();
                    let right = |length| {
                        if keyword == "minLength" { length >= bound } else { length <= bound }
                    };
                    if !length.is_none_or(right) {
                        wrong.push(format!("{at} is out of {keyword}"));
                    }
                }
                "enum" | "const" | "properties" | "additionalProperties" => {}
                known => assert!(SILENT.contains(&known), "unknown keyword {known}"),
            }
        }
        self.walk_members(keywords, value, at, beside, wrong);
    }

    fn walk_members(
        &self,
        keywords: &Map<String, Value>,
        value: &Value,
        at: &str,
        beside: Option<&BTreeSet<&str>>,
        wrong: &mut Vec<String>,
    ) {
        let properties = keywords.get("properties").and_then(Value::as_object);
        let others = keywords.get("additionalProperties");
        let (Some(members), true) = (value.as_object(), properties.is_some() || others.is_some())
        else {
            return;
        };
        for (name, member) in members {
            let at = format!("{at}.{name}");
            match (properties.and_then(|known| known.get(name)), others) {
                (Some(schema), _) => self.walk(schema, member, &at, None, wrong),
                (None, Some(schema)) if schema.is_object() => {
                    self.walk(schema, member, &at, None, wrong);
                }
                _ if beside.is_some_and(|known| known.contains(name.as_str())) => {}
                _ => wrong.push(format!("{at} is not documented")),
            }
        }
    }

    fn names<'a>(&'a self, schema: &'a Value) -> Vec<&'a str> {
        let properties = self.resolved(schema)["properties"].as_object();
        properties.into_iter().flatten().map(|(name, _)| name.as_str()).collect()
    }
}

fn is(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        other => {
            assert_eq!(other, "null", "a type this checker does not know");
            value.is_null()
        }
    }
}

#[test]
fn the_checker_sees_what_is_missing_wrong_and_not_documented() {
    let schema = serde_json::json!({ "allOf": [
        { "type": "object", "required": ["a"], "properties": { "a": { "type": "string" } } },
        { "properties": { "b": { "enum": [1, 2] } } },
    ] });
    let document = Document { root: Value::Null };
    let wrong = |value: Value| {
        let mut wrong = Vec::new();
        document.walk(&schema, &value, "$", None, &mut wrong);
        wrong.sort();
        wrong.dedup();
        wrong.join("; ")
    };
    assert_eq!(wrong(serde_json::json!({ "a": "x", "b": 2 })), "");
    assert_eq!(wrong(serde_json::json!({ "b": 1 })), "$.a is missing");
    assert_eq!(wrong(serde_json::json!({ "a": 1 })), r#"$.a is no "string""#);
    assert_eq!(wrong(serde_json::json!({ "a": "x", "b": 3 })), "$.b is none of [1,2]");
    assert_eq!(wrong(serde_json::json!({ "a": "x", "c": 3 })), "$.c is not documented");
    let schema = serde_json::json!({
        "anyOf": [{ "required": ["a"] }, { "required": ["b"] }],
        "not": { "required": ["a", "b"] },
        "properties": { "a": { "minLength": 2, "maxLength": 3 }, "b": {} },
    });
    let fits = |value: Value| {
        let mut wrong = Vec::new();
        document.walk(&schema, &value, "$", None, &mut wrong);
        wrong.is_empty()
    };
    assert!(fits(serde_json::json!({ "a": "xy" })) && fits(serde_json::json!({ "b": 1 })));
    assert!(!fits(serde_json::json!({})) && !fits(serde_json::json!({ "a": "xy", "b": 1 })));
    assert!(!fits(serde_json::json!({ "a": "x" })) && !fits(serde_json::json!({ "a": "wxyz" })));
}
