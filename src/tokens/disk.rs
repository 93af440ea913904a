//! The folder of used tokens.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::files::{FileHandle, Files};

/// Bytes of a token's digest.
pub(super) const DIGEST_BYTES: usize = 16;

/// How a used token is known again: a digest of who signed it and of its `jti`.
pub(super) type Digest = [u8; DIGEST_BYTES];

/// The file that says what the others hold.
const KNOWN: &str = "known";

/// How the names of the other files end.
const USED: &str = ".used";

/// The id of this machine's present boot; none where the system has none.
pub fn boot_id() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty() && !id.contains(' '))
}

/// What is known of the tokens that were used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// The boot in which it was written.
    pub(super) boot: String,
    /// Of tokens issued up to then, in Unix milliseconds, it is not known whether they were used.
    pub(super) issued_after: u64,
    /// Of tokens that end before then, in Unix milliseconds, neither: they were forgotten.
    pub(super) ends_after: u64,
}

/// The files of one folder.
pub(super) struct Folder {
    files: Arc<dyn Files>,
    path: PathBuf,
}

/// A file of digests and how long it is.
pub(super) struct UsedFile {
    handle: Arc<dyn FileHandle>,
    len: u64,
}

impl Folder {
    /// The folder at a path; it is made where it is missing.
    pub(super) fn open(files: Arc<dyn Files>, path: PathBuf) -> io::Result<Self> {
        files.create_folder(&path)?;
        Ok(Self { files, path })
    }

    /// What is known, if it was written in this boot and can be read.
    pub(super) fn known(&self, boot: Option<&str>) -> Option<Known> {
        let handle = self.files.open_read(&self.path.join(KNOWN)).ok()?;
        let len = usize::try_from(handle.len().ok()?).ok().filter(|len| *len < 256)?;
        let mut bytes = vec![0; len];
        handle.read_exact_at(&mut bytes, 0).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let mut words = text.strip_suffix('\n')?.split(' ');
        let (version, found) = (words.next()?, words.next()?);
        let (issued, ends) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let sound = version == "1" && words.next().is_none() && boot == Some(found);
        sound.then(|| Known { boot: found.to_owned(), issued_after: issued, ends_after: ends })
    }

    /// Says what is known, in one step.
    pub(super) fn write_known(&self, known: &Known) -> io::Result<()> {
        let beside = self.path.join(format!("{KNOWN}.new"));
        self.remove_if_there(&beside)?;
        let text = format!("1 {} {} {}\n", known.boot, known.issued_after, known.ends_after);
        self.files.open(&beside, true)?.write_all_at(text.as_bytes(), 0)?;
        self.files.rename(&beside, &self.path.join(KNOWN))
    }

    /// Has the next start take nothing here for known.
    pub(super) fn disown(&self) -> io::Result<()> {
        self.remove_if_there(&self.path.join(KNOWN))
    }

    /// Every span's digests. A digest that was not written whole is cut off: its call did not go
    /// on.
    pub(super) fn read(&self) -> io::Result<BTreeMap<u64, (UsedFile, Vec<Digest>)>> {
        let mut spans = BTreeMap::new();
        for span in self.spans()? {
            let handle = self.files.open(&self.span_path(span), false)?;
            let len = handle.len()?;
            let whole = len - len % DIGEST_BYTES as u64;
            handle.set_len(whole)?;
            let mut bytes = vec![0; usize::try_from(whole).unwrap_or_default()];
            handle.read_exact_at(&mut bytes, 0)?;
            let (digests, _) = bytes.as_chunks::<DIGEST_BYTES>();
            let digests = digests.to_vec();
            spans.insert(span, (UsedFile { handle, len: whole }, digests));
        }
        Ok(spans)
    }

    /// A new file for a span.
    pub(super) fn create(&self, span: u64) -> io::Result<UsedFile> {
        let path = self.span_path(span);
        // One that could not be removed when its span was over.
        self.remove_if_there(&path)?;
        Ok(UsedFile { handle: self.files.open(&path, true)?, len: 0 })
    }

    /// Removes a span's file.
    pub(super) fn remove(&self, span: u64) -> io::Result<()> {
        self.remove_if_there(&self.span_path(span))
    }

    /// Removes every span's file.
    pub(super) fn clear(&self) -> io::Result<()> {
        self.spans()?.into_iter().try_for_each(|span| self.remove(span))
    }

    fn spans(&self) -> io::Result<Vec<u64>> {
        let number = |path: &PathBuf| path.file_name()?.to_str()?.strip_suffix(USED)?.parse().ok();
        Ok(self.files.list(&self.path)?.iter().filter_map(number).collect())
    }

    fn span_path(&self, span: u64) -> PathBuf {
        self.path.join(format!("{span}{USED}"))
    }

    fn remove_if_there(&self, path: &Path) -> io::Result<()> {
        match self.files.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl UsedFile {
    /// Adds a digest. One that could not be written whole is not there.
    pub(super) fn append(&mut self, digest: &Digest) -> io::Result<()> {
        self.handle.write_all_at(digest, self.len)?;
        self.len += DIGEST_BYTES as u64;
        Ok(())
    }
}
