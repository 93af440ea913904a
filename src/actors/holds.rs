//! Things that one command at a time holds, and who waits for them.

use std::collections::{HashMap, VecDeque};
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

/// Something that is held. It ends when this is dropped: when the command that took it is durable,
/// refused, failed or gone.
pub struct Hold<K: Copy> {
    key: K,
    end: Ender<K>,
}

/// Tells whoever gave the hold that it ended.
pub type Ender<K> = Arc<dyn Fn(K) + Send + Sync>;

impl<K: Copy> Hold<K> {
    /// A hold whose end is told.
    pub fn new(key: K, end: &Ender<K>) -> Self {
        Self { key, end: Arc::clone(end) }
    }

    /// What is held.
    pub const fn key(&self) -> K {
        self.key
    }
}

impl<K: Copy + Debug> Debug for Hold<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hold({:?})", self.key)
    }
}

impl<K: Copy> Drop for Hold<K> {
    fn drop(&mut self) {
        (self.end)(self.key);
    }
}

/// What is held, with those who wait for each.
#[derive(Debug)]
pub struct Holds<K, W> {
    held: HashMap<K, VecDeque<W>>,
    waiting_max: usize,
}

/// What becomes of somebody who wants to hold something.
#[derive(Debug)]
#[must_use]
pub enum Turn<W> {
    /// It was free and is this one's now.
    Now(W),
    /// It is held, and this one waits.
    Later,
    /// Too many wait already.
    Never(W),
}

impl<K: Copy + Eq + Hash, W> Holds<K, W> {
    /// Nothing held yet; at most `waiting_max` will wait for each.
    pub fn new(waiting_max: usize) -> Self {
        Self { held: HashMap::new(), waiting_max }
    }

    /// Somebody wants to hold something.
    pub fn take(&mut self, key: K, wanting: W) -> Turn<W> {
        match self.held.get_mut(&key) {
            Some(line) if line.len() >= self.waiting_max => Turn::Never(wanting),
            Some(line) => {
                line.push_back(wanting);
                Turn::Later
            }
            None => {
                self.held.insert(key, VecDeque::new());
                Turn::Now(wanting)
            }
        }
    }

    /// A hold ended: the next in line that still wants it has it now.
    pub fn release(&mut self, key: K, still: impl Fn(&W) -> bool) -> Option<W> {
        let line = self.held.get_mut(&key)?;
        while let Some(next) = line.pop_front() {
            if still(&next) {
                return Some(next);
            }
        }
        self.held.remove(&key);
        None
    }

    /// How many things are held.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.held.values().map(VecDeque::len).sum()
    }
}
