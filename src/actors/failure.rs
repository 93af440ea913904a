//! Why an actor did not do what it was asked.

use crate::events::command::Rejection;

/// A command was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It may not be: the caller's to mend.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// It could not be, now: nothing of it happened, and it may be tried again.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// The node cannot do this now. Nothing half-done is left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// A queue is full.
    #[error("the service has more to do than it can; try again shortly")]
    Overloaded,
    /// There is no room on the disk.
    #[error("the service takes no writes now: the disk is full")]
    ReadOnly,
    /// This node's clock runs ahead of most other nodes'.
    #[error("this node's clock runs ahead of the others'; it takes no writes until it is right")]
    ClockUnsafe,
    /// The disk refused.
    #[error("the service could not use its storage for this; nothing of it happened")]
    Storage,
    /// The node is starting or stopping.
    #[error("the service is starting or stopping")]
    NotReady,
}
