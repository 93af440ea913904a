//! How a node ends that was not told to.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

use crate::actors::registry::FOLD_ANEW;
use crate::actors::shard::OnFatal;

/// Why a node cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Something failed.
    Failed(String),
    /// Nothing failed: the state is to be folded from the log anew, which a start does.
    Anew(&'static str),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(why) => f.write_str(why),
            Self::Anew(why) => f.write_str(why),
        }
    }
}

/// What the node's parts call when they cannot go on, and where whoever runs the node hears of it.
pub(super) fn ending() -> (OnFatal, watch::Receiver<Option<Ending>>) {
    let (sender, ending) = watch::channel(None);
    let on_fatal: OnFatal = Arc::new(move |error| {
        let error = error.to_string();
        let ending = if error == FOLD_ANEW {
            tracing::warn!("{FOLD_ANEW}");
            Ending::Anew(FOLD_ANEW)
        } else {
            tracing::error!(error, "the node cannot go on and stops");
            Ending::Failed(error)
        };
        // A failure is not forgotten for what comes after it.
        sender.send_if_modified(|known| {
            let fails = matches!(known, Some(Ending::Failed(_)));
            if !fails {
                *known = Some(ending);
            }
            !fails
        });
    });
    (on_fatal, ending)
}
