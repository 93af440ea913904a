//! What can go wrong with the state. Whoever gets one of these stops or rebuilds; it is never the
//! caller's fault.

use std::io;
use std::path::PathBuf;

use crate::events::codec::CodecError;
use crate::events::ids::UserId;

/// A failure of the state's storage.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The stored trees cannot be opened: they are rebuilt into a new folder.
    #[error("the state in {} does not open", folder.display())]
    DoesNotOpen {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The stored trees fail while in use.
    #[error("the state's store fails to {doing}")]
    Store {
        /// What was asked of it.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A user's row cannot be read or written.
    #[error("the row of user {user} is not a state")]
    Row {
        /// The user.
        user: UserId,
        /// Why.
        #[source]
        source: RowError,
    },
    /// A key or value of an index is not laid out as one.
    #[error("an entry of the {tree} is not laid out as one")]
    Entry {
        /// The tree it is in.
        tree: &'static str,
    },
    /// A file of the state folder cannot be used.
    #[error("the state cannot {doing} {}", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// Another process has the state folder.
    #[error("the state folder {} is in use by another process", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
}

/// A row that is not laid out as one.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// It ends before its list of index entries does.
    #[error("the row is cut short")]
    Short,
    /// Its state cannot be read or written.
    #[error("the state in the row cannot be used")]
    State(#[source] CodecError),
}

/// Trees that open without what the checkpoint left in them.
#[derive(Debug, thiserror::Error)]
#[error("the trees lost what was written before the checkpoint")]
pub struct LostContent;

/// A panic inside the store, caught.
#[derive(Debug, thiserror::Error)]
#[error("the store panicked: {message}")]
pub struct StorePanicked {
    /// What it said.
    pub(super) message: String,
}

impl StateError {
    /// Says what was being done to a file that failed.
    pub(super) fn file(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { doing, path, source }
    }
}
