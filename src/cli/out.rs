//! What goes to standard output and standard error, and how. A closed pipe ends quietly.

use std::io::{self, BufWriter, StdoutLock, Write as _};

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
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// Writes an error and what caused it to standard error.
pub fn error(error: &anyhow::Error) {
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
    note(&text);
}
