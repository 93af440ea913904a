//! A file of rows on its way to a node: in parts, each of which is there for good once it is
//! answered. What was cut off goes on there, also when the command is run again.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::cli::out;
use crate::cli::progress::Meter;

use super::{Answered, Asking, Outgoing, Way, number, send, target_of, text};

/// Bytes of a part: what proxies let through that were not told otherwise.
const PART_BYTES: usize = 1024 * 1024;

/// How often an upload is begun anew that the node no longer knows.
const BEGINNINGS: u32 = 3;

/// What is sent.
pub(super) struct Rows<'a> {
    /// The file.
    pub(super) file: &'a Path,
    /// The country its rows are of.
    pub(super) country: &'a str,
    /// Whether nothing is to be changed.
    pub(super) dry_run: bool,
}

/// A file that is being sent.
struct Sending {
    file: File,
    length: u64,
    /// What is asked for, as JSON.
    asked: String,
}

/// What came of a part, or of a question how far it is.
enum Went {
    /// So many bytes are there.
    To(u64),
    /// All of them, and this job has them.
    Job(String),
    /// The node does not know the upload.
    Unknown,
}

/// Sends a file. Comes back with the job's id.
pub(super) fn upload(asking: &mut Asking, rows: &Rows<'_>) -> anyhow::Result<String> {
    let path = rows.file;
    let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    // Whether the key may do this at all is known before a long file is read.
    asking.get("/v1/sync?limit=1")?;
    let length = file.metadata()?.len();
    let asked = json!({
        "country": rows.country,
        "dry_run": rows.dry_run,
        "gzip": path.extension().is_some_and(|end| end == "gz"),
        "length": length,
        "digest": digest(&mut file, length)?,
    });
    let sending = Sending { file, length, asked: asked.to_string() };
    for _ in 0..BEGINNINGS {
        if let Some(job) = sending.send(asking)? {
            return Ok(job);
        }
        out::note("the node does not know the upload any more; it begins anew");
    }
    bail!("the node forgets what is sent to it")
}

impl Sending {
    /// Begins, or goes on where an earlier run was cut off. None: the node forgot it meanwhile.
    fn send(&self, asking: &mut Asking) -> anyhow::Result<Option<String>> {
        let way = &asking.way;
        let begun = asking.patience.ask(|| post(way, "/v1/sync/uploads", &self.asked))?;
        if begun.status != 200 {
            return Err(refused(&begun));
        }
        let begun: Value = serde_json::from_str(&begun.body).context("the answer is no JSON")?;
        let id = text(&begun, "upload_id").to_owned();
        let mut offset = number(&begun, "offset");
        if offset > 0 {
            out::note(&format!("{offset} bytes are there already"));
        }
        let mut meter = Meter::bytes("sending", self.length);
        loop {
            meter.set(offset);
            match self.send_part(asking, &id, offset)? {
                Went::To(there) => offset = there,
                Went::Unknown => return Ok(None),
                Went::Job(job) => {
                    meter.finish();
                    return Ok(Some(job));
                }
            }
        }
    }

    /// Sends the next part. Where that fails, asks how far the upload is.
    fn send_part(&self, asking: &mut Asking, id: &str, offset: u64) -> anyhow::Result<Went> {
        let part = self.part(offset)?;
        let path = format!("/v1/sync/uploads/{id}");
        let sent = put(&asking.way, &format!("{path}/{offset}"), &part);
        match &sent {
            Ok(answer) if answer.status == 200 => {
                asking.patience.got_on();
                return went(answer);
            }
            Ok(answer) if answer.status == 404 => return Ok(Went::Unknown),
            Ok(Answered { status: 408 | 409 | 429 | 502..=504, .. }) | Err(_) => {}
            Ok(answer) => return Err(refused(answer)),
        }
        if !asking.patience.waits_after(&sent) {
            return Err(sent.map_or_else(|error| error, |answer| refused(&answer)));
        }
        // Whether the part is there is not known, or it was sent to the wrong place.
        let way = &asking.way;
        let answer = asking.patience.ask_on(|| super::get(way, &path))?;
        match answer.status {
            200 => went(&answer),
            404 => Ok(Went::Unknown),
            _ => Err(refused(&answer)),
        }
    }

    fn part(&self, offset: u64) -> anyhow::Result<Vec<u8>> {
        let left = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut part = vec![0; left.min(PART_BYTES)];
        self.file.read_exact_at(&mut part, offset).context("the file became shorter")?;
        Ok(part)
    }
}

/// What an upload's answer says. One that is whole and has no job yet is asked for it.
fn went(answer: &Answered) -> anyhow::Result<Went> {
    let view: Value = serde_json::from_str(&answer.body).context("the answer is no JSON")?;
    Ok(match text(&view, "job_id") {
        "" => Went::To(number(&view, "offset")),
        job => Went::Job(job.to_owned()),
    })
}

/// An answer that no further call changes.
fn refused(answer: &Answered) -> anyhow::Error {
    if let Err(error) = out::line(&answer.body) {
        return error;
    }
    anyhow::anyhow!("the rows were answered with status {}", answer.status)
}

fn digest(file: &mut File, total: u64) -> anyhow::Result<String> {
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
    Ok(URL_SAFE_NO_PAD.encode(hasher.finalize()))
}

/// Sends JSON, signed where calls are.
fn post(way: &Way, path: &str, json: &str) -> anyhow::Result<Answered> {
    let url = format!("{}{path}", way.base);
    let headers = [("X-Api-Key", way.api_key.as_str())];
    let mut body = json.to_owned();
    if let Some(signer) = &way.signer {
        let token = signer.token("POST", &target_of(&url)?, Some(json), None)?;
        body = format!("{{\"jwt\":\"{}\"}}", token.as_str());
    }
    let body = Some(body.as_str());
    send(&way.agent, &Outgoing { method: "POST", url: &url, headers: &headers, body })
}

/// Sends a part, signed where calls are.
fn put(way: &Way, path: &str, part: &[u8]) -> anyhow::Result<Answered> {
    let url = format!("{}{path}", way.base);
    let mut request = ureq::http::Request::builder()
        .method("PUT")
        .uri(&url)
        .header("X-Api-Key", way.api_key.as_str())
        .header("Content-Type", "application/octet-stream");
    if let Some(signer) = &way.signer {
        let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(part));
        let token = signer.stream_token("PUT", &target_of(&url)?, &digest)?;
        let bearer = Zeroizing::new(format!("Bearer {}", token.as_str()));
        request = request.header("Authorization", bearer.as_str());
    }
    let request = request.body(part).context("the call is not valid")?;
    // However long it takes: the service ends a part that does not come on, and the last one is
    // answered when all rows are read.
    let request = way.agent.configure_request(request).timeout_global(None).build();
    let answered = way.agent.run(request);
    Answered::read(answered.with_context(|| format!("no answer from {url}; is jcas running?"))?)
}
