//! Whose signature on a broker's certificate counts.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::trouble::AmqpError;

/// Where systems keep the certificates they trust, as one PEM file.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The certificates in `file`, and no others; where that is empty, those the system trusts. PEM.
pub(super) fn certificates(file: &Path) -> Result<Arc<str>, AmqpError> {
    let path = if file.as_os_str().is_empty() {
        let found = BUNDLES.iter().map(PathBuf::from).find(|path| path.exists());
        found.unwrap_or_else(|| PathBuf::from(BUNDLES[0]))
    } else {
        file.to_owned()
    };
    let text = fs::read_to_string(&path)
        .map_err(|source| AmqpError::Certificates { path: path.clone(), source })?;
    if !text.contains("-----BEGIN CERTIFICATE-----") {
        let source = io::Error::new(io::ErrorKind::InvalidData, "it holds no certificate");
        return Err(AmqpError::Certificates { path, source });
    }
    Ok(text.into())
}
