//! What goes to standard output and standard error, and how. A closed pipe ends quietly.

use std::io::{self, BufWriter, StdoutLock, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether standard error holds one JSON object a line, so that nothing else may stand there.
static JSON_LINES: AtomicBool = AtomicBool::new(false);

/// From now on, what is for people goes to the log lines, too: they are JSON.
pub fn json_lines() {
    JSON_LINES.store(true, Ordering::Relaxed);
}

/// Writes a line to standard output.
pub fn line(text: &str) -> anyhow::Result<()> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// Many lines to standard output.
pub struct Lines(BufWriter<StdoutLock<'static>>);

impl Default for Lines {
    fn default() -> Self {
        Self(BufWriter::new(io::stdout().lock()))
    }
}

impl Lines {
    /// Writes a line. False: nobody reads any more.
    pub fn line(&mut self, text: &str) -> anyhow::Result<bool> {
        Self::open(writeln!(self.0, "{text}"))
    }

    /// Writes what there is at once. False: nobody reads any more.
    pub fn flush(&mut self) -> anyhow::Result<bool> {
        Self::open(self.0.flush())
    }

    /// Writes what is left.
    pub fn finish(mut self) -> anyhow::Result<()> {
        Self::open(self.0.flush()).map(drop)
    }

    fn open(written: io::Result<()>) -> anyhow::Result<bool> {
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            written => Ok(written.map(|()| true)?),
        }
    }
}

/// Writes a line for people to standard error.
pub fn note(text: &str) {
    if JSON_LINES.load(Ordering::Relaxed) {
        tracing::info!("{text}");
    } else {
        drop(writeln!(io::stderr().lock(), "{text}"));
    }
}

/// Writes an error and what caused it to standard error.
pub fn error(error: &anyhow::Error) {
    if JSON_LINES.load(Ordering::Relaxed) {
        tracing::error!(error = format!("{error:#}"), "ended");
        return;
    }
    let mut text = format!("jcas: {error}");
    let mut last = error.to_string();
    for cause in error.chain().skip(1) {
        let said = cause.to_string();
        if !last.contains(&said) {
            text.push_str("\n  because: ");
            text.push_str(&said);
        }
        last = said;
    }
    drop(writeln!(io::stderr().lock(), "{text}"));
}
