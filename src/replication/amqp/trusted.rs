//! Whose signature on a broker's certificate counts.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::trouble::AmqpError;

/// Where systems keep the certificates they trust, as one PEM file.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// TLS that trusts the certificates in `file` and no others; where that is empty, those the system
/// trusts.
pub(super) fn client_config(file: &Path) -> Result<Arc<ClientConfig>, AmqpError> {
    let path = if file.as_os_str().is_empty() { bundle() } else { file.to_owned() };
    let unusable = |source| AmqpError::Certificates { path: path.clone(), source };
    let invalid =
        |error: rustls::Error| unusable(io::Error::new(io::ErrorKind::InvalidData, error));
    let text = std::fs::read(&path).map_err(unusable)?;
    let certificates = CertificateDer::pem_slice_iter(&text).filter_map(Result::ok);
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 {
        return Err(invalid(rustls::Error::General("it holds no certificate".to_owned())));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(invalid)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// What the system trusts.
fn bundle() -> PathBuf {
    let found = BUNDLES.iter().map(PathBuf::from).find(|path| path.exists());
    found.unwrap_or_else(|| PathBuf::from(BUNDLES[0]))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_refused_by_name() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("ca.pem");
        let error = client_config(&path).unwrap_err();
        assert!(matches!(error, AmqpError::Certificates { .. }));
        std::fs::write(&path, "nothing").unwrap();
        let error = client_config(&path).unwrap_err().to_string();
        assert!(error.contains("ca.pem"), "{error}");
    }
}
