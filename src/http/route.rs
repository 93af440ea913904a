//! Which resource answered a call, and its counters.
//!
//! Labels are made, and figures found, once for each of a worker's resources.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;

use actix_web::http::StatusCode;
use metrics::{Counter, Histogram};

/// A resource as the figures name it. Each worker has its own.
pub(super) struct Route {
    pattern: &'static str,
    seconds: OnceCell<Histogram>,
    calls: RefCell<HashMap<(&'static str, StatusCode), Counter>>,
}

impl Route {
    /// The resource with this path pattern.
    pub(super) fn new(pattern: &'static str) -> Self {
        Self { pattern, seconds: OnceCell::new(), calls: RefCell::default() }
    }

    /// The path pattern.
    pub(super) const fn pattern(&self) -> &'static str {
        self.pattern
    }

    /// Counts a call that was answered, by a method of a closed list.
    pub(super) fn count(&self, method: &'static str, status: StatusCode, seconds: f64) {
        let route = self.pattern;
        let all = || metrics::histogram!("jcas_http_request_seconds", "route" => route);
        self.seconds.get_or_init(all).record(seconds);
        let counter = || {
            let status = status.as_str().to_owned();
            metrics::counter!(
                "jcas_http_requests_total",
                "method" => method, "route" => route, "status" => status
            )
        };
        self.calls.borrow_mut().entry((method, status)).or_insert_with(counter).increment(1);
    }
}
