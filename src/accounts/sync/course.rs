//! How far a job is, on the disk: the verdicts that are there say which lines are done.

use std::io;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::crypto::sealing::JobKey;
use crate::spool::{Blocks, Part, Spool};

use super::VerdictCursor;
use super::groups::Bits;
use super::verdict::{Counts, Judged, Verdict};

/// A block of verdicts is closed at the one that brings it here.
const BLOCK_BYTES: usize = 46 * 1024;

/// The verdicts of a job that runs.
pub(super) struct Course {
    blocks: Blocks,
    /// Lines that have a verdict.
    pub(super) done: Bits,
    pub(super) counts: Counts,
}

impl Course {
    /// Goes on where the verdicts on the disk end.
    pub(super) fn resume(
        spool: &Spool,
        job: uuid::Uuid,
        key: &Arc<JobKey>,
        lines: u32,
    ) -> io::Result<Self> {
        let blocks = spool.resume(job, Part::Verdicts, Arc::clone(key))?;
        let (mut done, mut counts) = (Bits::new(lines), Counts::default());
        for number in 0..blocks.len() {
            for judged in judged_in(&blocks, number)? {
                // Lines count from 1 wherever anybody sees them.
                done.set(judged.line.saturating_sub(1));
                counts.add(judged.verdict);
            }
        }
        Ok(Self { blocks, done, counts })
    }

    /// Bytes on the disk.
    pub(super) const fn bytes(&self) -> u64 {
        self.blocks.bytes()
    }

    /// Keeps verdicts. They are on the disk then.
    pub(super) fn keep(&mut self, judged: &[Judged]) -> io::Result<()> {
        let (mut block, mut mark, mut items) = (Zeroizing::new(Vec::new()), 0, 0);
        for one in judged {
            serde_json::to_writer(&mut *block, one)?;
            block.push(b'\n');
            mark |= one.verdict.bit();
            items += 1;
            if block.len() >= BLOCK_BYTES {
                self.blocks.append(&block, mark, items)?;
                block.clear();
                (mark, items) = (0, 0);
            }
        }
        if items > 0 {
            self.blocks.append(&block, mark, items)?;
        }
        self.blocks.sync()?;
        for one in judged {
            self.done.set(one.line.saturating_sub(1));
            self.counts.add(one.verdict);
        }
        Ok(())
    }
}

fn judged_in(blocks: &Blocks, number: usize) -> io::Result<Vec<Judged>> {
    let block = blocks.open(number)?;
    let lines = block.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| Ok(serde_json::from_slice(line)?)).collect()
}

/// A page of verdicts, as they are kept.
pub(super) struct Listed {
    pub(super) rows: Vec<Judged>,
    pub(super) next: VerdictCursor,
    pub(super) has_more: bool,
}

/// A page of verdicts.
pub(super) fn list(
    blocks: Option<&Blocks>,
    after: VerdictCursor,
    limit: usize,
    wanted: Option<Verdict>,
) -> io::Result<Listed> {
    let mut page = Listed { rows: Vec::new(), next: after, has_more: false };
    let Some(blocks) = blocks else { return Ok(page) };
    for number in usize::try_from(after.block).unwrap_or(usize::MAX)..blocks.len() {
        let has_none = |wanted: Verdict| {
            blocks.noted(number).is_some_and(|(mark, _)| mark & wanted.bit() == 0)
        };
        if wanted.is_some_and(has_none) {
            continue;
        }
        // What is being written just now is not whole yet.
        let block = match blocks.open(number) {
            Err(_) if number + 1 == blocks.len() => break,
            block => block?,
        };
        let of_block = u32::try_from(number).unwrap_or(u32::MAX);
        let skipped = if of_block == after.block { after.item } else { 0 };
        let lines = block.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        for (item, line) in (1_u32..).zip(lines).filter(|(item, _)| *item > skipped) {
            let judged: Judged = serde_json::from_slice(line)?;
            if wanted.is_some_and(|wanted| judged.verdict != wanted) {
                continue;
            }
            if page.rows.len() == limit {
                page.has_more = true;
                return Ok(page);
            }
            page.rows.push(judged);
            page.next = VerdictCursor { block: of_block, item };
        }
    }
    Ok(page)
}
