//! The first event after which something no longer holds.

use std::str::FromStr;

use serde_json::{Value, json};

use crate::accounts::view::rfc3339;
use crate::cli::out;
use crate::cli::progress::Meter;
use crate::cli::screen::{Line, Screen, Style};
use crate::replay::history::History;
use crate::replay::invariants::{Broken, Invariant, bisect};

use super::summary::kind_name;

/// One of the built-in invariants, or all.
#[derive(Debug, Clone, Copy)]
pub(super) enum Which {
    All,
    One(Invariant),
}

/// A text that names none.
#[derive(Debug, thiserror::Error)]
#[error("there are credential, owner, registered, key and link, and all of them: all")]
pub(super) struct NoInvariant;

impl FromStr for Which {
    type Err = NoInvariant;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "all" {
            return Ok(Self::All);
        }
        let named = Invariant::ALL.into_iter().find(|it| it.name() == text);
        named.map(Self::One).ok_or(NoInvariant)
    }
}

/// Prints for each the first event after which it no longer holds.
pub(super) fn run(history: &History, which: Which, as_json: bool) -> anyhow::Result<()> {
    let which = match which {
        Which::All => Invariant::ALL.to_vec(),
        Which::One(one) => vec![one],
    };
    let mut meter = Meter::events("replaying");
    let found = bisect(history, &which, |events| meter.set(events));
    meter.finish();
    let found = found?;
    if as_json {
        let all: Vec<_> =
            found.iter().map(|(it, broken)| in_json(history, *it, broken.as_ref())).collect();
        return out::line(&serde_json::to_string_pretty(&all)?);
    }
    let mut screen = Screen::default();
    for (invariant, broken) in &found {
        let line = Line::default().and(Style::Strong, format!("{:<12} ", invariant.name()));
        let line = line.and(Style::Plain, format!("{}: ", invariant.says()));
        match broken {
            None => screen.print(&line.and(Style::Good, "holds"))?,
            Some(broken) => {
                screen.print(&line.and(Style::Bad, "no longer holds"))?;
                screen.say(&format!("    {}", text(history, broken)))?
            }
        };
    }
    screen.finish()
}

fn in_json(history: &History, invariant: Invariant, broken: Option<&Broken>) -> Value {
    let said = broken.map(|it| {
        json!({
            "event": format!("{:?}", it.header.reference()),
            "at": rfc3339(it.header.revision.unix_ms()),
            "kind": kind_name(it.header.kind),
            "company": it.header.cause.company,
            "log": super::path(history, it.source),
            "user": it.user,
            "why": it.why,
        })
    });
    json!({
        "invariant": invariant.name(),
        "says": invariant.says(),
        "holds": broken.is_none(),
        "first_broken_by": said,
    })
}

fn text(history: &History, broken: &Broken) -> String {
    let header = &broken.header;
    format!(
        "since {:?} ({}, {}, in {}): user {}: {}",
        header.reference(),
        rfc3339(header.revision.unix_ms()),
        kind_name(header.kind),
        super::path(history, broken.source),
        broken.user,
        broken.why,
    )
}
