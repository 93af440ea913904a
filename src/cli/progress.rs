//! How far something long is: a bar on a terminal, a line now and then elsewhere. On standard
//! error, so that what is asked for stays alone on standard output.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressStyle};

use super::out;
use super::screen::is_dumb;

/// Events between two looks of the bar.
const EVENTS_BAR: u64 = 8192;

/// Events between two lines.
const EVENTS_LINE: u64 = 1_000_000;

/// Bytes between two lines.
const BYTES_LINE: u64 = 256 * 1024 * 1024;

/// Rows between two lines.
const ROWS_LINE: u64 = 100_000;

/// Segments between two lines.
const SEGMENTS_LINE: u64 = 50;

/// How far something is.
pub struct Meter {
    what: &'static str,
    unit: &'static str,
    /// None where nobody looks at a terminal.
    bar: Option<ProgressBar>,
    step: u64,
    next: u64,
}

impl Meter {
    /// Counts events; how many there are is not known beforehand.
    pub fn events(what: &'static str) -> Self {
        let template = "{spinner} {msg}: {human_pos} events, {per_sec}";
        Self::new(what, ("events", ProgressBar::new_spinner(), template), EVENTS_BAR, EVENTS_LINE)
    }

    /// Counts entries of the state; how many there are is not known beforehand.
    pub fn entries(what: &'static str) -> Self {
        let template = "{spinner} {msg}: {human_pos} entries, {per_sec}";
        Self::new(what, ("entries", ProgressBar::new_spinner(), template), EVENTS_BAR, EVENTS_LINE)
    }

    /// Counts bytes of so many.
    pub fn bytes(what: &'static str, total: u64) -> Self {
        let template = "{msg} {bar:40} {bytes} of {total_bytes}, {eta} left";
        Self::new(what, ("bytes", ProgressBar::new(total), template), 1, BYTES_LINE)
    }

    /// Counts rows of so many.
    pub fn rows(what: &'static str, total: u64) -> Self {
        let template = "{msg} {bar:40} {human_pos} of {human_len} rows, {eta} left";
        Self::new(what, ("rows", ProgressBar::new(total), template), 1, ROWS_LINE)
    }

    /// Counts segments of so many.
    pub fn segments(what: &'static str, total: u64) -> Self {
        let template = "{msg} {bar:40} {human_pos} of {human_len} segments, {eta} left";
        Self::new(what, ("segments", ProgressBar::new(total), template), 1, SEGMENTS_LINE)
    }

    fn new(
        what: &'static str,
        (unit, bar, template): (&'static str, ProgressBar, &str),
        step_bar: u64,
        step_line: u64,
    ) -> Self {
        let bar = (std::io::stderr().is_terminal() && !is_dumb()).then(|| {
            // A template of one's own that does not parse shows the usual bar.
            bar.set_style(
                ProgressStyle::with_template(template)
                    .unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            bar.with_message(what)
        });
        let step = if bar.is_some() { step_bar } else { step_line };
        Self { what, unit, bar, step, next: step }
    }

    /// So much is done.
    pub fn set(&mut self, done: u64) {
        if done < self.next {
            return;
        }
        self.next = done.saturating_add(self.step);
        match &self.bar {
            Some(bar) => bar.set_position(done),
            None => out::note(&format!("{}: {done} {}", self.what, self.unit)),
        }
    }

    /// Takes the bar away.
    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
