//! `jcas sync`: sends a file of rows, follows the job and prints what became of them.

mod upload;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::cli::out;
use crate::cli::progress::Meter;

use super::patience::{Patience, pause};
use super::{Answered, Outgoing, Way, WayArgs, send, target_of};

/// How long it is between two looks at the job.
const LOOK: Duration = Duration::from_millis(300);

/// The words of verdicts, in the order they are printed in.
const VERDICTS: [&str; 7] =
    ["created", "applied", "unchanged", "older", "linked", "conflict", "invalid"];

/// Send a file of rows, follow its job and print what became of them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  jcas sync customers.ndjson --country NG --dry-run
  jcas sync customers.ndjson --country NG

The file holds a row of JSON a line; one that ends in .gz is sent as it is. Nothing of it is applied
before all of it has come. What was cut off goes on where it was, also when the command is run
again with the same file within a day. The same file again changes nothing. A node that is started
anew, or has no room now, is asked again; the exit code is 0 once all rows were applied. With --job
an earlier run's job is followed.")]
pub struct SyncArgs {
    /// The rows: NDJSON, or NDJSON compressed with gzip where the name ends in .gz
    #[arg(required_unless_present = "job")]
    file: Option<PathBuf>,
    /// The country the rows are of.
    #[arg(long, required_unless_present = "job")]
    country: Option<String>,
    /// Say what would become of the rows and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Follow this job instead of sending the file.
    #[arg(long, value_name = "ID")]
    job: Option<String>,
    /// Seconds for which a node is asked again that does not answer or has no room.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    patience: u32,
    /// Print the job and its refused rows as JSON, a line each.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    way: WayArgs,
}

/// A node that is asked for as long as it takes.
struct Asking {
    way: Way,
    patience: Patience,
}

/// Sends the rows. Rows that were not applied are a failure; the others are applied all the same.
pub fn run(args: &SyncArgs) -> anyhow::Result<()> {
    let patience = Patience::new(Duration::from_secs(u64::from(args.patience)));
    let mut asking = Asking { way: Way::open(&args.way)?, patience };
    let id = match (&args.job, &args.file, &args.country) {
        (None, Some(file), Some(country)) => {
            let rows = upload::Rows { file, country, dry_run: args.dry_run };
            upload::upload(&mut asking, &rows)?
        }
        (Some(job), ..) => job.clone(),
        (None, ..) => bail!("a file and its country, or a job, are needed"),
    };
    out::note(&format!("job {id}"));
    let later = || format!("the job may go on: jcas sync --job {id} follows it");
    let job = follow(&mut asking, &id).with_context(later)?;
    if args.json {
        out::line(&job.to_string())?;
    } else {
        for verdict in VERDICTS {
            let count = number(&job, verdict);
            if count > 0 {
                out::line(&format!("{verdict:<10} {count}"))?;
            }
        }
    }
    let refused = number(&job, "conflict") + number(&job, "invalid");
    print_refused(&mut asking, &id, args.json, refused).with_context(later)?;
    let state = text(&job, "state");
    if state != "done" {
        bail!("the job ended {state}");
    }
    if refused > 0 {
        bail!("{refused} rows were not applied");
    }
    Ok(())
}

impl Asking {
    /// Asks for something, signed where calls are, until it is there.
    fn get(&mut self, path: &str) -> anyhow::Result<Value> {
        let way = &self.way;
        let Answered { status, body, .. } = self.patience.ask(|| get(way, path))?;
        if status != 200 {
            out::line(&body)?;
            bail!("{path} was answered with status {status}");
        }
        serde_json::from_str(&body).context("the answer is no JSON")
    }
}

/// Asks once.
fn get(way: &Way, path: &str) -> anyhow::Result<Answered> {
    let url = format!("{}{path}", way.base);
    let mut headers = vec![("X-Api-Key", way.api_key.as_str())];
    let bearer;
    if let Some(signer) = &way.signer {
        let token = signer.token("GET", &target_of(&url)?, None, None)?;
        bearer = Zeroizing::new(format!("Bearer {}", token.as_str()));
        headers.push(("Authorization", bearer.as_str()));
    }
    send(&way.agent, &Outgoing { method: "GET", url: &url, headers: &headers, body: None })
}

/// Waits until the job is over.
fn follow(asking: &mut Asking, id: &str) -> anyhow::Result<Value> {
    let path = format!("/v1/sync/{id}");
    let mut job = asking.get(&path)?;
    let mut meter = Meter::rows("applying", number(&job, "rows"));
    while !matches!(text(&job, "state"), "done" | "failed" | "cancelled") {
        pause(LOOK);
        job = asking.get(&path)?;
        meter.set(VERDICTS.iter().map(|word| number(&job, word)).sum());
    }
    meter.finish();
    Ok(job)
}

/// Prints the rows that were not applied.
fn print_refused(asking: &mut Asking, id: &str, json: bool, refused: u64) -> anyhow::Result<()> {
    if refused == 0 {
        return Ok(());
    }
    let mut lines = out::Lines::default();
    for verdict in ["conflict", "invalid"] {
        let mut after = String::new();
        loop {
            let path = format!("/v1/sync/{id}/rows?verdict={verdict}&limit=1000{after}");
            let page = asking.get(&path)?;
            for row in page.get("rows").and_then(Value::as_array).into_iter().flatten() {
                let said = if json { row.to_string() } else { shown(row) };
                if !lines.line(&said)? {
                    return Ok(());
                }
            }
            if page.get("has_more") != Some(&Value::Bool(true)) {
                break;
            }
            after = format!("&after={}", text(&page, "next"));
        }
    }
    lines.finish()
}

/// A refused row for people.
fn shown(row: &Value) -> String {
    let parts = ["verdict", "code", "field", "ref"].map(|name| text(row, name));
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    format!("line {}: {}", number(row, "line"), parts.join(" "))
}

/// A member that is a text, or nothing.
fn text<'a>(object: &'a Value, name: &str) -> &'a str {
    object.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A member that is a number, or zero.
fn number(object: &Value, name: &str) -> u64 {
    object.get(name).and_then(Value::as_u64).unwrap_or_default()
}
