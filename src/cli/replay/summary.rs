//! What a history holds, in numbers.

use std::time::Duration;

use serde_json::{Value, json};

use crate::accounts::view::rfc3339;
use crate::cli::out;
use crate::cli::progress::Meter;
use crate::cli::screen::{Line, Screen, Style};
use crate::clock::{Clock as _, SystemClock};
use crate::events::event::EventKind;
use crate::events::ids::CompanyId;
use crate::replay::coverage::{Fork, Gap};
use crate::replay::fold::{Folded, NobodyLooks, fold};
use crate::replay::history::History;
use crate::replay::summary::{Summary, Users};

/// Most gaps that are listed for people.
const GAPS_SHOWN: usize = 10;

/// Prints the state hash alone.
pub(super) fn state_hash(history: &History, as_json: bool) -> anyhow::Result<()> {
    let mut meter = Meter::events("replaying");
    let folded = fold(history, || NobodyLooks, |events| meter.set(events));
    meter.finish();
    let hash = folded?.state.state_hash();
    if as_json {
        return out::line(&json!({ "state_hash": hash }).to_string());
    }
    out::line(&hash.to_string())
}

/// Prints everything.
pub(super) fn run(history: &History, as_json: bool) -> anyhow::Result<()> {
    let clock = SystemClock::new();
    let mut meter = Meter::events("replaying");
    let folded = fold(history, Summary::default, |events| meter.set(events));
    let took = clock.monotonic();
    meter.finish();
    let folded = folded?;
    if as_json {
        return out::line(&serde_json::to_string_pretty(&in_json(
            history,
            &folded,
            &folded.onlooker,
        ))?);
    }
    print(history, &folded)?;
    out::note(&speed(folded.onlooker.events, took));
    Ok(())
}

fn speed(events: u64, took: Duration) -> String {
    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
    format!("folded in {ms} ms, {} events/s", events.saturating_mul(1000) / ms)
}

/// A kind's name, also a newer version's.
pub(super) fn kind_name(kind: EventKind) -> String {
    kind.name().map_or_else(|| format!("kind {}", kind.0), str::to_owned)
}

/// Named counts, in the order of the names.
struct Named {
    kinds: Vec<(String, u64)>,
    origins: Vec<(String, u64)>,
    companies: Vec<(String, u64)>,
}

impl Named {
    fn of(summary: &Summary) -> Self {
        let nobody = || "(operators and the system)".to_owned();
        let company = |id: Option<CompanyId>| id.map_or_else(nobody, |id| id.to_string());
        let kinds = summary.by_kind.counts().into_iter();
        let origins = summary.by_origin.counts().into_iter();
        let companies = summary.by_company.counts().into_iter();
        Self {
            kinds: kinds.map(|(kind, count)| (kind_name(kind), count)).collect(),
            origins: origins.map(|(origin, count)| (origin.to_string(), count)).collect(),
            companies: companies.map(|(id, count)| (company(id), count)).collect(),
        }
    }
}

/// Numbers of an origin, for programs.
pub(super) fn gap_json(gap: &Gap) -> Value {
    json!({ "origin": gap.origin.to_string(), "from": gap.from, "to": gap.to })
}

/// The same, for people.
pub(super) fn gap_text(gap: &Gap) -> String {
    match gap.to - gap.from {
        0 => format!("{} {}", gap.origin, gap.from),
        _ => format!("{} {} to {}", gap.origin, gap.from, gap.to),
    }
}

fn fork_json(history: &History, fork: &Fork) -> Value {
    json!({ "at": format!("{:?}", fork.at), "left_out_from": super::path(history, fork.source) })
}

/// All of it, for programs.
pub(super) fn in_json<O>(history: &History, folded: &Folded<O>, summary: &Summary) -> Value {
    let Folded { state, coverage, .. } = folded;
    let users = Users::of(state);
    let named = Named::of(summary);
    let object = |counts: Vec<(String, u64)>| {
        counts.into_iter().map(|(name, count)| (name, json!(count))).collect::<Value>()
    };
    let gaps = coverage.gaps(&state.registry);
    json!({
        "deployment": history.deployment(),
        "events": summary.events,
        "without_body": summary.blanked,
        "users": users.known,
        "users_live": users.live,
        "users_erased": users.erased,
        "companies": state.registry.companies.len(),
        "first_at": summary.between.map(|(first, _)| rfc3339(first.unix_ms())),
        "last_at": summary.between.map(|(_, last)| rfc3339(last.unix_ms())),
        "prevailed": summary.prevailed,
        "lost": summary.lost,
        "known": summary.known,
        "ignored": summary.ignored,
        "distrusted": summary.distrusted,
        "duplicates": coverage.duplicates,
        "gaps": gaps.iter().map(gap_json).collect::<Vec<_>>(),
        "forks": coverage.forks.iter().map(|it| fork_json(history, it)).collect::<Vec<_>>(),
        "forked": coverage.forked,
        "state_hash": state.state_hash(),
        "events_by_kind": object(named.kinds),
        "events_by_origin": object(named.origins),
        "events_by_company": object(named.companies),
    })
}

fn print(history: &History, folded: &Folded<Summary>) -> anyhow::Result<()> {
    let Folded { state, onlooker: summary, coverage } = folded;
    let users = Users::of(state);
    let Summary { events, blanked, prevailed, lost, known, ignored, distrusted, .. } = summary;
    let mut screen = Screen::default();
    let mut say = |name: &str, text: String| screen.name(name, &text);
    say("deployment", history.deployment().to_string())?;
    say("events", format!("{events}, {blanked} of them without a body"))?;
    say("users", format!("{}: {} live, {} erased", users.known, users.live, users.erased))?;
    say("companies", state.registry.companies.len().to_string())?;
    if let Some((first, last)) = summary.between {
        say("first", rfc3339(first.unix_ms()))?;
        say("last", rfc3339(last.unix_ms()))?;
    }
    say("prevailed", prevailed.to_string())?;
    say("lost", format!("{lost} against a rival write with a greater stamp"))?;
    say("known", format!("{known} said what was there already"))?;
    say("ignored", format!("{ignored} said nothing: erased user, blanked body, newer version"))?;
    say("distrusted", format!("{distrusted} of lives that were cut off"))?;
    if coverage.duplicates > 0 {
        say("duplicates", format!("{} met again and counted once", coverage.duplicates))?;
    }
    say("state hash", state.state_hash().to_string())?;
    print_missing(&mut screen, history, folded)?;
    let named = Named::of(summary);
    let tables = [("kind", named.kinds), ("origin", named.origins), ("company", named.companies)];
    for (what, counts) in tables {
        screen.say("")?;
        screen.print(&Line::default().and(Style::Strong, format!("events by {what}")))?;
        for (name, count) in counts {
            screen.say(&format!("{count:>10}  {name}"))?;
        }
    }
    screen.finish()
}

/// What is missing, and what contradicts itself.
fn print_missing(
    screen: &mut Screen,
    history: &History,
    folded: &Folded<Summary>,
) -> anyhow::Result<()> {
    let coverage = &folded.coverage;
    let gaps = coverage.gaps(&folded.state.registry);
    let bad = |name: &str, text: String| {
        Line::default().and(Style::Bad, format!("{name:<12} ")).and(Style::Plain, text)
    };
    for gap in gaps.iter().take(GAPS_SHOWN) {
        screen.print(&bad("missing", gap_text(gap)))?;
    }
    if gaps.len() > GAPS_SHOWN {
        screen.print(&bad("missing", format!("and {} more gaps", gaps.len() - GAPS_SHOWN)))?;
    }
    for Fork { at, source } in &coverage.forks {
        let path = super::path(history, *source);
        let text = format!(
            "{at:?}: {path} tells another story of this life than the logs before it; from there \
             on its events of this life are left out"
        );
        screen.print(&bad("fork", text))?;
    }
    Ok(())
}
