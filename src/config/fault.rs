//! What is wrong with the settings, and the review that collects it.
//!
//! It must never stop at the first fault.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// `default.toml`, built into the program.
    Default,
    /// A file.
    File(PathBuf),
    /// An environment variable, by its name.
    Environment(String),
    /// The program itself changed it after loading.
    Program,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the built-in default.toml"),
            Self::File(path) => path.display().fmt(f),
            Self::Environment(variable) => write!(f, "environment variable {variable}"),
            Self::Program => f.write_str("the program"),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The setting, dotted (`http.listen`); empty where a whole source is wrong.
    pub path: String,
    /// Where the value, or the key, comes from.
    pub source: Source,
    /// What is wrong, with what was found.
    pub problem: String,
    /// What would be right.
    pub allowed: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, source, problem, allowed } = self;
        if path.is_empty() {
            write!(f, "{source}: {problem}; allowed: {allowed}")
        } else {
            write!(f, "{path}: {problem}; allowed: {allowed} (from {source})")
        }
    }
}

/// Everything that is wrong with the settings, sorted by path. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", listed(faults))]
pub struct ConfigFaults {
    faults: Vec<Fault>,
}

impl ConfigFaults {
    /// The faults, sorted by path.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// A single fault.
    pub(super) fn one(fault: Fault) -> Self {
        Self { faults: vec![fault] }
    }
}

/// Whether nothing is known against the value at `path`, or against a whole it is part of.
pub(super) fn is_sound(faults: &[Fault], path: &str) -> bool {
    ancestry(path).all(|path| faults.iter().all(|fault| fault.path != path))
}

/// Who gave the value at `path`, or the list it is part of.
pub(super) fn source_of(given: &BTreeMap<String, Given>, path: &str) -> Source {
    ancestry(path)
        .find_map(|path| given.get(path))
        .map_or(Source::Program, |given| given.source.clone())
}

/// The path, and those of what it is part of.
fn ancestry(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| Some(path.rsplit_once('.')?.0))
}

fn listed(faults: &[Fault]) -> String {
    let count = match faults.len() {
        1 => "1 setting is wrong".to_owned(),
        many => format!("{many} settings are wrong"),
    };
    faults.iter().fold(count, |text, fault| format!("{text}\n  {fault}"))
}

/// What was given for a setting, as it was written, and by whom.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) source: Source,
    /// The value as a person would write it.
    pub(super) shown: String,
}

/// A walk over the settings that collects what is wrong. A path has at most one fault here, the
/// first: what follows from a wrong value is not reported again.
#[derive(Debug)]
pub(super) struct Review<'a> {
    given: &'a BTreeMap<String, Given>,
    faults: Vec<Fault>,
}

impl<'a> Review<'a> {
    /// A review that adds to `faults` and knows what was `given` for each path.
    pub(super) fn new(given: &'a BTreeMap<String, Given>, faults: Vec<Fault>) -> Self {
        Self { given, faults }
    }

    /// Refuses a value outside `range`, whose ends are in `unit`.
    pub(super) fn within<T>(&mut self, path: &str, value: T, range: &RangeInclusive<T>, unit: &str)
    where
        T: Copy + PartialOrd + fmt::Display,
    {
        if range.contains(&value) {
            return;
        }
        let shown = self.given.get(path).map_or_else(|| value.to_string(), |it| it.shown.clone());
        let allowed = format!("{} to {} {unit}", range.start(), range.end());
        self.refuse(path, format!("found {shown}"), allowed.trim_end());
    }

    /// Refuses the value at `path`.
    pub(super) fn refuse(
        &mut self,
        path: &str,
        problem: impl Into<String>,
        allowed: impl Into<String>,
    ) {
        if self.is_sound(path) {
            let (problem, allowed) = (problem.into(), allowed.into());
            let source = source_of(self.given, path);
            self.faults.push(Fault { path: path.to_owned(), source, problem, allowed });
        }
    }

    /// Whether nothing is known against the value at `path` yet. Rules over several settings ask
    /// it of each of them.
    pub(super) fn is_sound(&self, path: &str) -> bool {
        is_sound(&self.faults, path)
    }

    /// The faults, or `Ok`.
    pub(super) fn finish(self) -> Result<(), ConfigFaults> {
        let mut faults = self.faults;
        if faults.is_empty() {
            return Ok(());
        }
        faults.sort_by(|a, b| (&a.path, &a.source).cmp(&(&b.path, &b.source)));
        Err(ConfigFaults { faults })
    }
}
