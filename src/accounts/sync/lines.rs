//! A stream cut into lines, and lines gathered into blocks for the spool.

use std::io;
use std::sync::Arc;

use uuid::Uuid;
use zeroize::Zeroizing;

use crate::crypto::sealing::JobKey;
use crate::spool::{Blocks, Part, Spool};

use super::row::{ROW_BYTES_MAX, TOO_LONG};
use super::verdict::bytes_max;

/// A block is closed at the line that brings it here: with one more line it is still below 64 KiB.
const BLOCK_BYTES: usize = 46 * 1024;

/// What a stream came to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    pub(super) lines: u32,
    /// Lines that are not blank.
    pub(super) rows: u32,
    /// Most bytes that the verdicts on them take.
    pub(super) verdict_bytes: u64,
}

/// Cuts a stream into lines and spools them. What is longer than a row may be leaves a mark.
pub(super) struct LineWriter {
    blocks: Blocks,
    block: Zeroizing<Vec<u8>>,
    /// Where the line that is being read begins in the block.
    line_start: usize,
    too_long: bool,
    items: u32,
    /// Lines so far.
    pub(super) lines: u32,
    /// Lines that are not blank.
    pub(super) rows: u32,
    /// Most bytes that the verdicts on them take.
    verdict_bytes: u64,
    /// Whether the first bytes were looked at for a byte order mark.
    begun: bool,
}

impl LineWriter {
    pub(super) fn new(blocks: Blocks) -> Self {
        let block = Zeroizing::new(Vec::with_capacity(BLOCK_BYTES + ROW_BYTES_MAX + 2));
        Self {
            blocks,
            block,
            line_start: 0,
            too_long: false,
            items: 0,
            lines: 0,
            rows: 0,
            verdict_bytes: 0,
            begun: false,
        }
    }

    /// Bytes on the disk.
    pub(super) const fn bytes(&self) -> u64 {
        self.blocks.bytes()
    }

    /// Bytes that the lines and the verdicts on them come to take.
    pub(super) fn takes(&self) -> u64 {
        self.bytes() + self.block.len() as u64 + self.verdict_bytes
    }

    /// Takes the next bytes.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let (part, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            self.extend(part);
            bytes = rest.get(1..).unwrap_or_default();
            if end.is_some() {
                self.end_line()?;
            }
        }
        Ok(())
    }

    fn extend(&mut self, part: &[u8]) {
        if self.too_long || self.block.len() - self.line_start + part.len() > ROW_BYTES_MAX {
            self.too_long = true;
            self.block.truncate(self.line_start);
        } else {
            self.block.extend_from_slice(part);
        }
    }

    fn end_line(&mut self) -> io::Result<()> {
        if !self.begun {
            self.begun = true;
            if self.block.starts_with(b"\xef\xbb\xbf") {
                self.block.drain(..3);
            }
        }
        if self.too_long {
            self.block.extend_from_slice(TOO_LONG);
        }
        let line = self.block.get(self.line_start..).unwrap_or_default();
        if !line.trim_ascii().is_empty() {
            self.rows += 1;
            self.verdict_bytes += bytes_max(line);
        }
        self.block.push(b'\n');
        (self.line_start, self.too_long) = (self.block.len(), false);
        self.items += 1;
        self.lines += 1;
        if self.block.len() >= BLOCK_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.items > 0 {
            self.blocks.append(&self.block, 0, self.items)?;
            self.block.clear();
            (self.line_start, self.items) = (0, 0);
        }
        Ok(())
    }

    /// Takes the last line, whether or not it ended, and waits until all are on the disk.
    pub(super) fn finish(&mut self) -> io::Result<Written> {
        if self.block.len() > self.line_start || self.too_long {
            self.end_line()?;
        }
        self.flush()?;
        self.blocks.sync()?;
        let Self { lines, rows, verdict_bytes, .. } = *self;
        Ok(Written { lines, rows, verdict_bytes })
    }
}

/// The lines of a spool by number, from 0.
pub(super) struct LineReader {
    blocks: Blocks,
    /// The number of each block's first line.
    firsts: Vec<u32>,
    /// The block that was opened last.
    opened: Option<(usize, Zeroizing<Vec<u8>>)>,
}

impl LineReader {
    /// The rows of a job.
    pub(super) fn of(spool: &Spool, job: Uuid, key: Arc<JobKey>) -> io::Result<Self> {
        let rows = spool.read(job, Part::Rows, key)?;
        Ok(Self::new(rows.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?))
    }

    fn new(blocks: Blocks) -> Self {
        let mut firsts = Vec::with_capacity(blocks.len());
        let mut lines = 0_u32;
        for number in 0..blocks.len() {
            firsts.push(lines);
            lines = lines.saturating_add(blocks.noted(number).map_or(0, |(_, items)| items));
        }
        Self { blocks, firsts, opened: None }
    }

    /// How many blocks there are.
    pub(super) const fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// The lines of a block, each with its number.
    pub(super) fn block(&self, number: usize) -> io::Result<Vec<(u32, Zeroizing<Vec<u8>>)>> {
        let clear = self.blocks.open(number)?;
        let first = self.firsts.get(number).copied().unwrap_or_default();
        let whole = clear.strip_suffix(b"\n").unwrap_or(&clear);
        let lines = whole.split(|byte| *byte == b'\n');
        Ok((first..).zip(lines.map(|line| Zeroizing::new(line.to_vec()))).collect())
    }

    /// One line, wherever it is.
    pub(super) fn line(&mut self, line: u32) -> io::Result<Zeroizing<Vec<u8>>> {
        let number = self.firsts.partition_point(|first| *first <= line).saturating_sub(1);
        if self.opened.as_ref().is_none_or(|(known, _)| *known != number) {
            self.opened = Some((number, self.blocks.open(number)?));
        }
        let first = self.firsts.get(number).copied().unwrap_or_default();
        let within = usize::try_from(line - first).unwrap_or(usize::MAX);
        let block = self.opened.as_ref().map(|(_, block)| block.as_slice()).unwrap_or_default();
        let found = block.split(|byte| *byte == b'\n').nth(within);
        found.map(|line| Zeroizing::new(line.to_vec())).ok_or(io::ErrorKind::NotFound.into())
    }
}
