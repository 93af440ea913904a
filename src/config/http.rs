//! The listeners.

use std::net::SocketAddr;

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
    /// The largest JSON body, in KiB, 4 to 1024.
    pub body_limit_kib: usize,
    /// How long a caller may take over the head of a call, in seconds, 1 to 300.
    pub client_request_s: u64,
    /// How long an idle connection is kept, in seconds, 1 to 3600.
    pub keep_alive_s: u64,
    /// Signed tokens remembered until they end, 1000 to 100 000 000.
    pub signed_calls_remembered: usize,
    /// How long calls under way may take at shutdown, in seconds, 1 to 600.
    pub shutdown_s: u64,
}

impl HttpConfig {
    pub(super) fn validate(&self, review: &mut Review<'_>) {
        review.within("http.workers", self.workers, &(0..=256), "threads");
        review.within("http.max_connections", self.max_connections, &(16..=100_000), "connections");
        review.within("http.body_limit_kib", self.body_limit_kib, &(4..=1024), "KiB");
        review.within("http.client_request_s", self.client_request_s, &(1..=300), "seconds");
        review.within("http.keep_alive_s", self.keep_alive_s, &(1..=3600), "seconds");
        let tokens = self.signed_calls_remembered;
        review.within("http.signed_calls_remembered", tokens, &(1000..=100_000_000), "tokens");
        review.within("http.shutdown_s", self.shutdown_s, &(1..=600), "seconds");
        self.validate_listeners(review);
    }

    fn validate_listeners(&self, review: &mut Review<'_>) {
        let listeners =
            [("http.listen", self.listen), ("http.operator_listen", self.operator_listen)];
        if review.is_sound("http.behind_proxy") && !self.behind_proxy {
            for (path, address) in listeners {
                if !address.ip().is_loopback() {
                    review.refuse(
                        path,
                        format!("{address} would take passwords over plain HTTP from elsewhere"),
                        "a loopback address (127.0.0.1 or [::1]), or http.behind_proxy = true",
                    );
                }
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
