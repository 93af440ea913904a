//! What the errors of AWS KMS mean: not now, never, or not this wrapping.
//!
//! What keys are in memory depends on it: a refusal closes them, silence does not. So only what
//! the KMS itself says, by a name that is its own, is a refusal. A gateway's error page is silence.

use aws_sdk_kms::config::http::HttpResponse;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};

use super::{KmsError, RegionId};

/// Names of errors that say: not now. Among them those of credentials that ended, since whoever
/// renews them does so soon, and of a clock that is not right.
const NOT_NOW: [&str; 24] = [
    "DependencyTimeoutException",
    "ExpiredToken",
    "ExpiredTokenException",
    "InternalFailure",
    "InternalServerError",
    "InternalServerException",
    "InternalServiceException",
    "InvalidSignatureException",
    "KMSInternalException",
    "KeyUnavailableException",
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "RequestExpired",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "RequestTimeTooSkewed",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
];

/// Statuses below 500 that say so: the call took too long, there are too many.
const STATUSES_NOT_NOW: [u16; 2] = [408, 429];

/// What an error of the SDK means here.
pub(super) fn failure<E>(region: RegionId, error: &SdkError<E, HttpResponse>) -> KmsError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let SdkError::ServiceError(service) = error else {
        return KmsError::Unavailable { region, source: reason(error).into() };
    };
    let status = service.raw().status().as_u16();
    let message = service.err().message().unwrap_or_default();
    meaning(region, status, service.err().code(), message)
}

/// What an answer with this status and this name of an error means.
fn meaning(region: RegionId, status: u16, code: Option<&str>, message: &str) -> KmsError {
    let Some(code) = code.filter(|code| !code.is_empty()) else {
        let problem = format!("an answer with status {status} that is not the KMS's own");
        return KmsError::Unavailable { region, source: problem.into() };
    };
    let source = format!("{code} {message}").trim_end().to_owned().into();
    let is_for_later = status >= 500 || STATUSES_NOT_NOW.contains(&status);
    match code {
        code if is_for_later || NOT_NOW.contains(&code) => KmsError::Unavailable { region, source },
        // Another key's, another context's, or damaged.
        "InvalidCiphertextException" | "IncorrectKeyException" => KmsError::Malformed,
        _ => KmsError::Refused { region, source },
    }
}

/// An answer that no KMS gives.
pub(super) fn odd(region: RegionId, problem: &'static str) -> KmsError {
    KmsError::Unavailable { region, source: problem.into() }
}

/// What lies at the root of an error that is not the KMS's own.
fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn means(status: u16, code: Option<&str>) -> &'static str {
        match meaning("eu".parse().unwrap(), status, code, "says the test") {
            KmsError::Unavailable { .. } => "not now",
            KmsError::Refused { .. } => "no",
            KmsError::Malformed => "not this one",
            KmsError::NoSuchRegion(_) => "nobody",
        }
    }

    #[test]
    fn only_what_the_kms_itself_says_is_a_refusal() {
        for code in ["AccessDeniedException", "DisabledException", "NotFoundException"] {
            assert_eq!(means(400, Some(code)), "no");
            assert_eq!(means(500, Some(code)), "not now");
        }
        for code in ["InvalidCiphertextException", "IncorrectKeyException"] {
            assert_eq!(means(400, Some(code)), "not this one");
        }
        for status in [200, 301, 400, 403, 404, 500, 502, 503, 504] {
            assert_eq!(means(status, None), "not now", "{status}");
            assert_eq!(means(status, Some("")), "not now", "{status}");
        }
        for status in [408, 429] {
            assert_eq!(means(status, Some("AccessDeniedException")), "not now", "{status}");
        }
        for code in NOT_NOW {
            assert_eq!(means(400, Some(code)), "not now", "{code}");
        }
    }
}
