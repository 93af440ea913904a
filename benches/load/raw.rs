//! The limit of the disk: writers that each append some bytes and wait for them, and one thread
//! that writes whatever waits at once and syncs it with one fdatasync. No framing, no numbers, no
//! checksums: what any log on this disk could reach at best.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// What came of it.
pub struct Appended {
    /// Durable appends a second.
    pub rate: f64,
    /// fdatasyncs.
    pub syncs: u64,
    /// Latencies in microseconds.
    latency: Histogram<u64>,
}

impl Appended {
    /// How many appends one fdatasync made durable, on average.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub fn each_sync(&self) -> f64 {
        self.latency.len() as f64 / self.syncs as f64
    }

    /// A quantile of the latency, in milliseconds.
    #[expect(clippy::cast_precision_loss, reason = "microseconds are far below 2^52")]
    pub fn ms(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1000.0
    }
}

#[derive(Default)]
struct Queue {
    waiting: Vec<std::sync::mpsc::Sender<()>>,
    bytes: Vec<u8>,
    closed: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    ready: Condvar,
}

impl Shared {
    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Appends `bytes` bytes at a time from so many writers for a while.
pub fn append(
    folder: &Path,
    writers: usize,
    bytes: usize,
    lasting: Duration,
) -> anyhow::Result<Appended> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join("raw");
    let file = File::create(&path)?;
    let shared = Arc::new(Shared::default());
    let syncs = Arc::new(AtomicU64::new(0));
    let (disk, counted) = (Arc::clone(&shared), Arc::clone(&syncs));
    let disk = std::thread::spawn(move || write(&disk, file, &counted));
    let appended = from_writers(writers, lasting, move |over| {
        let (send, done) = std::sync::mpsc::channel();
        {
            let mut queue = shared.queue();
            let end = queue.bytes.len() + bytes;
            queue.bytes.resize(end, 7);
            queue.waiting.push(send);
            queue.closed |= over;
        }
        shared.ready.notify_one();
        // The disk thread ends with an error of its own, which is returned below.
        let _ = done.recv();
    });
    disk.join().map_err(|_| anyhow::anyhow!("the disk thread panicked"))??;
    std::fs::remove_file(path)?;
    let mut appended = appended?;
    appended.syncs = syncs.load(Ordering::Relaxed);
    Ok(appended)
}

fn write(shared: &Shared, mut file: File, syncs: &AtomicU64) -> anyhow::Result<()> {
    let mut spare = Vec::new();
    loop {
        let mut queue = shared.queue();
        while queue.waiting.is_empty() {
            if queue.closed {
                return Ok(());
            }
            queue = shared.ready.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let waiting = std::mem::take(&mut queue.waiting);
        let bytes = std::mem::replace(&mut queue.bytes, std::mem::take(&mut spare));
        drop(queue);
        file.write_all(&bytes)?;
        file.sync_data()?;
        syncs.fetch_add(1, Ordering::Relaxed);
        spare = bytes;
        spare.clear();
        for done in waiting {
            // Every writer waits for its append.
            let _ = done.send(());
        }
    }
}

/// Calls `append` from so many threads until the time is over; the last call says that it is.
pub fn from_writers(
    writers: usize,
    lasting: Duration,
    append: impl Fn(bool) + Sync + Send + 'static,
) -> anyhow::Result<Appended> {
    let append = Arc::new(append);
    let over = Arc::new(AtomicBool::new(false));
    let began = Instant::now();
    let threads: Vec<_> = (0..writers)
        .map(|_| {
            let (append, over) = (Arc::clone(&append), Arc::clone(&over));
            std::thread::spawn(move || {
                let mut latency = Histogram::<u64>::new(3)?;
                while !over.load(Ordering::Relaxed) {
                    let called = Instant::now();
                    append(false);
                    let took = u64::try_from(called.elapsed().as_micros()).unwrap_or(u64::MAX);
                    latency.record(took.max(1))?;
                    if began.elapsed() >= lasting {
                        over.store(true, Ordering::Relaxed);
                    }
                }
                anyhow::Ok(latency)
            })
        })
        .collect();
    let mut latency = Histogram::new(3)?;
    for thread in threads {
        latency.add(thread.join().map_err(|_| anyhow::anyhow!("a writer panicked"))??)?;
    }
    let seconds = began.elapsed().as_secs_f64();
    append(true);
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let rate = latency.len() as f64 / seconds;
    Ok(Appended { rate, syncs: 0, latency })
}
