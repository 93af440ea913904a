//! Things that one command at a time holds: a lock by name, with a bounded line before each.
//!
//! It is no actor, since nothing in it takes long: whoever finds a thing free has it at once, on
//! its own thread, and whoever lets go of it hands it to the next in line.

use std::collections::{HashMap, VecDeque};
use std::fmt::{Debug, Formatter};
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// What can be held: it says by which name.
pub trait Name: Copy + Eq + Hash + Debug {}

impl<T: Copy + Eq + Hash + Debug> Name for T {}

/// Too many wait for the same thing already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineFull;

/// What is held, with those who wait for each. Clones are of the same one.
#[derive(Clone)]
pub struct Holds<K: Name>(Arc<Table<K>>);

/// Something that is held. It ends when this is dropped: when the command that took it is durable,
/// refused, failed or gone.
#[must_use]
pub struct Hold<K: Name> {
    key: K,
    table: Arc<Table<K>>,
}

/// How much is held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HoldsView {
    /// Things that are held.
    pub held: usize,
    /// Who waits for one.
    pub waiting: usize,
    /// Who was refused because too many waited.
    pub refused: u64,
}

/// Where the hold goes when it is somebody's turn.
type Waiting<K> = oneshot::Sender<Hold<K>>;

struct Table<K: Name> {
    /// A line for each thing that is held, often an empty one.
    lines: Mutex<HashMap<K, VecDeque<Waiting<K>>>>,
    waiting_max: usize,
    refused: AtomicU64,
}

/// What becomes of somebody who wants to hold something.
enum Turn<K: Name> {
    Now(Hold<K>),
    Later(oneshot::Receiver<Hold<K>>),
    Never,
}

impl<K: Name> Holds<K> {
    /// Nothing held yet; at most `waiting_max` will wait for each thing.
    pub fn new(waiting_max: usize) -> Self {
        let (lines, refused) = (Mutex::default(), AtomicU64::new(0));
        Self(Arc::new(Table { lines, waiting_max, refused }))
    }

    /// Holds a thing until the answer is dropped, after all those who came before. Whoever stops
    /// waiting is passed over.
    pub async fn hold(&self, key: K) -> Result<Hold<K>, LineFull> {
        match self.turn(key) {
            Turn::Now(hold) => Ok(hold),
            // The line lasts as long as the table does, and that as long as this.
            Turn::Later(turn) => turn.await.map_err(|_| LineFull),
            Turn::Never => Err(LineFull),
        }
    }

    fn turn(&self, key: K) -> Turn<K> {
        let mut lines = self.0.lines();
        let Some(line) = lines.get_mut(&key) else {
            lines.insert(key, VecDeque::new());
            return Turn::Now(Hold { key, table: Arc::clone(&self.0) });
        };
        if line.len() >= self.0.waiting_max {
            self.0.refused.fetch_add(1, Ordering::Relaxed);
            return Turn::Never;
        }
        let (waiting, turn) = oneshot::channel();
        line.push_back(waiting);
        Turn::Later(turn)
    }

    /// How much is held now.
    pub fn view(&self) -> HoldsView {
        let lines = self.0.lines();
        let waiting = lines.values().map(VecDeque::len).sum();
        HoldsView { held: lines.len(), waiting, refused: self.0.refused.load(Ordering::Relaxed) }
    }
}

impl<K: Name> Table<K> {
    fn lines(&self) -> MutexGuard<'_, HashMap<K, VecDeque<Waiting<K>>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next in line that still waits; after the last the thing is free.
    fn next(&self, key: K) -> Option<Waiting<K>> {
        let mut lines = self.lines();
        let line = lines.get_mut(&key)?;
        while let Some(next) = line.pop_front() {
            if !next.is_closed() {
                return Some(next);
            }
        }
        lines.remove(&key);
        None
    }
}

impl<K: Name> Hold<K> {
    /// What is held.
    pub const fn key(&self) -> K {
        self.key
    }
}

impl<K: Name> Drop for Hold<K> {
    fn drop(&mut self) {
        if let Some(next) = self.table.next(self.key) {
            // Who went away this very moment gives it back, and that goes to the next again.
            drop(next.send(Self { key: self.key, table: Arc::clone(&self.table) }));
        }
    }
}

impl<K: Name> Debug for Hold<K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hold({:?})", self.key)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use futures_util::future::BoxFuture;

    use super::*;

    type Held = Result<Hold<u8>, LineFull>;

    /// Somebody who wants to hold a thing, and stands in line where it is held.
    fn wants(holds: &Holds<u8>, key: u8) -> (BoxFuture<'static, Held>, Option<Held>) {
        let holds = holds.clone();
        let mut wants = async move { holds.hold(key).await }.boxed();
        let held = (&mut wants).now_or_never();
        (wants, held)
    }

    fn now(holds: &Holds<u8>, key: u8) -> Held {
        wants(holds, key).1.expect("it has to wait")
    }

    fn waits(holds: &Holds<u8>, key: u8) -> BoxFuture<'static, Held> {
        let (wants, held) = wants(holds, key);
        assert!(held.is_none(), "it was given twice");
        wants
    }

    #[test]
    fn a_thing_is_held_by_one_and_goes_to_the_next_in_line() {
        let holds = Holds::new(8);
        let first = now(&holds, 1).unwrap();
        let (mut second, mut third) = (waits(&holds, 1), waits(&holds, 1));
        let _other = now(&holds, 2).expect("another thing is free");
        drop(first);
        assert!((&mut third).now_or_never().is_none(), "it went past the line");
        let second = (&mut second).now_or_never().unwrap().unwrap();
        assert!((&mut third).now_or_never().is_none(), "it was given twice");
        drop(second);
        assert_eq!(third.now_or_never().unwrap().unwrap().key(), 1);
        assert_eq!(holds.view(), HoldsView { held: 1, waiting: 0, refused: 0 });
    }

    #[test]
    fn whoever_went_away_is_passed_over() {
        let holds = Holds::new(8);
        let first = now(&holds, 1).unwrap();
        let (second, third, fourth) = (waits(&holds, 1), waits(&holds, 1), waits(&holds, 1));
        drop(second);
        drop(first);
        // The third has the hold and never looks at it.
        drop(third);
        assert!(fourth.now_or_never().unwrap().is_ok());
        assert_eq!(holds.view().held, 0);
    }

    #[test]
    fn a_full_line_is_refused_at_once() {
        let holds = Holds::new(1);
        let first = now(&holds, 1).unwrap();
        let second = waits(&holds, 1);
        assert_eq!(now(&holds, 1).err(), Some(LineFull));
        assert_eq!(holds.view(), HoldsView { held: 1, waiting: 1, refused: 1 });
        drop(first);
        assert!(second.now_or_never().unwrap().is_ok());
    }

    #[test]
    fn many_threads_never_hold_a_thing_at_once_and_all_have_their_turn() {
        let holds = Holds::new(usize::MAX);
        let inside = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                    runtime.block_on(async {
                        for turn in 0..500 {
                            let _hold = holds.hold(turn % 2).await.unwrap();
                            if turn % 2 == 0 {
                                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                                tokio::task::yield_now().await;
                                inside.fetch_sub(1, Ordering::SeqCst);
                            }
                        }
                    });
                });
            }
        });
        assert_eq!(holds.view(), HoldsView { held: 0, waiting: 0, refused: 0 });
    }
}
