//! Why a certificate and its key are not served.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;

/// Why a certificate and its key are not served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is longer than any certificate or key.
    #[error("{} is longer than {max} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The bound.
        max: u64,
    },
    /// The private key may be read by anyone, or written by others than its owner.
    #[error(
        "the key file {} is open to others (mode {mode:o}): chmod 640 or 600 it", path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file does not hold what it should, in PEM.
    #[error("{} holds no {what} in PEM", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// The key is not the certificate's, or of a kind that cannot be used.
    #[error(
        "the key in {} is not the certificate's, or of no kind that can be used", path.display()
    )]
    Mismatched {
        /// The key's file.
        path: PathBuf,
        /// What the library says.
        #[source]
        source: rustls::Error,
    },
    /// The certificate has expired, and the one that is served has not.
    #[error("the certificate in {} has expired", path.display())]
    Expired {
        /// The certificate's file.
        path: PathBuf,
    },
    /// The library refuses to serve.
    #[error("TLS cannot be served")]
    Unusable(#[source] rustls::Error),
}

impl TlsError {
    /// The error and what it rests on, in one line. None of it holds what is in the files.
    pub fn chain(&self) -> String {
        match self.source() {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        }
    }
}
