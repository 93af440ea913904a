//! `jcas regions`, `jcas held`, `jcas parked`: how replication is, through the operator listener of
//! a running node.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::accounts::view::rfc3339;
use crate::app;
use crate::config::Config;
use crate::deployment;
use crate::events::stamp::Origin;

use super::operator::Operator;
use super::out;
use super::table::{duration, print};

/// Lives that are held back because their clocks are ahead.
#[derive(Debug, Args)]
#[command(after_help = "\
Events of a life whose clock is ahead of this node's by more than replication.future_limit_s are not
taken until this node's clock has caught up. Nothing is lost: they are fetched then.

Examples:
  jcas held
  jcas held --json")]
pub struct HeldArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Messages that could not be taken.
#[derive(Debug, Args)]
pub struct ParkedArgs {
    #[command(subcommand)]
    command: ParkedCommand,
}

#[derive(Debug, Subcommand)]
enum ParkedCommand {
    /// List the messages that could not be taken, with the reasons.
    #[command(after_help = "\
They are kept in memory, at most 100 of them, until the node stops.

Examples:
  jcas parked list
  jcas parked list --json")]
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Take them again, once what was wrong is mended.
    #[command(after_help = "Example: jcas parked retry")]
    Retry,
}

/// What `jcas regions distrust` is given.
#[derive(Debug, Args)]
pub(super) struct DistrustArgs {
    /// The life: region/node#counter.tag
    #[arg(value_name = "ORIGIN")]
    origin: Origin,
    /// The number of its first event that no longer counts.
    #[arg(long, value_name = "SEQUENCE", value_parser = clap::value_parser!(u64).range(1..))]
    from: u64,
    /// Cut every later life of that node off with it.
    #[arg(long)]
    and_later: bool,
    /// The operator key's file.
    #[arg(long, value_name = "FILE")]
    operator_key: PathBuf,
}

/// What a node says of its replication, as far as it is shown.
#[derive(Deserialize)]
struct Report {
    node: String,
    life: String,
    now_ms: u64,
    cut_off: Vec<CutOff>,
    replication: Option<Replication>,
}

#[derive(Deserialize)]
struct CutOff {
    origin: String,
    from_sequence: u64,
    and_later: bool,
    since: String,
}

#[derive(Deserialize)]
struct Replication {
    clock_unsafe: bool,
    caught_up: bool,
    ways: Vec<Way>,
    peers: Vec<Peer>,
    publisher: Value,
    inbox: Value,
    held: std::collections::BTreeMap<String, u64>,
    forked: Vec<String>,
    parked: Parked,
}

#[derive(Deserialize)]
struct Way {
    broker: String,
    state: String,
    lasting: std::time::Duration,
    trouble: Option<String>,
    waiting: Option<u64>,
    sent: u64,
    received: u64,
}

#[derive(Deserialize)]
struct Peer {
    node: String,
    connected: bool,
    heard_ms: Option<u64>,
    ahead_ms: i64,
    behind_events: u64,
    behind_ms: u64,
    ahead_events: u64,
    agreed_ms: Option<u64>,
    agreed_hash: Option<String>,
    diverged_ms: Option<u64>,
}

#[derive(Deserialize)]
struct Parked {
    total: u64,
    messages: Vec<ParkedMessage>,
}

#[derive(Deserialize)]
struct ParkedMessage {
    digest: String,
    bytes: u64,
    reason: String,
    at_ms: u64,
}

fn report(operator: &Operator) -> anyhow::Result<(Value, Report)> {
    let answer = operator.call("GET", "regions", None)?;
    let report = serde_json::from_value(answer.clone());
    Ok((answer, report.context("the node is of another version than this program")?))
}

/// Says so where a node has nobody to replicate with.
fn replicating(report: Report) -> Option<(Replication, u64)> {
    let (node, now_ms) = (report.node, report.now_ms);
    if report.replication.is_none() {
        out::note(&format!("{node} has no peers: nothing is replicated"));
    }
    report.replication.map(|it| (it, now_ms))
}

/// `jcas regions`
pub(super) fn status(config: &Config, as_json: bool, compare: bool) -> anyhow::Result<()> {
    let operator = Operator::of(config)?;
    if compare {
        let _hash = operator.call("GET", "state", None)?;
        out::note("the state's hash goes to the peers; what they say is seen some seconds later");
    }
    let (answer, report) = report(&operator)?;
    if as_json {
        return out::line(&serde_json::to_string_pretty(&answer)?);
    }
    out::line(&format!("life       {}", report.life))?;
    for cut in &report.cut_off {
        let later = if cut.and_later { ", and all later lives of that node" } else { "" };
        let CutOff { origin, from_sequence, since, .. } = cut;
        out::line(&format!("cut off    {origin} from {from_sequence} on{later}, since {since}"))?;
    }
    let Some((replication, now_ms)) = replicating(report) else { return Ok(()) };
    print_summary(&replication)?;
    print_ways(&replication.ways)?;
    print_peers(&replication.peers, now_ms)
}

fn print_summary(it: &Replication) -> anyhow::Result<()> {
    let clock = if it.clock_unsafe { "ahead of most other nodes': no writes" } else { "ok" };
    let count = |from: &Value, name: &str| from.get(name).and_then(Value::as_u64).unwrap_or(0);
    let (events, failures) = (count(&it.publisher, "events"), count(&it.publisher, "failures"));
    let backlog = count(&it.publisher, "backlog_bytes");
    let inbox = |name| count(&it.inbox, name);
    let forked = if it.forked.is_empty() { "none".to_owned() } else { it.forked.join(", ") };
    let named = |count: usize, command: &str| match count {
        0 => "none".to_owned(),
        count => format!("{count}: see `jcas {command}`"),
    };
    for (name, text) in [
        ("caught up", if it.caught_up { "yes" } else { "no" }.to_owned()),
        ("clock", clock.to_owned()),
        ("sent", format!("{events} events, {failures} failures, {backlog} bytes to go")),
        (
            "received",
            format!(
                "{} events in {} runs; {} duplicates, {} gaps, {} malformed, {} foreign",
                inbox("events"),
                inbox("applied"),
                inbox("duplicates"),
                inbox("gaps"),
                inbox("malformed"),
                inbox("foreign")
            ),
        ),
        ("forked", forked),
        ("held", named(it.held.len(), "held")),
        ("parked", named(it.parked.messages.len(), "parked list")),
    ] {
        out::line(&format!("{name:<10} {text}"))?;
    }
    Ok(())
}

fn print_ways(ways: &[Way]) -> anyhow::Result<()> {
    let row = |way: &Way| {
        let lasting = u64::try_from(way.lasting.as_millis()).unwrap_or(u64::MAX);
        let waiting = way.waiting.map_or_else(|| "-".to_owned(), |count| count.to_string());
        let trouble = way.trouble.clone().unwrap_or_default();
        let (broker, state) = (way.broker.clone(), way.state.clone());
        let (sent, received) = (way.sent.to_string(), way.received.to_string());
        vec![broker, state, duration(lasting), waiting, sent, received, trouble]
    };
    out::line("")?;
    let heads = ["broker", "state", "for", "waiting", "sent", "received", "trouble"];
    print(&heads, &ways.iter().map(row).collect::<Vec<_>>())
}

fn print_peers(peers: &[Peer], now_ms: u64) -> anyhow::Result<()> {
    let ago = |at: u64| format!("{} ago", duration(now_ms.saturating_sub(at)));
    let row = |peer: &Peer| {
        let heard = peer.heard_ms.map_or_else(|| "never".to_owned(), ago);
        let behind = match peer.behind_events {
            0 => "-".to_owned(),
            events => format!("{events} events, {}", duration(peer.behind_ms)),
        };
        let sign = if peer.ahead_ms < 0 { "-" } else { "+" };
        let clock = format!("{sign}{}", duration(peer.ahead_ms.unsigned_abs()));
        let state = match (peer.diverged_ms, peer.agreed_ms, &peer.agreed_hash) {
            (Some(since), ..) => format!("DIFFERS, noticed {}", ago(since)),
            (None, Some(at), Some(hash)) => {
                format!("equal {}: {}", ago(at), hash.chars().take(12).collect::<String>())
            }
            _ => "not compared yet".to_owned(),
        };
        let connected = if peer.connected { "yes" } else { "NO" }.to_owned();
        let ahead = peer.ahead_events.to_string();
        vec![peer.node.clone(), connected, heard, behind, ahead, clock, state]
    };
    out::line("")?;
    let heads = ["peer", "connected", "heard", "misses here", "misses there", "clock", "state"];
    print(&heads, &peers.iter().map(row).collect::<Vec<_>>())
}

/// `jcas held`
pub fn held(config: &Config, args: &HeldArgs) -> anyhow::Result<()> {
    let (answer, report) = report(&Operator::of(config)?)?;
    if args.json {
        let held = answer.pointer("/replication/held").cloned().unwrap_or_else(|| json!({}));
        return out::line(&serde_json::to_string_pretty(&held)?);
    }
    let Some((replication, now_ms)) = replicating(report) else { return Ok(()) };
    if replication.held.is_empty() {
        out::note("nothing is held back");
        return Ok(());
    }
    let row = |(life, latest_ms): (&String, &u64)| {
        let ahead = duration(latest_ms.saturating_sub(now_ms));
        vec![life.clone(), rfc3339(*latest_ms), ahead]
    };
    print(&["life", "its time", "ahead"], &replication.held.iter().map(row).collect::<Vec<_>>())
}

/// `jcas parked ..`
pub fn parked(config: &Config, args: &ParkedArgs) -> anyhow::Result<()> {
    let operator = Operator::of(config)?;
    let json = match &args.command {
        ParkedCommand::List { json } => *json,
        ParkedCommand::Retry => {
            let answer = operator.call("POST", "parked/retry", None)?;
            let count = answer.get("retried").and_then(Value::as_u64).unwrap_or(0);
            return out::line(&format!("{count} messages were taken again"));
        }
    };
    let (answer, report) = report(&operator)?;
    if json {
        let none = || json!({ "total": 0, "messages": [] });
        let parked = answer.pointer("/replication/parked").cloned().unwrap_or_else(none);
        return out::line(&serde_json::to_string_pretty(&parked)?);
    }
    let Some((Replication { parked, .. }, _)) = replicating(report) else { return Ok(()) };
    out::note(&format!("{} since the start, {} kept", parked.total, parked.messages.len()));
    let row = |it: &ParkedMessage| {
        let digest = it.digest.chars().take(12).collect();
        vec![rfc3339(it.at_ms), it.bytes.to_string(), digest, it.reason.clone()]
    };
    let rows: Vec<_> = parked.messages.iter().map(row).collect();
    if rows.is_empty() { Ok(()) } else { print(&["at", "bytes", "sha256", "reason"], &rows) }
}

/// `jcas regions distrust ..`
pub(super) fn distrust(config: &Config, args: &DistrustArgs) -> anyhow::Result<()> {
    let deployment = deployment::open(&app::data_folder(config))?;
    let DistrustArgs { origin, from, and_later, operator_key } = args;
    let cut = app::distrust::sign(&deployment, operator_key, *origin, *from, *and_later)?;
    let body = json!({
        "origin": origin.to_string(),
        "from_sequence": from,
        "and_later": and_later,
        "signature": hex::encode(&cut.signature),
    });
    let answer = Operator::of(config)?.call("POST", "regions/distrust", Some(&body))?;
    out::note("recorded; this node folds everything anew now, other nodes when they hear of it");
    out::line(&serde_json::to_string_pretty(&answer)?)
}
