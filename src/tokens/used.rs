//! The used tokens in memory, and when one is taken.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::events::ids::CompanyId;
use crate::files::Files;

use super::LEEWAY_MS;
use super::disk::{Digest, Folder, Known, UsedFile};

/// Tokens that end in one span are forgotten together, in milliseconds.
const SPAN_MS: u64 = 10_000;

/// A token whose signature and times are right.
#[derive(Debug, Clone, Copy)]
pub struct Token {
    /// A digest of the key that signed it and of its `jti`.
    pub digest: Digest,
    /// The company.
    pub company: CompanyId,
    /// Its `iat`, in Unix milliseconds.
    pub issued: u64,
    /// When it is refused as expired, in Unix milliseconds: its `exp` and the leeway.
    pub ends: u64,
}

/// What became of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Spent {
    /// It was not used before. It is now.
    Now,
    /// It was used before.
    Before,
    /// So many tokens are in use that no more can be remembered, in all or of this company.
    Full {
        /// When the next ones are forgotten, in Unix milliseconds.
        until: u64,
    },
    /// It may have been used in an earlier life of the node, of which nothing is known. Tokens
    /// issued after this, in Unix milliseconds, are taken.
    Unknown {
        /// The time.
        until: u64,
    },
    /// Tokens that end when this one does were forgotten. The clock was set back.
    Forgotten,
    /// It could not be written down, nor could that be.
    NotKept,
}

/// How a node starts.
#[derive(Debug, Clone)]
pub struct Start {
    /// Now, or the greatest time that the node has recorded, in Unix milliseconds.
    pub now: u64,
    /// The machine's boot; none where it is not known.
    pub boot: Option<String>,
    /// Whether the node never ran before.
    pub first_life: bool,
    /// Most tokens that are remembered.
    pub max: usize,
}

/// When a span is over.
const fn over(span: u64) -> u64 {
    span.saturating_add(1).saturating_mul(SPAN_MS)
}

/// The used tokens of a node.
pub struct UsedTokens {
    max: usize,
    inner: Mutex<Inner>,
}

struct Inner {
    folder: Folder,
    known: Known,
    /// Until the tokens that could not be written have ended, the next start must know nothing.
    gap_until: Option<u64>,
    spans: BTreeMap<u64, Span>,
    total: usize,
    of_company: HashMap<CompanyId, usize>,
}

/// The tokens that end within one span.
#[derive(Default)]
struct Span {
    digests: HashSet<Digest>,
    of_company: HashMap<CompanyId, usize>,
    file: Option<UsedFile>,
}

impl UsedTokens {
    /// The tokens that were used in earlier lives, as far as they are known.
    pub fn open(files: Arc<dyn Files>, folder: PathBuf, start: Start) -> io::Result<Self> {
        let Start { now, boot, first_life, max } = start;
        let folder = Folder::open(files, folder)?;
        let mut inner = Inner {
            known: Known { boot: boot.clone().unwrap_or_default(), ..Known::default() },
            folder,
            gap_until: None,
            spans: BTreeMap::new(),
            total: 0,
            of_company: HashMap::new(),
        };
        if let Some(known) = inner.folder.known(boot.as_deref()) {
            inner.known = known;
            inner.load()?;
        } else {
            inner.folder.clear()?;
            if !first_life {
                inner.known.issued_after = now.saturating_add(LEEWAY_MS);
                tracing::info!("signed calls from before this start are refused");
            }
            // Without a boot id no later start can tell what it knows.
            if boot.is_none() || inner.folder.write_known(&inner.known).is_err() {
                inner.gap_until = Some(boot.map_or(u64::MAX, |_| 0));
            }
        }
        Ok(Self { max, inner: Mutex::new(inner) })
    }

    /// Uses a token. Where it was not used before, it is written down when this returns.
    pub fn spend(&self, token: &Token, now: u64) -> Spent {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).spend(token, now, self.max)
    }

    /// How many tokens are remembered.
    pub fn len(&self) -> usize {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).total
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Inner {
    fn load(&mut self) -> io::Result<()> {
        for (span, (file, digests)) in self.folder.read()? {
            self.total += digests.len();
            let digests = digests.into_iter().collect();
            let file = Some(file);
            self.spans.insert(span, Span { digests, file, ..Span::default() });
        }
        Ok(())
    }

    fn spend(&mut self, token: &Token, now: u64, max: usize) -> Spent {
        self.forget(now);
        if token.issued <= self.known.issued_after {
            return Spent::Unknown { until: self.known.issued_after };
        }
        if token.ends < self.known.ends_after {
            return Spent::Forgotten;
        }
        if self.spans.values().any(|span| span.digests.contains(&token.digest)) {
            return Spent::Before;
        }
        // One company leaves room for the others.
        let of_company = self.of_company.get(&token.company).copied().unwrap_or_default();
        if self.total >= max || of_company >= max.div_ceil(2) {
            let first = self.spans.first_key_value().map_or(now / SPAN_MS, |(span, _)| *span);
            return Spent::Full { until: over(first) };
        }
        if self.keep(token).is_err() && !self.go_on_in_memory(token) {
            return Spent::NotKept;
        }
        let span = self.spans.entry(token.ends / SPAN_MS).or_default();
        span.digests.insert(token.digest);
        *span.of_company.entry(token.company).or_default() += 1;
        *self.of_company.entry(token.company).or_default() += 1;
        self.total += 1;
        Spent::Now
    }

    /// Writes a token down.
    fn keep(&mut self, token: &Token) -> io::Result<()> {
        let number = token.ends / SPAN_MS;
        let span = self.spans.entry(number).or_default();
        let file = match &mut span.file {
            Some(file) => file,
            none => none.insert(self.folder.create(number)?),
        };
        file.append(&token.digest)
    }

    /// The disk is full or broken. Reads go on, as they do everywhere else; but the next start must
    /// not believe that it knows every token. False: not even that could be seen to.
    fn go_on_in_memory(&mut self, token: &Token) -> bool {
        if self.gap_until.is_none() && self.folder.disown().is_err() {
            return false;
        }
        self.gap_until = self.gap_until.max(Some(token.ends));
        true
    }

    /// Forgets the spans that are over.
    fn forget(&mut self, now: u64) {
        let first = self.spans.first_key_value().map(|(number, _)| *number);
        if first.is_none_or(|number| over(number) > now) {
            return;
        }
        let kept = self.spans.split_off(&(now / SPAN_MS));
        let gone = std::mem::replace(&mut self.spans, kept);
        for (number, span) in &gone {
            self.known.ends_after = self.known.ends_after.max(over(*number));
            self.total -= span.digests.len();
            for (company, count) in &span.of_company {
                if let Some(all) = self.of_company.get_mut(company) {
                    *all -= count;
                }
            }
        }
        self.of_company.retain(|_, count| *count > 0);
        // First it is said that they are forgotten, then they are.
        if self.gap_until.is_none_or(|until| until < now) {
            let written = self.folder.write_known(&self.known).is_ok();
            // A failure is tried again with the next span; what is there says too little at worst.
            self.gap_until = self.gap_until.filter(|_| !written);
        }
        for number in gone.into_keys() {
            if let Err(error) = self.folder.remove(number) {
                tracing::warn!(%error, "a file of tokens that have ended could not be removed");
            }
        }
    }
}
