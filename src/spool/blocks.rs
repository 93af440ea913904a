//! A file of sealed blocks.
//!
//! ```text
//! per block: length of what follows the head 4 | mark 1 | items 4 | sealed bytes
//! ```
//!
//! Numbers are little endian. Mark and number of items are the writer's, in clear. A block's number
//! is bound into its seal, so blocks cannot be exchanged.

use std::io;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::crypto::sealing::{Context, JobKey};
use crate::files::FileHandle;

const HEAD_BYTES: u64 = 9;

/// Longest sealed block, in bytes: the longest clear value and what sealing adds.
const SEALED_BYTES_MAX: u32 = 64 * 1024 + 256;

/// Which file of which job: bound into every seal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) deployment: [u8; 16],
    pub(super) job: [u8; 16],
    pub(super) part: &'static str,
}

/// Where a block is, and what its writer noted of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    offset: u64,
    sealed: u32,
    mark: u8,
    items: u32,
}

/// The blocks of one file.
pub struct Blocks {
    handle: Arc<dyn FileHandle>,
    place: Place,
    key: Arc<JobKey>,
    heads: Vec<Head>,
    end: u64,
}

impl Blocks {
    pub(super) const fn new(handle: Arc<dyn FileHandle>, place: Place, key: Arc<JobKey>) -> Self {
        Self { handle, place, key, heads: Vec::new(), end: 0 }
    }

    /// What is there whole. What is behind it is left alone.
    pub(super) fn read_only(
        handle: Arc<dyn FileHandle>,
        place: Place,
        key: Arc<JobKey>,
    ) -> io::Result<Self> {
        let mut blocks = Self::new(handle, place, key);
        let len = blocks.handle.len()?;
        while let Some(head) = blocks.head_at(blocks.end, len)? {
            blocks.end = head.offset + HEAD_BYTES + u64::from(head.sealed);
            blocks.heads.push(head);
        }
        Ok(blocks)
    }

    /// What is there whole, with what is behind it cut off. After a loss of power the last block
    /// may have its length and not its content: such a one is cut off, too.
    pub(super) fn resume(
        handle: Arc<dyn FileHandle>,
        place: Place,
        key: Arc<JobKey>,
    ) -> io::Result<Self> {
        let mut blocks = Self::read_only(handle, place, key)?;
        while !blocks.heads.is_empty() && blocks.open(blocks.heads.len() - 1).is_err() {
            blocks.heads.pop();
        }
        blocks.cut(blocks.heads.len())?;
        Ok(blocks)
    }

    fn head_at(&self, offset: u64, len: u64) -> io::Result<Option<Head>> {
        if offset + HEAD_BYTES > len {
            return Ok(None);
        }
        let (mut sealed, mut mark, mut items) = ([0; 4], [0], [0; 4]);
        self.handle.read_exact_at(&mut sealed, offset)?;
        self.handle.read_exact_at(&mut mark, offset + 4)?;
        self.handle.read_exact_at(&mut items, offset + 5)?;
        let (sealed, [mark], items) = (u32::from_le_bytes(sealed), mark, u32::from_le_bytes(items));
        let whole = (1..=SEALED_BYTES_MAX).contains(&sealed)
            && offset + HEAD_BYTES + u64::from(sealed) <= len;
        Ok(whole.then_some(Head { offset, sealed, mark, items }))
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.heads.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// How many bytes they take.
    pub const fn bytes(&self) -> u64 {
        self.end
    }

    /// What the writer noted of a block: mark and number of items.
    pub fn noted(&self, number: usize) -> Option<(u8, u32)> {
        self.heads.get(number).map(|head| (head.mark, head.items))
    }

    /// Adds a block of at most 64 KiB.
    pub fn append(&mut self, clear: &[u8], mark: u8, items: u32) -> io::Result<()> {
        let number = self.heads.len();
        let register = self.register(number);
        let sealed = self.key.seal(&self.context(&register), clear).map_err(io::Error::other)?;
        let len = u32::try_from(sealed.len()).map_err(io::Error::other)?;
        let mut bytes = Vec::with_capacity(sealed.len() + 9);
        bytes.extend_from_slice(&len.to_le_bytes());
        bytes.push(mark);
        bytes.extend_from_slice(&items.to_le_bytes());
        bytes.extend_from_slice(&sealed);
        self.handle.write_all_at(&bytes, self.end)?;
        self.heads.push(Head { offset: self.end, sealed: len, mark, items });
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Takes away all blocks but the first ones.
    pub fn cut(&mut self, len: usize) -> io::Result<()> {
        self.heads.truncate(len);
        let end = |head: &Head| head.offset + HEAD_BYTES + u64::from(head.sealed);
        self.end = self.heads.last().map_or(0, end);
        self.handle.set_len(self.end)
    }

    /// Waits until all of them survive a loss of power.
    pub fn sync(&self) -> io::Result<()> {
        self.handle.sync_data()
    }

    /// Opens a block.
    pub fn open(&self, number: usize) -> io::Result<Zeroizing<Vec<u8>>> {
        let head = self.heads.get(number).ok_or(io::ErrorKind::NotFound)?;
        let mut sealed = vec![0; usize::try_from(head.sealed).unwrap_or_default()];
        self.handle.read_exact_at(&mut sealed, head.offset + HEAD_BYTES)?;
        let register = self.register(number);
        self.key.open(&self.context(&register), &sealed).map_err(io::Error::other)
    }

    fn register(&self, number: usize) -> String {
        format!("sync/{}/{number}", self.place.part)
    }

    const fn context<'a>(&self, register: &'a str) -> Context<'a> {
        let Place { deployment, job, .. } = self.place;
        Context { deployment, subject: job, register: register.as_bytes(), profile: None }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Part, Spool};
    use super::*;
    use crate::files::Disk;
    use uuid::Uuid;

    fn spool(folder: &std::path::Path) -> Spool {
        Spool::open(Arc::new(Disk), folder.to_owned(), [7; 16]).unwrap()
    }

    #[test]
    fn blocks_come_back_as_they_were_and_only_in_their_place() {
        let folder = tempfile::tempdir().unwrap();
        let (spool, job) = (spool(folder.path()), Uuid::from_u128(1));
        let key = Arc::new(JobKey::generate().unwrap());
        let mut blocks = spool.create(job, Part::Rows, Arc::clone(&key)).unwrap();
        blocks.append(b"one", 1, 10).unwrap();
        blocks.append(b"two", 2, 20).unwrap();
        let read = spool.read(job, Part::Rows, Arc::clone(&key)).unwrap().unwrap();
        assert_eq!((read.len(), read.noted(1)), (2, Some((2, 20))));
        assert_eq!(read.open(0).unwrap().as_slice(), b"one");
        assert_eq!(read.open(1).unwrap().as_slice(), b"two");
        let path = folder.path().join(format!("{job}.rows"));
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(3).any(|part| part == b"two"), "it lies there in clear");
        let (first, second) = bytes.split_at(bytes.len() / 2);
        std::fs::write(&path, [second, first].concat()).unwrap();
        let exchanged = spool.read(job, Part::Rows, Arc::clone(&key)).unwrap().unwrap();
        assert!(exchanged.open(0).is_err() && exchanged.open(1).is_err());
        let other = Arc::new(JobKey::generate().unwrap());
        assert!(spool.read(job, Part::Rows, other).unwrap().unwrap().open(0).is_err());
    }

    #[test]
    fn what_was_not_written_whole_is_cut_off_and_the_next_takes_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let (spool, job) = (spool(folder.path()), Uuid::from_u128(1));
        let key = Arc::new(JobKey::generate().unwrap());
        let mut blocks = spool.create(job, Part::Verdicts, Arc::clone(&key)).unwrap();
        blocks.append(b"one", 0, 1).unwrap();
        let whole = blocks.bytes();
        blocks.append(b"two", 0, 1).unwrap();
        let path = folder.path().join(format!("{job}.verdicts"));
        let bytes = std::fs::read(&path).unwrap();
        for cut in whole..bytes.len() as u64 {
            let cut = usize::try_from(cut).unwrap();
            let mut torn = bytes[..cut].to_vec();
            for zeros in [0, bytes.len() - cut] {
                torn.resize(cut + zeros, 0);
                std::fs::write(&path, &torn).unwrap();
                let mut resumed = spool.resume(job, Part::Verdicts, Arc::clone(&key)).unwrap();
                assert_eq!((resumed.len(), resumed.bytes()), (1, whole), "cut at {cut}");
                resumed.append(b"new", 0, 1).unwrap();
                assert_eq!(resumed.open(1).unwrap().as_slice(), b"new");
            }
        }
    }

    #[test]
    fn a_part_that_is_rewritten_keeps_its_blocks_and_what_was_changed_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let (spool, job) = (spool(folder.path()), Uuid::from_u128(1));
        let key = Arc::new(JobKey::generate().unwrap());
        let mut blocks = spool.create(job, Part::Verdicts, Arc::clone(&key)).unwrap();
        blocks.append(b"of Ada", 1, 10).unwrap();
        blocks.append(b"of Bola", 2, 20).unwrap();
        let path = folder.path().join(format!("{job}.verdicts"));
        let before = std::fs::read(&path).unwrap();
        // A block that was not written whole is nobody's, as when a job goes on.
        std::fs::write(&path, [before.as_slice(), &[50, 0, 0, 0, 1, 1, 0, 0, 0]].concat()).unwrap();
        let rewrite = |word: &'static [u8]| {
            let change =
                |block: &[u8]| Ok((block == word).then(|| Zeroizing::new(b"of nobody".to_vec())));
            spool.rewrite(job, Part::Verdicts, &key, change).unwrap();
        };
        rewrite(b"of Cece");
        assert!(std::fs::read(&path).unwrap().starts_with(&before), "nothing was to be changed");
        rewrite(b"of Ada");
        let read = spool.read(job, Part::Verdicts, Arc::clone(&key)).unwrap().unwrap();
        assert_eq!((read.noted(0), read.noted(1)), (Some((1, 10)), Some((2, 20))));
        assert_eq!(read.open(0).unwrap().as_slice(), b"of nobody");
        assert_eq!(read.open(1).unwrap().as_slice(), b"of Bola");
        assert_eq!(spool.jobs().unwrap(), [job]);
        spool.rewrite(job, Part::Rows, &key, |_| Ok(None)).unwrap();
    }

    #[test]
    fn a_job_is_there_until_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (spool, job) = (spool(folder.path()), Uuid::from_u128(5));
        assert_eq!((spool.jobs().unwrap(), spool.note(job).unwrap()), (Vec::new(), None));
        spool.write_note(job, b"first").unwrap();
        spool.write_note(job, b"second").unwrap();
        let key = Arc::new(JobKey::generate().unwrap());
        spool.create(job, Part::Rows, key).unwrap().append(b"row", 0, 1).unwrap();
        assert_eq!(spool.note(job).unwrap().unwrap(), b"second");
        assert_eq!(spool.jobs().unwrap(), [job]);
        assert!(spool.bytes(job) > 0);
        spool.remove(job).unwrap();
        assert!(spool.jobs().unwrap().is_empty());
    }
}
