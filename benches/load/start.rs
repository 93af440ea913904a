//! How long a start takes, after a clean stop and after a kill in the middle of writing, and what
//! the users take in memory and on disk.

use std::path::Path;
use std::time::Duration;

use crate::Options;
use crate::node::{Node, with_users};
use crate::report::{Report, median};
use crate::writes::{folder_bytes, patch};

const MIB: f64 = 1024.0 * 1024.0;

/// One start.
struct Start {
    seconds: f64,
    /// Log records that were folded because no checkpoint lay above them.
    folded: f64,
    resident_mib: f64,
}

/// Measures and reports.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let users = options.users.unwrap_or(200_000);
    let (node, made) = with_users(options, users)?;
    let loaded = mib(node.memory()?.0);
    let data = options.data(users);
    let stopped = node.stop()?.as_secs_f64();
    let disk = Disk::of(&data)?;
    let (mut clean, mut killed) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        let node = Node::start(&options.program, &data)?;
        clean.push(Start::of(&node, &data)?);
        node.stop()?;
    }
    let lasting = Duration::from_secs(options.seconds * 4);
    let mut written = 0;
    for _ in 0..options.rounds {
        let node = Node::start(&options.program, &data)?;
        written += patch(&node.address, &made, options.clients, lasting, None, written)?.answered;
        node.kill()?;
        let node = Node::start(&options.program, &data)?;
        killed.push(Start::of(&node, &data)?);
        node.stop()?;
    }
    let mut report = Report::new("start", &["median s", "longest s", "records", "resident MiB"]);
    row(&mut report, &format!("start with {users} users after a clean stop"), &clean);
    row(&mut report, "start after a kill -9 under writes from all clients", &killed);
    report.row("clean stop, last checkpoint included", &[Some(stopped), None, None, None]);
    report.row("resident after registering them all", &[None, None, None, Some(loaded)]);
    disk.note(&mut report, users);
    report.note(format!("{written} writes were answered before the kills; records are those that"));
    report.note("had to be folded again; the files are in the page cache".to_owned());
    report.finish(&options.folder)
}

impl Start {
    fn of(node: &Node, data: &Path) -> anyhow::Result<Self> {
        let output = std::fs::read_to_string(data.with_extension("output"))?;
        let folded = output.lines().rfind(|line| line.contains("folded the log into the state"));
        let folded = folded.and_then(|line| line.split("records=").nth(1)?.trim().parse().ok());
        Ok(Self {
            seconds: node.start.as_secs_f64(),
            folded: folded.unwrap_or(0.0),
            resident_mib: mib(node.memory()?.0),
        })
    }
}

fn row(report: &mut Report, name: &str, starts: &[Start]) {
    let of = |value: fn(&Start) -> f64| starts.iter().map(value).collect::<Vec<_>>();
    let seconds = of(|it| it.seconds);
    let longest = seconds.iter().copied().fold(0.0, f64::max);
    let (folded, resident) = (median(&of(|it| it.folded)), median(&of(|it| it.resident_mib)));
    report.row(name, &[Some(median(&seconds)), Some(longest), Some(folded), Some(resident)]);
}

/// What a data folder takes.
struct Disk {
    log: u64,
    state: u64,
}

impl Disk {
    fn of(data: &Path) -> anyhow::Result<Self> {
        let (log, state) = (folder_bytes(&data.join("log"))?, folder_bytes(&data.join("state"))?);
        Ok(Self { log, state })
    }

    fn note(&self, report: &mut Report, users: usize) {
        let each = |bytes: u64| bytes / u64::try_from(users).unwrap_or(1).max(1);
        report.note(format!(
            "on disk: log {:.0} MiB, {} bytes a user; state {:.0} MiB, {} bytes a user",
            mib(self.log),
            each(self.log),
            mib(self.state),
            each(self.state),
        ));
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB
}
