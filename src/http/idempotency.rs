//! The idempotency key of a call, and the digest by which another request with it is known.

use actix_web::HttpRequest;
use actix_web::http::Method;
use actix_web::http::header::HeaderName;

use crate::accounts::error::AccountError;

use super::content;
use super::error::ApiError;

/// The header an idempotency key comes in.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Longest idempotency key, in bytes of printable ASCII.
const BYTES_MAX: usize = 64;

/// The key of a call, if it came with one. Only a POST has one: other methods repeat harmlessly.
///
/// `claim` is what a signed call says: its header is signed by nobody, so it may only say the same.
pub fn key_of<'a>(
    request: &'a HttpRequest,
    claim: Option<&'a str>,
) -> Result<Option<&'a str>, ApiError> {
    if request.method() != Method::POST {
        return Ok(None);
    }
    let wrong = |detail| ApiError::from(AccountError::field("Idempotency-Key", "invalid", detail));
    let mut sent = request.headers().get_all(&IDEMPOTENCY_KEY);
    let key = match (sent.next(), sent.next()) {
        (None, _) => claim,
        (Some(value), None) => Some(value.to_str().map_err(|_| wrong(SHAPE))?),
        (Some(_), Some(_)) => return Err(wrong("the header is there twice")),
    };
    let fits = |key: &str| {
        (1..=BYTES_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
    };
    if key.is_some_and(|key| !fits(key)) {
        return Err(wrong(SHAPE));
    }
    if claim.is_some() && claim != key {
        return Err(wrong("the header does not say what the claim \"idk\" says"));
    }
    Ok(key)
}

const SHAPE: &str = "an idempotency key is 1 to 64 printable ASCII characters without spaces";

/// What is asked by a call, in a few bytes: method, target, and the JSON without regard to spaces
/// and to the order of names.
pub fn request_digest(request: &HttpRequest, asked: &[u8]) -> Result<[u8; 32], ApiError> {
    let target = request.uri().path_and_query().map_or("", |target| target.as_str());
    let line = format!("{} {target}", request.method());
    content::digest(&line, asked)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn key(request: TestRequest, claim: Option<&str>) -> Result<Option<String>, String> {
        let request = request.to_http_request();
        let found = key_of(&request, claim);
        found.map(|key| key.map(str::to_owned)).map_err(|error| error.kind().1.to_owned())
    }

    fn post(value: &[u8]) -> TestRequest {
        TestRequest::post().append_header((IDEMPOTENCY_KEY, value))
    }

    #[test]
    fn a_post_has_the_key_it_came_with_and_another_call_has_none() {
        let longest = [b'~'; 64];
        assert_eq!(key(post(&longest), None), Ok(Some("~".repeat(64))));
        assert_eq!(key(TestRequest::post(), None), Ok(None));
        let put = TestRequest::put().append_header((IDEMPOTENCY_KEY, "a key"));
        assert_eq!(key(put, None), Ok(None));
    }

    #[test]
    fn a_key_of_another_shape_is_refused() {
        for value in [&b""[..], b"with space", b"caf\xe9", b"tab\there", &[b'a'; 65]] {
            assert_eq!(key(post(value), None), Err("invalid_fields".to_owned()), "{value:?}");
        }
        let twice = post(b"a").append_header((IDEMPOTENCY_KEY, "a"));
        assert_eq!(key(twice, None), Err("invalid_fields".to_owned()));
    }

    #[test]
    fn what_is_signed_counts_and_the_header_may_only_say_the_same() {
        assert_eq!(key(TestRequest::post(), Some("a")), Ok(Some("a".to_owned())));
        assert_eq!(key(post(b"a"), Some("a")), Ok(Some("a".to_owned())));
        assert_eq!(key(post(b"b"), Some("a")), Err("invalid_fields".to_owned()));
        assert_eq!(key(TestRequest::post(), Some("")), Err("invalid_fields".to_owned()));
    }
}
