//! Whether a caller takes what a resource answers.

use actix_web::dev::ServiceRequest;
use actix_web::http::header;

use super::error::ApiError;

/// The one resource that answers text.
const METRICS: &str = "/metrics";

/// Refuses a call whose `Accept` names nothing that the resource could answer. Without the header
/// everything is taken.
pub fn check(request: &ServiceRequest) -> Result<(), ApiError> {
    #[cfg(feature = "docs-page")]
    if super::docs_page::has(request.path()) {
        return Ok(());
    }
    let offered = if request.path() == METRICS {
        ("text", "plain", "text/plain")
    } else {
        ("application", "json", "application/json")
    };
    let mut sent = request.headers().get_all(header::ACCEPT).peekable();
    let mut ranges = sent.by_ref().filter_map(|value| value.to_str().ok()).peekable();
    if ranges.peek().is_none() || ranges.any(|list| list.split(',').any(|it| takes(it, offered))) {
        return Ok(());
    }
    Err(ApiError::NotAcceptable { offered: offered.2 })
}

/// Whether one media range covers what is offered.
fn takes(range: &str, (offered, subtype, _): (&str, &str, &str)) -> bool {
    let mut parts = range.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default().to_ascii_lowercase();
    let refused = |parameter: &str| {
        let quality = parameter.to_ascii_lowercase();
        let quality = quality.strip_prefix("q=").map(|number| number.trim().parse::<f32>());
        quality.is_some_and(|number| number.is_ok_and(|number| number <= 0.0))
    };
    let covers = match name.split_once('/') {
        Some(("*", "*")) => true,
        Some((main, "*")) => main == offered,
        Some((main, sub)) => main == offered && sub == subtype,
        None => false,
    };
    covers && !parts.any(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_covers_what_it_names_and_what_its_star_stands_for() {
        let json = ("application", "json", "application/json");
        for range in ["application/json", "*/*", " APPLICATION/* ; q=0.1", "application/json;v=1"] {
            assert!(takes(range, json), "{range}");
        }
        for range in ["text/html", "application/jwt", "*/*;q=0", "application/json; q=0.0", "json"]
        {
            assert!(!takes(range, json), "{range}");
        }
    }
}
