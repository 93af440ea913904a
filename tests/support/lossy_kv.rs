//! Trees in memory that lose power: of what was written since the last flush any subset is kept.
//!
//! Whoever includes this file with `#[path]` has the modules `error` and `kv` of `jcas::state` in
//! scope beside it (`use jcas::state::{error, kv};`).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use super::error::StateError;
use super::kv::{Change, Kv, Pair, Pairs, Tree};

/// Tree, key and value of a write; without a value it is a removal.
type Write = (Tree, Box<[u8]>, Option<Box<[u8]>>);

type Trees = BTreeMap<(Tree, Box<[u8]>), Box<[u8]>>;

/// Trees in memory.
#[derive(Debug, Default)]
pub(crate) struct LossyKv {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default, Clone)]
struct Inner {
    durable: Trees,
    seen: Trees,
    /// What was written since the last flush, in order.
    pending: Vec<Write>,
    writes: u64,
    /// So many changes and flushes succeed from now on; then everything fails.
    fails_after: Option<u64>,
    /// Whether flushes report success and do nothing.
    ignores_flush: bool,
}

impl Inner {
    /// Counts a change or a flush; an error when the storage is gone.
    fn working(&mut self, doing: &'static str) -> Result<(), StateError> {
        match &mut self.fails_after {
            Some(0) => Err(StateError::Store { doing, source: "the power is off".into() }),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl LossyKv {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// What is there after a loss of power: everything flushed, and of the rest what `keep` says
    /// of each write, in the order they were made.
    pub(crate) fn after_crash(&self, mut keep: impl FnMut(Tree, &[u8]) -> bool) -> Self {
        let Inner { durable, pending, .. } = self.inner().clone();
        let mut seen = durable;
        for (tree, key, value) in pending {
            if keep(tree, &key) {
                put(&mut seen, tree, key, value);
            }
        }
        let inner = Inner { durable: seen.clone(), seen, ..Inner::default() };
        Self { inner: Mutex::new(inner) }
    }

    /// Lets so many more changes and flushes through; then everything fails. None: nothing does.
    pub(crate) fn fail_after(&self, changes: Option<u64>) {
        self.inner().fails_after = changes;
    }

    /// Whether the storage is gone.
    pub(crate) fn is_off(&self) -> bool {
        self.inner().fails_after == Some(0)
    }

    /// Makes flushes report success and do nothing.
    pub(crate) fn ignore_flush(&self) {
        self.inner().ignores_flush = true;
    }

    /// How many inserts and removals there were.
    pub(crate) fn writes(&self) -> u64 {
        self.inner().writes
    }

    fn write(&self, tree: Tree, key: &[u8], value: Option<&[u8]>) -> Result<(), StateError> {
        let mut inner = self.inner();
        inner.working("write")?;
        let (key, value): (Box<[u8]>, _) = (key.into(), value.map(Box::from));
        put(&mut inner.seen, tree, key.clone(), value.clone());
        inner.pending.push((tree, key, value));
        inner.writes += 1;
        Ok(())
    }
}

fn put(trees: &mut Trees, tree: Tree, key: Box<[u8]>, value: Option<Box<[u8]>>) {
    match value {
        Some(value) => trees.insert((tree, key), value),
        None => trees.remove(&(tree, key)),
    };
}

impl Kv for LossyKv {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Box<[u8]>>, StateError> {
        Ok(self.inner().seen.get(&(tree, key.into())).cloned())
    }

    fn insert(&self, tree: Tree, key: &[u8], value: &[u8]) -> Result<(), StateError> {
        self.write(tree, key, Some(value))
    }

    fn update(&self, tree: Tree, key: &[u8], change: Change<'_>) -> Result<(), StateError> {
        let before = self.get(tree, key)?;
        let after = change(before.as_deref())?;
        if after == before { Ok(()) } else { self.write(tree, key, after.as_deref()) }
    }

    fn remove(&self, tree: Tree, key: &[u8]) -> Result<(), StateError> {
        self.write(tree, key, None)
    }

    fn scan(&self, tree: Tree, prefix: &[u8]) -> Pairs {
        let inner = self.inner();
        let from = inner.seen.range((tree, Box::from(prefix))..);
        let of_tree = from.take_while(|((of, key), _)| *of == tree && key.starts_with(prefix));
        let pairs: Vec<Pair> =
            of_tree.map(|((_, key), value)| (key.clone(), value.clone())).collect();
        Box::new(pairs.into_iter().map(Ok))
    }

    fn flush(&self) -> Result<(), StateError> {
        let mut inner = self.inner();
        inner.working("flush")?;
        if inner.ignores_flush {
            return Ok(());
        }
        inner.durable = inner.seen.clone();
        inner.pending.clear();
        Ok(())
    }
}

/// Numbers that look random and depend on the seed alone (`SplitMix64`).
#[derive(Debug)]
pub(crate) struct Seeded(pub(crate) u64);

impl Seeded {
    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
