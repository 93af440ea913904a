//! `jcas sync`: sends a file of rows, follows the job and prints what became of them.

use std::fs::File;
use std::io::{Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::cli::out;
use crate::cli::progress::Meter;

use super::{Answered, Outgoing, Way, WayArgs, send, target_of};

/// How often a stream that was cut off is sent.
const TRIES: u32 = 5;

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
before all of it has come, so a stream that was cut off is sent again from its beginning. The same
file again changes nothing. With --job an earlier run's job is followed.")]
pub struct SyncArgs {
    /// The rows: NDJSON, or NDJSON compressed with gzip where the name ends in .gz
    file: PathBuf,
    /// The country the rows are of.
    #[arg(long)]
    country: String,
    /// Say what would become of the rows and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Follow this job instead of sending the file.
    #[arg(long, value_name = "ID")]
    job: Option<String>,
    /// Print the job and its refused rows as JSON, a line each.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    way: WayArgs,
}

/// Sends the rows. Rows that were not applied are a failure; the others are applied all the same.
pub fn run(args: &SyncArgs) -> anyhow::Result<()> {
    let way = Way::open(&args.way)?;
    let id = match &args.job {
        Some(job) => job.clone(),
        None => upload(&way, args)?,
    };
    out::note(&format!("job {id}"));
    let job = follow(&way, &id)?;
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
    print_refused(&way, &id, args.json, refused)?;
    let state = text(&job, "state");
    if state != "done" {
        bail!("the job ended {state}");
    }
    if refused > 0 {
        bail!("{refused} rows were not applied");
    }
    Ok(())
}

/// Reads the file once for its digest, then sends it, again where it was cut off.
fn upload(way: &Way, args: &SyncArgs) -> anyhow::Result<String> {
    let mut file =
        File::open(&args.file).with_context(|| format!("cannot read {}", args.file.display()))?;
    let digest = digest(&mut file)?;
    let url = format!("{}/v1/sync?country={}&dry_run={}", way.base, args.country, args.dry_run);
    let mut tries = 1;
    loop {
        let again = |error: &dyn std::fmt::Display| {
            out::note(&format!("the stream was cut off ({error}); sending it again"));
        };
        match send_stream(way, &url, &args.file, &digest) {
            Ok(Answered { status: 202, body }) => {
                let answer: Value = serde_json::from_str(&body).unwrap_or_default();
                let id = Some(text(&answer, "job_id")).filter(|id| !id.is_empty());
                return Ok(id.context("the answer names no job")?.to_owned());
            }
            Ok(Answered { status: 503, body }) if tries < TRIES => again(&body),
            Ok(Answered { status, body }) => {
                out::line(&body)?;
                bail!("the rows were answered with status {status}");
            }
            Err(error) if tries < TRIES => again(&error),
            Err(error) => return Err(error),
        }
        tries += 1;
        pause(LOOK * tries);
    }
}

fn digest(file: &mut File) -> anyhow::Result<String> {
    let total = file.metadata()?.len();
    let (mut hasher, mut buffer, mut read) = (Sha256::new(), vec![0; 1 << 16], 0);
    let mut meter = Meter::bytes("reading", total);
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hasher.update(buffer.get(..count).unwrap_or_default());
        read += count as u64;
        meter.set(read);
    }
    meter.finish();
    file.seek(SeekFrom::Start(0))?;
    Ok(URL_SAFE_NO_PAD.encode(hasher.finalize()))
}

fn send_stream(way: &Way, url: &str, path: &Path, digest: &str) -> anyhow::Result<Answered> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let total = file.metadata()?.len();
    let mut request = ureq::http::Request::builder()
        .method("POST")
        .uri(url)
        .header("X-Api-Key", way.api_key.as_str())
        .header("Content-Type", "application/x-ndjson");
    if path.extension().is_some_and(|end| end == "gz") {
        request = request.header("Content-Encoding", "gzip");
    }
    if let Some(signer) = &way.signer {
        let token = signer.stream_token("POST", &target_of(url)?, digest)?;
        let bearer = Zeroizing::new(format!("Bearer {}", token.as_str()));
        request = request.header("Authorization", bearer.as_str());
    }
    let body = Metered { file, sent: 0, meter: Meter::bytes("sending", total) };
    let body = ureq::SendBody::from_owned_reader(body);
    let request = request.body(body).context("the call is not valid")?;
    // However long it takes: the service ends a stream that does not come on.
    let request = way.agent.configure_request(request).timeout_global(None).build();
    let answered = way.agent.run(request);
    let mut answer = answered.with_context(|| format!("no answer from {url}; is jcas running?"))?;
    let status = answer.status().as_u16();
    let body = answer.body_mut().read_to_string().context("the answer broke off")?;
    Ok(Answered { status, body })
}

/// A file on its way out.
struct Metered {
    file: File,
    sent: u64,
    meter: Meter,
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.sent += count as u64;
        self.meter.set(self.sent);
        Ok(count)
    }
}

/// Asks for something, signed where calls are.
fn get(way: &Way, path: &str) -> anyhow::Result<Value> {
    let url = format!("{}{path}", way.base);
    let mut headers = vec![("X-Api-Key", way.api_key.as_str())];
    let bearer;
    if let Some(signer) = &way.signer {
        let token = signer.token("GET", &target_of(&url)?, None, None)?;
        bearer = Zeroizing::new(format!("Bearer {}", token.as_str()));
        headers.push(("Authorization", bearer.as_str()));
    }
    let call = Outgoing { method: "GET", url: &url, headers: &headers, body: None };
    let Answered { status, body } = send(&way.agent, &call)?;
    if status != 200 {
        out::line(&body)?;
        bail!("{path} was answered with status {status}");
    }
    serde_json::from_str(&body).context("the answer is no JSON")
}

/// Waits until the job is over.
fn follow(way: &Way, id: &str) -> anyhow::Result<Value> {
    let path = format!("/v1/sync/{id}");
    let mut job = get(way, &path)?;
    let mut meter = Meter::rows("applying", number(&job, "rows"));
    while !matches!(text(&job, "state"), "done" | "failed" | "cancelled") {
        pause(LOOK);
        job = get(way, &path)?;
        meter.set(VERDICTS.iter().map(|word| number(&job, word)).sum());
    }
    meter.finish();
    Ok(job)
}

#[expect(clippy::disallowed_methods, reason = "a command that waits for a service has no events")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Prints the rows that were not applied.
fn print_refused(way: &Way, id: &str, json: bool, refused: u64) -> anyhow::Result<()> {
    if refused == 0 {
        return Ok(());
    }
    let mut lines = out::Lines::default();
    for verdict in ["conflict", "invalid"] {
        let mut after = String::new();
        loop {
            let path = format!("/v1/sync/{id}/rows?verdict={verdict}&limit=1000{after}");
            let page = get(way, &path)?;
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
