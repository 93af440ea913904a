//! `jcas replay`: folds a log or an export in memory and says what came of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use crate::accounts::view::rfc3339;
use crate::clock::{Clock as _, SystemClock};
use crate::events::event::EventKind;
use crate::events::ids::UserId;
use crate::events::stamp::EventRef;
use crate::files::{Disk, Files};
use crate::log::LogReader;
use crate::replay::fold::{Became, Onlooker, fold};
use crate::replay::memory::MemoryState;
use crate::replay::summary::{Summary, Users};
use crate::replay::timeline::{Did, Entry, Outcome, timeline};

use super::log::within;
use super::out::{self, Lines};
use super::progress::Meter;

/// Fold a log or an export in memory and say what came of it.
#[derive(Debug, Args)]
#[command(
    after_help = "Needs nothing but the files: no settings, no keys, no network. Works beside
a running node. The state hash is that of every node that holds the same events.

Examples:
  jcas replay jcas-data
  jcas replay events.jcas --state-hash
  jcas replay jcas-data/log --user 0199b5b0-4a49-7aa4-b6a1-3d2f0a1c9e11
  jcas replay events.jcas --json | jq .events_by_kind"
)]
pub struct ReplayArgs {
    /// A log's folder, a segment, an export or a data folder.
    path: PathBuf,
    /// Print this user's events and what each of them did.
    #[arg(long, value_name = "ID", conflicts_with = "state_hash")]
    user: Option<UserId>,
    /// Print the state hash and nothing else.
    #[arg(long)]
    state_hash: bool,
    /// Print JSON; with --user one event a line.
    #[arg(long)]
    json: bool,
}

/// Folds it.
pub fn run(args: &ReplayArgs) -> anyhow::Result<()> {
    let files: Arc<dyn Files> = Arc::new(Disk);
    let reader = LogReader::open_path(&files, &within(&args.path))?;
    let mut meter = Meter::events("replaying");
    if let Some(user) = args.user {
        let entries = timeline(&reader, user, |events| meter.set(events));
        meter.finish();
        return print_timeline(&entries?, args.json);
    }
    if args.state_hash {
        let folded = fold(&reader, || NobodyLooks, |events| meter.set(events));
        meter.finish();
        return out::line(&folded?.0.state_hash().to_string());
    }
    let clock = SystemClock::new();
    let folded = fold(&reader, Summary::default, |events| meter.set(events));
    let took = clock.monotonic();
    meter.finish();
    let (state, summary) = folded?;
    if args.json {
        return out::line(&serde_json::to_string_pretty(&as_json(&reader, &state, &summary))?);
    }
    print_summary(&reader, &state, &summary)?;
    out::note(&speed(summary.events, took));
    Ok(())
}

/// For whoever wants the state alone.
struct NobodyLooks;

impl Onlooker for NobodyLooks {
    fn folded(
        &mut self,
        _: &crate::log::StoredRecord,
        _: &crate::events::record::Header,
        _: &crate::events::record::Fact,
        _: Became,
    ) {
    }
}

fn speed(events: u64, took: Duration) -> String {
    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
    format!("folded in {ms} ms, {} events/s", events.saturating_mul(1000) / ms)
}

fn kind_name(kind: EventKind) -> String {
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
        let company = |id: Option<_>| {
            id.map_or_else(nobody, |id: crate::events::ids::CompanyId| id.to_string())
        };
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

fn as_json(reader: &LogReader, state: &MemoryState, summary: &Summary) -> Value {
    let users = Users::of(state);
    let named = Named::of(summary);
    let object = |counts: Vec<(String, u64)>| {
        counts.into_iter().map(|(name, count)| (name, json!(count))).collect::<Value>()
    };
    json!({
        "deployment": reader.deployment(),
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
        "state_hash": state.state_hash(),
        "events_by_kind": object(named.kinds),
        "events_by_origin": object(named.origins),
        "events_by_company": object(named.companies),
    })
}

fn print_summary(reader: &LogReader, state: &MemoryState, summary: &Summary) -> anyhow::Result<()> {
    let users = Users::of(state);
    let Summary { events, blanked, prevailed, lost, known, ignored, distrusted, .. } = summary;
    let mut lines = Lines::default();
    let mut say = |name: &str, text: String| lines.line(&format!("{name:<12} {text}"));
    say("deployment", reader.deployment().to_string())?;
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
    say("state hash", state.state_hash().to_string())?;
    let named = Named::of(summary);
    let tables = [("kind", named.kinds), ("origin", named.origins), ("company", named.companies)];
    for (what, counts) in tables {
        lines.line(&format!("\nevents by {what}"))?;
        for (name, count) in counts {
            lines.line(&format!("{count:>12}  {name}"))?;
        }
    }
    lines.finish()
}

fn print_timeline(entries: &[Entry], as_json: bool) -> anyhow::Result<()> {
    let mut lines = Lines::default();
    for entry in entries {
        let line = if as_json { entry_json(entry).to_string() } else { entry_line(entry) };
        if !lines.line(&line)? {
            return Ok(());
        }
    }
    lines.finish()
}

fn entry_json(entry: &Entry) -> Value {
    let header = &entry.header;
    let event = |event: &Option<EventRef>| event.map(|event| format!("{event:?}"));
    let did = match &entry.did {
        Did::Nothing(why) => json!({ "nothing": why }),
        Did::Wrote(parts) => {
            let parts = parts.iter().map(|written| {
                let part = written.part.to_string();
                match &written.outcome {
                    Outcome::Changed(before) => {
                        json!({ "part": part, "outcome": "changed", "replaced": event(before) })
                    }
                    Outcome::Lost(to) => {
                        json!({ "part": part, "outcome": "lost", "against": event(to) })
                    }
                    Outcome::Known => json!({ "part": part, "outcome": "known" }),
                }
            });
            json!({ "wrote": parts.collect::<Vec<_>>() })
        }
    };
    let effective = header.effective;
    json!({
        "at": rfc3339(header.revision.unix_ms()),
        "effective_at": effective.is_change().then(|| rfc3339(effective.unix_ms())),
        "origin": header.origin.to_string(),
        "sequence": header.sequence,
        "company": header.cause.company,
        "kind": kind_name(header.kind),
        "segment": entry.position.segment(),
        "offset": entry.position.offset(),
        "did": did,
    })
}

fn entry_line(entry: &Entry) -> String {
    let header = &entry.header;
    let did = match &entry.did {
        Did::Nothing(why) => format!("nothing: {why}"),
        Did::Wrote(parts) => {
            let parts = parts.iter().map(|written| {
                let part = &written.part;
                match &written.outcome {
                    Outcome::Changed(None) => format!("{part} set"),
                    Outcome::Changed(Some(before)) => format!("{part} set, replacing {before:?}"),
                    Outcome::Lost(None) => format!("{part} lost against a greater stamp"),
                    Outcome::Lost(Some(to)) => format!("{part} lost against {to:?}"),
                    Outcome::Known => format!("{part} known already"),
                }
            });
            parts.collect::<Vec<_>>().join("; ")
        }
    };
    let company = header.cause.company.map_or_else(|| "-".to_owned(), |id| id.to_string());
    let (at, kind) = (rfc3339(header.revision.unix_ms()), kind_name(header.kind));
    format!("{at}  {:?}  {company}  {kind}: {did}", header.reference())
}
