//! TLS for the company listener: a certificate and its key, kept fresh without a restart.
//!
//! ```text
//! cert_file, key_file --read every few seconds--> Pair --whole, fitting, not expired--> served
//!                                                   |
//!                                                   +--refused: what was served stays
//! ```
//!
//! A connection keeps the certificate it began with. TLS 1.2 and 1.3 only, HTTP/1.1 only.
//! This room must never know what is said over a connection.

mod error;
mod pair;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::clock::Clock;

pub use self::error::TlsError;
use self::pair::Pair;

/// Where a certificate and its key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairFiles {
    /// The chain in PEM, the server's own certificate first.
    pub certificate: PathBuf,
    /// The private key in PEM.
    pub key: PathBuf,
}

/// The certificate that is served.
pub struct Tls {
    files: PairFiles,
    clock: Arc<dyn Clock>,
    provider: Arc<CryptoProvider>,
    served: RwLock<Arc<Pair>>,
    /// What is wrong with the files, where that keeps them from being served.
    refused: Mutex<Option<String>>,
}

/// What there is to say about the certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSnapshot {
    /// Milliseconds until the served certificate expires; negative when it has.
    pub expires_in_ms: i64,
    /// Why the files are not what is served.
    pub refused: Option<String>,
}

impl Tls {
    /// Reads the files. An expired certificate is taken, and said to be one by
    /// [`Self::snapshot`]: callers that check will refuse it, and the rest of the node works.
    pub fn open(files: PairFiles, clock: Arc<dyn Clock>) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let served = RwLock::new(Arc::new(Pair::read(&files, &provider)?));
        Ok(Self { files, clock, provider, served, refused: Mutex::default() })
    }

    /// How connections are accepted, with whatever certificate is served when they begin.
    pub fn server_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, TlsError> {
        let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&versions)
            .map_err(TlsError::Unusable)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Resolver(Arc::clone(self))));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// Looks at the files once. True: another pair is served now.
    pub fn reload(&self) -> bool {
        let outcome = Pair::read(&self.files, &self.provider).and_then(|pair| self.admit(pair));
        let mut refused = self.refused();
        match outcome {
            Ok(changed) => {
                if changed || refused.is_some() {
                    tracing::info!("the certificate in the files is served");
                }
                *refused = None;
                changed
            }
            Err(error) => {
                let reason = error.chain();
                // Said once for each reason, not every few seconds.
                if refused.as_ref() != Some(&reason) {
                    tracing::error!(reason, "the certificate in the files is not taken");
                }
                *refused = Some(reason);
                false
            }
        }
    }

    /// Looks at the files every so often until the task is dropped.
    pub async fn watch(self: Arc<Self>, every: Duration) {
        let mut ticks = tokio::time::interval(every);
        loop {
            ticks.tick().await;
            let tls = Arc::clone(&self);
            // Reading may take long where the files are on a network.
            if tokio::task::spawn_blocking(move || tls.reload()).await.is_err() {
                tracing::error!("looking at the certificate's files failed");
            }
        }
    }

    /// What there is to say.
    pub fn snapshot(&self) -> TlsSnapshot {
        let refused = self.refused().clone();
        TlsSnapshot { expires_in_ms: self.expires_in_ms(), refused }
    }

    /// Serves a pair that was read, unless it is served already.
    fn admit(&self, pair: Pair) -> Result<bool, TlsError> {
        let served = self.served();
        if pair == *served {
            return Ok(false);
        }
        let now = self.clock.unix_ms();
        if pair.expires_ms <= now && served.expires_ms > now {
            return Err(TlsError::Expired { path: self.files.certificate.clone() });
        }
        *self.served.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pair);
        Ok(true)
    }

    fn expires_in_ms(&self) -> i64 {
        let (expires, now) = (self.served().expires_ms, self.clock.unix_ms());
        i64::try_from(i128::from(expires) - i128::from(now)).unwrap_or(i64::MAX)
    }

    fn served(&self) -> Arc<Pair> {
        Arc::clone(&self.served.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn refused(&self) -> MutexGuard<'_, Option<String>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives each handshake the certificate that is served.
struct Resolver(Arc<Tls>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.served().certified))
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver")
    }
}

#[cfg(test)]
#[path = "tls_test.rs"]
mod tests;
