//! `traceparent`, as W3C Trace Context has it: which trace of the caller's a call belongs to.
//!
//! Its trace id stands in every line that is logged for the call. It is not echoed: the answer goes
//! to whoever sent it.

use actix_web::http::header::{HeaderMap, HeaderName};

/// The header that names a trace.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The trace a call belongs to. What is not as the standard says counts as not there.
pub(super) fn trace_id(headers: &HeaderMap) -> Option<&str> {
    let mut sent = headers.get_all(&TRACEPARENT);
    let (Some(only), None) = (sent.next(), sent.next()) else { return None };
    read(only.to_str().ok()?)
}

/// `version-trace-parent-flags`, in lower-case hex; later versions may say more behind that.
fn read(text: &str) -> Option<&str> {
    let mut parts = text.splitn(5, '-');
    let mut hex = |digits: usize| {
        let part = parts.next()?;
        let fits = part.len() == digits
            && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        fits.then_some(part)
    };
    let (version, trace, parent, _flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
    let more = parts.next().is_some();
    let zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    let refused = version == "ff" || version == "00" && more || zero(trace) || zero(parent);
    (!refused).then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn a_trace_is_read_from_this_version_and_from_later_ones() {
        for text in [
            format!("00-{TRACE}-00f067aa0ba902b7-01"),
            format!("00-{TRACE}-00f067aa0ba902b7-ff"),
            format!("cc-{TRACE}-00f067aa0ba902b7-01"),
            format!("cc-{TRACE}-00f067aa0ba902b7-01-what-ever"),
        ] {
            assert_eq!(read(&text), Some(TRACE), "{text}");
        }
    }

    #[test]
    fn anything_else_is_no_trace() {
        for text in [
            String::new(),
            TRACE.to_owned(),
            format!("00-{TRACE}"),
            format!("00-{TRACE}-00f067aa0ba902b7"),
            format!("00-{TRACE}-00f067aa0ba902b7-1"),
            format!("00-{TRACE}-00f067aa0ba902b7-01-more"),
            format!("00-{TRACE}-00f067aa0ba902b7-01-"),
            format!("ff-{TRACE}-00f067aa0ba902b7-01"),
            format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{}-00f067aa0ba902b7-01", &TRACE[1..]),
            format!("00-{TRACE}\u{e9}-00f067aa0ba902b7-01"),
        ] {
            assert_eq!(read(&text), None, "{text}");
        }
    }
}
