//! The listeners.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::fault::Review;

/// Section `http`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// Where companies call; loopback unless `behind_proxy`. Port 0 takes any free port.
    pub listen: SocketAddr,
    /// Where operators call; loopback unless `behind_proxy`. Differs from `listen`.
    pub operator_listen: SocketAddr,
    /// Threads that serve calls, 0 to 256; 0 is one a core.
    pub workers: usize,
    /// Whether something in front ends TLS, so that plain HTTP may leave the loopback.
    pub behind_proxy: bool,
    /// Open connections a listener, 16 to 100 000.
    pub max_connections: usize,
    /// Of these from one address, 0 to 100 000; 0 is no bound, and so is `behind_proxy`.
    pub max_connections_per_address: usize,
    /// The largest JSON body, in KiB, 4 to 1024.
    pub body_limit_kib: usize,
    /// How long a caller may take over the head of a call, in seconds, 1 to 300.
    pub client_request_s: u64,
    /// How long a caller may take over a body, in seconds, 1 to 300, beside what
    /// `client_body_rate` gives it.
    pub client_body_s: u64,
    /// Bytes a second that a body must come with after `client_body_s`, 1 to 1 048 576.
    pub client_body_rate: u32,
    /// How long a caller may take no more of an answer, in seconds, 1 to 300.
    pub answer_stall_s: u64,
    /// How long an idle connection is kept, in seconds, 1 to 3600.
    pub keep_alive_s: u64,
    /// Signed tokens remembered until they end, 1000 to 100 000 000.
    pub signed_calls_remembered: usize,
    /// How long calls under way may take at shutdown, in seconds, 1 to 600.
    pub shutdown_s: u64,
    /// TLS for companies.
    pub tls: TlsConfig,
}

/// Section `http.tls`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The certificate chain in PEM, the server's own first; empty for plain HTTP.
    pub cert_file: PathBuf,
    /// Its private key in PEM.
    pub key_file: PathBuf,
    /// How long a handshake may take, in seconds, 1 to 60.
    pub handshake_s: u64,
    /// How often the files are looked at, in seconds, 1 to 3600.
    pub reload_s: u64,
}

impl TlsConfig {
    /// Whether companies are served over TLS.
    pub fn is_on(&self) -> bool {
        !self.cert_file.as_os_str().is_empty()
    }

    fn validate(&self, review: &mut Review<'_>) {
        review.within("http.tls.handshake_s", self.handshake_s, &(1..=60), "seconds");
        review.within("http.tls.reload_s", self.reload_s, &(1..=3600), "seconds");
        let has_key = !self.key_file.as_os_str().is_empty();
        if self.is_on() != has_key {
            let missing = if has_key { "cert_file" } else { "key_file" };
            let path = format!("http.tls.{missing}");
            review.refuse(
                &path,
                "found nothing",
                "a file, or neither http.tls.cert_file nor \
                http.tls.key_file",
            );
        }
    }
}

impl HttpConfig {
    pub(super) fn validate(&self, review: &mut Review<'_>) {
        review.within("http.workers", self.workers, &(0..=256), "threads");
        review.within("http.max_connections", self.max_connections, &(16..=100_000), "connections");
        review.within("http.body_limit_kib", self.body_limit_kib, &(4..=1024), "KiB");
        review.within("http.client_request_s", self.client_request_s, &(1..=300), "seconds");
        let addresses = &(0..=100_000);
        let of_one = self.max_connections_per_address;
        review.within("http.max_connections_per_address", of_one, addresses, "connections");
        review.within("http.client_body_s", self.client_body_s, &(1..=300), "seconds");
        let rates = &(1..=1_048_576);
        review.within("http.client_body_rate", self.client_body_rate, rates, "bytes a second");
        review.within("http.answer_stall_s", self.answer_stall_s, &(1..=300), "seconds");
        review.within("http.keep_alive_s", self.keep_alive_s, &(1..=3600), "seconds");
        let tokens = self.signed_calls_remembered;
        review.within("http.signed_calls_remembered", tokens, &(1000..=100_000_000), "tokens");
        review.within("http.shutdown_s", self.shutdown_s, &(1..=600), "seconds");
        self.tls.validate(review);
        self.validate_listeners(review);
    }

    fn validate_listeners(&self, review: &mut Review<'_>) {
        if review.is_sound("http.behind_proxy") && !self.behind_proxy {
            let problem =
                |address| format!("{address} would take passwords over plain HTTP from elsewhere");
            if !self.tls.is_on() && !self.listen.ip().is_loopback() {
                review.refuse(
                    "http.listen",
                    problem(self.listen),
                    "a loopback address (127.0.0.1 or [::1]), or a certificate in http.tls, or \
                        http.behind_proxy = true",
                );
            }
            if !self.operator_listen.ip().is_loopback() {
                review.refuse(
                    "http.operator_listen",
                    problem(self.operator_listen),
                    "a loopback address (127.0.0.1 or [::1]), or http.behind_proxy = true",
                );
            }
        }
        let clash = self.listen == self.operator_listen && self.listen.port() != 0;
        if clash && review.is_sound("http.listen") {
            review.refuse(
                "http.operator_listen",
                format!("{} is http.listen too", self.listen),
                "an address of its own",
            );
        }
    }
}
