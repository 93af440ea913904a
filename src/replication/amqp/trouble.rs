//! What goes wrong with a broker, told so that an operator knows what to do.

use std::path::PathBuf;

use crate::events::ids::RegionId;

/// Why a link cannot be started: its settings are wrong, and waiting does not help.
#[derive(Debug, thiserror::Error)]
pub enum AmqpError {
    /// There is no broker of this node's region, and none of any other.
    #[error("no broker is set")]
    NoBroker,
    /// A broker's address is not one.
    #[error("the address of the broker of {0} is not amqp://HOST:PORT/VHOST or amqps://..")]
    Address(RegionId),
    /// The file of credentials cannot be used.
    #[error("{}: {problem}", path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// What is wrong, without what it holds.
        problem: String,
    },
    /// The certificates to trust cannot be read.
    #[error("no certificates can be had from {}: {source}", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: std::io::Error,
    },
    /// It was started outside of a runtime.
    #[error("a link is started within a tokio runtime")]
    NoRuntime,
}

/// Why a connection is not there, or no longer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("{0}")]
    Settings(#[from] AmqpError),
    #[error("it took too long to {0}")]
    Slow(&'static str),
    #[error("failed to {doing}: {source}")]
    Failed {
        doing: &'static str,
        #[source]
        source: lapin::Error,
    },
    #[error(
        "the queue or exchange {name} is there with other arguments: delete it at the broker, and \
         it is declared anew; what it held is fetched from other nodes ({source})"
    )]
    OtherArguments {
        name: String,
        #[source]
        source: lapin::Error,
    },
    #[error("the connection was closed: {0}")]
    Closed(lapin::Error),
    #[error("the broker ended the connection")]
    Ended,
    #[error("a queue is gone; it is declared again")]
    QueueGone,
    #[error("the link was shut")]
    Shut,
}

impl Trouble {
    /// A call that failed.
    pub(super) const fn failed(doing: &'static str) -> impl FnOnce(lapin::Error) -> Self {
        move |source| Self::Failed { doing, source }
    }
}
