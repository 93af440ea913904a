//! Files as the log and the checkpoint use them, behind a trait, so that a test can lose power.
//!
//! The real layer is [`Disk`]. The crash tests put one in its place that forgets what was not
//! synced, refuses to write or runs full, and drive the shipped code with it.

pub mod unfinished;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An open file. Every offset is in bytes from its start.
pub trait FileHandle: Send + Sync {
    /// Writes all of `bytes` at `offset`.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Fills `bytes` from `offset`; an end before that is `UnexpectedEof`.
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;

    /// Waits until what was written, and the file's length, survive a loss of power.
    fn sync_data(&self) -> io::Result<()>;

    /// Cuts or extends the file.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// The file's length.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file holds nothing.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Room on the device that holds a folder, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What the device holds in all, as far as this process may fill it.
    pub total: u64,
    /// What this process may still write.
    pub free: u64,
}

impl Space {
    /// Bytes that may be written until the device is filled to so many percent.
    pub fn room(self, fill_percent: u8) -> u64 {
        let limit = u128::from(self.total) * u128::from(fill_percent) / 100;
        let used = self.total.saturating_sub(self.free);
        u64::try_from(limit).unwrap_or(u64::MAX).saturating_sub(used)
    }
}

/// A place where files live.
pub trait Files: Send + Sync {
    /// Opens a file for reading and writing; with `create_new` it must not exist yet.
    fn open(&self, path: &Path, create_new: bool) -> io::Result<Arc<dyn FileHandle>>;

    /// Opens a file for reading only.
    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn FileHandle>>;

    /// Gives a file another name, replacing what had that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// The files of a folder, sorted by name.
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;

    /// Makes a folder and those above it.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;

    /// Waits until the names in a folder survive a loss of power.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// How much room there is.
    fn space(&self, folder: &Path) -> io::Result<Space>;
}

/// Bytes that are copied at once.
const COPY_BYTES: u64 = 1024 * 1024;

/// Copies a file into a new one, as long as it is when this begins, and waits until the copy is
/// durable; its name is once the folder is. `progress` is told the bytes. Returns how many.
pub fn copy(
    files: &dyn Files,
    from: &Path,
    to: &Path,
    progress: &mut dyn FnMut(u64),
) -> io::Result<u64> {
    let (source, target) = (files.open_read(from)?, files.open(to, true)?);
    let length = source.len()?;
    let mut buffer = vec![0; usize::try_from(length.min(COPY_BYTES)).unwrap_or(0)];
    let mut done = 0;
    while done < length {
        let bytes = usize::try_from(length - done).unwrap_or(usize::MAX).min(buffer.len());
        let part = buffer.get_mut(..bytes).unwrap_or_default();
        source.read_exact_at(part, done)?;
        target.write_all_at(part, done)?;
        done = done.saturating_add(bytes as u64);
        progress(done);
    }
    target.sync_data()?;
    Ok(done)
}

/// The files of this machine. New ones are readable by their owner alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl FileHandle for File {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl Files for Disk {
    fn open(&self, path: &Path, create_new: bool) -> io::Result<Arc<dyn FileHandle>> {
        use std::os::unix::fs::OpenOptionsExt;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(create_new).mode(0o600);
        Ok(Arc::new(options.open(path)?))
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn FileHandle>> {
        Ok(Arc::new(File::open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                files.push(entry.path());
            }
        }
        files.sort();
        Ok(files)
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn space(&self, folder: &Path) -> io::Result<Space> {
        let found = rustix::fs::statvfs(folder)?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        // As `df` counts: blocks that are kept for root are neither used nor to be had.
        let used = found.f_blocks.saturating_sub(found.f_bfree);
        let total = bytes(used.saturating_add(found.f_bavail));
        Ok(Space { total, free: bytes(found.f_bavail) })
    }
}
