//! A few named trees of keys and values: all the state asks of its storage.
//!
//! The real one is `sled_kv`. The crash tests put one in its place that keeps any subset of what
//! was written since the last flush, which is the whole promise: inserts are single, unordered
//! against each other on disk, and durable only after a flush.

use super::error::StateError;

/// The trees. Few on purpose: each costs a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tree {
    /// Users by id.
    Users,
    /// Who claims an identity: by blind index, the ids of users.
    Claims,
    /// Where the log holds the users' keys: by user id, key ids and positions.
    Keys,
    /// Where the log holds what the registry folds from.
    Registry,
    /// Where the log holds the events of each command on a user: user id and first position, and
    /// the last one.
    History,
    /// Where the log holds what was asked with an idempotency key: the key's digest, revision, user
    /// id and first position, and the last one.
    Repeats,
    /// What the last checkpoint left, by which trees that lost their content are known, and how far
    /// into the log the trees may know, by which a log that lost its end is.
    Mark,
}

impl Tree {
    /// Every tree.
    pub const ALL: [Self; 7] = [
        Self::Users,
        Self::Claims,
        Self::Keys,
        Self::Registry,
        Self::History,
        Self::Repeats,
        Self::Mark,
    ];

    /// Its name on disk. Never changes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Claims => "claims",
            Self::Keys => "keys",
            Self::Registry => "registry",
            Self::History => "history",
            Self::Repeats => "repeats",
            Self::Mark => "mark",
        }
    }
}

/// A key and its value.
pub type Pair = (Box<[u8]>, Box<[u8]>);

/// Pairs in the order of their keys, read as they are taken. They hold what they read from.
pub type Pairs = Box<dyn Iterator<Item = Result<Pair, StateError>>>;

/// Makes a value of the one before; none is a key that is not there.
pub type Change<'a> = &'a dyn Fn(Option<&[u8]>) -> Result<Option<Box<[u8]>>, StateError>;

/// Trees of keys and values.
pub trait Kv: Send + Sync {
    /// The value at a key.
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Box<[u8]>>, StateError>;

    /// Writes a value. It is seen at once and durable after the next flush.
    fn insert(&self, tree: Tree, key: &[u8], value: &[u8]) -> Result<(), StateError>;

    /// Puts at a key what `change` makes of what is there; none is nothing there. What others write
    /// to the key at the same time is not lost: `change` is called again with it. Nothing is
    /// written where it changes nothing.
    fn update(&self, tree: Tree, key: &[u8], change: Change<'_>) -> Result<(), StateError>;

    /// Removes a key, whether or not it is there.
    fn remove(&self, tree: Tree, key: &[u8]) -> Result<(), StateError>;

    /// Every pair whose key starts with `prefix`.
    fn scan(&self, tree: Tree, prefix: &[u8]) -> Pairs;

    /// Every pair whose key is `from` or greater.
    fn scan_from(&self, tree: Tree, from: &[u8]) -> Pairs {
        let from: Box<[u8]> = from.into();
        let before = move |pair: &Result<Pair, _>| matches!(pair, Ok((key, _)) if *key < from);
        Box::new(self.scan(tree, &[]).skip_while(before))
    }

    /// Waits until everything written before survives a loss of power.
    fn flush(&self) -> Result<(), StateError>;
}
