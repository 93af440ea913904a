//! Bulk sync: a file of new users, and the same file again. A row has an e-mail address, a phone
//! number, a hash and five profile fields.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::Options;
use crate::node::{Node, email, pause};
use crate::report::Report;

const MIB: f64 = 1024.0 * 1024.0;

/// What a job took.
struct Took {
    rows_a_second: f64,
    sending: f64,
    grown_mib: f64,
    /// Of that, what came after the first tenth of the rows: by then the caches are full.
    grown_later_mib: f64,
    cpu_seconds: f64,
}

/// Measures and reports.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let users = options.users.unwrap_or(200_000);
    let data = options.folder.join("sync");
    if data.exists() {
        std::fs::remove_dir_all(&data)?;
    }
    std::fs::create_dir_all(&options.folder)?;
    let file = options.folder.join("sync.ndjson");
    write_rows(&file, users)?;
    let node = Node::start(&options.program, &data)?;
    node.company("bench")?;
    let scopes = json!({ "scopes": ["sync"] });
    let issued = node.operate("POST", "/operator/companies/bench/keys", Some(&scopes))?;
    let key = issued.get("api_key").and_then(Value::as_str).context("no API key")?;
    let mut report =
        Report::new("sync", &["rows/s", "sending s", "MiB more", "after 1/10", "CPU s"]);
    for (name, expected) in [("new users", "created"), ("the same file again", "unchanged")] {
        let took = sync(&node, key, &file, (users, expected))?;
        let Took { rows_a_second, sending, grown_mib, grown_later_mib, cpu_seconds } = took;
        let values = [rows_a_second, sending, grown_mib, grown_later_mib, cpu_seconds];
        report.row(name, &values.map(Some));
    }
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    report.note(format!("{users} rows of about 420 bytes; load average {load} at the end"));
    report.note("rows/s: from the job's start to its end, all durable".to_owned());
    report.note(
        "MiB more: resident at most while the job ran, beside when it began, and beside".into(),
    );
    report.note("when a tenth of the rows was applied and the caches were full".to_owned());
    report.finish(&options.folder)?;
    std::fs::remove_file(&file)?;
    node.stop().map(drop)
}

/// Writes rows of new users.
pub fn write_rows(path: &Path, users: usize) -> anyhow::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for number in 0..users as u64 {
        let row = json!({
            "ref": number, "email": email(number), "phone": format!("+23480{number:08}"),
            "legacy_hash": { "hash": format!("{number:064x}"), "salt": format!("salt{number}") },
            "profile": {
                "given_name": "Ngozi", "family_name": format!("Number {number}"),
                "locale": "en-NG", "zoneinfo": "Africa/Lagos", "birthdate": "1990-01-01",
            },
        });
        writeln!(file, "{row}")?;
    }
    Ok(file.flush()?)
}

fn sync(
    node: &Node,
    key: &str,
    file: &Path,
    (users, expected): (usize, &str),
) -> anyhow::Result<Took> {
    let (resident, cpu) = (node.memory()?.0, node.cpu_seconds()?);
    let began = std::time::Instant::now();
    let url = format!("http://{}/v1/sync", node.address);
    let mut answer = ureq::post(format!("{url}?country=NG"))
        .header("X-Api-Key", key)
        .header("Content-Type", "application/x-ndjson")
        .send(File::open(file)?)?;
    let sending = began.elapsed().as_secs_f64();
    let answer: Value = serde_json::from_str(&answer.body_mut().read_to_string()?)?;
    let id = answer.get("job_id").and_then(Value::as_str).context("no job")?.to_owned();
    let (mut most, mut at_a_tenth) = (resident, None);
    let job = loop {
        let now = node.memory()?.0;
        most = most.max(now);
        let mut answer = ureq::get(format!("{url}/{id}")).header("X-Api-Key", key).call()?;
        let job: Value = serde_json::from_str(&answer.body_mut().read_to_string()?)?;
        let applied = job.get(expected).and_then(Value::as_u64).unwrap_or_default();
        if applied >= users as u64 / 10 {
            at_a_tenth.get_or_insert(now);
        }
        if job.get("finished_at").is_some() {
            break job;
        }
        (0..20).for_each(|_| pause());
    };
    let count = job.get(expected).and_then(Value::as_u64);
    ensure!(count == Some(users as u64), "not every row came to {expected}: {job}");
    let time = |name: &str| -> anyhow::Result<jiff::Timestamp> {
        Ok(job.get(name).and_then(Value::as_str).context("no time")?.parse()?)
    };
    let seconds = time("finished_at")?.duration_since(time("started_at")?).as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "bytes and rows of this size fit a float")]
    let (rows, grown, grown_later) = (
        users as f64,
        most.saturating_sub(resident) as f64,
        most.saturating_sub(at_a_tenth.unwrap_or(most)) as f64,
    );
    Ok(Took {
        rows_a_second: rows / seconds.max(0.001),
        sending,
        grown_mib: grown / MIB,
        grown_later_mib: grown_later / MIB,
        cpu_seconds: node.cpu_seconds()? - cpu,
    })
}
