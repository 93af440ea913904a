//! A disk that loses power: files in memory that remember what was synced and what was not.
//!
//! After [`SimDisk::crash`] each file holds what was synced, any prefix of the changes that were
//! not, and torn pieces of the rest; names that were not synced with their folder come and go
//! likewise. Writes, syncs and cuts fail on demand. Everything is told by a seed.
//!
//! The file is shared: unit tests and integration tests include it below a module that has
//! `files`, the trait's module, in scope.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::files::{FileHandle, Files, Space};

/// What the disk writes whole, in bytes.
const SECTOR_BYTES: usize = 512;

/// A small generator (SplitMix64): good enough to draw crashes from a seed.
#[derive(Debug, Clone)]
pub(crate) struct Seeded(u64);

impl Seeded {
    /// A generator that draws the same for the same seed.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub(crate) const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 for a bound of 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.draw() % bound).unwrap_or(0)
    }

    /// Whether something of this chance, in percent, happens.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// A change of a file that was not synced yet.
#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Len(usize),
}

#[derive(Debug, Default)]
struct Inode {
    durable: Vec<u8>,
    current: Vec<u8>,
    unsynced: Vec<Change>,
}

impl Inode {
    fn apply(content: &mut Vec<u8>, change: &Change) {
        match change {
            Change::Write { offset, bytes } => put(content, *offset, bytes),
            Change::Len(len) => content.resize(*len, 0),
        }
    }

    fn change(&mut self, change: Change) {
        Self::apply(&mut self.current, &change);
        self.unsynced.push(change);
    }

    /// What a loss of power leaves.
    fn crash(&mut self, seeded: &mut Seeded) {
        let mut left = std::mem::take(&mut self.durable);
        let whole = seeded.below(self.unsynced.len() + 1);
        let tears_later = seeded.chance(50);
        for (index, change) in self.unsynced.iter().enumerate() {
            match change {
                _ if index < whole => Self::apply(&mut left, change),
                Change::Write { offset, bytes } if index == whole || tears_later => {
                    for (sector, piece) in bytes.chunks(SECTOR_BYTES).enumerate() {
                        if seeded.chance(50) {
                            put(&mut left, offset + sector * SECTOR_BYTES, piece);
                        }
                    }
                }
                _ => {}
            }
        }
        self.unsynced.clear();
        self.current.clone_from(&left);
        self.durable = left;
    }
}

/// Puts bytes at an offset, with zeros in front where nothing was.
fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    if let Some(there) = content.get_mut(offset..end) {
        there.copy_from_slice(bytes);
    }
}

/// A name that was given or taken and is not synced with its folder yet.
#[derive(Debug, Clone)]
enum Naming {
    Set(PathBuf, usize),
    Gone(PathBuf),
}

/// A change that something went wrong with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Op {
    /// Bytes were written.
    Write,
    /// A file was synced.
    Sync,
    /// A file was cut.
    SetLen,
    /// A file was made.
    Create,
    /// A file was given another name.
    Rename,
    /// A file was removed.
    Remove,
    /// The names of a folder were synced.
    SyncFolder,
}

/// What is to go wrong.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// This many writes from now on succeed; the next one is cut short and finds the disk full.
    pub(crate) full_after_writes: Option<usize>,
    /// This many writes from now on succeed; the next one is written whole and fails all the same.
    pub(crate) late_error_after_writes: Option<usize>,
    /// This many syncs from now on succeed; the next one fails.
    pub(crate) sync_fails_after: Option<usize>,
    /// Cutting a file fails.
    pub(crate) set_len_fails: bool,
    /// This many changes of any kind succeed from now on; then the power is gone: everything fails
    /// until [`SimDisk::crash`].
    pub(crate) power_off_after: Option<usize>,
    /// Syncs report success and do nothing: a test that does not notice is worth nothing.
    pub(crate) ignore_sync: bool,
}

#[derive(Debug)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    unsynced_names: Vec<Naming>,
    folders: BTreeSet<PathBuf>,
    faults: Faults,
    off: bool,
    space: Space,
    /// What the last fault hit.
    struck: Option<(Op, PathBuf)>,
}

impl State {
    /// Counts a change; false when the power goes off with it, error when it is off.
    fn powered(&mut self, op: Op, path: &Path) -> io::Result<bool> {
        if self.off {
            return Err(io::Error::other("the power is off"));
        }
        match &mut self.faults.power_off_after {
            Some(0) => {
                self.off = true;
                self.struck = Some((op, path.to_owned()));
                Ok(false)
            }
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
            None => Ok(true),
        }
    }

    fn name(&mut self, naming: Naming) {
        rename_in(&mut self.names, &naming);
        self.unsynced_names.push(naming);
    }

    /// The name a file has now.
    fn path_of(&self, id: usize) -> PathBuf {
        let named = self.names.iter().find(|(_, named)| **named == id);
        named.map(|(path, _)| path.clone()).unwrap_or_default()
    }

    /// Whether a fault that is due after so many of something is due now; counts it otherwise.
    fn is_due(
        &mut self,
        which: fn(&mut Faults) -> &mut Option<usize>,
        op: Op,
        path: &Path,
    ) -> bool {
        match which(&mut self.faults) {
            Some(0) => {
                self.struck = Some((op, path.to_owned()));
                true
            }
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }

    fn inode(&mut self, id: usize) -> io::Result<&mut Inode> {
        self.inodes.get_mut(id).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn rename_in(names: &mut BTreeMap<PathBuf, usize>, naming: &Naming) {
    match naming {
        Naming::Set(path, id) => {
            names.insert(path.clone(), *id);
        }
        Naming::Gone(path) => {
            names.remove(path);
        }
    }
}

/// The disk. Clones are the same disk.
#[derive(Debug, Clone)]
pub(crate) struct SimDisk(Arc<Mutex<State>>);

impl Default for SimDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl SimDisk {
    /// An empty disk of a terabyte.
    pub(crate) fn new() -> Self {
        let space = Space { total: 1 << 40, free: 1 << 40 };
        Self(Arc::new(Mutex::new(State {
            inodes: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            unsynced_names: Vec::new(),
            folders: BTreeSet::new(),
            faults: Faults::default(),
            off: false,
            space,
            struck: None,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what is to go wrong from now on.
    pub(crate) fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Says how much room there is.
    pub(crate) fn set_space(&self, total: u64, free: u64) {
        self.state().space = Space { total, free };
    }

    /// Loses power and comes back with what is left; faults are over. Handles from before must be
    /// gone.
    pub(crate) fn crash(&self, seed: u64) {
        let mut seeded = Seeded::new(seed);
        let mut state = self.state();
        for inode in &mut state.inodes {
            inode.crash(&mut seeded);
        }
        let kept = seeded.below(state.unsynced_names.len() + 1);
        // Most file systems keep the order in which names changed; nothing says they must.
        let in_order = seeded.chance(50);
        let namings = std::mem::take(&mut state.unsynced_names);
        let mut names = std::mem::take(&mut state.durable_names);
        for (index, naming) in namings.iter().enumerate() {
            if index < kept || (!in_order && seeded.chance(50)) {
                rename_in(&mut names, naming);
            }
        }
        state.names.clone_from(&names);
        state.durable_names = names;
        state.off = false;
        state.faults = Faults::default();
    }

    /// Lets nothing through any more: the process is killed, or the power is gone.
    pub(crate) fn cut_off(&self) {
        self.state().off = true;
    }

    /// Whether nothing gets through any more.
    pub(crate) fn is_off(&self) -> bool {
        self.state().off
    }

    /// The process was killed and the machine stayed on: what was written is there, and is as
    /// little synced as before. Faults are over.
    pub(crate) fn restart(&self) {
        let mut state = self.state();
        state.off = false;
        state.faults = Faults::default();
    }

    /// What the last fault hit since this was asked last.
    pub(crate) fn take_struck(&self) -> Option<(Op, PathBuf)> {
        self.state().struck.take()
    }

    /// Whether these bytes of a file would be as they are now after any loss of power.
    pub(crate) fn is_durable(&self, path: &Path, range: std::ops::Range<usize>) -> bool {
        let state = self.state();
        let (now, kept) = (state.names.get(path), state.durable_names.get(path));
        let inode = now.filter(|_| now == kept).and_then(|id| state.inodes.get(*id));
        inode.is_some_and(|inode| {
            let synced = inode.durable.get(range.clone());
            synced.is_some() && synced == inode.current.get(range)
        })
    }

    /// A file's content, as a reader sees it.
    pub(crate) fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let mut state = self.state();
        let id = *state.names.get(path)?;
        state.inode(id).ok().map(|inode| inode.current.clone())
    }

    /// Every file's content: to compare the disk before and after.
    pub(crate) fn image(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let state = self.state();
        let content = |id: &usize| state.inodes.get(*id).map(|inode| inode.current.clone());
        let files = state.names.iter();
        files.filter_map(|(path, id)| Some((path.clone(), content(id)?))).collect()
    }

    /// Replaces a file's content, durably: a bad sector, or somebody's editor.
    pub(crate) fn overwrite(&self, path: &Path, content: &[u8]) {
        let mut state = self.state();
        let id = state.names.get(path).copied().unwrap_or(state.inodes.len());
        if id == state.inodes.len() {
            state.inodes.push(Inode::default());
            state.names.insert(path.to_owned(), id);
            state.durable_names.insert(path.to_owned(), id);
        }
        if let Ok(inode) = state.inode(id) {
            inode.unsynced.clear();
            inode.current = content.to_vec();
            inode.durable = content.to_vec();
        }
    }
}

struct SimFile {
    disk: SimDisk,
    id: usize,
    writable: bool,
}

impl SimFile {
    fn may_write(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }
}

impl FileHandle for SimFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.may_write()?;
        let mut state = self.disk.state();
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let path = state.path_of(self.id);
        let powered = state.powered(Op::Write, &path)?;
        let full = state.is_due(|faults| &mut faults.full_after_writes, Op::Write, &path);
        if full {
            state.faults.full_after_writes = None;
        }
        let late = state.is_due(|faults| &mut faults.late_error_after_writes, Op::Write, &path);
        if late {
            state.faults.late_error_after_writes = None;
        }
        let len = if full || !powered { bytes.len() / 2 } else { bytes.len() };
        let bytes = bytes.iter().copied().take(len).collect();
        state.inode(self.id)?.change(Change::Write { offset, bytes });
        match (powered, full) {
            (false, _) => Err(io::Error::other("the power went off")),
            (true, true) => Err(io::ErrorKind::StorageFull.into()),
            (true, false) if late => Err(io::Error::other("the device answered too late")),
            (true, false) => Ok(()),
        }
    }

    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let content = &state.inode(self.id)?.current;
        let end = start.checked_add(bytes.len());
        let there = end.and_then(|end| content.get(start..end));
        bytes.copy_from_slice(there.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let path = state.path_of(self.id);
        if !state.powered(Op::Sync, &path)? {
            return Err(io::Error::other("the power went off"));
        }
        if state.is_due(|faults| &mut faults.sync_fails_after, Op::Sync, &path) {
            return Err(io::Error::other("the device does not answer"));
        }
        if !state.faults.ignore_sync {
            let inode = state.inode(self.id)?;
            for change in std::mem::take(&mut inode.unsynced) {
                Inode::apply(&mut inode.durable, &change);
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.may_write()?;
        let mut state = self.disk.state();
        let path = state.path_of(self.id);
        if !state.powered(Op::SetLen, &path)? {
            return Err(io::Error::other("the power went off"));
        }
        if state.faults.set_len_fails {
            return Err(io::Error::other("the file cannot be cut"));
        }
        let len = usize::try_from(len).map_err(io::Error::other)?;
        state.inode(self.id)?.change(Change::Len(len));
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let mut state = self.disk.state();
        u64::try_from(state.inode(self.id)?.current.len()).map_err(io::Error::other)
    }
}

impl SimDisk {
    fn handle(&self, id: usize, writable: bool) -> Arc<dyn FileHandle> {
        Arc::new(SimFile { disk: self.clone(), id, writable })
    }
}

impl Files for SimDisk {
    fn open(&self, path: &Path, create_new: bool) -> io::Result<Arc<dyn FileHandle>> {
        let mut state = self.state();
        if state.off {
            return Err(io::Error::other("the power is off"));
        }
        match (state.names.get(path).copied(), create_new) {
            (Some(id), false) => Ok(self.handle(id, true)),
            (Some(_), true) => Err(io::ErrorKind::AlreadyExists.into()),
            (None, false) => Err(io::ErrorKind::NotFound.into()),
            (None, true) => {
                if !state.powered(Op::Create, path)? {
                    return Err(io::Error::other("the power went off"));
                }
                let id = state.inodes.len();
                state.inodes.push(Inode::default());
                state.name(Naming::Set(path.to_owned(), id));
                Ok(self.handle(id, true))
            }
        }
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn FileHandle>> {
        let state = self.state();
        let id = state.names.get(path).copied().ok_or(io::ErrorKind::NotFound)?;
        Ok(self.handle(id, false))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let id = state.names.get(from).copied().ok_or(io::ErrorKind::NotFound)?;
        if !state.powered(Op::Rename, from)? {
            return Err(io::Error::other("the power went off"));
        }
        // Gone first: a file system may show neither name after a crash, never a wrong content.
        state.name(Naming::Gone(from.to_owned()));
        state.name(Naming::Set(to.to_owned(), id));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        if !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if !state.powered(Op::Remove, path)? {
            return Err(io::Error::other("the power went off"));
        }
        state.name(Naming::Gone(path.to_owned()));
        Ok(())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let state = self.state();
        if !state.folders.contains(folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = state.names.keys().filter(|path| path.parent() == Some(folder));
        Ok(inside.cloned().collect())
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        self.state().folders.extend(folder.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.state();
        if !state.powered(Op::SyncFolder, folder)? {
            return Err(io::Error::other("the power went off"));
        }
        if state.faults.ignore_sync {
            return Ok(());
        }
        let state = &mut *state;
        let inside = |naming: &Naming| {
            let (Naming::Set(path, _) | Naming::Gone(path)) = naming;
            path.parent() == Some(folder)
        };
        for naming in state.unsynced_names.iter().filter(|naming| inside(naming)) {
            rename_in(&mut state.durable_names, naming);
        }
        state.unsynced_names.retain(|naming| !inside(naming));
        Ok(())
    }

    fn space(&self, _folder: &Path) -> io::Result<Space> {
        Ok(self.state().space)
    }
}
