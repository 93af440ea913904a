//! A file of rows on its way to a node.

use std::fs::File;
use std::io::{Read, Seek as _, SeekFrom};
use std::path::Path;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::cli::out;
use crate::cli::progress::Meter;

use super::{Answered, Asking, Way, target_of, text};

/// What is sent.
pub(super) struct Rows<'a> {
    /// The file.
    pub(super) file: &'a Path,
    /// The country its rows are of.
    pub(super) country: &'a str,
    /// Whether nothing is to be changed.
    pub(super) dry_run: bool,
}

/// Sends a file, and again where it was cut off. Comes back with the job's id.
pub(super) fn upload(asking: &mut Asking, rows: &Rows<'_>) -> anyhow::Result<String> {
    let path = rows.file;
    let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    // Whether the key may do this at all is known before a long file is read.
    asking.get("/v1/sync?limit=1")?;
    let digest = digest(&mut file)?;
    let Asking { way, patience } = asking;
    let url = format!("{}/v1/sync?country={}&dry_run={}", way.base, rows.country, rows.dry_run);
    let Answered { status, body, .. } = patience.ask(|| send_stream(way, &url, path, &digest))?;
    if status != 202 {
        out::line(&body)?;
        bail!("the rows were answered with status {status}");
    }
    let answer: Value = serde_json::from_str(&body).unwrap_or_default();
    let id = Some(text(&answer, "job_id")).filter(|id| !id.is_empty());
    Ok(id.context("the answer names no job")?.to_owned())
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
    Answered::read(answered.with_context(|| format!("no answer from {url}; is jcas running?"))?)
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
