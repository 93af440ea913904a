//! The one map from what went wrong to status, code and problem body (RFC 9457).

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;

use crate::accounts::Unavailable;
use crate::accounts::error::{AccountError, FieldError};
use crate::accounts::view::rfc3339;
use crate::events::command::Rejection;
use crate::events::ids::UserId;

use super::signed::fault::{Fault, TokenFault, Wanted};

/// Seconds after which an overloaded or read-only node is worth asking again.
const RETRY_AFTER_S: u64 = 1;

/// Seconds after which bulk syncs may have made room.
const SPOOL_RETRY_AFTER_S: u64 = 60;

/// Why a call was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The use case says so.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The body is no JSON, or holds a name twice.
    #[error("{0}")]
    MalformedJson(String),
    /// The body is longer than allowed.
    #[error("the body is longer than {max} bytes")]
    BodyTooLarge {
        /// The bound.
        max: usize,
    },
    /// The body came too slowly.
    #[error("the body came too slowly; nothing of the call was done")]
    RequestTimeout,
    /// The body is not declared as JSON.
    #[error("the body must be sent as application/json")]
    UnsupportedMediaType,
    /// The body is compressed.
    #[error("the body must be sent as it is, without Content-Encoding")]
    UnsupportedEncoding,
    /// A stream is not declared as rows.
    #[error("rows must be sent as application/x-ndjson")]
    NotNdjson,
    /// A part of a stream is not declared as bytes.
    #[error("a part must be sent as application/octet-stream, without Content-Encoding")]
    NotOctets,
    /// A stream is compressed in a way that is not known.
    #[error("rows must be sent as they are, or with Content-Encoding: gzip")]
    StreamEncoding,
    /// A stream has another digest than its token says.
    #[error("the stream is not what was signed: its SHA-256 is another one than bdh says")]
    BodyDigestMismatch,
    /// The API key is missing, unknown, withdrawn or expired.
    #[error("{0}")]
    ApiKeyInvalid(&'static str),
    /// The call's token is missing or not right.
    #[error("{0}")]
    Token(Box<TokenFault>),
    /// The call's token was used before.
    #[error("a call with this jti was made before; every call has a jti of its own")]
    ReplayedRequest,
    /// So many signed calls were made that no more can be remembered.
    #[error("no more signed calls can be remembered now; sign anew in {retry_after_s} s")]
    TokensFull {
        /// Seconds until there is room.
        retry_after_s: u64,
    },
    /// The call's token may have been used in an earlier life of the node.
    #[error("this node has just started; tokens issued in {retry_after_s} s or later are taken")]
    TokensUnknown {
        /// Seconds until then.
        retry_after_s: u64,
    },
    /// The node joined or was restored, and lacks what others have.
    #[error("this node is still catching up with the others; ask another one")]
    CatchingUp,
    /// The operator's token is missing or wrong.
    #[error("the operator token is missing or wrong; it is in the data folder")]
    OperatorTokenInvalid,
    /// There is no such resource.
    #[error("there is no such resource")]
    NotFound,
    /// The resource does not have this method.
    #[error("the resource does not have this method")]
    MethodNotAllowed {
        /// Those it has.
        allow: String,
    },
    /// The caller takes nothing that the resource could answer.
    #[error("the resource answers {offered} only, and Accept does not name it")]
    NotAcceptable {
        /// What it answers.
        offered: &'static str,
    },
    /// Something is wrong that the caller did not cause.
    #[error("the service failed; nothing of the call was done")]
    Internal,
}

/// A problem body.
#[derive(Debug, Serialize)]
pub struct Problem<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: String,
    code: &'static str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<ProblemField>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<String>,
    #[serde(flatten)]
    token: Option<ProblemToken>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_time: Option<String>,
}

/// What is wrong with a token.
#[derive(Debug, Serialize)]
struct ProblemToken {
    claim: String,
    expected: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    got: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<Box<Wanted>>,
}

#[derive(Debug, Serialize)]
struct ProblemField {
    field: String,
    code: &'static str,
    detail: String,
}

impl From<&FieldError> for ProblemField {
    fn from(error: &FieldError) -> Self {
        Self { field: error.field.clone(), code: error.code, detail: error.detail.clone() }
    }
}

impl From<TokenFault> for ApiError {
    fn from(fault: TokenFault) -> Self {
        Self::Token(Box::new(fault))
    }
}

impl From<Unavailable> for ApiError {
    fn from(unavailable: Unavailable) -> Self {
        Self::Account(unavailable.into())
    }
}

impl Problem<'_> {
    /// Says what time it is here, in Unix milliseconds, where the caller was not let in: its clock
    /// may be the reason.
    #[must_use]
    pub fn at(mut self, now: u64) -> Self {
        self.server_time = (self.status == 401).then(|| rfc3339(now));
        self
    }
}

impl ApiError {
    /// The status and the code. Codes are a closed list; OpenAPI names them.
    pub fn kind(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Account(error) => account_kind(error),
            Self::MalformedJson(_) => (StatusCode::BAD_REQUEST, "malformed_json"),
            Self::BodyTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            Self::RequestTimeout => (StatusCode::REQUEST_TIMEOUT, "request_timeout"),
            Self::BodyDigestMismatch => (StatusCode::BAD_REQUEST, "body_digest_mismatch"),
            Self::UnsupportedMediaType
            | Self::UnsupportedEncoding
            | Self::NotNdjson
            | Self::NotOctets
            | Self::StreamEncoding => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type")
            }
            Self::ApiKeyInvalid(_) | Self::OperatorTokenInvalid => {
                (StatusCode::UNAUTHORIZED, "api_key_invalid")
            }
            Self::Token(fault) => token_kind(fault.fault),
            Self::ReplayedRequest => (StatusCode::CONFLICT, "replayed_request"),
            Self::TokensFull { .. } => (StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
            Self::TokensUnknown { .. } | Self::CatchingUp => {
                (StatusCode::SERVICE_UNAVAILABLE, "not_ready")
            }
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Self::MethodNotAllowed { .. } => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::NotAcceptable { .. } => (StatusCode::NOT_ACCEPTABLE, "not_acceptable"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }

    /// The problem body for a request.
    pub fn problem<'a>(&self, request_id: &'a str) -> Problem<'a> {
        let (status, code) = self.kind();
        let mut problem = Problem {
            r#type: format!("urn:jcas:problem:{code}"),
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: self.to_string(),
            code,
            request_id,
            errors: Vec::new(),
            user_id: None,
            revision: None,
            token: None,
            server_time: None,
        };
        if let Self::Token(fault) = self {
            let TokenFault { claim, expected, got, wanted, .. } = fault.as_ref().clone();
            problem.token = Some(ProblemToken { claim, expected, got, token: wanted });
        }
        if let Self::Account(error) = self {
            match error {
                AccountError::InvalidFields(fields) => {
                    problem.errors = fields.iter().map(ProblemField::from).collect();
                }
                AccountError::Rejected(rejection @ Rejection::TooManyFields { .. }) => {
                    let error = FieldError::new("profile", "too_many", rejection);
                    problem.errors = vec![ProblemField::from(&error)];
                }
                AccountError::Rejected(
                    rejection @ (Rejection::SameUser | Rejection::TooManyLinked { .. }),
                ) => {
                    let error = FieldError::new("with", "invalid", rejection);
                    problem.errors = vec![ProblemField::from(&error)];
                }
                AccountError::IdentityTaken { user } => problem.user_id = *user,
                AccountError::Rejected(Rejection::RevisionMismatch { current }) => {
                    problem.revision = Some(current.to_string());
                }
                _ => {}
            }
        }
        problem
    }

    /// How long to wait before trying again, in whole seconds, where that helps.
    pub fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::Account(AccountError::PoolFull { retry_after }) => {
                Some(retry_after.as_secs().saturating_add(1))
            }
            Self::Account(AccountError::TooManyAttempts { retry_after }) => {
                Some(whole_seconds(*retry_after))
            }
            Self::Account(AccountError::RateLimited(exceeded)) => {
                Some(whole_seconds(exceeded.retry_after))
            }
            Self::Account(
                AccountError::Unavailable(_)
                | AccountError::Keys(_)
                | AccountError::JobNodeUnreachable(_),
            )
            | Self::CatchingUp => Some(RETRY_AFTER_S),
            Self::Account(AccountError::SyncQuota(_) | AccountError::SpoolFull) => {
                Some(SPOOL_RETRY_AFTER_S)
            }
            Self::TokensFull { retry_after_s } | Self::TokensUnknown { retry_after_s } => {
                Some(*retry_after_s)
            }
            _ => None,
        }
    }
}

const fn token_kind(fault: Fault) -> (StatusCode, &'static str) {
    match fault {
        Fault::Missing => (StatusCode::UNAUTHORIZED, "token_missing"),
        Fault::Invalid => (StatusCode::UNAUTHORIZED, "token_invalid"),
        Fault::Expired => (StatusCode::UNAUTHORIZED, "token_expired"),
        Fault::NotYetValid => (StatusCode::UNAUTHORIZED, "token_not_yet_valid"),
    }
}

/// A wait in whole seconds, never less than it is.
pub(super) fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

fn account_kind(error: &AccountError) -> (StatusCode, &'static str) {
    match error {
        AccountError::InvalidFields(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_fields"),
        AccountError::CountryNotAllowed(_) => {
            (StatusCode::UNPROCESSABLE_ENTITY, "country_not_allowed")
        }
        AccountError::PhoneCountryRequired => {
            (StatusCode::UNPROCESSABLE_ENTITY, "phone_country_required")
        }
        AccountError::UnsupportedHash(_) => (StatusCode::UNPROCESSABLE_ENTITY, "unsupported_hash"),
        AccountError::HashCostOutOfBounds => {
            (StatusCode::UNPROCESSABLE_ENTITY, "hash_cost_out_of_bounds")
        }
        AccountError::PasswordRefused(_) => (StatusCode::UNPROCESSABLE_ENTITY, "password_refused"),
        AccountError::InvalidCredentials => (StatusCode::UNAUTHORIZED, "invalid_credentials"),
        AccountError::TooManyAttempts { .. } => {
            (StatusCode::TOO_MANY_REQUESTS, "too_many_attempts")
        }
        AccountError::RateLimited(_) | AccountError::SyncQuota(_) => {
            (StatusCode::TOO_MANY_REQUESTS, "rate_limited")
        }
        AccountError::UserDisabled => (StatusCode::FORBIDDEN, "user_disabled"),
        AccountError::ScopeMissing(_) => (StatusCode::FORBIDDEN, "scope_missing"),
        AccountError::UserNotFound => (StatusCode::NOT_FOUND, "user_not_found"),
        AccountError::UserErased => (StatusCode::GONE, "user_erased"),
        AccountError::NotFound(_) => (StatusCode::NOT_FOUND, "not_found"),
        AccountError::IdempotencyKeyReused => {
            (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused")
        }
        AccountError::InvalidCursor => (StatusCode::BAD_REQUEST, "invalid_cursor"),
        AccountError::IdentityTaken { .. } => (StatusCode::CONFLICT, "identity_taken"),
        AccountError::Rejected(rejection) => rejection_kind(rejection),
        AccountError::PoolFull { .. } | AccountError::SpoolFull => {
            (StatusCode::SERVICE_UNAVAILABLE, "overloaded")
        }
        AccountError::HashFailed => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        AccountError::Keys(_) => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
        AccountError::JobNotFound => (StatusCode::NOT_FOUND, "job_not_found"),
        AccountError::JobNodeUnreachable(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, "job_node_unreachable")
        }
        AccountError::UploadOffset { .. } | AccountError::UploadBusy => {
            (StatusCode::CONFLICT, "upload_offset_mismatch")
        }
        AccountError::SyncTooLong(_) => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
        AccountError::Unavailable(unavailable) => unavailable_kind(*unavailable),
    }
}

const fn rejection_kind(rejection: &Rejection) -> (StatusCode, &'static str) {
    match rejection {
        Rejection::UserNotFound => (StatusCode::NOT_FOUND, "user_not_found"),
        Rejection::UserErased => (StatusCode::GONE, "user_erased"),
        Rejection::PolicyDenied { .. } => (StatusCode::FORBIDDEN, "policy_denied"),
        Rejection::RevisionMismatch { .. } => {
            (StatusCode::PRECONDITION_FAILED, "revision_mismatch")
        }
        Rejection::IdentityTaken { .. } => (StatusCode::CONFLICT, "identity_taken"),
        Rejection::LinkedElsewhere => (StatusCode::CONFLICT, "linked_elsewhere"),
        Rejection::LastIdentity => (StatusCode::CONFLICT, "last_identity"),
        Rejection::IdentityNotFound | Rejection::Linked => (StatusCode::NOT_FOUND, "not_found"),
        Rejection::ProofOutdated => (StatusCode::UNAUTHORIZED, "invalid_credentials"),
        Rejection::TooManyFields { .. } | Rejection::SameUser | Rejection::TooManyLinked { .. } => {
            (StatusCode::UNPROCESSABLE_ENTITY, "invalid_fields")
        }
    }
}

const fn unavailable_kind(unavailable: Unavailable) -> (StatusCode, &'static str) {
    match unavailable {
        Unavailable::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
        Unavailable::ClockUnsafe => (StatusCode::SERVICE_UNAVAILABLE, "clock_unsafe"),
        Unavailable::ReadOnly => (StatusCode::SERVICE_UNAVAILABLE, "read_only"),
        Unavailable::Storage | Unavailable::NotReady => {
            (StatusCode::SERVICE_UNAVAILABLE, "not_ready")
        }
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.kind().0
    }

    /// Only the status: the frame writes the body, since it knows the request id.
    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.kind().0)
    }
}
