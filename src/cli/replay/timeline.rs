//! A user's events and what each of them did.

use serde_json::{Value, json};

use crate::accounts::view::rfc3339;
use crate::cli::log::shown::Shown;
use crate::cli::out::{self, Lines};
use crate::cli::progress::Meter;
use crate::cli::screen::{Line, Screen, Style};
use crate::events::ids::UserId;
use crate::events::stamp::EventRef;
use crate::replay::held::{Held, held_by};
use crate::replay::history::History;
use crate::replay::timeline::{Did, Entry, Outcome, Timeline, Written, timeline};

use super::summary::kind_name;

/// Prints the timeline, and with `and_state` what the user was by then.
pub(super) fn run(
    history: &History,
    user: UserId,
    and_state: bool,
    as_json: bool,
) -> anyhow::Result<()> {
    let mut meter = Meter::events("replaying");
    let timeline = timeline(history, user, |events| meter.set(events));
    meter.finish();
    let timeline = timeline?;
    if timeline.entries.is_empty() {
        out::note(&format!("nothing that was read is about user {user}"));
    }
    if as_json {
        return print_json(&timeline, and_state);
    }
    let mut screen = Screen::default();
    for entry in &timeline.entries {
        if !screen.print(&entry_line(entry))? {
            return Ok(());
        }
    }
    if and_state {
        screen.say("")?;
        screen.print(&Line::default().and(Style::Strong, "the state by then"))?;
        for held in held_by(&timeline.state) {
            screen.print(&held_line(&held))?;
        }
    }
    screen.finish()
}

fn print_json(timeline: &Timeline, and_state: bool) -> anyhow::Result<()> {
    let mut lines = Lines::default();
    for entry in &timeline.entries {
        if !lines.line(&entry_json(entry).to_string())? {
            return Ok(());
        }
    }
    if and_state {
        let state: Vec<_> = held_by(&timeline.state).iter().map(held_json).collect();
        lines.line(&json!({ "state": state }).to_string())?;
    }
    lines.finish()
}

fn reference(event: &EventRef) -> String {
    format!("{event:?}")
}

/// An event of a timeline, for programs.
pub(super) fn entry_json(entry: &Entry) -> Value {
    let shown = Shown::new(entry.position, &entry.header, entry.event.as_ref());
    let mut value = serde_json::to_value(&shown).unwrap_or_default();
    let did = match &entry.did {
        Did::Nothing(why) => json!({ "nothing": why }),
        Did::Wrote(parts) => {
            json!({ "wrote": parts.iter().map(written_json).collect::<Vec<_>>() })
        }
    };
    if let Some(object) = value.as_object_mut() {
        object.insert("did".to_owned(), did);
    }
    value
}

fn written_json(written: &Written) -> Value {
    let part = written.part.to_string();
    let mut value = match &written.outcome {
        Outcome::Changed(before) => {
            let replaced = before.as_ref().map(reference);
            json!({ "part": part, "outcome": "changed", "replaced": replaced })
        }
        Outcome::Lost(to) => {
            let against = to.as_ref().map(reference);
            json!({ "part": part, "outcome": "lost", "against": against })
        }
        Outcome::Known => json!({ "part": part, "outcome": "known" }),
    };
    if let (Some(object), Some(until)) = (value.as_object_mut(), &written.until) {
        object.insert("replaced_by".to_owned(), json!(reference(until)));
    }
    value
}

/// What stands in a part of a state, for programs.
pub(super) fn held_json(held: &Held) -> Value {
    let at = held.mark.map(|mark| rfc3339(mark.stamp.revision.unix_ms()));
    let origin = held.mark.map(|mark| mark.stamp.origin.to_string());
    json!({ "part": held.part, "is": held.is, "at": at, "origin": origin })
}

fn held_line(held: &Held) -> Line {
    let since = held.mark.map_or_else(String::new, |mark| {
        format!(", since {} of {}", rfc3339(mark.stamp.revision.unix_ms()), mark.stamp.origin)
    });
    Line::default()
        .and(Style::Plain, format!("{}: {}", held.part, held.is))
        .and(Style::Faint, since)
}

fn entry_line(entry: &Entry) -> Line {
    let header = &entry.header;
    let company = header.cause.company.map_or_else(|| "-".to_owned(), |id| id.to_string());
    let line = Line::default()
        .and(Style::Faint, format!("{}  ", rfc3339(header.revision.unix_ms())))
        .and(Style::Plain, format!("{:?}  {company}  ", header.reference()))
        .and(Style::Strong, kind_name(header.kind));
    match &entry.did {
        Did::Nothing(why) => line.and(Style::Bad, format!(": nothing: {why}")),
        Did::Wrote(parts) => parts.iter().enumerate().fold(line, |line, (at, written)| {
            let line = line.and(Style::Plain, if at == 0 { ": " } else { "; " });
            let (style, text) = written_text(written);
            let line = line.and(style, text);
            match &written.until {
                Some(until) => line.and(Style::Faint, format!(" (until {until:?})")),
                None => line,
            }
        }),
    }
}

fn written_text(written: &Written) -> (Style, String) {
    let part = &written.part;
    match &written.outcome {
        Outcome::Changed(None) => (Style::Good, format!("{part} set")),
        Outcome::Changed(Some(before)) => {
            (Style::Good, format!("{part} set, replacing {before:?}"))
        }
        Outcome::Lost(None) => (Style::Bad, format!("{part} lost against a greater stamp")),
        Outcome::Lost(Some(to)) => (Style::Bad, format!("{part} lost against {to:?}")),
        Outcome::Known => (Style::Faint, format!("{part} known already")),
    }
}
