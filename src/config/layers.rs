//! The layers: one tree of values, laid over each other, that knows who gave what.
//!
//! A layer may only set what `default.toml` has, with a value of the same kind; anything else is a
//! fault of that layer and is left out. What serde then still refuses (an address that is none) is
//! put back to its default and noted, until the tree can be read, so that every fault is found in
//! one go.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use figment::Provider;
use figment::error::Kind;
use figment::providers::{Format, Toml};
use figment::value::{Dict, Num, Value};
use serde::Deserialize;

use super::fault::{self, ConfigFaults, Fault, Given, Review, Source};
use super::nearest::nearest;
use super::{Config, DEFAULT_TOML, ENV_PREFIX};

/// Faults found by serde before the rest is left unread. Each is found by reading once more.
const REPAIRS_MAX: usize = 1000;

/// The layers laid over each other so far.
#[derive(Debug)]
pub(super) struct Layers {
    defaults: Value,
    values: Value,
    given: BTreeMap<String, Given>,
    faults: Vec<Fault>,
    /// Where a number belongs and what was given is none, or one that does not fit the field.
    odd_numbers: Vec<String>,
}

impl Layers {
    /// The embedded defaults.
    pub(super) fn embedded() -> Result<Self, ConfigFaults> {
        let defaults = Value::from(parse(DEFAULT_TOML).map_err(|problem| {
            ConfigFaults::one(source_fault(Source::Default, problem, "a TOML file"))
        })?);
        let mut given = BTreeMap::new();
        note_given("", &defaults, &Source::Default, &mut given);
        let values = defaults.clone();
        Ok(Self { defaults, values, given, faults: Vec::new(), odd_numbers: Vec::new() })
    }

    /// Lays a TOML file on top.
    pub(super) fn add_file(&mut self, path: &Path) {
        let source = Source::File(path.to_owned());
        let parsed = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot be read: {error}"))
            .and_then(|text| parse(&text));
        match parsed {
            Ok(layer) => self.overlay("", Value::from(layer), &source),
            Err(problem) => {
                self.faults.push(source_fault(source, problem, "a readable TOML file"));
            }
        }
    }

    /// Lays the variables that begin with `JCAS__` on top, in the order of their names.
    pub(super) fn add_environment(&mut self, env: impl IntoIterator<Item = (OsString, OsString)>) {
        let ours = env
            .into_iter()
            .filter(|(name, _)| name.as_encoded_bytes().starts_with(ENV_PREFIX.as_bytes()));
        for (name, text) in ours.collect::<BTreeMap<_, _>>() {
            let source = Source::Environment(name.to_string_lossy().into_owned());
            let (Some(name), Some(text)) = (name.to_str(), text.to_str()) else {
                self.faults.push(source_fault(source, "not UTF-8".to_owned(), "UTF-8 text"));
                continue;
            };
            let path = name.strip_prefix(ENV_PREFIX).unwrap_or(name).to_lowercase();
            let path = path.replace("__", ".");
            if path.split('.').any(str::is_empty) {
                self.faults.push(source_fault(source, unknown(None), "JCAS__SECTION__KEY"));
                continue;
            }
            let value = match at(&self.defaults, &path) {
                Some(Value::String(..)) | None => Value::from(text),
                Some(_) => {
                    // The parser takes any text; what is no number, bool or list stays a text.
                    let Ok(value) = text.parse();
                    value
                }
            };
            let nested = path
                .rsplit('.')
                .fold(value, |inner, key| Value::from(Dict::from([(key.to_owned(), inner)])));
            self.overlay("", nested, &source);
        }
    }

    /// Reads the tree, and reviews what it says.
    pub(super) fn finish(mut self) -> Result<Config, ConfigFaults> {
        let config = self.read();
        let mut review = Review::new(&self.given, self.faults);
        if let Some(config) = &config {
            config.review(&mut review);
        }
        for path in &self.odd_numbers {
            let shown = self.given.get(path).map_or("a number", |given| given.shown.as_str());
            review.refuse(path, format!("found {shown}"), "a whole number");
        }
        review.finish()?;
        let unread = || source_fault(Source::Default, "cannot be read".to_owned(), "all of it");
        config.ok_or_else(|| ConfigFaults::one(unread()))
    }

    /// Lays `value` over what is at `path`; what does not belong there becomes a fault.
    fn overlay(&mut self, path: &str, value: Value, source: &Source) {
        let Some(default) = at(&self.defaults, path) else {
            let fault = self.unknown_key(path, source);
            return self.faults.push(fault);
        };
        match value {
            Value::Dict(_, layer) if default.as_dict().is_some() => {
                for (key, value) in layer {
                    self.overlay(&joined(path, &key), value, source);
                }
            }
            // What is no number is refused by the review, which knows the range.
            value if fits(&value, default) => {
                note_given(path, &value, source, &mut self.given);
                set(&mut self.values, path, value);
            }
            value => {
                let problem = format!("found {}", shown(&value));
                let allowed = wanted(path, default);
                let (path, source) = (path.to_owned(), source.clone());
                self.faults.push(Fault { path, source, problem, allowed });
            }
        }
    }

    /// Reads the tree with serde, putting right and noting what it refuses.
    fn read(&mut self) -> Option<Config> {
        let mut repaired = Vec::new();
        while repaired.len() < REPAIRS_MAX {
            let error = match Config::deserialize(&self.values) {
                Ok(config) => return Some(config),
                Err(error) => error,
            };
            let mut keys = error.path.clone();
            if let Kind::MissingField(name) = &error.kind {
                keys.push(name.to_string());
            }
            let path = keys.join(".");
            if repaired.contains(&path) {
                return None;
            }
            self.repair(&path, &error.kind);
            repaired.push(path);
        }
        None
    }

    /// Notes what is wrong at `path` and puts something there that can be read.
    fn repair(&mut self, path: &str, error: &Kind) {
        let default = at(&self.defaults, path).cloned();
        if matches!(default, Some(Value::Num(..))) {
            // Out of every range, so that the review, which knows the range, refuses it.
            set(&mut self.values, path, Value::from(u32::MAX));
            return self.odd_numbers.push(path.to_owned());
        }
        let found = at(&self.values, path).map_or_else(|| "nothing".to_owned(), shown);
        let allowed = default.as_ref().map_or_else(|| "a text".to_owned(), |it| wanted(path, it));
        let (problem, allowed) = match error {
            Kind::UnknownField(key, known) => {
                (unknown(nearest(key, known.iter().copied())), format!("only {}", known.join(", ")))
            }
            Kind::UnknownVariant(_, known) => (format!("found {found}"), known.join(", ")),
            Kind::MissingField(_) => ("it is missing".to_owned(), allowed),
            Kind::Message(reason) => (format!("found {found}: {reason}"), allowed),
            _ => (format!("found {found}"), allowed),
        };
        if fault::is_sound(&self.faults, path) {
            let source = fault::source_of(&self.given, path);
            self.faults.push(Fault { path: path.to_owned(), source, problem, allowed });
        }
        if matches!(error, Kind::UnknownField(..)) {
            return remove(&mut self.values, path);
        }
        // Only the entries of lists have no default: they are sections of texts.
        let is_entry = path.rsplit('.').next().is_some_and(|key| key.parse::<usize>().is_ok());
        let blank = if is_entry { Value::from(Dict::new()) } else { Value::from("") };
        set(&mut self.values, path, default.unwrap_or(blank));
    }

    fn unknown_key(&self, path: &str, source: &Source) -> Fault {
        let (parent, key) = path.rsplit_once('.').unwrap_or(("", path));
        let siblings: Vec<&str> = at(&self.defaults, parent)
            .and_then(Value::as_dict)
            .map(|keys| keys.keys().map(String::as_str).collect())
            .unwrap_or_default();
        // The right name in the wrong section is a likelier slip than a wrong name.
        let elsewhere = self.given.keys().find(|known| known.rsplit('.').next() == Some(key));
        let meant = elsewhere.map(String::as_str).or_else(|| nearest(key, siblings.clone()));
        Fault {
            path: path.to_owned(),
            source: source.clone(),
            problem: unknown(meant),
            allowed: format!("only {}", siblings.join(", ")),
        }
    }
}

/// A TOML text as a tree.
fn parse(text: &str) -> Result<Dict, String> {
    let profiles = Toml::string(text).data().map_err(|error| format!("is not TOML: {error}"))?;
    Ok(profiles.into_values().next().unwrap_or_default())
}

fn source_fault(source: Source, problem: String, allowed: &str) -> Fault {
    Fault { path: String::new(), source, problem, allowed: allowed.to_owned() }
}

/// Notes the source of every setting in `value`.
fn note_given(path: &str, value: &Value, source: &Source, given: &mut BTreeMap<String, Given>) {
    if let Some(dict) = value.as_dict() {
        for (key, value) in dict {
            note_given(&joined(path, key), value, source, given);
        }
    } else {
        let shown = shown(value);
        given.insert(path.to_owned(), Given { source: source.clone(), shown });
    }
}

/// The path of `key` in the section at `path`.
fn joined(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The keys and list positions of a path.
fn keys(path: &str) -> impl Iterator<Item = &str> {
    path.split('.').filter(move |_| !path.is_empty())
}

fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    keys(path).try_fold(value, |value, key| match value {
        Value::Dict(_, dict) => dict.get(key),
        Value::Array(_, list) => list.get(key.parse::<usize>().ok()?),
        _ => None,
    })
}

fn at_mut<'a>(value: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    keys(path).try_fold(value, |value, key| match value {
        Value::Dict(_, dict) => dict.get_mut(key),
        Value::Array(_, list) => list.get_mut(key.parse::<usize>().ok()?),
        _ => None,
    })
}

fn set(values: &mut Value, path: &str, value: Value) {
    let (parent, key) = path.rsplit_once('.').unwrap_or(("", path));
    if let Some(place) = at_mut(values, path) {
        *place = value;
    } else if let Some(Value::Dict(_, dict)) = at_mut(values, parent) {
        dict.insert(key.to_owned(), value);
    }
}

fn remove(values: &mut Value, path: &str) {
    let (parent, key) = path.rsplit_once('.').unwrap_or(("", path));
    if let Some(Value::Dict(_, dict)) = at_mut(values, parent) {
        dict.remove(key);
    }
}

/// What sort of value it is, in plain words.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Dict(..) => "a section",
        Value::Array(..) => "a list",
        Value::Bool(..) => "true or false",
        Value::Num(..) => "a whole number",
        Value::String(..) | Value::Char(..) => "a text",
        Value::Empty(..) => "nothing",
    }
}

/// Whether a value may stand where `default` stands: anything but a section stands for a number.
fn fits(value: &Value, default: &Value) -> bool {
    let is_number = matches!(default, Value::Num(..)) && !matches!(value, Value::Dict(..));
    is_number || kind(value) == kind(default)
}

/// The value as a person would write it.
fn shown(value: &Value) -> String {
    match value {
        Value::String(_, text) => format!("{text:?}"),
        Value::Char(_, text) => format!("{:?}", text.to_string()),
        Value::Bool(_, value) => value.to_string(),
        Value::Num(_, number) => number_shown(*number),
        Value::Dict(..) | Value::Array(..) | Value::Empty(..) => kind(value).to_owned(),
    }
}

fn number_shown(number: Num) -> String {
    match (number.to_u128(), number.to_i128(), number.to_f64()) {
        (Some(whole), _, _) => whole.to_string(),
        (_, Some(whole), _) => whole.to_string(),
        (_, _, Some(real)) => real.to_string(),
        _ => "a number".to_owned(),
    }
}

/// What a value of the kind of `default` looks like.
fn wanted(path: &str, default: &Value) -> String {
    match default {
        Value::Dict(..) => format!("a section: [{path}] and its keys"),
        Value::Bool(..) | Value::Array(..) => kind(default).to_owned(),
        _ => format!("{}, such as {}", kind(default), shown(default)),
    }
}

fn unknown(meant: Option<&str>) -> String {
    match meant {
        Some(name) => format!("there is no such setting, did you mean {name}?"),
        None => "there is no such setting".to_owned(),
    }
}
