//! What people read: lines that fit the terminal, in colour only there.

use std::io::IsTerminal as _;

use super::out::Lines;

/// How a word looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    /// What the eye looks for.
    Strong,
    /// What is there for completeness.
    Faint,
    Good,
    Bad,
}

impl Style {
    const fn codes(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Strong => "\x1b[1m",
            Self::Faint => "\x1b[2m",
            Self::Good => "\x1b[32m",
            Self::Bad => "\x1b[31m",
        }
    }
}

/// Columns that a line which goes on is set in by.
const INDENT: usize = 4;

/// Narrower than this nothing can be laid out.
const WIDTH_MIN: usize = 20;

/// One line, before it is known how wide it may be.
#[derive(Debug, Clone, Default)]
pub(super) struct Line(Vec<(Style, String)>);

impl Line {
    /// A line of plain words.
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self::default().and(Style::Plain, text)
    }

    /// The line with more behind it.
    #[must_use]
    pub(super) fn and(mut self, style: Style, text: impl Into<String>) -> Self {
        self.0.push((style, text.into()));
        self
    }

    /// The lines it takes, none wider than `width`.
    fn laid(&self, width: Option<usize>, colour: bool) -> Vec<String> {
        let width = width.map_or(usize::MAX, |width| width.max(WIDTH_MIN));
        let (mut lines, mut line, mut column) = (Vec::new(), String::new(), 0);
        for (style, text) in &self.0 {
            for word in text.split_inclusive(' ') {
                let mut rest = word;
                while !rest.is_empty() {
                    let long = rest.trim_end().chars().count();
                    if column + long > width && column > INDENT {
                        lines.push(std::mem::take(&mut line));
                        line.push_str(&" ".repeat(INDENT));
                        column = INDENT;
                        continue;
                    }
                    // A word that is longer than a line is broken.
                    let fits = width.saturating_sub(column).max(1);
                    let end = rest.char_indices().nth(fits).map_or(rest.len(), |(at, _)| at);
                    let (head, tail) = rest.split_at(if long > fits { end } else { rest.len() });
                    column += head.chars().count();
                    push(&mut line, *style, head, colour);
                    rest = tail;
                }
            }
        }
        lines.push(line);
        lines.iter().map(|line| line.trim_end().to_owned()).collect()
    }
}

fn push(line: &mut String, style: Style, text: &str, colour: bool) {
    if colour && style != Style::Plain && !text.trim().is_empty() {
        let (word, space) = text.split_at(text.trim_end().len());
        line.push_str(style.codes());
        line.push_str(word);
        line.push_str("\x1b[0m");
        line.push_str(space);
    } else {
        line.push_str(text);
    }
}

/// How wide standard output is; none where nobody reads it line by line.
pub(super) fn width() -> Option<usize> {
    if std::io::stdout().is_terminal() {
        let found = terminal_size::terminal_size_of(std::io::stdout());
        return Some(found.map_or(80, |(width, _)| usize::from(width.0)));
    }
    std::env::var("COLUMNS").ok()?.parse().ok()
}

/// Whether the terminal, if there is one, can do no more than print line after line.
pub(super) fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term == "dumb")
}

fn colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() && !is_dumb()
}

/// Standard output, for people.
pub(super) struct Screen {
    lines: Lines,
    width: Option<usize>,
    colour: bool,
}

impl Default for Screen {
    fn default() -> Self {
        Self { lines: Lines::default(), width: width(), colour: colour() }
    }
}

impl Screen {
    /// Prints a line. False: nobody reads any more.
    pub(super) fn print(&mut self, line: &Line) -> anyhow::Result<bool> {
        for laid in line.laid(self.width, self.colour) {
            if !self.lines.line(&laid)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Prints plain words.
    pub(super) fn say(&mut self, text: &str) -> anyhow::Result<bool> {
        self.print(&Line::plain(text))
    }

    /// Prints a name and what is said of it.
    pub(super) fn name(&mut self, name: &str, text: &str) -> anyhow::Result<bool> {
        self.print(
            &Line::default().and(Style::Faint, format!("{name:<12} ")).and(Style::Plain, text),
        )
    }

    /// Writes what there is at once. False: nobody reads any more.
    pub(super) fn flush(&mut self) -> anyhow::Result<bool> {
        self.lines.flush()
    }

    /// Writes what is left.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        self.lines.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let line = Line::plain("2026-03-01T10:00:00.000Z  eu/n1#1.0badcafe:17  shop  ")
            .and(Style::Strong, "ProfileUpdated")
            .and(Style::Plain, ": profile given_name set, replacing eu/n1#1.0badcafe:12");
        for width in [20, 40, 80] {
            let laid = line.laid(Some(width), false);
            assert!(
                laid.len() > 1 && laid.iter().all(|it| it.chars().count() <= width),
                "{laid:?}"
            );
            let words = |text: &str| text.split_whitespace().collect::<String>();
            let all = words(&laid.join(" "));
            assert_eq!(all, words(&line.laid(None, false).concat()), "{width}");
        }
        assert_eq!(line.laid(None, false).len(), 1);
    }

    #[test]
    fn colour_changes_no_width_and_is_taken_back() {
        let line = Line::plain("one ").and(Style::Bad, "two three");
        let laid = line.laid(Some(40), true);
        assert_eq!(laid, ["one \x1b[31mtwo\x1b[0m \x1b[31mthree\x1b[0m"]);
    }
}
