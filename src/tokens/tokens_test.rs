//! A token is taken once, whatever happens to the node and its disk in between.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::files::{Disk, FileHandle, Files, Space};

const NOW: u64 = 1_763_800_000_000;
const BOOT: &str = "one-boot";

/// This machine's disk, until it is told to be full, or to refuse everything.
#[derive(Default)]
struct Fickle {
    full: AtomicBool,
    broken: AtomicBool,
}

struct FickleFile(Arc<dyn FileHandle>, Arc<Fickle>);

impl Fickle {
    fn check(&self, of: &AtomicBool) -> io::Result<()> {
        let bad = of.load(Ordering::Relaxed) || self.broken.load(Ordering::Relaxed);
        if bad { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

#[derive(Clone)]
struct Fickles(Arc<Fickle>);

impl FileHandle for FickleFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        // A full disk takes what still fits.
        let fits = if self.1.check(&self.1.full).is_ok() { bytes.len() } else { bytes.len() / 2 };
        self.0.write_all_at(&bytes[..fits], offset)?;
        self.1.check(&self.1.full)
    }

    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
}

impl Files for Fickles {
    fn open(&self, path: &Path, create_new: bool) -> io::Result<Arc<dyn FileHandle>> {
        self.0.check(&self.0.broken)?;
        let opened = Disk.open(path, create_new)?;
        Ok(Arc::new(FickleFile(opened, Arc::clone(&self.0))))
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn FileHandle>> {
        Disk.open_read(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.check(&self.0.broken)?;
        Disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.check(&self.0.broken)?;
        Disk.remove(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        Disk.list(folder)
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        Disk.create_folder(folder)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        Disk.sync_folder(folder)
    }

    fn space(&self, folder: &Path) -> io::Result<Space> {
        Disk.space(folder)
    }
}

fn start(now: u64, boot: &str, first_life: bool, max: usize) -> Start {
    Start { now, boot: Some(boot.to_owned()), first_life, max }
}

fn open(folder: &Path, start: Start) -> UsedTokens {
    UsedTokens::open(Arc::new(Disk), folder.to_owned(), start).unwrap()
}

/// A token with a number, issued at a time and good for as long as any.
fn token(number: u32, issued: u64) -> Token {
    let mut digest = [0; 16];
    digest[..4].copy_from_slice(&number.to_be_bytes());
    let company = "shop".parse().unwrap();
    Token { digest, company, issued, ends: issued + LIFETIME_MS + LEEWAY_MS }
}

#[test]
fn a_token_is_taken_once_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let used = open(folder.path(), start(NOW, BOOT, true, 100));
    let (first, second) = (token(1, NOW), token(2, NOW));
    assert_eq!(used.spend(&first, NOW), Spent::Now);
    assert_eq!(used.spend(&first, NOW), Spent::Before);
    // The same `jti` with other times is the same token.
    assert_eq!(used.spend(&token(1, NOW + 25_000), NOW), Spent::Before);
    drop(used);
    let used = open(folder.path(), start(NOW + 1, BOOT, false, 100));
    assert_eq!(used.len(), 1);
    assert_eq!(used.spend(&first, NOW + 1), Spent::Before);
    assert_eq!(used.spend(&second, NOW + 1), Spent::Now, "and there is no pause");
}

#[test]
fn a_digest_that_was_cut_off_is_no_token_and_harms_none_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let used = open(folder.path(), start(NOW, BOOT, true, 100));
    assert_eq!(used.spend(&token(1, NOW), NOW), Spent::Now);
    drop(used);
    let listed = Disk.list(folder.path()).unwrap();
    let file = listed.iter().find(|path| path.extension().is_some_and(|it| it == "used")).unwrap();
    let mut bytes = std::fs::read(file).unwrap();
    bytes.extend_from_slice(b"torn");
    std::fs::write(file, bytes).unwrap();
    for round in 0..2 {
        let used = open(folder.path(), start(NOW, BOOT, false, 100));
        assert_eq!(used.len(), 1 + round);
        assert_eq!(used.spend(&token(1, NOW), NOW), Spent::Before);
        let second = if round == 0 { Spent::Now } else { Spent::Before };
        assert_eq!(used.spend(&token(2, NOW), NOW), second);
    }
}

#[test]
fn after_a_loss_of_power_what_may_have_been_used_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let used = open(folder.path(), start(NOW, BOOT, true, 100));
    assert_eq!(used.spend(&token(1, NOW), NOW), Spent::Now);
    drop(used);
    let until = NOW + 5_000 + LEEWAY_MS;
    let used = open(folder.path(), start(NOW + 5_000, "next-boot", false, 100));
    assert_eq!(used.spend(&token(1, NOW), NOW + 5_000), Spent::Unknown { until });
    assert_eq!(used.spend(&token(2, until), NOW + 5_000), Spent::Unknown { until });
    drop(used);
    // A kill within that time shortens it by nothing.
    let used = open(folder.path(), start(NOW + 6_000, "next-boot", false, 100));
    assert_eq!(used.spend(&token(2, until), NOW + 6_000), Spent::Unknown { until });
    assert_eq!(used.spend(&token(3, until + 1), NOW + 6_000), Spent::Now);
}

#[test]
fn a_folder_that_is_missing_or_unreadable_is_as_after_a_loss_of_power() {
    for unreadable in [None, Some(""), Some("2 one-boot 0 0\n"), Some("1 one-boot 0\n")] {
        let folder = tempfile::tempdir().unwrap();
        if let Some(text) = unreadable {
            std::fs::write(folder.path().join("known"), text).unwrap();
        }
        let used = open(folder.path(), start(NOW, BOOT, false, 100));
        let until = NOW + LEEWAY_MS;
        assert_eq!(used.spend(&token(1, NOW), NOW), Spent::Unknown { until }, "{unreadable:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let used = open(folder.path(), start(NOW, BOOT, true, 100));
    assert_eq!(used.spend(&token(1, NOW), NOW), Spent::Now, "a first life has nothing to forget");
}

#[test]
fn at_the_bound_nothing_is_forgotten_early_and_companies_leave_each_other_room() {
    let folder = tempfile::tempdir().unwrap();
    let used = open(folder.path(), start(NOW, BOOT, true, 10));
    let full = Spent::Full { until: NOW + LIFETIME_MS + LEEWAY_MS + 10_000 };
    for number in 0..5 {
        assert_eq!(used.spend(&token(number, NOW), NOW), Spent::Now);
    }
    assert_eq!(used.spend(&token(5, NOW), NOW), full, "half of the room is the others'");
    let other = |number| Token { company: "other".parse().unwrap(), ..token(number, NOW) };
    for number in 10..15 {
        assert_eq!(used.spend(&other(number), NOW), Spent::Now);
    }
    assert_eq!(used.spend(&other(15), NOW), full);
    let last = NOW + LIFETIME_MS + LEEWAY_MS - 1;
    for number in 0..5 {
        assert_eq!(used.spend(&token(number, NOW), last), Spent::Before);
    }
    assert_eq!(used.spend(&token(5, last), last), full);
    let over = NOW + LIFETIME_MS + LEEWAY_MS + 10_000;
    assert_eq!(used.spend(&token(5, over), over), Spent::Now);
    assert_eq!(used.len(), 1);
    let files = Disk.list(folder.path()).unwrap();
    assert_eq!(files.len(), 2, "what has ended is removed: {files:?}");
}

#[test]
fn a_clock_set_back_brings_no_token_to_life_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut used = open(folder.path(), start(NOW, BOOT, true, 100));
    let old = token(1, NOW);
    assert_eq!(used.spend(&old, NOW), Spent::Now);
    let later = NOW + 3_600_000;
    assert_eq!(used.spend(&token(2, later), later), Spent::Now);
    for _ in 0..2 {
        assert_eq!(used.spend(&old, NOW), Spent::Forgotten);
        drop(used);
        used = open(folder.path(), start(NOW, BOOT, false, 100));
    }
    let fresh = token(3, NOW + 20_000);
    assert_eq!(used.spend(&fresh, NOW + 20_000), Spent::Now);
}

#[test]
fn on_a_full_disk_tokens_are_taken_and_the_next_start_knows_that_it_knows_too_little() {
    let folder = tempfile::tempdir().unwrap();
    let fickle = Arc::new(Fickle::default());
    let files: Arc<dyn Files> = Arc::new(Fickles(Arc::clone(&fickle)));
    let open = |now, first| {
        let start = start(now, BOOT, first, 100);
        UsedTokens::open(Arc::clone(&files), folder.path().to_owned(), start).unwrap()
    };
    let used = open(NOW, true);
    assert_eq!(used.spend(&token(1, NOW), NOW), Spent::Now);
    fickle.full.store(true, Ordering::Relaxed);
    assert_eq!(used.spend(&token(2, NOW), NOW), Spent::Now);
    assert_eq!(used.spend(&token(2, NOW), NOW), Spent::Before);
    fickle.full.store(false, Ordering::Relaxed);
    assert_eq!(used.spend(&token(3, NOW), NOW), Spent::Now);
    drop(used);
    let used = open(NOW + 1000, false);
    let until = NOW + 1000 + LEEWAY_MS;
    assert_eq!(used.spend(&token(2, NOW), NOW + 1000), Spent::Unknown { until });

    // Once what was not written has ended, a start knows everything again.
    let late = NOW + 1_000_000;
    fickle.full.store(true, Ordering::Relaxed);
    assert_eq!(used.spend(&token(4, late), late), Spent::Now);
    fickle.full.store(false, Ordering::Relaxed);
    let later = late + 200_000;
    assert_eq!(used.spend(&token(5, later), later), Spent::Now);
    drop(used);
    let used = open(later, false);
    assert_eq!(used.spend(&token(5, later), later), Spent::Before);
    assert_eq!(used.spend(&token(6, later), later), Spent::Now);
}

#[test]
fn where_nothing_can_be_seen_to_the_call_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let fickle = Arc::new(Fickle::default());
    let files = Arc::new(Fickles(Arc::clone(&fickle)));
    let start = start(NOW, BOOT, true, 100);
    let used = UsedTokens::open(files, folder.path().to_owned(), start).unwrap();
    fickle.broken.store(true, Ordering::Relaxed);
    assert_eq!(used.spend(&token(1, NOW), NOW), Spent::NotKept);
    fickle.broken.store(false, Ordering::Relaxed);
    assert_eq!(used.spend(&token(1, NOW), NOW), Spent::Now, "it was not used");
}

#[test]
fn of_many_at_once_one_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let used = open(folder.path(), start(NOW, BOOT, true, 1000));
    for number in 0..50 {
        let taken: usize = std::thread::scope(|scope| {
            let spend = || usize::from(used.spend(&token(number, NOW), NOW) == Spent::Now);
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(spend)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(taken, 1);
    }
}
