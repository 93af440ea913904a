//! Tests of the pair that is served: what is taken, what is refused, and what stays then.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use super::*;

/// 1 January 2030, in milliseconds.
const Y2030: u64 = 1_893_456_000_000;

/// A wall clock that stands where it is put.
struct Standing(AtomicU64);

impl Clock for Standing {
    fn unix_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn files(&self) -> PairFiles {
        PairFiles {
            certificate: self.0.path().join("cert.pem"),
            key: self.0.path().join("key.pem"),
        }
    }

    /// Writes a pair that expires at the beginning of a year.
    fn write(&self, expires: i32) {
        let (certificate, key) = pair(expires);
        put(&self.files().certificate, &certificate, 0o644);
        put(&self.files().key, &key, 0o600);
    }

    fn open(&self) -> Result<Arc<Tls>, TlsError> {
        self.open_at(Y2030)
    }

    fn open_at(&self, now: u64) -> Result<Arc<Tls>, TlsError> {
        Tls::open(self.files(), Arc::new(Standing(AtomicU64::new(now)))).map(Arc::new)
    }
}

fn pair(expires: i32) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(expires, 1, 1);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn put(path: &Path, text: &str, mode: u32) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_pair_is_served_and_says_when_it_expires() {
    let folder = Folder::new();
    folder.write(2031);
    let tls = folder.open().unwrap();
    let year = 365 * 24 * 60 * 60 * 1000;
    assert_eq!(tls.snapshot(), TlsSnapshot { expires_in_ms: year, refused: None });
    assert!(tls.server_config().is_ok());
    let late = folder.open_at(Y2030 + 2 * u64::try_from(year).unwrap()).unwrap();
    assert_eq!(late.snapshot().expires_in_ms, -year);
}

#[test]
fn a_key_that_others_may_read_is_refused() {
    let folder = Folder::new();
    folder.write(2031);
    for (mode, is_taken) in [(0o600, true), (0o400, true), (0o640, true)] {
        let text = std::fs::read_to_string(folder.files().key).unwrap();
        put(&folder.files().key, &text, mode);
        assert_eq!(folder.open().is_ok(), is_taken, "{mode:o}");
    }
    for mode in [0o644, 0o604, 0o660, 0o602] {
        let text = std::fs::read_to_string(folder.files().key).unwrap();
        put(&folder.files().key, &text, mode);
        let error = folder.open().err().unwrap();
        assert!(matches!(error, TlsError::Exposed { mode: found, .. } if found == mode), "{error}");
    }
}

#[test]
fn what_is_no_pair_is_refused_by_name() {
    let folder = Folder::new();
    folder.write(2031);
    let PairFiles { certificate, key } = folder.files();
    let (_, other) = pair(2031);
    let said = || folder.open().err().unwrap().chain();
    put(&key, &other, 0o600);
    assert!(said().contains("key.pem is not the certificate's"), "{}", said());
    put(&key, "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n", 0o600);
    assert!(!said().contains("hunter2"), "{}", said());
    std::fs::remove_file(&key).unwrap();
    assert!(said().contains("cannot read"), "{}", said());
    put(&certificate, "", 0o644);
    assert!(said().contains("cert.pem holds no certificate"), "{}", said());
    let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    put(&certificate, junk, 0o644);
    assert!(said().contains("cert.pem holds no certificate"), "{}", said());
}

#[test]
fn a_new_pair_is_served_and_a_broken_or_expired_one_is_not() {
    let folder = Folder::new();
    folder.write(2031);
    let tls = folder.open().unwrap();
    let first = tls.served();
    assert!(!tls.reload(), "nothing has changed");
    // The certificate alone has been replaced so far.
    let (certificate, key) = pair(2032);
    put(&folder.files().certificate, &certificate, 0o644);
    assert!(!tls.reload());
    assert!(tls.snapshot().refused.unwrap().contains("is not the certificate's"));
    assert!(Arc::ptr_eq(&tls.served(), &first));
    put(&folder.files().key, &key, 0o600);
    assert!(tls.reload());
    assert_eq!(tls.snapshot().refused, None);
    let second = tls.served();
    assert!(second.expires_ms > first.expires_ms);
    folder.write(2029);
    assert!(!tls.reload());
    assert!(tls.snapshot().refused.unwrap().contains("has expired"));
    assert!(Arc::ptr_eq(&tls.served(), &second));
}

#[test]
fn an_expired_pair_gives_way_to_any_other() {
    let folder = Folder::new();
    folder.write(2028);
    let tls = folder.open().unwrap();
    assert!(tls.snapshot().expires_in_ms < 0);
    folder.write(2029);
    assert!(tls.reload());
}
