//! A certificate and its key, read from their files and checked against each other.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use zeroize::Zeroizing;

use super::{PairFiles, TlsError};

/// Longest file that is read, in bytes: a chain of a few certificates is ten kilobytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Permission bits that a private key may not have: anything for others, writing for the group.
/// The group may read: that is how a key that root owns is given to a service.
const FORBIDDEN: u32 = 0o027;

/// A certificate with its key. Equal when the certificates are.
pub(super) struct Pair {
    pub(super) certified: Arc<CertifiedKey>,
    /// When the certificate expires, in milliseconds since 1970.
    pub(super) expires_ms: u64,
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.certified.cert == other.certified.cert
    }
}

impl Pair {
    /// Reads both files.
    pub(super) fn read(files: &PairFiles, provider: &CryptoProvider) -> Result<Self, TlsError> {
        let (path, what) = (&files.certificate, "certificate");
        let malformed = |path: &Path, what| TlsError::Malformed { path: path.to_owned(), what };
        let text = read(path, 0)?;
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&text)
            .collect::<Result<_, _>>()
            .map_err(|_| malformed(path, what))?;
        let leaf = chain.first().ok_or_else(|| malformed(path, what))?;
        let expires_ms = expiry(leaf).ok_or_else(|| malformed(path, what))?;
        let path = &files.key;
        let text = read(path, FORBIDDEN)?;
        let key =
            PrivateKeyDer::from_pem_slice(&text).map_err(|_| malformed(path, "private key"))?;
        let certified = CertifiedKey::from_der(chain, key, provider)
            .map_err(|source| TlsError::Mismatched { path: path.clone(), source })?;
        Ok(Self { certified: Arc::new(certified), expires_ms })
    }
}

/// When a certificate expires.
fn expiry(certificate: &CertificateDer<'_>) -> Option<u64> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let until = certificate.tbs_certificate().validity().not_after.to_unix_duration();
    u64::try_from(until.as_millis()).ok()
}

/// Reads a file whose mode has none of the forbidden bits.
fn read(path: &Path, forbidden: u32) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let unreadable = |source: io::Error| TlsError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    // The open file is judged, not its name: what is read is what was judged.
    let found = file.metadata().map_err(unreadable)?;
    let mode = found.permissions().mode() & 0o7777;
    if mode & forbidden != 0 {
        return Err(TlsError::Exposed { path: path.to_owned(), mode });
    }
    if found.len() > FILE_BYTES_MAX {
        return Err(TlsError::TooLong { path: path.to_owned(), max: FILE_BYTES_MAX });
    }
    // Room for all of it at once: a vector that grows leaves copies behind.
    let room = usize::try_from(found.len()).unwrap_or_default() + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}
