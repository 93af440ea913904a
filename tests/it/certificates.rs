//! Certificates for tests: an authority, and what it signs for a node.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::net::TcpStream;
use tempfile::TempDir;

use crate::node::{Answer, Node, PATIENCE};

/// An authority and a folder with what it signed: `ca.pem`, `cert.pem`, `key.pem`.
pub struct Certificates {
    folder: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

/// A connection over TLS.
pub type TlsConnection = StreamOwned<ClientConnection, TcpStream>;

impl Certificates {
    /// A new authority, with a certificate for `localhost` and 127.0.0.1 that holds until 2099.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority = CertifiedIssuer::self_signed(params, key).unwrap();
        let this = Self { folder: tempfile::tempdir().unwrap(), authority };
        fs::write(this.path("ca.pem"), this.authority.pem()).unwrap();
        this.issue(2099);
        this
    }

    /// A file of the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Signs a certificate that holds from 2020 to the beginning of a year and writes it and its
    /// key. Returns the certificate.
    pub fn issue(&self, expires: i32) -> Vec<u8> {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(expires, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        self.write("cert.pem", &certificate.pem(), 0o644);
        self.write("key.pem", &key.serialize_pem(), 0o600);
        certificate.der().to_vec()
    }

    /// Writes a file of the folder, in one step.
    pub fn write(&self, name: &str, text: &str, mode: u32) {
        let fresh = self.path("fresh");
        fs::write(&fresh, text).unwrap();
        fs::set_permissions(&fresh, fs::Permissions::from_mode(mode)).unwrap();
        fs::rename(&fresh, self.path(name)).unwrap();
    }

    /// Has a node serve them.
    pub fn install(&self, node: &mut Node) {
        for (setting, name) in
            [("http.tls.cert_file", "cert.pem"), ("http.tls.key_file", "key.pem")]
        {
            node.set(setting, self.path(name).to_str().unwrap());
        }
    }

    /// Connects to an address over TLS, trusting the authority. Returns the connection and the
    /// certificate that was shown.
    pub fn connect(&self, address: &str) -> Result<(TlsConnection, Vec<u8>), String> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.path("ca.pem")).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        client.complete_io(&mut stream).map_err(|error| error.to_string())?;
        let shown = client.peer_certificates().unwrap().first().unwrap().to_vec();
        Ok((StreamOwned::new(client, stream), shown))
    }

    /// Calls without a body over TLS.
    pub fn get(&self, url: &str, headers: &[(&str, &str)]) -> Answer {
        crate::node::send_trusting(Some(&self.authority()), "GET", url, headers, None)
    }

    /// The authority's own certificate, PEM.
    pub fn authority(&self) -> Vec<u8> {
        fs::read(self.path("ca.pem")).unwrap()
    }
}
