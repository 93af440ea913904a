//! What goes to standard output and standard error, and how. A closed pipe ends quietly.

use std::io::{self, Write as _};

/// Writes a line to standard output.
pub fn line(text: &str) -> anyhow::Result<()> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
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
